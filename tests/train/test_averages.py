"""Clipped gradients and averaged weights, through fit: what they do, that the training does not notice, resume to the bit."""

from __future__ import annotations

from array import array

import pytest

import nncore as nn
from nncore.graph import ops
from nncore.nn.base import LAYERS, Layer
from nncore.train.checkpoint import load_checkpoint, save_checkpoint
from tests.clouds import blobs, small


def floats(model, name="0.weight"):
    return list(model.parameter(name).flat())


class Recorder(nn.Callback):
    """Copies of a parameter after each epoch (of one step, where the batch is the whole set)."""

    def __init__(self, name="0.weight"):
        self.name, self.seen = name, []

    def on_epoch_end(self, trainer, record):
        self.seen.append(floats(trainer.model, self.name))


@pytest.fixture
def layers_as_they_were():
    before = dict(LAYERS)
    yield
    LAYERS.clear()
    LAYERS.update(before)


# ---- clipping --------------------------------------------------------------------------------------------------------


def step(clip, rate=1.0):
    """What one step of gradient descent changes, over all parameters."""
    model = small()
    model.build((6,))
    before = {name: floats(model, name) for name in model.parameters}
    model.fit(blobs(), epochs=1, batch=300, optimizer=nn.SGD(rate), clip=clip)
    return [a - b for name in model.parameters for a, b in zip(floats(model, name), before[name], strict=True)]


def norm(values):
    return sum(v * v for v in values) ** 0.5


def test_the_norm_is_held_and_the_direction_kept():
    free = step(None)
    assert norm(free) > 0.2
    clipped = step(nn.ClipNorm(0.1))
    assert norm(clipped) == pytest.approx(0.1, rel=1e-4)
    factor = 0.1 / norm(free)
    assert clipped == pytest.approx([factor * v for v in free], abs=2e-7)


def test_a_norm_below_the_bound_changes_no_bit():
    assert step(nn.ClipNorm(1e6)) == step(None)
    assert step(nn.ClipValue(1e6)) == step(None)


def test_each_element_is_held():
    free, clipped = step(None), step(nn.ClipValue(0.01))
    assert max(map(abs, free)) > 0.02 and max(map(abs, clipped)) <= 0.01 * (1 + 1e-5)
    for a, b in zip(free, clipped, strict=True):
        assert b == a if abs(a) < 0.009 else abs(b) > 0.0089


def test_clipping_survives_a_rate_that_breaks_gradient_descent():
    data = nn.data.glyphs(300, 10).train
    x, y = data.images, data.labels
    targets = array("f", [1000.0 * v for v in y.tobytes()])

    def run(clip):
        model = nn.Sequential([nn.Dense(16), nn.LeakyReLU(slope=0.5), nn.Dense(1)])
        return model.fit((x, targets), epochs=4, batch=50, optimizer=nn.SGD(0.1), loss=nn.MSE(), clip=clip)

    with pytest.raises(nn.NonFiniteError):
        run(None)
    history = run(nn.ClipNorm(100.0))
    assert history[-1]["loss"] < history[0]["loss"]


@pytest.mark.parametrize("clip", [0.5, "norm", nn.ClipNorm])
def test_a_wrong_clip_is_refused(clip):
    with pytest.raises(nn.UsageError, match="clip is ClipNorm"):
        small().fit(blobs(), clip=clip)


@pytest.mark.parametrize("make", [nn.ClipNorm, nn.ClipValue])
@pytest.mark.parametrize("bound", [0, -1.0, float("nan"), float("inf"), "1"])
def test_a_wrong_bound_is_refused(make, bound):
    with pytest.raises(nn.UsageError, match="finite number above 0"):
        make(bound)


# ---- averages --------------------------------------------------------------------------------------------------------


def history_of(average, epochs=6, batch=300, **options):
    """Weights after each step of one step an epoch, and those that the model ends with."""
    recorder, model = Recorder(), small()
    model.build((6,))
    first = floats(model)
    options = {"optimizer": nn.SGD(0.5), "average": average, **options}
    model.fit(blobs(), epochs=epochs, batch=batch, callbacks=[recorder], **options)
    return [first, *recorder.seen], floats(model)


def test_ema_is_the_formula():
    warm = nn.EMA(0.999, warmup=True), lambda t: min(0.999, (1 + t) / (10 + t))
    for average, decay in ((nn.EMA(0.75), lambda t: 0.75), warm):
        weights, end = history_of(average)
        e = weights[0]
        for t, w in enumerate(weights[1:]):
            e = [a + (1 - decay(t)) * (b - a) for a, b in zip(e, w, strict=True)]
        assert end == pytest.approx(e, rel=1e-5, abs=1e-7)
        assert end != weights[-1]


