"""The page of a bench: what is in it, hostile names, files of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nncore.cli import run
from nncore.errors import DataError
from nncore.report import bench_files, bench_html
from tests.report.conftest import Page
from tests.report.test_report_page import HOSTILE

pytestmark = pytest.mark.usefixtures("extras")
HEAD = {"schema": "nncore.bench/1", "commit": "abc", "when": "2026-01-01T00:00:00Z", "peers": {"torch": {"torch": "2.13"}},
        "machine": {"cpu": "a processor", "processors": 2, "isa": "avx2", "compiler": "gcc", "load": 0.1}}  # fmt: skip


def row(case: str, ratio: float, threads: int = 1, group: str = "gemm", **more) -> dict:
    peer = {"name": "torch", "version": "2", "way": "mm out=", "math": "f32", "seconds": ratio, "ratio": ratio,
            "low": ratio * 0.9, "high": ratio * 1.1, "level": 0.96, "rounds": [ratio] * 9, "error": 1e-7}
    return {"case": case, "shape": "64x64x64", "threads": threads, "math": "f32", "isa": "avx2", "seconds": 1e-5, "gflops": 50.0,
            "gbytes_per_s": 5.0, "share_of_peak": 0.5, "group": group, "error": 2e-7, "others": 0.0, "rounds": [1e-5] * 9,
            "peers": [peer]} | more


LIMITS = [row("limit fma", 1.0, group=None, peers=[], gflops=100.0, gbytes_per_s=None),
          *(row("limit read", 1.0, group=None, peers=[], shape=level, gflops=None, gbytes_per_s=rate)
            for level, rate in (("L1", 200.0), ("memory", 10.0)))]  # fmt: skip


def write(path: Path, rows: list, head: dict = HEAD) -> Path:
    """A file of a bench."""
    path.write_text("".join(json.dumps(x) + "\n" for x in (head, *rows)))
    return path


@pytest.fixture
def keep(tmp_path):
    return lambda name, *content: str(write(tmp_path / f"{name}.jsonl", *content))


def test_a_page_of_two_runs(keep, tmp_path, capsys):
    rows = [*LIMITS, row("fast", 1.5), row("slow", 0.8), row("two", 2.0, threads=2)]
    keep("1-old", rows)
    new = keep("2-new", [*LIMITS, row("fast", 1.6), row("slow", 0.9), row("two", 2.0, threads=2)])
    assert run(["report", str(tmp_path), "--quiet"]) == 0
    html = (tmp_path / "2-new.html").read_text()
    page = Page(html)
    for words in ("Gates", "each 1.00 or 93% of peak", "does not hold", "Ours against the peers, one thread",
                  "Roofline, 2 threads",
                  "From commit to commit, one thread", "reading GB/s from L1 200, memory 10", "abc", "2026-01-01T00:00:00Z"):
        assert words in page.text, words
    assert run(["report", new, "--output", str(tmp_path / "own.html"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["output"] == str(tmp_path / "own.html")


def test_what_is_behind_for_certain_is_marked(keep):
    html = bench_html(bench_files(keep("a", [row("fast", 1.5), row("near", 0.95), row("slow", 0.8)])), [])
    assert "<b>0.80</b>" in html and "<b>0.95</b>" not in html and "<b>1.50</b>" not in html


def test_what_instruments_cost(keep):
    more = {"group": "instruments", "peers": [], "gflops": None, "gbytes_per_s": None, "share_of_peak": None}
    o = {"ratio": 9.5, "low": 9.0, "high": 10.0, "level": 0.96, "limit": 6.0, "holds": False}
    rows = [row("watch 2", 1.0, overhead=o, **more), row("watch 1", 1.0, overhead=o | {"limit": None, "holds": None}, **more),
            row("flags", 1.0, overhead=o | {"limit": 10.0, "holds": True}, **more)]
    page = Page(bench_html(bench_files(keep("a", rows)), []))
    assert "times a plain step" in page.text and page.text.count("does not hold") == 1 and "9.500" in page.text
    assert "Instruments" not in Page(bench_html(bench_files(keep("b", LIMITS)), [])).text


def test_more_images(keep):
    more = {"group": "growth", "peers": [], "gflops": None, "gbytes_per_s": None, "share_of_peak": None}
    g = {"images": 6_000_000, "ratio": 1.25, "low": 1.2, "high": 1.3, "level": 0.96, "limit": 1.1,
         "beside_data_bytes": 29_000_000, "memory_limit": 64_000_000, "holds": False}
    page = Page(bench_html(bench_files(keep("a", [row("growth", 1.0, growth=g, **more)])), []))
    assert "More images" in page.text and "1.250" in page.text and page.text.count("does not hold") == 1
    assert "More images" not in Page(bench_html(bench_files(keep("b", LIMITS)), [])).text


def test_no_history_of_one_run_and_no_charts_without_figures(keep):
    text = Page(bench_html(bench_files(keep("a", [row("one", 1.0)])), [])).text
    assert "From commit to commit" not in text and "Roofline" in text
    bare = Page(bench_html(bench_files(keep("b", [row("one", 1.0, peers=[], gflops=None, group=None)])), [])).text
    assert "Ours against the peers" not in bare and "Roofline" not in bare


def test_hostile_names_are_text(keep):
    rows = [row(name, 1.2, group=name, shape=name, math=name) for name in HOSTILE]
    for r in rows:
        r["peers"][0] |= {"name": r["case"], "way": r["case"]}
    page = Page(bench_html(bench_files(keep("a", rows, HEAD | {"commit": HOSTILE[0], "when": HOSTILE[1]})), []))
    assert not [e for e, _ in page.elements if e in ("img", "iframe", "object", "a")] and len(page.scripts) <= 1


@pytest.mark.parametrize("text", ("", "{}\n", "[1]\n", "no json\n", json.dumps(HEAD) + '\n{"threads": 1}\n',
                                  json.dumps(HEAD | {"machine": 3}) + "\n"))
def test_files_that_no_bench_wrote(tmp_path, text):
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match="a.jsonl"):
        bench_html([path], [])
    assert run(["report", str(path), "--quiet"]) in (2, 3)


def test_a_run_folder_is_no_bench(tmp_path):
    (tmp_path / "history.jsonl").write_text('{"epoch": 1}\n')
    assert bench_files(tmp_path / "history.jsonl") == []
    assert bench_files(tmp_path) == [] and bench_files(tmp_path / "none.jsonl") == [] and bench_files(tmp_path / "a.txt") == []
