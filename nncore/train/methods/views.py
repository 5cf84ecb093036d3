"""Test-time augmentation: a network looks at shifted and mirrored copies of an image, and its probabilities are averaged.

    print(model.evaluate(data.test).accuracy)
    proba = nn.predict_views(model, data.test, shift=1)

Krizhevsky, Sutskever, Hinton 2012, section 4.1, average over ten views of an image.
"""

from __future__ import annotations

from nncore.errors import ShapeError, UsageError
from nncore.graph.tape import Executor
from nncore.tensor import Tensor
from nncore.train.ensemble import mean
from nncore.train.samples import samples


def shifted(images: Tensor, down: int, right: int) -> Tensor:
    """Images (N, H, W[, C]) moved by whole pixels, 0 where nothing comes from. Exact: bytes are copied.

    >>> shifted(Tensor((1, 2, 2), "u8", bytes([1, 2, 3, 4])), 0, 1).tolist()
    [[[0, 1], [0, 3]]]
    """
    n, height, width = _image_shape(images)
    pixel = images.nbytes // max(n * height * width, 1)
    row = width * pixel
    out, source = bytearray(images.nbytes), images.memory
    move = max(-width, min(width, right)) * pixel
    for i in range(n):
        for y in range(max(0, down), min(height, height + down)):
            begin, old = (i * height + y) * row, (i * height + y - down) * row
            if move >= 0:
                out[begin + move : begin + row] = source[old : old + row - move]
            else:
                out[begin : begin + row + move] = source[old - move : old + row]
    return Tensor(images.shape, images.dtype, out)


def mirrored(images: Tensor) -> Tensor:
    """Images (N, H, W[, C]) with left and right exchanged."""
    n, height, width = _image_shape(images)
    pixel = images.nbytes // max(n * height * width, 1)
    source, out = images.memory, bytearray(images.nbytes)
    for x in range(width):
        for b in range(pixel):
            out[x * pixel + b :: width * pixel] = bytes(source[(width - 1 - x) * pixel + b :: width * pixel])
    return Tensor(images.shape, images.dtype, out)


def views(images: Tensor, shift: int = 1, mirror: bool = False) -> list[Tensor]:
    """The images, and their copies: all shifts by up to `shift` pixels in both directions, and those of the mirror image.

    Raises UsageError for a shift that is no whole number >= 0 or moves an image out of sight, ShapeError for no images.
    """
    _, height, width = _image_shape(images)
    if isinstance(shift, bool) or not isinstance(shift, int) or not 0 <= shift < min(height, width):
        raise UsageError(f"views: shift is a whole number from 0 to {min(height, width) - 1}, got {shift!r}")
    steps = sorted(range(-shift, shift + 1), key=lambda s: (abs(s), s))
    whole = [images, mirrored(images)] if mirror else [images]
    return [shifted(x, dy, dx) if dy or dx else x for x in whole for dy in steps for dx in steps]


def predict_views(model, x, shift: int = 1, mirror: bool = False, executor: Executor | None = None) -> Tensor:
    """Mean probabilities (N, C) of a network over the views of images: (2 shift + 1)^2 of them, twice as many with mirror.

    model: anything with predict(x, proba=True): a network or a committee. Raises as `views` and `predict`.
    """
    data = samples(x)
    images = data.x if data.rows is None else _picked(data.x, data.rows)
    return mean([model.predict(v, proba=True, executor=executor) for v in views(images, shift, mirror)])


def parse_views(text: str) -> dict:
    """The arguments of `views` from text: "shift=1", "mirror", "shift=2,mirror". Raises UsageError.

    >>> parse_views("shift=2,mirror")
    {'shift': 2, 'mirror': True}
    """
    found = {"shift": 0, "mirror": False}
    for item in (part.strip() for part in text.split(",")):
        key, equals, value = item.partition("=")
        if item == "mirror":
            found["mirror"] = True
        elif key == "shift" and value.isascii() and value.isdigit() and len(value) < 5:
            found["shift"] = int(value)
        else:
            raise UsageError(f"views {text!r}: unknown {item!r}; known: shift=PIXELS, mirror, both separated by a comma")
    return found


def _image_shape(images: Tensor) -> tuple[int, int, int]:
    if len(images.shape) not in (3, 4):
        raise ShapeError(f"views are of images (N, H, W) or (N, H, W, C), got {images.shape}")
    return images.shape[:3]


def _picked(x: Tensor, rows: Tensor) -> Tensor:
    """The rows of x, copied."""
    each = x.nbytes // len(x)
    data = b"".join(x.memory[r * each : (r + 1) * each] for r in rows.flat())
    return Tensor((len(rows), *x.shape[1:]), x.dtype, data)


__all__ = ["mirrored", "parse_views", "predict_views", "shifted", "views"]
