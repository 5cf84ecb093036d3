"""Manifests: ours are right, a user's mistake is named by file and key."""

from __future__ import annotations

import re

import pytest
from conftest import write_manifest

from nncore.data.manifest import BUILT_IN, find_manifest, manifest_names, read_manifest
from nncore.errors import DataError


def test_ours(tmp_path):
    assert manifest_names([]) == sorted(p.stem for p in BUILT_IN.glob("*.toml")) == ["fashion-mnist", "mnist"]
    for name in manifest_names([]):
        m = find_manifest(name, [])
        assert (m.name, len(m.classes), m.shape) == (name, 10, (28, 28))
        assert m.files["train_images"].shape == (60000, 28, 28)
        assert m.files["test_labels"].nbytes == 10008
        assert len(m.mirrors) >= 3


def test_a_users(tmp_path):
    write_manifest(tmp_path, ["http://127.0.0.1/"])
    m = find_manifest("tiny", [tmp_path])
    assert m.files["train_images"].nbytes == 16 + 12 * 16
    assert find_manifest("tiny", []) is None
    assert "tiny" in manifest_names([tmp_path, tmp_path / "absent"])


MISTAKES = [
    ('title = "Tiny"', "", "Object missing required field `title`"),
    ('title = "Tiny"', "title = 3", "key title: Expected `str`, got `int`"),
    ('licence = "CC0"', 'license = "CC0"', "unknown field `license`"),
    ("shape = [4, 4]", "shape = [4, 0]", "key shape[1]: Expected `int` >= 1"),
    ("shape = [4, 4]", "shape = []", "key shape: Expected `array` of length >= 1"),
    ('classes = ["a", "b", "c"]', 'classes = ["a"]', "key classes: Expected `array` of length >= 2"),
    ("count = 12", 'count = "twelve"', "key files.count: Expected `int`, got `str`"),
    ("sha256 = \"", "sha256 = \"x", "key files.sha256: Expected `str` matching regex"),
    ('name = "train-images-idx3-ubyte"', 'name = "../../etc/passwd"', "key files.train_images.name: a plain file name"),
    ('name = "train-images-idx3-ubyte"', 'name = ".."', "key files.train_images.name: a plain file name"),
    ("[files.test_labels]", "[files.test_label]", "key files: must hold exactly train_images, train_labels"),
    ("mirrors = ['http://127.0.0.1/']", "mirrors = ['file:///etc/']", "mirrors: 'file:///etc/' must begin with http"),
    ("mirrors = ['http://127.0.0.1/']", "mirrors = ['http://127.0.0.1']", "http:// or https:// and end with /"),
    ("shape = [4, 4]", "shape = [4, 4", "not valid TOML"),
    ("shape = [4, 4]", "shape = " + "[" * 5000, "not valid TOML"),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES, ids=[m[2][:40] for m in MISTAKES])
def test_mistakes(tmp_path, old, new, message):
    path = write_manifest(tmp_path, ["http://127.0.0.1/"])
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=r"tiny\.toml: .*" + re.escape(message)):
        read_manifest(path)


def test_counts_that_differ(tmp_path):
    path = write_manifest(tmp_path, [])
    path.write_text(path.read_text().replace("count = 12", "count = 13", 1))
    with pytest.raises(DataError, match="files.train_labels.count: differs"):
        read_manifest(path)


def test_not_text(tmp_path):
    (tmp_path / "x.toml").write_bytes(b'title = "\xff"')
    with pytest.raises(DataError, match="not UTF-8 at offset 9"):
        read_manifest(tmp_path / "x.toml")
    (tmp_path / "y.toml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(DataError, match="this is no manifest"):
        read_manifest(tmp_path / "y.toml")
