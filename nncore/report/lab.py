"""The page of the laboratory: a chapter an experiment, read as a course on floating point in neural networks.

It is made of what `nncore lab --json` prints, and trusts none of it.
"""

from __future__ import annotations

import re
from itertools import cycle
from math import floor, isfinite, log10
from pathlib import Path

from nncore.errors import DataError
from nncore.report import text
from nncore.report.charts import HEIGHT, INK, SERIES, SOFT, WIDTH, Figure, digits, drawn, inline, thin, value_axis, vega
from nncore.report.page import document
from nncore.report.read import harmless, number

SCHEMA = "nncore.lab/1"
LONG, SHORT = 2000, 160  # characters of a paragraph, of a cell
FEWEST, MOST_DIGITS = 4, 9  # significant digits of a figure
MOST_TICKS = 6


def lab_html(found: dict, path: str | Path = "lab.json") -> str:
    """The page about what `nncore lab` found. Raises DataError for anything else."""
    try:
        if found["schema"] != SCHEMA:
            raise ValueError(f"schema {found['schema']!r}")
        experiments = [_experiment(n, r) for n, r in enumerate(found["experiments"], 1)]
        chapters: dict[str, list[dict]] = {}
        for e in experiments:
            chapters.setdefault(e["chapter"], []).append(e)
        return document("lab.html", title="The numerics laboratory", about=_about(found), tiles=_tiles(found["experiments"]),
                        chapters=list(chapters.items()))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as e:
        raise DataError(f"{path}: not as nncore lab wrote it: {type(e).__name__}: {e}") from e


def _about(found: dict) -> str:
    names = {"version": "nncore", "numerics_id": "numerics id", "isa": "instruction set", "python": "Python"}
    return ", ".join(f"{name} {harmless(found[key])}" for key, name in names.items() if found.get(key) is not None)


def _tiles(records: list[dict]) -> list[dict]:
    findings = [f for r in records for f in r["findings"]]
    held = sum(f["accepted"] is True for f in findings)
    took = sum(s for r in records if (s := number(r["seconds"])) is not None)
    return [{"name": "experiments", "value": str(len(records)), "note": "each held against theory", "class": ""},
            {"name": "findings that hold", "value": f"{held} of {len(findings)}", "note": "measured, against what was expected",
             "class": "good" if held == len(findings) else "bad"},
            {"name": "time", "value": text.seconds(took), "note": "of one core, all experiments", "class": ""}]


def _experiment(n: int, r: dict) -> dict:
    """What the template lays out."""
    figures = [_picture(f"{n} {i} {harmless(p['title'])}", p) for i, p in enumerate(r["pictures"])]
    return {
        **{key: harmless(r[key], LONG) for key in ("name", "title", "chapter", "formula", "theory", "source", "code")},
        "id": f"e{n}", "good": r["accepted"] is True, "figures": [f for f in figures if f],
        "findings": [_finding(f) for f in r["findings"]],
        "tables": [{"title": harmless(t["title"], SHORT), "head": [harmless(h, SHORT) for h in t["head"]],
                    "rows": _rows(t["rows"])} for t in r["tables"]],
        "missing": [harmless(m, LONG) for m in r["missing"]], "seconds": text.seconds(r["seconds"]),
        "parameters": [(harmless(k), harmless(v, SHORT)) for k, v in r["parameters"].items()],
    }


def _finding(f: dict) -> dict:
    """The measured figure with as many digits as the expected one has."""
    expected = harmless(f["expected"], SHORT)
    wanted = max((len(d.replace(".", "").strip("0")) for d in re.findall(r"[\d.]+", expected)), default=0)
    return {"text": harmless(f["text"], LONG), "expected": expected, "good": f["accepted"] is True,
            "measured": _value(f["measured"], min(max(FEWEST, wanted), MOST_DIGITS))}


def _rows(rows: list[list]) -> list[list[str]]:
    """Cells as text; a column has as many digits as tell its values apart."""
    columns = []
    for column in zip(*rows, strict=True):
        apart = len({_value(v, MOST_DIGITS) for v in column})
        places = next(d for d in range(FEWEST, MOST_DIGITS + 1) if len({_value(v, d) for v in column}) == apart)
        columns.append([_value(v, places) for v in column])
    return [list(row) for row in zip(*columns, strict=True)]


def _value(value, places: int) -> str:
    """A figure of a table; text stays text, a whole number whole."""
    if isinstance(value, float) and not isfinite(value):
        return "NaN" if value != value else "\u221e" if value > 0 else "\u2212\u221e"
    if isinstance(value, float) and abs(value) < 1e9 and value == int(value):
        value = int(value)
    return harmless(value, SHORT) if isinstance(value, (str, bool)) else text.decimal(value, places, 1e6)


