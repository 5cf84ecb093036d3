"""Curves and diagrams: data in, a figure out - title, drawing, legend. One size, one left edge, colours from the page.

Titles and legends are HTML, so that they wrap, print and follow the theme; Vega draws marks and axes only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log10
from zlib import crc32

from nncore.report.read import number
from nncore.report.render import svg

WIDTH, HEIGHT, STRIP, LEFT = 318, 180, 56, 44
SERIES = tuple(f"var(--s{i})" for i in range(8))
INK, SOFT, LINE = "var(--ink)", "var(--soft)", "var(--line)"
MOST_POINTS = 400


@dataclass
class Figure:
    """A drawing in the page: SVG that is safe to insert, and what stands around it."""

    title: str
    svg: str
    legend: list[tuple[str, str, bool]] = field(default_factory=list)  # (name, colour, dashed)
    note: str = ""


def colours(n: int) -> list[str]:
    """Colours of n series: eight of the page's, or beyond that a ramp from blue over green to amber, readable on both grounds."""
    if n <= len(SERIES):
        return list(SERIES[:n])
    anchors = [(47, 111, 179), (31, 150, 139), (128, 154, 50), (214, 137, 16)]
    found = []
    for i in range(n):
        at = i / (n - 1) * (len(anchors) - 1)
        k = min(int(at), len(anchors) - 2)
        rgb = (round(a + (b - a) * (at - k)) for a, b in zip(anchors[k], anchors[k + 1], strict=True))
        found.append("#" + "".join(f"{v:02x}" for v in rgb))
    return found


# ---- parts -----------------------------------------------------------------------------------------------------------


def vega():
    import altair

    return altair


def inline(rows: list[dict]):
    return vega().Data(values=rows)


def digits(value: float) -> float:
    """Five significant digits: what a tooltip may show."""
    return float(f"{value:.5g}")


