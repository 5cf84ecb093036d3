"""The tape: the linearised graph plus offsets, and the only place that runs instructions.

A tape is a flat list of kernel calls over a table of buffers. `print(tape)` shows it; it can be saved, hashed, compared,
stepped through, and run in double (`twin`) on the same values.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from nncore._ffi import check, ffi, kernels, kernels_name, lib, op_names, thread_count
from nncore.errors import GraphError, Interrupted
from nncore.graph import ops
from nncore.graph.events import Events
from nncore.graph.faults import explain
from nncore.graph.fusion import groups
from nncore.graph.node import Input, Leaf, Node
from nncore.graph.plan import MATH_MODES, Layout, Step, is_fusing, linearise, plan_memory, producer, region_of, root
from nncore.tensor import DTYPES, Tensor, address_of, aligned

REGIONS = {"param": lib.NN_PARAM, "state": lib.NN_STATE, "work": lib.NN_WORK, "external": lib.NN_EXTERNAL}
# Below so much work a step, barriers cost more than a second thread brings (a barrier is about 0.3 us, a step has 20).
PARALLEL_FLOP = 200_000
# Products with fewer features on a side stay in f32 in every math mode: a block of bfloat16 terms would be mostly padding,
# slower than f32 and less exact.
NARROW = 32
_DTYPE_IDS = {"real": lib.NN_REAL, **{name: row[0] for name, row in DTYPES.items()}}


@dataclass(frozen=True)
class Buffer:
    """One row of the buffer table; `dtype` "real" is float on a tape and double on its twin."""

    name: str
    region: str
    dtype: str
    offset: int
    shape: tuple[int, ...]
    count: int


@dataclass(frozen=True)
class Instruction:
    """One kernel call: op by stable name, buffer indices (outputs first, -1 absent), sizes, scalars."""

    op: str
    note: str
    layer: str
    args: tuple[int, ...]
    n_outputs: int
    dims: tuple[int, ...]
    scalars: tuple[float, ...]
    flop: float


@dataclass
class Tape:
    """A program over one arena. `outputs` are buffers that can be fetched after a run; `leaves` what it binds."""

    name: str
    batch: int
    real: str
    buffers: list[Buffer]
    instructions: list[Instruction]
    nbytes: dict[str, int]
    outputs: dict[str, int] = field(default_factory=dict)
    spec: tuple | None = None
    layout: Layout | None = None
    seconds: list[float] | None = None

    @property
    def flop(self) -> float:
        """Floating-point operations of one step."""
        return sum(i.flop for i in self.instructions)

    def nbytes_of(self, instruction: Instruction) -> int:
        """Bytes that an instruction reads and writes, each buffer once."""
        total = 0
        for index in {a for a in instruction.args if a >= 0}:
            b = self.buffers[index]
            total += b.count * DTYPES[self.real if b.dtype == "real" else b.dtype][1]
        return total

    def serialise(self) -> bytes:
        """The canonical bytes of the tape: what `save` writes and `sha256` hashes."""
        from nncore.graph.tapefile import dump

        return dump([self])

    @property
    def sha256(self) -> str:
        """Hash of the canonical bytes: the same network, batch and plan give the same hash everywhere."""
        import hashlib

        return hashlib.sha256(self.serialise()).hexdigest()

    def twin(self) -> Tape:
        """The same instructions in float64, over a layout of its own; Memory.copy_from widens the values into it."""
        if self.spec is None:
            raise GraphError(f"tape {self.name} was read from a file: without its graph it has no twin")
        name, batch, effects, outputs, fuse, reuse = self.spec
        return compile_tape(name, batch, effects, outputs, Layout("f64"), fuse, reuse)

    def __str__(self) -> str:
        from nncore.graph.show import show

        return show(self)

    def _repr_html_(self) -> str | None:
        from nncore.graph.show import header, table
        from nncore.report import notebook

        head, *rows = table(self)
        return notebook.table(header(self), list(head), rows, left=(1, 2, 3))

    def cdata(self):
        """The nn_tape struct; it keeps what it points at alive."""
        if not hasattr(self, "_cdata"):
            self._cdata = _to_c(self)
        return self._cdata[0]


def compile_tape(name: str, batch: int, effects: list[Node], outputs: dict[str, Node], layout: Layout,
                 fuse: bool | None = None, reuse: bool = True, accumulator: Callable[[int], int] | None = None) -> Tape:
    """Linearise, fuse (None: as NNCORE_FUSE says), plan and write down. `outputs` stay readable after a run. accumulator: the
    code (nn_accumulator) by which the k-th of the instructions that add up keeps its sums, not on the twin. Raises GraphError."""
    fetched = list(outputs.values())
    fuse = is_fusing() if fuse is None else fuse
    steps = linearise(effects, fetched, fuse)
    if not steps:
        raise GraphError(f"tape {name}: nothing to do")
    offsets, work = plan_memory(steps, fetched, lambda n: n.size * DTYPES[layout.dtype(n)][1], reuse)
    writer = _Writer(layout, offsets, accumulator)
    instructions = [writer.instruction(step) for step in steps]
    found = {key: writer.buffer(node) for key, node in outputs.items()}
    return Tape(name, batch, layout.real, writer.buffers, instructions, {**layout.nbytes, "work": work}, found,
                (name, batch, effects, outputs, fuse, reuse), layout)


class _Writer:
    """Collects buffers as instructions name them."""

    def __init__(self, layout: Layout, offsets: dict[int, int], accumulator: Callable[[int], int] | None):
        self.layout, self.offsets, self.accumulator = layout, offsets, accumulator
        self.sums = 0
        self.buffers: list[Buffer] = []
        self.index: dict[int, int] = {}
        self.counts: dict[str, int] = {}
        self.names: dict[int, str] = {}

    def buffer(self, node: Node | None) -> int:
        if node is None:
            return -1
        node = root(node)
        if id(node) not in self.index:
            region = region_of(node)
            offset = node.external if isinstance(node, Input) else (
                self.layout.offset(node) if isinstance(node, Leaf) else self.offsets[id(node)])
            # An external's size belongs to the run: a tape states only what it always needs.
            count = 0 if region == "external" else node.size
            self.buffers.append(Buffer(self._name(node), region, node.dtype, offset, node.shape, count))
            self.index[id(node)] = len(self.buffers) - 1
        return self.index[id(node)]

    def _name(self, node: Node) -> str:
        """A leaf's own name; dNAME for a gradient; else by what the value is, numbered where that is not unique."""
        if id(node) not in self.names:
            name = _value_name(node) if node.gradient_of is None else f"d{self._name(root(node.gradient_of))}"
            self.counts[name] = self.counts.get(name, 0) + 1
            self.names[id(node)] = name if self.counts[name] == 1 or isinstance(node, Leaf) else f"{name}'{self.counts[name]}"
        return self.names[id(node)]

    def instruction(self, step: Step) -> Instruction:
        node = step.node
        outs = () if step.effect else node.outputs
        args = tuple(self.buffer(x) for x in (*outs, *step.inputs))
        dims, scalars, flop, note, op = node.op.dims(node), node.op.scalars(node), node.op.flop(node), "", node.op.name
        if step.fused:
            z = step.fused
            op, note = z.op.name, node.op.name.removesuffix("_fwd")
            dims = (*z.op.dims(z)[:-1], op_names()[node.op.name])
            flop += z.op.flop(z)
        product = step.fused or node
        at = lib.nn_sums_dim(op_names()[op])
        if self.accumulator and at >= 0:
            dims, note = (*dims, *[0] * (at - len(dims)), self.accumulator(self.sums)), f"{note} accumulator".strip()
            self.sums += 1
        elif self.layout.math != "f32" and product.op.product and product.op.product(product) >= NARROW:
            dims, note = (*dims, MATH_MODES[self.layout.math]), f"{note} {self.layout.math}".strip()
        if self.layout.elementary == "exact" and node.op.elementary:
            unsaid = len(product.op.dims(product)) + 1 - len(dims) if step.fused else 0  # a product's planes, if 0
            dims, note = (*dims, *[0] * unsaid, 1), f"{note} exact".strip()
        return Instruction(op, note, node.layer, args, len(outs), tuple(dims), tuple(scalars), flop)


