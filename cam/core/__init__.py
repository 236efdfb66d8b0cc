"""Grad-CAM and guided backpropagation on the graph of a net: arrays and nets, no files, no pictures.

Read in this order: `mxnet`, `rules`, `blocks`, `graph`, `tracing`, `forward_backward`, `errors`, `checks`, `inputs`,
`targets`, `endings`, `layers`, `recording`, `maps`.
"""
