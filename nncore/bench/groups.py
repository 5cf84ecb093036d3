"""The cases of the duel in groups, and the gates that each group has to pass.

Cases and their data are the tests' (cases/); here stand the sizes that matter: products of the networks that people train,
convolutions from LeNet to 128 maps, and everything else at 10 thousand, 100 thousand and a million elements.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

from nncore.bench.cases import Case, collect
from nncore.bench.stats import geometric_mean, mean_interval
from nncore.graph.ops.norm import chunk_rows

SQUARES = tuple((n, n, n) for n in (64, 128, 256, 512, 1024, 2048))
LAYERS = tuple((n, 784, o) for n in (32, 128, 512) for o in (128, 512))  # batch, inputs, outputs
LAST = tuple((n, i, 10) for n in (32, 128, 512) for i in (128, 512))
COUNTS = (10_000, 100_000, 1_000_000)
# N H W C K and the window of cases/conv.py
CONVOLUTIONS = ((128, 28, 28, 32, 32, 1), (128, 14, 14, 32, 64, 1), (128, 14, 14, 64, 64, 1), (16, 56, 56, 64, 64, 1),
                (16, 28, 28, 128, 128, 1))
FIRST = ((128, 28, 28, 1, 32, 1), (128, 28, 28, 1, 6, 6))  # 3x3 to 32 maps, and LeNet's 5x5 to 6
SECOND = ((128, 14, 14, 6, 16, 2),)  # LeNet's 5x5 from 6 to 16
IMAGES = ((1, 14, 14, 48), (4, 28, 28, 32), (40, 28, 28, 32), (128, 28, 28, 32))
ROWS = ((98, 100), (784, 128), (128 * 784, 32))  # of batch normalisation: 10 k and 100 k elements, and 3.2 million
POINTWISE = ("exp", "sigmoid_fwd", "sigmoid_bwd", "tanh_fwd", "tanh_bwd", "relu_fwd", "relu_bwd")


def _sizes() -> Iterator[tuple[str, str, tuple[tuple[int, ...], ...]]]:
    """(group, case, sizes). A case that this build has not is left out by `entries`."""
    for group, products in (("gemm", (*SQUARES, *LAYERS)), ("gemm N=10", LAST)):
        yield group, "dense_fwd-no-bias", products
        yield group, "dense_bwd_weight", tuple((*p, 1) for p in products)
        yield group, "dense_bwd_data", products
    for group, maps, passes in (("conv", CONVOLUTIONS, 3), ("conv small", FIRST, 2), ("conv small", SECOND, 3)):
        yield group, "conv_fwd-no-bias", maps
        yield group, "conv_bwd_weight", tuple((*m, 1) for m in maps)
        yield group, "conv_bwd_data", maps if passes == 3 else ()
    for name in POINTWISE:
        yield "exp" if name == "exp" else "elementwise", name, tuple((n,) for n in COUNTS)
    yield "elementwise", "softmax_xent", ((128, 10), *((n // 10, 10) for n in COUNTS))
    for name in ("max_pool_fwd-2x2", "max_pool_bwd-2x2", "avg_pool_fwd-2x2", "avg_pool_bwd-2x2"):
        yield "elementwise", name, IMAGES
    for name in ("batch_norm_fwd", "batch_norm_bwd"):
        yield "elementwise", name, tuple((n, c, 1, chunk_rows(c)) for n, c in ROWS)
    yield "elementwise", "gather_u8-listed", ((13, 784, 1), (128, 784, 1), (1280, 784, 1))
    yield "elementwise", "argmax", tuple((n // 10, 10) for n in COUNTS)
    yield "elementwise", "sum_all", tuple((n, 1) for n in COUNTS)
    yield "elementwise", "sum_rows", ((128, 80, 1), (128, 784, 1), (1280, 784, 1))
    yield "elementwise", "sum_squares", tuple((n,) for n in COUNTS)
    yield "elementwise", "adam", tuple((n,) for n in COUNTS)
    yield "random", "dropout", tuple((100 if n < 10**6 else 1000, n // (100 if n < 10**6 else 1000)) for n in COUNTS)
    for name in ("init_uniform", "init_normal"):
        yield "random", name, tuple((n,) for n in COUNTS)


def entries() -> Iterator[tuple[str, Case, tuple[int, ...]]]:
    """(group, case, size) of every kernel in the duel."""
    known = {case.name: case for case in collect()}
    for group, name, sizes in _sizes():
        for size in sizes if name in known else ():
            yield group, known[name], size


# ---- gates -----------------------------------------------------------------------------------------------------------

LARGE = ("512x512x512", "1024x1024x1024", "2048x2048x2048")


@dataclass(frozen=True)
class Gate:
    """What a group's ratios against a peer must reach in a math mode.

    ``each``: every case's interval reaches this, or the case runs at ``share`` of the peak; ``least``: every case's
    median reaches it; ``mean``: their geometric mean does, by number of threads where it differs; ``shapes``: of these
    cases only; ``seconds``: ours takes at most so long; ``accuracy``: and is right so often in every round. ``peer``:
    against whom.
    """

    group: str
    math: str = "f32"
    each: float | None = None
    share: float | None = None
    least: float | None = None
    mean: float | dict[int, float] | None = None
    shapes: tuple[str, ...] = ()
    seconds: float | None = None
    accuracy: float | None = None
    threads: tuple[int, ...] = field(default=(1, 2))
    peer: str = "torch"

    def wanted(self, threads: int) -> float | None:
        """The geometric mean asked for."""
        return self.mean.get(threads, max(self.mean.values())) if isinstance(self.mean, dict) else self.mean

    def text(self, threads: int) -> str:
        """The gate in words."""
        parts = [f"each {self.each:.2f}" + (f" or {self.share:.0%} of peak" if self.share else "")] if self.each else []
        parts += [f"none below {self.least:g}"] if self.least else []
        parts += [f"mean {self.wanted(threads):g}"] if self.mean else []
        if self.seconds:
            parts.append(f"at most {self.seconds * 1e6:g} us" if self.seconds < 1e-3 else f"at most {self.seconds:g} s")
        return ", ".join(parts + ([f"{self.accuracy:.0%} right"] if self.accuracy else []))


GATES = (
    Gate("gemm", each=1.0, share=0.93, mean={1: 1.0, 2: 1.05}),
    Gate("gemm N=10", mean=1.2),
    Gate("gemm", "bf16x6", least=1.5, shapes=LARGE),
    Gate("gemm", "bf16x3", least=2.6, shapes=LARGE),
    Gate("gemm", "bf16", mean=1.2),
    Gate("conv", each=1.0, share=0.93, mean={1: 1.0, 2: 1.05}),
    Gate("conv small", least=2.0),
    Gate("conv", "bf16x3", least=2.6),
    Gate("conv", "bf16", mean=1.0, least=0.85),
    Gate("exp", each=0.9),
    Gate("elementwise", each=1.0, mean=1.8),
    Gate("random", least=20),
    *(Gate(f"epoch {name}", math, least=least) for name, asked in {
        "784-128-10": {"f32": 3.5, "bf16x3": 5.5}, "784-256-128-10": {"f32": 2.4, "bf16x3": 4.5}, "lenet5": {"f32": 3.0},
        "conv-net": {"f32": 1.25, "bf16x3": 3.0, "bf16": 1.8}, "resnet-small": {"f32": 1.2, "bf16x3": 2.8, "bf16": 1.6},
    }.items() for math, least in asked.items()),
    Gate("latency", seconds=10e-6, threads=(1,)),
    Gate("latency", seconds=7e-6, threads=(2,)),
    Gate("assignment", least=5.5, seconds=1.0, accuracy=0.88, threads=(2,)),
    # The order that makes bits the same everywhere costs at most 2 %.
    *(Gate(group, mean=0.98, peer="free") for group in ("gemm", "gemm N=10", "conv", "conv small", "elementwise")),
)  # fmt: skip


def verdicts(rows: list[dict]) -> Iterator[dict]:
    """Each gate of which there are figures, per number of threads, and whether it holds."""
    for gate in GATES:
        for threads in sorted({r["threads"] for r in rows} & set(gate.threads)):
            found = [(r, p) for r in rows for p in r["peers"] if p["name"] == gate.peer and r["threads"] == threads
                     and r.get("group") == gate.group and r["math"] == gate.math and r["shape"] in (gate.shapes or (r["shape"],))]
            if found:
                yield _verdict(gate, threads, found)


def _verdict(gate: Gate, threads: int, found: list[tuple[dict, dict]]) -> dict:
    mean = mean_interval([p["rounds"] for _, p in found])
    medians = [p["ratio"] for _, p in found]
    short = [(r, p) for r, p in found if not _passes(gate, r, p)]
    least = max(gate.each or 0, gate.least or 0)
    within, beyond = ([(r, p) for r, p in short if (_roof(r, p) < least) is out] for out in (False, True))
    wanted = gate.wanted(threads)
    # As for a case, the interval has to reach what is asked of a mean.
    mean_holds = wanted is None or mean.high >= wanted
    return {"group": gate.group, "peer": gate.peer, "math": gate.math, "threads": threads, "asked": gate.text(threads),
            "cases": len(found), "mean": geometric_mean(medians), "low": mean.low, "high": mean.high, "level": mean.level,
            "least": min(medians), "most": max(medians), "holds": mean_holds and not short,
            "out_of_reach": mean_holds and bool(beyond) and not within,
            "others": max(r.get("others") or 0.0 for r, _ in found),
            "short": [f"{r['case']} {r['shape']}" for r, _ in within],
            "beyond": [f"{r['case']} {r['shape']} ({p['ratio']:.2f} of {_roof(r, p):.2f})" for r, p in beyond],
            "behind": [f"{r['case']} {r['shape']} ({p['ratio']:.2f})" for r, p in found if p["ratio"] < 1]}


def _roof(row: dict, peer: dict) -> float:
    """The ratio that a kernel at 100 % of the peak of the same run would have; infinite where the peak is not its limit, or was
    measured while others had a processor: ours were above it."""
    share = row["share_of_peak"] or 0
    return peer["ratio"] / share if 0 < share <= 1 else inf


def _passes(gate: Gate, row: dict, peer: dict) -> bool:
    at_peak = gate.share is not None and (row["share_of_peak"] or 0) >= gate.share
    return ((gate.each is None or peer["high"] >= gate.each or at_peak) and (gate.least is None or peer["ratio"] >= gate.least)
            and (gate.seconds is None or row["seconds"] <= gate.seconds)
            and (gate.accuracy is None or min(row["accuracy"]) >= gate.accuracy))
