"""Run folders made by hand, and pages read strictly."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.harness import need

VOID = {"meta", "img", "br", "hr", "link", "input", "path", "line", "rect", "circle"}
HAVE = all(map(find_spec, ("altair", "vl_convert", "jinja2")))


@pytest.fixture
def extras():
    """What draws reports."""
    need("report", HAVE, "pip install 'nncore[report]'")


class Page(HTMLParser):
    """Elements, ids, text of a document. Raises AssertionError for elements that are not closed in order."""

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict]] = []
        self.text, self.open = "", []
        self.scripts, self.styles = [], []
        self.feed(html)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute twice: {tag} {attrs}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID or (tag in ("path", "line", "rect", "circle") and not self.get_starttag_text().endswith("/>")):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] == "style":
            self.styles.append(data)
        else:
            self.text += data

    def all(self, tag: str) -> list[dict]:
        return [a for t, a in self.elements if t == tag]

    @property
    def ids(self) -> set[str]:
        found = [a["id"] for t, a in self.elements if "id" in a]
        assert len(found) == len(set(found)), "an id twice"
        return set(found)


def packed(shape: tuple, start: int = 0) -> dict:
    """Pictures of a pattern."""
    size = 1
    for n in shape:
        size *= n
    return {"shape": list(shape), "data": base64.b64encode(bytes((start + 7 * i) % 256 for i in range(size))).decode()}


def history(epochs: int, validated: bool = True, layers: tuple[str, ...] = (), accuracy: bool = True) -> list[dict]:
    """Records as train writes them."""
    found = []
    for e in range(1, epochs + 1):
        r = {"epoch": e, "step": 10 * e, "loss": 1 / e, "images_per_s": 1e5}
        r |= {"accuracy": 1 - 0.5 / e} if accuracy else {}
        r |= {"val_loss": 1.1 / e, "val_accuracy": 1 - 0.6 / e if accuracy else None} if validated else {}
        if layers:
            r["layers"] = [{"name": n, "activation_rms": 1.5 + i, "gradient_rms": 1e-3 / e if "ReLU" not in n else None,
                            "update_ratio": 0.1 / e if "ReLU" not in n else None, "dead": 0.05 if "ReLU" in n else None}
                           for i, n in enumerate(layers)]
        found.append(r)
    return found


def convolutional(classes: tuple[str, ...] = ("cat", "dog", "frog"), channels: int = 3) -> dict:
    """An insight of a network with convolutions, pooling and batch norm on colour images."""
    k, n = len(classes), 40
    table = [[0] * k for _ in range(k)]
    for i in range(n):
        table[i % k][(i + (i % 7 == 0)) % k] += 1
    right = sum(table[c][c] for c in range(k))
    image = (8, 8, channels)
    listed = {"index": [3, 5], "true": [0, 1], "predicted": [1 % k, 0], "confidence": [0.9, 0.8], "images": packed((2, *image)),
              "probabilities": [[0.9 / k] * k, [0.8 / k] * k]}
    wrong = {"count": n - right, **{key: listed[key] for key in ("index", "true", "predicted", "confidence", "images")}}
    maps = [("0 Conv2D", [8, 8, 40], packed((32, 8, 8, 1))), ("1 BatchNorm", [8, 8, 40], packed((32, 8, 8, 1))),
            ("2 ReLU", [8, 8, 40], packed((32, 8, 8, 1))), ("3 MaxPool2D", [4, 4, 40], packed((32, 4, 4, 1))),
            ("5 Dense", [k], packed((1, 1, k, 1)))]
    bins = [{"low": b / 15, "high": (b + 1) / 15, "count": 0 if b < 9 else n // 5 - 2 + b % 3, "confidence": None if b < 9 else
             (b + 0.5) / 15, "accuracy": None if b < 9 else (b + 0.3) / 15} for b in range(15)]
    profile = [{"name": name, "forward_us": 10.0 + i, "backward_us": 20.0, "update_us": 1.0, "mflop": 3.0, "kb": 20.0}
               for i, name in enumerate(("data", "0 Conv2D", "1 BatchNorm", "5 Dense", "loss"))]
    layers = [{"name": "0 Conv2D", "settings": "Conv2D(filters=40, kernel=3)", "output": [8, 8, 40], "parameters": 1120},
              {"name": "1 BatchNorm", "settings": "BatchNorm()", "output": [8, 8, 40], "parameters": 80},
              {"name": "2 ReLU", "settings": "ReLU()", "output": [8, 8, 40], "parameters": 0},
              {"name": "3 MaxPool2D", "settings": "MaxPool2D(2)", "output": [4, 4, 40], "parameters": 0},
              {"name": "4 Flatten", "settings": "Flatten()", "output": [4, 4, 40], "parameters": 0},
              {"name": "5 Dense", "settings": f"Dense(units={k})", "output": [k], "parameters": 641 * k}]
    return {
        "schema": "nncore.insight/1", "n": n, "image_shape": list(image), "split": "test", "model_sha256": "ab" * 32, "image": 0,
        "notes": [], "layers": layers, "classes": list(classes), "confusion": table,
        "evaluation": {"n": n, "loss": 0.4, "accuracy": right / n, "standard_error": 0.02},
        "calibration": {"bins": bins, "ece": 0.03, "brier": 0.2, "log_loss": 0.4}, "worst": listed, "uncertain": listed,
        "wrong": wrong,
        "filters": {"layer": "0.weight", "kind": "convolution", "units": 40, "scale": 0.3,
                    "images": packed((40, 3, 3, channels))},
        "maps": {"index": 0, "true": 0, "image": packed((1, *image)), "probabilities": [1 / k] * k, "layers": [
            {"name": name, "shape": shape, "low": -1.0, "high": 2.0, "images": images} for name, shape, images in maps]},
        "profile": {"batch": 32, "steps": 10, "threads": 2, "isa": "avx2", "us_per_step": 170.0, "layers": profile},
        "schedule": {"steps": list(range(50)), "rates": [1e-3 * (50 - i) for i in range(50)], "steps_per_epoch": 10},
    }


LAYERS = ("0 Conv2D", "1 BatchNorm", "2 ReLU", "3 MaxPool2D", "4 Flatten", "5 Dense")
RESULT = {"schema": "nncore.train/1", "run": "r", "model": "cnn", "dataset": "toys", "seed": 0, "epochs": 5, "batch": 32,
          "math": "f32", "isa": "avx2", "threads": 2, "parameters": 3123, "train_accuracy": 0.95, "test_accuracy": 0.85,
          "weights_sha256": "cd" * 32, "seconds": {"load": 0.1, "train": 2.5, "predict": 0.1, "total": 2.9},
          "peak_rss_bytes": 50_000_000, "predictions": {"train": None, "test": None}, "threshold": 0.8, "verdict": "PASS"}


def toml(value) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, bool) else str(value).lower()


@pytest.fixture
def folder(tmp_path):
    """Make a run folder from its parts; None leaves a file out."""

    def make(name: str = "run", config: dict | None = None, result: dict | None = RESULT, records: list | None = None,
             insight: dict | None = None, tape: str | None = "tape cnn\n  0  conv2d\n") -> Path:
        path = tmp_path / name
        path.mkdir(parents=True)
        settings = {"data.name": "toys", "model.name": "cnn", "train.epochs": 5, "train.batch": 32, "optimizer.lr": 0.003,
                    "train.seed": 0, "run.fingerprint": "ef" * 16, "run.numerics": 1, "run.version": "0.1.0", **(config or {})}
        (path / "config.toml").write_text("".join(f"{json.dumps(k)} = {toml(v)}\n" for k, v in settings.items()))
        if result is not None:
            (path / "result.json").write_text(json.dumps(result))
        records = history(5, layers=LAYERS) if records is None else records
        (path / "history.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
        if insight is not None:
            (path / "insight.json").write_text(json.dumps(insight))
        if tape is not None:
            (path / "tape.txt").write_text(tape)
        return path

    return make
