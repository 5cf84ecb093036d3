"""From nodes to instructions in order, and their memory: fusion, placement of updates, one arena of offsets.

The plan is made once, before the first step: lifetimes of every intermediate value, largest first, lowest free offset.
`reuse=False` gives every value memory of its own (the first thing to try when a value looks overwritten).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from nncore.errors import GraphError, UsageError
from nncore.graph import ops
from nncore.graph.node import Constant, Input, Leaf, Node, Output, Parameter, State, View, topological

ALIGNMENT = 64
# A value so small keeps its memory for so many instructions before and after its life: it costs little, and a rank need not
# wait for another before it writes what that one has long read (csrc/share.c).
SMALL_NBYTES, GRACE = 16384, 4
NBYTES = {"f32": 4, "f64": 8, "u8": 1, "i32": 4, "i64": 8}


@dataclass
class Step:
    """One instruction to be: the node it computes, and the product that its activation was fused into, if any."""

    node: Node
    fused: Node | None = None

    @property
    def inputs(self) -> tuple:
        return self.fused.inputs if self.fused else self.node.inputs

    @property
    def effect(self) -> bool:
        return bool(self.node.op.mutates) or self.node.op is ops.check_finite


def root(node: Node) -> Node:
    """The node whose memory a view shows."""
    while isinstance(node, View):
        node = node.inputs[0]
    return node


def producer(node: Node) -> Node:
    """The node whose instruction writes this tensor."""
    node = root(node)
    return node.inputs[0] if isinstance(node, Output) else node


def is_fusing() -> bool:
    """Whether instructions are fused and walked in bands where nobody says: unless NNCORE_FUSE is 0. No bit depends on it."""
    text = os.environ.get("NNCORE_FUSE", "1")
    if text not in ("0", "1"):
        raise UsageError(f"NNCORE_FUSE={text!r}: 1 fuses instructions, 0 does not")
    return text == "1"


def linearise(effects: list[Node], outputs: list[Node], fuse: bool = True) -> list[Step]:
    """Instructions in order: inputs before users, and each update as early as nobody needs the old value any more.

    Effects that touch the same leaf keep the order of the list, and so do all behind `loss_scale`, which may end the step. An
    early update finds its gradient still in cache.
    """
    needed = [x for e in effects for x in e.inputs if x is not None] + outputs
    nodes = [n for n in topological(needed) if n.op is not None]
    nodes.sort(key=lambda n: n.op is not ops.schedule)  # known at the start: a rate need not be waited for in the middle
    steps = _fuse_epilogues(nodes, [*effects, *outputs]) if fuse else [Step(n) for n in nodes]
    position = {}
    readers: dict[int, int] = {}
    for i, step in enumerate(steps):
        for x in step.inputs:
            if isinstance(x, Constant):
                raise GraphError(f"{step.node.op.name}: a constant gradient needs memory here")
            if x is not None and isinstance(root(x), Leaf):
                readers[id(root(x))] = i
        position[id(step.node)] = i
    placed: list[tuple[int, Step]] = []
    end = -1
    touched: dict[int, int] = {}
    for e in effects:
        leaves = [id(root(x)) for x in e.inputs if x is not None and isinstance(root(x), Leaf)]
        after = [position[id(producer(x))] for x in e.inputs if x is not None and id(producer(x)) in position]
        after += [readers.get(id(root(e.inputs[i])), -1) for i in e.op.mutates]
        after += [touched.get(leaf, -1) for leaf in leaves]
        key = max([*after, end])
        end = key if e.op is ops.loss_scale else end
        touched.update((leaf, key) for leaf in leaves)
        placed.append((key, Step(e)))
    ordered = []
    for i in range(-1, len(steps)):
        ordered += [steps[i]] if i >= 0 else []
        ordered += [step for key, step in placed if key == i]
    return ordered


def _fuse_epilogues(nodes: list[Node], kept: list[Node]) -> list[Step]:
    """Fuse an activation behind a product whose potential nobody else reads. The bits stay: the same kernel runs
    on the same values, only while they are still in cache."""
    uses: dict[int, int] = {}
    for user in nodes:
        for x in user.inputs:
            if x is not None:
                uses[id(root(x))] = uses.get(id(root(x)), 0) + 1
    kept_ids = {id(root(x)) for k in kept for x in ([k] if k.op is None or not k.op.mutates else k.inputs) if x is not None}
    partner = {}
    for n in nodes:
        z = n.inputs[0] if n.op.epilogue else None
        if z is not None and z.op and z.op.fuses and uses[id(z)] == 1 and id(z) not in kept_ids:
            partner[id(z)] = n
    fused = {id(n): z for z in nodes if (n := partner.get(id(z)))}
    return [Step(n, fused.get(id(n))) for n in nodes if id(n) not in partner]


# Planes of bfloat16 for a float of a product, by math mode (csrc/bf16.h); f32 multiplies the floats themselves.
MATH_MODES = {"f32": 0, "bf16": 1, "bf16x3": 2, "bf16x6": 3}

# exp, log, tanh and their like (csrc/vec/): good to 2 ulp, or correctly rounded.
ELEMENTARY = ("fast", "exact")


class Layout:
    """Where parameters and states of a model live: offsets in first-met order, shared by all its tapes. Its math mode is that of
    their products, `elementary` says which elementary functions they call; the twin knows one of each alone."""

    def __init__(self, real: str = "f32", math: str = "f32", elementary: str = "fast"):
        self.real, self.math, self.elementary = real, math, elementary
        self.leaves: dict[str, tuple[Leaf, int]] = {}
        self.nbytes = {"param": 0, "state": 0}

    def offset(self, leaf: Leaf) -> int:
        """Byte offset of a leaf in its region; assigned when first asked for."""
        if leaf.name not in self.leaves:
            region = region_of(leaf)
            self.leaves[leaf.name] = (leaf, self.nbytes[region])
            self.nbytes[region] += round_up(leaf.size * NBYTES[self.dtype(leaf)])
        found, offset = self.leaves[leaf.name]
        if found is not leaf:
            raise GraphError(f"two different tensors are called {leaf.name!r}")
        return offset

    def dtype(self, node: Node) -> str:
        """The element type in memory: `real` is float32, or float64 on the twin."""
        return self.real if node.dtype == "real" else node.dtype


def region_of(node: Node) -> str:
    """The memory region of a tensor's root."""
    if isinstance(node, Parameter):
        return "param"
    if isinstance(node, State):
        return "state"
    return "external" if isinstance(node, Input) else "work"


