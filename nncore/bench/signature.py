"""The door for kernels of one's own: a C function for each op of csrc/nncore.h whose line there says all that it needs.

    void softmax_fwd(float *y, const float *x, int64_t N, int64_t C);

is NN_OP_SOFTMAX_FWD, "y x; N C exact": the op's name, then its buffers as the header lists them (outputs first, NULL where one
is absent), its sizes, its scalars. `real` is float. Sizes called act, planes and exact are left out, with the scalars of act:
nothing is fused, every product is of floats, and 2 ulp are enough of an elementary function. A buffer whose type depends on the
sizes is void *. A size that is called like a buffer gets an underscore. Ops that draw random numbers or read the position in the
training have no such function.

Nothing here is a list of kernels: names and order come from the header, types and roles from nncore.bench.cases.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path

from nncore.bench.cases import Call, Case, collect
from nncore.errors import UsageError

HEADER = Path(__file__).parents[2] / "csrc" / "nncore.h"
C_TYPES = {"real": "float", "f32": "float", "f64": "double", "u8": "uint8_t", "i32": "int32_t", "i64": "int64_t"}
_OPCODE = re.compile(r"^ +NN_OP_([A-Z0-9_]+?),? *(?:/\*((?:[^*]|\*(?!/))*)\*/)?$", re.M)
_FIXED = {"act": -1, "planes": 0, "exact": 0}  # sizes that are always the same here


@dataclass(frozen=True)
class Signature:
    """One kernel as a C function."""

    name: str
    formula: str
    arguments: tuple[str, ...]  # as in the header, less its marks
    types: tuple[str, ...]
    roles: tuple[str, ...]
    optional: tuple[bool, ...]
    sizes: tuple[str, ...]  # as in the header, those of _FIXED too
    scalars: tuple[str, ...]

    @property
    def kept(self) -> tuple[int, ...]:
        """Positions of the sizes that the function takes."""
        return tuple(i for i, s in enumerate(self.sizes) if s not in _FIXED)

    def parameters(self, named: bool = True) -> str:
        """The parameter list in C."""
        buffers = [f"{'const ' * (role == 'in')}{kind} *" for kind, role in zip(self.types, self.roles, strict=True)]
        names = [*self.arguments, *(f"{s}_" if (s := self.sizes[i]) in self.arguments else s for i in self.kept), *self.scalars]
        kinds = [*buffers, *["int64_t "] * len(self.kept), *["double "] * len(self.scalars)]
        return ", ".join(f"{k}{n}" if named else k.rstrip() for k, n in zip(kinds, names, strict=True))

    @property
    def prototype(self) -> str:
        """The declaration."""
        return f"void {self.name}({self.parameters()});"

    def convert(self, call: Call) -> tuple[list, list[int], list[float]]:
        """(arguments with None where absent, sizes, scalars) as the function takes them. Raises ValueError for a call that
        cannot be said so: a fused activation, another math mode, correctly rounded functions."""
        dims = [*call.dims, *[0] * (len(self.sizes) - len(call.dims))]
        if any(dims[i] != _FIXED[s] for i, s in enumerate(self.sizes) if s in _FIXED):
            raise ValueError(f"{self.name}: something is fused, no product of floats, or to be exact")
        return padded(call.args, len(self.arguments)), [dims[i] for i in self.kept], list(call.scalars)


@cache
def signatures() -> dict[str, Signature]:
    """Every kernel that can be written by others, by name, in the header's order. Raises UsageError where the header is not at
    hand (an installed wheel)."""
    if not HEADER.is_file():
        raise UsageError("kernels of one's own are compiled against csrc/nncore.h, which an installed package lacks: use a "
                         "clone of nncore")
    by_op: dict[str, list[Case]] = {}
    for case in collect():
        by_op.setdefault(case.op, []).append(case)
    found = (_signature(name, comment, by_op.get(name, [])) for name, comment in _lines(HEADER.read_text()))
    return {s.name: s for s in found if s}


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for name, comment in _OPCODE.findall(text):
        yield name.lower(), " ".join(comment.split())


def smallest(case: Case) -> tuple[int, ...]:
    """The smallest size of a case that is not empty."""
    return min((s for s in case.sizes if all(s)), key=prod, default=case.sizes[0])


def _signature(name: str, comment: str, cases: list[Case]) -> Signature | None:
    """None for an op that its line in the header and the arguments of a call do not describe completely."""
    formula, _, tail = comment.rpartition(". ")
    lists = [part.split() for part in tail.split(";")]
    arguments, sizes, scalars = (*lists, [], [])[:3]
    scalars = [] if scalars[:1] == ["scalars"] else scalars
    calls = [case.call(smallest(case)) for case in cases]
    if not calls or any(c.run or not c.outputs or len(c.scalars) != len(scalars) or len(c.args) > len(arguments) for c in calls):
        return None
    names = tuple(re.sub(r"[!?]|\(.*\)", "", a) for a in arguments)
    types, roles = [], []
    for i in range(len(names)):
        met = [c.args[i] for c in calls if i < len(c.args) and c.args[i]]
        kinds = {C_TYPES[a.dtype] for a in met} or {"float"}
        types.append(kinds.pop() if len(kinds) == 1 else "void")
        roles.append(met[0].role if met else "in")
    return Signature(name, formula, names, tuple(types), tuple(roles), tuple("?" in a for a in arguments), tuple(sizes),
                     tuple(scalars))


def padded(values: list, n: int) -> list:
    """A list with None for what an op leaves out at its end."""
    return [*values, *[None] * (n - len(values))]


# ---- C text ----------------------------------------------------------------------------------------------------------


def header() -> str:
    """kernels.h: what a file of kernels is compiled with, so that another parameter list than the documented one is an error
    that names its line."""
    lines = ["#pragma once", "/* Kernels of one's own: a function that is defined takes the place of ours. */",
             '#include "nncore.h"']
    for s in signatures().values():
        lines += ["", f"/* {s.formula}{'' if s.formula.endswith('.') else '.'}{_notes(s)} */", s.prototype]
    return "\n".join(lines) + "\n"


def _notes(s: Signature) -> str:
    maybe = [a for a, optional in zip(s.arguments, s.optional, strict=True) if optional]
    both = [a for a, role in zip(s.arguments, s.roles, strict=True) if role == "inout"]
    return "".join([f" {', '.join(maybe)} may be NULL." * bool(maybe), f" {', '.join(both)}: read and written." * bool(both)])


def doors() -> str:
    """door.c: for each kernel a function of one type for all, which calls it so many times."""
    lines = ['#include "nncore.h"', "#define DOOR(name) void door_##name(void *f, void *const *a, const int64_t *n, "
             "const double *s, int64_t repeats)"]
    for s in signatures().values():
        given = [f"a[{i}]" for i in range(len(s.arguments))] + [f"n[{i}]" for i in range(len(s.kept))]
        given += [f"s[{i}]" for i in range(len(s.scalars))]
        lines += [f"DOOR({s.name})", "{", "    (void)n, (void)s;", "    while (repeats-- > 0)",
                  f"        ((void (*)({s.parameters(named=False)}))f)({', '.join(given)});", "}"]
    return "\n".join(lines) + "\n"


def template(names: list[str]) -> str:
    """A file to begin with: the kernels asked for, empty, each with its formula."""
    lines = ["/* Kernels of one's own; check them with: nncore kernels check FILE.c */", '#include "nncore.h"',
             "#include <math.h>"]
    for name in names:
        s = signatures()[name]
        lines += ["", f"/* {s.formula}{'' if s.formula.endswith('.') else '.'}{_notes(s)} */", s.prototype.rstrip(";"), "{"]
        unused = [*s.arguments, *(f"{x}_" if (x := s.sizes[i]) in s.arguments else x for i in s.kept), *s.scalars]
        lines += [f"    {', '.join(f'(void){u}' for u in unused)};", "}"]
    return "\n".join(lines) + "\n"
