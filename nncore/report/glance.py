"""A bench at a glance: one picture for who has never seen the project, how many times as fast as a peer ours is.

It draws all files that nncore bench --out left in a folder, of one machine, and stands alone: light and dark.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from nncore.errors import DataError
from nncore.report import text
from nncore.report.bench import geometric, read_bench, told_threads
from nncore.report.charts import INK, SERIES, SOFT, digits, drawn, inline, vega
from nncore.report.page import TEMPLATES
from nncore.report.read import harmless, number

PEERS = {"torch": "PyTorch", "numpy": "NumPy", "sklearn": "scikit-learn"}
# (group of groups.py, what a newcomer calls it), in the order of the picture.
LINES = (
    ("assignment", "the whole assignment, from CSV to predictions"), ("epoch 784-128-10", "training a network 784-128-10"),
    ("epoch 784-256-128-10", "training 784-256-128-10"), ("epoch lenet5", "training LeNet-5"),
    ("epoch conv-net", "training 2x32 + 2x64 convolutions"), ("epoch resnet-small", "training a small ResNet"),
    ("latency", "the class of one image, from Python"), ("gemm", "matrix products"),
    ("gemm N=10", "matrix products with ten columns"), ("conv", "convolutions from 32 channels on"),
    ("conv small", "first layers, LeNet's convolutions"),
    ("elementwise", "activations, losses, pooling, norms, sums, Adam"), ("random", "dropout and random numbers"),
)  # fmt: skip
WIDTH, ROOM, BAR = 380, 300, 15  # of bars; of their names; of one bar's height


def glance_svg(files: list[Path], peer: str = "torch") -> str:
    """The picture of all files, the later of two measurements of the same case. Mode f32, medians, geometric means of groups.

    Raises DataError for a file that nncore bench did not write, for files of several machines, and if none met the peer.
    """
    machines, version, found = set(), "", {}
    for path in files:
        head, rows = read_bench(path)
        try:
            machines.add(head["machine"]["cpu"])
            version = head["peers"].get(peer, {}).get(peer, "")
            found |= {(r["group"], r["case"], r["shape"], int(r["threads"])): p["ratio"] for r in rows for p in r["peers"]
                      if r["math"] == "f32" and r.get("group") and p["name"] == peer and number(p["ratio"])}
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise DataError(f"{path}: not as nncore bench wrote it: {type(e).__name__}: {e}") from e
    if len(machines) > 1:
        raise DataError(f"{files[0].parent}: files of several machines, which no picture can compare: {', '.join(machines)}")
    bars = _bars(found)
    if not bars:
        raise DataError(f"{files[0].parent}: no file has a ratio against {peer}: nncore bench --against {peer} --out DIR")
    name = PEERS.get(peer, harmless(peer))
    return _alone(_drawn(bars, name), f"{name} {harmless(version.partition('+')[0])}", harmless(machines.pop()))


def _bars(found: dict[tuple, float]) -> list[dict]:
    """One bar for each group and number of threads that was measured."""
    bars = []
    for group, title in LINES:
        for threads in sorted({key[3] for key in found if key[0] == group}):
            ratios = [r for key, r in found.items() if key[0] == group and key[3] == threads]
            ratio = geometric(ratios)
            bars.append({"what": title, "threads": threads, "series": told_threads(threads), "ratio": digits(ratio),
                         "told": text.fixed(ratio, 2)})
    return bars


def _drawn(bars: list[dict], name: str) -> str:
    alt = vega()
    names = list(dict.fromkeys(b["what"] for b in bars))
    series = list(dict.fromkeys(b["series"] for b in sorted(bars, key=lambda b: b["threads"])))
    top = max(b["ratio"] for b in bars) * 1.12
    x = alt.X("ratio:Q", scale=alt.Scale(domain=[0, max(top, 1.2)], nice=False),
              axis=alt.Axis(title=f"times as fast as {name}", grid=False, tickCount=6, format="d"))
    y = alt.Y("what:N", sort=names, axis=alt.Axis(title=None, labelLimit=ROOM, minExtent=ROOM, maxExtent=ROOM, domain=False,
                                                  ticks=False, labelFontSize=12, labelColor=INK))
    shift = alt.YOffset("series:N", sort=series)
    colour = alt.Color("series:N", scale=alt.Scale(domain=series, range=list(SERIES[: len(series)])), sort=series,
                       legend=alt.Legend(title=None, orient="top", labelColor=SOFT, labelFontSize=12))
    base = alt.Chart(inline(bars)).encode(x=x, y=y, yOffset=shift)
    even = alt.Chart(inline([{"ratio": 1.0}])).mark_rule(color=SOFT, strokeDash=[4, 3]).encode(x="ratio:Q")
    told = base.mark_text(align="left", dx=4, fontSize=11, color=SOFT).encode(text="told:N")
    chart = base.mark_bar(height={"band": 0.9}).encode(color=colour) + told + even
    height = BAR * len(names) * len(series) + 8 * len(names)
    return drawn(chart.properties(width=WIDTH, height=height), f"How many times as fast as {name}, by kind of work")


def _alone(svg: str, peer: str, machine: str) -> str:
    """The drawing as a document: the page's colours, its ground, and what was measured under it."""
    style = (TEMPLATES / "style.css").read_text().partition("* {")[0]
    opening, _, rest = svg.partition(">")
    width, height = map(float, opening.split('viewBox="')[1].split('"')[0].split()[2:])
    opening = opening.replace(f'viewBox="0 0 {width:g} {height:g}"', f'viewBox="0 0 {width:g} {height + 24:g}"')
    told = escape(f"mode f32, medians by turns on {machine}, against {peer}; the dashed line is {peer.partition(' ')[0]}")
    style += "text { font-family: system-ui, sans-serif }"
    return (f'{opening} width="{width:g}" height="{height + 24:g}"><style>{style}</style>'
            f'<rect width="100%" height="100%" fill="var(--ground)"/>'
            f'<text x="12" y="{height + 12:g}" font-size="11" fill="{SOFT}">{told}</text>{rest}\n')
