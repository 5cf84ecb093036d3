"""Downloading IDX files: mirrors in order, sizes and sha256 of the uncompressed bytes checked while they come in."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from nncore.data.manifest import DataFile, Manifest
from nncore.errors import DataError, LimitError
from nncore.files import write_atomic

TIMEOUT = 20.0  # seconds a mirror may be silent
_SLOWEST = 1024  # bytes per second, on the average over TIMEOUT
_CHUNK = 1 << 16

Progress = Callable[[str, int, int], None]  # (file, bytes so far, bytes in all), uncompressed


class Unavailable(DataError):
    """A data set that is not on this machine and could not be downloaded; `reason` is the short form."""

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


class MirrorError(Exception):
    """One mirror failed for one file; the next is tried."""


def download(manifest: Manifest, folder: Path, progress: Progress | None = None, timeout: float = TIMEOUT) -> str:
    """Fetch the files that `folder` lacks, as plain IDX; returns the mirror that served last.

    Each is written to a temporary file there, checked, fsynced and renamed. Raises Unavailable naming every mirror's
    failure, LimitError if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise LimitError(f"{folder}: cannot be made: {e.strerror}; set XDG_CACHE_HOME to a folder of yours") from None
    mirrors, failures = list(manifest.mirrors), []
    for file in manifest.files.values():
        target = folder / file.name
        if target.is_file() and target.stat().st_size == file.nbytes:
            continue
        for mirror in list(mirrors):
            try:
                fetch(f"{mirror}{file.name}.gz", target, file, progress, timeout)
                break
            except MirrorError as e:
                failures.append(f"{mirror}{file.name}.gz: {e}")
                mirrors.remove(mirror)
        else:
            raise Unavailable("\n".join(failures) or "the manifest names no mirror", _short(failures))
    return mirrors[0] if mirrors else "an earlier download"


def fetch(url: str, target: Path, file: DataFile, progress: Progress | None, timeout: float) -> None:
    """One file from one address to `target`, whole and verified or not at all. Raises MirrorError, LimitError."""

    def verified() -> Iterator[bytes]:
        import hashlib

        digest, done = hashlib.sha256(), 0
        for chunk in _plain(_receive(url, timeout), file):
            done += len(chunk)
            if done > file.nbytes:
                raise MirrorError(f"a wrong file: more than the {file.nbytes:,} bytes expected")
            digest.update(chunk)
            if progress:
                progress(file.name, done, file.nbytes)
            yield chunk
        if done != file.nbytes:
            raise MirrorError(f"a wrong file or half a file: {done:,} bytes, expected {file.nbytes:,}")
        if digest.hexdigest() != file.sha256:
            raise MirrorError(f"a wrong file: sha256 {digest.hexdigest()}, expected {file.sha256}")

    try:
        write_atomic(target, verified())
    except LimitError as e:
        cause = getattr(e.__cause__, "strerror", None) or str(e)
        raise LimitError(f"{target}: cannot be written: {cause}; free space, or set XDG_CACHE_HOME elsewhere") from None


def _receive(url: str, timeout: float) -> Iterator[bytes]:
    """The body of an answer in pieces. Raises MirrorError for anything else, and for a mirror that stalls."""
    import http.client
    import urllib.error
    import urllib.request

    request = urllib.request.Request(url, headers={"User-Agent": "nncore", "Accept-Encoding": "identity"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            if answer.status != 200:
                raise MirrorError(f"answered {answer.status} {answer.reason}")
            if not answer.geturl().startswith(("http://", "https://")):
                raise MirrorError(f"redirected to {answer.geturl()}")
            since, received = time.monotonic(), 0
            while chunk := answer.read1(_CHUNK):
                yield chunk
                received += len(chunk)
                if time.monotonic() - since > timeout:
                    if received < _SLOWEST * timeout:
                        raise MirrorError(f"too slow: {received:,} bytes in {timeout:g} s")
                    since, received = time.monotonic(), 0
    except urllib.error.HTTPError as e:
        e.close()
        raise MirrorError(f"answered {e.code} {str(e.reason).strip().splitlines()[0] if e.reason else ''}") from None
    except TimeoutError:
        raise MirrorError(f"no answer for {timeout:g} s") from None
    except (OSError, http.client.HTTPException, ValueError) as e:
        reason = getattr(e, "reason", None) or e
        if isinstance(reason, TimeoutError):
            raise MirrorError(f"no answer for {timeout:g} s") from None
        raise MirrorError(f"{type(e).__name__}: {getattr(reason, 'strerror', None) or reason}") from None


def _plain(pieces: Iterator[bytes], file: DataFile) -> Iterator[bytes]:
    """Uncompressed pieces of at most 64 kB of a gzip or plain body, told by its first bytes."""
    import zlib

    first = next(pieces, b"")
    while 0 < len(first) < 4 and (more := next(pieces, b"")):
        first += more
    if first[:3] == b"\0\0\x08":
        yield first
        yield from pieces
        return
    if first[:2] != b"\x1f\x8b":
        page = first.lstrip()[:1] == b"<"
        raise MirrorError("answered with a web page" if page else "answered with something that is neither gzip nor IDX"
                          if first else "answered with nothing")
    stream = zlib.decompressobj(wbits=31)
    data = first
    try:
        while data:
            yield stream.decompress(data, _CHUNK)
            if stream.unused_data:
                raise MirrorError("a wrong file: bytes follow the end of the gzip stream")
            data = stream.unconsumed_tail or next(pieces, b"")
        while not stream.eof and (out := stream.decompress(b"", _CHUNK)):
            yield out
    except zlib.error as e:
        raise MirrorError(f"a corrupt gzip file ({e})") from None
    if not stream.eof:
        raise MirrorError("half a file: the gzip stream ends too early")


def _short(failures: list[str]) -> str:
    if not failures:
        return "its manifest names no mirror"
    return "; ".join(failures[:1]) + (f" and {len(failures) - 1} more" if len(failures) > 1 else "")


def is_offline() -> bool:
    """Whether NNCORE_OFFLINE forbids downloads: any value but the empty one and 0."""
    return os.environ.get("NNCORE_OFFLINE", "0") not in ("", "0")
