"""Tiny data sets and a way to run commands: in a process of their own, or quickly in this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from nncore.cli import run
from nncore.data import glyphs, make_csv

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        return json.loads(self.out)


def write_idx(path: Path, tensor) -> None:
    head = bytes([0, 0, 8, len(tensor.shape)]) + b"".join(n.to_bytes(4, "big") for n in tensor.shape)
    path.write_bytes(head + tensor.tobytes())


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """600 + 200 glyphs as IDX files."""
    folder = tmp_path_factory.mktemp("data") / "tiny"
    folder.mkdir()
    data = glyphs(600, 200)
    for prefix, split in (("train", data.train), ("t10k", data.test)):
        write_idx(folder / f"{prefix}-images-idx3-ubyte", split.images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", split.labels)
    return folder


@pytest.fixture(scope="session")
def course(tmp_path_factory) -> Path:
    """600 + 200 glyphs under the names of the course's CSV files."""
    folder = tmp_path_factory.mktemp("csv") / "course data"
    make_csv(glyphs(600, 200), folder)
    return folder


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """No settings of the user's, no data, no network."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("NNCORE_") and k != "NO_COLOR"}
    return {**kept, "NNCORE_OFFLINE": "1", "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}


@pytest.fixture
def command(tmp_path, environment):
    """Run `nncore ...` in a process of its own, in an empty folder."""

    def call(*arguments, env=None, cwd=tmp_path, **options) -> Done:
        done = subprocess.run([sys.executable, "-m", "nncore", *map(str, arguments)], cwd=cwd, capture_output=True,
                              text=True, env={**environment, **(env or {})}, timeout=120, **options)
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def inside(tmp_path, environment, monkeypatch, capfd):
    """Run `nncore ...` in this process, in an empty folder: for most commands the same, and ten times as fast."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name not in environment:
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def call(*arguments) -> Done:
        capfd.readouterr()
        code = run([str(a) for a in arguments])
        sys.stdout.flush()
        out, err = capfd.readouterr()
        assert "Traceback" not in err, err
        return Done(code, out, err)

    return call


@pytest.fixture(scope="session")
def trained(tmp_path_factory, tiny) -> Path:
    """A finished run on the tiny data."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert run(["train", "--data", str(tiny), "--epochs", "4", "--hidden", "16", "--batch", "64", "--quiet", "--out",
                str(folder)]) == 0
    return folder
