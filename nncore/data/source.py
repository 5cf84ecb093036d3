"""Opening what users and mirrors hand in: regular files only, mapped not read, every refusal a DataError."""

from __future__ import annotations

import mmap
import os
import stat
import threading
from collections.abc import Callable, Sequence
from io import FileIO
from math import prod

from nncore.errors import DataError, LimitError
from nncore.tensor import Tensor


def open_regular(path: str | os.PathLike) -> FileIO:
    """Open a regular file for reading, unbuffered; a pipe or device never blocks.

    Raises DataError naming the path if it is missing, a folder, not a regular file, or not ours to read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise DataError(f"{os.fspath(path)}: no such file") from None
    except PermissionError:
        raise DataError(f"{os.fspath(path)}: permission denied; make it readable with chmod u+r") from None
    except (OSError, ValueError) as e:
        raise DataError(f"{os.fspath(path)}: cannot be opened: {getattr(e, 'strerror', e)}") from None
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return FileIO(fd, "rb")
    os.close(fd)
    kind = "a folder, a file is needed here" if stat.S_ISDIR(mode) else "not a regular file (a pipe, device or socket)"
    raise DataError(f"{os.fspath(path)}: {kind}")


def map_file(path: str | os.PathLike) -> mmap.mmap:
    """The bytes of a file without reading them: a private mapping, so that not even a stray write reaches the file.

    Raises DataError as open_regular does, or if the file is empty.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise DataError(f"{os.fspath(path)}: the file is empty; copy or download it again")
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, ValueError, OverflowError) as e:
            raise DataError(f"{os.fspath(path)}: cannot be mapped into memory: {e}") from None


def zeroed(nbytes: int, path: str | os.PathLike) -> mmap.mmap:
    """Fresh memory that costs nothing until it is written. Raises LimitError naming `path` if there is none."""
    try:
        memory = mmap.mmap(-1, max(nbytes, 1))
    except (OSError, OverflowError):
        raise LimitError(f"{os.fspath(path)}: no memory for its {nbytes:,} bytes of data") from None
    if hasattr(mmap, "MADV_HUGEPAGE") and nbytes >= 4 << 20:
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)
        except OSError:
            pass  # a kernel without huge pages
    return memory


def tensor_over(shape: tuple[int, ...], memory: mmap.mmap, offset: int = 0) -> Tensor:
    """u8 of this shape at an offset of mapped memory, which it keeps alive."""
    return Tensor(shape, "u8", memoryview(memory)[offset : offset + prod(shape)])


def reshaped(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same elements under another shape."""
    return Tensor(shape, tensor.dtype, tensor.memory)


def parallel(jobs: Sequence[Callable]) -> list:
    """Run jobs in threads (C calls, zlib and hashing release the interpreter lock); results in order.

    The first job in order that raised decides the exception, whatever finished first.
    """
    outcomes: list = [None] * len(jobs)

    def run(i: int) -> None:
        try:
            outcomes[i] = (jobs[i](), None)
        except BaseException as e:
            outcomes[i] = (None, e)

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(1, len(jobs))]
    for thread in threads:
        thread.start()
    if jobs:
        run(0)
    for thread in threads:
        thread.join()
    for _, error in outcomes:
        if error is not None:
            raise error
    return [value for value, _ in outcomes]
