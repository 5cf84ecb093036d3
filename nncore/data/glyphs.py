"""The embedded data set: ten hand-drawn-looking digits, generated in C, the same bytes on every machine."""

from __future__ import annotations

from nncore._ffi import check, ffi, lib, thread_count
from nncore.data.dataset import Dataset, make_dataset
from nncore.data.source import parallel, tensor_over, zeroed
from nncore.errors import UsageError
from nncore.tensor import Tensor

CLASSES = tuple("0123456789")


def glyphs(train: int = 10_000, test: int = 2_000, seed: int = 0, difficulty: float = 0.5) -> Dataset:
    """Digits (N, 28, 28) u8, balanced and shuffled; a sample depends on (seed, split, N, index, difficulty) alone.

    At the default difficulty a linear classifier reaches about 90 % of the test set, 784-256-10 about 98 %. Raises
    UsageError for a count below 1, a negative seed, or a difficulty outside [0, 1].

    >>> glyphs(100, 10).train.shape
    (100, 28, 28)
    """
    if not (1 <= train <= 1 << 24 and 1 <= test <= 1 << 24):
        raise UsageError(f"glyphs: {train:,} + {test:,} images; each count must lie between 1 and {1 << 24:,}")
    if not 0 <= difficulty <= 1:
        raise UsageError(f"glyphs: difficulty {difficulty} must lie between 0 and 1")
    if not 0 <= seed < 1 << 64:
        raise UsageError(f"glyphs: seed {seed} must lie between 0 and 2^64 - 1")
    parts = {"train": _draw(train, seed, 0, difficulty), "test": _draw(test, seed, 1, difficulty)}
    source = f"the embedded glyphs, generated with seed {seed} and difficulty {difficulty}"
    return make_dataset("glyphs", parts, CLASSES, source, mirror_safe=False)


def _draw(n: int, seed: int, split: int, difficulty: float) -> tuple[Tensor, Tensor]:
    images = tensor_over((n, 28, 28), zeroed(n * 784, "glyphs"))
    labels = Tensor((n,), "u8")
    pixels, digits = ffi.cast("uint8_t *", images.pointer), ffi.cast("uint8_t *", labels.pointer)

    def part(begin: int, end: int) -> None:
        check(lib.nn_glyphs(pixels + begin * 784, digits + begin, seed, split, n, begin, end, difficulty), "glyphs")

    threads = min(thread_count(), 1 + n // 500)
    cuts = [n * i // threads for i in range(threads + 1)]
    parallel([lambda a=a, b=b: part(a, b) for a, b in zip(cuts[:-1], cuts[1:], strict=True)])
    return images, labels