def thin(points: list, most: int = MOST_POINTS) -> list:
    """At most about `most` of the points, evenly, the last one always."""
    step = -(-len(points) // most)
    return points if step < 2 else [*points[:-1:step], points[-1]]


def value_axis(format: str | None = None, grid: bool = True, count: int = 5, **more):
    return vega().Axis(title=None, grid=grid, tickCount=count, **({"format": format} if format else {}), **more)


def _epochs(domain: tuple[float, float], labels: bool = True):
    """The x axis of whole epochs."""
    alt = vega()
    whole = max(1, -(-int(domain[1] - domain[0]) // 6))
    values = list(range(int(domain[0]), int(domain[1]) + 1, whole))
    axis = alt.Axis(title="epoch" if labels else None, grid=False, values=values, format="d", labels=labels, ticks=labels)
    return alt.X("epoch:Q", scale=alt.Scale(domain=list(domain), nice=False), axis=axis)


# No domain line and no ticks on the left, labels of one width: plots of one column begin at one edge.
_LOOK = {
    "background": None, "padding": {"left": 4, "right": 16, "top": 8, "bottom": 4}, "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {"labelColor": SOFT, "titleColor": SOFT, "gridColor": LINE, "domainColor": LINE, "tickColor": LINE,
             "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "labelPadding": 5, "tickSize": 3,
             "titlePadding": 4, "labelFlush": False},
    "axisY": {"minExtent": LEFT, "maxExtent": LEFT, "domain": False, "ticks": False},
    "concat": {"spacing": 10},
}


def drawn(chart, label: str) -> str:
    """Rendered; `label` says in words what it shows."""
    return svg(chart, _LOOK, label, f"c{crc32(label.encode()):08x}")


def _lines(rows: list[dict], names: list[str], palette: list[str], x, y, dashed: tuple[str, ...] = ()):
    """Lines with small points: a line of one epoch is a point. `rows` have epoch, value, series, and set."""
    alt = vega()
    colour = alt.Color("series:N", scale=alt.Scale(domain=names, range=palette), legend=None, sort=None)
    base = alt.Chart(inline(rows)).encode(x=x, y=y, color=colour, detail="set:N")
    dash = alt.StrokeDash("set:N", scale=alt.Scale(domain=["", *dashed], range=[[1, 0], *[[4, 3]] * len(dashed)]), legend=None)
    many = max((sum(r["series"] == n for r in rows) for n in names), default=0) > 60
    lines = base.mark_line(strokeWidth=1.75, interpolate="linear", strokeJoin="round").encode(strokeDash=dash)
    points = base.mark_point(filled=True, size=5 if many else 22, opacity=0.0 if many else 1.0)
    return lines + points


def _value(format: str, zero: bool = False, domain: list | None = None):
    alt = vega()
    scale = alt.Scale(zero=zero, nice=True, **({"domain": domain} if domain else {}))
    return alt.Y("value:Q", scale=scale, axis=value_axis(format))


def _series(history: list[dict], columns: list[tuple[str, str]]) -> list[dict]:
    """Rows {epoch, value, series, set} of the columns that hold numbers."""
    rows = []
    for key, name in columns:
        found = [(r["epoch"], v) for r in history if (v := number(r.get(key))) is not None]
        rows += [{"epoch": e, "value": digits(v), "series": name, "set": ""} for e, v in thin(found)]
    return rows


# ---- learning --------------------------------------------------------------------------------------------------------


def learning(history: list[dict], key: str, title: str, rate: dict | None) -> Figure | None:
    """A figure of training and validation over epochs, with the learning rate under it. None without any value."""
    columns = [(key, "training"), (f"val_{key}", "validation")]
    rows = _series(history, columns)
    if not rows:
        return None
    names = [n for _, n in columns if any(r["series"] == n for r in rows)]
    palette = [SERIES[0 if n == "training" else 1] for n in names]
    last = max(r["epoch"] for r in history)
    if rate:
        last = max(last, rate["steps"][-1] / rate["steps_per_epoch"])
    domain = (0, last)
    format = ".0%" if key == "accuracy" else "~g"
    if key == "accuracy" and max(r["value"] for r in rows) - min(r["value"] for r in rows) < 0.05:
        format = ".1%"
    top = _lines(rows, names, palette, _epochs(domain, labels=not rate), _value(format)).properties(width=WIDTH, height=HEIGHT)
    legend = [(n, c, False) for n, c in zip(names, palette, strict=True)]
    if not rate:
        return Figure(title, drawn(top, f"{title} over epochs"), legend)
    legend.append(("learning rate", SERIES[7], False))
    chart = vega().vconcat(top, _rate(rate, domain)).resolve_scale(x="independent", color="independent", strokeDash="independent")
    return Figure(title, drawn(chart, f"{title} over epochs, the learning rate below"), legend)


def _rate(rate: dict, domain: tuple[float, float]):
    """The strip of the learning rate."""
    alt = vega()
    points = thin(list(zip(rate["steps"], rate["rates"], strict=True)))
    rows = [{"epoch": s / rate["steps_per_epoch"], "value": digits(r)} for s, r in points]
    top = max(r["value"] for r in rows) or 1.0
    y = alt.Y("value:Q", scale=alt.Scale(domain=[0, top], nice=False), axis=value_axis("~g", count=2, values=[0, top]))
    base = alt.Chart(inline(rows)).encode(x=_epochs(domain), y=y)
    area = base.mark_area(color=SERIES[7], opacity=0.18, interpolate="step-after")
    return (area + base.mark_line(color=SERIES[7], strokeWidth=1.25, interpolate="step-after")).properties(
        width=WIDTH, height=STRIP)


# ---- layers ----------------------------------------------------------------------------------------------------------


def layers(history: list[dict], key: str, title: str, note: str, names: list[str], share: bool = False) -> Figure | None:
    """A figure of every layer over epochs, logarithmic unless it is a share. None where no layer has the figure.

    `names` are all layers of the section: a layer has one colour in all its charts.
    """
    palette = dict(zip(names, colours(len(names)), strict=True))
    rows = []
    for record in thin(history, 120):
        for n, layer in enumerate(record.get("layers") or []):
            value = number(layer.get(key))
            if value is not None and n < len(names) and (share or value > 0):
                rows.append({"epoch": record["epoch"], "value": digits(value), "series": names[n], "set": ""})
    shown = [n for n in names if any(r["series"] == n for r in rows)]
    if not rows:
        return None
    domain = (min(1, min(r["epoch"] for r in rows)), max(max(r["epoch"] for r in rows), 2))
    values = [r["value"] for r in rows]
    y = _value(".0%", zero=True, domain=[0, max(max(values), 0.1)]) if share else _logarithmic(values)
    chart = _lines(rows, shown, [palette[n] for n in shown], _epochs(domain), y)
    return Figure(title, drawn(chart.properties(width=WIDTH, height=HEIGHT), f"{title} over epochs, by layer"),
                  [(n, palette[n], False) for n in shown], note)


def _logarithmic(values: list[float]):
    """A logarithmic axis that shows at least one power of ten, labelled where labels have room."""
    low, high = min(values), max(values)
    if high / low < 10:
        middle = (low * high) ** 0.5
        low, high = min(low, middle / 3.17), max(high, middle * 3.17)
    decades = log10(high / low)
    alt = vega()
    first, last = int(log10(low)) - 2, int(log10(high)) + 2
    ticks = [m * 10.0**k for k in range(first, last) for m in ((1, 2, 5) if decades < 2 else (1,))]
    ticks = [t for t in ticks if low * 0.99 <= t <= high * 1.01]
    return alt.Y("value:Q", scale=alt.Scale(type="log", domain=[low, high], nice=False), axis=value_axis("~g", values=ticks))


# ---- certainty -------------------------------------------------------------------------------------------------------


def reliability(calibration: dict) -> Figure:
    """Accuracy against confidence by bins, the diagonal where both agree, and how many samples each bin has."""
    alt = vega()
    bins = [b for b in calibration["bins"] if b["count"]]
    total = sum(b["count"] for b in bins)
    rows = [{"low": b["low"], "high": b["high"], "confidence": digits(b["confidence"]), "accuracy": digits(b["accuracy"]),
             "samples": b["count"], "share": digits(b["count"] / total)} for b in bins]

    def x(field: str, labels: bool = False):
        axis = alt.Axis(title="confidence" if labels else None, format=".0%", grid=False, tickCount=5, labels=labels,
                        ticks=labels)
        return alt.X(field, scale=alt.Scale(domain=[0, 1]), axis=axis)

    y = alt.Y("accuracy:Q", scale=alt.Scale(domain=[0, 1]), axis=value_axis(".0%"))
    base = alt.Chart(inline(rows))
    bars = base.mark_bar(color=SERIES[0], opacity=0.28, binSpacing=1).encode(x=x("low:Q"), x2="high:Q", y=y, y2=alt.datum(0))
    points = base.mark_point(filled=True, size=34, color=SERIES[0]).encode(x=x("confidence:Q"), y=y)
    line = alt.Chart(inline([{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}])).mark_line(
        color=SOFT, strokeDash=[4, 3], strokeWidth=1).encode(x=x("confidence:Q"), y=y)
    top = (bars + line + points).properties(width=WIDTH, height=HEIGHT + 20)
    share = alt.Y("share:Q", scale=alt.Scale(zero=True), axis=value_axis(".0%", count=2))
    below = base.mark_bar(color=SERIES[7], opacity=0.6, binSpacing=1).encode(
        x=x("low:Q", True), x2="high:Q", y=share, y2=alt.datum(0)).properties(width=WIDTH, height=STRIP)
    chart = alt.vconcat(top, below).resolve_scale(x="independent", y="independent")
    legend = [("accuracy in the bin", SERIES[0], False), ("perfectly calibrated", SOFT, True),
              ("share of samples", SERIES[7], False)]
    return Figure("Reliability", drawn(chart, "Accuracy against confidence"), legend)


def abstaining(calibration: dict) -> Figure:
    """Accuracy among the surest samples, against their share: what a network gains that may say it does not know."""
    alt = vega()
    bins = [b for b in calibration["bins"] if b["count"]]
    total, rows, n, right = sum(b["count"] for b in bins), [], 0, 0.0
    for b in reversed(bins):
        n, right = n + b["count"], right + b["accuracy"] * b["count"]
        rows.append({"answered": digits(n / total), "accuracy": digits(right / n), "confidence from": digits(b["low"])})
    low = min(*(r["accuracy"] for r in rows), 0.99)
    axis = alt.Axis(title="share answered", format=".0%", grid=False, tickCount=5)
    x = alt.X("answered:Q", scale=alt.Scale(domain=[0, 1]), axis=axis)
    y = alt.Y("accuracy:Q", scale=alt.Scale(domain=[low - (1 - low) / 8, 1], nice=True), axis=value_axis("~%"))
    base = alt.Chart(inline(rows)).encode(x=x, y=y)
    points = base.mark_point(filled=True, size=30, color=SERIES[0]).encode(detail="confidence from:Q")
    chart = (base.mark_line(color=SERIES[0], strokeWidth=1.75) + points).properties(width=WIDTH, height=HEIGHT + 20 + STRIP)
    return Figure("If it may abstain", drawn(chart, "Accuracy of the surest"),
                  note="accuracy when only the samples above a confidence are answered")


def scatter(pairs: list[list[float]]) -> Figure:
    """Predictions against targets."""
    alt = vega()
    rows = [{"target": digits(t), "prediction": digits(p)} for t, p in pairs]
    ends = [min(min(r.values()) for r in rows), max(max(r.values()) for r in rows)]
    x = alt.X("target:Q", scale=alt.Scale(zero=False), axis=alt.Axis(title="target", grid=False, tickCount=5, format="~g"))
    y = alt.Y("prediction:Q", scale=alt.Scale(zero=False), axis=value_axis("~g"))
    points = alt.Chart(inline(rows)).mark_point(filled=True, size=12, opacity=0.5, color=SERIES[0]).encode(x=x, y=y)
    line = alt.Chart(inline([{"target": e, "prediction": e} for e in ends])).mark_line(
        color=SOFT, strokeDash=[4, 3], strokeWidth=1).encode(x=x, y=y)
    return Figure("Predictions against targets", drawn((line + points).properties(width=WIDTH, height=HEIGHT + 60), "Scatter"),
                  [("a sample", SERIES[0], False), ("prediction = target", SOFT, True)])


# ---- several runs ----------------------------------------------------------------------------------------------------


def overlaid(runs: list[tuple[str, list[dict]]], key: str, title: str) -> Figure | None:
    """One figure for several runs: training solid, validation dashed, a colour a run. None without any value."""
    names = [name for name, _ in runs]
    palette = colours(len(names))
    rows = []
    for name, history in runs:
        for column, group in ((key, ""), (f"val_{key}", "validation")):
            rows += [{**r, "set": group} for r in _series(history, [(column, name)])]
    if not rows:
        return None
    last = max(r["epoch"] for r in rows)
    format = ".0%" if key == "accuracy" else "~g"
    if key == "accuracy" and max(r["value"] for r in rows) - min(r["value"] for r in rows) < 0.05:
        format = ".1%"
    chart = _lines(rows, names, palette, _epochs((min(1, last - 1), last)), _value(format), ("validation",))
    legend = [(n, c, False) for n, c in zip(names, palette, strict=True)]
    if any(r["set"] for r in rows):
        legend.append(("validation", SOFT, True))
    return Figure(title, drawn(chart.properties(width=WIDTH, height=HEIGHT + 40), f"{title} of all runs over epochs"), legend)
