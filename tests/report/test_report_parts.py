"""What pages are made of: pictures, numbers as text, names made harmless, runs side by side, what notebooks show."""

from __future__ import annotations

import base64
import struct
import zlib

import pytest

import nncore as nn
from nncore.errors import DataError, UsageError
from nncore.report import compare, compare_html, notebook, png, read_run, render, text
from nncore.report.read import harmless, number
from nncore.tensor import Tensor
from tests.report.conftest import HAVE, RESULT, Page, history, packed
from tests.report.test_report_page import HOSTILE, check_harmless


def decoded(data: bytes) -> tuple[tuple, list[bytes], bytes]:
    """(header fields, rows, palette) of a PNG, every checksum verified."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        n, name = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + n]
        assert struct.unpack(">I", data[at + 8 + n : at + 12 + n])[0] == zlib.crc32(name + body)
        chunks[name] = body
        at += n + 12
    header = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    raw = zlib.decompress(chunks[b"IDAT"])
    row = header[0] * {0: 1, 2: 3, 3: 1}[header[3]] + 1
    rows = [raw[i : i + row] for i in range(0, len(raw), row)]
    assert len(rows) == header[1] and all(r[0] == 0 for r in rows)
    return header, [r[1:] for r in rows], chunks.get(b"PLTE", b"")


def test_png():
    header, rows, _ = decoded(png.png(3, 2, 1, bytes(range(6))))
    assert header == (3, 2, 8, 0, 0, 0, 0) and rows == [bytes([0, 1, 2]), bytes([3, 4, 5])]
    header, rows, _ = decoded(png.png(1, 2, 3, bytes(range(6))))
    assert header[3] == 2 and rows == [bytes([0, 1, 2]), bytes([3, 4, 5])]
    header, _, palette = decoded(png.png(2, 1, 1, b"\0\xff", "diverging"))
    assert header[3] == 3 and len(palette) == 768 and palette[:3] == bytes((5, 66, 124)) and palette[-3:] == bytes((122, 48, 4))
    assert decoded(png.png(1, 1, 3, b"abc"))[2] == b"", "colours need no palette"
    assert 220 < min(palette[3 * 128 : 3 * 129]) < 240, "0 is light grey: seen on white and on black"
    for bad in ((2, 2, 1, b"123"), (0, 2, 1, b""), (1, 1, 2, b"12")):
        with pytest.raises(DataError):
            png.png(*bad)


def test_sheet_puts_pictures_side_by_side():
    uri, width, height = png.sheet(packed((3, 2, 2, 1)), 2, ground=9)
    _, rows, _ = decoded(base64.b64decode(uri.partition(",")[2]))
    assert (width, height) == (5, 5)
    clear, _, _ = png.sheet({"shape": (2, 1, 1, 1), "data": base64.b64encode(b"\xff\x05").decode()}, 2, "diverging", zoom=2)
    assert [list(r) for r in decoded(base64.b64decode(clear.partition(",")[2]))[1]] == [[254, 254, 255, 5, 5]] * 2
    assert [list(r) for r in rows] == [[0, 7, 9, 28, 35], [14, 21, 9, 42, 49], [9] * 5, [56, 63, 9, 9, 9], [70, 77, 9, 9, 9]]
    for shape, data in (((1, 2, 2, 2), "AAAA"), ((1, 2, 2, 1), "AAA="), ((-1, 2, -2, 1), "AAAAAA==")):
        with pytest.raises(DataError):
            png.unpack({"shape": shape, "data": data})


def test_numbers_as_text():
    assert text.percent(0.88634) == "88.63\u202f%" and text.percent(1, 0) == "100\u202f%"
    assert text.decimal(203530) == "203\u202f530" and text.decimal(-15.31, 3) == "\u221215.3" and text.decimal(0.0) == "0"
    assert text.decimal(1.5e-7) == "1.5\u00b710\u207b\u2077" and text.decimal(0.31926) == "0.3193"
    assert text.fixed(0.5) == "0.5000" and text.fixed(-1.0, 1) == "\u22121.0"
    assert [text.seconds(s) for s in (0.058, 1.041, 95)] == ["58\u202fms", "1.04\u202fs", "1\u202fmin 35\u202fs"]
    assert text.seconds(7260) == "2\u202fh 1\u202fmin"
    assert [text.micro(v) for v in (0.5, 12.34, 1234.5)] == ["0.50", "12.3", "1\u202f234"]
    assert text.shape((28, 28, 1)) == "28 \u00d7 28 \u00d7 1" and text.shape(()) == "1"
    shown = [text.setting(v) for v in (None, True, [1, 2], {"a": [0.1]}, 0.003, [])]
    assert shown == ["\u2013", "yes", "1, 2", "a = 0.1", "0.003", "\u2013"]
    for f in (text.percent, text.decimal, text.fixed, text.seconds, text.micro):
        for nothing in (None, float("nan"), float("inf"), "1", True, [1]):
            assert f(nothing) == "\u2013"


def test_names_are_made_harmless():
    assert harmless("na\u00efve \u017elu\u0165 \u732b") == "na\u00efve \u017elu\u0165 \u732b"
    assert harmless("a\x00\n\u202e\u200b\ud800") == "a" + "\ufffd" * 5 and len(harmless("x" * 1000)) == 60
    assert harmless(3) == "3" and number(True) is None and number("1") is None and number(0) == 0


# ---- several runs ----------------------------------------------------------------------------------------------------


@pytest.fixture
def three(folder):
    """Runs that differ in settings, length and outcome."""
    other = {**RESULT, "test_accuracy": 0.9, "weights_sha256": "12" * 32}
    settings = {"optimizer.lr": 0.01, "train.epochs": 9, "data.validation": 0.1}
    paths = [folder("a/run"), folder("b/run", settings, other, history(9)),
             folder("<script>", {"patience": 3}, None, [])]
    (paths[0] / "test_predictions.csv").write_text("1\n" * 400)
    return [read_run(p) for p in paths]


def test_compare_tells_what_differs(three):
    found = compare(three)
    assert found["schema"] == "nncore.compare/1" and [r["name"] for r in found["runs"]] == ["run (1)", "run (2)", "<script>"]
    assert found["settings"] == {"optimizer.lr": [0.003, 0.01, 0.003], "train.epochs": [5, 9, 5],
                                 "data.validation": [None, 0.1, None], "patience": [None, None, 3]}
    a, b, c = (r["figures"] for r in found["runs"])
    assert a["test_accuracy"] == 0.85 and a["standard_error"] == pytest.approx((0.85 * 0.15 / 400) ** 0.5)
    assert b["standard_error"] is None and b["best_val_accuracy"] == pytest.approx(1 - 0.6 / 9) and b["epochs_done"] == 9
    assert c["test_accuracy"] is None and c["loss"] is None and c["epochs_done"] == 0
    assert found["best"]["test_accuracy"] == 1 and found["best"]["loss"] == 1 and found["best"]["parameters"] is None
    assert found["same_data"], "another share held out is not another data set"
    for few in ([], three[:1]):
        with pytest.raises(UsageError, match="two runs"):
            compare(few)
    three[0].history[0]["val_loss"] = 3
    three[1].result["seconds"] = 5
    with pytest.raises(DataError, match="result.json"):
        compare(three)


def test_compare_page(three, extras):
    found = check_harmless(compare_html(three))
    assert len(found.all("svg")) == 2 and "<script>" in found.text and "patience" in found.text
    best = [v for v in compare(three)["best"].values() if v is not None]
    assert sum("best" in (a.get("class") or "") for a in found.all("td")) == len(best)
    same = compare_html([three[0], three[0]])
    assert "same settings" in Page(same).text
    assert "None of the runs" in Page(compare_html([three[2], three[2]])).text


# ---- notebooks -------------------------------------------------------------------------------------------------------


def pieces(html: str) -> Page:
    found = Page(html)
    assert not found.scripts and not any(k.startswith("on") for _, a in found.elements for k in a)
    return found


@pytest.fixture(scope="module")
def trained():
    data = nn.data.glyphs(300, 50)
    model = nn.Sequential([nn.Dense(8), nn.ReLU(), nn.Dense(10)])
    assert model._repr_html_() is None, "no shapes yet"
    return model, model.fit(data.train, epochs=2, batch=50, validation=0.2), data


def test_notebooks_show_our_objects(trained, extras):
    model, past, data = trained
    shown = pieces(past._repr_html_())
    assert len(shown.all("svg")) == 2 and "2 epochs" in shown.text and "validation" in shown.text
    assert "Dense(units=8" in pieces(model._repr_html_()).text and "6\u202f370 parameters" in pieces(model._repr_html_()).text
    assert "\u00b1" in pieces(model.evaluate(data.test)._repr_html_()).text
    tape = pieces(model.tape._repr_html_())
    assert len(tape.all("tr")) == len(model.tape.instructions) + 1 and "dense_fwd" in tape.text
    images = pieces(data.test.images._repr_html_())
    assert len(images.all("img")) == 1 and images.text.strip() == ""
    assert "the first 100 of 300" in pieces(data.train.images._repr_html_()).text
    past.stopped = HOSTILE[0]
    assert HOSTILE[0] in pieces(past._repr_html_()).text
    past.stopped = None


def test_notebooks_show_nothing_for_what_is_no_picture(extras):
    assert notebook.history([]) is None and notebook.model("model", []) is None
    for shape in ((3,), (2, 1), (4, 4, 4, 2), (1, 2, 3, 4, 5), (0, 4, 4), (3000, 3000)):
        assert Tensor(shape, "u8")._repr_html_() is None, shape
    assert Tensor((2, 4, 4), "f32")._repr_html_() is None
    for shape in ((4, 5), (4, 5, 3), (2, 4, 5), (2, 4, 5, 3), (2, 4, 5, 1)):
        assert "<img" in Tensor(shape, "u8")._repr_html_(), shape


def test_notebooks_without_the_extras(trained, monkeypatch):
    model, past, _ = trained
    monkeypatch.setattr(notebook, "find_spec", lambda name: None)
    assert past._repr_html_() is None and model._repr_html_() is None
    if not HAVE:
        return
    monkeypatch.setattr(notebook, "find_spec", lambda name: None if name == "altair" else object())
    shown = pieces(past._repr_html_())
    assert not shown.all("svg") and len(shown.all("tr")) == 3 and "validation loss" in shown.text


def test_what_is_missing_is_named(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"altair, vl-convert-python, jinja2: pip install 'nncore\[report\]'"):
        render.require()