def _value_name(node: Node) -> str:
    """x and t for the data, yK for what layer K computes, else the op's name."""
    if isinstance(node, Leaf):
        return node.name
    source = producer(node)
    known = {"gather_u8": "x", "gather_f32": "x", "gather_labels": "t", "gather_targets": "t", "sum_all": "loss",
             "schedule": "rate"}
    number = source.layer.partition(" ")[0]
    forward = number.isdigit() and (source.op.name.endswith("_fwd") or source.op is ops.dropout)
    return known.get(source.op.name) or (f"y{number}" if forward else source.op.name)


def _to_c(tape: Tape):
    names = op_names()
    buffers = ffi.new("nn_buffer[]", max(len(tape.buffers), 1))
    for i, b in enumerate(tape.buffers):
        buffers[i] = (REGIONS[b.region], _DTYPE_IDS[b.dtype], b.offset, b.count)
    instrs = ffi.new("nn_instr[]", len(tape.instructions))
    for i, x in enumerate(tape.instructions):
        for values, limit in ((x.args, lib.NN_MAX_ARGS), (x.dims, lib.NN_MAX_DIMS), (x.scalars, lib.NN_MAX_SCALARS)):
            if len(values) > limit:
                raise GraphError(f"{x.op}: {len(values)} arguments, sizes or scalars; at most {limit}")
        instrs[i] = (names[x.op], len(x.args), x.args, x.dims, x.scalars)
    sizes = [tape.nbytes[r] for r in ("param", "state", "work")]
    c = ffi.new("nn_tape *", (_DTYPE_IDS[tape.real], tape.batch, len(tape.buffers), len(tape.instructions), buffers, instrs,
                              sizes))
    fault = ffi.new("nn_fault *")
    check(lib.nn_tape_check(c, fault), f"tape {tape.name}, instruction {fault.instr}")
    return c, buffers, instrs