@pytest.mark.parametrize(("average", "taken"), [(nn.SWA(0.5), [3, 4, 5, 6]), (nn.SWA(2), [2, 3, 4, 5, 6]),
                                                (nn.SWA(3, every=2), [4, 6]), (nn.SWA(0), [1, 2, 3, 4, 5, 6])])
def test_swa_is_the_mean_of_the_weights_from_its_start(average, taken):
    weights, end = history_of(average)
    mean = [sum(column) / len(taken) for column in zip(*(weights[k] for k in taken), strict=True)]
    assert end == pytest.approx(mean, rel=1e-5, abs=1e-7)


def test_before_its_start_swa_is_the_weights():
    weights, end = history_of(nn.SWA(5), epochs=4)
    assert end == weights[-1]


@pytest.mark.parametrize("average", [nn.EMA(0.9), nn.SWA(0.25)], ids=repr)
def test_the_training_does_not_notice(average):
    """Weights after each epoch, losses and a validation in between: the same bits with and without an average."""
    plain, _ = history_of(None, batch=50, validation=0.2)
    averaged, end = history_of(average, batch=50, validation=0.2)
    assert averaged == plain and end != plain[-1]


def test_validation_sees_the_average():
    model = small()
    history = model.fit(blobs(), epochs=3, batch=50, optimizer=nn.SGD(0.3), average=nn.EMA(0.9), validation=blobs(90, 1))
    found = model.evaluate(blobs(90, 1))
    assert (history[-1]["val_loss"], history[-1]["val_accuracy"]) == (found.loss, found.accuracy)


def test_early_stopping_restores_the_best_average():
    seen = []

    class Watch(nn.Callback):
        def on_epoch_end(self, trainer, record):
            with trainer.seen(averages=True):
                seen.append((record["val_loss"], trainer.model.weights_sha256))

    model = small()
    model.fit(blobs(), epochs=30, batch=50, optimizer=nn.SGD(2.0), average=nn.EMA(0.5), validation=0.3,
              callbacks=[Watch(), nn.EarlyStopping(patience=2)])
    assert model.weights_sha256 == min(seen)[1]


@pytest.mark.parametrize("average", [nn.EMA(0.9), nn.SWA(0.25)], ids=repr)
@pytest.mark.parametrize("steps", [1, 6, 13])
def test_resumed_to_the_bit(average, steps, tmp_path):
    """The checkpoint is written when the averages are in place already."""

    def trainer(**options):
        return small().trainer(blobs(), epochs=3, batch=50, optimizer=nn.Adam(0.01), average=average, **options)

    whole = trainer()
    whole.run()
    first = trainer(steps=steps)
    first.run()
    save_checkpoint(first, tmp_path / "c.safetensors")
    second = trainer()
    load_checkpoint(second, tmp_path / "c.safetensors")
    second.run()
    assert second.model.weights_sha256 == whole.model.weights_sha256
    with whole.seen(averages=False), second.seen(averages=False):
        assert second.model.weights_sha256 == whole.model.weights_sha256


def test_a_trainer_may_go_on():
    """run() after a step limit starts from the weights of the training, not from their average."""
    t = small().trainer(blobs(), epochs=2, batch=50, average=nn.EMA(0.9), steps=5)
    t.run()
    t.settings.steps = None
    t.run()
    whole = small()
    whole.fit(blobs(), epochs=2, batch=50, average=nn.EMA(0.9))
    assert t.model.weights_sha256 == whole.weights_sha256


def test_a_second_fit_starts_an_optimizer_without_a_past():
    """Momentum, step count and averages of the first fit are gone: a schedule begins anew."""
    options = {"epochs": 1, "batch": 50, "optimizer": nn.Momentum(nn.OneCycle(0.1)), "average": nn.EMA(0.5)}
    twice = small()
    twice.fit(blobs(), **options)
    twice.fit(blobs(), **options)
    once = small()
    once.fit(blobs(), **options)
    fresh = once.copy()
    fresh.fit(blobs(), **options)
    assert fresh.weights_sha256 == twice.weights_sha256


@pytest.mark.parametrize("average", [0.99, nn.EMA, "swa"])
def test_a_wrong_average_is_refused(average):
    with pytest.raises(nn.UsageError, match="average is EMA"):
        small().fit(blobs(), average=average)


@pytest.mark.parametrize("make", [lambda: nn.EMA(1.0), lambda: nn.EMA(-0.1), lambda: nn.SWA(1.5), lambda: nn.SWA(-3),
                                  lambda: nn.SWA(True), lambda: nn.SWA(0.5, every=0)])
def test_wrong_arguments_are_refused(make):
    with pytest.raises(nn.UsageError, match=r"EMA|SWA"):
        make()


# ---- running statistics ----------------------------------------------------------------------------------------------


