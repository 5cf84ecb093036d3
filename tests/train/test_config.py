"""Settings: layers over one another, checks that name place and key, and a file that reads back as what was written."""

from __future__ import annotations

from pathlib import Path

import pytest

import nncore as nn
from nncore.errors import DataError, UsageError
from nncore.optim import schedules
from nncore.optim.optimizers import OPTIMIZERS
from nncore.train import parts
from nncore.train.config import Config, Data, Draft, Penalty, Run, Train, read_config, read_toml, resolve, to_toml
from nncore.train.toml import parse_value


def draft(tmp_path, text: str = "") -> Draft:
    path = tmp_path / "run.toml"
    path.write_text(text)
    return Draft().add(read_toml(path), path)


def settings(tmp_path, text: str = "", **options) -> Config:
    found = draft(tmp_path, text)
    for key, value in options.items():
        found.put(key.replace("__", "."), value, f"--{key.rpartition('__')[2]}")
    return resolve(found)


def test_nothing_said_is_the_recipe(tmp_path):
    c = settings(tmp_path)
    assert c.model["name"] == "mlp" and c.model["hidden"] == (256,) and (c.train.epochs, c.train.batch) == (5, 128)
    optimizer = parts.make_optimizer(c.optimizer, c.schedule)
    assert type(optimizer).__name__ == "Adam" and type(optimizer.rate).__name__ == "OneCycle" and optimizer.rate.peak == 3e-3


def test_later_layers_win_key_by_key(tmp_path):
    c = settings(tmp_path, "[train]\nepochs = 7\nbatch = 50\n[optimizer]\nbeta1 = 0.8\n", train__epochs=9, optimizer__lr=0.01)
    assert (c.train.epochs, c.train.batch) == (9, 50)
    assert (c.optimizer["name"], c.optimizer["lr"], c.optimizer["beta1"], c.optimizer["beta2"]) == ("adam", 0.01, 0.8, 0.999)


def test_another_name_is_another_table(tmp_path):
    text = "[optimizer]\nname = 'adam'\nbeta1 = 0.8\nlr = 0.5\n"
    c = settings(tmp_path, text, optimizer={"name": "AdaGrad", "lr": 0.1})
    assert c.optimizer == {"name": "adagrad", "lr": 0.1, "eps": 1e-8, "eps_outside": False, "decay": 0.0}
    with pytest.raises(UsageError, match="--optimizer: .*sgd has no default rate: set optimizer.lr"):
        settings(tmp_path, text, optimizer={"name": "sgd"})


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("schedule", ["constant", "power", "exponential", "cosine", "onecycle", "piecewise"])
def test_every_optimizer_under_every_schedule(tmp_path, name, schedule):
    more = {"power": {"steps": 5.0}, "exponential": {"steps": 5.0},
            "piecewise": {"boundaries": [3], "values": [0.1, 0.01]}}.get(schedule, {})
    lr = {} if schedule == "piecewise" else {"lr": 0.25}
    c = settings(tmp_path, to_toml({"optimizer": {"name": name, **lr}, "schedule": {"name": schedule, **more}}))
    made = parts.make_optimizer(c.optimizer, c.schedule)
    assert type(made) is OPTIMIZERS[name] and type(made.rate) is schedules.SCHEDULES[schedule]
    if schedule != "piecewise":
        assert made.rate.parameters(100)[0] == 0.25
    again = tmp_path / "config.toml"
    again.write_bytes(c.to_toml())
    assert read_config(again) == c


def test_a_schedule_of_momentum(tmp_path):
    c = settings(tmp_path, "[optimizer]\nname = 'momentum'\nlr = 1\nmomentum = 0.5\n"
                           "[schedule.momentum]\nname = 'cosine'\nend = 0.25\n")
    made = parts.make_optimizer(c.optimizer, c.schedule)
    assert (made.momentum.start, made.momentum.end, made.rate.peak) == (0.5, 0.25, 1.0)
    with pytest.raises(DataError, match="adam has no momentum"):
        settings(tmp_path, "[schedule.momentum]\nname = 'cosine'")


def test_the_level_of_a_schedule_is_the_rate_however_it_is_said(tmp_path):
    one = settings(tmp_path, "[optimizer]\nname = 'sgd'\nlr = 0.5\n[schedule]\nname = 'onecycle'")
    assert settings(tmp_path, "[optimizer]\nname = 'sgd'\n[schedule]\nname = 'OneCycle'\npeak = 0.5") == one
    assert settings(tmp_path, "[schedule]\nname = 'cosine'\nstart = 0.5").optimizer["lr"] == 0.5
    assert settings(tmp_path, "[schedule]\nname = 'cosine'\nstart = 0.5", optimizer__lr=0.25).optimizer["lr"] == 0.25


