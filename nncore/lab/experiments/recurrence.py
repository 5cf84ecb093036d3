"""Gradients over time: the same weights applied T times."""

from __future__ import annotations

from math import ceil, inf, isfinite, log2, sqrt

from nncore import Dense, Input, Model, SquaredError, Tanh
from nncore.lab.experiment import Curve, Picture, Result, at_most, exactly, experiment, within
from nncore.lab.training import Gradients, gaussian, matrix, need, need_each


def orthogonal(n: int, seed: int) -> list[list[float]]:
    """The columns of a random matrix made orthonormal, twice, as Gram-Schmidt loses orthogonality once (in float64)."""
    flat = gaussian(n, n, seed).flat()
    rows = [list(flat[i * n : (i + 1) * n]) for i in range(n)]
    for _ in range(2):
        for i in range(n):
            for k in range(i):
                dot = sum(a * b for a, b in zip(rows[i], rows[k], strict=True))
                rows[i] = [a - dot * b for a, b in zip(rows[i], rows[k], strict=True)]
            norm = sqrt(sum(v * v for v in rows[i]))
            rows[i] = [v / norm for v in rows[i]]
    return rows


class Chain:
    """h_t = phi(radius Q h_(t-1)), T times; called with a radius, it gives |dJ/dh_0| / sqrt(n), J the sum of h_T."""

    def __init__(self, rotation: list[list[float]], steps: int, squash: bool = False):
        self.flat, n = [v for row in rotation for v in row], len(rotation)
        x, start, again, phi = Input((n,)), Dense(n), Dense(n, bias=False), Tanh()
        h = start(x)
        for _ in range(steps):
            h = phi(again(h)) if squash else again(h)
        self.model = Model(x, h, seed=0, standardise="none").build((n,))
        # The bias of the input layer is h_0. From h_0 = 0 every h_t is 0, and with targets of -1 squared error's gradient is 1.
        self.model.assign("0.weight", [0.0] * (n * n))
        self.model.assign("0.bias", [0.5 if squash else 0.0] * n)
        self.gradients = Gradients(self.model, (matrix([[1.0] * n]), matrix([[-1.0] * n])), SquaredError())

    def __call__(self, radius: float) -> float:
        self.model.assign("1.weight", [radius * v for v in self.flat])
        found = self.gradients()
        last = [y + 1 for y in found["output"]]
        size, whole = (sqrt(sum(v * v for v in values)) for values in (found["0.bias"], last))
        return size / whole if isfinite(size) else inf


@experiment(
    "recurrence", chapter="Gradients", title="Vanishing and exploding gradients over time",
    formula="h_t = phi(W h_(t-1)): dJ/dh_0 = (prod_t W^T diag phi'(z_t)) dJ/dh_T; for W = rho Q and phi(z) = z of size rho^T",
    theory="A recurrent network is a deep one whose layers share their weights, so nothing averages out: for W = rho Q with Q "
           "orthogonal and a linear chain the size is exactly rho^T. After 100 steps 0.8 leaves 2e-10 of it, and 1.2 makes it "
           "8e7; at rho = 4 float32 overflows near T = 64. A squashing phi has slopes below 1: rho^T becomes a bound.",
    source="Bengio, Simard, Frasconi 1994; Pascanu, Mikolov, Bengio 2013, section 2")
def recurrence(radii=(0.8, 0.9, 1.0, 1.1, 1.2), times=(1, 3, 10, 20, 40, 70, 100), units=12, overflow=4.0, seed=1) -> Result:
    need_each("radii", radii, 0.1, 2)
    need_each("times", times, 1, 200)
    need(2 <= units <= 64 and 1.3 <= overflow <= 4, "units: 2 to 64; overflow: a radius from 1.3 to 4")
    rotation = orthogonal(units, seed)
    chains = [Chain(rotation, int(t)) for t in times]
    lines = [(r, [chain(r) for chain in chains]) for r in radii]
    worst = max(abs(f / r**t - 1) / t for r, found in lines for f, t in zip(found, times, strict=True))
    squashed = [Chain(rotation, int(t), True)(max(radii)) for t in times]
    expected = ceil(128 / log2(overflow))
    low, high = expected // 2, 2 * expected  # the first T whose gradient is not finite, by bisection
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if Chain(rotation, middle)(overflow) == inf else (middle, high)
    findings = [
        at_most("linear chain: largest relative distance from rho^T, a step, in units of 2^-24", worst * 2**24, 4),
        within(f"rho = {overflow:g}: first T whose gradient overflows, less 128 / log2 rho", high - 128 / log2(overflow), -4, 4),
        at_most(f"tanh, rho = {max(radii):g}: largest gradient as a share of rho^T",
                max(s / max(radii) ** t for s, t in zip(squashed, times, strict=True)), 1.0),
        exactly("tanh: finite at every T", str(all(map(isfinite, squashed))), "True"),
    ]
    curves = [Curve(f"linear, rho = {r:g}", times, f) for r, f in lines]
    curves += [Curve(f"tanh, rho = {max(radii):g}", times, [max(s, 1e-30) for s in squashed])]
    curves += [Curve("rho^T", times, [r**t for t in times], "theory") for r in radii]
    return Result(findings, [Picture(
        "Size of the gradient T steps back", "steps T", "size, as a share of the last step's", curves,
        "The same matrix at every step: powers, up or down, and one radius at which they do not move.", log_y=True)])
