"""Shared libraries that built programs ask for: the DT_NEEDED entries of ELF files (System V ABI, chapter 5), read as bytes.

The files are a stranger's, so nothing in them is believed: every offset is looked at before it is used.
"""

from __future__ import annotations

import os
import stat
import struct

_MOST_FILES, _MOST_PROGRAMS, _MOST_BYTES = 5_000, 64, 1 << 24
_LOAD, _DYNAMIC, _NEEDED, _STRINGS = 1, 2, 1, 5


def libraries(work: int) -> dict[str, list[str]]:
    """{program: libraries} of what stands in the folder behind a descriptor; no link is followed."""
    found: dict[str, list[str]] = {}
    seen = 0
    for folder, names, files, fd in os.fwalk(".", dir_fd=work, onerror=None):
        names[:] = [n for n in names if n != "data"]
        for name in files:
            seen += 1
            if seen > _MOST_FILES or len(found) >= _MOST_PROGRAMS:
                return found
            if needed := libraries_of(_head(name, fd)):
                path = os.path.normpath(os.path.join(folder, name))
                found[path.encode("utf-8", "replace").decode("utf-8", "replace")] = needed
    return found


def _head(name: str, folder: int) -> bytes:
    """A program's bytes; none of any other file."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return b""
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode) or file.read(4) != b"\x7fELF":
            return b""
        return b"\x7fELF" + file.read(_MOST_BYTES)


def libraries_of(program: bytes) -> list[str]:
    """The libraries an ELF file of 64 bits, little-endian, names; none for anything else."""
    if program[:6] != b"\x7fELF\x02\x01":
        return []
    try:
        at, = struct.unpack_from("<Q", program, 32)
        size, n = struct.unpack_from("<HH", program, 54)
        segments = [struct.unpack_from("<IIQQQQ", program, at + i * size) for i in range(min(n, 64))]
        where = next(((offset, length) for kind, _, offset, _, _, length in segments if kind == _DYNAMIC), None)
        if where is None:
            return []
        entries = list(struct.iter_unpack("<QQ", program[where[0] : where[0] + min(where[1], 1 << 16) // 16 * 16]))
        address = next(value for tag, value in entries if tag == _STRINGS)
        strings = next(offset + address - start for kind, _, offset, start, _, length in segments
                       if kind == _LOAD and start <= address < start + length)
        names = [program[strings + v : strings + v + 256].split(b"\0")[0] for tag, v in entries[:512] if tag == _NEEDED]
        return [name.decode("utf-8", "replace") for name in names]
    except (struct.error, StopIteration, OverflowError):
        return []
