"""Builders of graphs: layers, losses, initialisers. Nothing here computes; no C is called."""
