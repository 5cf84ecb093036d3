"""Splits by the counter RNG, so that no thread or library version changes them, and standardisation statistics."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import compress

from nncore._ffi import check, ffi, lib
from nncore.errors import DataError, UsageError
from nncore.tensor import Tensor


def permutation(n: int, seed: int) -> array:
    """0 to n - 1 in the order of the stream SPLIT of `seed`: a keyed bijection, other than the training shuffle's."""
    return array("q", _order(n, seed, n))


def _order(n: int, seed: int, count: int) -> Iterator[int]:
    """The first `count` of `permutation`."""
    words = ffi.new("uint32_t[4]")
    lib.nn_philox(words, seed, lib.NN_STREAM_SPLIT, 0, 0)
    key = words[0] | words[1] << 32
    return (lib.nn_shuffle(key, 0, n, i) for i in range(count))


def holdout(n: int, share: float | int, seed: int = 0,
            labels: Sequence[int] | Tensor | None = None) -> tuple[array, array]:
    """(training rows, validation rows) of n samples, both ascending, i64.

    share: a fraction in (0, 1), or a number of samples. With `labels` every class gives its share (largest remainders).
    Raises UsageError if either side would be empty.

    >>> [len(rows) for rows in holdout(100, 0.1)]
    [90, 10]
    """
    count = share if isinstance(share, int) else int(n * share + 0.5)
    if not 0 < count < n:
        raise UsageError(f"validation split of {share} from {n:,} samples: both sides must keep at least one")
    is_held = bytearray(n)
    chosen = _order(n, seed, count) if labels is None else _stratified(permutation(n, seed), _as_sequence(labels, n), count)
    for i in chosen:
        is_held[i] = 1
    return tuple(array("q", compress(range(n), which)) for which in (is_held.translate(b"\1\0" + bytes(254)), is_held))


def folds(n: int, k: int, seed: int = 0, labels: Sequence[int] | Tensor | None = None) -> list[array]:
    """k disjoint parts of 0 to n - 1, each ascending, sizes differing by at most one; with `labels` so does the number of
    samples of each class.

    Raises UsageError unless 2 <= k <= n.
    """
    if isinstance(k, bool) or not isinstance(k, int) or not 2 <= k <= n:
        raise UsageError(f"{k} folds of {n:,} samples: between 2 and {n:,} are possible")
    order = permutation(n, seed)
    if labels is not None:
        of = _as_sequence(labels, n)
        dealt = sorted(order, key=lambda i: of[i])  # class by class, each in the order of the permutation
        return [array("q", sorted(dealt[i::k])) for i in range(k)]
    return [array("q", sorted(order[n * i // k : n * (i + 1) // k])) for i in range(k)]


def bootstrap(n: int, seed: int = 0, count: int | None = None) -> array:
    """`count` (default n) draws with replacement from 0 to n - 1, i64: draw i is floor(u n / 2^64), u 64 bits of the Philox
    stream SPLIT of `seed`. About n (1 - 1/e) of n draws are different. Efron 1979.

    Raises UsageError if there is nothing to draw.

    >>> len(set(bootstrap(10000)))
    6323
    """
    count = n if count is None else count
    if n < 1 or count < 1:
        raise UsageError(f"{count} draws from {n} samples: both must be at least one")
    words = ffi.new("uint32_t[4]")
    drawn = array("q")
    for block in range(-(-count // 2)):
        lib.nn_philox(words, seed, lib.NN_STREAM_SPLIT, 1, block)  # index 0 is the permutation's
        drawn.extend((words[i] | words[i + 1] << 32) * n >> 64 for i in (0, 2))
    return drawn[:count]


def _as_sequence(labels, n: int) -> Sequence[int]:
    found = labels.view() if isinstance(labels, Tensor) else labels
    if len(found) != n:
        raise UsageError(f"stratified split: {len(found):,} labels for {n:,} samples")
    return found


def _stratified(order: array, labels: Sequence[int], count: int) -> set[int]:
    members: dict[int, list[int]] = {}
    for i in order:
        members.setdefault(labels[i], []).append(i)
    n = len(order)
    quota = {c: len(rows) * count // n for c, rows in members.items()}
    by_remainder = sorted(members, key=lambda c: (-(len(members[c]) * count % n), c))
    for c in by_remainder[: count - sum(quota.values())]:
        quota[c] += 1
    return {i for c, rows in members.items() for i in rows[: quota[c]]}


def standardisation(images, rows: Sequence[int] | Tensor | None = None,
                    per: str = "global") -> tuple[list[float], list[float]]:
    """(mean, scale) so that x' = (x - mean) scale has mean 0 and variance 1: scale = 1 / deviation, 1 where that is 0.

    images (N, ...) u8 or f32; rows the samples that count (the training rows), default all; per "global" gives lists of
    one, "feature" lists of one per pixel. Exact integer sums for bytes, two passes in float64 for floats. Raises
    UsageError for another `per`, DataError for a row outside the data.

    >>> standardisation(memoryview(bytes([0, 2])).cast("B", (2, 1)))
    ([1.0], [1.0])
    """
    data = Tensor.from_any(images)
    if per not in ("global", "feature"):
        raise UsageError(f"standardisation per {per!r}: choose global or feature")
    if data.dtype not in ("u8", "f32"):
        raise DataError(f"standardisation of {data.dtype}: only unsigned bytes and 32-bit floats are data")
    n = len(data)
    features = data.nbytes // (1 if data.dtype == "u8" else 4) // max(n, 1)
    width = features if per == "feature" else 1
    mean, scale = ffi.new("double[]", width), ffi.new("double[]", width)
    chosen = n if rows is None else len(rows)
    listed = rows if rows is None or isinstance(rows, Tensor) else Tensor((chosen,), "i64", array("q", rows))
    if listed is not None and listed.dtype != "i64":
        raise DataError(f"standardisation: rows are {listed.dtype}; expected i64")
    index = ffi.NULL if listed is None else ffi.cast("const int64_t *", listed.pointer)
    if data.dtype == "u8":
        sums = ffi.new("uint64_t[]", 2 * width)
        pointer = ffi.cast("const uint8_t *", data.pointer)
        status = lib.nn_moments_u8(mean, scale, sums, pointer, n, features, index, chosen, per == "feature")
    else:
        pointer = ffi.cast("const float *", data.pointer)
        status = lib.nn_moments_f32(mean, scale, pointer, n, features, index, chosen, per == "feature")
    if status == lib.NN_ERR_ARGUMENT:
        raise DataError(f"standardisation of {chosen:,} rows of {data.shape}: there is nothing to average")
    check(status, f"standardisation of rows of {data.shape}")
    return list(mean), list(scale)
