"""E5: the best step of a finite difference."""

from __future__ import annotations

from array import array
from math import exp, sqrt

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.lab.arithmetic import calculate
from nncore.lab.experiment import Curve, Picture, Result, experiment, rms, slope, within

UNIT = {"f32": 2.0**-24, "f64": 2.0**-53}
GRID = 2.0**-9  # of the points: x + h is then exact for all steps shown
# powers h = 2^-k where truncation and where rounding rule
RIGHT = {"f32": (2, 6), "f64": (4, 14)}
LEFT = {"f32": (11, 14), "f64": (24, 40)}


@experiment(
    "finite-differences", code="E5", chapter="Functions", title="The step of a finite difference",
    formula="forward h* = 2 sqrt(u |f / f''|), error 2 sqrt(u |f f''|);  central h* = (3 u |f / f'''|)^(1/3), error of order "
            "u^(2/3)",
    theory="A difference errs by its truncation, h / 2 f'' or h^2 / 6 f''', and by the rounding of f, u f / h. One grows with h, "
           "the other falls; where they meet the error is smallest, and that is never at the smallest h. A gradient checked by "
           "central differences in float32 has five digits, in float64 eleven: ours are checked on the float64 twin.",
    source="Press et al. 2007, section 5.7; Higham 2002, section 1.14")
def finite_differences(points: int = 200) -> Result:
    """Derivatives of exp on [1, 2] by forward and central differences, steps 2^-1, 2^-2, ..., in float32 and float64."""
    if not 10 <= points <= 512:
        raise UsageError(f"finite-differences: points={points}: 10 to 512 of them lie on the grid")
    findings, pictures = [], []
    for real, last in (("f32", 14), ("f64", 43)):
        u, powers = UNIT[real], range(1, last + 1)
        errors = {"forward": [], "central": []}
        for k in powers:
            for name, e in zip(errors, _errors(real, 2.0**-k, points), strict=True):
                errors[name].append(rms(e))
        central, best = errors["central"], {name: 2.0 ** -(1 + e.index(min(e))) for name, e in errors.items()}
        h = [2.0**-k for k in powers]

        def exponent(between: tuple[int, int], e=central, h=h) -> float:
            a, b = between
            return slope(h[a - 1 : b], e[a - 1 : b])

        star = {"forward": 2 * sqrt(u), "central": (3 * u) ** (1 / 3)}
        findings += [within(f"{real}, {name}: best step over h*", best[name] / star[name], 0.25, 4) for name in errors]
        findings += [within(f"{real}, central: exponent of h where truncation rules", exponent(RIGHT[real]), 1.9, 2.1),
                     within(f"{real}, central: exponent of h where rounding rules", exponent(LEFT[real]), -1.2, -0.8)]
        size = rms([exp(1 + i * GRID) for i in range(points)])
        pictures.append(Picture(
            f"Derivative of exp on [1, 2], {'float32' if real == 'f32' else 'float64'}", "step h", "rms error",
            [*(Curve(name, h, e) for name, e in errors.items()),
             Curve("h / 2 f'' + u f / h", h, [size * (s / 2 + u / s) for s in h], "theory"),
             Curve("h^2 / 6 f''' + u f / h", h, [size * (s * s / 6 + u / s) for s in h], "theory")],
            "Too large a step truncates, too small a one subtracts equal numbers.", log_x=True, log_y=True))
    return Result(findings, pictures)


def _errors(real: str, h: float, points: int) -> tuple[list[float], list[float]]:
    """Errors of forward and central differences at every point; the truth is exp in float64 there."""
    x = array("d", (1 + i * GRID for i in range(points)))
    truth = calculate(ops.exponential, x, real="f64")

    def differences(v):
        here, step = ops.exponential(v), ops.fill(v, h)
        above, below = ops.exponential(ops.add(v, step)), ops.exponential(ops.sub(v, step))
        return [ops.scale(ops.sub(above, here), c=1 / h), ops.scale(ops.sub(above, below), c=0.5 / h)]

    forward, central = calculate(differences, x, real=real)
    return ([a - b for a, b in zip(forward, truth, strict=True)], [a - b for a, b in zip(central, truth, strict=True)])
