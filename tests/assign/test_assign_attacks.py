"""A class of attackers with honest students among them: every verdict is right, nothing of the host changes, nobody stays.

Each attack is bounded in itself, so that a sandbox that fails harms nothing but this test.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from nncore.assign import grade, judge
from tests.assign import standins

pytestmark = pytest.mark.usefixtures("sandbox")

HONEST = ("aaa honest", "mmm honest", "zzz honest")


def graded(folder: Path, scripts: dict[str, tuple[str, str]], archives: dict[str, tuple[str, bytes]], **limits):
    """({name: result}, expected) of a class, graded two at a time, as `nncore grade` does."""
    students = folder / "students"
    expected = {}
    for name, (verdict, script) in scripts.items():
        standins.project(students / name, script)
        expected[name] = verdict
    for name, (verdict, content) in archives.items():
        (students / f"zip {name}.zip").write_bytes(content)
        expected[f"zip {name}.zip"] = verdict
    for name in HONEST:
        standins.project(students / name, "centroid")
        expected[name] = "PASS"
    state = grade.State(folder / "out")
    with judge.prepared(standins.assignment(folder, **limits), calibrated=False) as ground:
        results = grade.grade(grade.submissions(students), ground, state, jobs=2)
    state.close()
    return {r.submission: r for r in results}, expected


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    return graded(tmp_path_factory.mktemp("attacked"), standins.attacks(slow=False), standins.ARCHIVES)


def table(results, expected, capsys) -> None:
    with capsys.disabled():
        print()
        for name, result in sorted(results.items()):
            mark = " " if result.verdict == expected[name] else "!"
            took = "" if result.seconds is None else f"{result.seconds:6.2f} s"
            print(f"{mark} {name:<32} {result.verdict:<16} {took}")


def test_every_attack_gets_its_verdict(attacked, capsys):
    results, expected = attacked
    table(results, expected, capsys)
    assert len(expected) - len(HONEST) >= 100
    wrong = {n: (r.verdict, r.detail, r.output[-300:]) for n, r in results.items() if r.verdict != expected[n]}
    assert not wrong


def test_nothing_gets_through(attacked):
    results, _ = attacked
    assert not {n: r.output for n, r in results.items() if "BREACH" in r.output or "root:" in r.output}
    if os.uname().machine in ("x86_64", "aarch64"):
        assert all("system call filter" in r.enforced for r in results.values() if r.seconds is not None)


def test_labels_found_are_worth_nothing(attacked):
    """The labels in the box are random: guessing has a tenth right, give or take."""
    results, _ = attacked
    assert results["label-hunt"].accuracy < 0.3
    assert results["aaa honest"].accuracy > 0.5


def test_honest_results_do_not_depend_on_neighbours(attacked):
    results, _ = attacked
    assert len({(results[n].correct, results[n].train_accuracy) for n in HONEST}) == 1


def test_nobody_stays(attacked):
    """The processes of a box are gone when its result is there; none of its user ids is left."""
    names = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            names.append((Path("/proc") / pid / "cmdline").read_bytes())
        except OSError:
            pass
    assert not [n for n in names if b"nncore-attack-survivor" in n]


def test_nothing_lands_outside(attacked, tmp_path_factory):
    assert not Path("/tmp/nncore-evil.txt").exists()
    assert not list(tmp_path_factory.getbasetemp().rglob("evil*"))


def test_who_does_not_end_is_ended(tmp_path, capsys):
    start = time.monotonic()
    results, expected = graded(tmp_path, standins.attacks(slow=True), {}, wall=4)
    table(results, expected, capsys)
    slow = {n: r for n, r in results.items() if n not in HONEST}
    assert {r.verdict for r in slow.values()} == {"TIME_LIMIT"} and len(slow) >= 5
    assert all(4 <= r.seconds < 7 for r in slow.values())
    assert time.monotonic() - start < 60