def round_up(nbytes: int) -> int:
    """To whole cache lines: no two buffers share one."""
    return (nbytes + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def plan_memory(steps: list[Step], outputs: list[Node], nbytes_of, reuse: bool = True) -> tuple[dict[int, int], int]:
    """Offsets of all intermediate values and the arena's size.

    A value lives from the instruction that writes it to the last that reads it; outputs live to the end. Largest first,
    each at the lowest offset that is free through its whole life (greedy by size, as TFLite's planner; Pisarchyk and Lee
    2020, arXiv 2001.03288, section 5.2).
    """
    life: dict[int, list[int]] = {}
    size: dict[int, int] = {}
    for i, step in enumerate(steps):
        for out in () if step.effect else step.node.outputs:
            life[id(out)] = [i, i]
            size[id(out)] = round_up(nbytes_of(out))
        for x in step.inputs:
            if x is not None and id(root(x)) in life:
                life[id(root(x))][1] = i
    for out in outputs:
        if id(root(out)) in life:
            life[id(root(out))][1] = len(steps)
    for value, span in life.items():
        if size[value] <= SMALL_NBYTES:
            life[value] = [span[0] - GRACE, span[1] + GRACE]
    offsets: dict[int, int] = {}
    total = 0
    for value in sorted(life, key=lambda v: -size[v]):
        taken = sorted((offsets[v], offsets[v] + size[v]) for v in offsets
                       if not reuse or (life[v][0] <= life[value][1] and life[value][0] <= life[v][1]))
        at = 0
        for begin, end in taken:
            if at + size[value] <= begin:
                break
            at = max(at, end)
        offsets[value] = at
        total = max(total, at + size[value])
    return offsets, total


def physical_memory() -> int | None:
    """Bytes of memory of this machine; None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def peak_rss() -> int:
    """The most memory that this process had at once, in bytes.

    Linux: not getrusage's figure, which begins with what the parent had when it made this process.
    """
    try:
        with open("/proc/self/status", "rb") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(b"VmHWM:"))
    except (OSError, ValueError, IndexError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
