"""The page about a run: its parts, that it loads nothing, and that no name in it can become more than text."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import random
import re

import pytest

from nncore.errors import DataError
from nncore.report import charts, read_run, render, report_html
from tests.report.conftest import LAYERS, RESULT, Page, convolutional, history, packed

pytestmark = pytest.mark.usefixtures("extras")

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</style><script>x()</script>", "{{ 7 * 7 }}{% raw %}",
           "'; DROP TABLE--", "a\u202eb\x00\x1b[31m\nc", "&lt;b&gt;&amp;", "javascript:alert(1)", "]]><svg onload=alert(1)>",
           "x" * 5000)


def page(path) -> Page:
    return Page(report_html(read_run(path)))


def check_harmless(html: str) -> Page:
    """Nothing is loaded, nothing runs but the one script whose hash the policy names."""
    found = Page(html)
    assert {t for t, _ in found.elements} <= {
        "html", "head", "meta", "title", "style", "script", "body", "header", "nav", "main", "footer", "section", "div", "p", "a",
        "h1", "h2", "h3", "button", "dl", "dt", "dd", "figure", "figcaption", "ul", "li", "i", "b", "em", "small", "span", "code",
        "table", "thead", "tbody", "tfoot", "tr", "th", "td", "sub", "br", "img", "details", "summary", "pre",
        "svg", "g", "path", "line", "rect", "text", "tspan", "defs", "clippath"}
    for tag, attributes in found.elements:
        for key, value in attributes.items():
            assert not key.startswith("on"), (tag, key)
            if key in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
                assert value.startswith(("data:image/png;base64,", "#")), (tag, key, value[:80])
            elif key != "xmlns":
                assert "http" not in (value or "").lower() or tag == "meta" and key == "http-equiv", (tag, key, value)
            assert "url(" not in (value or "") or re.fullmatch(r"url\(#c[0-9a-f]{8}-[\w-]+\)", value), (tag, key, value)
    assert len(found.scripts) == len(found.styles) == 1 and "url(" not in found.styles[0] and "@import" not in found.styles[0]
    policy = next(a["content"] for a in found.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(found.scripts[0].encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return found


def test_a_whole_page(folder):
    html = report_html(read_run(folder(insight=convolutional())))
    found = check_harmless(html)
    sections = {"learning", "classes", "mistakes", "certainty", "layers", "inside", "time", "settings"}
    assert sections < found.ids and {a["href"][1:] for a in found.all("a")} == sections
    assert len(found.all("svg")) == 8, "two curves, two of certainty, four of layers"
    assert all(a.get("role") == "img" and a.get("aria-label") and "viewbox" in a for a in found.all("svg"))
    assert all("alt" in a for a in found.all("img"))
    for text in ("85.00", "Pass", "cat", "dog", "frog", "3 × 3", "0 Conv2D", "BatchNorm", "40", "avx2", "cd" * 32, "ab" * 32,
                 "tape cnn", "expected calibration error", "8 × 8 × 40, first 32"):
        assert text in found.text, text
    assert "\u2013" not in found.text.partition("Settings")[0].rpartition("Layers")[0].replace("Guo", ""), "no figure is missing"
    assert html == report_html(read_run(folder("run again/run", insight=convolutional()))), "the same files give the same page"


def test_pictures_are_png(folder):
    for image in page(folder(insight=convolutional())).all("img"):
        data = base64.b64decode(image["src"].partition(",")[2], validate=True)
        assert data.startswith(b"\x89PNG\r\n\x1a\n") and data.endswith(b"IEND\xaeB`\x82")


def test_hostile_names(folder):
    insight = convolutional(HOSTILE)
    for entry in (*insight["layers"], *insight["profile"]["layers"], *insight["maps"]["layers"]):
        entry["name"] = entry["settings"] = HOSTILE[0]
    insight["filters"]["layer"] = insight["profile"]["isa"] = HOSTILE[1]
    records = history(3, layers=HOSTILE)
    config = {"data.name": HOSTILE[2], "model.name": HOSTILE[0], HOSTILE[1]: HOSTILE[3], "run.version": HOSTILE[2]}
    result = {**RESULT, "dataset": HOSTILE[0], "weights_sha256": HOSTILE[1], "isa": HOSTILE[2], "verdict": HOSTILE[0]}
    path = folder("<b onclick=x()>&amp;'\"", config, result, records, insight, tape="\n".join(HOSTILE))
    html = report_html(read_run(path), notes=HOSTILE)
    found = check_harmless(html)
    for name in HOSTILE[:1] + HOSTILE[3:4] + HOSTILE[6:8]:
        assert name in found.text, "shown as it is"
    assert "49" not in re.findall(r"\d+", found.text) or "{{ 7 * 7 }}" in found.text
    assert not set("\u202e\x00\x1b") & set(html) and "x" * 601 not in html


def test_charts_are_stripped():
    dirty = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="10" height="5"
      onload="a()">
      <script>alert(1)</script><a xlink:href="javascript:x()"><text>gone</text></a><image href="http://x/y.png"/>
      <style>@import "http://x"</style><foreignObject><b/></foreignObject><use href="#a"/>
      <defs><clipPath id="clip0"><rect width="1" height="1"/></clipPath></defs>
      <g clip-path="url(#clip0)" fill="url(http://x/#y)" style="fill:url(http://x)">
      <path d="M0,0" stroke="var(--s0)" onclick="b()"/>
      <path d="" stroke="red"/><text fill="red">&lt;b&gt; &amp; kept</text>
      <path role="graphics-symbol" aria-roledescription="point" aria-label="loss: &lt;1&gt;" d="M1,1"/></g></svg>"""
    found = Page(render.strip(dirty, 'a "label" <', "c1"))
    assert {t for t, _ in found.elements} == {"svg", "defs", "clippath", "rect", "g", "path", "text", "title"}
    assert found.all("svg") == [{"xmlns": "http://www.w3.org/2000/svg", "viewbox": "0 0 10 5", "role": "img",
                                 "aria-label": 'a "label" <'}]
    assert found.all("clippath") == [{"id": "c1-clip0"}] and found.all("g") == [{"clip-path": "url(#c1-clip0)"}]
    assert len(found.all("path")) == 2 and "<b> & kept" in found.text and "loss: <1>" in found.text and "gone" not in found.text


