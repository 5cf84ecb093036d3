"""Active learning: which samples to label next, where labels cost more than samples.

    rows = nn.query(model, pool, 50, by="margin")              # the 50 most uncertain samples of a pool
    rounds = nn.active_learning(make, pool, test=data.test)    # the whole game, on a pool whose labels are known

Settles 2009, *Active learning literature survey*, section 3.1, names the measures.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass

from nncore.data.split import permutation
from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.node import Input, State
from nncore.graph.plan import Layout
from nncore.graph.tape import Executor, Memory, compile_tape
from nncore.tensor import Tensor
from nncore.train.ensemble import own
from nncore.train.metrics import Evaluation
from nncore.train.model import Model
from nncore.train.rejection import gaps
from nncore.train.samples import samples

MEASURES = ("least_confident", "margin", "entropy")


def uncertainty(model: Model, x, by: str = "margin", executor: Executor | None = None) -> list[float]:
    """How uncertain a network is about each sample; larger is less certain.

    by: "least_confident" 1 - p of the most probable class; "margin" minus the gap of the two most probable; "entropy"
    -sum p log p, in nats, from potentials. Raises UsageError for another measure, or for the entropy of a network that
    ends in a Softmax: it hides its potentials.
    """
    if by not in MEASURES:
        raise UsageError(f"uncertainty by {by!r}: choose one of {', '.join(MEASURES)}")
    if by == "margin":
        return [-g for g in gaps(model.predict(x, proba=True, executor=executor))]
    if by == "least_confident":
        return [1.0 - max(row) for row in model.predict(x, proba=True, executor=executor).tolist()]
    if type(model._order[-1].layer).__name__ in ("Softmax", "LogSoftmax"):
        raise UsageError("the entropy is computed from potentials: leave out the network's last layer, CrossEntropy has it")
    return entropies(model.logits(x, executor=executor))


def entropies(potentials: Tensor) -> list[float]:
    """-sum_j p_j log p_j of p = softmax(z), row by row, for potentials z (N, C)."""
    n, c = potentials.shape
    layout, z, ones = Layout(), Input("z", (n, c), "real", 0), State("ones", (c, 1))
    terms = ops.mul(ops.softmax(z), ops.log_softmax(z))
    tape = compile_tape("entropy", 1, [ops.init_constant(ones, c=-1.0)], {}, layout)
    rows = compile_tape("entropies", n, [], {"h": ops.dense(terms, ones, None)}, layout)
    memory, executor = Memory(layout), Executor(threads=1)
    for t in (tape, rows):
        executor.run([(t, 1)], memory, {0: potentials})
    return [max(h, 0.0) for (h,) in memory.output(rows, "h").tolist()]


def query(model: Model, x, count: int, by: str = "margin", executor: Executor | None = None) -> list[int]:
    """Numbers of the `count` samples that are most worth a label, the most uncertain first, equals in their order.

    Raises UsageError unless 1 <= count <= n.
    """
    values = uncertainty(model, x, by, executor)
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= len(values):
        raise UsageError(f"query: count is a number from 1 to the {len(values)} samples, got {count!r}")
    return sorted(range(len(values)), key=lambda i: -values[i])[:count]


@dataclass(frozen=True)
class Step:
    """One round: how many labels were known, the network they gave, and how it does on the test samples."""

    labels: int
    model: Model
    evaluation: Evaluation | None


def active_learning(make: Callable[[int], Model], pool, start: int = 100, count: int = 100, rounds: int = 5,
                    by: str = "margin", test=None, seed: int = 0, on_step: Callable[[Step], None] | None = None,
                    **fit) -> list[Step]:
    """Start with `start` random labels of the pool; then, `rounds` times, ask for `count` more and fit make(seed) anew.

    by: a measure of `uncertainty`, or "random" to compare with. The pool has all labels; those not yet asked for are not
    looked at. **fit: arguments of Model.fit. Raises UsageError if the pool is too small or for an unknown measure.
    """
    pool = samples(pool)
    if pool.labels is None:
        raise UsageError("active_learning plays on a pool whose labels are known")
    if by not in (*MEASURES, "random"):
        raise UsageError(f"active_learning by {by!r}: choose one of {', '.join(MEASURES)} or random")
    if start < 1 or count < 1 or rounds < 0 or start + rounds * count > len(pool):
        raise UsageError(f"{start} labels and {rounds} times {count} more: the pool has {len(pool):,}")
    order, steps = permutation(len(pool), seed), []
    known, left = array("q", order[:start]), array("q", order[start:])
    for number in range(rounds + 1):
        model = make(seed)
        model.fit(pool.select(known), **own(fit))
        steps.append(Step(len(known), model, None if test is None else model.evaluate(test)))
        if on_step:
            on_step(steps[-1])
        if number < rounds:
            asked = range(count) if by == "random" else query(model, pool.select(left), count, by)
            known.extend(left[i] for i in asked)
            gone = set(asked)
            left = array("q", (row for i, row in enumerate(left) if i not in gone))
    return steps
