"""Models as users meet them: fit, stop, break, save, load; arrays from anywhere."""

import json
import random
import threading
import time
from array import array

import pytest

import nncore as nn
from nncore.tensor import Tensor
from tests.clouds import blobs, small


@pytest.fixture(scope="module")
def trained():
    model = small()
    model.fit(blobs(), epochs=8, batch=32, optimizer=nn.Adam(0.02))
    return model


# ---- fitting -----------------------------------------------------------------------------------------------------


def test_fit_learns_and_tells(trained):
    model = small()
    history = model.fit(blobs(), epochs=8, batch=32, optimizer=nn.Adam(0.02), validation=0.2)
    assert [r["epoch"] for r in history] == list(range(1, 9)) and history.stopped is None
    assert set(history[-1]) == {"epoch", "step", "loss", "accuracy", "images_per_s", "val_loss", "val_accuracy"}
    assert history[-1]["loss"] < history[0]["loss"] and history[-1]["val_accuracy"] > 0.95
    found = model.evaluate(blobs(90, seed=0))
    assert found.accuracy > 0.95 and found.n == 90 and "accuracy" in str(found)


def test_predictions_are_classes_or_probabilities(trained):
    x, y = blobs()
    classes, proba = trained.predict(x), trained.predict(x, proba=True)
    assert (classes.shape, classes.dtype, proba.shape) == ((300,), "i32", (300, 3))
    for c, row in zip(classes.tolist(), proba.tolist(), strict=True):
        assert row.index(max(row)) == c and sum(row) == pytest.approx(1, abs=3 * 2**-24)
    assert sum(a == b for a, b in zip(classes.tolist(), y.tolist(), strict=True)) / 300 == trained.evaluate((x, y)).accuracy


def test_a_row_does_not_depend_on_the_batch_around_it(trained):
    """numerics.md R14, across the two tapes of a prediction too."""
    x, _ = blobs(1234)
    whole = trained.logits(x).tolist()
    view = memoryview(x.tobytes())
    for i in (0, 999, 1000, 1233):
        assert trained.logits(Tensor((1, 6), "f32", view[i * 24 : i * 24 + 24])).tolist() == [whole[i]]


def test_online_and_batch_descent_are_batch_sizes(trained):
    for batch, steps in ((1, 300), (300, 1), (299, 2)):
        model = small()
        assert model.fit(blobs(), epochs=1, batch=batch, optimizer=nn.SGD(0.01))[-1]["step"] == steps


def test_the_sum_reduction_differs_by_the_batch_size_alone():
    """Rate r with the mean is rate r / batch with the sum; both exact powers of two here, so bit for bit."""
    found = []
    for reduction, rate in (("mean", 0.5), ("sum", 0.5 / 32)):
        model = small()
        history = model.fit(blobs(288), epochs=2, batch=32, optimizer=nn.SGD(rate), loss=nn.CrossEntropy(reduction=reduction))
        found.append((model.weights_sha256, history[-1]["loss"]))
    assert found[0] == found[1]


def test_the_functional_form_is_the_same_network():
    x = nn.Input((6,))
    branch = nn.Model(x, nn.Dense(3)(nn.ReLU()(nn.Dense(8)(x))))
    listed = small()
    for model in (branch, listed):
        model.fit(blobs(), epochs=1, batch=32)
    assert branch.weights_sha256 == listed.weights_sha256


def test_a_layer_used_twice_shares_its_parameters():
    shared = nn.Dense(6)
    model = nn.Sequential([shared, nn.Tanh(), shared, nn.Dense(3)])
    history = model.fit(blobs(), epochs=5, batch=32, optimizer=nn.Adam(0.02))
    assert sorted(model.parameters) == ["0.bias", "0.weight", "2.bias", "2.weight"]
    assert history[-1]["loss"] < history[0]["loss"]


@pytest.mark.parametrize("loss", [nn.SquaredError(), nn.MSE(), nn.AbsoluteError(), nn.Huber(), nn.BinaryCrossEntropy(),
                                  nn.LogisticLoss(), nn.Hinge(), nn.MultiHinge(), nn.CrossEntropy()],
                         ids=lambda x: type(x).__name__)
def test_every_loss_separates_the_clouds(loss):
    model = small()
    model.fit(blobs(), epochs=12, batch=32, optimizer=nn.Adam(0.02), loss=loss)
    assert model.evaluate(blobs(), loss=loss).accuracy > 0.95