def test_penalties(tmp_path):
    def penalty(text):
        p = settings(tmp_path, text).penalty
        return repr(parts.make_penalty(p.l1, p.l2, p.biases))

    assert penalty("") == "None"
    assert penalty("[penalty]\nl1 = 0.5") == "L1(strength=0.5, biases=False)"
    assert penalty("[penalty]\nl2 = 1\nbiases = true") == "L2(strength=1.0, biases=True)"
    assert penalty("[penalty]\nl1 = 1\nl2 = 2") == "ElasticNet(l1=1.0, l2=2.0, biases=False)"


@pytest.mark.parametrize("text, loss", [
    ("loss = 'cross-entropy'", "CrossEntropy()"),
    ("loss = {name = 'Huber', delta = 2}", "Huber(delta=2.0)"),
    ("loss.reduction = 'sum'", "CrossEntropy(reduction='sum')"),
    ("", "None"),
])
def test_losses(tmp_path, text, loss):
    assert repr(parts.make_loss(settings(tmp_path, f"[train]\n{text}").train.loss)) == loss


def test_a_recipe_lies_below_the_user(tmp_path, monkeypatch):
    def net(x, classes: int, *, width: int = 3, bias: bool = True):
        return nn.Dense(classes, bias=bias)(nn.Dense(width)(x))

    net.recipe = {"optimizer": {"name": "momentum", "lr": 0.5}, "train": {"epochs": 40}, "penalty": {"l2": 0.25}}
    monkeypatch.setitem(parts.MODELS, "net", net)
    c = settings(tmp_path, "[model]\nname = 'Net'\n[train]\nbatch = 7", model__width=5)
    assert c.model == {"name": "net", "width": 5, "bias": True} and (c.train.epochs, c.train.batch) == (40, 7)
    assert c.optimizer["momentum"] == 0.9 and c.schedule == {"name": "constant"} and c.penalty.l2 == 0.25
    assert len(parts.make_model(c.model, 10, 0).build((4,)).parameters) == 4
    assert settings(tmp_path, "penalty = false\n[model]\nname = 'net'").penalty.l2 == 0
    # A resolved file says everything: the recipe does not come back.
    off = settings(tmp_path, "penalty = false\n[model]\nname = 'net'")
    (tmp_path / "config.toml").write_bytes(off.to_toml())
    net.recipe["clip"] = {"norm": 2}
    assert read_config(tmp_path / "config.toml") == off
    with pytest.raises(DataError, match="unknown key hidden.*known: width, bias"):
        settings(tmp_path, "[model]\nname = 'net'\nhidden = [3]")


def test_a_builder_that_chokes_on_its_options(tmp_path, monkeypatch):
    def net(x, classes: int, *, maps: tuple[int, ...] = (3,)):
        return nn.Dense({3: classes}[maps[0]])(x)

    monkeypatch.setitem(parts.MODELS, "net", net)
    for text, message in (("maps = [4]", "model: cannot be made of .'maps': .4,..: 4"), ("maps = []", "index out of range"),
                          ("maps = 3", "model.maps: expected array, got int")):
        with pytest.raises(DataError, match="run.toml: .*" + message):
            settings(tmp_path, f"[model]\nname = 'net'\n{text}")


@pytest.mark.parametrize("name", ["", 'a "quoted"\\ name\u0007\x7f \u017elu\u0165', "x\ny"])
def test_names_survive_the_file(tmp_path, name):
    c = settings(tmp_path, data__name=name, train__threshold=float.fromhex("0x1.999999999999ap-4"), train__seed=2**63 - 1)
    (tmp_path / "config.toml").write_bytes(c.to_toml())
    assert read_config(tmp_path / "config.toml") == c and c.data.name == name


def test_a_folder_is_relative_to_its_file(tmp_path):
    assert settings(tmp_path, "[data]\nfolder = '../x'").data.folder == str(tmp_path.parent / "x")
    assert settings(tmp_path, "[data]\nfolder = '../x'", data__name="mnist").data.asked == "mnist"


