"""Arrays from memory: looked at, not copied; refused with the index of what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from array import array

import pytest
from conftest import idx_bytes

from nncore.data import from_arrays
from nncore.errors import DataError
from nncore.tensor import Tensor


def images(*shape, dtype="u8"):
    return Tensor(shape, dtype)


def test_takes_what_has_a_buffer():
    pixels = bytearray(range(24))
    data = from_arrays(memoryview(pixels).cast("B", (2, 3, 4)), b"\0\1")
    assert (data.train.shape, data.test, data.classes, len(data.train)) == ((2, 3, 4), None, ("0", "1"), 2)
    pixels[0] = 99
    assert data.train.images[0][0][0] == 99, "no copy"
    floats = memoryview(array("f", [0.5] * 6)).cast("B").cast("f", (3, 2))
    data = from_arrays(floats, [0, 1, 1], floats, array("q", [1, 1, 0]), classes=["x", "y"])
    assert data.train.images.dtype == "f32" and data.test.labels.tolist() == [1, 1, 0] and data.classes == ("x", "y")
    assert from_arrays(images(2, 4), array("i", [3, 0])).classes == ("0", "1", "2", "3")
    assert len(from_arrays(images(2, 4), (0, 0), classes=7).classes) == 7


def test_numpy_arrays():
    numpy = pytest.importorskip("numpy", reason="numpy is not installed: pip install nncore[dev]")
    x = numpy.zeros((5, 8, 8, 3), numpy.float32)
    assert from_arrays(x, numpy.arange(5)).train.shape == (5, 8, 8, 3)
    with pytest.raises(DataError, match="C-contiguous"):
        from_arrays(x[:, ::2], numpy.arange(5))
    x[3, 1, 2, 1] = numpy.nan
    with pytest.raises(DataError, match=r"images: nan at index \(3, 1, 2, 1\)"):
        from_arrays(x, numpy.arange(5))
    x[3, 1, 2, 1] = -numpy.inf
    with pytest.raises(DataError, match=r"test images: -inf at index \(3, 1, 2, 1\)"):
        from_arrays(numpy.zeros((5, 8, 8, 3), numpy.float32), numpy.arange(5), x, numpy.arange(5))


@pytest.mark.parametrize(("arguments", "message"), [
    ((images(2, 4, dtype="f64"), [0, 1]), "images are f64; convert them to unsigned bytes or 32-bit floats"),
    ((images(4), [0, 1]), r"have shape \(4,\); expected \(N, H, W\[, C\]\) or \(N, D\)"),
    ((images(1, 1, 1, 1, 1), [0]), "expected"),
    ((images(0, 4), []), "there is nothing in them"),
    ((images(2, 0), [0, 0]), "there is nothing in them"),
    ((object(), [0]), "neither the buffer protocol nor DLPack"),
    ((images(2, 4), [0]), "1 labels for 2 images"),
    ((images(2, 4), [0, 256]), "256 at index 1; expected integers from 0 to 255"),
    ((images(2, 4), [0, -1]), "-1 at index 1"),
    ((images(2, 4), [0, 0.5]), "0.5 at index 1"),
    ((images(2, 4), array("f", [0, 1])), "labels are f32; expected integers"),
    ((images(2, 4), images(2, 1)), r"labels have shape \(2, 1\); expected \(N,\)"),
    ((images(2, 4), [0, 1], images(2, 4)), "come together or not at all"),
    ((images(2, 4), [0, 1], images(2, 5), [0, 1]), r"test images are \(5,\) u8, training images \(4,\) u8"),
    ((images(2, 4), [0, 1], images(2, 4, dtype="f32"), [0, 1]), "test images are"),
    ((images(2, 4), [0, 3], None, None, ["a", "b"]), "label 3 at index 1 is outside 0 to 1"),
    ((images(2, 4), [0, 3], None, None, 0), "0 classes; 1 to 256"),
    ((images(2, 4), [0, 3], None, None, 257), "257 classes; 1 to 256"),
])
def test_refuses(arguments, message):
    with pytest.raises(DataError, match=message):
        from_arrays(*arguments)


GARBAGE = """
import gc, sys
from nncore.data import glyphs, load_folder, make_csv, read_csv, read_idx
gc.disable()
class Node: pass
make_csv(glyphs(20, 10), sys.argv[1])
def cycle(make):
    try:
        value = make()
    except Exception as e:
        value = e
    node = Node()
    node.me, node.value, node.view = node, value, getattr(value, "view", lambda: None)()
for make in (lambda: load_folder(sys.argv[1]), lambda: read_csv(sys.argv[1] + "/fashion_mnist_test_vectors.csv"),
             lambda: read_csv(sys.argv[1] + "/fashion_mnist_test_vectors.csv", 3), lambda: glyphs(20, 10),
             lambda: read_idx(sys.argv[2]), lambda: read_idx(sys.argv[2], (1, 2))):
    for _ in range(50):
        cycle(make)
    gc.collect()
print("alive")
"""


def test_data_may_die_in_a_garbage_cycle(tmp_path):
    (tmp_path / "x").write_bytes(idx_bytes((2, 2), b"abcd"))
    command = [sys.executable, "-c", GARBAGE, str(tmp_path / "csv"), str(tmp_path / "x")]
    paths = {"PYTHONPATH": ":".join(p for p in sys.path if p)}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **paths})
    assert done.stdout == "alive\n", done.stderr
