"""From a chart to static SVG in the page: rendered by vl-convert, then stripped to what a drawing needs.

Only shapes, text and their looks are let through: no scripts, links, styles, images or references out of the drawing, so
that no name from a data set can become more than text. Colours are CSS variables of the page.
"""

from __future__ import annotations

import re
from functools import cache
from xml.etree import ElementTree

from nncore.errors import UsageError

_TAGS = {"svg", "g", "path", "line", "rect", "text", "tspan", "title", "clipPath", "defs", "circle"}
_ATTRIBUTES = {
    "d", "transform", "fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-miterlimit", "stroke-opacity", "fill-opacity",
    "stroke-linecap", "stroke-linejoin", "opacity", "x", "y", "x1", "x2", "y1", "y2", "dx", "dy", "r", "cx", "cy", "width",
    "height", "viewBox", "text-anchor", "font-size", "font-weight", "font-style", "clip-path", "id", "display",
}
_REFERENCE = re.compile(r"^url\(#([A-Za-z0-9_-]+)\)$")
_SVG = "{http://www.w3.org/2000/svg}"
REMEDY = "pip install 'nncore[report]'"


def require() -> None:
    """Raises UsageError naming the remedy if what draws reports is not installed."""
    from importlib.util import find_spec

    missing = [n for n in ("altair", "vl_convert", "jinja2") if find_spec(n) is None]
    if missing:
        raise UsageError(f"reports need {', '.join(missing).replace('vl_convert', 'vl-convert-python')}: {REMEDY}")


@cache
def _version() -> str:
    """The newest Vega-Lite that both altair and vl-convert know."""
    import altair
    import vl_convert

    def key(version: str) -> tuple[int, ...]:
        return tuple(map(int, version.lstrip("v").split(".")[:2]))

    wanted = key(altair.SCHEMA_VERSION)
    fitting = [v for v in vl_convert.get_vegalite_versions() if key(v)[0] == wanted[0] and key(v) <= wanted]
    return max(fitting or vl_convert.get_vegalite_versions(), key=key)


def svg(chart, config: dict, label: str, name: str) -> str:
    """A chart as an <svg> element for a page; `label` says in words what it shows, `name` keeps its ids apart."""
    import vl_convert

    text = vl_convert.vegalite_to_svg(chart.to_dict(), vl_version=_version(), config=config, allowed_base_urls=[])
    return strip(text, label, name)


def strip(text: str, label: str, name: str) -> str:
    """The drawing in an SVG document and nothing else; marks with a description get it as a tooltip."""
    root = ElementTree.fromstring(text)
    _strip(root, name)
    width, height = root.attrib.pop("width"), root.attrib.pop("height")
    root.attrib.setdefault("viewBox", f"0 0 {width} {height}")
    root.attrib.update({"role": "img", "aria-label": label})
    ElementTree.register_namespace("", _SVG[1:-1])
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _strip(element: ElementTree.Element, name: str) -> None:
    tag = element.tag.removeprefix(_SVG)
    told = element.get("aria-label") if element.get("role") == "graphics-symbol" and tag in ("path", "rect") else None
    told = told if element.get("aria-roledescription") in ("point", "bar", "circle", "rect", "square", "tick") else None
    kept = {}
    for key, value in element.attrib.items():
        reference = _REFERENCE.match(value)
        if key not in _ATTRIBUTES or ("url(" in value and not reference):
            continue
        kept[key] = f"url(#{name}-{reference[1]})" if reference else f"{name}-{value}" if key == "id" else value
    element.attrib.clear()
    element.attrib.update(kept)
    for child in list(element):
        small = child.tag.removeprefix(_SVG) if isinstance(child.tag, str) else ""
        if small not in _TAGS or not _shows(child, small):
            element.remove(child)
        else:
            _strip(child, name)
    if told:
        title = ElementTree.SubElement(element, f"{_SVG}title")
        title.text = told


def _shows(element: ElementTree.Element, tag: str) -> bool:
    """Whether there is anything to see: Vega leaves empty paths and hidden foregrounds."""
    return not (tag == "path" and (not element.get("d") or element.get("display") == "none" or element.get("d") == "M0,0h0v0h0Z"))
