"""The computational graph as SVG: one card per layer in ranks from top to bottom, the forward pass in solid edges, the
backward pass in dashed ones beside them. Works on the plain data of nncore/train/outline.py; light and dark.

Ranks are longest paths from the input; within a rank, cards stand under the middle of those they read (Sugiyama, Tagawa,
Toda 1981, with one sweep, which is enough for networks as papers draw them). An edge that skips ranks runs in a lane of its
own beside the cards between.
"""

from __future__ import annotations

from html import escape

CHAR, LINE, PAD, GAP_X, GAP_Y, LANE = 6.7, 16, 10, 28, 34, 22

STYLE = """
svg { --paper: #fff; --card: #f4f6f8; --edge: #5b6770; --ink: #1b1f23; --soft: #5b6770; --forward: #0b66a8; --back: #b4530a }
@media (prefers-color-scheme: dark) {
  svg { --paper: #14181c; --card: #20262c; --edge: #93a1ad; --ink: #e8ecef; --soft: #a5b1bb; --forward: #6cb6ee; --back: #f0a35e }
}
.paper { fill: var(--paper) } .card { fill: var(--card); stroke: var(--edge) }
text { font: 11px ui-monospace, Menlo, Consolas, monospace; fill: var(--ink) }
.title { font-weight: 600 } .soft { fill: var(--soft) } .forward { fill: var(--forward) } .backward { fill: var(--back) }
path { fill: none; stroke: var(--forward); stroke-width: 1.4 } path.back { stroke: var(--back); stroke-dasharray: 4 3 }
.tip { fill: var(--forward) } .tip.back { fill: var(--back) }
"""


def draw(outline: dict) -> str:
    """The SVG text of an outline. Everything that comes from outside is escaped."""
    cards = {c["id"]: dict(c, lines=_lines(c)) for c in outline["cards"]}
    for c in cards.values():
        c["w"] = 2 * PAD + CHAR * max(len(text) for _, text in c["lines"])
        c["h"] = 2 * PAD + LINE * len(c["lines"]) - 4
    forward = [e for e in outline["edges"] if e["phase"] == "forward"]
    width, height = _place(cards, forward)
    lanes, width = _lanes(cards, forward, width)
    backward = {(e["from"], e["to"]) for e in outline["edges"] if e["phase"] == "backward"}
    body = []
    for i, e in enumerate(forward):
        body += _edge(cards[e["from"]], cards[e["to"]], lanes.get(i), (e["from"], e["to"]) in backward)
    for c in cards.values():
        body += _card(c)
    title = escape(outline["title"])
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}" role="img"><title>{title}</title><style>{STYLE}</style>'
            f'<rect class="paper" width="100%" height="100%"/>{"".join(body)}</svg>')


def _lines(card: dict) -> list[tuple[str, str]]:
    shape = "x".join(map(str, card["shape"]))
    about = ", ".join(filter(None, [shape, f"{card['parameters']:,} parameters" if card["parameters"] else ""]))
    lines = [("title", card["title"]), *([("soft", about)] if about else [])]
    return lines + [("forward", x) for x in card["forward"]] + [("backward", x) for x in card["backward"]]


def _place(cards: dict, edges: list[dict]) -> tuple[float, float]:
    """Give every card its rank, x and y; returns the drawing's size."""
    sources: dict[str, list[str]] = {name: [] for name in cards}
    for e in edges:
        sources[e["to"]].append(e["from"])
    for name, c in cards.items():  # cards come in topological order
        c["rank"] = max((cards[s]["rank"] + 1 for s in sources[name]), default=0)
    ranks: dict[int, list[str]] = {}
    for name, c in cards.items():
        ranks.setdefault(c["rank"], []).append(name)
    widest = max(sum(cards[n]["w"] + GAP_X for n in names) for names in ranks.values())
    y = PAD
    for rank in sorted(ranks):
        names = sorted(ranks[rank], key=lambda n: sum(cards[s]["x"] for s in sources[n]) / max(len(sources[n]), 1))
        x = PAD + LANE + (widest - sum(cards[n]["w"] + GAP_X for n in names) + GAP_X) / 2
        for n in names:
            cards[n]["x"], cards[n]["y"] = x, y
            x += cards[n]["w"] + GAP_X
        y += max(cards[n]["h"] for n in names) + GAP_Y
    return widest + 2 * (PAD + LANE), y - GAP_Y + PAD


def _lanes(cards: dict, edges: list[dict], width: float) -> tuple[dict[int, float], float]:
    """The x of the lane of every edge that skips a rank; lanes of edges that overlap stand side by side."""
    lanes: dict[int, float] = {}
    taken: list[tuple[int, int, float]] = []
    long = [(i, cards[e["from"]]["rank"], cards[e["to"]]["rank"]) for i, e in enumerate(edges)]
    for i, a, b in sorted((t for t in long if t[2] - t[1] > 1), key=lambda t: t[2] - t[1]):
        right = max(c["x"] + c["w"] for c in cards.values() if a <= c["rank"] <= b) + LANE
        beside = [x for p, q, x in taken if p < b and a < q]
        lanes[i] = max([right, *(x + LANE for x in beside)])
        taken.append((a, b, lanes[i]))
        width = max(width, lanes[i] + LANE + PAD)
    return lanes, width


def _edge(a: dict, b: dict, lane: float | None, back: bool) -> list[str]:
    x0, y0, x1, y1 = a["x"] + a["w"] / 2, a["y"] + a["h"], b["x"] + b["w"] / 2, b["y"]
    found = []
    for shift, kind in ((0, ""), (9, " back"))[: 1 + back]:
        if lane is None:
            xa, xb, middle = x0 + shift, x1 + shift, (y0 + y1) / 2
            way = f"M{xa:.1f} {y0:.1f} C{xa:.1f} {middle:.1f} {xb:.1f} {middle:.1f} {xb:.1f} {y1:.1f}"
            x, y, dy = (xa, y0, 7) if kind else (xb, y1, -7)
            tip = f"{x:.1f},{y:.1f} {x - 3.5:.1f},{y + dy:.1f} {x + 3.5:.1f},{y + dy:.1f}"
        else:
            ya, yb, x = a["y"] + a["h"] / 2 + shift, b["y"] + b["h"] / 2 - shift, lane + shift / 2
            ra, rb = a["x"] + a["w"], b["x"] + b["w"]
            way = (f"M{ra:.1f} {ya:.1f} H{x - 8:.1f} Q{x:.1f} {ya:.1f} {x:.1f} {ya + 8:.1f} V{yb - 8:.1f} "
                   f"Q{x:.1f} {yb:.1f} {x - 8:.1f} {yb:.1f} H{rb:.1f}")
            at, y = (ra, ya) if kind else (rb, yb)
            tip = f"{at:.1f},{y:.1f} {at + 7:.1f},{y - 3.5:.1f} {at + 7:.1f},{y + 3.5:.1f}"
        found += [f'<path class="{kind.strip()}" d="{way}"/>', f'<polygon class="tip{kind}" points="{tip}"/>']
    return found


def _card(c: dict) -> list[str]:
    found = [f'<rect class="card" x="{c["x"]:.1f}" y="{c["y"]:.1f}" width="{c["w"]:.1f}" height="{c["h"]:.1f}" rx="5"/>']
    for i, (kind, text) in enumerate(c["lines"]):
        found.append(f'<text class="{kind}" x="{c["x"] + PAD:.1f}" y="{c["y"] + PAD + 10 + LINE * i:.1f}">{escape(text)}</text>')
    return found
