"""A student learns from a network and from a committee."""

from __future__ import annotations

import pytest

import nncore as nn
from nncore.train.samples import Samples, samples
from tests.clouds import blobs, small

FIT = {"epochs": 3, "batch": 50}


@pytest.fixture(scope="module")
def teacher():
    model = small()
    model.fit(blobs(), epochs=8, batch=50, optimizer=nn.Adam(0.02))
    return model


def test_the_student_learns_without_labels(teacher):
    x, y = blobs()
    student = small(3)
    history = nn.distil(student, teacher, x, epochs=10, batch=50, optimizer=nn.Adam(0.02), validation=(x, y))
    assert student.evaluate((x, y)).accuracy > 0.95 and "accuracy" not in history[-1]
    assert history[-1]["val_accuracy"] > 0.95


def test_it_is_a_fit_to_the_softened_outputs(teacher):
    x, _ = blobs()
    student, own = small(3), small(3)
    nn.distil(student, teacher, x, temperature=2.0, **FIT)
    own.fit(Samples(x, targets=teacher.logits(x)), loss=nn.Distillation(2.0), **FIT)
    assert student.weights_sha256 == own.weights_sha256


def test_a_committee_teaches_its_mean(teacher):
    x, _ = blobs()
    committee = nn.Committee([teacher, small(1).build((6,))])
    student, own = small(3), small(3)
    nn.distil(student, committee, x, **FIT)
    own.fit(Samples(x, targets=committee.predict(x, proba=True)), loss=nn.CrossEntropy(), **FIT)
    assert student.weights_sha256 == own.weights_sha256


def test_rows_are_taken_along(teacher):
    x, _ = blobs()
    rows = [7, 7, 250, *range(100)]
    a, b = small(3), small(3)
    nn.distil(a, teacher, samples(x).select(rows), **FIT)
    picked = nn.Tensor((103, 6), "f32", b"".join(x.memory[24 * r : 24 * r + 24] for r in rows))
    nn.distil(b, teacher, picked, **FIT)
    assert a.weights_sha256 == b.weights_sha256


def test_bad_students(teacher):
    with pytest.raises(nn.ShapeError, match="student has 4 outputs, the teacher 3"):
        nn.distil(nn.Sequential([nn.Dense(4)]), teacher, blobs()[0])
    with pytest.raises(nn.UsageError, match="temperature"):
        nn.distil(small(), teacher, blobs()[0], temperature=0)
