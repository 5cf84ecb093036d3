"""The model zoo: sizes as the docstrings say, shapes of other images, and one hash per model over ISA, threads, interruption."""

import inspect
import sys
from array import array

import pytest

import nncore as nn
from nncore._ffi import isa_levels
from nncore.train.checkpoint import load_checkpoint, save_checkpoint
from nncore.train.models import MODELS, make

PARAMETERS = {
    "adaline": 7_850, "logistic": 7_850, "perceptron": 7_850, "svm": 7_850, "mlp": 203_530, "lenet1": 3_246,
    "lenet5": 61_706, "nielsen": 1_672_570, "cnn": 83_562, "alexnet-small": 380_042, "vgg-small": 288_170,
    "inception-small": 81_698, "resnet-small": 594_218, "allconv": 152_906,
}
GOLDEN = {
    "adaline": "58783227920c423dc63e8dd81e1583403cce577a1ce14c3ee333af66a8a66158",
    "alexnet-small": "d6809d3ebb50964cac1ee378fa4b6350adf2b97b56faa5be4cae06ff6c174361",
    "allconv": "4a2615b85c85dcda2416dd1f67e1aff3bb98597e716c9057623ece5b443a28f2",
    "cnn": "31283bdb3a8c16363b43a151987548e9b0d8d51980b7c433474a94b1cdf89f16",
    "inception-small": "dde6f1c9459c453af704e86d007d1715f5bbf1c432ac4d70cc1ad7d515b63a41",
    "lenet1": "1aea19c13483935c84ed3b12604ad15a7e85fbef92c0eefcdbab3635a79e62cc",
    "lenet5": "d9c4ea66e5c4e2f5040494ff15460e647860202a9916ef349d60df07c79bde40",
    "logistic": "9cc5c0daf6643130882a1225a7b2d75f903bf80e88f31972b93082cf2d0cb1b1",
    "mlp": "bd9f15bf014ab6582c734a8a2bfac3cfda8b52d49ed55a073784a1d01d7675e2",
    "nielsen": "82c655625877c6f165a8137623f32493ab22a7fd7703db70acb5572748aef98e",
    "perceptron": "9cc5c0daf6643130882a1225a7b2d75f903bf80e88f31972b93082cf2d0cb1b1",
    "resnet-small": "bb52274f6d26c3563fc792d7b5b7d5ccbea0a7dda0963cbacc0e0cdbfb96d9cb",
    "svm": "9cc5c0daf6643130882a1225a7b2d75f903bf80e88f31972b93082cf2d0cb1b1",
    "vgg-small": "3ad02b09b1976da0016bc039c545fdad1001fa213a0c5b95c8da117123001343",
}
LEVELS = [level for level, runs in isa_levels().items() if runs and level not in ("reference", "portable")]
EACH = pytest.mark.parametrize("name", MODELS)
pytestmark = pytest.mark.filterwarnings("ignore:layer .* MaxPool2D")  # 28 - 3 is odd: AlexNet's windows leave a column out


@pytest.fixture(scope="module")
def data():
    return nn.data.glyphs(train=14, test=10, seed=0).train


def trainer(name, data, **options):
    """Four steps, the last of two samples, with everything that draws random numbers."""
    augment = nn.Augment(shift=1, rotate=8.0, scale=0.1, elastic=(20.0, 5.0), erase=0.3, noise=0.05)
    return make(name).trainer(data, epochs=1, batch=4, optimizer=nn.Adam(nn.OneCycle(1e-3)), augment=augment, **options)


def trained(name, data, **options):
    t = trainer(name, data, **options)
    t.run()
    assert t.position.step == 4
    return t.model.weights_sha256


@EACH
def test_parameters_are_as_the_docstring_says(name):
    summary = make(name).summary((28, 28, 1))
    assert summary.parameters == PARAMETERS[name]
    assert f"{summary.parameters:,} parameters" in inspect.getdoc(sys.modules[MODELS[name].__module__])
    assert MODELS[name].__doc__ and "nncore" not in MODELS[name].__doc__


@EACH
def test_other_sizes_and_classes(name):
    for shape, classes in (((32, 32, 3), 7), ((28, 28), 2)):
        assert make(name, classes).summary(shape).rows[-1].shape == (classes,)


@EACH
def test_one_hash_over_levels_threads_and_interruption(name, data, tmp_path):
    runs = zip(LEVELS, (2, 1, 3), strict=False)
    hashes = {trained(name, data, executor=nn.Executor(level, threads)) for level, threads in runs}
    first = trainer(name, data, steps=2, executor=nn.Executor(LEVELS[-1], 3))
    first.run()
    save_checkpoint(first, tmp_path / "checkpoint.safetensors")
    second = trainer(name, data, executor=nn.Executor(LEVELS[-1], 2))
    load_checkpoint(second, tmp_path / "checkpoint.safetensors")
    second.run()
    assert hashes == {second.model.weights_sha256} == {GOLDEN[name]}


@EACH
def test_files_bring_the_network_back(name, data, tmp_path):
    model = make(name, seed=3).build((28, 28))
    model.save(tmp_path / "m.safetensors")
    again = nn.load(tmp_path / "m.safetensors")
    assert again.weights_sha256 == model.weights_sha256
    assert again.logits(data.images).tobytes() == model.logits(data.images).tobytes()


def test_the_smaller_ones_learn():
    glyphs = nn.data.glyphs(train=1500, test=300, seed=1)
    for name in ("logistic", "mlp", "lenet1", "lenet5"):
        model = make(name)
        model.fit(glyphs.train, epochs=4, batch=25, optimizer=nn.Adam(nn.OneCycle(5e-3)))
        assert model.evaluate(glyphs.test).accuracy > 0.8, name


def test_the_perceptron_rule_learns_and_unit_steps_are_its_neurons():
    glyphs = nn.data.glyphs(train=1500, test=300, seed=1)
    model = make("perceptron")
    model.fit(glyphs.train, epochs=4, batch=25, optimizer=nn.SGD(nn.OneCycle(1e-2)), loss=nn.PerceptronCriterion())
    assert model.evaluate(glyphs.test, loss=nn.PerceptronCriterion()).accuracy > 0.7


def test_a_window_larger_than_the_image_is_refused():
    with pytest.raises(nn.ShapeError, match="window"):
        make("lenet1").summary((4, 4, 1))


@pytest.mark.parametrize("name", ["cnn", "resnet-small"])
def test_folded_batch_norm_predicts_the_same(name, data):
    """Folding rounds elsewhere: each layer's error is a few u of its largest term, far below 1e-4 of the largest logit."""
    model = make(name, seed=1)
    model.fit(data, epochs=2, batch=7, optimizer=nn.Adam(1e-3))
    plain, folded = (array("f", model.logits(data.images, fold=fold).tobytes()) for fold in (False, True))
    assert plain != folded
    assert max(abs(a - b) for a, b in zip(plain, folded, strict=True)) < 1e-4 * max(map(abs, plain))
    assert "batch_norm_fixed_fwd" not in [i.op for i in model.tapes[("values", 14, "u8", False, False, True)].instructions
                                          if i.dims[0] >= 14 * 28 * 28]
