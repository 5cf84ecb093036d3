"""IDX and IDX.gz: exact or refused, naming file, offset and remedy; memory bounded whatever the header claims."""

from __future__ import annotations

import gzip
import os
import re
import struct
import subprocess
import sys
import zlib

import pytest
from conftest import idx_bytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nncore.data import idx, read_idx
from nncore.data.idx import idx_chunks
from nncore.errors import DataError

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SHAPES = [(5,), (3, 4), (2, 3, 4), (2, 3, 4, 5), (1, 1, 1, 1), (1,), (700, 28, 28)]


@pytest.fixture(params=["zlib", "isal"], autouse=True)
def inflater(request, monkeypatch):
    """Every test by both libraries: what is refused, and in which words, may not depend on what is installed."""
    if request.param == "isal":
        pytest.importorskip("isal", reason="isal is not installed: pip install -e .[fast]")
    else:
        monkeypatch.setattr(idx, "inflate_module", lambda: zlib)


def body(shape) -> bytes:
    n = 1
    for s in shape:
        n *= s
    return bytes((i * 31 + i // 256) % 256 for i in range(n))


@pytest.fixture
def save(tmp_path):
    def run(data: bytes, name: str = "x-ubyte"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return run


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("vouched", [True, False])
def test_reads(save, shape, pack, vouched):
    found = read_idx(save(pack(idx_bytes(shape, body(shape)))), shape if vouched else None)
    assert (found.shape, found.dtype) == (shape, "u8")
    assert found.tobytes() == body(shape)


def test_a_mapping_never_writes_to_the_file(save):
    path = save(idx_bytes((2, 2), b"abcd"))
    found = read_idx(path)
    found.view()[0, 0] = 7
    assert path.read_bytes()[-4:] == b"abcd"


HEADERS = {
    "empty": (b"", "the file is empty"),
    "short magic": (b"\0\0", "ends at offset 2 inside its header"),
    "short header": (idx_bytes((2, 3, 4), b"")[:11], "ends at offset 11 inside its header"),
    "magic": (b"\1" + idx_bytes((2,), b"ab")[1:], "offset 0: byte 0x01 where the magic number"),
    "web page": (b"<!DOCTYPE html><html></html>", "it looks like a web page"),
    "floats": (idx_bytes((1,), b"abcd", 0x0D), "offset 2: element type 0x0D (floats); only unsigned bytes (0x08)"),
    "unknown type": (idx_bytes((1,), b"abcd", 0x07), "offset 2: byte 0x07"),
    "no dimensions": (bytes([0, 0, 8, 0]), "offset 3: 0 dimensions; 1 to 4"),
    "five dimensions": (bytes([0, 0, 8, 5]) + bytes(40), "offset 3: 5 dimensions"),
    "little-endian": (bytes([3, 8, 0, 0]) + bytes(12), "offset 0: byte 0x03"),
    "zero images": (idx_bytes((0, 28, 28), b""), "there are no elements"),
    "2^31 images": (idx_bytes((1 << 31, 28, 28), b"abc"), "truncated at offset 19 of the 1,683,627,180,048"),
    "2^128 bytes": (idx_bytes((0xFFFFFFFF,) * 4, b"abc"), "the size at offset 8 is 4,294,967,295: such a file would"),
    "truncated": (idx_bytes((2, 3), b"abcde"), "truncated at offset 17 of the 18 that its header (2 x 3) declares"),
    "trailing": (idx_bytes((2, 3), b"abcdefgh"), "2 bytes too many after offset 18"),
}
IN_GZIP = {
    "2^31 images": "declares 1,683,627,180,048 bytes, more than",
    "truncated": "truncated at offset 17",
    "trailing": "more data than the 18 bytes",
}


@pytest.mark.parametrize("case", HEADERS)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_refuses(save, case, packed):
    data, message = HEADERS[case]
    message = IN_GZIP.get(case, message) if packed else message
    with pytest.raises(DataError, match=r"x-ubyte: .*" + re.escape(message)):
        read_idx(save(gzip.compress(data) if packed else data))


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_refuses_another_shape_than_the_manifests(save, packed):
    data = idx_bytes((2, 3), b"abcdef")
    with pytest.raises(DataError, match=re.escape("its header says 2 x 3, expected 3 x 2; copy or download it again")):
        read_idx(save(gzip.compress(data) if packed else data), (3, 2))


def test_gzip_damage_is_named(save):
    packed = gzip.compress(idx_bytes((50, 28, 28), body((50, 28, 28))))
    for at in (len(packed) // 3, len(packed) // 2):
        with pytest.raises(DataError, match="the gzip stream is truncated: it ends after|ends at offset"):
            read_idx(save(packed[:at]))
    for damaged in (packed[:-8] + b"\1\2\3\4" + packed[-4:], packed[:-4] + b"\1\2\3\4"):
        with pytest.raises(DataError, match="corrupt gzip data after uncompressed offset"):
            read_idx(save(damaged))
    with pytest.raises(DataError, match="truncated"):
        read_idx(save(packed[:-1]))
    for tail in (b"x", b"\0" * 600, packed):
        with pytest.raises(DataError, match="bytes follow the end of the gzip stream"):
            read_idx(save(packed + tail))
    with pytest.raises(DataError):
        read_idx(save(b"\x1f\x8b"))


def test_every_truncation_and_every_bit_flip_of_a_gzip_is_refused_or_harmless(save):
    plain = idx_bytes((3, 4), bytes(range(12)))
    packed = gzip.compress(plain, mtime=0)
    for n in range(len(packed)):
        with pytest.raises(DataError):
            read_idx(save(packed[:n]))
    for bit in range(8 * len(packed)):
        flipped = bytearray(packed)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            found = read_idx(save(bytes(flipped)))
        except DataError:
            continue
        assert found.tobytes() == plain[12:], f"bit {bit}: only unused bits of header and padding are free"


def test_refuses_what_is_no_regular_file(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    for path, message in ((tmp_path, "a folder"), (tmp_path / "absent", "no such file"),
                          (tmp_path / "pipe", "not a regular file"), ("/dev/zero", "not a regular file"),
                          ("a\0b", "cannot be opened")):
        with pytest.raises(DataError, match=message):
            read_idx(path)
    path = tmp_path / "locked"
    path.write_bytes(b"x")
    path.chmod(0)
    if os.geteuid() == 0:  # root may read anything: let open itself refuse

        def refuse(*args, **kwargs):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DataError, match="permission denied; make it readable"):
        read_idx(path)


def test_chunks_are_the_plain_bytes(save):
    plain = idx_bytes((700, 28, 28), body((700, 28, 28)))
    for data in (plain, gzip.compress(plain)):
        assert b"".join(idx_chunks(save(data))) == plain


@FUZZ
@given(data=st.data())
def test_any_header_against_an_oracle(data, tmp_path_factory):
    rank = data.draw(st.integers(0, 6))
    sizes = data.draw(st.lists(st.integers(0, 5) | st.integers(0, 2**32 - 1), min_size=rank, max_size=rank))
    magic = bytes([data.draw(st.sampled_from([0, 0, 0, 1])), 0, data.draw(st.sampled_from([8, 8, 8, 13])), rank])
    n = 1
    for s in sizes:
        n *= s
    size = n + data.draw(st.integers(-1, 1)) if n < 2000 else data.draw(st.integers(0, 50))
    raw = magic + struct.pack(f">{rank}I", *sizes) + bytes(max(size, 0))
    raw = raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.integers(0, 4)) == 0 else raw
    valid = len(raw) >= 4 and raw[:3] == b"\0\0\x08" and 1 <= rank <= 4 and n > 0 and len(raw) == 4 + 4 * rank + n
    for packed in (raw, gzip.compress(raw)):
        path = tmp_path_factory.getbasetemp() / "fuzz"
        path.write_bytes(packed)
        if valid:
            assert read_idx(path).shape == tuple(sizes)
        else:
            with pytest.raises(DataError):
                read_idx(path)


@FUZZ
@given(data=st.binary(max_size=200), magic=st.booleans())
def test_any_bytes_never_crash(data, magic, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "fuzz"
    path.write_bytes((b"\x1f\x8b\x08\0" if magic else b"") + data)
    try:
        read_idx(path)
    except DataError as e:
        assert "fuzz: " in str(e)


# ---- memory ---------------------------------------------------------------------------------------------------------

PROBE = """
import resource, sys
from nncore.data import idx, read_idx
from nncore.errors import DataError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_idx(sys.argv[1])
except DataError as e:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, e)
"""


def zeros_gz(path, head: bytes, zeros: int, keep: int | None = None) -> int:
    """A gzip file of head and so many zeros, cut to `keep` bytes if given; its size."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [squeeze.compress(head)]
    for _ in range(zeros >> 20):
        parts.append(squeeze.compress(bytes(1 << 20)))
    data = b"".join([*parts, squeeze.compress(bytes(zeros & (1 << 20) - 1)), squeeze.flush()])[:keep]
    path.write_bytes(data)
    return len(data)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in kB on Linux; run this test there")
@pytest.mark.parametrize("case", ["bomb", "claim in gzip", "claim", "liar", "cut"])
def test_peak_memory_of_hostile_files(tmp_path, case):
    path = tmp_path / "hostile"
    million = idx_bytes((1 << 18, 28, 28), b"")  # 205 MB
    if case == "bomb":  # a small set, then 200 MB more
        size = zeros_gz(path, idx_bytes((100, 28, 28), b""), 200 << 20)
    elif case == "claim in gzip":
        size = zeros_gz(path, idx_bytes((1 << 31, 28, 28), b""), 1 << 20)
    elif case == "claim":
        size = path.write_bytes(idx_bytes((1 << 31, 28, 28), bytes(1000)))
    elif case == "liar":  # plausible, all but one byte there
        size = zeros_gz(path, million, (1 << 18) * 784 - 1)
    else:
        size = zeros_gz(path, million, (1 << 18) * 784, keep=-30)
    done = subprocess.run([sys.executable, "-c", PROBE, str(path)], capture_output=True, text=True, check=True)
    kilobytes, message = done.stdout.split(" ", 1)
    assert "hostile: " in message
    assert int(kilobytes) * 1024 <= 2 * size + (16 << 20), f"{kilobytes} kB for a file of {size} bytes: {message}"
