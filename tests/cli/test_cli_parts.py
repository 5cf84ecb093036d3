"""Augmentation, averages, clipping by settings file and option: they reach the weights, and nonsense is named."""

from __future__ import annotations

import pytest

from nncore.train.config import read_config

QUICK = ("--epochs", 2, "--batch", 50, "--hidden", 8, "--json", "--quiet")


@pytest.fixture
def weights(inside, tiny, tmp_path):
    """Train with these settings; returns (weights_sha256, resolved settings)."""
    def run(text: str = "", *options):
        count = len(list(tmp_path.iterdir()))
        (tmp_path / f"{count}.toml").write_text(text)
        done = inside("train", f"{count}.toml", "--data", tiny, *QUICK, "--out", f"r{count}", *options)
        assert done.code == 0, done.err
        again = inside("train", f"r{count}/config.toml", "--out", f"again{count}", "--json", "--quiet")
        assert again.json["weights_sha256"] == done.json["weights_sha256"]
        return done.json["weights_sha256"], read_config(tmp_path / f"r{count}/config.toml")

    return run


def test_augment(weights, inside):
    plain, _ = weights()
    file, settings = weights("[augment]\nshift = 2\nnoise = 0.1\n")
    assert plain != file and settings.augment["shift"] == 2 and settings.augment["noise"] == 0.1
    assert weights("", "--augment", "shift=2,noise=0.1")[0] == file
    assert weights('augment = "shift=2,noise=0.1"\n')[0] == file
    assert weights("[augment]\nnoise = 0.1\n", "--set", "augment.shift=2")[0] == file
    assert weights("[augment]\nrotate = 9.0\n", "--augment", "shift=2,noise=0.1")[0] == file, "the text replaces the table"
    assert weights("[augment]\nshift = 2\n", "--augment", "none")[0] == plain
    assert weights("augment = false\n")[0] == plain
    for options, message in ((["--set", "augment.shfit=2"], "did you mean shift"), (["--augment", "shift=-1"], "shift"),
                             (["--set", "augment.erase=2"], "augment: erase")):
        done = inside("train", *options)
        assert done.code == 2 and message in done.err, done


def test_a_warning_is_a_sentence(inside, tiny):
    """Flipped digits: the data set by name says that a mirror destroys its labels."""
    done = inside("train", "--data", "glyphs", "--set", "data.limit=100", "--batch", 50, "--epochs", 1, "--augment", "flip",
                  "--threshold", 0, "--quiet", "--out", "r")
    assert done.code == 0 and done.err.startswith("nncore: augment: flip mirrors") and len(done.err.splitlines()) == 1


def test_average_and_clip(weights, inside):
    plain, _ = weights()
    found = {plain}
    for text in ("[average]\nkind = 'ema'\ndecay = 0.9", "[average]\nkind = 'SWA'\nstart = 0.5", "[clip]\nnorm = 0.5",
                 "[clip]\nvalue = 0.001"):
        found.add(weights(text)[0])
    assert len(found) == 5
    assert weights("[average]\nkind = 'swa'")[1].average == {"kind": "swa", "start": 0.75}
    for option, message in (("average.kind=median", "known: EMA, SWA"), ("average.decay=1.0", "decay must lie"),
                            ("clip.norm=0", "norm must be"), ("clip.norm=x", "clip.norm: expected float")):
        done = inside("train", "--set", option)
        assert done.code == 2 and message in done.err, done
    assert inside("train", "--set", "clip.norm=1", "--set", "clip.value=1").code == 2


def test_smoothing(weights):
    plain, _ = weights()
    file, settings = weights("[train]\nsmoothing = 0.1\n")
    assert file != plain and settings.train.loss["smoothing"] == 0.1
    assert weights("", "--smoothing", 0.1)[0] == file
    assert weights("[train]\nloss = {name = 'CrossEntropy', smoothing = 0.1}")[0] == file