@pytest.mark.parametrize("optimizer", [nn.SGD(0.1), nn.Momentum(0.02), nn.Nesterov(0.02), nn.AdaGrad(0.1), nn.RMSProp(0.01),
                                       nn.AdaDelta(3.0), nn.Adam(0.02), nn.AdamW(0.02), nn.SGD(0.1, decay=1e-4)],
                         ids=lambda x: type(x).__name__)
def test_every_optimizer_separates_the_clouds(optimizer):
    model = small()
    model.fit(blobs(), epochs=15, batch=32, optimizer=optimizer)
    assert model.evaluate(blobs()).accuracy > 0.95


def test_penalties_shrink_the_weights():
    def size(penalty):
        model = small()
        model.fit(blobs(), epochs=5, batch=32, optimizer=nn.SGD(0.1), penalty=penalty)
        return sum(abs(v) for row in model.parameter("0.weight").tolist() for v in row)

    free = size(None)
    assert size(nn.L2(0.1)) < free and size(nn.L1(0.02)) < free


# ---- stopping ----------------------------------------------------------------------------------------------------


def test_early_stopping_restores_the_best_weights():
    seen = []

    class Spoil(nn.Callback):
        """From epoch 4 on the weights are made useless, so that epoch 3 stays the best."""

        def on_epoch_end(self, trainer, record):
            seen.append(trainer.model.weights_sha256)
            if record["epoch"] >= 3:
                trainer.model.assign("2.weight", [0.0] * 24)
                trainer.model.assign("0.weight", [0.0] * 48)

    model = small()
    stopping = nn.EarlyStopping("val_loss", patience=2)
    history = model.fit(blobs(), epochs=20, batch=32, optimizer=nn.Adam(0.02), validation=0.2, callbacks=[stopping, Spoil()])
    assert len(history) == 5 and "val_loss no better" in history.stopped
    assert model.weights_sha256 == seen[2]


def test_early_stopping_by_the_gradient_norm():
    model = nn.Sequential([nn.Dense(1)])
    x, y = Tensor((3, 1), "f32", array("f", [0, 1, 2])), Tensor((3, 1), "f32", array("f", [1, 3, 5]))
    history = model.fit((x, y), epochs=5000, batch=3, optimizer=nn.SGD(0.2), loss=nn.MSE(),
                        callbacks=[nn.EarlyStopping("gradient", patience=2, bound=1e-3)])
    assert len(history) < 5000 and "gradient norm below" in history.stopped
    assert history[-1]["gradient_norm"] < 1e-3 < history[0]["gradient_norm"]


def test_watching_what_is_not_measured_is_refused():
    with pytest.raises(nn.UsageError, match="val_loss is not measured; fit with validation"):
        small().fit(blobs(), epochs=2, batch=32, callbacks=[nn.EarlyStopping()])


def test_ctrl_c_stops_within_a_second_and_keeps_what_was_learned():
    import _thread

    model = small()
    trainer = model.trainer(blobs(3000), epochs=100_000, batch=8)
    timer = threading.Timer(0.7, _thread.interrupt_main)
    timer.start()
    started = time.monotonic()
    history = trainer.run()
    # Not a speed test: the promise is a second after the interrupt, on a machine that may be busy.
    assert time.monotonic() - started < 0.7 + 5
    assert history.stopped == "interrupted" and trainer.position.step > 0
    assert model.evaluate(blobs()).accuracy > 0.5


def test_a_loss_that_becomes_nan_names_layer_op_and_step_and_keeps_the_last_good_weights():
    model = small()
    trainer = model.trainer(blobs(), epochs=50, batch=32, optimizer=nn.SGD(nn.Piecewise([25], [0.05, 1e30])))
    with pytest.raises(nn.NonFiniteError, match=r"step 2\d, layer \d Dense, op dense_fwd.*NaN or infinite") as caught:
        trainer.run()
    assert "last good ones" in str(caught.value) and len(trainer.history) == 2
    assert model.evaluate(blobs()).accuracy > 0.5


def test_nan_in_the_data_is_refused_before_training():
    x, y = blobs()
    values = memoryview(bytearray(x.tobytes())).cast("f")
    values[17] = float("nan")
    with pytest.raises(nn.DataError, match="sample 2, element 17: NaN"):
        small().fit((Tensor((300, 6), "f32", values), y))


