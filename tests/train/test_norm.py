"""Normalising layers in training and prediction: statistics, files, resumption, what is refused."""

import random
from array import array
from statistics import fmean, variance

import pytest

import nncore as nn
from nncore._ffi import isa_levels, lib
from nncore.bench.cases import Call, given, made
from nncore.graph.fold import fold
from nncore.graph.node import Input
from nncore.graph.ops.norm import chunk_rows
from nncore.graph.plan import Layout
from nncore.graph.tape import Executor, Memory, Position, compile_tape
from nncore.nn.base import Builder
from nncore.tensor import Tensor
from nncore.train.checkpoint import file_shape, load_checkpoint, save_checkpoint, to_file
from nncore.train.samples import samples
from nncore.train.steps import externals
from tests.clouds import blobs
from tests.harness import run_op

LEVELS = [level for level, runs in isa_levels().items() if runs and level != "reference"]  # its plain loop is less accurate


def network(seed=0, **options):
    return nn.Sequential([nn.Dense(8), nn.BatchNorm(**options), nn.ReLU(), nn.Dense(3)], seed=seed)


def running(model, layer=1):
    return [model.memory.tensor(model.states[f"{layer}.running_{k}"]).tolist() for k in ("mean", "var")]


def forward(x, N, C, shards=1, isa="best", real="f32", gamma=None, beta=None):
    """(y, mean, var) of one training step over x (N, C)."""
    chunk = chunk_rows(C)
    work = shards * C * (2 * -(-(N // shards) // chunk) + 1)
    stats = [made(shards * C), made(shards * C), made(work)]
    parameters = [given(v) if v else None for v in (gamma, beta)]
    return run_op("batch_norm_fwd", Call([made(N * C), *stats, given(x), *parameters], (N, C, shards, chunk), (1e-5,)), isa,
                  real=real)[:3]


# ---- the op ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isa", LEVELS)
@pytest.mark.parametrize("sigmas", [4096, 65536])
def test_a_large_mean_costs_what_the_rounding_of_the_data_costs(sigmas, isa):
    """numerics.md E3: sum x^2 - n mean^2 in float32 gives garbage from 256 deviations on. Here the mean is one rounding away,
    half a unit of the last place, and the variance of the data as stored keeps its digits: cases/batch_norm.py bounds its
    error by 2 sqrt(D / S) K u = 2e-4 of it, with K = 760 for the one chunk of 3000 rows and D <= 6 S, rarely reached."""
    rng, N = random.Random(3), 3000
    x = list(array("f", (sigmas + rng.gauss(0, 1) for _ in range(N))))
    mean = sum(v - sigmas for v in x) / N
    var = sum((v - sigmas - mean) ** 2 for v in x) / N
    y, m, v = forward(x, N, 1, isa=isa)
    rounding = sigmas * 2.0**-24 + 1e-5
    assert abs(m[0] - (sigmas + mean)) <= rounding
    assert abs(v[0] - var) <= 1e-5 * var
    assert abs(sum(y)) / N <= 1.01 * rounding and all(abs(e) < 5 for e in y)


def test_a_constant_channel_has_variance_zero():
    N, x = 500, [[0.1, -3e7, 0.0, i % 2] for i in range(500)]
    y, mean, var = forward([v for row in x for v in row], N, 4, beta=[0.5] * 4)
    assert list(mean) == list(array("f", [0.1, -3e7, 0.0, 0.5])) and list(var) == [0, 0, 0, 0.25]
    assert set(y[0::4]) == set(y[1::4]) == set(y[2::4]) == {0.5}


@pytest.mark.parametrize("isa", LEVELS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_not_finite_spoils_its_channel_and_shard_alone(bad, isa):
    rng = random.Random(1)
    for at in (0, 40 * 5 + 2, 79 * 5 + 2):
        x = list(array("f", (rng.gauss(0, 1) for _ in range(160 * 5))))
        clean, *_ = forward(x, 160, 5, 2, isa)
        x[at] = bad
        y, *_ = forward(x, 160, 5, 2, isa)
        for i, (a, b) in enumerate(zip(y, clean, strict=True)):
            assert a != a if i < 80 * 5 and i % 5 == at % 5 else a == b


def test_moments_of_the_output():
    """Every channel of every shard comes out with mean 0 and variance var / (var + eps): what the layer is for."""
    rng, N, C = random.Random(5), 4000, 3
    x = list(array("f", (rng.gauss(3 * (i % C), 1 + i % C) for i in range(N * C))))
    y, _, var = forward(x, N, C, 2)
    for s in range(2):
        for j in range(C):
            column = y[s * N // 2 * C + j : (s + 1) * N // 2 * C : C]
            mean = sum(column) / len(column)
            # mean's rounding, below 6 u after the division by a deviation of at least 1, and y's own, which average
            assert abs(mean) <= 8 * 2.0**-24
            # gamma_k of a variance of 1, k < 600
            assert sum((v - mean) ** 2 for v in column) / len(column) == pytest.approx(
                var[s * C + j] / (var[s * C + j] + 1e-5), rel=600 * 2.0**-24)


# ---- running statistics --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shards", [1, 2, 4])
def test_running_statistics_follow_the_formula(shards):
    """Three steps of rate 0, so that only the statistics move: r <- 3/4 r + 1/4 s, s the average over the shards of the mean
    and of the unbiased variance. Values are multiples of 1/4: sums are exact, which leaves 3 and 6 roundings a step."""
    rng, n = random.Random(2), 16
    x = [[rng.randrange(-8, 9) / 4 for _ in range(2)] for _ in range(n)]
    model = nn.Sequential([nn.BatchNorm(momentum=0.25), nn.Dense(2)], seed=5)
    data = Tensor((n, 2), "f32", array("f", (v for row in x for v in row))), Tensor((n,), "u8", bytes(n))
    model.fit(data, epochs=3, batch=n, optimizer=nn.SGD(0.0), shards=shards)
    mean, var = [0.0, 0.0], [1.0, 1.0]
    for epoch in range(3):
        seen = [x[lib.nn_shuffle(5, epoch, n, i)] for i in range(n)]
        for j in range(2):
            groups = [[row[j] for row in seen[s * n // shards : (s + 1) * n // shards]] for s in range(shards)]
            mean[j] = 0.75 * mean[j] + 0.25 * fmean(map(fmean, groups))
            var[j] = 0.75 * var[j] + 0.25 * fmean(map(variance, groups))
    found = running(model, 0)
    assert found[0] == pytest.approx(mean, abs=2 * 9 * 2.0**-24) and found[1] == pytest.approx(var, rel=18 * 2.0**-24)


def test_prediction_uses_the_running_statistics_and_training_does_not():
    x, y = blobs()
    model = network(momentum=0.5)
    model.fit((x, y), epochs=12, batch=50, optimizer=nn.Adam(0.02))
    assert model.evaluate((x, y)).accuracy > 0.95
    before = model.logits(x).tolist()
    mean = model.memory.tensor(model.states["1.running_mean"])
    mean.flat()[0] += 1.0
    assert model.logits(x).tolist() != before
    assert "batch_norm_fwd" in str(model.tape) and "running_stats" in str(model.tape)


def test_frozen_layers_use_and_keep_the_running_statistics():
    x, y = blobs()
    model = network()
    model.fit((x, y), epochs=2, batch=50, optimizer=nn.Adam(0.02))
    kept, gamma = running(model), model.parameter("1.weight").tolist()
    model.layers[1].frozen = True
    model.fit((x, y), epochs=1, batch=50, optimizer=nn.Adam(0.02))
    assert running(model) == kept and model.parameter("1.weight").tolist() != gamma
    assert "batch_norm_fixed_fwd" in str(model.tape) and "running_stats" not in str(model.tape)


def test_every_shard_has_statistics_of_its_own():
    """Two shards see two halves; equal halves give the bits that one of them gives alone, up to the average of gradients."""
    x = list(array("f", (random.Random(4).gauss(0, 1) for _ in range(64))))
    y, mean, var = forward(x + x, 32, 4, 2)
    alone = forward(x, 16, 4)
    assert [*y] == [*alone[0]] * 2 and [*mean] == [*alone[1]] * 2 and [*var] == [*alone[2]] * 2


def test_a_model_folds_for_prediction():
    """One product less to normalise; the outputs agree to the roundings of chains of 6 and 8 terms of sizes below 2^4."""
    x, y = blobs()
    model = network()
    model.fit((x, y), epochs=5, batch=50, optimizer=nn.Adam(0.02))
    z, *_ = model.graph(samples((x, y)), 300, training=False)
    tape = compile_tape("folded", 300, [], {"z": fold([z])[0]}, model.layout)
    assert [i.op for i in tape.instructions].count("batch_norm_fixed_fwd") == 2  # weights and bias, not activations
    Executor(threads=1).run([(tape, 1)], model.memory, externals(samples((x, y))), n_samples=300)
    folded, plain = model.memory.output(tape, "z").tolist(), model.logits(x).tolist()
    assert folded != plain
    for a, b in zip(folded, plain, strict=True):
        assert a == pytest.approx(b, abs=64 * 16 * 2.0**-24)


# ---- files, best weights, resumption -------------------------------------------------------------------------------


def test_the_model_file_keeps_the_running_statistics(tmp_path):
    x, y = blobs()
    model = network(momentum=0.3, eps=1e-3)
    model.fit((x, y), epochs=2, batch=50, optimizer=nn.Adam(0.02))
    model.save(tmp_path / "model.safetensors")
    again = nn.load(tmp_path / "model.safetensors")
    assert running(again) == running(model) and again.logits(x).tolist() == model.logits(x).tolist()
    assert again.layers[1].config() == {"momentum": 0.3, "eps": 1e-3, "affine": True, "frozen": False}
    import safetensors

    names = {name for name, _ in safetensors.deserialize((tmp_path / "model.safetensors").read_bytes())}
    assert {"1.weight", "1.bias", "1.running_mean", "1.running_var"} <= names  # torch's names


def test_early_stopping_restores_the_statistics_of_the_best_epoch():
    seen = []

    class Spoil(nn.Callback):
        def on_epoch_end(self, trainer, record):
            seen.append((trainer.model.weights_sha256, running(trainer.model)))
            if record["epoch"] >= 3:
                trainer.model.assign("3.weight", [0.0] * 24)

    model = network()
    model.fit(blobs(), epochs=20, batch=32, optimizer=nn.Adam(0.02), validation=0.2,
              callbacks=[nn.EarlyStopping("val_loss", patience=2), Spoil()])
    assert len(seen) == 5 and seen[2][1] != seen[4][1]
    assert (model.weights_sha256, running(model)) == seen[2]


@pytest.mark.parametrize("shards", [1, 2])
def test_resumed_training_has_the_bits_of_an_uninterrupted_one(tmp_path, shards):
    def trainer(model, **options):
        return model.trainer(blobs(), epochs=4, batch=50, optimizer=nn.Adam(0.02), shards=shards, **options)

    whole = trainer(network(), executor=nn.Executor("portable", 1))
    whole.run()
    first = trainer(network(), steps=9)
    first.run()
    save_checkpoint(first, tmp_path / "checkpoint.safetensors")
    second = trainer(network(), executor=nn.Executor(threads=3))
    load_checkpoint(second, tmp_path / "checkpoint.safetensors")
    second.run()
    assert second.model.weights_sha256 == whole.model.weights_sha256 and running(second.model) == running(whole.model)


# ---- the other layers ----------------------------------------------------------------------------------------------


def pictures(n=90, shape=(8, 8, 6), seed=0):
    """Three classes of small images, told apart by the sum of one channel; without libm: their bits are the same anywhere."""
    rng, size = random.Random(seed), shape[0] * shape[1] * shape[2]
    labels = bytes(i % 3 for i in range(n))
    values = array("f", (4 * rng.random() - (1 if j % shape[2] == t else 2) for t in labels for j in range(size)))
    return Tensor((n, *shape), "f32", values), Tensor((n,), "u8", labels)


def all_layers():
    return nn.Sequential([nn.BatchNorm(), nn.SpatialDropout2D(0.2), nn.LocalResponseNorm(3, alpha=0.1), nn.LayerNorm(axes=1),
                          nn.ReLU(), nn.LayerNorm(), nn.Dense(3)], seed=4)


GOLDEN = {  # changes with NN_NUMERICS_ID alone, as those of test_bits.py
    1: "a4e0f2283be9061165290866ba748ee6a38dabf0bba5470088477a3a45d969ea",
    3: "7ca87c18749f7ed2cd0592f531306221514883c412ee3a74b265f33332f6ed6d",
}


@pytest.mark.parametrize("shards", [1, 3])
def test_one_hash_on_every_level_and_thread_count(shards):
    found = set()
    for level, threads in [(level, threads) for level in LEVELS for threads in (1, 2, 3)]:
        model = all_layers()
        model.fit(pictures(), epochs=3, batch=30, optimizer=nn.Adam(0.01), shards=shards, executor=nn.Executor(level, threads))
        found.add(model.weights_sha256)
    assert found == {GOLDEN[shards]}


def test_all_layers_learn_and_come_back_from_a_file(tmp_path):
    x, y = pictures(300)
    model = all_layers()
    model.fit((x, y), epochs=10, batch=30, optimizer=nn.Adam(0.01))
    assert model.evaluate(pictures(90, seed=1)).accuracy > 0.9
    assert model.parameter("3.weight").shape == (6,) and model.parameter("5.weight").shape == (8, 8, 6)
    model.save(tmp_path / "model.safetensors")
    again = nn.load(tmp_path / "model.safetensors")
    assert repr(again.layers) == repr(model.layers) and again.logits(x).tolist() == model.logits(x).tolist()


def trained_output(layer, x, step=0, seed=0):
    """A layer's output in a training step, as a flat list."""
    node, builder = Input("x", x.shape, "f32", 0), Builder({}, training=True)
    node.dtype = "real"
    builder.layer, builder.number = "0", 1
    y = layer.build(builder, node)
    tape, memory = compile_tape("t", 1, [], {"y": y}, Layout()), Memory(Layout())
    Executor(threads=1).run([(tape, 1)], memory, {0: x}, Position(step), seed=seed)
    return list(memory.output(tape, "y").flat())


def test_spatial_dropout_drops_whole_channels():
    n, shape = 50, (3, 3, 10)
    x = Tensor((n, *shape), "f32", array("f", [1.0] * n * 90))
    y = trained_output(nn.SpatialDropout2D(0.25), x)
    maps = [y[i * 90 + c : (i + 1) * 90 : 10] for i in range(n) for c in range(10)]
    assert all(set(m) in ({0.0}, {array("f", [4 / 3])[0]}) for m in maps)
    dropped = [m[0] == 0 for m in maps]
    assert 125 - 5 * 9.7 < sum(dropped) < 125 + 5 * 9.7  # sqrt(500 / 4 * 3 / 4) = 9.7
    assert len({tuple(dropped[i * 10 : i * 10 + 10]) for i in range(n)}) > 30  # a draw of its own for every sample
    assert trained_output(nn.SpatialDropout2D(0.25), x) == y
    assert trained_output(nn.SpatialDropout2D(0.25), x, step=1) != y != trained_output(nn.SpatialDropout2D(0.25), x, seed=1)


def test_local_response_norm_by_hand():
    """Channels 1, 2, 3, 4, size 3, k = 1, alpha = 1, beta = 1/2: s = 6, 15, 30, 26. torch's LocalResponseNorm(3, 3, 0.5, 1)."""
    y = trained_output(nn.LocalResponseNorm(3, 1.0, 0.5, 1.0), Tensor((1, 4), "f32", array("f", [1, 2, 3, 4])))
    assert y == pytest.approx([1 / 6**0.5, 2 / 15**0.5, 3 / 30**0.5, 4 / 26**0.5], rel=12 * 2.0**-24)


def test_layer_norm_by_hand():
    y = trained_output(nn.LayerNorm(eps=1e-12, affine=False), Tensor((2, 2, 2), "f32", array("f", [0, 2, 4, 6, 1, 1, 1, 1])))
    assert y == pytest.approx([-3 / 5**0.5, -1 / 5**0.5, 1 / 5**0.5, 3 / 5**0.5, 0, 0, 0, 0], rel=8 * 2.0**-24)


# ---- refused -------------------------------------------------------------------------------------------------------


def test_bad_arguments_are_refused():
    for wrong in ({"momentum": 0}, {"momentum": 1.5}, {"eps": 0}, {"eps": "small"}, {"momentum": float("nan")}, {"eps": True}):
        with pytest.raises(nn.UsageError, match=f"BatchNorm: {next(iter(wrong))} must be above 0"):
            nn.BatchNorm(**wrong)


def test_bad_arguments_of_the_other_layers_are_refused():
    for make, text in ((lambda: nn.LayerNorm(eps=-1), "LayerNorm: eps must be above 0"),
                       (lambda: nn.LayerNorm(axes=0), "LayerNorm: axes must be a whole number of at least 1"),
                       (lambda: nn.LocalResponseNorm(4), "size must be odd"), (lambda: nn.LocalResponseNorm(131), "at most 129"),
                       (lambda: nn.LocalResponseNorm(5.0), "size must be a whole number"),
                       (lambda: nn.LocalResponseNorm(k=0), "LocalResponseNorm: k must be above 0"),
                       (lambda: nn.SpatialDropout2D(1), "0 <= p < 1, got 1"), (lambda: nn.SpatialDropout2D("x"), "0 <= p < 1")):
        with pytest.raises(nn.UsageError, match=text):
            make()
    with pytest.raises(nn.ShapeError, match="cannot normalise the last 3 axes"):
        nn.Sequential([nn.LayerNorm(axes=3), nn.Dense(2)]).build((6,))


def test_one_value_per_channel_is_refused_in_training_alone():
    x, y = blobs(51)
    with pytest.raises(nn.ShapeError, match="one value per channel.*at least 2 samples"):
        network().fit((x, y), epochs=1, batch=1)
    with pytest.raises(nn.ShapeError, match="end of an epoch"):
        network().fit((x, y), epochs=1, batch=50)
    with pytest.raises(nn.ShapeError, match="in 25 shards"):
        network().fit((x, y), epochs=1, batch=25, shards=25)
    model = network().build((6,))
    assert model.predict(Tensor((1, 6), "f32", array("f", range(6)))).shape == (1,)
    frozen = network(frozen=True)
    frozen.fit((x, y), epochs=1, batch=50)


def test_penalties_and_decay_leave_gamma_and_beta_alone():
    model = network()
    model.fit(blobs(), epochs=1, batch=300, optimizer=nn.SGD(0.0, decay=0.5), penalty=nn.L2(10.0))
    assert model.parameter("1.weight").tolist() == [1.0] * 8 and model.parameter("1.bias").tolist() == [0.0] * 8


def test_files_hold_layer_norms_of_images_in_torchs_order(tmp_path):
    """(H, W, C) here is [C, H, W] there."""
    model = nn.Sequential([nn.LayerNorm(), nn.Dense(2)]).build((2, 3, 4))
    model.assign("0.weight", range(24))
    leaf, t = model.parameters["0.weight"], model.parameter("0.weight")
    assert file_shape(leaf) == (4, 2, 3)
    turned = [(i * 3 + j) * 4 + c for c in range(4) for i in range(2) for j in range(3)]
    assert list(memoryview(to_file(leaf, t)).cast("f")) == turned
    model.save(tmp_path / "m.safetensors")
    assert nn.load(tmp_path / "m.safetensors").parameter("0.weight").tobytes() == t.tobytes()
