"""The page of a bench: the gates, every case against its peers, the roofline, and how ratios went from commit to commit.

It reads the JSON lines that nncore bench --out wrote, and trusts none of them.
"""

from __future__ import annotations

from math import exp, fsum, log
from pathlib import Path

from nncore.errors import DataError
from nncore.report import text
from nncore.report.charts import HEIGHT, LINE, SERIES, SOFT, WIDTH, Figure, digits, drawn, inline, value_axis, vega
from nncore.report.page import document
from nncore.report.read import HISTORY, harmless, json_lines, number

SCHEMA = "nncore.bench/1"
SUFFIX = ".jsonl"
MOST_RUNS = 30  # in the history
LEFT = 108  # room for the names of groups


def bench_files(path: str | Path) -> list[Path]:
    """The files of a folder, or the file and those beside it, up to it; oldest first. Empty if there are none: a run's history
    is no bench."""
    path = Path(path)
    if path.is_file() and path.suffix != SUFFIX:
        return []
    beside = path if path.is_dir() else path.parent
    found = [p for p in sorted(beside.glob(f"*{SUFFIX}")) if p.name != HISTORY]
    return found if path.is_dir() else [p for p in found if p <= path and path.is_file()]


def bench_html(files: list[Path], gates: list[dict]) -> str:
    """The page about the last of the files, the ones before as its history. gates: verdicts, as `nncore bench` states them.

    Raises DataError for a file that nncore bench did not write.
    """
    runs = [read_bench(path) for path in files[-MOST_RUNS:]]
    head, rows = runs[-1]
    try:
        threads = sorted({r["threads"] for r in rows})
        figures = [f for t in threads for f in (_ratios(rows, t), _roofline(rows, t)) if f]
        history = [f for t in threads for f in (_history(runs, t),) if f]
        return document("bench.html", title=f"Bench {harmless(head['commit'])}", about=_about(head), figures=figures,
                        history=history, gates=gates, overheads=_overheads(rows), growth=_growth(rows),
                        groups=_tables(rows))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError) as e:
        raise DataError(f"{files[-1]}: not as nncore bench wrote it: {type(e).__name__}: {e}") from e


def _about(head: dict) -> str:
    """Machine, time and versions in a line."""
    m = head["machine"]
    peers = [harmless(f"{k} {v}") for versions in head["peers"].values() for k, v in versions.items()]
    parts = [harmless(m["cpu"]), f"{m['processors']} processors", harmless(m["isa"]), harmless(m["compiler"])]
    return ", ".join(parts) + f"; {harmless(head['when'])}" + (f"; against {', '.join(peers)}" if peers else "")


def read_bench(path: Path) -> tuple[dict, list[dict]]:
    """(head, rows)."""
    found = json_lines(path)
    if not found or found[0].get("schema") != SCHEMA:
        raise DataError(f"{path}: not a file of nncore bench --out ({SCHEMA})")
    return found[0], found[1:]


# ---- charts ------------------------------------------------------------------------------------------------------------


def _log_x(field: str, title: str, values: list[float]):
    """A logarithmic axis around all values, with few labels."""
    low, high = min(values) / 1.1, max(values) * 1.1
    ticks = [t for t in (0.001, 0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000) if low <= t <= high]
    return vega().X(field, scale=vega().Scale(type="log", domain=[low, high], nice=False),
                   axis=vega().Axis(title=title, grid=True, values=ticks, format="~g"))