class Memory:
    """The arena of a model: PARAM and STATE, shared by its tapes, and WORK, as large as the largest tape needs."""

    def __init__(self, layout: Layout):
        self.layout = layout
        self._regions: dict[str, memoryview] = {}
        self.nbytes: dict[str, int] = {"param": 0, "state": 0, "work": 0}
        self.moves = 0  # how often a region was made anew: who keeps addresses looks here
        self.reserve({})

    def reserve(self, nbytes: dict[str, int]) -> None:
        """Grow regions to what the layout and a tape need; what PARAM and STATE hold stays, new bytes are zero."""
        for region in self.nbytes:
            want = max(nbytes.get(region, 0), self.layout.nbytes.get(region, 0), 64)
            if want > self.nbytes[region]:
                if region == "work":
                    self._regions.pop(region, None)  # before the larger one is made
                fresh = aligned(want)
                if region in self._regions and region != "work":
                    fresh[: self.nbytes[region]] = self._regions[region]
                self._regions[region], self.nbytes[region] = fresh, want
                self.moves += 1

    def borrow_work(self, other: Memory, nbytes: int) -> None:
        """Work in another memory's WORK between its runs: no value outlives a run there."""
        other.reserve({"work": nbytes})
        self._regions["work"], self.nbytes["work"] = other._regions["work"], other.nbytes["work"]
        self.moves += 1

    def pointer(self, region: str):
        """The region's base address."""
        return ffi.cast("char *", address_of(self._regions[region]))

    def view(self, region: str) -> memoryview:
        """A whole region as bytes."""
        return self._regions[region]

    def tensor(self, leaf: Leaf) -> Tensor:
        """A leaf's values as they are now: a live look into the arena, not a copy."""
        offset = self.layout.offset(leaf)
        self.reserve({})
        dtype = self.layout.dtype(leaf)
        nbytes = leaf.size * DTYPES[dtype][1]
        return Tensor(leaf.shape, dtype, self._regions[region_of(leaf)][offset : offset + nbytes])

    def copy_from(self, other: Memory, leaf: Leaf) -> None:
        """Take a leaf's values from another memory, widened or rounded to this one's real type."""
        source, target = other.tensor(leaf), self.tensor(leaf)
        target.flat()[:] = array(DTYPES[target.dtype][2], source.flat())

    def copy_leaves(self, other: Memory) -> None:
        """Take the values of all of this memory's leaves from another: those that a twin begins with."""
        for leaf, _ in list(self.layout.leaves.values()):
            if isinstance(leaf, Leaf):
                self.copy_from(other, leaf)

    def output(self, tape: Tape, name: str) -> Tensor:
        """A copy of a tape's output after a run."""
        b = tape.buffers[tape.outputs[name]]
        dtype = tape.real if b.dtype == "real" else b.dtype
        nbytes = b.count * DTYPES[dtype][1]
        return Tensor(b.shape, dtype, bytearray(self._regions[b.region][b.offset : b.offset + nbytes]))


@dataclass
class Position:
    """Where training stands: with PARAM and STATE the whole state of a run."""

    step: int = 0
    epoch: int = 0
    cursor: int = 0