@pytest.mark.parametrize("text, message", [
    ("[trian]\nepochs = 3", "unknown key trian: did you mean train"),
    ("[train]\nepoch = 3", "train.epoch: unknown key epoch: did you mean epochs"),
    ("[train]\nlr = 3", "unknown key lr: it is optimizer.lr"),
    ("[train]\nvalidation = 0.1", "it is data.validation"),
    ("[train]\nepochs = 'x'", "train.epochs: expected int, got str, found 'x'"),
    ("[train]\nepochs = 0", "train.epochs: expected int >= 1, found 0"),
    ("[train]\nepochs = 2.5", "train.epochs: expected int, got float"),
    ("[train]\nepochs = true", "train.epochs: expected int, got bool"),
    ("[train]\nepochs = 1979-05-27", "train.epochs: expected int"),
    ("[train]\nseed = -1", "train.seed"),
    ("[train]\nmath = 'f16'", "unknown math mode 'f16'.*known: f32, bf16, bf16x3, bf16x6"),
    ("[train]\npatience = 3", "set data.validation"),
    ("[train]\nloss = 'hubris'", "unknown loss 'hubris'.*Huber"),
    ("[train.loss]\nname = 'huber'\ndelta = 'a'", "train.loss.delta: expected float"),
    ("[train.loss]\nname = 'huber'\ndelta = -1", "train.loss: Huber: delta must be positive"),
    ("[train]\nthreshold = nan", "train.threshold: must be a finite number"),
    ("[data]\nvalidation = 1.5", "data.validation"),
    ("[data]\nname = 'a'\nfolder = 'b'", "not both"),
    ("data = 'mnist'", r"data: expected a table \[data\]"),
    ("[model]\nname = 'mpl'", "unknown model 'mpl': did you mean mlp"),
    ("[model]\nname = 3", "expected a name"),
    ("[model]\nhiden = [3]", "unknown key hiden: did you mean hidden"),
    ("[model]\nhidden = ['x']", "model.hidden: expected int, got str"),
    ("[model]\nhidden = [0]", "units must be a positive whole number"),
    ("[optimizer]\nname = 'adm'", "unknown optimizer 'adm': did you mean adam"),
    ("[optimizer]\nbeta3 = 1", "unknown key beta3: did you mean beta"),
    ("[optimizer]\nbeta1 = 1.5", "beta1 must lie in"),
    ("[optimizer]\nlr = -1", "must be a finite number at least 0"),
    ("[optimizer]\nlr = inf", "optimizer.lr: must be a finite number"),
    ("[optimizer]\nrate = 1", "is called lr here"),
    ("[schedule]\nname = 'cosmic'", "unknown schedule 'cosmic': did you mean cosine"),
    ("[schedule]\npeak = 1", "the peak of a schedule is optimizer.lr"),
    ("[schedule]\nname = 'power'", "schedule.steps: is missing"),
    ("[schedule]\nname = 'piecewise'\nboundaries = [3, 1]\nvalues = [1, 2, 3]", "ascending"),
    ("[optimizer]\nlr = 1\n[schedule]\nname = 'piecewise'\nboundaries = [3]\nvalues = [1, 2]", "states the values itself"),
    ("[penalty]\nl2 = -1", "penalty.l2: expected float >= 0"),
    ("[train]\nloss = 3", "train.loss: expected object, got int, found 3"),
    ("[optimizer]\nlr = 1\n[schedule]\nname = 'onecycle'\npeak = 1", "the peak of a schedule is optimizer.lr"),
    ("[clip]\nnorms = 1", "unknown key norms: did you mean norm"),
    ("[clip]\nnorm = 1\nvalue = 1", "clip.norm or clip.value, not both"),
    ("[train\nepochs = 3", "not TOML: .*line 1"),
    ("[train]\nepochs = 3\nepochs = 4\nseed = 1", "not TOML: .*line 3"),
    ("[" * 5000, "not TOML"),
    ("x = 1" + "0" * 6000, "not TOML"),
    ("# " + "x" * 70000, "larger than 64 kB"),
])
def test_bad_files(tmp_path, text, message):
    with pytest.raises(DataError, match="run.toml: .*" + message):
        settings(tmp_path, text)


def test_files_that_are_none(tmp_path):
    for path, message in ((tmp_path, "a folder"), (tmp_path / "nowhere.toml", "cannot be read")):
        with pytest.raises(DataError, match=message):
            read_toml(path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="bytes.toml: not TOML"):
        read_toml(tmp_path / "bytes.toml")


def test_the_blame_goes_to_who_said_so(tmp_path):
    with pytest.raises(UsageError, match="^--epochs: expected int"):
        settings(tmp_path, "[train]\nbatch = 3", train__epochs="x")
    with pytest.raises(UsageError, match="--beta1: Adam: beta1"):
        settings(tmp_path, "[optimizer]\nbeta2 = 0.5", optimizer__beta1=2.0)
    with pytest.raises(DataError, match="run.toml: train.batch"):
        settings(tmp_path, "[train]\nbatch = 0", train__epochs=3)


