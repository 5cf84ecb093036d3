"""The page of the laboratory: what is in it, bounds in every picture, hostile strings, files of others, a browser."""

from __future__ import annotations

import copy
import json

import pytest

from nncore.errors import DataError
from nncore.report import lab_html
from nncore.report.lab import _axis, _power, _ticks
from tests.browser import Browser, need_chromium
from tests.report.conftest import Page
from tests.report.test_report_browser import OVERFLOW
from tests.report.test_report_page import HOSTILE, check_harmless

pytestmark = pytest.mark.usefixtures("extras")


def picture(title: str = "Error over n", **more) -> dict:
    curves = [{"name": "naive", "role": "measured", "x": [1, 10, 100], "y": [1e-8, 1e-7, 1e-6]},
              {"name": "sqrt(n) u", "role": "theory", "x": [1, 100], "y": [1e-8, 1e-6]},
              {"name": "n u", "role": "bound", "x": [1, 100], "y": [6e-8, 6e-6]}]
    return {"title": title, "x": "terms n", "y": "relative error", "note": "Slopes.", "log_x": True, "log_y": True,
            "curves": curves} | more


def record(name: str = "sums", pictures: tuple = (), **more) -> dict:
    findings = [{"text": "slope", "expected": "0.45 to 0.55", "measured": 0.51234567, "accepted": True},
                {"text": "harmonic sum", "expected": "exactly 15.4036827", "measured": 15.4036827, "accepted": True},
                {"text": "limit", "expected": "88.7228 to 88.7229", "measured": 88.7228317, "accepted": True},
                {"text": "factor", "expected": "at least 100", "measured": 1.36938e11, "accepted": True},
                {"text": "of zero", "expected": "exactly inf", "measured": float("inf"), "accepted": True}]
    return {"name": name, "code": "E1a", "title": "Errors of sums", "chapter": "Sums", "formula": "fl(a + b) = (a + b)(1 + d)",
            "theory": "As the root of n.", "source": "Higham 2002", "parameters": {"n": "256,4096"}, "accepted": True,
            "expected": [f["expected"] for f in findings], "measured": [f["measured"] for f in findings], "seconds": 0.5,
            "findings": findings, "pictures": list(pictures) or [picture()], "missing": ["the AVX-512 kernel"],
            "tables": [{"title": "Sums", "head": ["n", "sum", "bits"],
                        "rows": [[256, 30.90968, "0x3f"], [16777216.0, 30.90969, "none"], [8, 2.5e-9, ""]]}],
            } | more  # fmt: skip


def laboratory(*records: dict) -> dict:
    return {"schema": "nncore.lab/1", "version": "0.1.0", "numerics_id": 1, "isa": "avx2", "python": "3.12",
            "experiments": list(records)}


def broken() -> dict:
    found = record("broken", title="Another", chapter="Formats", accepted=False)
    found["findings"][0]["accepted"] = False
    return found


def test_a_whole_page():
    html = lab_html(laboratory(record(), record("dots", title="Dots"), broken()))
    found = check_harmless(html)
    assert found.ids == {"theme", "contents", "e1", "e2", "e3"} and len(found.all("svg")) == 3
    for words in ("The numerics laboratory", "instruction set avx2", "E1a", "Errors of sums", "fl(a + b) = (a + b)(1 + d)",
                  "As the root of n.", "Higham 2002", "Slopes.", "naive", "sqrt(n) u", "n u", "0.5123", "88.7228", "15.4036827",
                  "1.369·10¹¹", "\u221e", "16\u202f777\u202f216", "30.90968", "30.90969", "2.5·10⁻⁹", "0x3f",
                  "the AVX-512 kernel", "nncore lab run dots", "n = 256,4096", "500\u202fms", "14 of 15"):
        assert words in found.text, words
    assert found.text.count("does not hold") == 3, "in the contents, beside the title, in the table"
    assert {a["href"] for a in found.all("a")} == {"#contents", "#e1", "#e2", "#e3"}
    assert html == lab_html(json.loads(json.dumps(laboratory(record(), record("dots", title="Dots"), broken()))))


def test_measured_is_solid_and_theory_dashed_with_names_on_the_axes():
    html = lab_html(laboratory(record()))
    drawing = html[html.index("<svg") : html.index("</svg>")]
    assert drawing.count('stroke-dasharray="4,3"') == 2 and 'stroke="var(--s0)"' in drawing and 'stroke="var(--ink)"' in drawing
    assert ">terms n<" in drawing and ">relative error<" in drawing and ">100<" in drawing and "10\u207b\u2076" in drawing
    page = Page(html)
    assert [a.get("class") for a in page.all("i") if "--c" in a.get("style", "")] == [None, "dashed", "dashed"]


