"""Predictor: a network made ready for one batch of samples, for whoever asks often and cannot wait.

`Model.predict` takes any number of samples in any form, and pays for it with ten times the arithmetic of a small network.
Here everything is found once; a call runs the tape where the samples lie and reads the answer.
"""

from __future__ import annotations

from nncore._ffi import ffi
from nncore.errors import ShapeError, UsageError
from nncore.graph.fold import fold as folded
from nncore.graph.tape import Executor, compile_tape
from nncore.tensor import DTYPES, Tensor
from nncore.train.inference import answer
from nncore.train.samples import Samples
from nncore.train.steps import IMAGES, externals

_DTYPES = ("u8", "f32")


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
        if dtype not in _DTYPES:
            raise UsageError(f"samples are bytes (u8) or floats (f32), got {dtype!r}")
        self._memory, self._single = model.memory, batch == 1
        x = Tensor((batch, *model.image_shape), dtype)
        self._dtype, self._format, self._nbytes = dtype, DTYPES[dtype][2], x.nbytes
        self._own, self._shape = x.pointer, f"{batch} samples of shape {model.image_shape}, {dtype}"
        data = Samples(x)
        z, *_ = model.graph(data, batch, training=False)
        z = answer("proba" if proba else "classes", (folded([z]) if fold else [z])[0])
        self.tape = compile_tape(f"{model.name}/predictor", batch, [], {"y": z}, model.layout)
        self._ask = (executor or Executor()).asked(self.tape, self._memory, externals(data), IMAGES)

    def __call__(self, x):
        if isinstance(x, Tensor) and x.nbytes == self._nbytes and x.dtype == self._dtype:
            has_moved = self._ask(x.pointer)
        else:
            has_moved = self._ask(self._copied(x))
        if has_moved:
            self._find_answer()
        return self._answer[0] if self._scalar else self._answer.tolist()

    def _copied(self, x):
        """The address of a copy of an array with the buffer protocol."""
        view = x.view() if isinstance(x, Tensor) else memoryview(x)
        if view.nbytes != self._nbytes or view.format != self._format or not view.c_contiguous:
            raise ShapeError(f"the predictor takes {self._shape}; got {view.shape} of format {view.format!r}")
        ffi.memmove(self._own, view, self._nbytes)
        return self._own

    def _find_answer(self) -> None:
        """Where the answer lies: a typed look into the arena, made again when that has moved."""
        b = self.tape.buffers[self.tape.outputs["y"]]
        dtype = self.tape.real if b.dtype == "real" else b.dtype
        _, nbytes, kind = DTYPES[dtype]
        part = self._memory.view(b.region)[b.offset : b.offset + b.count * nbytes]
        shape = b.shape[1:] if self._single else b.shape
        self._answer, self._scalar = part.cast(kind, shape or (1,)), not shape
