"""The whole story on glyphs: begin, solve, check at home, zip, grade a class of twelve, export, grade again."""

from __future__ import annotations

import csv
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from nncore.assign import spec
from nncore.cli import run
from tests.assign import standins
from tests.harness import need

pytestmark = pytest.mark.usefixtures("sandbox")
LINES = "yes {} | head -2000 >train_predictions.csv; "
SOLUTION = Path(__file__).parent / "solution.c"


def begin(folder: Path, *more: str) -> Path:
    assert run(["new", str(folder), "--assignment", "glyphs", *more]) == 0
    return folder


def solve(project: Path, seed: int) -> Path:
    """Write a network where the skeleton has none."""
    path = project / "network.c"
    text = path.read_text()
    begin, end = text.index("static void train("), text.index("static void write_predictions(")
    path.write_text(text[:begin] + SOLUTION.read_text().replace("SEED", str(seed)) + text[end:])
    return project


def zipped(project: Path, target: Path) -> Path:
    """As a file manager does it: the folder around everything, data and all."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(project.rglob("*")):
            archive.write(path, f"{project.name}/{path.relative_to(project)}")
    return target


EXPECTED = {
    "anna.zip": "PASS", "boris.zip": "BUILD_FAILED", "cyril.zip": "PASS", "dana.zip": "PASS", "emil": "BELOW_THRESHOLD",
    "franz": "BELOW_THRESHOLD", "gita.zip": "RUN_FAILED", "hana": "MISSING_OUTPUT", "ivan": "BAD_FORMAT", "jana": "LEAKAGE",
    "karel.zip": "BAD_ARCHIVE", "lida.zip": "PASS",
}


@pytest.fixture(scope="module")
def handed_in(sandbox, tmp_path_factory):
    """(home, submissions): twelve projects."""
    home, students = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("students")
    for name, seed in (("anna", 42), ("boris", 1), ("cyril", 42), ("dana", 3), ("lida", 0)):
        solve(begin(home / name), seed)
    boris = home / "boris/network.c"
    boris.write_text(boris.read_text().replace("return best;", "return best"))
    cyril = home / "cyril/network.c"  # Anna's, with other words
    cyril.write_text(cyril.read_text().replace("hidden", "middle").replace("HIDDEN", "MIDDLE"))
    begin(students / "emil", "--language", "c++")
    begin(students / "franz", "--language", "python-cffi")
    gita = begin(home / "gita")
    (gita / "run.sh").write_text("#!/bin/bash\necho reading data/train.csv\n./network\n")
    standins.project(students / "hana", "true")
    standins.project(students / "ivan", LINES.format(0.5) + "yes 1 | head -500 >test_predictions.csv")
    standins.project(students / "jana", LINES.format(0) + "cp data/glyphs_test_labels.csv test_predictions.csv")
    (students / "karel.zip").write_bytes(b"7z\xbc\xaf\x27\x1c")
    for name in ("anna", "boris", "cyril", "dana", "gita", "lida"):
        zipped(home / name, students / f"{name}.zip")
    return home, students


@pytest.fixture(scope="module")
def graded(handed_in, tmp_path_factory):
    """(home, submissions, out) of the class, graded."""
    home, students = handed_in
    out = tmp_path_factory.mktemp("grading")
    assert run(["grade", str(students), "--assignment", "glyphs", "--out", str(out), "--jobs", "2", "--quiet"]) == 0
    return home, students, out


def test_at_home(inside, tmp_path):
    """A skeleton runs and is below; solved it passes; what is zipped passes too."""
    project = begin(tmp_path / "mine")
    assert inside("check", project, "--assignment", "glyphs", "--json").json["verdict"] == "BELOW_THRESHOLD"
    solve(project, 42)
    at_home = inside("check", project, "--assignment", "glyphs", "--json").json
    assert at_home["verdict"] == "PASS" and at_home["findings"] == [] and at_home["accuracy"] > 0.92
    zipped(project, tmp_path / "mine.zip")
    packed = inside("check", tmp_path / "mine.zip", "--assignment", "glyphs", "--json").json
    assert (packed["verdict"], packed["correct"]) == ("PASS", at_home["correct"])


def test_a_class_of_twelve(graded):
    found = json.loads((graded[2] / "grade.json").read_text())
    got = {r["submission"]: (r["verdict"], r["detail"], r["output"][-500:]) for r in found["results"]}
    assert {n: v for n, v in got.items() if v[0] != EXPECTED[n]} == {} and set(got) == set(EXPECTED)
    assert [s["passed"] for s in found["stages"]] == [11, 10, 9, 7, 6, 4]
    assert found["hardest"]["submissions"] == 7 and found["hardest"]["rows"][0]["wrong"] >= 3


def test_the_reference_solution_learns_xor(inside, tmp_path):
    """Plain C on the kernel library, compiled in the box without optimisation: the same bits in a quarter of the time. Only the
    wall clock is longer than the assignment's, for a machine that others use too."""
    text = spec.source("xor").replace("wall = 30\n", "wall = 600\n").replace('name = "xor"', 'name = "xor-slow"', 1)
    assert "wall = 600" in text and "disk_mb = 64" in text
    (tmp_path / "xor.toml").write_text(text)
    assert run(["new", str(tmp_path / "mine"), "--assignment", str(tmp_path / "xor.toml"), "--solved"]) == 0
    command = tmp_path / "mine/run.sh"
    command.write_text(command.read_text().replace("make -s", "make -s LEVELS=portable OPTIMISE=-O0"))
    found = inside("check", tmp_path / "mine", "--assignment", tmp_path / "xor.toml", "--json").json
    assert found["verdict"] == "PASS" and found["correct"] == 4, (found["detail"], found["output"][-500:])