def no_validation():
    return {"records": history(4, validated=False, layers=LAYERS), "insight": convolutional()}


def grey_vectors():
    insight = convolutional(channels=1)
    for key in ("worst", "uncertain", "wrong"):
        insight[key]["images"] = None
    insight["filters"] = insight["maps"]["image"] = None
    return {"insight": insight | {"image_shape": [12]}}


def all_right():
    insight = convolutional()
    insight["confusion"] = [[4, 0, 0], [0, 0, 0], [0, 0, 5]]
    nothing = {"index": [], "true": [], "predicted": [], "confidence": [], "images": packed((0, 8, 8, 3))}
    for b in insight["calibration"]["bins"]:
        b["accuracy"] = 1.0 if b["count"] else None
    return {"insight": insight | {"wrong": {"count": 0, **nothing}, "worst": {**nothing, "probabilities": []}}}


def regression():
    insight = convolutional()
    for key in ("classes", "confusion", "calibration", "worst", "uncertain", "wrong"):
        del insight[key]
    insight["evaluation"] |= {"accuracy": None, "standard_error": None}
    insight["maps"].pop("true")
    insight["maps"].pop("probabilities")
    insight["regression"] = {"rmse": 0.5, "mae": 0.4, "pairs": [[i / 10, i / 9 - 1] for i in range(30)]}
    result = {**RESULT, "train_accuracy": None, "test_accuracy": None, "verdict": None, "threshold": None}
    return {"insight": insight, "result": result, "records": history(4, layers=LAYERS, accuracy=False)}


def stopped_in_the_first_epoch():
    return {"records": [], "result": None, "insight": None, "tape": None}


def no_probabilities():
    insight = convolutional()
    insight["evaluation"]["objective"] = "Hinge(reduction='mean')"
    return {"insight": insight}


