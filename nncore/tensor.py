"""Tensor: an n-dimensional array of C memory, seen from Python as a buffer. Arrays go in by buffer protocol or DLPack."""

from __future__ import annotations

import mmap
from contextlib import suppress
from math import prod

from nncore._ffi import ffi, lib
from nncore.errors import ShapeError

# dtype name -> (nn_dtype, bytes, struct format)
DTYPES = {
    "f32": (lib.NN_F32, 4, "f"),
    "f64": (lib.NN_F64, 8, "d"),
    "u8": (lib.NN_U8, 1, "B"),
    "i32": (lib.NN_I32, 4, "i"),
    "i64": (lib.NN_I64, 8, "q"),
}
_BY_FORMAT = {"f": "f32", "d": "f64", "B": "u8", "b": "u8", "i": "i32", "q": "i64", "l": "i64", "?": "u8"}
_ALIGNMENT = 64
_LARGE, _PAGE = 1 << 20, 2 << 20


def aligned(nbytes: int) -> memoryview:
    """Zeroed memory whose address is a multiple of 64. The view keeps it alive, and so does every slice and cast of it."""
    if nbytes >= _LARGE and hasattr(mmap, "MADV_HUGEPAGE"):
        return _large(nbytes)
    owner = ffi.new("char[]", nbytes + _ALIGNMENT)
    start = -address_of(owner) % _ALIGNMENT
    return memoryview(ffi.buffer(owner)).cast("B")[start : start + nbytes]


