"""Submissions from strangers, copied member by member: regular files and folders only, whatever the archive says.

A name may not be absolute, leave the folder, repeat another (also after Unicode normalisation and folding of case), or hold
control characters; links and devices are refused; sizes are counted while bytes come out, never believed. What a Windows
machine or a Mac adds (`__MACOSX/`, `.DS_Store`) is left out. One folder around everything is taken off.
"""

from __future__ import annotations

import lzma
import os
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

MOST_ENTRIES = 2_000
MOST_BYTES = 200_000_000
MOST_RATIO = 100
MOST_DEPTH = 32
_SLACK = 1 << 20  # small files may be packed as well as they like
_PIECE = 1 << 16
_DIRECTORY = 1 << 21  # bytes of a zip's list of members
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")


class BadArchive(Exception):
    """A submission that is not unpacked; the message is for the student."""


def unpack(source: str | os.PathLike, target: str | os.PathLike, skip: str = "data") -> None:
    """Copy a zip or a folder into the new folder `target`, without its top-level folder `skip`.

    Raises BadArchive saying which member and why; `target` may then hold a part. OSErrors of ours are passed on.
    """
    source, target = Path(source), Path(target)
    os.makedirs(target, mode=0o755)
    kind = os.lstat(source).st_mode
    if stat.S_ISDIR(kind):
        _copy_folder(source, target, skip)
    elif stat.S_ISREG(kind):
        _extract(source, target, skip)
    else:
        raise BadArchive("not a zip file or a folder; hand in one .zip")


# ---- names -----------------------------------------------------------------------------------------------------------


def _shown(name: str) -> str:
    return ascii(name if len(name) <= 80 else name[:77] + "...")


def parts_of(name: str) -> tuple[str, ...]:
    """The parts of a member's name. Raises BadArchive for one that could land elsewhere or cannot be shown."""
    if unicodedata.normalize("NFC", name) != name:
        raise BadArchive(f"{_shown(name)}: a name that is not in Unicode's composed form (NFC); rename it in plain letters")
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp") for c in name):
        raise BadArchive(f"{_shown(name)}: a name with control characters; rename it")
    if "\\" in name or ":" in name[:2]:
        raise BadArchive(f"{_shown(name)}: a name with a backslash or a drive; zip again with forward slashes")
    parts = tuple(name.removesuffix("/").split("/"))
    if name.startswith("/") or any(p in ("", ".", "..") for p in parts):
        raise BadArchive(f"{_shown(name)}: a path that leaves the folder; zip the project's folder itself")
    if len(parts) > MOST_DEPTH or any(len(p.encode()) > 200 for p in parts) or len(name.encode()) > 1000:
        raise BadArchive(f"{_shown(name)}: a name that is too long or too deep")
    return parts


class _Seen:
    """All names so far: no two may be one on any file system, none may be both a file and a folder."""

    def __init__(self):
        self.files: set[str] = set()
        self.folders: set[str] = set()
        self.spelled: dict[str, str] = {}

    def add(self, parts: tuple[str, ...], folder: bool) -> None:
        for i in range(1, len(parts) + 1):
            key = unicodedata.normalize("NFKC", "/".join(parts[:i])).casefold()
            last = i == len(parts)
            spelled = self.spelled.setdefault(key, "/".join(parts[:i]))
            as_folder = folder or not last
            if spelled != "/".join(parts[:i]) or key in self.files or (not as_folder and key in self.folders):
                raise BadArchive(f"{_shown('/'.join(parts))}: the same name twice; which one is meant?")
            (self.folders if as_folder else self.files).add(key)
        if len(self.files) + len(self.folders) > MOST_ENTRIES:
            raise BadArchive(f"more than {MOST_ENTRIES:,} files and folders; hand in sources, not build folders")


class _Budget:
    """Bytes that may still come out."""

    def __init__(self, packed: int):
        self.total, self.most = 0, min(MOST_BYTES, MOST_RATIO * packed + _SLACK)

    def spend(self, n: int) -> None:
        self.total += n
        if self.total > self.most:
            why = f"more than {MOST_BYTES // 1_000_000} MB" if self.most == MOST_BYTES else f"packed more than {MOST_RATIO}:1"
            raise BadArchive(f"unpacks to {why}; leave out data and what was built")


def _write(target: Path, parts: tuple[str, ...], executable: bool, read: Callable[[int], bytes], budget: _Budget) -> None:
    path = target.joinpath(*parts)
    os.makedirs(path.parent, mode=0o755, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o755 if executable else 0o644)
    with open(fd, "wb") as file:
        while piece := read(_PIECE):
            budget.spend(len(piece))
            file.write(piece)


# ---- zip -------------------------------------------------------------------------------------------------------------