STATES = {
    "no probabilities": (no_probabilities(), ["trained with Hinge(reduction='mean')"], []),
    "no validation": (no_validation(), ["No samples were held out"], ["val. loss"]),
    "no insight": ({}, ["Learning", "Settings"], ["Mistakes", "Inside"]),
    "no result": ({"result": None, "insight": None}, ["Validation accuracy"], ["Pass", "weights\n"]),
    "nothing yet": (stopped_in_the_first_epoch(), ["No epoch has ended yet", "nncore train --resume"], ["Classes"]),
    "one epoch": ({"records": history(1, layers=LAYERS), "insight": convolutional()}, ["1 of 5 epochs"], []),
    "stopped early": ({"records": history(3, layers=LAYERS), "insight": convolutional()}, ["3 of 5 epochs were done"], []),
    "two classes": ({"insight": convolutional(("no", "yes"))}, ["yes"], []),
    "many classes": ({"insight": convolutional(tuple(f"class {i}" for i in range(30)))}, ["class 29"], []),
    "no images": (grey_vectors(), ["#3"], ["First-layer weights"]),
    "no mistakes": (all_right(), ["None: all 40 test samples"], ["Most wrong"]),
    "regression": (regression(), ["root mean square error", "Errors"], ["Confusion", "Certainty", "Test accuracy"]),
    "not watched": ({"records": history(4), "insight": convolutional()}, ["Network"], ["Dead units"]),
    "thousands of epochs": ({"records": history(3000, layers=LAYERS)}, ["3000"], []),
    "many layers": ({"records": history(3, layers=tuple(f"{i} ReLU" for i in range(60)))}, ["59 ReLU"], []),
    "the training set": ({"insight": convolutional() | {"split": "train"}}, ["Train loss", "train samples"], []),
    "diverged": ({"records": [{"epoch": 1, "step": 3, "loss": None, "accuracy": 0.1, "layers": [
        {"name": "0 Dense", "activation_rms": None, "gradient_rms": 0.0, "update_ratio": None, "dead": None}]}]}, ["10.00"], []),
}


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_page(folder, state):
    parts, there, missing = STATES[state]
    html = report_html(read_run(folder(**parts)))
    found = check_harmless(html)
    assert len(html) < 1_500_000
    for text in there:
        assert text in found.text, text
    for text in missing:
        assert text not in found.text, text


def places(value, path=()):
    """Every place in a JSON document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@pytest.mark.parametrize("part", [k for k in convolutional() if k != "schema"])
def test_malformed_insights_are_refused_in_words(folder, monkeypatch, part):
    """Places of insight.json replaced by what does not belong there: a page or a DataError, nothing else."""
    monkeypatch.setattr(charts, "layers", lambda *_: None)  # they look at the history alone
    monkeypatch.setattr(charts, "svg", lambda *_: "<svg></svg>")
    figure = charts.Figure("", "<svg></svg>")
    for chart in {"schedule": ("reliability", "abstaining"), "calibration": ("learning",)}.get(
            part, ("learning", "reliability", "abstaining")):
        monkeypatch.setattr(charts, chart, lambda *_: figure)
    path, good, refused = folder(insight=convolutional()), convolutional(), 0
    found = [(place, value) for place in places(good[part], (part,)) for value in (None, "text", [], {}, -1, 1e308)]
    for place, value in found[:12] + random.Random(part).sample(found, min(20, len(found))):
        bad = copy.deepcopy(good)
        inner = bad
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
        (path / "insight.json").write_text(json.dumps(bad))
        try:
            Page(report_html(read_run(path)))
        except DataError as e:
            refused += 1
            assert str(path) in str(e) or "picture" in str(e)
    assert refused or part in ("n", "notes", "image", "split", "model_sha256", "evaluation", "image_shape")


@pytest.mark.parametrize("name, text", [
    ("insight.json", "[1]"), ("insight.json", "{"), ("result.json", "null"), ("result.json", "\x00"), ("history.jsonl", "{}\n"),
    ("history.jsonl", "[]\n"), ("history.jsonl", '{"epoch": 1}\n{"epo\n{"epoch": 2}\n'), ("config.toml", "a = \n"),
    ("config.toml", "\xff"), ("result.json", "[" * 100000), ("history.jsonl", '{"epoch": "1"}\n'),
])
def test_malformed_files_are_named(folder, name, text):
    path = folder()
    (path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=name):
        read_run(path)


def test_a_line_that_was_being_written_is_left_out(folder):
    path = folder(records=history(3))
    with open(path / "history.jsonl", "a") as file:
        file.write('{"epoch": 4, "lo')
    assert [r["epoch"] for r in read_run(path).history] == [1, 2, 3]


def test_an_insight_of_another_version_is_not_used(folder):
    assert read_run(folder(insight=convolutional() | {"schema": "nncore.insight/9"})).insight is None


def test_charts_keep_one_left_edge(folder):
    html = report_html(read_run(folder(insight=convolutional())))
    edges = set(re.findall(r'<svg[^>]*>(?:<g[^>]*?transform="translate\((\d+(?:\.\d+)?),)', html))
    assert len(edges) == 1, edges
