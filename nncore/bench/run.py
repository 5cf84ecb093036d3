"""A whole bench: which parts, on which threads, one after the other, as rows.

`share_of_peak` is the median over rounds of the case's rate divided by the mean of the peak probes around it. All other
figures are medians over rounds too. A ratio against a peer, where there is one, is peer's seconds / ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nncore._ffi import thread_count
from nncore.bench import kernels, limits, training
from nncore.bench.limits import Probe
from nncore.train.samples import samples

PARTS = ("limits", "kernels", "train")
SCHEMA = "nncore.bench/1"


@dataclass(frozen=True)
class Plan:
    """What to measure. `threads`: a number, or None for one and then all; `seconds` of a kernel in each of `rounds`."""

    parts: tuple[str, ...] = PARTS
    threads: int | None = None
    isa: str | None = None
    text: str = ""
    seconds: float = 0.02
    rounds: int = 5
    batch: int = 128
    hidden: tuple[int, ...] | None = None
    data: object = None  # a Dataset, or None for random bytes

    @property
    def teams(self) -> list[int]:
        """Numbers of threads to measure on."""
        return [thread_count(self.threads)] if self.threads else sorted({1, thread_count()})


def bench(plan: Plan, on_case: Callable[[dict], None] = lambda row: None) -> dict:
    """Measure; `on_case` sees each row as it is found."""
    result = {"schema": SCHEMA, "machine": limits.machine(plan.isa), "cases": []}
    probes = [Probe(plan.isa, threads) for threads in plan.teams]
    measured = {"limits": _limits, "kernels": _kernels, "train": _train}
    for part in plan.parts:
        for found in measured[part](plan, probes):
            result["cases"].append(found)
            on_case(found)
    return result


def _limits(plan: Plan, probes: list[Probe]) -> Iterator[dict]:
    for probe in probes:
        if plan.text in "limit fma":
            peak = sorted(probe.peak() for _ in range(4 * plan.rounds + 1))[2 * plan.rounds]
            yield kernels.row("limit fma", "2 per broadcast", probe, None, peak, None, 1.0)
        for level, nbytes in limits.LEVELS.items():
            if plan.text in f"limit read {level}":
                speed = probe.bandwidth(nbytes, plan.seconds, plan.rounds)
                yield kernels.row("limit read", level, probe, None, None, speed, None)


def _kernels(plan: Plan, probes: list[Probe]) -> Iterator[dict]:
    for case, size in kernels.cases(plan.text):
        call = case.call(size)
        for probe in probes:
            yield kernels.measure(case, size, call, probe, plan.seconds, plan.rounds)


def _train(plan: Plan, probes: list[Probe]) -> Iterator[dict]:
    split, features, classes = None, 784, 10
    if plan.data is not None:
        split, classes = plan.data.train, len(plan.data.classes)
        features = samples(split).features
    for hidden in (plan.hidden,) if plan.hidden else training.NETWORKS:
        if plan.text not in f"epoch {training.title(features, hidden, classes)}":
            continue
        split = split or training.random_images()
        for probe in probes:
            yield training.measure(hidden, split, features, classes, plan.batch, probe, max(1, plan.rounds // 2))
