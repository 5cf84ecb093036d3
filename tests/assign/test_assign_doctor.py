"""nncore doctor and the backend in a control group: tried where it can be, said plainly where it cannot."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nncore.assign import cgroup, judge, sandbox
from nncore.errors import NNError
from tests.assign import standins
from tests.harness import need


@pytest.fixture
def grouped(ground, tmp_path):
    """The ground with the box in a control group."""
    try:
        judge.ready("benchexec")
    except NNError as e:
        need("benchexec", False, str(e))
    return replace(ground, backend="benchexec", clock=None, assignment=standins.assignment(tmp_path))


@pytest.mark.usefixtures("sandbox")
def test_doctor_tries_each(inside):
    found = inside("doctor", "--json")
    assert found.code == 0 and set(found.json["sandbox"]) == {"bwrap", "benchexec"} and found.json["sandbox"]["bwrap"]["works"]
    assert "no network" in found.json["sandbox"]["bwrap"]["enforced"]
    lines = inside("doctor").out.splitlines()
    assert lines[0].startswith("bwrap      works: ") and lines[1].startswith("benchexec  ")


@pytest.mark.usefixtures("sandbox")
def test_doctor_says_where_maven_finds_what_it_fetched(inside, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, which=shutil.which: f"/usr/bin/{name}" if name == "mvn" else which(name))
    monkeypatch.setattr(sandbox, "MAVEN", tmp_path / "maven")
    assert f"mvn -Dmaven.repo.local={tmp_path / 'maven'} package" in inside("doctor").out
    (tmp_path / "maven").mkdir()
    assert "fetched" not in inside("doctor").out and inside("doctor", "--json").json["maven"] == str(tmp_path / "maven")


@pytest.mark.usefixtures("sandbox")
def test_what_is_missing_is_said(inside, monkeypatch):
    monkeypatch.setitem(sys.modules, "benchexec.cgroups", None)
    cgroup._ours.cache_clear()
    try:
        found = inside("doctor", "--json")
        assert found.code == 0 and not found.json["sandbox"]["benchexec"]["works"]
        assert "pip install 'nncore[grade]'" in found.json["sandbox"]["benchexec"]["message"]
        assert "benchexec is not needed" in inside("doctor").out
    finally:
        cgroup._ours.cache_clear()


@pytest.mark.parametrize("attack, verdict", [
    ("memory-bomb", "MEMORY_LIMIT"), ("memory-many", "MEMORY_LIMIT"), ("fork-bomb", "PROCESS_LIMIT"),
    ("fork-tree", "PROCESS_LIMIT"), ("survivor", None)])
def test_in_a_control_group(grouped, attack, verdict, tmp_path):
    wanted, script = standins.attacks(slow=False)[attack]
    result = judge.judge(standins.project(tmp_path / "mine", script), grouped)
    assert result.verdict == (verdict or wanted), (result.detail, result.output[-300:])
    assert "control group for memory and processes" in result.enforced
    groups = [p for kind in ("memory", "pids") for p in Path("/sys/fs/cgroup").glob(f"{kind}*/**/nncore_*")]
    assert not groups


def test_the_kernel_stops_memory(grouped, tmp_path, monkeypatch):
    """Nobody looks: the group alone ends it, and it is known why."""
    from nncore.assign.watch import Watch

    monkeypatch.setattr(Watch, "_limit", lambda self: "time" if self.seconds > self.limits.wall else "")
    monkeypatch.setattr("nncore.assign.sandbox._limits", lambda limits: ["prlimit", "--core=0", "--"])
    hungry = "python3 -c 'b = [bytearray(b\"x\") * 10_000_000 for _ in range(200)]'"
    result = judge.judge(standins.project(tmp_path / "mine", hungry), grouped)
    assert result.verdict == "MEMORY_LIMIT", (result.detail, result.output)
