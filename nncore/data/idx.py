"""IDX files, LeCun's format of MNIST, plain or gzipped: strict, and frugal with memory whatever the header claims."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import FileIO
from math import prod

from nncore._ffi import ffi, lib
from nncore.data.source import map_file, open_regular, tensor_over, zeroed
from nncore.errors import DataError
from nncore.tensor import Tensor

_CHUNK = 1 << 18
_INPUT = 1 << 16  # compressed bytes at a time: zlib copies what it did not consume
_DEFLATE_MOST = 1032  # bytes that one byte of DEFLATE can stand for
_TYPES = {0x09: "signed bytes", 0x0B: "16-bit integers", 0x0C: "32-bit integers", 0x0D: "floats", 0x0E: "doubles"}
_AGAIN = "copy or download it again"


def read_idx(path: str | os.PathLike, shape: tuple[int, ...] | None = None) -> Tensor:
    """The unsigned bytes of an IDX file, gzipped or not (told by its first bytes); plain ones are mapped, not read.

    Shape: what the header says, 1 to 4 dimensions; `shape` is what it must say, if known. Size, and for gzip the CRC,
    must match exactly. Raises DataError naming file, offset or field, and what to do.

    >>> read_idx("train-images-idx3-ubyte.gz").shape  # doctest: +SKIP
    (60000, 28, 28)
    """
    with open_regular(path) as file:
        if _is_gzip(file):
            return _read_gzip(file, os.fspath(path), shape)
        size = os.fstat(file.fileno()).st_size
        found, header, nbytes = parse_header(file.read(20), os.fspath(path), shape)
    if size != header + nbytes:
        raise DataError(f"{os.fspath(path)}: {_size_fault(size, header + nbytes, found)}")
    return tensor_over(found, map_file(path), header)


def idx_chunks(path: str | os.PathLike) -> Iterator[bytes]:
    """The uncompressed bytes of a file, gzipped or not, in pieces: what a sha256 in a manifest is about."""
    with open_regular(path) as file:
        if _is_gzip(file):
            yield from _Inflater(file, os.fspath(path)).chunks()
            return
        while chunk := file.read(_CHUNK):
            yield chunk


def parse_header(head: bytes, path: str, shape: tuple[int, ...] | None = None) -> tuple[tuple[int, ...], int, int]:
    """(shape, bytes of the header, bytes of the elements) from a file's first bytes. Raises DataError."""
    idx, fault = ffi.new("nn_idx *"), ffi.new("nn_fault *")
    if lib.nn_idx_parse(idx, head, len(head), fault) != lib.NN_OK:
        raise DataError(f"{path}: {_header_fault(head, fault)}")
    found = tuple(idx.dim[i] for i in range(idx.rank))
    if shape is not None and found != tuple(shape):
        raise DataError(f"{path}: its header says {_times(found)}, expected {_times(shape)}; {_AGAIN}")
    if idx.nbytes == 0:
        raise DataError(f"{path}: its header says {_times(found)}: there are no elements; {_AGAIN}")
    return found, idx.header, idx.nbytes


def _header_fault(head: bytes, fault) -> str:
    offset, byte = fault.index, int(fault.value)
    if not head:
        return f"the file is empty; {_AGAIN}"
    if fault.code == lib.NN_ERR_LIMIT:
        return f"the size at offset {offset} is {byte:,}: such a file would exceed 2^48 bytes; {_AGAIN}"
    if byte < 0:
        return f"the file ends at offset {offset} inside its header; {_AGAIN}"
    if offset == 2 and head[:2] == b"\0\0" and byte in _TYPES:
        return f"offset 2: element type 0x{byte:02X} ({_TYPES[byte]}); only unsigned bytes (0x08) are read"
    if offset == 3:
        return f"offset 3: {byte} dimensions; 1 to 4 are read"
    looks = "; it looks like a web page" if head.lstrip()[:1] == b"<" else ""
    return (f"offset {offset}: byte 0x{byte:02X} where the magic number 00 00 08 0N of an IDX file stands{looks}; "
            "is this the right file?")


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{n:,}" for n in shape)


