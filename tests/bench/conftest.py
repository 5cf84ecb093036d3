"""A peer that needs no library: serve.py beside a stand-in for torch_ops.py, run by this interpreter."""

from __future__ import annotations

import shutil
import sys

import pytest

from nncore.bench import groups, peer

STAND_IN = '''
import sys
from array import array as elements
from contextlib import nullcontext
from serve import Way

guard = nullcontext
CODES = {"f4": "f", "f8": "d", "u1": "B", "i4": "i", "i8": "q"}

def start(threads):
    print("a library that talks on stdout")

def versions():
    return {"stand-in": "1.0"}

def array(memory, kind, count, at):
    found = elements(CODES[kind])
    found.frombytes(memory[at : at + count * found.itemsize])
    return found

def doubles(values):
    return elements("d", values).tobytes()

def relu(c):
    x = c.args[1]
    yield Way("slow", lambda: [[max(v, 0.0) for v in x] for _ in range(50)], lambda y: [[0.0] * len(x)])
    yield Way("quick", lambda: [max(v, 0.0) for v in x], lambda y: [y])

def wrong(c):
    x = c.args[1]
    yield Way("wrong", lambda: [2.0 * max(v, 0.0) for v in x], lambda y: [y])

def broken(c):
    raise ValueError("this op is broken here")

def predicting(request):
    yield Way("at once", lambda: 0.0, lambda y: [None])

OPS = {"relu_fwd": relu, "sigmoid_fwd": wrong, "tanh_fwd": broken}

def training(request):
    return (lambda: 1.5) if request["widths"] else None
'''


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """The folder of the peers' programs, with the stand-in instead of PyTorch."""
    folder = tmp_path / "peers"
    folder.mkdir()
    shutil.copy(peer.FOLDER / "serve.py", folder)
    (folder / "torch_ops.py").write_text(STAND_IN)
    monkeypatch.setattr(peer, "FOLDER", folder)
    monkeypatch.setattr(groups, "COUNTS", (1000, 2000))  # it is slow
    monkeypatch.setenv("NNCORE_PEERS_PYTHON", sys.executable)
    return folder
