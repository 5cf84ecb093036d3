"""nncore grade: a class of mixed submissions into files; killed and gone on with; what goes wrong with us is no mark."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

from nncore.assign import export, grade, judge
from nncore.assign.verdict import FAULT, Result
from nncore.errors import DataError, LimitError
from tests.assign import killing, standins
from tests.browser import Browser, need_chromium
from tests.harness import need

pytestmark = pytest.mark.usefixtures("sandbox")

EVIL = "<img src=x onerror=alert(1)>"
MIXED = {
    "anna": ("PASS", "centroid; exit 3"),
    "boris": ("BELOW_THRESHOLD", "honest"),
    "cyril": ("RUN_FAILED", f"echo '{EVIL}'; exit 7"),
    "dana": ("MISSING_OUTPUT", "true"),
    "emil": ("BAD_FORMAT", "honest; echo '<b>' >>test_predictions.csv"),
    "=HYPERLINK(1)": ("BELOW_THRESHOLD", "honest"),
    EVIL: ("PASS", "centroid"),
    "new\nline": ("BELOW_THRESHOLD", "honest"),
}


def students(folder: Path, names=MIXED) -> Path:
    for name in names:
        standins.project(folder / name, MIXED[name][1])
    return folder


@pytest.fixture(scope="module")
def graded(sandbox, small, tmp_path_factory):
    """(folder of submissions, out, what --json printed) of the mixed class."""
    from nncore.cli import run

    folder = tmp_path_factory.mktemp("mixed")
    students(folder / "students")
    (folder / "students/zip.zip").write_bytes(b"Rar!")
    (folder / "students/notes.txt").write_text("no submission")
    assert run(["grade", str(folder / "students"), "--assignment", str(small), "--out", str(folder / "out"), "--jobs", "2",
                "--quiet"]) == 0
    return folder / "students", folder / "out", json.loads((folder / "out/grade.json").read_text())


def test_everyone_has_a_verdict(graded):
    _, _, found = graded
    assert found["schema"] == "nncore.grade/1"
    verdicts = {r["submission"]: r["verdict"] for r in found["results"]}
    assert verdicts == {**{name: v for name, (v, _) in MIXED.items()}, "zip.zip": "BAD_ARCHIVE"}
    assert found["verdicts"] == {"PASS": 2, "BELOW_THRESHOLD": 3, "RUN_FAILED": 1, "MISSING_OUTPUT": 1, "BAD_FORMAT": 1,
                                 "BAD_ARCHIVE": 1}


def test_the_mark_book(graded):
    rows = list(csv.DictReader((graded[1] / "grades.csv").open(newline="")))
    assert len(rows) == len(MIXED) + 1 and list(rows[0])[:4] == ["student", "verdict", "accuracy", "seconds"]
    named = {r["student"]: r for r in rows}
    assert named["anna"]["verdict"] == "PASS" and float(named["anna"]["accuracy"]) > 0.5 and float(named["anna"]["seconds"]) > 0
    assert named["zip"]["accuracy"] == named["zip"]["seconds"] == ""
    assert "'=HYPERLINK(1)" in named and "new\ufffdline" in named  # no formula, no second line


def test_results_for_gradescope(graded):
    _, out, found = graded
    for r in found["results"]:
        path = out / "submissions" / export.folder_of(r["submission"]) / "results.json"
        given = json.loads(path.read_text())
        assert given["score"] == (r["verdict"] == "PASS") and given["stdout_visibility"] == "hidden"
        assert given["tests"][0]["name"] == r["verdict"] and given["tests"][0]["status"] in ("passed", "failed")
        assert r["advice"] in given["output"]
    assert len(list((out / "submissions").iterdir())) == len(found["results"])


def test_a_bad_end_after_complete_predictions_is_said_everywhere(graded):
    need("report", all(map(find_spec, ("altair", "vl_convert", "jinja2"))), "pip install 'nncore[report]'")
    _, out, found = graded
    warning = next(r for r in found["results"] if r["submission"] == "anna")["findings"][-1]
    assert warning["level"] == "warning" and "exit code 3" in warning["message"]
    for page in ("class.html", "submissions/anna/index.html", "submissions/anna/results.json"):
        assert "its predictions are complete and counted" in (out / page).read_text(), page
    assert "complete and counted" not in (out / "submissions/cyril/index.html").read_text()


def test_folders_of_results_stay_inside():
    for name in ("..", ".", "../x", "a/b", "a\nb", "x" * 300, "\udce4.zip"):
        found = export.folder_of(name)
        assert "/" not in found and found not in ("", ".", "..") and len(found) <= 210, name
    assert export.folder_of("x" * 300 + "a") != export.folder_of("x" * 300 + "b")


class _Tags(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_pages_escape_what_students_wrote(graded):
    need("report", all(map(find_spec, ("altair", "vl_convert", "jinja2"))), "pip install 'nncore[report]'")
    pages = list(graded[1].rglob("*.html"))
    assert len(pages) == len(MIXED) + 3
    for page in pages:
        text = page.read_text()
        found = _Tags(text)
        assert EVIL not in text and not {a for a in found.attributes if a.startswith("on")}, page
        assert "default-src 'none'" in unescape(text)
    page = (graded[1] / "class.html").read_text()
    assert "&lt;img src=x onerror=alert(1)&gt;" in page and "the test labels are random numbers" in page
    assert "the test labels are random numbers" in (graded[1] / "submissions/cyril/index.html").read_text()


@pytest.mark.parametrize("width", [1280, 390])
def test_pages_in_a_browser(graded, width, tmp_path):
    """They load nothing, complain of nothing, and are as wide as the window."""
    need("report", all(map(find_spec, ("altair", "vl_convert", "jinja2"))), "pip install 'nncore[report]'")
    need_chromium()
    out = graded[1]
    with Browser(tmp_path / "profile") as browser:
        for path in (out / "class.html", out / "leaderboard.html", out / "submissions/cyril/index.html"):
            page = browser.open(path, width=width)
            assert page.evaluate("document.querySelectorAll('h1').length") == 1
            assert not page.complaints and not page.requests
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate("document.querySelectorAll('img[onerror]').length") == 0


def test_known_results_are_taken_and_changed_ones_made_again(graded, small, inside):
    where, out, found = graded
    again = inside("grade", where, "--assignment", small, "--out", out)
    assert again.code == 0 and again.err.count("(known)") == len(found["results"])
    standins.project(where / "franz", "honest")
    (where / "boris/new.txt").write_text("changed")
    again = inside("grade", where, "--assignment", small, "--out", out)
    assert again.err.count("(known)") == len(found["results"]) - 1
    shutil.rmtree(where / "franz")


def test_graded_again_says_what_changed(small, inside, tmp_path):
    """A submission whose run depends on the time of day: first it fails, then it passes."""
    students(tmp_path / "students", ["anna", "boris"])
    first = inside("grade", "students", "--assignment", small, "--out", "out", "--json").json
    assert first["changes"] == []
    shutil.rmtree(tmp_path / "students/boris")
    standins.project(tmp_path / "students/boris", "centroid")
    done = inside("grade", "students", "--assignment", small, "--out", "out", "--regrade")
    assert "changed  boris: BELOW_THRESHOLD" in done.out and "-> PASS" in done.out and "anna" not in done.out
    change, = json.loads((tmp_path / "out/grade.json").read_text())["changes"]
    assert (change["before_verdict"], change["after_verdict"]) == ("BELOW_THRESHOLD", "PASS")


def test_overhead(ground, tmp_path):
    """Processor seconds a submission takes beside its own program: boxes, reference kernel, parsing, results on disk."""
    n = 16
    for i in range(n):
        standins.project(tmp_path / f"students/{i:02}", "honest")
    state = grade.State(tmp_path / "out")
    before = os.times()
    results = grade.grade(grade.submissions(tmp_path / "students"), ground, state, jobs=2)
    export.write(tmp_path / "out", export.batch(results, ground.assignment), results)
    after = os.times()
    state.close()
    ours = sum(after[:4]) - sum(before[:4]) + sum(r.cpu for r in results)
    assert {r.verdict for r in results} == {"BELOW_THRESHOLD"} and ours / n < 0.5


# ---- killed ------------------------------------------------------------------------------------------------------------


def test_killed_at_any_moment_it_goes_on(small, tmp_path):
    where = killing.a_class(tmp_path, 6)
    whole, seconds = killing.finished(where, tmp_path / "whole", small)
    chance = random.Random(7)
    hit = sum(killing.killed(where, tmp_path / "out", small, chance.uniform(0.2, 0.6) * seconds) for _ in range(5))
    found, _ = killing.finished(where, tmp_path / "out", small)
    assert hit and found == whole
    assert len(whole) == 6 and {r["verdict"] for r in whole} > {"PASS", "BELOW_THRESHOLD", "BAD_ARCHIVE"}


# ---- faults of ours ----------------------------------------------------------------------------------------------------


def test_a_sandbox_that_goes_away_is_no_mark(ground, tmp_path, monkeypatch):
    students(tmp_path / "students", ["anna"])
    state = grade.State(tmp_path / "out")
    paths = grade.submissions(tmp_path / "students")
    with monkeypatch.context() as m:
        m.setenv("PATH", str(tmp_path))
        result, = grade.grade(paths, ground, state)
    assert result.verdict == FAULT and "bwrap is missing" in result.detail and result.accuracy is None
    result, = grade.grade(paths, ground, state)  # the fault is not taken for a result
    assert result.verdict == "PASS"
    state.close()


def test_a_fault_has_no_results_for_gradescope(ground, tmp_path):
    fault, good = Result("anna", FAULT, "the disk is full"), Result("boris", "PASS", accuracy=0.9, seconds=1.0)
    export.write(tmp_path, export.batch([good, good], ground.assignment), [Result("anna", "PASS"), good])
    assert (tmp_path / "submissions/anna/results.json").exists()
    export.write(tmp_path, export.batch([fault, good], ground.assignment), [fault, good])
    assert not (tmp_path / "submissions/anna/results.json").exists()
    assert (tmp_path / "grades.csv").read_text().splitlines()[1].startswith("anna,GRADER_FAULT,,")


def test_whatever_breaks_in_us_is_no_mark(ground, tmp_path, monkeypatch):
    students(tmp_path / "students", ["anna", "boris"])

    def broken(path, *_):
        raise RuntimeError("a mistake of ours") if path.name == "anna" else AssertionError("another")

    monkeypatch.setattr(judge, "unpack", broken)
    found = [judge.judge(p, ground) for p in grade.submissions(tmp_path / "students")]
    assert [r.verdict for r in found] == [FAULT, FAULT] and "a mistake of ours" in found[0].detail


@pytest.fixture
def full_disk(tmp_path):
    """A folder on a file system of three megabytes."""
    folder = tmp_path / "full"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", folder], capture_output=True, text=True)
    need("mount", done.returncode == 0, "run the tests as root to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_no_mark(full_disk, small, environment, tmp_path):
    students(tmp_path / "students", ["anna"])
    standins.project(tmp_path / "students/large", "centroid")
    (tmp_path / "students/large/notes.bin").write_bytes(os.urandom(4_000_000))
    line = [sys.executable, "-m", "nncore", "grade", "students", "--assignment", str(small), "--out", "out", "--json"]
    done = subprocess.run(line, cwd=tmp_path, env={**environment, "TMPDIR": str(full_disk)}, capture_output=True, text=True)
    found = {r["submission"]: r for r in json.loads(done.stdout)["results"]}
    assert done.returncode == 5 and "a fault of the grader" in done.stderr
    assert found["large"]["verdict"] == FAULT and "No space left" in found["large"]["detail"]
    assert found["anna"]["verdict"] == "PASS"
    assert not (tmp_path / "out/submissions/large/results.json").exists()


def test_results_that_cannot_be_kept_stop_the_grading(full_disk, ground, tmp_path):
    students(tmp_path / "students", ["anna", "boris"])
    state = grade.State(full_disk / "out")
    (full_disk / "filler").write_bytes(bytes(2_900_000))
    with pytest.raises(LimitError, match="free space and start again"):
        for i in range(200):
            state.put(f"anna {i}", "mark", Result(f"anna {i}", "RUN_FAILED", output="x" * 20_000))
    state.close()


def test_a_broken_assignment_grades_nothing(inside, tmp_path):
    students(tmp_path / "students", ["anna"])
    (tmp_path / "bad.toml").write_text(standins.ASSIGNMENT.replace("threshold = 0.5", "threshold = 50"))
    done = inside("grade", "students", "--assignment", "bad.toml", "--out", "out")
    assert done.code == 3 and "pass.threshold" in done.err and not (tmp_path / "out").exists()
    (tmp_path / "none.toml").write_text(standins.ASSIGNMENT.replace('name = "glyphs"', 'name = "fashion-mnist"')
                                        .replace("train = 200\ntest = 100\n", ""))
    done = inside("grade", "students", "--assignment", "none.toml", "--out", "out")
    assert done.code in (2, 3) and not (tmp_path / "out/grades.csv").exists()


def test_another_file_is_not_taken_for_the_state(tmp_path):
    (tmp_path / grade.STATE).write_bytes(b"my diary, not a data base" * 100)
    with pytest.raises(DataError, match="choose another folder"):
        grade.State(tmp_path)


def test_an_empty_folder(inside, small, tmp_path):
    (tmp_path / "students").mkdir()
    done = inside("grade", "students", "--assignment", small, "--out", "out")
    assert done.code == 3 and "no submissions" in done.err
