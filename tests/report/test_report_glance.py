"""A bench at a glance: what the picture says, whose figures it takes, files of others."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from nncore.cli import run
from tests.report.test_report_bench import HEAD, row, write
from tests.report.test_report_page import HOSTILE

pytestmark = pytest.mark.usefixtures("extras")


def texts(svg: str) -> list[str]:
    """All text of a picture that is well-formed and has neither script nor reference out of it."""
    root = ElementTree.fromstring(svg)
    tags = {e.tag.rpartition("}")[2] for e in root.iter()}
    assert tags <= {"svg", "g", "path", "line", "rect", "text", "tspan", "title", "clipPath", "defs", "style"}
    assert not [v for e in root.iter() for k, v in e.attrib.items() if k.rpartition("}")[2] in ("href", "onload")]
    return [e.text for e in root.iter() if e.tag.endswith("}text") and e.text]


def draw(tmp_path, *content) -> str:
    for i, rows in enumerate(content):
        write(tmp_path / f"{i}.jsonl", rows)
    out = tmp_path / "speed.svg"
    assert run(["report", str(tmp_path), "--output", str(out), "--quiet"]) == 0
    return out.read_text()


def test_groups_are_bars_in_plain_words(tmp_path):
    rows = [row("a", 2.0), row("b", 8.0), row("a", 3.0, threads=2), row("epoch", 1.25, group="epoch lenet5"),
            row("c", 9.0, group="unheard of"), row("d", 7.0, math="bf16x3")]
    svg = draw(tmp_path, rows)
    found = texts(svg)
    for words in ("matrix products", "training LeNet-5", "one thread", "2 threads", "times as fast as PyTorch"):
        assert words in found, words
    # The geometric mean of 2 and 8; neither the unknown group nor the other mode.
    assert {"4.00", "3.00", "1.25"} <= set(found) and not {"9.00", "7.00"} & set(found)
    assert "a processor" in svg and "PyTorch 2.13" in svg and "prefers-color-scheme: dark" in svg


def test_the_later_file_counts(tmp_path):
    assert "1.50" in texts(draw(tmp_path, [row("a", 5.0)], [row("a", 1.5)]))


def test_hostile_names_are_text(tmp_path):
    head = HEAD | {"peers": {"torch": {"torch": HOSTILE[0]}}, "machine": HEAD["machine"] | {"cpu": HOSTILE[1]}}
    write(tmp_path / "a.jsonl", [row("a", 2.0)], head)
    out = tmp_path / "speed.svg"
    assert run(["report", str(tmp_path), "--output", str(out), "--quiet"]) == 0
    texts(out.read_text())


@pytest.mark.parametrize("content, says", (
    ("{}\n", "a.jsonl"), (json.dumps(HEAD) + '\n{"math": "f32"}\n', "a.jsonl"),
    (json.dumps(HEAD | {"machine": 3}) + "\n", "a.jsonl"), (json.dumps(HEAD) + "\n", "--against torch"),
))  # fmt: skip
def test_files_that_say_nothing(tmp_path, capsys, content, says):
    (tmp_path / "a.jsonl").write_text(content)
    assert run(["report", str(tmp_path), "--output", str(tmp_path / "speed.svg")]) == 3
    assert says in capsys.readouterr().err and not (tmp_path / "speed.svg").exists()


def test_files_of_two_machines(tmp_path, capsys):
    write(tmp_path / "a.jsonl", [row("a", 2.0)])
    write(tmp_path / "b.jsonl", [row("a", 2.0)], HEAD | {"machine": HEAD["machine"] | {"cpu": "another"}})
    assert run(["report", str(tmp_path), "--output", str(tmp_path / "speed.svg")]) == 3
    assert "several machines" in capsys.readouterr().err