@pytest.mark.parametrize(("options", "message"), [
    ({"batch": 301}, "batch 301 is larger than the 300 training samples"), ({"batch": 0}, "batch must be a positive"),
    ({"epochs": -1}, "epochs must be a positive"), ({"validation": 1.5}, "validation is a share"),
    ({"shards": 3}, "shards 3 must divide the batch 128"), ({"steps": 0}, "steps must be a positive"),
])
def test_sizes_that_make_no_sense_are_refused(options, message):
    with pytest.raises(nn.UsageError, match=message):
        small().fit(blobs(), **options)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: nn.Dense(0), "units must be a positive whole number, got 0"), (lambda: nn.Dense(-3), "got -3"),
    (lambda: nn.Dense(2.5), "got 2.5"), (lambda: nn.Dense(3, init="glorot"), "unknown initialiser 'glorot'"),
    (lambda: nn.Dropout(1.0), "0 <= p < 1"), (lambda: nn.Adam(float("nan")), "rate must be a finite number"),
    (lambda: nn.SGD(-0.1), "rate must be"), (lambda: nn.Adam(beta1=1.0), r"beta1 must lie in \[0, 1\)"),
    (lambda: nn.Sigmoid(slope=1), "unknown argument slope"), (lambda: nn.Sequential([]), "at least one layer"),
    (lambda: nn.EarlyStopping("loss_"), "unknown monitor"), (lambda: nn.Piecewise([5, 3], [1, 2, 3]), "ascending"),
    (lambda: nn.Executor(threads=0), "threads=0: must lie between 1"), (lambda: nn.Executor("sse9"), "instruction set 'sse9'"),
    (lambda: nn.Sequential([nn.Dense(2)], seed=-1), "seed must be"),
    (lambda: small().predict([1.0]), "neither the buffer protocol"),
])
def test_wrong_arguments_name_themselves(make, message):
    with pytest.raises(nn.UsageError, match=message):
        make()


def test_samples_of_another_size_are_refused(trained):
    with pytest.raises(nn.ShapeError, match=r"made for samples of shape \(6,\), got \(5,\)"):
        trained.predict(Tensor((2, 5), "f32"))


# ---- arrays from anywhere ----------------------------------------------------------------------------------------


def test_arrays_go_in_from_anything_and_come_out_as_buffers(trained):
    import numpy

    x, _ = blobs(30)
    expected = trained.predict(x).tolist()
    as_numpy = numpy.frombuffer(bytearray(x.tobytes()), dtype=numpy.float32).reshape(30, 6)
    shaped = memoryview(x.tobytes()).cast("f", (30, 6))

    class OnlyDlpack:
        """What torch.Tensor offers: no buffer protocol, but DLPack."""

        def __dlpack__(self, **_):
            return as_numpy.__dlpack__()

        def __dlpack_device__(self):
            return as_numpy.__dlpack_device__()

    for given in (as_numpy, shaped, OnlyDlpack(), as_numpy.astype(numpy.float64)):
        assert trained.predict(given).tolist() == expected
    out = trained.predict(x, proba=True)
    assert numpy.asarray(out).shape == (30, 3) and numpy.asarray(out).dtype == numpy.float32
    assert memoryview(out.view()).tolist() == out.tolist()
    with pytest.raises(nn.ShapeError, match="not C-contiguous"):
        trained.predict(as_numpy[::2])


def test_whole_number_labels_of_any_width():
    import numpy

    x, y = blobs()
    found = set()
    for labels in (y, numpy.asarray(y).astype(numpy.int64), array("i", y.tolist())):
        model = small()
        model.fit((x, labels), epochs=1, batch=32)
        found.add(model.weights_sha256)
    assert len(found) == 1


# ---- files -------------------------------------------------------------------------------------------------------


def test_a_saved_model_predicts_the_same_bits(trained, tmp_path):
    trained.save(tmp_path / "m.safetensors")
    again = nn.load(tmp_path / "m.safetensors")
    x, _ = blobs()
    assert again.predict(x, proba=True) == trained.predict(x, proba=True)
    assert again.weights_sha256 == trained.weights_sha256 and repr(again) == repr(trained)


def test_images_with_their_standardisation_come_back(tmp_path):
    images = bytes(random.Random(1).randrange(256) for _ in range(40 * 49))
    x, y = Tensor((40, 7, 7), "u8", images), Tensor((40,), "u8", bytes(i % 4 for i in range(40)))
    for mode in ("auto", "feature", "unit"):
        model = nn.Sequential([nn.Dense(5), nn.SELU(), nn.Dropout(0.1), nn.Dense(4)], standardise=mode)
        model.fit((x, y), epochs=1, batch=10)
        model.save(tmp_path / "m.safetensors")
        assert nn.load(tmp_path / "m.safetensors").logits(x) == model.logits(x)


