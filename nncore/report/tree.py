"""The order of a sum as SVG: terms in a row at the foot, every addition a dot above the middle of what it adds.

The height of a dot is the number of roundings on the longest way up to it, which is what an error bound counts (Higham 2002,
section 4.2). Works on a tree of tuples and ints (nncore/lab/order.py's); light and dark.
"""

from __future__ import annotations

from html import escape

from nncore.report.drawing import PAD, STYLE

STEP, RISE, RADIUS, TITLE = 22, 16, 3, 22


def draw(tree, title: str) -> str:
    """The SVG text. Iterative, for a chain is as deep as it is long."""
    dots: list[tuple[float, int, list]] = []  # x, height, (x, height) of what it adds
    done: list[tuple[float, int]] = []
    terms: list[tuple[float, int]] = []
    stack = [(tree, False)]
    while stack:
        node, seen = stack.pop()
        if isinstance(node, int):
            terms.append((PAD + STEP * (len(terms) + 0.5), node))
            done.append((terms[-1][0], 0))
        elif seen:
            parts = done[-len(node) :]
            del done[-len(node) :]
            done.append((sum(x for x, _ in parts) / len(parts), 1 + max(h for _, h in parts)))
            dots.append((*done[-1], parts))
        else:
            stack.append((node, True))
            stack.extend((c, False) for c in reversed(node))
    (_, top), width = done[0], max(2 * PAD + STEP * len(terms), 2 * PAD + 6.7 * len(title))
    foot = PAD + TITLE + RISE * top

    def y(height: int) -> float:
        return foot - RISE * height

    body = [f'<path d="M{a:.1f} {y(b):.1f} L{x:.1f} {y(h):.1f}"/>' for x, h, parts in dots for a, b in parts]
    body += [f'<circle class="tip" cx="{x:.1f}" cy="{y(h):.1f}" r="{RADIUS}"/>' for x, h, _ in dots]
    body += [f'<text x="{x:.1f}" y="{foot + 14:.1f}" text-anchor="middle">{term}</text>' for x, term in terms]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {foot + 22:.0f}" width="{width:.0f}" '
            f'height="{foot + 22:.0f}" role="img"><title>{escape(title)}</title><style>{STYLE}</style>'
            f'<rect class="paper" width="100%" height="100%"/><text class="title" x="{PAD}" y="{PAD + 10}">{escape(title)}</text>'
            f'{"".join(body)}</svg>')
