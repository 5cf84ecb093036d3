"""Builders of graphs: layers, losses, initial values. Importing any of them registers every layer by its name."""

from nncore.nn import layers, merge, pool

__all__ = ["layers", "merge", "pool"]
