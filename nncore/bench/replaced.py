"""A short training with somebody else's kernels in place of ours: does what is right on its own also work together?

The tape of a step is compiled without fusion; an instruction whose op is replaced calls the function, the runs of instructions
between them go to the executor. The network is put together from the parts that use the most of the kernels there are.

`python3 -m nncore.bench.replaced` is what runs in the sandbox, on job.json, kernels.so and door.so of its folder: it writes the
weights into weights.bin. No test data are in there; `compare` judges the weights elsewhere.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt

import nncore as nn
from nncore._ffi import ffi
from nncore.bench.cases import Call
from nncore.bench.signature import Signature, signatures
from nncore.graph.tape import Executor, Tape, compile_tape
from nncore.train.diagnosis import address, options
from nncore.train.steps import externals

TRAIN, TEST, BATCH, EPOCHS, HIDDEN = 1500, 2000, 50, 3, 32
ACTIVATIONS = ("ReLU", "Tanh", "Sigmoid", "LeakyReLU", "ELU", "Softplus", "GELU")
POOLS = ("MaxPool2D", "AvgPool2D", "L2Pool2D")
RATES = {"Adam": 3e-3, "SGD": 0.1, "Momentum": 0.05, "Nesterov": 0.05, "AdaGrad": 0.02, "RMSProp": 1e-3, "AdaDelta": 1.0}
BODIES = {"dense": lambda n: [nn.Flatten(), nn.Dense(HIDDEN), getattr(nn, n.activation)(), nn.Dense(10)],
          "convolutional": lambda n: [nn.Conv2D(6, 5), getattr(nn, n.activation)(), getattr(nn, n.pool)(2), nn.Flatten(),
                                      nn.Dense(10)],
          "normalised": lambda n: [nn.Flatten(), nn.Dense(HIDDEN), nn.LayerNorm(), getattr(nn, n.activation)(), nn.Dense(10)]}

Function = Callable[[Signature, list[int | None], list[int], list[float]], None]


@dataclass(frozen=True)
class Network:
    """The parts of a small network and how it is trained."""

    body: str = "dense"
    activation: str = "ReLU"
    pool: str = "MaxPool2D"
    optimizer: str = "Adam"

    def __str__(self) -> str:
        return ",".join(vars(self).values())

    @classmethod
    def parse(cls, text: str) -> Network:
        """The network of this text."""
        return cls(*text.split(","))

    def trainer(self, data):
        """A training that has not begun."""
        model = nn.Sequential(BODIES[self.body](self), seed=0)
        return model.trainer(data.train, EPOCHS, BATCH, getattr(nn, self.optimizer)(RATES[self.optimizer]),
                             executor=Executor(threads=1))


def unfused(tape: Tape) -> Tape:
    """The same step with every activation an instruction of its own."""
    name, batch, effects, outputs, _, reuse = tape.spec
    return compile_tape(name, batch, effects, outputs, tape.layout, False, reuse)


def choose(names: list[str]) -> tuple[Network, list[str]]:
    """The network that uses the most of these kernels, part by part, and those it uses."""
    data, best = nn.data.glyphs(BATCH, BATCH), Network()

    def used(network: Network) -> list[str]:
        met = {i.op for i in unfused(network.trainer(data).tape).instructions}
        return [n for n in names if n in met]

    best = max((replace(best, body=b, pool=p) for b in BODIES for p in POOLS[: len(POOLS) if b == "convolutional" else 1]),
               key=lambda n: len(used(n)))
    for part, known in (("activation", ACTIVATIONS), ("optimizer", RATES)):
        best = max((replace(best, **{part: k}) for k in known), key=lambda n: len(used(n)))
    return best, used(best)


def train(network: Network, names: list[str], function: Function | None = None) -> bytes:
    """Weights after a training in which `function` is called for the ops of these names."""
    trainer = network.trainer(nn.data.glyphs(TRAIN, TEST))
    tape, p = unfused(trainer.tape), trainer.position
    memory, bound, chosen = trainer.model.memory, externals(trainer.data), set(names if function else ())
    memory.reserve(tape.nbytes)
    for _ in range(EPOCHS):
        for _ in range(TRAIN // BATCH):
            _step(trainer, tape, memory, bound, chosen, function)
            p.step, p.cursor = p.step + 1, p.cursor + BATCH
        p.epoch, p.cursor = p.epoch + 1, 0
    return memory.view("param").tobytes()


def _step(trainer, tape: Tape, memory, bound: dict, chosen: set[str], function: Function | None) -> None:
    first = 0
    for k, i in enumerate([*tape.instructions, None]):
        if i is None or i.op in chosen:
            if k > first:
                trainer.executor.run([(tape, 1)], memory, bound, instructions=(first, k), **options(trainer))
            first = k + 1
        if i is not None and i.op in chosen:
            s = signatures()[i.op]
            args = [_pointer(tape, memory, bound, a) for a in i.args]
            function(s, *s.convert(Call(args, i.dims, i.scalars)))


def _pointer(tape: Tape, memory, bound: dict, buffer: int) -> int | None:
    if buffer < 0:
        return None
    b = tape.buffers[buffer]
    pointer = bound[b.offset].pointer if b.region == "external" else address(memory, tape, buffer)
    return int(ffi.cast("uintptr_t", pointer))


def compare(network: Network, weights: bytes) -> dict:
    """Their accuracy on the test glyphs beside ours, whose training is run here. PASS within three standard errors of the
    difference: sums in another order lead elsewhere, but not to a worse place."""
    data = nn.data.glyphs(TRAIN, TEST)
    found = []
    for content in (weights, train(network, [])):
        trainer = network.trainer(data)
        view = trainer.model.memory.view("param")
        if len(content) != len(view):
            said = f"FAIL: {len(content)} bytes of weights, not {len(view)}"
            return {"verdict": "FAIL", "accuracy": None, "ours": None, "text": said}
        view[:] = content
        found.append(trainer.model.evaluate(data.test).accuracy)
    theirs, ours = found
    spread = sqrt(2 * max(ours * (1 - ours), 1 / TEST) / TEST)
    good = theirs >= ours - 3 * spread
    return {"verdict": "PASS" if good else "FAIL", "accuracy": theirs, "ours": ours,
            "text": f"{'PASS' if good else 'FAIL'}: accuracy {theirs:.2%}, with ours {ours:.2%}"}


# ---- in the sandbox --------------------------------------------------------------------------------------------------


def caller() -> Function:
    """Calls of the functions in kernels.so, through their doors (signature.py)."""
    kernels, doors = (ctypes.CDLL(f"./{name}.so") for name in ("kernels", "door"))

    def call(signature: Signature, pointers: list, sizes: list[int], scalars: list[float]) -> None:
        function = ctypes.cast(getattr(kernels, signature.name), ctypes.c_void_p)
        a = (ctypes.c_void_p * max(len(pointers), 1))(*pointers)
        n = (ctypes.c_int64 * max(len(sizes), 1))(*sizes)
        s = (ctypes.c_double * max(len(scalars), 1))(*scalars)
        getattr(doors, f"door_{signature.name}")(function, a, n, s, ctypes.c_int64(1))

    return call


def main() -> None:
    """Train as job.json says."""
    with open("job.json", encoding="utf-8") as file:
        job = json.load(file)
    weights = train(Network.parse(job["network"]), job["names"], caller())
    with open("weights.bin", "wb") as file:
        file.write(weights)


if __name__ == "__main__":
    main()
