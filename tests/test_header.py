"""csrc/nncore.h as a document: every declaration is explained, exported, and what cffi sees is what C sees."""

from __future__ import annotations

import re

import cffi
import pytest

import nncore as nn
from nncore import _build
from nncore._ffi import lib, op_names

TEXT = (_build.CSRC / "nncore.h").read_text()
DATA = re.compile(r"(?<!const )\b(?:void|u?int\d+_t|double|float) \*(\w+)")  # arrays that are written, not structs

# comment, result, name, parameters; a comment may serve several prototypes below it
PROTOTYPE = re.compile(r"(?:/\*((?:[^*]|\*(?!/))*)\*/\n)?^((?:const )?\w+ \*?)(nn_\w+)\(([^)]*)\);", re.M)
FUNCTIONS = [(" ".join((m[1] or "").split()), m[2].strip(), m[3], " ".join(m[4].split())) for m in PROTOTYPE.finditer(TEXT)]
OPCODES = re.findall(r"^ +NN_OP_(\w+?),? *(?:/\*((?:[^*]|\*(?!/))*)\*/)?$", TEXT, re.M)


def test_everything_is_found():
    assert len(FUNCTIONS) == len(re.findall(r"^[\w ]+\*?nn_\w+\(", TEXT, re.M)) > 25
    assert [name.lower() for name, _ in OPCODES if not name.endswith("_")] == list(op_names())


@pytest.mark.parametrize("comment, result, name, parameters", FUNCTIONS, ids=[f[2] for f in FUNCTIONS])
def test_every_function_is_explained(comment, result, name, parameters):
    assert len(comment) > 20 and comment.rstrip().endswith("."), "no sentence above it"
    if "fault" in parameters or (result == "int32_t" and DATA.search(parameters)):
        assert re.search(r"NN_ERR_|the status in|The same from", comment), "failure is not named"
    elif re.match(r"const \w+ \*$|int64_t", result) and "nn_program" in parameters + name:
        assert re.search(r"NULL|-1", comment), "what is returned when there is none?"
    written = DATA.findall(parameters)
    if written and "const" in parameters and parameters.count("*") > 1:
        assert re.search(r"alias|overlap|The same from", comment), "aliasing is not named"
    for array in written:
        if array not in ("scratch", "memory"):
            assert re.search(rf"\b{array}\b|The same from", comment), f"{array} is not mentioned"


def test_every_declared_symbol_is_there():
    missing = [name for _, _, name, _ in FUNCTIONS if not hasattr(lib, name)]
    assert missing == [], "the extension is older than the header: pip install -e . once more"


def test_cffi_parses_the_header_itself():
    ffi = cffi.FFI()
    ffi.cdef(_build.cdef_text())
    dropped = [line for line in TEXT.splitlines() if line.startswith("#")]
    assert dropped == ["#pragma once", "#include <stddef.h>", "#include <stdint.h>"], "no conditionals, no macros"
    assert "inline" not in _build.cdef_text() and "__attribute__" not in _build.cdef_text()
    assert ffi.typeof("nn_instr").fields[2][1].type.length == lib.NN_MAX_ARGS


def parts(comment: str) -> tuple[list[str], list[str], list[str]]:
    """Arguments, sizes, scalars: what stands behind the last full stop, cut at semicolons."""
    lists = [part.split() for part in re.split(r"\. (?=[^.]*$)", " ".join(comment.split()))[-1].split(";")]
    return (*lists, [], [])[:3]


@pytest.mark.parametrize("name, comment", [o for o in OPCODES if not o[0].endswith("_")], ids=lambda x: x if x.isupper() else "")
def test_every_opcode_states_formula_arguments_and_sizes(name, comment):
    assert comment.strip(), "no comment"
    arguments, sizes, scalars = parts(comment)
    assert re.search(r"=|the same|faults|Zeiler|Kingma", comment), "no formula"
    assert 1 <= len(arguments) <= lib.NN_MAX_ARGS and len(sizes) <= lib.NN_MAX_DIMS and len(scalars) <= lib.NN_MAX_SCALARS
    assert all(re.fullmatch(r"[a-z]\w*[!?]?(\(\w+(\[\d\])?\))?", a) for a in arguments), arguments


def test_tapes_use_opcodes_as_the_header_says():
    data = nn.data.glyphs(60, 10)
    stated = {name.lower(): parts(comment) for name, comment in OPCODES}
    layers = [nn.Dense(8), nn.Sigmoid(), nn.Dropout(0.5), nn.Dense(8), nn.Tanh(), nn.Dense(8), nn.ELU(), nn.Dense(10)]
    for optimizer in (nn.SGD(0.1), nn.Momentum(0.1), nn.Nesterov(0.1), nn.AdaGrad(0.1), nn.RMSProp(0.1), nn.AdaDelta(),
                      nn.AdamW(0.1)):
        trainer = nn.Sequential(layers).trainer(data.train, 1, 10, optimizer, penalty=nn.L1(0.1), shards=2)
        for tape in (trainer.tape, trainer.model.initial):
            for i in tape.instructions:
                arguments, sizes, _ = stated[i.op]
                assert len(i.args) <= len(arguments), f"{i.op}: {i.args} but the header says {arguments}"
                needed = [a for a in arguments if not a.endswith("?")]
                assert len(i.args) >= len(needed) and len(i.dims) <= len(sizes), f"{i.op}: {i.dims}, {sizes}"
                absent = [arguments[k] for k, index in enumerate(i.args) if index < 0]
                assert all("?" in a for a in absent), f"{i.op}: {absent} is not optional"
