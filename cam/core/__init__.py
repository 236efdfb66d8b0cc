"""The engine, from a net to the gradient at any map: arrays and nets, no files, no pictures.

Read in this order: `mxnet`, `rules`, `graph`, `tracing`, `forward_backward`, `errors`, `checks`, `targets`, `layers`,
`recording`; then the room `maps`.
"""
