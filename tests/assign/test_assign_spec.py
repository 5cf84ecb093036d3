"""assignment.toml: built-in ones are sound, bad ones are refused with line and key."""

from __future__ import annotations

import pytest

from nncore.assign import spec
from nncore.errors import DataError, UsageError

GOOD = spec.source("glyphs")


@pytest.mark.parametrize("name", ["fashion-mnist-88", "glyphs", "mnist-97", "xor"])
def test_built_in(name):
    assert spec.load(name).name == name


def test_the_hand_out():
    a = spec.load("fashion-mnist-88")
    assert (a.pass_.threshold, a.limits.wall, a.rules.seeds) == (0.88, 600, (0, 1, 2, 3, 42))
    assert a.outputs == ("train_predictions.csv", "test_predictions.csv") and a.run.command == "run.sh"


@pytest.mark.parametrize("old, new, said", [
    ("threshold = 0.90", "threshold = 90", "line 15: pass.threshold: expected `float` <= 1"),
    ("wall = 300", "wal = 60", "line 18: limits.wal: no such key"),
    ("wall = 300", 'wall = "60"', "line 18: limits.wall: expected `float`, got `str`"),
    ("[pass]\nthreshold = 0.90", "", "pass: this key is needed"),
    ("threshold = 0.90", "", "line 14: pass.threshold: this key is needed"),
    ('name = "glyphs"\ntitle', 'name = "../x"\ntitle', "line 2: name: expected `str` matching regex"),
    ('prefix = "glyphs"', 'prefix = "a/b"', "line 10: data.prefix: expected `str` matching regex"),
    ('[data]\nname = "glyphs"', '[data]\nname = "mnist"', "line 11: data.train: only glyphs"),
    ("seeds = [0,", 'seeds = ["0",', "line 25: rules.seeds[0]: expected `int`"),
    ("[pass]", '[run]\ntest_output = "run.sh"\n[pass]', "line 15: run.test_output: command and outputs need three"),
    ("[pass]", "[pass", "not TOML"),
])
def test_faults_name_line_and_key(tmp_path, old, new, said):
    assert GOOD.count(old) == 1
    path = tmp_path / "a.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(DataError) as e:
        spec.load(path)
    assert said in str(e.value) and str(path) in str(e.value)


def test_unknown_names_get_suggestions():
    with pytest.raises(UsageError, match="did you mean mnist-97"):
        spec.load("mnist-98")


def test_digest_depends_on_what_is_asked(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(GOOD)
    assert spec.load(path).digest() == spec.load("glyphs").digest()
    path.write_text(GOOD.replace("threshold = 0.90", "threshold = 0.91"))
    assert spec.load(path).digest() != spec.load("glyphs").digest()


def test_commands(inside, tmp_path):
    assert {a["name"] for a in inside("assignment", "list", "--json").json["assignments"]} == set(spec.names())
    assert "mnist-97" in inside("assignment", "list").out
    assert inside("assignment", "new", "our.toml", "--like", "xor").code == 0
    assert inside("assignment", "validate", "our.toml").code == 0
    assert inside("assignment", "show", "our.toml").out == spec.source("xor")
    assert inside("assignment", "new", "our.toml").code == 2
    (tmp_path / "our.toml").write_text(spec.source("xor").replace("wall = 30", "wall = 0"))
    bad = inside("assignment", "validate", "our.toml")
    assert bad.code == 3 and "our.toml: line 15: limits.wall" in bad.err
    assert inside("assignment", "show", "nonsense").code == 2