def _size_fault(size: int, expected: int, shape: tuple[int, ...]) -> str:
    of = f"of the {expected:,} that its header ({_times(shape)}) declares"
    if size < expected:
        return f"truncated at offset {size:,} {of}: {expected - size:,} bytes are missing; {_AGAIN}"
    return f"{size - expected:,} bytes too many after offset {expected:,}, the end {of}; {_AGAIN}"


# ---- gzip ------------------------------------------------------------------------------------------------------------


def inflate_module():
    """zlib's interface, by Intel's ISA-L if the extra `fast` is installed."""
    try:
        from isal import isal_zlib
    except ImportError:
        import zlib

        return zlib
    return isal_zlib


def _is_gzip(file: FileIO) -> bool:
    magic = file.read(2)
    file.seek(0)
    return magic == b"\x1f\x8b"


class _Inflater:
    """One gzip member of a file, in pieces of at most the size asked for; `position` counts uncompressed bytes."""

    def __init__(self, file: FileIO, path: str):
        self._zlib = inflate_module()
        self._stream = self._zlib.decompressobj(wbits=31)
        self._file, self._path, self.position = file, path, 0

    def read(self, most: int) -> bytes:
        """Up to `most` > 0 bytes; empty only at the end of the member, whose CRC and length then have been checked."""
        stream = self._stream
        while not stream.eof:
            data = stream.unconsumed_tail or self._file.read(_INPUT)
            try:
                out = stream.decompress(data, most)
            except self._zlib.error as e:
                raise DataError(f"{self._path}: corrupt gzip data after uncompressed offset {self.position:,} "
                                f"({e}); {_AGAIN}") from None
            self.position += len(out)
            if out:
                return out
            if not data and not stream.eof:
                raise DataError(f"{self._path}: the gzip stream is truncated: it ends after {self.position:,} "
                                f"uncompressed bytes; {_AGAIN}")
        rest = len(stream.unused_data) or len(self._file.read(1))
        if rest:
            raise DataError(f"{self._path}: bytes follow the end of the gzip stream; {_AGAIN}")
        return b""

    def chunks(self) -> Iterator[bytes]:
        while out := self.read(_CHUNK):
            yield out

    def head(self) -> bytes:
        """The first 20 bytes, or fewer if the stream is shorter."""
        head = self.read(20)
        while head and len(head) < 20 and (more := self.read(20 - len(head))):
            head += more
        return head


def _read_gzip(file: FileIO, path: str, shape: tuple[int, ...] | None) -> Tensor:
    size = os.fstat(file.fileno()).st_size
    stream = _Inflater(file, path)
    head = stream.head()
    found, header, nbytes = parse_header(head, path, shape)
    total = header + nbytes
    if total > _DEFLATE_MOST * size:
        raise DataError(f"{path}: its header ({_times(found)}) declares {total:,} bytes, more than {size:,} bytes of "
                        f"gzip can hold; {_AGAIN}")
    if total > (2 if shape is None else 16) * size + (8 << 20):
        _probe(stream, total, found)  # nobody vouches for so much: count it before there is memory for it
        file.seek(0)
        stream = _Inflater(file, path)
        head = stream.head()
    memory = zeroed(nbytes, path)
    memory[: len(head) - header] = head[header:total]
    at, out = len(head) - header, head
    while at <= nbytes and (out := stream.read(min(_CHUNK, nbytes - at + 1))):
        memory[at : min(at + len(out), nbytes)] = out[: nbytes - at]
        at += len(out)
    if at > nbytes:
        raise DataError(f"{path}: more data than the {total:,} bytes that its header ({_times(found)}) declares; "
                        f"{_AGAIN}")
    if at != nbytes:
        raise DataError(f"{path}: {_size_fault(stream.position, total, found)}")
    return tensor_over(found, memory)


def _probe(stream: _Inflater, total: int, shape: tuple[int, ...]) -> None:
    while stream.position <= total and stream.read(_CHUNK):
        pass
    if stream.position != total:
        more = "at least " if stream.position > total else ""
        raise DataError(f"{stream._path}: uncompressed it has {more}{stream.position:,} bytes, its header "
                        f"({_times(shape)}) declares {total:,}; {_AGAIN}")


def idx_nbytes(shape: tuple[int, ...]) -> int:
    """Bytes of a plain IDX file of unsigned bytes with this shape."""
    return 4 + 4 * len(shape) + prod(shape)
