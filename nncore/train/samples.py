"""Samples: data as the tape takes them - arrays from anywhere, and an optional list of the rows that take part."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace

from nncore._ffi import ffi, lib
from nncore.errors import DataError, ShapeError, UsageError
from nncore.tensor import Tensor

MAX_HEADS = 6  # externals of a tape, less images and rows


@dataclass(frozen=True)
class Samples:
    """x (N, ...) u8 or f32; labels (N,) u8 or targets (N, T) f32, or neither, or `heads`, either by name; rows: the samples
    that count, None for all."""

    x: Tensor
    labels: Tensor | None = None
    targets: Tensor | None = None
    classes: tuple[str, ...] | None = None
    rows: Tensor | None = None
    heads: dict[str, Tensor] | None = None
    mirror_safe: bool | None = None  # whether mirrored images keep their labels; None if nobody said

    def __len__(self) -> int:
        return len(self.rows if self.rows is not None else self.x)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one sample as layers see it: (H, W, C), one channel for plain images, or (features,)."""
        shape = self.x.shape[1:]
        return (*shape, 1) if len(shape) == 2 else shape or (1,)

    @property
    def features(self) -> int:
        """Elements of one sample."""
        n = 1
        for s in self.image_shape:
            n *= s
        return n

    def select(self, rows) -> Samples:
        """The samples of an index list into these samples, in its order; one may be there more than once."""
        if self.rows is not None:
            own = self.rows.flat()
            rows = [own[r] for r in (rows.flat() if isinstance(rows, Tensor) else rows)]
        return replace(self, rows=rows if isinstance(rows, Tensor) else Tensor((len(rows),), "i64", array("q", rows)))

    def label_list(self) -> list[int]:
        """Labels of the samples that count, in order."""
        labels = self.labels.tobytes()
        return list(labels) if self.rows is None else [labels[r] for r in self.rows.tolist()]

    def standardisation(self, mode: str) -> tuple[list[float], list[float]]:
        """mean and scale for x' = (x - mean) scale, from these samples.

        "global": one mean and deviation; "feature": one per feature; "unit": x / 255 for bytes; "none": as it is.
        """
        if mode == "none" or (mode == "unit" and self.x.dtype != "u8"):
            return [0.0], [1.0]
        if mode == "unit":
            return [0.0], [1 / 255]
        from nncore.data import split

        return split.standardisation(self.x, self.rows, per=mode)


def samples(data) -> Samples:
    """Samples from what a user has: a data split, (x, y), or x alone.

    y of whole numbers (u8, i32, i64) are class labels, y of floats are targets; a dict of them by name is for a network
    with several heads. Raises ShapeError, DataError.
    """
    if isinstance(data, Samples):
        return data
    if hasattr(data, "images"):
        labels = None if data.labels is None else Tensor.from_any(data.labels)
        names = getattr(data, "classes", None)
        return _checked(Samples(_values(data.images), labels, None, tuple(names) if names else None,
                                mirror_safe=getattr(data, "mirror_safe", None)))
    if isinstance(data, tuple) and len(data) == 2 and isinstance(data[1], dict):
        return _checked(Samples(_values(data[0]), heads={name: _answers(y) for name, y in data[1].items()}))
    if isinstance(data, tuple) and len(data) == 2:
        x, y = _values(data[0]), _answers(data[1])
        return _checked(Samples(x, y) if y.dtype == "u8" else Samples(x, None, y))
    return _checked(Samples(_values(data)))


def _answers(y) -> Tensor:
    """Labels (N,) u8 from whole numbers, targets (N, T) f32 from floats."""
    y = Tensor.from_any(y)
    return _rows(_as_f32(y)) if y.dtype in ("f32", "f64") else _as_labels(y)


def _rows(y: Tensor) -> Tensor:
    """Targets as rows: (N,) becomes (N, 1)."""
    return y if len(y.shape) > 1 else Tensor((*y.shape, 1), "f32", y.memory)


def _values(x) -> Tensor:
    t = Tensor.from_any(x)
    if not t.shape:
        raise ShapeError("samples need at least one dimension: the samples themselves")
    return t if t.dtype == "u8" else _as_f32(t)


def _as_f32(t: Tensor) -> Tensor:
    if t.dtype == "f32":
        return t
    if t.dtype == "f64":
        return Tensor(t.shape, "f32", array("f", t.flat()))
    raise ShapeError(f"samples are bytes (u8) or floats, got {t.dtype}")


def _as_labels(y: Tensor) -> Tensor:
    if len(y.shape) != 1:
        raise ShapeError(f"labels are one whole number per sample, got shape {y.shape}")
    if y.dtype == "u8":
        return y
    values = y.tolist()
    for i, v in enumerate(values):
        if not 0 <= v <= 255:
            raise DataError(f"label {v} of sample {i}: labels lie between 0 and 255")
    return Tensor(y.shape, "u8", bytes(values))


def _checked(s: Samples) -> Samples:
    heads = s.heads or {}
    if len(heads) > MAX_HEADS:
        raise UsageError(f"{len(heads)} heads; at most {MAX_HEADS}")
    for name, y in (("labels", s.labels), ("targets", s.targets), *heads.items()):
        if y is not None and len(y) != len(s.x):
            raise ShapeError(f"{len(s.x)} samples but {len(y)} {name}")
    if not len(s.x):
        raise UsageError("no samples: there is nothing to learn from or to predict")
    for name, t in (("sample", s.x), ("target", s.targets), *heads.items()):
        if t is not None and t.dtype == "f32":
            bad = lib.nn_find_nonfinite(ffi.cast("float *", t.pointer), t.nbytes // 4)
            if bad >= 0:
                at = bad // (t.nbytes // 4 // len(t))
                raise DataError(f"{name} {at}, element {bad}: NaN or infinite; clean the data first")
    return s
