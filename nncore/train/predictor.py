"""Predictor: a network made ready for one batch of samples, for whoever asks often and cannot wait.

`Model.predict` takes any number of samples in any form, and pays for it with ten times the arithmetic of a small network.
Here everything is found once; a call copies the samples in, runs the tape and reads the answer.
"""

from __future__ import annotations

from nncore._ffi import ffi, lib
from nncore.errors import DataError, ShapeError, UsageError
from nncore.graph.fold import fold as folded
from nncore.graph.tape import Executor, compile_tape
from nncore.tensor import DTYPES, Tensor
from nncore.train.inference import answer
from nncore.train.samples import Samples
from nncore.train.steps import externals

_FORMATS = {"u8": ("B",), "f32": ("f",)}


class Predictor:
    """`predictor(x)`, x the samples of a batch as an array of bytes (u8) or floats (f32): the class of a batch of one as an
    int, a list of them for more; with `proba` the probabilities, a list or a list of lists of floats.

    It follows the weights of its model. Neither it nor the model may run in another thread meanwhile. Raises ShapeError
    for other samples than it was made for, DataError for NaN and infinity.
    """

    def __init__(self, model, batch: int, proba: bool, dtype: str, executor: Executor | None, fold: bool):
        if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
            raise UsageError(f"batch must be a positive whole number, got {batch!r}")
        if isinstance(model.outputs, dict):
            raise UsageError(f"the network has the heads {', '.join(model.outputs)}: predict gives them all")
        if dtype not in _FORMATS:
            raise UsageError(f"samples are bytes (u8) or floats (f32), got {dtype!r}")
        self._memory = model.memory
        self._x = Tensor((batch, *model.image_shape), dtype)
        self._shape = f"{batch} samples of shape {model.image_shape}, {dtype}"
        data = Samples(self._x)
        z, *_ = model.graph(data, batch, training=False)
        z = answer("proba" if proba else "classes", (folded([z]) if fold else [z])[0])
        self.tape = compile_tape(f"{model.name}/predictor", batch, [], {"y": z}, model.layout)
        self._step = (executor or Executor()).bound(self.tape, self._memory, externals(data), batch)
        self._to, self._nbytes, self._count = self._x.pointer, self._x.nbytes, self._x.nbytes // 4 if dtype == "f32" else 0
        self._floats, self._moves, self._single = ffi.cast("float *", self._to), -1, batch == 1

    def __call__(self, x):
        view = x.view() if isinstance(x, Tensor) else memoryview(x)
        if view.nbytes != self._nbytes or view.format not in _FORMATS[self._x.dtype] or not view.c_contiguous:
            raise ShapeError(f"the predictor takes {self._shape}; got {view.shape} of format {view.format!r}")
        ffi.memmove(self._to, view, self._nbytes)
        if self._count and lib.nn_find_nonfinite(self._floats, self._count) >= 0:
            raise DataError("a sample is NaN or infinite: clean the data first")
        self._step()
        if self._moves != self._memory.moves:
            self._find_answer()
        found = self._answer.tolist()
        return found[0] if self._single else found

    def _find_answer(self) -> None:
        """Where the answer lies: a typed look into the arena, made again when that has moved."""
        b = self.tape.buffers[self.tape.outputs["y"]]
        dtype = self.tape.real if b.dtype == "real" else b.dtype
        _, nbytes, kind = DTYPES[dtype]
        part = self._memory.view(b.region)[b.offset : b.offset + b.count * nbytes]
        self._answer, self._moves = part.cast(kind, b.shape), self._memory.moves