class Executor:
    """Runs tapes on one set of kernels and a number of threads.

    `run` is one call into C with the interpreter lock released; `stop()` from another thread ends it after the current
    step. Raises NonFiniteError, DataError and the like with layer, op and step; `position` then says what was done.
    """

    def __init__(self, isa: str | None = None, threads: int | None = None):
        self.kernels = kernels(isa)
        self.isa = kernels_name(self.kernels)
        self.threads = thread_count(threads)
        self._scratch_nbytes = lib.nn_scratch_nbytes(self.threads)
        self._scratch = aligned(self._scratch_nbytes)
        self._run = ffi.new("nn_run *")

    def stop(self) -> None:
        """Ask the run in progress to end after its current step. Safe from any thread or signal handler."""
        self._run.stop = 1

    @property
    def progress(self) -> tuple[int, int]:
        """(step, cursor) of the run in progress, read live."""
        return self._run.step, self._run.cursor

    def run(self, tapes: list[tuple[Tape, int]], memory: Memory, externals: dict[int, Tensor], position: Position | None = None,
            *, seed: int = 0, n_samples: int = 0, shuffle: bool = False, instructions: tuple[int, int] | None = None,
            profile: bool = False, watch: bool = False, events: Events | None = None, instruments=None) -> None:
        """Run (tape, steps) segments in order over `memory`; `position` is advanced in place. `events` counts the IEEE flags
        that instructions raise; its policy may end the run with FlaggedError. `instruments`: an nn_watch of one step's."""
        position = position or Position()
        run = self._run
        self._bind(run, [tape for tape, _ in tapes], memory, externals)
        run.seed, run.n_samples = seed % 2**64, n_samples
        run.step, run.epoch, run.cursor = position.step, position.epoch, position.cursor
        run.first, run.last = instructions or (0, 0)
        run.flags = (lib.NN_RUN_SHUFFLE if shuffle else 0) | (lib.NN_RUN_CHECK if watch else 0)
        run.stop, run.watch = 0, instruments or ffi.NULL
        seconds = ffi.new("double[]", len(tapes[0][0].instructions)) if profile else ffi.NULL
        run.seconds = seconds
        segments = ffi.new("nn_segment[]", [(t.cdata(), n, groups(t, self.kernels, run.threads).cdata) for t, n in tapes])
        fault = ffi.new("nn_fault *")
        run.events = ffi.NULL
        if events:
            events.bind(run, [tape for tape, _ in tapes])
        status = lib.nn_tape_run(self.kernels, segments, len(tapes), run, fault)
        if events:
            events.collect([tape for tape, _ in tapes])
        position.step, position.cursor = run.step, run.cursor
        if profile and tapes[0][1]:
            tapes[0][0].seconds = [s / tapes[0][1] for s in seconds]
        if status == lib.NN_ERR_STOPPED:
            raise Interrupted(f"stopped after step {run.step}")
        if status != lib.NN_OK:
            raise explain(status, fault, tapes)

    def worth(self, tapes: list[Tape]) -> int:
        """Threads that are worth their while for these tapes; the bits are the same."""
        return self.threads if any(tape.flop >= PARALLEL_FLOP for tape in tapes) else 1

    def _bind(self, run, tapes: list[Tape], memory: Memory, externals: dict[int, Tensor]) -> None:
        """Addresses and sizes of everything that tapes need, and the threads that are worth their while."""
        for tape in tapes:
            memory.reserve(tape.nbytes)
        run.base = [memory.pointer(r) for r in ("param", "state", "work")]
        run.nbytes = [memory.nbytes[r] for r in ("param", "state", "work")]
        for i in range(lib.NN_MAX_EXTERNALS):
            t = externals.get(i)
            run.external[i] = t.pointer if t is not None else ffi.NULL
            run.external_nbytes[i] = t.nbytes if t is not None else 0
        run.threads = self.worth(tapes)
        run.scratch, run.scratch_nbytes = ffi.cast("char *", address_of(self._scratch)), self._scratch_nbytes

    def asked(self, tape: Tape, memory: Memory, externals: dict[int, Tensor], asking: int) -> Callable[[object], bool]:
        """A step of a tape as a call with the address of what takes the place of external `asking`, made ready once: from Python
        it costs half a microsecond. It sees what memory and the other externals hold at the time, and returns whether a region
        has moved since the call before. Raises as `run` does, and DataError for a NaN or infinity asked with. Not for two
        threads at a time, nor beside another run on this memory."""
        run, x, call, moves = ffi.new("nn_run *"), externals[asking], lib.nn_predict, -1
        run.n_samples = tape.batch
        segment = ffi.new("nn_segment[]", [(tape.cdata(), 1, groups(tape, self.kernels, self.worth([tape])).cdata)])
        floats = x.nbytes // DTYPES["f32"][1] if x.dtype == "f32" else 0
        predictor = ffi.new("nn_predictor *", (self.kernels, segment, run, asking, floats))

        def ask(address) -> bool:
            nonlocal moves
            if has_moved := moves != memory.moves:
                self._bind(run, [tape], memory, externals)
            if status := call(predictor, address):
                raise explain(status, predictor.fault, [(tape, segment[0].steps)])  # which keeps the segment alive
            moves = memory.moves
            return has_moved

        return ask

    def steps(self, tape: Tape, memory: Memory, externals: dict[int, Tensor], **options):
        """Step through one step of a tape: yields (index, instruction) after each instruction has run."""
        for i, instruction in enumerate(tape.instructions):
            self.run([(tape, 1)], memory, externals, instructions=(i, i + 1), **options)
            yield i, instruction
