"""Grad-CAM and guided backpropagation on the graph of a net: arrays and nets, no files, no pictures.

Read in this order: `mxnet`, `rules`, `blocks`, `graph`, `tracing`, `walk`, `recording`, `maps`, `layers`, `targets`,
`checks`, `errors`.
"""

from . import mxnet  # before any other import of MXNet