@pytest.mark.parametrize("text, value", [
    ("3", 3), ("1e-3", 1e-3), ("true", True), ("[1, 2]", [1, 2]), ('"a b"', "a b"), ("{a = 1}", {"a": 1}), ("adam", "adam"),
    ("cross-entropy", "cross-entropy"), ("false", False),
])
def test_values_of_the_command_line(text, value):
    assert parse_value(text) == value and type(parse_value(text)) is type(value)


@pytest.mark.parametrize("text", ["", "1 2", "a b", "[1", "3\nx = 4", "x = 4", "1,2"])
def test_values_that_are_none(text):
    with pytest.raises(UsageError, match="not a TOML value"):
        parse_value(text)


def test_every_key_is_documented():
    """docs/configuration.md has a row for each key, each optimizer, each schedule, each option of the settings."""
    from nncore.cli.settings import KEYS

    text = (Path(__file__).parents[2] / "docs/configuration.md").read_text()
    fixed = {key for kind in (Data, Train, Penalty, Run) for key in kind.__struct_fields__}
    assert not [key for key in {*fixed, *KEYS.values()} - {"optimizer", "schedule", "augment"} if f"`{key}`" not in text]
    assert not [s for s in Config.__struct_fields__ if f"`[{s}]`" not in text]
    assert not [name for name in OPTIMIZERS if f" {name} " not in text.replace("|", " ")]
    assert not [name for name in ("constant", "power", "exponential", "piecewise", "cosine", "onecycle") if name not in text]
    assert not [option for option in KEYS if f"--{option}" not in text]


# ---- augmentation by preset -----------------------------------------------------------------------------------------


def augmented(*rows) -> dict:
    """What differs from doing nothing in the resolved [augment]."""
    from nncore.train import parts

    made = parts.make_augment(resolve(Draft().put_all([("here", key, value) for key, value in rows])).augment)
    return made.to_dict() if made else {}


def test_presets_follow_the_data_set(tmp_path):
    from nncore.data.augment import Augment

    digits, clothes = Augment.default("mnist").to_dict(), {"crop": 2, "flip": True}
    assert augmented(("augment.preset", "default")) == clothes
    assert augmented(("model.name", "vgg-small")) == clothes
    assert augmented(("model.name", "vgg-small"), ("data.name", "fashion-mnist")) == clothes
    assert augmented(("model.name", "vgg-small"), ("data.name", "mnist")) == digits
    folder = tmp_path / "glyphs"
    folder.mkdir()
    assert augmented(("model.name", "resnet-small"), ("data.name", f"{folder}")) == digits
    assert augmented(("model.name", "resnet-small"), ("data.folder", f"{folder}")) == digits
    course = tmp_path / "course"
    course.mkdir()
    assert augmented(("augment.preset", "default"), ("data.folder", f"{course}")) == {"one_pixel": True}
    (course / "fashion_mnist_train_vectors.csv").touch()
    assert augmented(("augment.preset", "default"), ("data.folder", f"{course}")) == clothes
    assert "preset" not in to_toml(resolve(Draft().put("model.name", "vgg-small", "here")).tables())


def test_presets_and_what_changes_them():
    mnist = ("data.name", "mnist")
    turned = augmented(("augment", "default,rotate=5"), mnist)
    assert turned == {**augmented(("augment", "default"), mnist), "rotate": 5.0}
    assert augmented(("augment", {"preset": "default", "rotate": 5}), mnist) == turned
    assert augmented(("model.name", "vgg-small"), ("augment.rotate", 5), mnist) == turned
    assert augmented(("model.name", "vgg-small"), ("augment.preset", "one_pixel"), mnist) == {"one_pixel": True}
    assert augmented(("model.name", "vgg-small"), ("augment", "none"), mnist) == {}
    assert augmented(("model.name", "vgg-small"), ("augment", "shift=2"), mnist) == {"shift": 2}
    assert augmented(("model.name", "vgg-small"), ("augment.preset", "none"), ("augment.shift", 2)) == {"shift": 2}
    with pytest.raises(UsageError, match="unknown preset 'afine': did you mean affine"):
        augmented(("augment.preset", "afine"))
    with pytest.raises(UsageError, match="unknown 'defualt'; names: none"):
        augmented(("augment", "defualt"))


@pytest.mark.parametrize("name", ["nielsen", "vgg-small", "cnn", "inception-small", "resnet-small", "allconv"])
def test_no_recipe_mirrors_digits(name):
    for data in ("mnist", "glyphs"):
        assert "flip" not in augmented(("model.name", name), ("data.name", data))
    assert augmented(("model.name", name))["flip"]