def test_the_file_has_torchs_names_and_layout(trained, tmp_path):
    from safetensors.numpy import load_file

    trained.save(tmp_path / "m.safetensors")
    found = load_file(tmp_path / "m.safetensors")
    assert {k: v.shape for k, v in found.items()} == {"0.weight": (8, 6), "0.bias": (8,), "2.weight": (3, 8), "2.bias": (3,)}
    assert found["0.weight"].T.tolist() == trained.parameter("0.weight").tolist()


def test_every_flipped_byte_and_every_cut_is_noticed(trained, tmp_path):
    path = tmp_path / "m.safetensors"
    trained.save(path)
    data = path.read_bytes()
    assert len(data) < 4096
    rng = random.Random(0)
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :])
        with pytest.raises(nn.DataError, match="m.safetensors"):
            nn.load(path)
    for size in range(0, len(data), 3):
        path.write_bytes(data[:size])
        with pytest.raises(nn.DataError, match="m.safetensors"):
            nn.load(path)


@pytest.mark.parametrize("change", [
    {"layers": [{"type": "Lambda"}]}, {"layers": [{"type": "Dense", "units": -1, "bias": True, "init": "zeros"}]},
    {"input": [7]}, {"nodes": [], "sequential": False}, {"standardise": "often"}, {"seed": "x"},
])
def test_a_wrong_architecture_is_refused(trained, tmp_path, change, monkeypatch):
    from nncore.train import checkpoint

    path = tmp_path / "m.safetensors"
    true = checkpoint.architecture(trained)
    monkeypatch.setattr(checkpoint, "architecture", lambda model: {**true, **change})
    trained.save(path)
    monkeypatch.undo()
    with pytest.raises(nn.DataError, match="m.safetensors"):
        nn.load(path)


def test_a_file_that_cannot_be_written_leaves_the_old_one(trained, tmp_path):
    with pytest.raises(nn.LimitError, match="cannot be written"):
        trained.save(tmp_path / "nowhere" / "m.safetensors")
    with pytest.raises(nn.DataError, match="cannot be read"):
        nn.load(tmp_path)
    with pytest.raises(nn.DataError, match="cannot be read"):
        nn.load(tmp_path / "missing.safetensors")


def test_history_is_json_lines(tmp_path):
    from nncore.train.history import HistoryFile

    file = HistoryFile(tmp_path / "history.jsonl")
    file.append({"epoch": 1, "loss": float("nan")})
    assert json.loads((tmp_path / "history.jsonl").read_text()) == {"epoch": 1, "loss": None}
    file.close()


def test_all_is_exact():
    assert len(set(nn.__all__)) == len(nn.__all__) and set(nn.__all__) <= set(dir(nn))
    for name in nn.__all__:
        assert getattr(nn, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Conv'"):
        getattr(nn, "Conv")  # noqa: B009
    for module in (nn.init, nn.data, nn.examples):
        assert module.__doc__


def test_confusion_and_top_k_agree_with_accuracy(trained):
    data = blobs(200, seed=0)
    table = trained.confusion(data)
    assert sum(map(sum, table)) == 200 and sum(table[c][c] for c in range(3)) / 200 == trained.evaluate(data).accuracy
    assert trained.top_k(data, 1) == trained.evaluate(data).accuracy and trained.top_k(data, 3) == 1.0
    with pytest.raises(nn.UsageError, match="k between 1 and 3"):
        trained.top_k(data, 4)


def test_predictions_do_not_depend_on_the_batch(monkeypatch):
    """Large values per sample make small batches of predictions; the rows keep their bits, the plan its bound."""
    from nncore.train import inference
    from nncore.train.samples import samples

    data = nn.data.glyphs(60, 50)
    model = nn.Sequential([nn.Conv2D(8, 3), nn.ReLU(), nn.Conv2D(8, 3), nn.Dense(10)])
    model.fit(data.train, epochs=1, batch=30)
    whole, test = model.predict(data.test, proba=True).tobytes(), samples(data.test)
    assert inference.predict_batch(model, test) < 1000 and inference.planned_nbytes(model, test) <= 1.1 * inference.PREDICT_NBYTES
    for nbytes, most in ((1 << 20, 50), (1, 1)):
        monkeypatch.setattr(inference, "PREDICT_NBYTES", nbytes)
        model.batches.clear()
        model.tapes.clear()
        assert inference.predict_batch(model, test) <= most
        assert model.predict(data.test, proba=True).tobytes() == whole
    assert inference.predict_batch(model, test) == 1
