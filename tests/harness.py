"""Run one op through the public door, as a tape of one instruction whose buffers are all the caller's.

``run_op(call, isa, threads, real)`` gives every argument memory of its own: outputs filled with NaN, canaries on both
sides, any alignment; or, guarded, ending where an unreadable page begins, so that one byte read too far is a crash
that names the test. Results come back as lists of array.array, in the order of ``call.outputs``.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from array import array

import pytest

from nncore._ffi import ffi, isa_levels, kernels, lib, op_names
from nncore.bench.cases import TYPECODE, Bound, Call
from nncore.bench.compare import compare, same_bits  # noqa: F401 - for the tests

LEVELS = ("portable", "scalar", "avx2", "avx512", "neon")
CANARY = b"\xa5" * 64
PAGE = mmap.PAGESIZE
DTYPES = {name: getattr(lib, f"NN_{name.upper()}") for name in ("real", "f32", "f64", "u8", "i32", "i64")}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class OpFault(Exception):
    """The run returned a status: code, index and value as in nn_fault."""

    def __init__(self, code: int, index: int, value: float):
        super().__init__(f"status {code} at index {index}, value {value}")
        self.code, self.index, self.value = code, index, value


# ---- what a machine may lack ----------------------------------------------------------------------------------------


def need(name: str, present: bool, remedy: str) -> None:
    """Skip the test, saying what would help, unless NNCORE_REQUIRE names what is missing: then fail."""
    if present:
        return
    if name in os.environ.get("NNCORE_REQUIRE", "").split(","):
        pytest.fail(f"NNCORE_REQUIRE asks for {name}: {remedy}")
    pytest.skip(f"no {name}: {remedy}")


def have(isa: str) -> bool:
    """Whether this build has the level and this CPU can run it."""
    return isa_levels().get(isa, False)


@pytest.fixture(params=[level for level in LEVELS if have(level)])
def isa(request) -> str:
    """Every ISA level this machine can run, in turn. What it cannot run is one loud skip: test_every_level_runs."""
    return request.param


def need_level(level: str) -> None:
    """Skip, or fail under NNCORE_REQUIRE, for an ISA level that cannot run here."""
    built = level in isa_levels()
    where = "run on a CPU that has it" if built else "build on an architecture that has it (make test-matrix: qemu)"
    need(level, have(level), where)


# ---- memory -----------------------------------------------------------------------------------------------------


class Block:
    """nbytes of memory at `address`: canaries around it, its start `offset` bytes past a multiple of 64."""

    def __init__(self, content: bytes, offset: int = 0):
        self.nbytes = len(content)
        self.memory = bytearray(len(content) + 320)
        base = int(ffi.cast("uintptr_t", ffi.from_buffer(self.memory)))
        self.start = -base % 64 + 128 + offset
        self.address = base + self.start
        self.memory[self.start - 64 : self.start] = CANARY
        self.memory[self.start : self.start + self.nbytes] = content
        self.memory[self.start + self.nbytes : self.start + self.nbytes + 64] = CANARY

    def read(self) -> bytes:
        return bytes(self.memory[self.start : self.start + self.nbytes])

    def intact(self) -> bool:
        """Neither canary was written on."""
        end = self.start + self.nbytes
        return self.memory[self.start - 64 : self.start] == CANARY and self.memory[end : end + 64] == CANARY

    def free(self) -> None:
        pass


class GuardedBlock:
    """nbytes of memory that end where a page without any access begins; `front` puts that page before them instead."""

    def __init__(self, content: bytes, front: bool = False):
        self.nbytes = len(content)
        pages = (self.nbytes + PAGE - 1) // PAGE + 1
        self.map = mmap.mmap(-1, pages * PAGE)
        view = ctypes.c_char.from_buffer(self.map)
        base = ctypes.addressof(view)
        del view
        guard = base if front else base + (pages - 1) * PAGE
        self.address = base + PAGE if front else guard - self.nbytes
        ctypes.memmove(self.address, content, self.nbytes)
        if _libc.mprotect(guard, PAGE, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
        self.base, self.pages = base, pages

    def read(self) -> bytes:
        return ctypes.string_at(self.address, self.nbytes)

    def intact(self) -> bool:
        return True  # or the process would not be here

    def free(self) -> None:
        _libc.mprotect(self.base, self.pages * PAGE, 3)
        self.map.close()


_scratch = mmap.mmap(-1, lib.nn_scratch_nbytes(16))  # page-aligned, touched only where used


# ---- one op -------------------------------------------------------------------------------------------------------


def typecode(arg, real: str) -> str:
    """The array typecode of an argument's elements, `real` being f32 or f64."""
    return TYPECODE[real if arg.dtype == "real" else arg.dtype]


def initial(call: Call, real: str) -> list[bytes | None]:
    """Bytes of every argument before the run: outputs are all ones, which is NaN, or -1 for integers."""
    content: list[bytes | None] = []
    for arg in call.args:
        if arg is None:
            content.append(None)
        elif arg.values is None:
            content.append(b"\xff" * (arg.count * array(typecode(arg, real)).itemsize))
        else:
            content.append(arg.array(real).tobytes())
    return content


