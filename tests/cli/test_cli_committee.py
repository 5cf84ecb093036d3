"""nncore committee, nncore crossval and nncore lr."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny):
    from nncore.cli import run

    folder = tmp_path_factory.mktemp("committee")
    for seed in (1, 2, 3):
        assert run(["train", "--data", str(tiny), "--epochs", "2", "--hidden", "16", "--batch", "64", "--seed", str(seed),
                    "--quiet", "--out", str(folder / str(seed))]) == 0
    return [folder / str(seed) for seed in (1, 2, 3)]


def test_members_and_committee(inside, runs, tiny):
    done = inside("committee", *runs, "-o", "p.csv", "--json")
    found = done.json
    assert done.code == 0 and found["schema"] == "nncore.committee/1" and found["how"] == "average"
    assert [m["model"] for m in found["members"]] == [str(r) for r in runs]
    for m, run in zip(found["members"], runs, strict=True):
        assert m["accuracy"] == inside("predict", run, "--json").json["accuracy"]
    scored = inside("score", "p.csv", tiny / "t10k-labels-idx1-ubyte", "--json").json
    assert (scored["n"], scored["accuracy"]) == (200, found["accuracy"])
    text = inside("committee", *runs)
    assert f"average of 3: accuracy {found['accuracy']:.2%}" in text.out and str(runs[0]) in text.out


def test_vote_save_and_thresholds(inside, runs, tiny):
    saved = inside("committee", *runs, "--save", "ours", "--vote", "--json").json
    again = inside("committee", "ours", "--data", tiny, "--vote", "--threshold", "0.01")
    assert again.code == 0 and "PASS" in again.out and f"{saved['accuracy']:.2%}" in again.out
    assert inside("committee", "ours", "--data", tiny, "--threshold", "1").code == 1
    assert inside("committee", "ours").code == 2
    assert "name no data" in inside("committee", "ours").err
    assert inside("committee", runs[0], "--save", "ours").code == 2


def test_bad_members(inside, runs, tmp_path):
    assert inside("committee").code == 2
    assert inside("committee", tmp_path / "nothing").code == 3
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "committee.json").write_text("{}")
    done = inside("committee", "bad")
    assert done.code == 3 and "not a committee" in done.err


def test_crossval(inside, tiny):
    options = ("crossval", "--data", tiny, "--folds", 3, "--epochs", 1, "--hidden", "8", "--batch", 50)
    found = inside(*options, "--json").json
    assert found["schema"] == "nncore.crossval/1" and [f["n"] for f in found["folds"]] == [200, 200, 200]
    values = [f["accuracy"] for f in found["folds"]]
    assert found["accuracy"]["mean"] == pytest.approx(sum(values) / 3) and found["accuracy"]["deviation"] > 0
    text = inside(*options, "--threads", 1)
    assert text.code == 0 and f"accuracy {found['accuracy']['mean']:.2%}" in text.out and "fold 3" in text.out
    assert inside(*options, "--threshold", "0.01").code == 0
    below = inside(*options, "--threshold", "1")
    assert below.code == 1 and "BELOW_THRESHOLD: mean accuracy" in below.out
    assert inside("crossval", "--data", tiny, "--folds", 1).code == 2
    few = inside(*options, "--steps", 1, "--json").json
    assert few["accuracy"]["mean"] < found["accuracy"]["mean"]
    assert inside("crossval", "--data", tiny, "--folds", 601).code == 2


def test_lr(inside, tiny):
    options = ("lr", "--data", tiny, "--hidden", "16", "--batch", 50, "--steps", 40)
    found = inside(*options, "--json").json
    assert found["schema"] == "nncore.rates/1" and len(found["rate"]) <= 40 and 1e-5 < found["suggestion"] < 0.3
    text = inside(*options)
    assert text.code == 0 and f"suggestion {found['suggestion']:.1e}" in text.out
    assert inside(*options, "--low", 2).code == 2
    assert inside(*options, "--optimizer", "momentum", "--json").json["rate"] == found["rate"][:40]


def test_a_recipe_is_that_of_train(inside, tiny):
    """Settings from a file, options, early stopping with a validation share of its own in every fold."""
    from pathlib import Path

    options = ("--hidden", "8", "--epochs", 2, "--batch", 50, "--set", "average.kind=ema", "--set", "clip.norm=1.0")
    assert inside("train", "--data", tiny, *options, "--out", "run", "--quiet").code == 0
    a = inside("crossval", "run/config.toml", "--folds", 2, "--threshold", 0, "--json").json
    b = inside("crossval", "--data", tiny, *options, "--folds", 2, "--json").json
    assert a["folds"] == b["folds"] and Path("run/config.toml").exists()
    plain = inside("crossval", "--data", tiny, *options[:6], "--folds", 2, "--json").json
    assert plain["folds"] != b["folds"]
    stopped = inside("crossval", "--data", tiny, "--hidden", "8", "--validation", "0.2", "--patience", 1, "--epochs", 8,
                     "--folds", 2)
    assert stopped.code == 0