def _ratios(rows: list[dict], threads: int) -> Figure | None:
    """Every case a dot by its ratio, a line a group; the tick is the group's geometric mean."""
    dots = [{"group": harmless(r["group"]), "ratio": digits(p["ratio"]), "series": harmless(p["name"]),
             "case": harmless(f"{r['case']} {r['shape']}")}
            for r in rows if r["threads"] == threads and r.get("group") for p in r["peers"] if number(p["ratio"])]
    if not dots:
        return None
    names, packages = (list(dict.fromkeys(d[k] for d in dots)) for k in ("group", "series"))
    means = [{"group": g, "series": s, "ratio": digits(geometric(found))} for g in names for s in packages
             if (found := [d["ratio"] for d in dots if (d["group"], d["series"]) == (g, s)])]
    x = _log_x("ratio:Q", "times as fast as the peer", [d["ratio"] for d in dots] + [1.0])
    y = vega().Y("group:N", sort=names, axis=value_axis(grid=False, minExtent=LEFT, maxExtent=LEFT, labelLimit=LEFT))
    shift = vega().YOffset("series:N", sort=packages)
    palette = vega().Color("series:N", scale=vega().Scale(domain=packages, range=list(SERIES[: len(packages)])), legend=None)
    points = vega().Chart(inline(dots)).mark_point(filled=True, size=22, opacity=0.55).encode(
        x=x, y=y, yOffset=shift, color=palette, detail="case:N")
    ticks = vega().Chart(inline(means)).mark_tick(thickness=2.5, size=14).encode(x=x, y=y, yOffset=shift, color=palette)
    even = vega().Chart(inline([{"ratio": 1.0}])).mark_rule(color=SOFT, strokeDash=[4, 3]).encode(x=x)
    height = max(HEIGHT, 20 * len(names) * max(1, len(packages)))
    chart = (even + points + ticks).properties(width=WIDTH - LEFT + 44, height=height)
    return Figure(f"Ours against the peers, {told_threads(threads)}", drawn(chart, f"Ratios by group, {threads} threads"),
                  [(p, c, False) for p, c in zip(packages, SERIES, strict=False)],
                  "each dot a case, right of the dashed line we are faster; ticks are geometric means")


def _roofline(rows: list[dict], threads: int) -> Figure | None:
    """GFLOP/s against FLOP a byte, ours and the first peer's, under what the machine can do (Williams et al. 2009)."""
    mine = [r for r in rows if r["threads"] == threads]
    roofs = {r["shape"]: r["gbytes_per_s"] for r in mine if r["case"] == "limit read"}
    peaks = [r["gflops"] for r in mine if r["case"] == "limit fma"]
    dots = []
    for r in mine:
        if not (number(r.get("gflops")) and number(r.get("gbytes_per_s"))):
            continue
        x, case = r["gflops"] / r["gbytes_per_s"], harmless(f"{r['case']} {r['shape']}")
        dots.append({"x": digits(x), "value": digits(r["gflops"]), "series": "ours", "case": case})
        dots += [{"x": digits(x), "value": digits(r["gflops"] / p["ratio"]), "series": harmless(p["name"]), "case": case}
                 for p in r["peers"][:1] if number(p["ratio"])]
    if not dots:
        return None
    names = list(dict.fromkeys(d["series"] for d in dots))
    left, right = min(d["x"] for d in dots) / 1.5, max(d["x"] for d in dots) * 1.5
    top = peaks[0] if peaks else max(d["value"] for d in dots)
    lines = [{"x": x, "value": min(top, rate * x), "series": level} for level, rate in roofs.items()
             for x in (left, *([top / rate] if left < top / rate < right else []), right)]
    low = min(d["value"] for d in dots) / 1.5
    x = vega().X("x:Q", scale=vega().Scale(type="log", domain=[left, right], nice=False),
                axis=vega().Axis(title="FLOP per byte", grid=False, format="~g", tickCount=4))
    y = vega().Y("value:Q", scale=vega().Scale(type="log", domain=[low, top * 1.3], nice=False, clamp=True),
                 axis=value_axis("~g", values=[10.0**k for k in range(-3, 5) if low <= 10.0**k <= top * 1.3]))
    colour = vega().Color("series:N", scale=vega().Scale(domain=names, range=list(SERIES[: len(names)])), legend=None)
    chart = vega().Chart(inline(dots)).mark_point(filled=True, size=20, opacity=0.6)
    chart = chart.encode(x=x, y=y, color=colour, detail="case:N")
    if lines:
        chart = vega().Chart(inline(lines)).mark_line(color=LINE, strokeWidth=1.5).encode(x=x, y=y, detail="series:N") + chart
    told = ", ".join(f"{level} {text.decimal(rate, 3)}" for level, rate in roofs.items())
    chart = chart.properties(width=WIDTH, height=HEIGHT + 60)
    return Figure(f"Roofline, {told_threads(threads)}", drawn(chart, f"Roofline {threads}"),
                  [(n, c, False) for n, c in zip(names, SERIES, strict=False)],
                  f"GFLOP/s; roofs: FMA {text.decimal(top, 3)} GFLOP/s" + (f", reading GB/s from {told}" if told else ""))


