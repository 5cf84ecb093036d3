"""A sweep: the same training under many settings and seeds, and which settings come out best.

    base = "run.toml"                      # or a table: [base.train] epochs = 3

    [grid]                                 # every combination
    "train.seed" = [0, 1, 2]
    "optimizer.lr" = [1e-3, 3e-3]

    [random]                               # with each of n draws
    n = 20
    "optimizer.beta1" = {low = 0.8, high = 0.99}
    "model.hidden" = [[128], [256], [256, 128]]

A range is {low, high}, log = true for an even spread of magnitudes; whole numbers if both ends are. Draws come from the
counter RNG at (seed, draw, key), so more draws leave the first ones as they are. Settings differ in anything but train.seed:
runs of one setting differ in the seed alone, and give its mean and spread.

Settings are ranked by their validation accuracy, never by the test set: the best of many on the test set is best there by
luck, too, and its figure would promise more than new data keep. The test figure is told for the chosen setting only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import product
from math import exp, log
from statistics import mean, stdev

from nncore._ffi import ffi, lib
from nncore.errors import DataError, UsageError
from nncore.train.config import Config, Draft, read_toml, resolve, to_toml
from nncore.train.parts import near

MOST = 10_000
SEED = "train.seed"
_KEYS = ("base", "grid", "random")
_RANGE = {"low", "high", "log", "choice"}


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep in order: what is varied in each, and its settings in full."""

    points: list[dict]
    configs: list[Config]

    def to_toml(self) -> str:
        """The plan as text; two sweeps are the same if this is."""
        return "".join(f"# run {number(i)}\n{to_toml(config.tables())}\n" for i, config in enumerate(self.configs))


def number(index: int) -> str:
    """The name of a run, 0001 for the first."""
    return f"{index + 1:04d}"


def read_sweep(path: str | os.PathLike, overrides: list = ()) -> Plan:
    """The plan of a sweep file; `overrides` (said, key, value) lie over the base. Raises DataError, UsageError."""
    table = read_toml(path)
    if bad := [k for k in table if k not in _KEYS]:
        raise DataError(f"{path}: unknown key {bad[0]}{near(bad[0], _KEYS)}")
    grid, draws = _grid(path, table.get("grid", {})), _draws(path, table.get("random", {}))
    if len(grid) * len(draws) > MOST:
        raise DataError(f"{path}: {len(grid):,} points of the grid with {len(draws):,} draws each: more than {MOST:,} runs")
    points = list({repr(p): p for p in ({**drawn, **fixed} for drawn in draws for fixed in grid)}.values())
    if not table.get("grid") and not table.get("random"):
        raise DataError(f'{path}: nothing varies: write a table [grid] or [random], for example "optimizer.lr" = [1e-3, 3e-3]')
    configs = []
    for point in points:
        draft = _base(path, table.get("base", {})).put_all(list(overrides))
        rows = [(f"{path}: {_shown(point)}", key, value) for key, value in point.items()]
        configs.append(resolve(draft.put_all(rows, DataError)))
        if configs[-1].data.validation is None:
            raise UsageError(f"{path}: settings are ranked by validation accuracy, never by the test set: set data.validation "
                             "in the base, or --set data.validation=0.1")
    return Plan(points, configs)


def _base(path, base) -> Draft:
    if isinstance(base, str):
        file = os.path.join(os.path.dirname(path), os.path.expanduser(base))
        return Draft().add(read_toml(file), file)
    if not isinstance(base, dict):
        raise DataError(f"{path}: base is a settings file or a table of settings, found {base!r}")
    return Draft().add(base, path)


# ---- what varies -----------------------------------------------------------------------------------------------------


def _axes(path, section: str, table, prefix: str = ""):
    """(dotted key, what it may be) of a table; [grid.train] seed = [...] is "train.seed" = [...]."""
    if not isinstance(table, dict):
        raise DataError(f"{path}: expected a table [{section}], found {table!r}")
    for key, value in table.items():
        full = f"{prefix}{key}"
        if isinstance(value, dict) and not set(value) & _RANGE:
            yield from _axes(path, section, value, f"{full}.")
        else:
            yield full, value


def _grid(path, table) -> list[dict]:
    axes = dict(_axes(path, "grid", table))
    count = 1
    for key, values in axes.items():
        if not isinstance(values, list) or not values:
            raise DataError(f"{path}: grid: {key}: expected a list of values, found {values!r}")
        if any(values[i] in values[:i] for i in range(len(values))):
            raise DataError(f"{path}: grid: {key}: a value stands there twice; that would be the same run twice")
        count *= len(values)
        if count > MOST:
            raise DataError(f"{path}: grid: more than {MOST:,} runs; leave values out, or draw at random")
    # The seed varies fastest: the runs of a setting stand together.
    keys = sorted(axes, key=lambda k: k == SEED)
    return [dict(zip(keys, values, strict=True)) for values in product(*(axes[k] for k in keys))]