@pytest.fixture
def centred(layers_as_they_were):
    """A network with a layer that subtracts the batch's mean, and at prediction a running mean."""

    class Centre(Layer):
        def __init__(self, momentum: float = 0.1):
            self.momentum = momentum

        def build(self, builder, *inputs):
            x, mean = inputs[0], builder.state("mean", inputs[0].shape[1:])
            if builder.training:
                batch = ops.scale(ops.sum_rows(x), c=1 / x.shape[0])
                kept = ops.scale(mean, c=1 - self.momentum)
                builder.updates.append(ops.assign(mean, ops.add_scaled(kept, batch, c=self.momentum)))
            return x

    return lambda: nn.Sequential([nn.Dense(4), Centre(), nn.ReLU(), nn.Dense(3)])


def mean_potentials(model, x):
    """The mean over the samples of what the first layer gives."""
    w, b, rows = model.parameter("0.weight").tolist(), model.parameter("0.bias").tolist(), x.tolist()
    return [sum(sum(r * w[i][j] for i, r in enumerate(row)) + b[j] for row in rows) / len(rows) for j in range(4)]


def test_statistics_are_measured_anew(centred):
    model, (x, y) = centred(), blobs()
    model.fit((x, y), epochs=1, batch=50)
    found = model.kept_states[0]
    nn.update_statistics(model, (x, y), batch=50)
    assert list(model.memory.tensor(found).flat()) == pytest.approx(mean_potentials(model, x), abs=1e-5)
    assert model.layers[1].momentum == 0.1
    model.memory.tensor(found).flat()[0] = 77.0
    nn.update_statistics(model, x, batch=1000)  # fewer samples than a batch: one batch of all
    assert list(model.memory.tensor(found).flat()) == pytest.approx(mean_potentials(model, x), abs=1e-5)


def test_swa_measures_and_ema_averages_them(centred):
    x, y = blobs()
    model = centred()
    model.fit((x, y), epochs=4, batch=50, optimizer=nn.SGD(0.5), average=nn.SWA(0.5))
    assert list(model.memory.tensor(model.kept_states[0]).flat()) == pytest.approx(mean_potentials(model, x), abs=1e-5)
    recorder = []

    class Watch(nn.Callback):
        def on_epoch_end(self, trainer, record):
            recorder.append(list(trainer.model.memory.tensor(trainer.model.kept_states[0]).flat()))

    model = centred()
    model.fit((x, y), epochs=5, batch=300, optimizer=nn.SGD(0.5), average=nn.EMA(0.75), callbacks=[Watch()])
    e = [0.0] * 4
    for s in recorder:
        e = [a + 0.25 * (b - a) for a, b in zip(e, s, strict=True)]
    assert list(model.memory.tensor(model.kept_states[0]).flat()) == pytest.approx(e, rel=1e-5)


def test_swa_with_validation_keeps_the_statistics_of_the_training(centred):
    def run(average):
        model, seen = centred(), []

        class Watch(nn.Callback):
            def on_epoch_end(self, trainer, record):
                seen.append(list(trainer.model.memory.tensor(trainer.model.kept_states[0]).flat()))

        model.fit(blobs(), epochs=4, batch=50, average=average, validation=0.2, callbacks=[Watch()])
        return seen

    assert run(None) == run(nn.SWA(0.25))


def test_a_network_without_statistics_stays_as_it_is():
    model = small()
    model.fit(blobs(), epochs=1, batch=50)
    before = model.weights_sha256
    nn.update_statistics(model, blobs())
    assert model.weights_sha256 == before


def test_a_program_in_c_has_no_averages(tmp_path):
    from nncore.train.export import export_program

    data = nn.data.glyphs(100, 10).train
    with pytest.raises(nn.UsageError, match="average"):
        export_program(small().trainer(data, batch=50, average=nn.EMA()), tmp_path / "p")


# ---- the bit contract ------------------------------------------------------------------------------------------------


def test_one_hash_on_every_level_and_thread_count():
    """Clipped and averaged, frozen in part: weights and averages are the same bits everywhere."""
    from nncore._ffi import isa_levels

    data = nn.data.glyphs(600, 10).train
    found = set()
    for level in (name for name, runs in isa_levels().items() if runs and name not in ("reference", "portable")):
        for threads in (1, 3):
            model = nn.Sequential([nn.Dense(64), nn.Tanh(), nn.Dense(48), nn.ReLU(), nn.Dense(10)], seed=1).freeze("2.bias")
            t = model.trainer(data, epochs=3, batch=64, optimizer=nn.Momentum(nn.CosineRestarts(0.2, cycles=2)),
                              clip=nn.ClipNorm(0.5), average=nn.EMA(0.9, warmup=True), executor=nn.Executor(level, threads))
            t.run()
            averaged = model.weights_sha256
            with t.seen(averages=False):
                found.add((averaged, model.weights_sha256))
    assert len(found) == 1
