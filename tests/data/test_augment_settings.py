"""The settings of augmentation: their text, their names, their limits."""

import pytest

import nncore as nn
from nncore.data.augment import NAMED, Augment
from nncore.data.manifest import find_manifest


@pytest.mark.parametrize("text, want", [
    ("", Augment()), ("none", Augment()), ("flip", Augment(flip=True)), ("flip=false", Augment()),
    ("shift=2,rotate=10,elastic=36:6", Augment(shift=2, rotate=10, elastic=(36, 6))),
    (" affine , shift = 3,mixup=0.2 ", Augment(shift=3, rotate=10, scale=0.1, shear=5, mixup=0.2)),
    ("erase=0.5,erase_area=0.1:0.2,fill=noise", Augment(erase=0.5, erase_area=(0.1, 0.2), fill="noise")),
    ("one_pixel,noise=0.05", Augment(one_pixel=True, noise=0.05)),
])
def test_text(text, want):
    found = Augment.parse(text)
    assert found == want
    assert Augment.parse(str(found)) == found == Augment.from_dict(found.to_dict())


@pytest.mark.parametrize("name", NAMED)
def test_names(name):
    assert Augment.parse(name) == NAMED[name] and bool(NAMED[name]) == (name != "none")


def test_text_keeps_every_digit():
    a = Augment(rotate=0.1 + 0.2, elastic=(36.123456789012345, 6), noise=1e-7)
    assert Augment.parse(str(a)) == a
    assert str(Augment.parse("elastic")) == "rotate=7.5,scale=0.15,shear=7.5,elastic=36:6" and str(Augment()) == "none"


def test_defaults_of_data_sets():
    assert Augment.parse("default", "fashion-mnist") == Augment.default("fashion-mnist") == Augment(flip=True, crop=2)
    digits = Augment.default("mnist")
    assert digits.elastic and not digits.flip and digits == Augment.default("glyphs")
    assert Augment.default("whatever") == Augment(one_pixel=True)
    assert Augment.parse("default,noise=0.1", "mnist").noise == 0.1
    for name in ("mnist", "fashion-mnist"):
        assert not Augment.default(name).caution(find_manifest(name, []).mirror_safe)


@pytest.mark.parametrize("text, words", [
    ("afine", "unknown 'afine'; names: none"), ("affine,shift", "'shift': shift takes a whole number"),
    ("shift=2,affine", "unknown 'affine'"), ("shift=2.5", "whole number"), ("shift=-1", "whole number"),
    ("rotate=200", "rotate .degrees. must lie between 0 and 180"), ("rotate=nan", "between"), ("rotate=x", "takes a number"),
    ("scale=1", "between 0 and 0.9"), ("elastic=36", "pair"), ("elastic=36:6:1", "pair"), ("elastic=36:0", "sigma"),
    ("elastic=a:b", "two numbers"), ("flip=maybe", "true or false"), ("erase=2", "probability"),
    ("fill=blue", "zero, mean, noise"), ("erase_area=0.5:0.1", "smallest and a largest"), ("one_pixel,shift=1", "leave out"),
    ("mixup=1,cutmix=1", "leave one out"), ("mixup=-1", "alpha"), ("shear=89", "between 0 and 60"),
])
def test_bad_text(text, words):
    with pytest.raises(nn.UsageError, match=words):
        Augment.parse(text)


@pytest.mark.parametrize("settings, words", [
    ({"shift": True}, "whole number"), ({"shift": 1.0}, "whole number"), ({"flip": 1}, "True or False"),
    ({"rotate": "10"}, "must lie between"), ({"rotate": True}, "must lie between"), ({"elastic": 36}, "pair"),
    ({"erase_area": None}, "smallest"), ({"crop": 10**9}, "0 to 4096"),
])
def test_bad_settings(settings, words):
    with pytest.raises(nn.UsageError, match=words):
        Augment(**settings)


def test_unknown_settings():
    with pytest.raises(nn.UsageError, match="unknown setting 'blur'"):
        Augment.from_dict({"blur": 1})


def test_who_may_be_mirrored():
    """Manifests say so, splits carry it, and a mirror asked for by name is doubted only where it destroys labels."""
    assert find_manifest("mnist", []).mirror_safe is False and find_manifest("fashion-mnist", []).mirror_safe is True
    assert nn.data.glyphs(20, 10).train.mirror_safe is False
    flip = Augment(flip=True)
    assert "leave flip out" in flip.caution(False)
    assert flip.caution(True) is None and flip.caution(None) is None and Augment(shift=1).caution(False) is None
