"""nncore score: the counting of a grader, and nothing else."""

from __future__ import annotations

import click

from nncore.cli import options as o
from nncore.cli.output import emit
from nncore.errors import UsageError


@click.command()
@click.argument("predictions", type=click.Path())
@click.argument("labels", type=click.Path(), required=False)
@click.option("--data", metavar="NAME|DIR", help="Take the labels of this data set instead of a file.")
@click.option("--split", type=click.Choice(["test", "train"]), default="test", show_default=True,
              help="Which labels of --data.")
@o.options(o.threshold_option, o.json_option)
def score(predictions: str, labels: str | None, data: str | None, split: str, threshold: float | None,
          as_json: bool) -> int:
    """Accuracy of a prediction file, its standard error, and PASS or BELOW_THRESHOLD (exit code 1).

    \b
      nncore score test_predictions.csv fashion_mnist_test_labels.csv --threshold 0.88
      nncore score test_predictions.csv --data fashion-mnist --threshold 0.88
      nncore score train_predictions.csv --data fashion-mnist --split train --json

    PREDICTIONS holds exactly one integer a line, line i for sample i; a file with anything else in it, or with too few
    or too many lines, is not counted (exit code 3). LABELS is a CSV of labels or an IDX file, gzipped or not. With
    --data the threshold is by default that of `nncore train`.
    """
    from nncore.train import predictions as p

    if (labels is None) == (data is None):
        raise UsageError("give either a LABELS file or --data NAME, " + ("not both" if labels else "to score against"))
    truth, classes = _from_data(data, split) if data else (p.read_labels(labels), 10)
    if data and threshold is None and split == "test":
        threshold = o.THRESHOLDS.get(data)
    found = p.score(p.read_predictions(predictions, len(truth), max(classes, max(truth) + 1)), truth, threshold)
    if as_json:
        emit({"schema": "nncore.score/1", "n": found.n, "correct": found.correct, "accuracy": found.accuracy,
              "standard_error": found.standard_error, "threshold": threshold, "verdict": found.verdict})
    else:
        print(found)
    return 1 if found.verdict == "BELOW_THRESHOLD" else 0


def _from_data(name: str, split: str) -> tuple[bytes, int]:
    from nncore.data import load

    data = load(name)
    part = getattr(data, split)
    if part is None:
        raise UsageError(f"data set {data.name} has no {split} set")
    return part.labels.tobytes(), len(data.classes)
