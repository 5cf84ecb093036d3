"""Tapes as bytes: a versioned little-endian form with stable op names, which csrc/io/tapefile.c reads too.

    file     "NNTAPE1\\n"  u32 numerics id  u32 tapes  u32 notes  (text key  text value)...  tape...
    tape     text name  i32 real (nn_dtype)  i32 batch  3 x i64 bytes of PARAM, STATE, WORK
             u32 buffers  buffer...  u32 instructions  instruction...  u32 outputs  (text key  i32 buffer)...
    buffer   text name  u8 region  u8 dtype  i64 offset  i64 count  u8 rank  i64 size...
    instr    text op  text fused op or ""  text layer  u8 outputs  u8 n  i32 arg...  u8 n  i64 dim...  u8 n  f64 scalar...
             f64 flop
    text     u16 bytes  UTF-8 without NUL

Opcodes are private to a build, so the last dim of dense_fwd, conv_fwd and conv_bwd_data (the fused activation) is -1 here
and restored by name. Notes, keys ascending, are for whoever runs the tapes without this package: epochs, seed and the like.
"""

from __future__ import annotations

import os
import struct
from math import prod

from nncore._ffi import lib, op_names
from nncore.errors import DataError, UsageError
from nncore.files import reading, write_atomic
from nncore.graph import ops
from nncore.graph.fusion import fused
from nncore.graph.plan import MATH_MODES
from nncore.graph.tape import _DTYPE_IDS, REGIONS, Buffer, Instruction, Tape

MAGIC = b"NNTAPE1\n"
_DTYPES = {number: name for name, number in _DTYPE_IDS.items()}
_REGIONS = {number: name for name, number in REGIONS.items()}


def dump(tapes: list[Tape], notes: dict[str, str] | None = None) -> bytes:
    """The canonical bytes of tapes over one arena."""
    listed = sorted((_text(key)[2:], value) for key, value in (notes or {}).items())
    out = [MAGIC, struct.pack("<III", lib.NN_NUMERICS_ID, len(tapes), len(listed))]
    out += [struct.pack("<H", len(key)) + key + _text(value) for key, value in listed]
    for tape in tapes:
        out.append(_text(tape.name))
        out.append(struct.pack("<ii3q", _DTYPE_IDS[tape.real], tape.batch, *(tape.nbytes[r] for r in ("param", "state", "work"))))
        out.append(struct.pack("<I", len(tape.buffers)))
        for b in tape.buffers:
            place = (REGIONS[b.region], _DTYPE_IDS[b.dtype], b.offset, b.count)
            out.append(_text(b.name) + struct.pack("<BBqqB", *place, len(b.shape)))
            out.append(struct.pack(f"<{len(b.shape)}q", *b.shape))
        out.append(struct.pack("<I", len(tape.instructions)))
        out.extend(_instruction(i) for i in tape.instructions)
        out.append(struct.pack("<I", len(tape.outputs)))
        out.extend(_text(key) + struct.pack("<i", index) for key, index in tape.outputs.items())
    return b"".join(out)


def _activation(op: str) -> int:
    """Where a product that fuses has the opcode of its activation: before the place of its math mode or accumulator."""
    return lib.nn_sums_dim(op_names()[op]) - 1


def _instruction(i: Instruction) -> bytes:
    behind = fused(i)
    at = _activation(i.op)
    dims = (*i.dims[:at], -1, *i.dims[at + 1 :]) if behind else i.dims
    return (_text(i.op) + _text(behind) + _text(i.layer)
            + struct.pack(f"<BB{len(i.args)}i", i.n_outputs, len(i.args), *i.args)
            + struct.pack(f"<B{len(dims)}q", len(dims), *dims)
            + struct.pack(f"<B{len(i.scalars)}dd", len(i.scalars), *i.scalars, i.flop))


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) > 65535 or 0 in data:
        raise UsageError(f"{text[:40]!r}: names in a tape file have at most 65,535 bytes and no NUL")
    return struct.pack("<H", len(data)) + data


def save(path: str | os.PathLike, tapes: list[Tape], notes: dict[str, str] | None = None) -> None:
    """Write tapes to a file, atomically."""
    write_atomic(path, dump(tapes, notes))


def load(path: str | os.PathLike) -> list[Tape]:
    """The tapes of a file, as `load_program` reads them."""
    return load_program(path)[0]


