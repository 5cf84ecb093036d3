"""Augmentation in training: its place on the tape, its bits, what it leaves alone; losses that go with it."""

import random
import re
import warnings
from array import array

import pytest

import nncore as nn
from nncore._ffi import isa_levels
from nncore.data.augment import Augment
from nncore.graph.tape import Memory, Position
from nncore.tensor import Tensor
from nncore.train.augmentation import augmented
from nncore.train.checkpoint import load_checkpoint, save_checkpoint

GOLDEN = {
    "bent": "354ac2473c2e95d9c8b5d3d117dcf381c1789c306ab9479c00634b8bb213b582",
    "mixed": "1af431a1fe7a85b1d6058c2229ac2dd1bd0e64bf02989e67ba62a697dfb425a9",
    "cut": "ea975c46ce05701929a4820406012ca5f95d5a30fb223cd062f638a136110912",
}
LEVELS = [level for level, runs in isa_levels().items() if runs and level not in ("reference", "portable")]
KINDS = {
    "bent": ("shift=2,rotate=10,scale=0.1,shear=5,elastic=36:6,noise=0.02", nn.CrossEntropy(smoothing=0.1)),
    "mixed": ("flip,crop=2,erase=0.5,fill=noise,mixup=0.4", nn.CrossEntropy(weights=[1, 2, 1, 1, 0.5, 1, 1, 3, 1, 1])),
    "cut": ("one_pixel,erase=0.3,cutmix=1", nn.MSE()),
}


@pytest.fixture(scope="module")
def data():
    return nn.data.glyphs(train=530, test=10, seed=0).train


def trainer(kind, data, **options):
    """Ten epochs of five steps of batch 100 and a tail of 30."""
    text, loss = KINDS[kind]
    model = nn.Sequential([nn.Dense(48), nn.ReLU(), nn.Dropout(0.1), nn.Dense(10)], seed=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.trainer(data, **{"epochs": 10, "batch": 100, "optimizer": nn.Adam(3e-3), "loss": loss, "augment": text,
                                      **options})


# ---- bits -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", LEVELS)
def test_one_hash_on_every_level_and_thread_count(kind, level, data):
    for threads in (1, 3):
        t = trainer(kind, data, executor=nn.Executor(level, threads))
        t.run()
        assert t.model.weights_sha256 == GOLDEN[kind]


def test_the_portable_level(data):
    found = set()
    for level in ("portable", "best"):
        t = trainer("bent", data, steps=3, executor=nn.Executor(level, 2))
        t.run()
        found.add(t.model.weights_sha256)
    assert len(found) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [1, 5, 6, 33])
def test_interrupted_and_resumed(kind, step, data, tmp_path):
    """In an epoch's middle, before its tail, at its end: on another level and number of threads, the same bits."""
    first = trainer(kind, data, steps=step, executor=nn.Executor(LEVELS[0], 2))
    first.run()
    save_checkpoint(first, tmp_path / "checkpoint.safetensors")
    second = trainer(kind, data, executor=nn.Executor(LEVELS[-1], 3))
    load_checkpoint(second, tmp_path / "checkpoint.safetensors")
    assert second.position.step == step
    second.run()
    assert second.model.weights_sha256 == GOLDEN[kind]


