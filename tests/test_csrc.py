"""The library without Python: its Makefile, its tape loader, and a training in plain C that reaches Python's bits."""

from __future__ import annotations

import random
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

import nncore as nn
from nncore import _build
from nncore._ffi import ffi, lib
from nncore.errors import NNError, UsageError
from nncore.graph import tapefile
from nncore.train.export import export_program
from tests.cbuild import CSRC, example, library, make, makefile_table

TRAIN, TEST = 530, 205  # neither a multiple of its batch


# ---- Makefile --------------------------------------------------------------------------------------------------------


def test_both_flag_tables_are_equal():
    base, strict, table = makefile_table()
    assert base == _build.BASE
    assert strict == _build.STRICT
    assert {k: v for k, v in table.items() if k != "other"} == _build.ISA_FLAGS
    assert table["other"] == {"portable": ["-DNN_ISA_SCALAR"]}


def test_no_flag_breaks_the_bits():
    flags = " ".join(_build.BASE + [f for level in _build.ISA_FLAGS.values() for fs in level.values() for f in fs])
    assert "-ffp-contract=off" in flags and "-std=c11" in flags
    assert not re.search(r"fast-math|-Ofast|unsafe|reciprocal|mrecip|associative|finite-math", flags)


def test_library_builds_in_a_folder_with_a_space(tmp_path):
    copy = tmp_path / "a folder" / "csrc"
    shutil.copytree(CSRC, copy, ignore=shutil.ignore_patterns("build"))
    done = make(copy, "LEVELS=portable", "EXTRA=-O0", "CI=1", "-j2")
    assert done.returncode == 0, done.stderr
    assert (copy / "build" / "libnncore.a").exists()
    assert make(copy, "clean").returncode == 0 and not (copy / "build").exists()


def test_nothing_is_rebuilt_without_need():
    library()
    assert "is up to date" in (said := make(CSRC, "build/libnncore.a").stdout), said


# ---- a training in C -------------------------------------------------------------------------------------------------


def write_idx(path, tensor) -> str:
    sizes = b"".join(struct.pack(">I", n) for n in tensor.shape)
    path.write_bytes(bytes((0, 0, 8, len(tensor.shape))) + sizes + tensor.tobytes())
    return str(path)


def network(name: str):
    """Model and trainer options; between them all that a program has to carry over."""
    if name == "adam":
        return nn.Sequential([nn.Dense(40), nn.ReLU(), nn.Dropout(0.2), nn.Dense(10)], seed=3), {
            "epochs": 2, "batch": 50, "optimizer": nn.Adam(nn.OneCycle(3e-3))}
    if name == "augmented":
        return nn.Sequential([nn.Dense(24), nn.ReLU(), nn.Dense(10)], seed=4), {
            "epochs": 2, "batch": 53, "optimizer": nn.Adam(3e-3), "loss": nn.CrossEntropy(smoothing=0.1),
            "augment": "affine,elastic=20:4,noise=0.01,mixup=0.2"}
    if name == "images":
        return nn.Sequential([nn.Conv2D(4, 5, 2), nn.ReLU(), nn.ConvTranspose2D(6, 3), nn.Tanh(), nn.Dense(10)], seed=4), {
            "epochs": 1, "batch": 50, "optimizer": nn.Adam()}
    return nn.Sequential([nn.Dense(24), nn.Tanh(), nn.Dense(10, bias=False)], seed=5, standardise=name), {
        "epochs": 3, "batch": 53, "steps": 17, "optimizer": nn.Momentum(0.05, 0.9), "penalty": nn.L2(1e-4)}


@pytest.fixture(scope="module", params=["adam", "images", "feature", "unit", "augmented"])
def trained(request, tmp_path_factory):
    """(arguments of the C program, weights_sha256, accuracy) of a training that Python has done."""
    folder = tmp_path_factory.mktemp(request.param)
    data = nn.data.glyphs(TRAIN, TEST)
    model, options = network(request.param)
    trainer = model.trainer(data.train, **options)
    export_program(trainer, folder / "program.tape")
    trainer.run()
    files = [write_idx(folder / f"{n}{k}", t) for n, split in (("train", data.train), ("test", data.test))
             for k, t in (("images", split.images), ("labels", split.labels))]
    return [str(folder / "program.tape"), *files], model.weights_sha256, model.evaluate(data.test).accuracy