def _large(nbytes: int) -> memoryview:
    """Memory in pages of two megabytes where the system has them: rows picked at random then miss the cache, but seldom the
    page table too."""
    whole = -(-nbytes // _PAGE) * _PAGE
    owner = mmap.mmap(-1, whole + _PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = -address_of(owner) % _PAGE
    with suppress(OSError):  # a kernel without them
        owner.madvise(mmap.MADV_HUGEPAGE, start, whole)
    return memoryview(owner)[start : start + nbytes]


def address_of(memory) -> int:
    """The address of a C array, or of the first byte behind anything with the buffer protocol.

    The caller keeps `memory` alive. No export is held: a cffi view onto a memoryview that dies in a garbage cycle takes
    the interpreter down with it (CPython 3.11).
    """
    if isinstance(memory, ffi.CData):
        return int(ffi.cast("uintptr_t", memory))
    with ffi.from_buffer("char[]", memory) as c:
        return int(ffi.cast("uintptr_t", c))


class Tensor:
    """A contiguous array of one dtype: `t.view()`, numpy.asarray(t) and, from Python 3.12 on, memoryview(t) see it without
    copying, and keep its memory alive.

    Args: shape; dtype one of f32, f64, u8, i32, i64; data an object with the buffer protocol to look at (kept alive),
    or None for fresh zeroed memory. Raises ShapeError if the bytes do not fit the shape.
    """

    def __init__(self, shape, dtype: str = "f32", data=None):
        self.shape = tuple(int(n) for n in shape)
        self.dtype = dtype
        self.nbytes = prod(self.shape) * DTYPES[dtype][1]
        self.memory = aligned(self.nbytes) if data is None else _bytes_of(data)
        if len(self.memory) != self.nbytes:
            raise ShapeError(f"tensor {self.shape} of {dtype} is {self.nbytes} bytes, the buffer has {len(self.memory)}")
        self.pointer = ffi.cast("char *", address_of(self.memory)) if self.nbytes else ffi.NULL

    @classmethod
    def from_any(cls, array, dtype: str | None = None) -> Tensor:
        """Look at any array: buffer protocol (array.array, memoryview, numpy) or DLPack on the CPU (torch), no copy.

        Raises ShapeError for a dtype nncore has none of, for memory that is not C-contiguous, or if dtype differs.
        """
        if isinstance(array, Tensor):
            found = array
        else:
            try:
                view = memoryview(array)
            except TypeError:
                found = _from_dlpack(array)
            else:
                name = _BY_FORMAT.get(view.format.lstrip("@=<"))
                if name is None or view.itemsize != DTYPES[name][1]:
                    raise ShapeError(f"array of format {view.format!r}: nncore takes {', '.join(DTYPES)}")
                if not view.c_contiguous:
                    raise ShapeError("array is not C-contiguous: copy it first")
                found = cls(view.shape, name, view)
        if dtype is not None and found.dtype != dtype:
            raise ShapeError(f"array of {found.dtype}, expected {dtype}")
        return found

    @property
    def __array_interface__(self) -> dict:
        _, size, kind = DTYPES[self.dtype]
        code = {"f": "f", "d": "f", "B": "u", "i": "i", "q": "i"}[kind]
        order = "|" if size == 1 else "<"
        data = (address_of(self.memory) if self.nbytes else 0, self.memory.readonly)
        return {"version": 3, "shape": self.shape, "typestr": f"{order}{code}{size}", "data": data}

    def flat(self) -> memoryview:
        """The elements in C order as a typed memoryview of one dimension."""
        return self.memory.cast(DTYPES[self.dtype][2])

    def view(self) -> memoryview:
        """The elements as a typed, shaped memoryview; (0,) if there are none."""
        return self.memory.cast(DTYPES[self.dtype][2], self.shape) if self.nbytes else self.flat()

    def tolist(self) -> list:
        """The elements as nested lists of Python numbers."""
        if self.shape == ():
            return self.flat()[0]
        return self.view().tolist() if self.nbytes else []

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index):
        return self.tolist()[index]

    def __eq__(self, other):
        return (isinstance(other, Tensor) and (self.shape, self.dtype) == (other.shape, other.dtype)
                and self.tobytes() == other.tobytes())

    __hash__ = None

    def tobytes(self) -> bytes:
        """The bytes in C order, machine byte order."""
        return bytes(self.memory)

    def __repr__(self) -> str:
        return f"Tensor(shape={self.shape}, dtype={self.dtype!r})"

    def _repr_html_(self) -> str | None:
        if self.dtype != "u8":
            return None
        from nncore.report import notebook

        return notebook.images(self.shape, self.memory)

    if hasattr(memoryview, "__buffer__"):  # Python >= 3.12 (PEP 688)

        def __buffer__(self, flags: int) -> memoryview:
            return self.view()


def _bytes_of(data) -> memoryview:
    """Any contiguous buffer as bytes."""
    view = memoryview(data)
    return view.cast("B") if view.nbytes else memoryview(b"")


class _DLTensor:
    """Names of the fields that DLPack v0.x guarantees, read through cffi at run time."""

    CDEF = """
    typedef struct { int32_t device_type, device_id; } DLDevice;
    typedef struct { uint8_t code, bits; uint16_t lanes; } DLDataType;
    typedef struct { void *data; DLDevice device; int32_t ndim; DLDataType dtype; int64_t *shape; int64_t *strides;
                     uint64_t byte_offset; } DLTensor;
    """


def _from_dlpack(array) -> Tensor:
    """A CPU tensor through its DLPack capsule (https://dmlc.github.io/dlpack/latest/python_spec.html)."""
    if not hasattr(array, "__dlpack__"):
        raise ShapeError(f"{type(array).__name__} has neither the buffer protocol nor DLPack")
    import ctypes

    from cffi import FFI

    device = array.__dlpack_device__()
    if int(device[0]) != 1:
        raise ShapeError("array lies on another device: move it to the CPU first")
    capsule = array.__dlpack__()
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    c = FFI()
    c.cdef(_DLTensor.CDEF)
    t = c.cast("DLTensor *", get(capsule, b"dltensor"))
    shape = [t.shape[i] for i in range(t.ndim)]
    names = {(2, 32): "f32", (2, 64): "f64", (1, 8): "u8", (0, 32): "i32", (0, 64): "i64", (6, 8): "u8"}
    name = names.get((t.dtype.code, t.dtype.bits))
    if name is None or t.dtype.lanes != 1:
        raise ShapeError(f"array of DLPack type {t.dtype.code}/{t.dtype.bits}: nncore takes {', '.join(DTYPES)}")
    stride = 1
    for i in reversed(range(t.ndim)):
        if t.strides != c.NULL and shape[i] > 1 and t.strides[i] != stride:
            raise ShapeError("array is not C-contiguous: copy it first")
        stride *= shape[i]
    address = int(c.cast("uintptr_t", t.data)) + t.byte_offset
    # An unconsumed capsule frees the tensor when it dies: both live as long as any view of the memory.
    keep = ffi.gc(ffi.cast("char *", address), lambda _, keep=(array, capsule): None)
    return Tensor(shape, name, ffi.buffer(keep, prod(shape) * DTYPES[name][1]))