def load_program(path: str | os.PathLike) -> tuple[list[Tape], dict[str, str]]:
    """Read tapes and notes. Raises DataError naming file and byte for anything that is not a tape file of this version; the
    structure is checked again, by C, before a tape runs. A loaded tape has no graph, so no twin."""
    with reading(path), open(path, "rb") as file:
        data = file.read()
    return _Reader(os.fspath(path), data).program()


class _Reader:
    def __init__(self, path: str, data: bytes):
        self.path, self.data, self.at = path, data, 0

    def fail(self, what: str):
        raise DataError(f"{self.path}: byte {self.at}: {what}; write the tape again with this version of nncore")

    def take(self, form: str) -> tuple:
        size = struct.calcsize("<" + form)
        if self.at + size > len(self.data):
            self.fail("the file ends in the middle of a tape")
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += size
        return values

    def text(self) -> str:
        (size,) = self.take("H")
        (raw,) = self.take(f"{size}s")
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            self.fail("a name is not UTF-8")
        if "\0" in text:
            self.fail("a name holds a NUL")
        return text

    def name(self, table: dict, number: int, what: str) -> str:
        if number not in table:
            self.fail(f"unknown {what} {number}")
        return table[number]

    def program(self) -> tuple[list[Tape], dict[str, str]]:
        if self.data[: len(MAGIC)] != MAGIC:
            self.fail("not a tape file of this version")
        self.at = len(MAGIC)
        numerics, count, n_notes = self.take("III")
        if numerics != lib.NN_NUMERICS_ID:
            self.fail(f"numerics id {numerics}, this nncore has {lib.NN_NUMERICS_ID}: the bits would differ")
        notes: dict[str, str] = {}
        last = b""
        for i in range(n_notes):
            key = self.text()
            if i and key.encode() <= last:
                self.fail("the notes are not in ascending order")
            last, notes[key] = key.encode(), self.text()
        found = [self.tape() for _ in range(count)]
        if self.at != len(self.data):
            self.fail("bytes after the last tape")
        return found, notes

    def tape(self) -> Tape:
        name = self.text()
        real, batch, *sizes = self.take("ii3q")
        buffers = [self.buffer() for _ in range(self.take("I")[0])]
        instructions = [self.instruction() for _ in range(self.take("I")[0])]
        outputs = {self.text(): self.take("i")[0] for _ in range(self.take("I")[0])}
        if any(not 0 <= index < len(buffers) for index in outputs.values()):
            self.fail("an output names no buffer")
        nbytes = dict(zip(("param", "state", "work"), sizes, strict=True))
        return Tape(name, batch, self.name(_DTYPES, real, "type"), buffers, instructions, nbytes, outputs)

    def buffer(self) -> Buffer:
        name = self.text()
        region, dtype, offset, count, rank = self.take("BBqqB")
        shape = self.take(f"{rank}q")
        if min(shape, default=0) < 0 or (region != REGIONS["external"] and prod(shape) != count):
            self.fail(f"buffer {name!r} has {count} elements but shape {shape}")
        return Buffer(name, self.name(_REGIONS, region, "region"), self.name(_DTYPES, dtype, "type"), offset, shape, count)

    def instruction(self) -> Instruction:
        op, behind, layer = self.text(), self.text(), self.text()
        (n_outputs,) = self.take("B")
        args, dims = self.take(f"{self.take('B')[0]}i"), self.take(f"{self.take('B')[0]}q")
        scalars = self.take(f"{self.take('B')[0]}d")
        for name in (op, behind):
            if name not in op_names() and (name or not op):
                self.fail(f"unknown op {name!r}")
        fuses, at = ops.OPS[op].fuses, _activation(op)
        if (fuses and dims[at : at + 1] != (-1,)) or (behind and not fuses):
            self.fail(f"{op} with {behind or 'a number'!r} fused: only products have an activation, and by name")
        if behind:
            dims = (*dims[:at], op_names()[behind], *dims[at + 1 :])
        how = dims[at + 1] if -1 <= at < len(dims) - 1 else 0
        mode = next((name for name, planes in MATH_MODES.items() if planes == how), "accumulator") if how else ""
        note = f"{behind.removesuffix('_fwd')} {mode}".strip()
        return Instruction(op, note, layer, args, n_outputs, dims, scalars, self.take("d")[0])