# ---- pictures ----------------------------------------------------------------------------------------------------------


def _picture(label: str, p: dict) -> Figure | None:
    """Measured curves with their points; theory, thin and dashed, lies over them, and grey bounds. None without a point."""
    styles = _styles(p["curves"])
    rows = []
    for k, c in enumerate(p["curves"]):
        found = [(x, y) for x, y in zip(c["x"], c["y"], strict=True) if _shows(x, p["log_x"]) and _shows(y, p["log_y"])]
        rows += [{"x": digits(x), "y": digits(y), "curve": k, "dashed": styles[k][2]} for x, y in thin(found, 200)]
    if not rows:
        return None
    alt = vega()
    x = alt.X("x:Q", **_axis([r["x"] for r in rows], p["log_x"], False, harmless(p["x"], SHORT)))
    y = alt.Y("y:Q", **_axis([r["y"] for r in rows], p["log_y"], True, harmless(p["y"], SHORT)))
    order = list(range(len(styles)))
    colour = alt.Color("curve:N", scale=alt.Scale(domain=order, range=[c for _, c, _ in styles]), legend=None, sort=None)

    def part(dashed: bool):
        return alt.Chart(inline([r for r in rows if r["dashed"] is dashed])).encode(x=x, y=y, color=colour, detail="curve:N")

    few = max(sum(r["curve"] == k for r in rows) for k in order) <= 40
    solid = part(False)
    chart = solid.mark_line(strokeWidth=2.5, strokeJoin="round", opacity=0.7)
    chart += solid.mark_point(filled=True, size=26 if few else 5, opacity=1.0 if few else 0.0)
    chart += part(True).mark_line(strokeWidth=1.25, strokeDash=[4, 3], strokeJoin="round")
    drawing = drawn(chart.properties(width=WIDTH, height=HEIGHT + 20), f"Experiment {label}")
    return Figure(harmless(p["title"], SHORT), drawing, _legend(styles), harmless(p["note"], LONG))


def _styles(curves: list[dict]) -> list[tuple[str, str, bool]]:
    """(name, colour, dashed) of each curve."""
    colours, found = cycle(SERIES), []
    for c in curves:
        colour = next(colours) if c["role"] == "measured" else INK if c["role"] == "theory" else SOFT
        found.append((harmless(c["name"], SHORT), colour, c["role"] != "measured"))
    return found


def _legend(styles: list[tuple[str, str, bool]]) -> list[tuple[str, str, bool]]:
    """Each entry once; more than two curves of theory lie near enough to what they are the theory of."""
    found = list(dict.fromkeys(styles))
    theory = [e for e in found if e[1] == INK]
    if len(theory) < 3:
        return found
    return [*(e for e in found if e[1] != INK), ("theory", INK, True)]


def _shows(value, log: bool) -> bool:
    """Whether an axis has a place for it."""
    return number(value) is not None and (value > 0 or not log)


def _axis(values: list[float], log: bool, upright: bool, title: str) -> dict:
    """Scale and axis around all values. The title of the upright axis lies over it: it is read without turning the head."""
    alt = vega()
    more = {"titleAngle": 0, "titleAlign": "left", "titleAnchor": "end", "titleX": -44, "titleY": -14} if upright else {}
    low, high = min(values), max(values)
    if not log:
        scale = alt.Scale(zero=False, nice=upright, **({} if upright or low == high else {"domain": [low, high]}))
        axis = value_axis("~f" if max(abs(low), abs(high)) < 1e6 else "~s", grid=upright, **more)
    else:
        low, high = (low / 2, high * 2) if high / low < 2 else (low, high)
        scale = alt.Scale(type="log", domain=[low, high], nice=False)
        ticks = _ticks(low, high)
        names = " : ".join(f"datum.value == {t!r} ? '{_power(t)}'" for t in ticks)
        axis = value_axis(grid=upright, values=ticks, labelExpr=f"{names} : ''", **more)
    axis.title = title
    return {"scale": scale, "axis": axis}


def _ticks(low: float, high: float) -> list[float]:
    """Powers of ten, every second or third where they are many; 1, 2 and 5 where they are few."""
    first, last = floor(log10(low)), floor(log10(high)) + 1
    inner = (1, 2, 5) if last - first <= 2 else (1,)
    step = -(-(last - first) // MOST_TICKS)
    found = [m * 10.0**k for k in range(first, last + 1) if k % step == 0 for m in inner]
    return [t for t in found if low * 0.999 <= t <= high * 1.001]


def _power(value: float) -> str:
    """0.01, 1, 200, 10^6: a tick's label."""
    exponent = floor(log10(value) + 1e-9)
    return f"{value:g}" if -3 <= exponent <= 4 else text.decimal(value, 1, 1.0).removeprefix("1\u00b7")
