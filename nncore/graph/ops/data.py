"""Rows of csrc/ops/gather.c: the first instructions of a tape."""

from __future__ import annotations

from nncore.graph.node import Op


def _gather(name: str) -> Op:
    """(images, rows, mean, scale) -> (batch, *image): rows of the step, standardised."""
    return Op(name, shape=lambda n: n.attrs["shape"], defaults={"shape": ()},
              dims=lambda n: (n.shape[0], n.size // n.shape[0], n.inputs[2].size), flop=lambda n: 2 * n.size)


gather_u8, gather_f32 = _gather("gather_u8"), _gather("gather_f32")
gather_labels = Op("gather_labels", shape=lambda n: n.attrs["shape"], dtypes=("i32",), defaults={"shape": (), "classes": 10},
                   dims=lambda n: (n.shape[0], n.attrs["classes"]), flop=lambda n: 0)
gather_targets = Op("gather_targets", shape=lambda n: n.attrs["shape"], defaults={"shape": ()},
                    dims=lambda n: (n.shape[0], n.size // n.shape[0]), flop=lambda n: 0)