def test_shards_mix_among_themselves(data):
    """With shards the partners are others, the bits as stable."""
    found = {(shards, threads): trainer("mixed", data, shards=shards, steps=4, executor=nn.Executor(None, threads))
             for shards in (1, 4) for threads in (1, 3)}
    for t in found.values():
        t.run()
    hashes = {k: t.model.weights_sha256 for k, t in found.items()}
    assert hashes[4, 1] == hashes[4, 3] != hashes[1, 1] == hashes[1, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_the_twin_sees_the_same_images(kind, data):
    """A further step in float64: the same draws, so a loss within the rounding of resampling and sums."""
    t = trainer(kind, data, epochs=1)
    t.run()
    twin = t.tape.twin()
    memory, losses = Memory(twin.layout), []
    for leaf, _ in t.model.layout.leaves.values():
        memory.copy_from(t.model.memory, leaf)
    for tape, m in ((t.tape, t.model.memory), (twin, memory)):
        t.executor.run([(tape, 1)], m, {0: data.images, 2: data.labels}, Position(epoch=3), n_samples=len(data), shuffle=True)
        losses.append(m.output(tape, "loss").tolist())
    assert losses[0] == pytest.approx(losses[1], rel=1e-3) and losses[0] != losses[1]


def test_doing_nothing_is_the_tape_without(data):
    plain = trainer("bent", data, augment=None, loss=nn.CrossEntropy())
    for nothing in ("none", Augment(), ""):
        assert trainer("bent", data, augment=nothing, loss=nn.CrossEntropy()).tape.sha256 == plain.tape.sha256


def test_a_shift_that_never_happens_changes_no_bit(data):
    """Gathered raw, copied and then standardised: the bits of the gather that standardises. For floats too, by feature."""
    samples = Tensor(data.images.shape, "f32", array("f", [v / 7 for v in data.images.tobytes()]))
    for x, mode in ((data.images, "global"), (samples, "feature")):
        found = set()
        for augment in (None, Augment(erase=1e-300)):
            model = nn.Sequential([nn.Dense(16), nn.ReLU(), nn.Dense(10)], seed=2, standardise=mode)
            model.fit((x, data.labels), epochs=2, batch=100, augment=augment)
            found.add(model.weights_sha256)
        assert len(found) == 1


# ---- where it acts ----------------------------------------------------------------------------------------------------


def ops_of(tape):
    return [i.op for i in tape.instructions]


def test_its_place_on_the_tape(data):
    t = trainer("bent", data)
    names = ops_of(t.tape)
    places = [names.index(op) for op in ("gather_u8", "warp", "noise", "standardise", "dense_fwd")]
    assert places == sorted(places)
    assert names.index("elastic_field") < names.index("warp")
    copying = ops_of(trainer("cut", data).tape)
    assert "elastic_field" not in copying and copying.count("mix_rows") == 1 and "mix_draw" not in copying


def test_only_training_is_augmented(data, tmp_path):
    """Not evaluation, prediction or validation: a model read from its file, which knows of no augmentation, gives the same."""
    t = trainer("mixed", data, validation=0.2, epochs=1)
    t.run()
    model = t.model
    assert {"warp", "erase", "mix_rows"} <= set(ops_of(t.tape))
    model.save(tmp_path / "model.safetensors")
    other = nn.load(tmp_path / "model.safetensors")
    assert other.evaluate(data) == model.evaluate(data) and other.logits(data) == model.logits(data)
    held_out = t.validation
    assert t.history[-1]["val_loss"] == other.evaluate(held_out, loss=t.settings.loss).loss


def test_accuracy_is_counted_against_the_samples_own_labels(data):
    """With mixed and smoothed labels too; a network that has learned gets well above chance."""
    t = trainer("mixed", data, loss=nn.CrossEntropy(smoothing=0.1), validation=0.1, epochs=30)
    t.run()
    assert all(0 <= r["accuracy"] <= 1 for r in t.history) and t.history[-1]["accuracy"] > 0.3
    assert t.history[-1]["val_accuracy"] > 0.5


@pytest.mark.parametrize("loss", [nn.MSE(), nn.SquaredError(), nn.BinaryCrossEntropy(), nn.Hinge(), nn.LogisticLoss(),
                                  nn.CrossEntropy("sum")])  # fmt: skip
def test_losses_that_take_mixed_labels(loss, data):
    trainer("mixed", data, loss=loss, epochs=1).run()


def test_float_targets_are_mixed_too(data):
    """A network that learns to give back its input: targets are mixed as the samples are."""
    x = Tensor((530, 4), "f32", array("f", [random.Random(4).random() for _ in range(530 * 4)]))
    model = nn.Sequential([nn.Dense(4)], seed=1)
    t = model.trainer((x, x), epochs=60, batch=53, optimizer=nn.Adam(0.03), augment="mixup=1")
    assert ops_of(t.tape).count("mix_rows") == 2
    t.run()
    assert t.history[-1]["loss"] < 1e-4  # an affine map can do it, mixed or not: were targets not mixed, it could not


def test_class_weights_pull(data):
    """A class that weighs nothing is never answered; others' weights at an evaluation do not stay behind."""
    model = nn.Sequential([nn.Dense(32), nn.ReLU(), nn.Dense(10)], seed=2)
    weights = [1.0] * 10
    weights[3] = 0.0

    class Meddler(nn.Callback):
        def on_epoch_end(self, trainer, record):
            model.evaluate(data, loss=nn.CrossEntropy(weights=[5.0] * 10))

    model.fit(data, epochs=8, batch=53, optimizer=nn.Adam(0.01), loss=nn.CrossEntropy(weights=weights), callbacks=[Meddler()])
    assert 3 not in model.predict(data).tolist()
    plain, five = model.evaluate(data), model.evaluate(data, loss=nn.CrossEntropy(weights=[5.0] * 10))
    assert five.loss == pytest.approx(5 * plain.loss, rel=1e-5) and five.accuracy == plain.accuracy
    seen = set(data.labels.tobytes())
    assert 3 in seen and model.evaluate(data, loss=nn.CrossEntropy(weights=weights)).loss < plain.loss


def test_distillation(data):
    """A student learns a teacher's outputs from their logits alone and then agrees with it."""
    teacher = nn.Sequential([nn.Dense(64), nn.ReLU(), nn.Dense(10)], seed=1)
    teacher.fit(data, epochs=10, batch=53, optimizer=nn.Adam(0.005))
    student = nn.Sequential([nn.Dense(16), nn.ReLU(), nn.Dense(10)], seed=2)
    student.fit((data.images, teacher.logits(data)), epochs=30, batch=53, optimizer=nn.Adam(0.005), loss=nn.Distillation(4),
                validation=data)
    same = [a == b for a, b in zip(teacher.predict(data).tolist(), student.predict(data).tolist(), strict=True)]
    assert sum(same) / len(same) > 0.9


# ---- what is wrong ----------------------------------------------------------------------------------------------------


def test_a_mirror_on_digits_is_doubted_once(data):
    model = nn.Sequential([nn.Dense(10)])
    with pytest.warns(UserWarning, match="a mirrored 2 is no 2") as caught:
        model.fit(data, epochs=1, batch=53, augment="flip")
    assert len(caught) == 1 and caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(data, epochs=1, batch=53, augment="default")
        model.fit((data.images, data.labels), epochs=1, batch=53, augment="flip")  # nobody said what they are


@pytest.mark.parametrize("augment, error, words", [
    ("shift=28", nn.UsageError, "out of sight"), ("crop=99", nn.UsageError, "out of sight"), (3, nn.UsageError, "got 3"),
    ("bend=2", nn.UsageError, "unknown 'bend=2'"),
])
def test_bad_use(augment, error, words, data):
    with pytest.raises(error, match=words):
        nn.Sequential([nn.Dense(10)]).fit(data, epochs=1, batch=53, augment=augment)


@pytest.mark.parametrize("text", ["shift=1", "elastic", "erase=0.5", "cutmix=1"])
def test_vectors_are_no_images(text):
    x = Tensor((20, 6), "f32", array("f", range(120)))
    labels = Tensor((20,), "u8", bytes(i % 2 for i in range(20)))
    with pytest.raises(nn.ShapeError, match=re.escape("needs images (H, W) or (H, W, C), the samples have shape (6,)")):
        nn.Sequential([nn.Dense(2)]).fit((x, labels), epochs=1, batch=10, augment=text)
    nn.Sequential([nn.Dense(2)]).fit((x, labels), epochs=1, batch=10, augment="noise=0.1,mixup=0.2")


def test_a_loss_of_labels_refuses_mixing(data):
    with pytest.raises(nn.UsageError, match="MultiHinge takes one label a sample"):
        trainer("mixed", data, loss=nn.MultiHinge())


# ---- looking at it ----------------------------------------------------------------------------------------------------


def test_looking_at_augmented_samples(data):
    """Raw units, the given order, the same for the same seed and epoch whatever n; nothing asked for is nothing done."""
    raw = augmented(data, Augment())
    assert raw.shape == (530, 28, 28, 1) and list(raw.flat()) == [float(v) for v in data.images.tobytes()]
    a = Augment.parse("affine,erase=0.5,noise=0.01")
    some, more = augmented(data, a, 20, seed=3), augmented(data, a, 100, seed=3)
    assert more.tobytes()[: some.nbytes] == some.tobytes()
    assert some != augmented(data, a, 20, seed=4) and some != augmented(data, a, 20, seed=3, epoch=1)
    shifted = augmented((data.images, data.labels), Augment(shift=2), 20)
    assert min(shifted.flat()) == 0 and max(shifted.flat()) <= 255


@pytest.mark.parametrize("n", [0, -1, 531, 2.0, True])
def test_looking_at_too_many(n, data):
    with pytest.raises(nn.UsageError, match="between 1 and the 530"):
        augmented(data, Augment(shift=1), n)