def test_the_reference_solution(inside, tmp_path):
    """As it is handed in but for one level: half a minute of a processor to compile, and digits to learn."""
    asked = "reference" in os.environ.get("NNCORE_REQUIRE", "").split(",")
    need("reference", asked, "it takes half a minute to compile: NNCORE_REQUIRE=reference runs it")
    reference = begin(tmp_path / "mine", "--solved")
    makefile = reference / "Makefile"
    makefile.write_text(makefile.read_text().replace("portable avx2", "portable"))  # half of that
    found = inside("check", reference, "--assignment", "glyphs", "--json").json
    assert found["verdict"] == "PASS", (found["detail"], found["output"][-500:])


def test_who_copied_is_a_hint(graded):
    found = json.loads((graded[2] / "grade.json").read_text())
    assert ("anna.zip", "cyril.zip") in [(p["a"], p["b"]) for p in found["similar"]["pairs"]]
    assert all(r["verdict"] == "PASS" for r in found["results"] if r["submission"] in ("anna.zip", "cyril.zip"))


def test_what_is_exported(graded):
    out = graded[2]
    rows = {r["student"]: r for r in csv.DictReader((out / "grades.csv").open(newline=""))}
    assert set(rows) == {n.removesuffix(".zip") for n in EXPECTED}
    assert rows["anna"]["credit"] == "1.0" and rows["boris"]["credit"] == "0.0" and float(rows["anna"]["calibrated_seconds"]) > 0
    for name, verdict in EXPECTED.items():
        given = json.loads((out / "submissions" / name / "results.json").read_text())
        assert given["score"] == (verdict == "PASS") and given["tests"][0]["name"] == verdict
        page = (out / "submissions" / name / "index.html").read_text()
        assert verdict in page and not [n for n in EXPECTED if n != name and n in page]  # nothing of others
    board = json.loads((out / "leaderboard.json").read_text())
    assert {r["submission"] for r in board["rows"]} == {n for n, v in EXPECTED.items() if v in ("PASS", "BELOW_THRESHOLD")}
    assert all(r["private"] is None for r in board["rows"]) and "hana" not in (out / "leaderboard.html").read_text()


def test_graded_again(graded, inside):
    """Boris mends his semicolon and hands in again: he alone is graded, and both results stand side by side."""
    home, students, out = graded
    (home / "boris/network.c").write_text((home / "boris/network.c").read_text().replace("return best\n", "return best;\n"))
    shutil.copy(zipped(home / "boris", home / "boris.zip"), students / "boris.zip")
    done = inside("grade", students, "--assignment", "glyphs", "--out", out, "--regrade", "--only", "boris", "--final")
    assert done.code == 0 and "changed  boris.zip: BUILD_FAILED -> PASS" in done.out
    assert done.err.count("(known)") == len(EXPECTED) - 1
    change, = json.loads((out / "grade.json").read_text())["changes"]
    assert change["before_verdict"] == "BUILD_FAILED" and "error: expected" in change["before_output"]
    assert change["after_accuracy"] > 0.9 and change["answers"] is None
    page = (out / "class.html").read_text()
    assert "Graded again" in page and "before: BUILD_FAILED" in page and "after: PASS" in page
    final = json.loads((out / "leaderboard.json").read_text())
    assert final["final"] and final["rows"][0]["private"] > 0.9 and "boris.zip" in {r["submission"] for r in final["rows"]}
