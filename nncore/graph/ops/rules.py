"""What rows of the registry share: shape rules, and gradients that are the same number everywhere."""

from __future__ import annotations

from nncore.errors import ShapeError
from nncore.graph.node import Node


def same(n: Node) -> tuple:
    """All inputs of one shape; so is the output."""
    shape = n.inputs[0].shape
    for x in n.inputs[1:]:
        if x.shape != shape:
            raise ShapeError(f"{n.op.name}: shapes differ: {shape} and {x.shape}")
    return shape


def first(n: Node) -> tuple:
    """The first input's shape."""
    return n.inputs[0].shape


def nothing(n: Node) -> tuple:
    """An effect: no output."""
    return ()


def rows(n: Node) -> tuple[int, int]:
    """(N, the rest): a tensor as rows."""
    x = n.inputs[0]
    return (x.shape[0], x.size // x.shape[0] if x.shape[0] else 0)


def matrix(x: Node, name: str) -> tuple[int, int]:
    """The shape of a matrix; ShapeError for anything else."""
    if len(x.shape) != 2:
        raise ShapeError(f"{name}: expects a matrix (N, features), got {x.shape}; flatten it first")
    return x.shape


def partial(n: Node, shape: tuple) -> tuple:
    """A sum over the batch: one partial sum per shard when there are several."""
    return (n.shards, *shape) if n.shards > 1 else shape




def attributes(*names: str):
    """An op's scalars: the attributes of these names."""
    return lambda n: tuple(n.attrs[k] for k in names)
