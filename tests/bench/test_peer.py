"""Peers: the protocol, and everything that can go wrong with another process."""

from __future__ import annotations

import os
import sys
import time

import pytest

from nncore.bench import peer
from nncore.bench.peer import Peer
from nncore.cli import run
from nncore.errors import DataError, UsageError

HELLO = 'import sys, json, time\nprint(json.dumps({"versions": {}}), flush=True)\nsys.stdin.readline()\n'


def test_a_peer_answers_in_spite_of_what_its_library_prints(stand_in):
    with Peer("torch", 1, []) as found:
        assert found.versions == {"stand-in": "1.0"}
        assert found.ask("hello")["threads"] == 1
    assert found.process.returncode == 0


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins no process")
def test_a_peer_runs_on_the_processors_it_is_given(stand_in):
    cpu = min(os.sched_getaffinity(0))
    with Peer("torch", 1, [cpu]) as found:
        assert os.sched_getaffinity(found.process.pid) == {cpu} and found.ask("hello")["cpus"] == [cpu]


def test_a_library_that_is_missing_is_named(stand_in):
    (stand_in / "torch_ops.py").write_text("import no_such_library")
    with pytest.raises(DataError, match="no_such_library"):
        Peer("torch", 1, [])


def test_no_interpreter(monkeypatch, tmp_path):
    monkeypatch.delenv("NNCORE_PEERS_PYTHON", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(peer.nncore, "__file__", str(tmp_path / "nncore" / "__init__.py"))
    with pytest.raises(UsageError, match="make bench-peers"):
        peer.interpreter()
    folder = tmp_path / ".venv-peers" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").symlink_to(sys.executable)
    assert peer.interpreter() == str(folder / "python")


@pytest.mark.parametrize("named", ("no/such/python", "."))
def test_a_wrong_interpreter_is_wrong_usage(monkeypatch, capsys, named):
    monkeypatch.setenv("NNCORE_PEERS_PYTHON", named)
    assert run(["bench", "kernels", "--against", "torch"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "NNCORE_PEERS_PYTHON" in err and "make bench-peers" in err


@pytest.mark.parametrize("behaviour, says", (
    ("print('gone astray', file=sys.stderr); sys.exit(3)", r"status 3; it said:\ngone astray"),
    ("print('hello there', flush=True); sys.stdin.readline()", "answered b'hello there', not a JSON object"),
    ("print('[1, 2]', flush=True); sys.stdin.readline()", "not a JSON object"),
    ("sys.stdout.buffer.write(bytes([255, 10])); sys.stdout.flush(); sys.stdin.readline()", "not a JSON object"),
    ("time.sleep(60)", "did not answer within 0.3 s"),
    ("print(json.dumps({'error': 'that is too much'}), flush=True); sys.stdin.readline()", "asked to load: that is too much"),
))  # fmt: skip
def test_a_peer_that_misbehaves_is_an_error_that_says_so(monkeypatch, tmp_path, behaviour, says):
    monkeypatch.setenv("NNCORE_PEERS_PYTHON", sys.executable)
    script = tmp_path / "script.py"
    script.write_text(HELLO + "sys.stdin.readline()\n" + behaviour)
    found = Peer("torch", 1, [], script, timeout=20.0)
    found.timeout = 0.3 if "sleep" in behaviour else 20.0
    begin = time.monotonic()
    with pytest.raises(DataError, match=says):
        found.ask("load")
    assert time.monotonic() - begin < 15
    found.close()
    assert found.process.returncode is not None


def test_a_peer_that_died_meanwhile(monkeypatch, tmp_path):
    monkeypatch.setenv("NNCORE_PEERS_PYTHON", sys.executable)
    script = tmp_path / "script.py"
    script.write_text(HELLO + "sys.exit(7)")
    found = Peer("torch", 1, [], script)
    found.process.wait(20)
    with pytest.raises(DataError, match="status 7"):
        found.ask("load")