def run(program, *arguments) -> subprocess.CompletedProcess:
    return subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("extra", [(1,), (2,), (1, "portable")], ids=["1 thread", "2 threads", "portable"])
def test_c_reaches_pythons_bits(trained, extra):
    arguments, sha256, accuracy = trained
    done = run(example(), *arguments, *extra)
    assert done.returncode == 0, done.stderr
    assert f"weights sha256 {sha256}" in done.stdout.splitlines()
    assert f"test accuracy {accuracy:.6f}" in done.stdout.splitlines()


def test_clang_reaches_the_same_bits(trained):
    arguments, sha256, _ = trained
    for level in ("best", "portable"):
        done = run(example("clang"), *arguments, 1, level)
        assert done.returncode == 0, done.stderr
        assert f"weights sha256 {sha256}" in done.stdout.splitlines(), level


def test_c_names_what_is_wrong(trained, tmp_path):
    arguments, _, _ = trained
    program, images, labels, test_images, test_labels = arguments
    cut, web = tmp_path / "cut", tmp_path / "web"
    cut.write_bytes(Path(program).read_bytes()[:-9])
    web.write_bytes(b"<html>not found</html>")
    for status, words, changed in [
        (2, "usage", arguments[:3]),
        (2, "instruction set", [*arguments, 1, "mmx"]),
        (2, "threads", [*arguments, 0]),
        (3, "tape file", [cut, *arguments[1:]]),
        (3, "tape file", [images, *arguments[1:]]),
        (3, "IDX", [program, web, labels, test_images, test_labels]),
        (3, "one label", [program, images, test_labels, test_images, test_labels]),
        (3, "training samples", [program, test_images, test_labels, test_images, test_labels]),
        (3, "cannot be read", [program, tmp_path / "none", labels, test_images, test_labels]),
    ]:
        done = run(example(), *changed)
        assert (done.returncode, words in done.stderr) == (status, True), (changed, done.stderr)


def test_export_refuses_what_c_cannot_do(tmp_path):
    data = nn.data.glyphs(60, 10)
    model = nn.Sequential([nn.Dense(10)])
    for options, word in [({"validation": 0.5}, "rows"), ({"callbacks": [nn.EarlyStopping()]}, "callbacks"),
                          ({"loss": nn.CrossEntropy(weights=[1.0] * 10)}, "weights")]:
        with pytest.raises(UsageError, match=word):
            export_program(model.trainer(data.train, epochs=1, batch=10, **options), tmp_path / "x")


# ---- two readers of tape files ---------------------------------------------------------------------------------------


def c_reads(data: bytes) -> bool:
    """Whether nn_tape_load accepts the bytes."""
    fault, need, program = ffi.new("nn_fault *"), ffi.new("int64_t *"), ffi.new("nn_program *")
    if lib.nn_tape_load(ffi.NULL, ffi.NULL, need, data, len(data), fault) != lib.NN_OK:
        return False
    memory = ffi.new("int64_t[]", need[0] // 8 + 1)
    return lib.nn_tape_load(program, memory, need, data, len(data), fault) == lib.NN_OK


def python_reads(path, data: bytes) -> bool:
    """Whether the Python reader, and the check it leaves to C, accept them."""
    path.write_bytes(data)
    try:
        for tape in tapefile.load(path):
            tape.cdata()
    except NNError:
        return False
    return True


@pytest.fixture(scope="module")
def program_bytes(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("bytes") / "program"
    model, options = network("adam")
    export_program(model.trainer(nn.data.glyphs(60, 10).train, **{**options, "batch": 25}), path)
    return path.read_bytes()


def test_both_readers_accept_a_program(program_bytes, tmp_path):
    assert c_reads(program_bytes) and python_reads(tmp_path / "x", program_bytes)
    tapes, notes = tapefile.load_program(tmp_path / "x")
    assert tapefile.dump(tapes, notes) == program_bytes


def test_both_readers_agree_on_damaged_bytes(program_bytes, tmp_path):
    draw = random.Random(1)
    n = len(program_bytes)
    for _ in range(400):
        data = bytearray(program_bytes)
        data[draw.randrange(n)] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
        assert c_reads(bytes(data)) == python_reads(tmp_path / "x", bytes(data))
    for _ in range(100):
        data = program_bytes[: draw.randrange(n)]
        assert not c_reads(data) and not python_reads(tmp_path / "x", data)