def _check_directory(file) -> None:
    """The list of members is read whole into memory, so its size is looked at first. zip64 is for larger archives."""
    size = file.seek(0, os.SEEK_END)
    if size > MOST_BYTES:
        raise BadArchive(f"{size:,} bytes; at most {MOST_BYTES:,} are taken")
    file.seek(max(0, size - (1 << 16) - 42))
    tail = file.read()
    if b"PK\x06\x07" in tail:
        raise BadArchive("a zip64 archive, made for larger things; zip the project again")
    at = tail.find(b"PK\x05\x06")
    while at >= 0:
        if len(tail) - at >= 22 and int.from_bytes(tail[at + 12 : at + 16], "little") > _DIRECTORY:
            raise BadArchive(f"its list of members is too long; at most {MOST_ENTRIES:,} files and folders are taken")
        at = tail.find(b"PK\x05\x06", at + 1)
    file.seek(0)


def _extract(source: Path, target: Path, skip: str) -> None:
    try:
        with open(source, "rb") as file:
            _check_directory(file)
            archive = zipfile.ZipFile(file)
            members = archive.infolist()
            if len(members) > MOST_ENTRIES:
                raise BadArchive(f"{len(members):,} entries; at most {MOST_ENTRIES:,} are taken: leave out build folders")
            _members(archive, members, target, skip, os.fstat(file.fileno()).st_size)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, ValueError,
            UnicodeError, OverflowError) as e:
        raise BadArchive(f"not a zip file that can be read ({type(e).__name__}: {str(e)[:120]}); zip the project again") from e


def _members(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], target: Path, skip: str, packed: int) -> None:
    named = [(m, _member_parts(m)) for m in members]
    named = [(m, p) for m, p in named if p and not any(part in _JUNK or part.startswith("._") for part in p)]
    spans = sorted((m.header_offset, m.header_offset + 30 + m.compress_size, m.filename) for m, _ in named)
    for (_, end, name), (begin, _, _) in zip(spans, spans[1:], strict=False):
        if begin < end:
            raise BadArchive(f"{_shown(name)}: its bytes overlap another member's; this is no ordinary zip")
    tops = {p[0] for _, p in named}
    around = len(tops) == 1 and all(len(p) > 1 or m.is_dir() for m, p in named)
    seen, budget = _Seen(), _Budget(packed)
    for member, parts in named:
        parts = parts[around:]
        if not parts:
            continue
        seen.add(parts, member.is_dir())
        if parts[0] == skip:
            continue
        if member.is_dir():
            os.makedirs(target.joinpath(*parts), mode=0o755, exist_ok=True)
            continue
        with archive.open(member) as file:  # checks the CRC as it reads
            _write(target, parts, bool(member.external_attr >> 16 & 0o111), file.read, budget)


def _member_parts(member: zipfile.ZipInfo) -> tuple[str, ...]:
    """The name, after what a member must not be."""
    # orig_filename, for zipfile cuts a name at NUL and rewrites separators.
    parts = parts_of(member.orig_filename)
    kind = stat.S_IFMT(member.external_attr >> 16) if member.create_system == 3 else 0
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BadArchive(f"{_shown(member.filename)}: a link or a device; hand in files and folders only")
    if member.flag_bits & 0x1:
        raise BadArchive(f"{_shown(member.filename)}: encrypted; zip again without a password")
    if member.compress_type not in _METHODS:
        raise BadArchive(f"{_shown(member.filename)}: packed by method {member.compress_type}; use plain zip (deflate)")
    return parts


# ---- folder ----------------------------------------------------------------------------------------------------------


def _copy_folder(source: Path, target: Path, skip: str) -> None:
    seen, budget = _Seen(), _Budget(MOST_BYTES)
    root = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _copy_below(root, (), target, skip, seen, budget)
    finally:
        os.close(root)


def _copy_below(fd: int, above: tuple[str, ...], target: Path, skip: str, seen: _Seen, budget: _Budget) -> None:
    """One folder, by descriptors: what it holds may change under us, but never lead elsewhere."""
    for name in sorted(os.listdir(fd)):
        parts = parts_of("/".join((*above, os.fsencode(name).decode("utf-8", "replace"))))
        if parts == (skip,) or name in _JUNK or (not above and name == ".git"):
            continue
        kind = os.stat(name, dir_fd=fd, follow_symlinks=False)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        if stat.S_ISDIR(kind.st_mode):
            seen.add(parts, True)
            os.makedirs(target.joinpath(*parts), mode=0o755, exist_ok=True)
            below = os.open(name, flags | os.O_DIRECTORY, dir_fd=fd)
            try:
                _copy_below(below, parts, target, skip, seen, budget)
            finally:
                os.close(below)
            continue
        if not stat.S_ISREG(kind.st_mode):
            raise BadArchive(f"{_shown('/'.join(parts))}: a link or a device; hand in files and folders only")
        seen.add(parts, False)
        with open(os.open(name, flags, dir_fd=fd), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadArchive(f"{_shown('/'.join(parts))}: changed while it was read")
            _write(target, parts, bool(kind.st_mode & 0o111), file.read, budget)
