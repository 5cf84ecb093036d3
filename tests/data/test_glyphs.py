"""Glyphs: the same bytes everywhere, balanced, range by range what the whole is, as hard as promised."""

from __future__ import annotations

import hashlib

import pytest

from nncore._ffi import ffi, lib
from nncore.data import glyphs
from nncore.errors import UsageError

PINNED = "d83f0a2eb6e210a96bda210aa1659863613119fe2465f2d2c607a8cd9ad214cf"


def draw(n, begin, end, seed=0, split=0, difficulty=0.5):
    images, labels = ffi.new("uint8_t[]", max((end - begin) * 784, 1)), ffi.new("uint8_t[]", max(end - begin, 1))
    status = lib.nn_glyphs(images, labels, seed, split, n, begin, end, difficulty)
    return status, bytes(ffi.buffer(images)), bytes(ffi.buffer(labels))


def test_bytes_are_pinned():
    data = glyphs()
    digest = hashlib.sha256()
    for split in (data.train, data.test):
        digest.update(split.images.tobytes() + split.labels.tobytes())
    assert digest.hexdigest() == PINNED


def test_shape_balance_and_source():
    data = glyphs(1003, 100, seed=7)
    assert (data.train.shape, data.test.shape) == ((1003, 28, 28), (100, 28, 28))
    counts = [data.train.labels.tobytes().count(d) for d in range(10)]
    assert sum(counts) == 1003 and max(counts) - min(counts) == 1
    assert [data.test.labels.tobytes().count(d) for d in range(10)] == [10] * 10
    assert data.train.labels.tobytes()[:40] != bytes(range(10)) * 4, "shuffled"
    assert data.source == "the embedded glyphs, generated with seed 7 and difficulty 0.5"


def test_ranges_make_the_whole():
    _, images, labels = draw(50, 0, 50)
    for begin, end in ((0, 1), (7, 23), (49, 50)):
        _, part, names = draw(50, begin, end)
        assert part == images[begin * 784 : end * 784] and names == labels[begin:end]


def test_seeds_and_splits_differ_and_no_image_repeats():
    _, a, _ = draw(200, 0, 200)
    _, b, _ = draw(200, 0, 200, split=1)
    _, c, _ = draw(200, 0, 200, seed=1)
    pictures = [x[i * 784 : (i + 1) * 784] for x in (a, b, c) for i in range(200)]
    assert len(set(pictures)) == 600


@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
def test_every_picture_has_ink_and_paper(difficulty):
    status, images, _ = draw(300, 0, 300, difficulty=difficulty)
    assert status == lib.NN_OK
    for i in range(300):
        picture = images[i * 784 : (i + 1) * 784]
        assert sum(v > 80 for v in picture) >= 10 and sum(v < 64 for v in picture) > 300


def test_bad_arguments():
    for arguments in ((10, -1, 5), (10, 6, 5), (10, 0, 11), (2**32 + 1, 0, 1)):
        assert draw(*arguments)[0] == lib.NN_ERR_ARGUMENT
    for difficulty in (-0.1, 1.1, float("nan")):
        assert draw(10, 0, 10, difficulty=difficulty)[0] == lib.NN_ERR_ARGUMENT
    for options in ({"train": 0}, {"test": -1}, {"train": 1 << 40}, {"difficulty": float("nan")}, {"difficulty": 2},
                    {"seed": -1}, {"seed": 1 << 64}):
        with pytest.raises(UsageError):
            glyphs(**options)


@pytest.mark.slow
def test_hard_for_a_linear_classifier_easy_for_a_network():
    import nncore as nn

    data = nn.data.load("glyphs")
    scores = {}
    for name, layers in (("linear", [nn.Dense(10)]), ("mlp", [nn.Dense(256), nn.ReLU(), nn.Dense(10)])):
        model = nn.Sequential(layers, seed=0)
        model.fit(data.train, epochs=12, batch=64, optimizer=nn.Adam(nn.OneCycle(3e-3)))
        scores[name] = model.evaluate(data.test).accuracy
    assert scores["linear"] < 0.93 and scores["mlp"] > 0.97, scores