def _history(runs: list[tuple[dict, list[dict]]], threads: int) -> Figure | None:
    """The groups' geometric means against the first peer, run by run. None with fewer than two runs."""
    points = []
    for number_, (head, rows) in enumerate(runs):
        groups: dict[str, list[float]] = {}
        for r in rows:
            if r["threads"] == threads and r.get("group") and r["peers"] and r["math"] == "f32":
                groups.setdefault(harmless(r["group"]), []).append(r["peers"][0]["ratio"])
        points += [{"run": number_, "value": digits(geometric(v)), "series": g, "commit": harmless(head["commit"])}
                   for g, v in groups.items()]
    names = list(dict.fromkeys(p["series"] for p in points))[: len(SERIES)]
    points = [p for p in points if p["series"] in names]
    if len({p["run"] for p in points}) < 2:
        return None
    values = [p["value"] for p in points] + [1.0]
    x = vega().X("run:O", axis=vega().Axis(title="run, oldest first", grid=False, labels=False, ticks=False))
    y = vega().Y("value:Q", scale=vega().Scale(type="log", domain=[min(values) / 1.1, max(values) * 1.1], nice=False),
                axis=value_axis("~g", values=[0.1, 0.2, 0.5, 1, 2, 5, 10, 20]))
    colour = vega().Color("series:N", scale=vega().Scale(domain=names, range=list(SERIES[: len(names)])), legend=None)
    base = vega().Chart(inline(points)).encode(x=x, y=y, color=colour)
    chart = base.mark_line(strokeWidth=1.75) + base.mark_point(filled=True, size=22).encode(detail="commit:N")
    drawing = drawn(chart.properties(width=WIDTH, height=HEIGHT + 40), f"History {threads}")
    return Figure(f"From commit to commit, {told_threads(threads)}", drawing,
                  [(n, c, False) for n, c in zip(names, SERIES, strict=False)], "geometric means of the groups' ratios")


# ---- tables ------------------------------------------------------------------------------------------------------------


def _tables(rows: list[dict]) -> list[tuple[str, list[dict]]]:
    """(group, its rows as text)."""
    found: dict[str, list[dict]] = {}
    for r in rows:
        found.setdefault(harmless(r.get("group") or r["case"]), []).append(_cells(r))
    return list(found.items())


def _cells(r: dict) -> dict:
    peers = [{"name": harmless(p["name"]), "way": harmless(p["way"]), "error": _error(p["error"]), "behind": p["high"] < 1,
              **{k: text.fixed(p[k], 2) for k in ("ratio", "low", "high")}} for p in r["peers"]]
    return {"case": harmless(r["case"]), "shape": harmless(r["shape"]), "math": harmless(r["math"]), "threads": r["threads"],
            "time": _time(r["seconds"]), "gflops": text.decimal(r["gflops"], 3), "gbytes": text.decimal(r["gbytes_per_s"], 3),
            "share": text.percent(r["share_of_peak"], 0), "error": _error(r.get("error")), "peers": peers}


def _overheads(rows: list[dict]) -> list[dict]:
    """What instruments and emulated formats cost, as text."""
    found = []
    for r in rows:
        if o := r.get("overhead"):
            found.append({"case": harmless(r["case"]), "shape": harmless(r["shape"]), "threads": r["threads"],
                          "time": _time(r["seconds"]), "limit": text.decimal(o["limit"], 3), "holds": o["holds"],
                          **{k: text.fixed(o[k], 3) for k in ("ratio", "low", "high")}})
    return found


def _growth(rows: list[dict]) -> list[dict]:
    """Time and memory over the number of images, as text."""
    found = []
    for r in rows:
        if g := r.get("growth"):
            found.append({"shape": harmless(r["shape"]), "threads": r["threads"], "time": _time(r["seconds"]),
                          "holds": g["holds"], "beside": text.decimal(g["beside_data_bytes"] / 1e6, 3),
                          **{k: text.fixed(g[k], 3) for k in ("ratio", "low", "high")}})
    return found


def _time(value) -> str:
    if number(value) is None:
        return text.NONE
    return text.seconds(value) if value >= 0.1 else f"{text.micro(value * 1e6)}\u202f\u00b5s"


def _error(value) -> str:
    return text.NONE if number(value) is None else "exact" if value == 0 else f"{value:.1e}"


def told_threads(n: int) -> str:
    return "one thread" if n == 1 else f"{n} threads"


def geometric(values: list[float]) -> float:
    return exp(fsum(map(log, values)) / len(values))