def run_op(
    op: str,
    call: Call,
    isa: str = "best",
    threads: int = 1,
    real: str = "f32",
    offset: int = 0,
    alias: tuple[int, int] | None = None,
    guard: str = "",
) -> list[array]:
    """Run one instruction; returns the written arguments. Raises OpFault on a status, AssertionError on a lost canary.

    `offset` elements of misalignment; `alias` = (output, input): the output's memory is the input's; `guard` "back" or
    "front": an unreadable page behind, or before, every buffer. Inputs must come back unchanged unless aliased.
    """
    content = initial(call, real)
    blocks: list = []
    for arg, data in zip(call.args, content, strict=True):
        if data is None:
            blocks.append(None)
        elif guard:
            blocks.append(GuardedBlock(data, guard == "front"))
        else:
            blocks.append(Block(data, offset * array(typecode(arg, real)).itemsize))
    if alias:
        blocks[alias[0]] = blocks[alias[1]]
    try:
        _execute(op, call, blocks, isa, threads, real)
        for i, block in enumerate(blocks):
            assert block is None or block.intact(), f"{op}: argument {i}: wrote past its end"
            if block and call.args[i].role == "in" and not (alias and i == alias[1]):
                assert block.read() == content[i], f"{op}: argument {i} is an input and was changed"
        out = []
        for i in call.outputs:
            values = array(typecode(call.args[i], real))
            values.frombytes(blocks[i].read()[: len(content[i])])  # an alias may be longer
            out.append(values)
        return out
    finally:
        for block in set(filter(None, blocks)):
            block.free()


def raised_by(op: str, call: Call, isa: str, threads: int = 1, real: str = "f32") -> int:
    """The IEEE flags that one instruction raises, as the bits of NN_INVALID and so on."""
    blocks = [None if data is None else Block(data) for data in initial(call, real)]
    event = ffi.new("nn_event[1]")
    _execute(op, call, blocks, isa, threads, real, event)
    return sum(1 << k for k in range(lib.NN_KINDS) if event[0].steps[k])


def _execute(op: str, call: Call, blocks: list, isa: str, threads: int, real: str, event=None) -> None:
    """The tape of one instruction, run once; `event` counts the flags it raises."""
    real_type = lib.NN_F64 if real == "f64" else lib.NN_F32
    buffers, run = ffi.new("nn_buffer[]", len(blocks)), ffi.new("nn_run *")
    instr, fault = ffi.new("nn_instr *"), ffi.new("nn_fault *")
    instr.op, instr.n_args = op_names()[op], len(blocks)
    external = 0
    for i, block in enumerate(blocks):
        instr.arg[i] = -1 if block is None else i
        if block is None:
            continue
        buffers[i].region, buffers[i].dtype = lib.NN_EXTERNAL, DTYPES[call.args[i].dtype]
        buffers[i].offset, buffers[i].count = external, call.args[i].count
        run.external[external] = ffi.cast("void *", block.address)
        run.external_nbytes[external] = block.nbytes
        external += 1
    for i, dim in enumerate(call.dims):
        instr.dim[i] = dim
    for i, scalar in enumerate(call.scalars):
        instr.scalar[i] = scalar
    for name, value in call.run.items():
        setattr(run, name, value)
    tape = ffi.new("nn_tape *", {"real": real_type, "batch": 1, "n_buffers": len(blocks), "n_instrs": 1})
    tape.buffers, tape.instrs = buffers, instr
    segment = ffi.new("nn_segment *", {"tape": tape, "steps": 1})
    scratch = ffi.from_buffer(_scratch)
    run.scratch, run.scratch_nbytes, run.threads = scratch, len(_scratch), threads
    if event is not None:
        raised = ffi.new("uint8_t[]", lib.nn_raised_nbytes(1, threads))
        run.events, run.raised, run.raised_nbytes = event, raised, len(raised)
        run.kinds = lib.NN_INVALID | lib.NN_DIVIDE | lib.NN_OVERFLOW | lib.NN_UNDERFLOW
    status = lib.nn_tape_run(kernels(isa), segment, 1, run, fault)
    if status != lib.NN_OK:
        raise OpFault(status, fault.index, fault.value)


# ---- comparing ----------------------------------------------------------------------------------------------------


def assert_within(where: str, call: Call, got: list, want: list, bound: Bound, real: str, more: float = 0.0) -> None:
    """Every element of `got` (computed in `real`) within the bound around `want`: nncore.bench.compare has the rule."""
    found = compare(call, got, want, bound, real, more)
    if found.miss:
        raise AssertionError(f"{where}: {found.miss}")


def trained_alike(special, plain, levels):
    """Networks made by `special` and trained by every level and one and two threads have the same weights; one made by `plain`
    has others. Returns the last two."""
    import nncore as nn
    from nncore.graph.tape import Executor

    train = nn.data.load("glyphs").train
    samples = (train.images.view()[:96], train.labels.view()[:96])
    hashes = {}
    for level in levels:
        for threads in (1, 2):
            model = special()
            model.fit(samples, epochs=1, batch=32, executor=Executor(level, threads))
            hashes[level, threads] = model.weights_sha256
    assert len(set(hashes.values())) == 1, hashes
    other = plain()
    other.fit(samples, epochs=1, batch=32)
    assert other.weights_sha256 not in hashes.values()
    return model, other
