"""How long the class of one image takes from Python: a predictor of 784-256-10, and a peer's network called on a row."""

from __future__ import annotations

import time
from statistics import median

from nncore.bench.duel import PEER_MATH, Rival, against, by_turns
from nncore.bench.kernels import row
from nncore.bench.limits import Probe, random_floats
from nncore.bench.peer import Peer
from nncore.bench.training import dense
from nncore.graph.tape import Executor
from nncore.tensor import Tensor
from nncore.train.samples import samples

WIDTHS = (784, 256, 10)


def measure(probe: Probe, peers: list[Peer], seconds: float, rounds: int, math: str = "f32") -> dict:
    """The row of the latency: seconds of a call, the mean of so many as take `seconds`."""
    model = dense(*WIDTHS[1:-1]).build(WIDTHS[-1])
    model.math = math
    image = Tensor((1, WIDTHS[0]), "f32", random_floats(WIDTHS[0]).memory)
    model.prepare(samples(image))
    predict = model.predictor(dtype="f32", executor=Executor(probe.isa, probe.threads))

    def once(calls: int) -> float:
        begin = time.perf_counter()
        for _ in range(calls):
            predict(image)
        return (time.perf_counter() - begin) / calls

    once(10)
    calls = max(1, int(seconds / once(20)))
    rivals = [Rival(p, p.ask("predict", widths=WIDTHS, math=PEER_MATH[math]), seconds) for p in peers]
    rivals = [r for r in rivals if r.way is not None]
    warm = max(1, calls // 4)
    taken, _ = by_turns([lambda: (once(warm), once(calls))[1], *(r.turn(seconds) for r in rivals)], rounds, probe.peak)
    middle, flop = median(taken[0]), 2 * sum(a * b for a, b in zip(WIDTHS, WIDTHS[1:], strict=False))
    found = row("predict", f"{'-'.join(map(str, WIDTHS))} batch 1", probe, middle, flop / middle * 1e-9, None, None, math)
    found["rounds"] = taken[0]
    found["peers"] = [against(r.peer, r.name, PEER_MATH[math], taken[0], t, None) for r, t in zip(rivals, taken[1:], strict=True)]
    return found