def _draws(path, table) -> list[dict]:
    if not table:
        return [{}]
    if not isinstance(table, dict):
        raise DataError(f"{path}: expected a table [random], found {table!r}")
    n, seed = table.get("n"), table.get("seed", 0)
    for name, value, least, most in (("n", n, 1, MOST), ("seed", seed, 0, 2**63 - 1)):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise DataError(f"{path}: random: {name}: expected a whole number from {least} to {most:,}, found {value!r}")
    axes = dict(_axes(path, "random", {k: v for k, v in table.items() if k not in ("n", "seed")}))
    if not axes:
        raise DataError(f'{path}: random: nothing to draw: write, for example, "optimizer.lr" = {{low = 1e-4, high = 1e-2, log = '
                        'true}')
    drawers = {key: _drawer(f"{path}: random: {key}", spec) for key, spec in axes.items()}
    return [{key: draw(_uniform(seed, i, k)) for k, (key, draw) in enumerate(drawers.items())} for i in range(n)]


def _uniform(seed: int, draw: int, key: int) -> float:
    """A number in [0, 1) with 53 bits, a function of its arguments."""
    words = ffi.new("uint32_t[4]")
    lib.nn_philox(words, seed, lib.NN_STREAM_SWEEP, draw, key)
    return (words[0] >> 5 << 26 | words[1] >> 6) * 2.0**-53


def _drawer(where: str, spec):
    """A function from [0, 1) to the values of a specification. Raises DataError."""
    if isinstance(spec, list) or (isinstance(spec, dict) and set(spec) == {"choice"}):
        values = spec if isinstance(spec, list) else spec["choice"]
        if not isinstance(values, list) or not values:
            raise DataError(f"{where}: expected a list of values to choose from, found {values!r}")
        return lambda u: values[int(u * len(values))]
    if not isinstance(spec, dict) or not {"low", "high"} <= set(spec) <= {"low", "high", "log"}:
        raise DataError(f"{where}: expected a list of values or {{low = ..., high = ..., log = true}}, found {spec!r}")
    low, high, even = spec["low"], spec["high"], spec.get("log", False)
    is_number = all(isinstance(x, (int, float)) and not isinstance(x, bool) and abs(x) < 1e300 for x in (low, high))
    if not is_number or not low < high or not isinstance(even, bool) or (even and low <= 0):
        raise DataError(f"{where}: expected numbers low < high{', above 0 for log' if even else ''}, found {spec!r}")
    whole = isinstance(low, int) and isinstance(high, int)

    def draw(u: float):
        top = high + 1 if whole else high
        x = exp(log(low) + u * (log(top) - log(low))) if even else low + u * (top - low)
        if whole:
            return min(int(x // 1), high)
        # Four digits: to be read by people, and the same whatever the last bit of this machine's exp is.
        return min(max(float(f"{x:.4g}"), low), high)

    return draw


def _shown(point: dict) -> str:
    return " ".join(f"{k}={v}" for k, v in point.items())


# ---- what came out ---------------------------------------------------------------------------------------------------


def spread(values: list[float]) -> dict | None:
    """{mean, deviation (n - 1 in the denominator; None for one value), n}; None for no values."""
    if not values:
        return None
    return {"mean": mean(values), "deviation": stdev(values) if len(values) > 1 else None, "n": len(values)}


def summary(plan: Plan, results: list[dict]) -> tuple[list[dict], dict | None]:
    """(settings, best first, chosen): mean and spread over the seeds of each setting. `results`: {"state", "val_accuracy",
    "val_loss", "test_accuracy", "seconds"} per run. Settings with a failed run stand behind those without; the chosen one
    is the first that has a figure, and only it is told with its test accuracy.
    """
    groups: dict[str, dict] = {}
    for point, result in zip(plan.points, results, strict=True):
        setting = {k: v for k, v in point.items() if k != SEED}
        groups.setdefault(repr(setting), {"settings": setting, "runs": []})["runs"].append(result)
    rows, tests = [], {}
    for group in groups.values():
        done = [r for r in group["runs"] if r["state"] == "finished"]
        rows.append({"settings": group["settings"], "runs": len(group["runs"]), "finished": len(done),
                     "failed": sum(r["state"] == "failed" for r in group["runs"]),
                     "val_accuracy": spread([r["val_accuracy"] for r in done]),
                     "val_loss": spread([r["val_loss"] for r in done]), "seconds": spread([r["seconds"] for r in done])})
        tests[id(rows[-1])] = spread([r["test_accuracy"] for r in done if r["test_accuracy"] is not None])
    rows.sort(key=lambda r: (not r["val_accuracy"], r["failed"] > 0, -r["val_accuracy"]["mean"] if r["val_accuracy"] else 0))
    chosen = rows[0] if rows and rows[0]["val_accuracy"] else None
    return rows, chosen and {"settings": chosen["settings"], "val_accuracy": chosen["val_accuracy"],
                             "test_accuracy": tests[id(chosen)]}
