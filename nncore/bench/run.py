"""A whole bench: which parts, on which threads, one after the other, as rows.

`share_of_peak` is the median over rounds of the case's rate divided by the mean of the peak probes around it. All other
figures are medians over rounds too. A ratio against a peer, where there is one, is peer's seconds / ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from nncore._ffi import thread_count
from nncore.bench import assignment, duel, free, groups, growth, instruments, kernels, latency, limits, others, training
from nncore.bench.limits import Probe
from nncore.bench.peer import Peer
from nncore.bench.store import SCHEMA, commit
from nncore.train.samples import samples

PARTS = ("limits", "kernels", "train", "latency", "assignment", "instruments", "growth")
DEFAULT = ("limits", "kernels", "train")  # without being named


@dataclass(frozen=True)
class Plan:
    """What to measure. `threads`: a number, or None for one and then all; `seconds` of a kernel in each of `rounds`."""

    parts: tuple[str, ...] = DEFAULT
    threads: int | None = None
    isa: str | None = None
    text: str = ""
    seconds: float = 0.02
    rounds: int = 5
    batch: int = 128
    hidden: tuple[int, ...] | None = None
    data: object = None  # a Dataset, or None for random bytes
    math: str = "f32"
    against: tuple[str, ...] = ()  # packages to measure in turns with ours

    @property
    def teams(self) -> list[int]:
        """Numbers of threads to measure on."""
        return [thread_count(self.threads)] if self.threads else sorted({1, thread_count()})


class Team:
    """A number of threads: the probe of what they can do, the processors they run on, and the peers with as many."""

    def __init__(self, plan: Plan, threads: int, open_peers: ExitStack):
        self.cpus = duel.processors(threads)
        self.probe = Probe(plan.isa, threads)
        self.peers = [open_peers.enter_context(Peer(p, threads, self.cpus, **(free.way(self.probe.isa) if p == "free" else {})))
                      for p in plan.against]
        self.processes = [os.getpid(), *(p.process.pid for p in self.peers)]

    def row(self, measure: Callable[[], dict], group: str, tries: int = 1) -> dict:
        """What `measure` finds on these processors, and how much of them others took meanwhile; if that was much, it is tried
        again and the least disturbed one counts."""
        found = self._measured(measure)
        for _ in range(tries - 1):
            if (found["others"] or 0) > others.MUCH:
                found = min(found, self._measured(measure), key=lambda r: r["others"] or 0)
        return found | {"group": group}

    def _measured(self, measure: Callable[[], dict]) -> dict:
        with duel.pinned(self.cpus):
            before = others.reading(self.cpus, self.processes)
            found = measure()
            return found | {"others": others.share(before, others.reading(self.cpus, self.processes), self.cpus)}


def bench(plan: Plan, on_case: Callable[[dict], None] = lambda row: None,
          on_start: Callable[[dict], None] = lambda head: None) -> dict:
    """Measure; `on_start` sees all but the rows, `on_case` each row as it is found."""
    with ExitStack() as open_peers:
        teams = [Team(plan, threads, open_peers) for threads in plan.teams]
        versions = {p.package: p.versions for team in teams for p in team.peers}
        result = {"schema": SCHEMA, "commit": commit(), "machine": limits.machine(plan.isa), "peers": versions, "cases": []}
        on_start(result)
        measured = {"limits": _limits, "kernels": _duels if plan.against else _kernels, "train": _train,
                    "latency": _latency, "assignment": _assignment, "instruments": _instruments,
                    "growth": _growth}
        for part in plan.parts:
            for found in measured[part](plan, teams):
                result["cases"].append(found)
                on_case(found)
    return result


def _limits(plan: Plan, teams: list[Team]) -> Iterator[dict]:
    for probe in (team.probe for team in teams):
        if plan.text in "limit fma":
            peak = median(probe.peak() for _ in range(4 * plan.rounds + 1))
            yield kernels.row("limit fma", "2 per broadcast", probe, None, peak, None, 1.0)
        for math in limits.PRODUCTS if plan.text in "limit tiles" else ():
            if rate := probe.products(math):
                peak = median(rate() for _ in range(4 * plan.rounds + 1))
                yield kernels.row("limit tiles", "operands in L1", probe, None, peak, None, 1.0, math)
        if plan.text in "limit philox":
            words = median(probe.words() for _ in range(4 * plan.rounds + 1))
            yield kernels.row("limit philox", "words alone", probe, None, None, 4 * words, 1.0)
        if probe.threads > 1 and plan.text in "limit barrier":
            yield kernels.row("limit barrier", "of all threads", probe, probe.barrier(plan.rounds), None, None, None)
        for level, nbytes in limits.LEVELS.items():
            if plan.text in f"limit read {level}":
                speed = probe.bandwidth(nbytes, plan.seconds, plan.rounds)
                yield kernels.row("limit read", level, probe, None, None, speed, None)


def _kernels(plan: Plan, teams: list[Team]) -> Iterator[dict]:
    for case, size in kernels.cases(plan.text):
        call = case.call(size)
        for probe in (team.probe for team in teams):
            yield kernels.measure(case, size, call, probe, plan.seconds, plan.rounds)


def _duels(plan: Plan, teams: list[Team]) -> Iterator[dict]:
    over = duel.HandOver()
    try:
        for group, case, size in groups.entries():
            if plan.text not in f"{group}: {kernels.title(case)} {kernels.shape(case, size)}":
                continue
            if plan.math != "f32" and case.op not in kernels.BY_PEAK:
                continue  # modes are of products
            call = case.call(size)
            for team in teams:
                given = case, size, call, team.probe, team.peers, over, plan.seconds, plan.rounds, plan.math
                yield team.row(lambda given=given: duel.measure(*given), group, tries=3)
    finally:
        over.close()


def _train(plan: Plan, teams: list[Team]) -> Iterator[dict]:
    found = samples(plan.data.train) if plan.data is not None else None
    networks = training.DUELS if plan.against else training.DENSE
    rounds = plan.rounds if plan.against else max(1, plan.rounds // 2)
    over = duel.HandOver()
    try:
        for network in (training.dense(*plan.hidden),) if plan.hidden else networks:
            data = training.first(found, network.images) if found else None
            title = network.title(data.features if data else 784, len(data.classes) if data else 10)
            if plan.text not in f"epoch {title}":
                continue
            job = training.Job(network, data or training.random_images(network.images), plan.batch, plan.math)
            for team in teams:
                given = job, team.probe, rounds, team.peers, Path(over.folder.name)
                yield team.row(lambda given=given: training.measure(*given), f"epoch {title}")
    finally:
        over.close()


def _latency(plan: Plan, teams: list[Team]) -> Iterator[dict]:
    for team in teams:
        given = team.probe, team.peers, plan.seconds, plan.rounds, plan.math
        yield team.row(lambda given=given: latency.measure(*given), "latency", tries=3)


def _assignment(plan: Plan, teams: list[Team]) -> Iterator[dict]:
    for team in teams:
        given = plan.data, team.probe, team.peers, plan.rounds, plan.math
        yield team.row(lambda given=given: assignment.measure(*given), "assignment")


def _instruments(plan: Plan, teams: list[Team]) -> Iterator[dict]:
    for cost, network, shape in instruments.cases(plan.text, plan.batch):
        for team in teams:
            given = cost, network, shape, plan.batch, team.probe, plan.rounds
            yield team.row(lambda given=given: instruments.measure(*given), "instruments")


def _growth(plan: Plan, teams: list[Team]) -> Iterator[dict]:
    for n in growth.sizes(plan.text):
        for team in teams:
            given = n, plan.batch, team.probe, plan.rounds
            yield team.row(lambda given=given: growth.measure(*given), "growth")
