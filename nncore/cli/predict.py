"""nncore predict: classes or probabilities from a model file or a run folder."""

from __future__ import annotations

import os
import sys
from math import prod
from pathlib import Path

import click

from nncore.cli import options as o
from nncore.cli.output import emit, say
from nncore.errors import DataError, UsageError


@click.command()
@click.argument("model", type=click.Path())
@click.option("--data", metavar="NAME|DIR", help="A data set by name or folder; default the one of the run.")
@click.option("--split", type=click.Choice(["test", "train"]), default="test", show_default=True,
              help="Which part of the data set.")
@click.option("--images", type=click.Path(), metavar="FILE",
              help="Images from a file: IDX, gzipped or not, or CSV, one a line.")
@click.option("--output", "-o", type=click.Path(), metavar="FILE", help="Write there instead of to stdout.")
@click.option("--out", type=click.Path(), metavar="DIR", help="Write DIR/SPLIT_predictions.csv instead of to stdout.")
@click.option("--proba", is_flag=True, help="Probabilities of all classes, separated by commas, instead of the class.")
@o.options(o.tta_option, o.threads_option, o.isa_option, o.math_option, o.json_option, o.quiet_option)
def predict(model: str, data: str | None, split: str, images: str | None, output: str | None, out: str | None, proba: bool,
            tta: str | None, threads: int | None, isa: str | None, math: str, as_json: bool, quiet: bool) -> None:
    """One line per image: its class, 0 to 9, or with --proba the probabilities of all classes.

    \b
      nncore predict runs/mine > test_predictions.csv
      nncore predict model.safetensors --images vectors.csv --proba
      nncore predict runs/mine --data ./new-data --split train --output predictions.csv

    MODEL is a model file or a run folder; a run is predicted on the test set of its own data unless --data or --images
    says otherwise. Probabilities are written with the fewest digits that read back as the same float32.
    """
    from nncore.files import write_atomic, writing
    from nncore.graph.tape import Executor
    from nncore.train.ensemble import Committee
    from nncore.train.predictions import class_bytes, format_classes, format_rows, score

    if data and images:
        raise UsageError("give --data or --images, not both")
    if output and out:
        raise UsageError("give --output or --out, not both")
    if out:
        with writing(out):
            os.makedirs(out, exist_ok=True)
        output = os.path.join(out, f"{split}_predictions.csv")
    executor = Executor(isa, threads)
    network, default = _model(model)
    network.math = math or network.math
    x, labels, name = _images(images, network) if images else _split(data or default, split, model)
    found = opinion(network, x, tta, executor) if tta else network.predict(x, proba=proba, executor=executor)
    if tta and not proba:
        found = Committee([network]).decide([found])
    classes = None if proba else class_bytes(found)
    accuracy = score(classes, labels).accuracy if classes is not None and labels is not None else None
    text = None if as_json and not output else format_rows(found) if proba else format_classes(classes)
    if output:
        write_atomic(output, text)
    if as_json:
        emit({"schema": "nncore.predict/1", "model": model, "dataset": name, "split": None if images else split,
              "images": images, "tta": tta, "n": len(found), "accuracy": accuracy, "output": output,
              "predictions": None if output else found.tolist() if proba else list(classes)}, indent=None)
    elif not output:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    elif not quiet:
        say(f"{len(found):,} predictions in {output}" + (f", accuracy {accuracy:.2%}" if accuracy is not None else ""))


def opinion(network, x, tta: str | None, executor):
    """Probabilities (N, C) of the samples, with --tta of all their views. Raises UsageError."""
    if tta is None:
        return network.predict(x, proba=True, executor=executor)
    from nncore.train.methods.views import parse_views, predict_views

    views = parse_views(tta)
    if views["mirror"] and getattr(x, "mirror_safe", None) is False:
        import warnings

        warnings.warn(f"--tta {tta}: a mirrored image is of another class here, this data set says; leave mirror out",
                      UserWarning, stacklevel=2)
    return predict_views(network, x, executor=executor, **views)


def _model(path: str):
    """(model, name of the run's data or None) of a model file or run folder."""
    from nncore.train.model import load
    from nncore.train.runs import CONFIG, MODEL, RunFolder

    if not os.path.isdir(path):
        return load(path), None
    config = RunFolder.open(path).config() if (Path(path) / CONFIG).exists() else None
    if not (Path(path) / MODEL).exists():
        hint = f": the run has not ended; go on with it: nncore train --resume {path}" if config else ""
        raise DataError(f"{path}: no {MODEL} in this folder{hint}")
    return load(Path(path) / MODEL), config and config.data.asked


def _split(name: str | None, split: str, model: str):
    """(samples, labels, name) of a part of a data set."""
    from nncore.data import load

    if name is None:
        raise UsageError(f"{model} is a model file and names no data: give --data NAME or --images FILE")
    data = load(name)
    part = getattr(data, split)
    if part is None:
        raise UsageError(f"data set {data.name} has no {split} set")
    return part, part.labels.tobytes(), data.name


def _images(path: str, network):
    """(samples, None, None) from a file; vectors are given the shape that the network takes."""
    from nncore.data import read_csv, read_idx
    from nncore.tensor import Tensor
    from nncore.train.predictions import is_idx

    found = read_idx(path) if is_idx(path) else read_csv(path)
    want = network.image_shape
    values = prod(found.shape[1:])
    if values != prod(want):
        shape = " x ".join(map(str, want))
        raise DataError(f"{path}: {values:,} values per image; the network takes {prod(want):,} ({shape})")
    return Tensor((len(found), *want), "u8", found.view().cast("B")), None, None
