"""Which values the costly part of level 2 looks at: of a large instruction one row in sixteen, other rows from step to step.

What an instruction lost on the operands it had, and what cancelled in its sums, takes the instruction once more in float64 and
its terms' sizes in float32, three times the work of a product. Neighbouring rows of a product, images of a convolution, blocks
of an update's weights go through the same code on values of one kind: a part of them shows the size of what is lost in all of
them, and a lower bound of the worst. Errors against the whole step in float64, figures of values and counts of NaN and
infinities are of every element at any size.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from nncore.graph.tape import Instruction, Tape

SHARE = 16  # one row of so many is looked at
FLOP = 1 << 22  # of a product, from which on it is a sample: below, one costs no more than looking at the rest of the step
ELEMENTS = 1 << 15  # of an update, an activation's derivative or a pooling
BLOCK = 64  # elements of an update that stay together
UPDATES = frozenset({"sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "adam", "decay"})
ELEMENTWISE = UPDATES | {"relu_fwd", "relu_bwd", "sigmoid_bwd", "tanh_bwd"}
POOLS = frozenset(f"{kind}_pool_{way}" for kind in ("max", "avg", "l2") for way in ("fwd", "bwd"))

Views = dict[int, tuple[int, int, int]]


def _dense_fwd(d) -> tuple[int, Views]:
    return 0, {0: (1, d[0], d[2]), 1: (1, d[0], d[1])}


def _dense_bwd_data(d) -> tuple[int, Views]:
    return 0, {0: (1, d[0], d[1]), 1: (1, d[0], d[2])}


def _dense_bwd_weight(d) -> tuple[int, Views]:
    return 1, {0: (d[3], d[1], d[2]), 1: (d[0], d[1], 1)}


def _conv_fwd(d) -> tuple[int, Views]:
    return 0, {0: (1, d[0], d[7] * d[8] * d[6]), 1: (1, d[0], d[1] * d[2] * d[3])}


def _conv_bwd_data(d) -> tuple[int, Views]:
    return 0, {0: (1, d[0], d[1] * d[2] * d[3]), 1: (1, d[0], d[7] * d[8] * d[6])}


def _conv_bwd_weight(d) -> tuple[int, Views]:
    """By input channels; with groups their number is tied to that of the outputs."""
    return 3, {0: (d[16] * d[4] * d[5], d[3], d[6]), 1: (d[0] * d[1] * d[2], d[3], 1)} if d[15] == 1 else {}


# Of a product's dims: which one is cut, and its arguments as (outer, that dim, inner). Arguments left out are needed whole.
PRODUCTS = {"dense_fwd": _dense_fwd, "dense_bwd_data": _dense_bwd_data, "dense_bwd_weight": _dense_bwd_weight,
            "conv_fwd": _conv_fwd, "conv_bwd_data": _conv_bwd_data, "conv_bwd_weight": _conv_bwd_weight}


def _views(tape: Tape, i: Instruction) -> tuple[int, int, Views]:
    """(the dim to cut, what it counts of each row, the arguments' views); no views: all is looked at."""
    if i.op in PRODUCTS and i.flop >= FLOP:
        dim, views = PRODUCTS[i.op](i.dims)
        return dim, 1, views
    size = max((tape.buffers[a].count for a in i.args if a >= 0), default=0)
    if size < ELEMENTS:
        return 0, 1, {}
    if i.op in ELEMENTWISE and i.dims[0] == size:
        block = next(b for b in (BLOCK, 16, 4, 1) if i.dims[0] % b == 0)
        return 0, block, {k: (1, size // block, block) for k, a in enumerate(i.args) if a >= 0 and tape.buffers[a].count == size}
    if i.op in POOLS:
        return 0, 1, {k: (1, i.dims[0], tape.buffers[a].count // i.dims[0]) for k, a in enumerate(i.args) if a >= 0}
    return 0, 1, {}


def sampled(tape: Tape, i: Instruction) -> tuple[Instruction, dict[int, tuple[int, int, int, int]]]:
    """The instruction on its sample, and of each argument that is sampled (outer, n, inner, kept); itself and {} for all."""
    dim, unit, views = _views(tape, i)
    n = next(iter(views.values()), (1, 1, 1))[1]
    if n < 2:
        return i, {}
    kept = max(n // SHARE, 1)
    dims = tuple(kept * unit if k == dim else d for k, d in enumerate(i.dims))
    return replace(i, dims=dims), {k: (*view, kept) for k, view in views.items()}


def count(view: tuple[int, int, int, int]) -> int:
    """Elements of a sample."""
    outer, _, inner, kept = view
    return prod((outer, kept, inner))
