"""Builders of graphs: layers, losses, initial values. Importing any of them registers every layer by its name."""

from nncore.nn import (
    conv,
    layers,
    merge,
    norm,
    pool,
)

__all__ = ["conv", "layers", "merge", "norm", "pool"]