def test_many_curves_of_theory_have_one_entry():
    curves = [{"name": f"rho = {k}", "role": role, "x": [1, 2], "y": [k, k * k]}
              for role in ("measured", "theory") for k in (2, 3, 4)]
    html = lab_html(laboratory(record(pictures=(picture(curves=curves),))))
    assert Page(html).text.count("rho = 2") == 1 and "</i>theory<" in html


@pytest.mark.parametrize("y", [[0.0, -1.0, 1e-3], [None, float("nan"), 5.0], [float("inf"), 2.0, 2.0]])
def test_values_that_an_axis_has_no_place_for(y):
    p = picture()
    p["curves"][0]["y"] = y
    assert "<svg" in lab_html(laboratory(record(pictures=(p,))))


def test_a_picture_without_a_point_is_left_out():
    empty = picture(curves=[{"name": "naive", "role": "measured", "x": [1.0], "y": [-1.0]}])
    assert "<svg" not in lab_html(laboratory(record(pictures=(empty,))))


def test_ticks():
    assert _ticks(1, 100) == [1, 10, 100] and _ticks(3, 70) == [5, 10, 20, 50] and len(_ticks(1e-30, 1e30)) <= 7
    assert all(_ticks(v, 2 * v) for v in (1.1e-5, 0.3, 7.0, 123.0))
    assert [_power(v) for v in (1e-6, 1e-3, 0.2, 1e4, 1e12, 5e-7)] == ["10⁻⁶", "0.001", "0.2", "10000", "10¹²", "5·10⁻⁷"]
    assert _axis([2.0, 2.0], True, True, "y")["scale"].domain == [1.0, 4.0]


def test_hostile_strings():
    found = record()
    for n, key in enumerate(("name", "title", "chapter", "formula", "theory", "source", "code")):
        found[key] = HOSTILE[n % len(HOSTILE)]
    found |= {"parameters": {HOSTILE[0]: HOSTILE[1]}, "missing": list(HOSTILE),
              "tables": [{"title": HOSTILE[0], "head": list(HOSTILE), "rows": [list(HOSTILE)]}]}
    for n, f in enumerate(found["findings"]):
        f |= {"text": HOSTILE[n], "expected": HOSTILE[n + 1], "measured": HOSTILE[n + 2]}
    for h in HOSTILE:
        p = picture(h, x=h, y=h, note=h)
        for c in p["curves"]:
            c["name"] = h
        found["pictures"].append(p)
    page = check_harmless(lab_html(laboratory(found) | {"isa": HOSTILE[0], "version": HOSTILE[1]}))
    assert len(page.all("svg")) == 1 + len(HOSTILE) and "<script>alert(1)</script>" in page.text


def damaged():
    """Files that nncore lab did not write."""
    whole = laboratory(record())
    for change in (lambda d: d.pop("experiments"), lambda d: d.update(schema="nncore.lab/9"), lambda d: d.update(experiments=[3]),
                   lambda d: d["experiments"][0].pop("findings"), lambda d: d["experiments"][0].update(pictures=[{}]),
                   lambda d: d["experiments"][0]["pictures"][0]["curves"][0].update(x=[1]),
                   lambda d: d["experiments"][0].update(parameters=[1]),
                   lambda d: d["experiments"][0].update(tables=[{"head": 1}])):
        made = copy.deepcopy(whole)
        change(made)
        yield made


@pytest.mark.parametrize("found", [*damaged(), {}, [], None, 3])
def test_files_of_others(found):
    with pytest.raises(DataError, match="lab.json"):
        lab_html(found)


def test_in_a_browser(tmp_path):
    need_chromium()
    hostile = record(HOSTILE[0], tuple(picture(h, x=h, y=h, note=h) for h in HOSTILE), theory=HOSTILE[-1])
    (tmp_path / "lab.html").write_text(lab_html(laboratory(record(), broken(), hostile)))
    with Browser(tmp_path / "profile") as browser:
        page = browser.open(tmp_path / "lab.html", width=390)
        for width in (390, 820, 1280):
            page.resize(width)
            assert page.evaluate(OVERFLOW) <= 0, width
        assert page.complaints == [] and page.requests == []
        light = page.evaluate("getComputedStyle(document.querySelector('svg path[stroke]')).stroke")
        page.scheme("dark")
        assert page.evaluate("getComputedStyle(document.querySelector('svg path[stroke]')).stroke") != light
