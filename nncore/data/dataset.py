"""What a data set is in memory: images once, as bytes or floats, labels as bytes, a sentence on their origin."""

from __future__ import annotations

from dataclasses import dataclass

from nncore._ffi import ffi, lib
from nncore.errors import DataError, ShapeError
from nncore.tensor import Tensor


@dataclass(frozen=True)
class Split:
    """Images (N, ...) u8 or f32 and labels (N,) u8 in [0, len(classes)). mirror_safe: whether a mirrored image keeps its
    label, None if nobody said."""

    name: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    mirror_safe: bool | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the images, N first."""
        return self.images.shape

    def __len__(self) -> int:
        return self.images.shape[0]

    def __repr__(self) -> str:
        size = " x ".join(str(n) for n in self.shape)
        return f"<{self.name}: {size} {self.images.dtype}, {len(self.classes)} classes>"


@dataclass(frozen=True)
class Dataset:
    """A training set and a test set (None if there is none), class names, and where they came from.

    `note` is empty, or a sentence the user should see: that another data set than the one asked for was taken.
    """

    name: str
    train: Split
    test: Split | None
    classes: tuple[str, ...]
    source: str
    note: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes of all images and labels."""
        return sum(s.images.nbytes + s.labels.nbytes for s in (self.train, self.test) if s is not None)

    def __repr__(self) -> str:
        return f"<data set {self.name}: train {self.train!r}, test {self.test!r}, {self.source}>"


def make_dataset(name: str, parts: dict[str, tuple[Tensor, Tensor]], classes: tuple[str, ...] | None, source: str,
                 note: str = "", where: dict[str, str] | None = None, mirror_safe: bool | None = None) -> Dataset:
    """Join {"train": (images, labels), "test": ...} after checking counts, shapes and labels.

    classes=None takes 0 up to the largest label of all parts. `where` names each part's labels in messages. Raises
    DataError naming the part and the first bad index.
    """
    where = where or {}
    if classes is None:
        most = 1 + max(max(memoryview(labels.view()), default=0) for _, labels in parts.values())
        classes = tuple(str(c) for c in range(max(most, 2)))
    splits: dict[str, Split | None] = {"test": None}
    for part, (images, labels) in parts.items():
        _check_part(where.get(part, f"{name} {part}"), images, labels, len(classes))
        if images.shape[1:] != parts["train"][0].shape[1:] or images.dtype != parts["train"][0].dtype:
            raise DataError(f"{name}: test images are {images.shape[1:]} {images.dtype}, training images "
                            f"{parts['train'][0].shape[1:]} {parts['train'][0].dtype}")
        splits[part] = Split(f"{name} {part}", images, labels, classes, mirror_safe)
    return Dataset(name, splits["train"], splits["test"], classes, source, note)


def _check_part(where: str, images: Tensor, labels: Tensor, classes: int) -> None:
    if len(images) != len(labels):
        raise DataError(f"{where}: {len(labels):,} labels for {len(images):,} images; line i labels image i")
    if len(images) == 0:
        raise DataError(f"{where}: there are no images")
    pointer = ffi.cast("const uint8_t *", labels.pointer)
    bad = lib.nn_find_label(pointer, len(labels), classes)
    if bad >= 0:
        raise DataError(f"{where}: label {pointer[bad]} at index {bad:,} is outside 0 to {classes - 1}")


def from_arrays(images, labels, test_images=None, test_labels=None, classes=None, name: str = "arrays") -> Dataset:
    """A data set from arrays in memory, looked at and not copied: buffer protocol or DLPack, C-contiguous.

    Args: images (N, H, W[, C]) or (N, D), u8 or f32; labels (N,) integers, or a list; classes names or their number
    (default: 0 to the largest label). Raises DataError for NaN or infinity (with its index), labels out of range,
    counts that differ.

    >>> len(from_arrays(memoryview(bytes(8)).cast("B", (2, 4)), [0, 1]).train)
    2
    """
    if isinstance(classes, int):
        classes = [str(c) for c in range(classes)]
    if classes is not None and not 1 <= len(classes) <= 256:
        raise DataError(f"{name}: {len(classes)} classes; 1 to 256 are possible")
    parts = {"train": (_images(images, f"{name}: images"), _labels(labels, f"{name}: labels"))}
    if (test_images is None) != (test_labels is None):
        raise DataError(f"{name}: test images and test labels come together or not at all")
    if test_images is not None:
        parts["test"] = (_images(test_images, f"{name}: test images"), _labels(test_labels, f"{name}: test labels"))
    names = None if classes is None else tuple(str(c) for c in classes)
    return make_dataset(name, parts, names, "arrays in memory")


def _tensor(array, what: str) -> Tensor:
    try:
        return Tensor.from_any(array)
    except ShapeError as e:
        raise DataError(f"{what}: {e}") from None


def _images(array, what: str) -> Tensor:
    found = _tensor(array, what)
    if found.dtype not in ("u8", "f32"):
        raise DataError(f"{what} are {found.dtype}; convert them to unsigned bytes or 32-bit floats")
    if not 2 <= len(found.shape) <= 4:
        raise DataError(f"{what} have shape {found.shape}; expected (N, H, W[, C]) or (N, D)")
    if found.nbytes == 0:
        raise DataError(f"{what} have shape {found.shape}: there is nothing in them")
    if found.dtype == "f32":
        bad = lib.nn_find_nonfinite(ffi.cast("const float *", found.pointer), found.nbytes // 4)
        if bad >= 0:
            index, rest = [], bad
            for n in reversed(found.shape):
                index.insert(0, rest % n)
                rest //= n
            value = ffi.cast("const float *", found.pointer)[bad]
            raise DataError(f"{what}: {value} at index {tuple(index)}; remove or replace it")
    return found


def _labels(array, what: str) -> Tensor:
    if not isinstance(array, (list, tuple)):
        found = _tensor(array, what)
        if len(found.shape) != 1:
            raise DataError(f"{what} have shape {found.shape}; expected (N,)")
        if found.dtype == "u8":
            return found
        if found.dtype not in ("i32", "i64"):
            raise DataError(f"{what} are {found.dtype}; expected integers")
        array = found.tolist()
    for i, value in enumerate(array):
        if not isinstance(value, int) or not 0 <= value <= 255:
            raise DataError(f"{what}: {value!r} at index {i:,}; expected integers from 0 to 255")
    return Tensor((len(array),), "u8", bytes(array))
