"""A training as a file that C runs without Python: its tapes and what to do with them. examples/c/train.c reads it.

The file holds the tapes "initial" (writes the first parameters), "train" and "train-tail" (one step), "predict" and
"predict-one" (classes `y` of a batch, of one sample), and notes: seed, epochs, batch, steps, samples, features, classes,
standardise, and "layout NAME" of each parameter that files keep in another order than memory ("io" is [in, out];
nncore.graph.node.Parameter has the others).
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from nncore.errors import UsageError
from nncore.graph import ops, tapefile
from nncore.graph.tape import Tape, compile_tape
from nncore.train.samples import Samples

if TYPE_CHECKING:
    from nncore.train.loop import Trainer

__all__ = ["export_program"]

BATCH = 100


def export_program(trainer: Trainer, path: str | os.PathLike) -> None:
    """Write the tapes and settings of a training that has not begun, atomically.

    Run on the same samples it reaches the same `weights_sha256`. Raises UsageError for what C cannot do alone: samples
    that are not bytes with labels, held-out rows, callbacks; LimitError if the file cannot be written.
    """
    data, settings, model = trainer.data, trainer.settings, trainer.model
    if data.x.dtype != "u8" or data.labels is None:
        raise UsageError("export_program: the program trains on bytes with class labels, as IDX files have them")
    if data.rows is not None:
        raise UsageError("export_program: held-out rows are not in the program; leave out `validation` or give it as data")
    if trainer.callbacks:
        raise UsageError("export_program: callbacks are Python; a program cannot call them")
    notes = {
        "seed": settings.seed, "epochs": settings.epochs, "batch": settings.batch, "samples": len(data),
        "steps": settings.steps or trainer.total_steps, "features": data.features,
        "classes": len(data.classes) if data.classes else 256,
        "standardise": "global" if model.standardise == "auto" else model.standardise,
    }
    notes.update({f"layout {w.name}": w.layout for w in model.parameters.values() if w.layout})
    tapes = {"initial": model.initial, "train": trainer.tape, "train-tail": trainer.tail,
             "predict": _predict(model, data, BATCH), "predict-one": _predict(model, data, 1)}
    tapefile.save(path, [replace(tape, name=name) for name, tape in tapes.items() if tape is not None],
                  {key: str(value) for key, value in notes.items()})


def _predict(model, data: Samples, batch: int) -> Tape:
    """Classes of a batch of images."""
    z, *_ = model.graph(Samples(data.x, classes=data.classes), batch, training=False)
    return compile_tape(f"{model.name}/predict", batch, [], {"y": ops.argmax(ops.flatten(z))}, model.layout)
