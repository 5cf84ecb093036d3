"""What Jupyter shows of nncore's objects: plain data in, HTML fragments out, in the looks of the reports.

Every function returns None where there is nothing to show, or what draws it is not installed: Jupyter then prints the
object's text.
"""

from __future__ import annotations

from importlib.util import find_spec

from nncore.report import png, text
from nncore.report.read import harmless

MOST_IMAGES = 100


def _fragment(**values) -> str | None:
    if find_spec("jinja2") is None:
        return None
    from nncore.report.page import environment

    nothing = dict.fromkeys(("figures", "rows", "caption", "head", "left", "picture", "width", "alt", "note"))
    return environment().get_template("notebook.html").render({**nothing, **values})


def table(caption: str, head: list[str], rows: list[list], left: tuple[int, ...] = (0,)) -> str | None:
    """A table; `left` are the columns set flush left."""
    cells = [[harmless(c, 120) for c in row] for row in rows]
    return _fragment(caption=harmless(caption, 200), head=[harmless(h) for h in head], rows=cells, left=left)


def model(name: str, layers: list[dict]) -> str | None:
    """The layers with their output shapes and parameters; None before the model is built."""
    if not layers:
        return None
    rows = [[e["name"], e["settings"], text.shape(e["output"]), text.decimal(e["parameters"])] for e in layers]
    total = text.decimal(sum(e["parameters"] for e in layers))
    return table(f"{name}: {total} parameters", ["layer", "settings", "output", "parameters"], rows, left=(0, 1))


def history(records: list[dict], stopped: str | None = None) -> str | None:
    """Curves of loss and accuracy; a table where charts cannot be drawn."""
    if not records:
        return None
    if find_spec("altair") is None or find_spec("vl_convert") is None:
        return _epochs(records, stopped)
    from nncore.report import charts

    figures = [f for key, title in (("loss", "Loss"), ("accuracy", "Accuracy")) if
               (f := charts.learning(records, key, title, None))]
    return _fragment(figures=figures, note=_summary(records, stopped))


def _epochs(records: list[dict], stopped: str | None) -> str | None:
    keys = [k for k in ("loss", "accuracy", "val_loss", "val_accuracy") if any(r.get(k) is not None for r in records)]
    shown = {True: text.percent, False: text.fixed}
    rows = [[r.get("epoch"), *(shown[k.endswith("accuracy")](r.get(k)) for k in keys)] for r in records]
    return table(_summary(records, stopped), ["epoch", *(k.replace("val_", "validation ") for k in keys)], rows)


def _summary(records: list[dict], stopped: str | None) -> str:
    n = len(records)
    return f"{n} epoch{'s' if n != 1 else ''}" + (f", stopped: {stopped}" if stopped else "")


def evaluation(n: int, loss: float, accuracy: float | None, error: float | None) -> str | None:
    """The figures of an Evaluation in a row."""
    head, row = ["samples", "loss"], [text.decimal(n), text.fixed(loss)]
    if accuracy is not None:
        head, row = ["accuracy", *head], [f"{text.percent(accuracy)} \u00b1 {text.percent(error)}", *row]
    return table("", head, [row], left=())


def images(shape: tuple, data: bytes) -> str | None:
    """Images (N, H, W[, C]) or one (H, W[, 3]) of bytes, side by side; None for arrays that are none."""
    if len(shape) == 2 or (len(shape) == 3 and shape[2] == 3):
        shape = (1, *shape)
    n, h, w, c = shape if len(shape) == 4 else (*shape, 1) if len(shape) == 3 else (0, 0, 0, 0)
    if c not in (1, 3) or not n or not 2 <= h <= 1024 or not 2 <= w <= 1024:
        return None
    shown = min(n, MOST_IMAGES)
    packed = {"shape": (shown, h, w, c), "data": png.base64.b64encode(data[: shown * h * w * c]).decode()}
    uri, width, _ = png.sheet(packed, 20)
    scale = max(1, min(8, 44 // h if shown > 1 else 160 // h, 900 // width))
    more = f"the first {shown} of {n:,}" if shown < n else ""
    return _fragment(picture=uri, width=width * scale, alt=f"{n} images", note=more)
