"""The plan of a sweep and the summary of its runs."""

from __future__ import annotations

import pytest

from nncore.errors import DataError, UsageError
from nncore.train.sweep import Plan, read_sweep, spread, summary

BASE = "[base.data]\nname = 'glyphs'\nvalidation = 0.1\n"


def plan(tmp_path, text: str, *overrides, base: str = BASE) -> Plan:
    path = tmp_path / "sweep.toml"
    path.write_text(base + text)
    return read_sweep(path, [("--set", *o) for o in overrides])


def test_a_grid_is_every_combination_and_the_seed_varies_fastest(tmp_path):
    p = plan(tmp_path, "[grid]\n'train.seed' = [0, 1]\n'optimizer.lr' = [0.1, 0.2]\n'model.hidden' = [[4], [5, 6]]\n")
    assert [(q["optimizer.lr"], q["model.hidden"], q["train.seed"]) for q in p.points] == [
        (lr, h, s) for lr in (0.1, 0.2) for h in ([4], [5, 6]) for s in (0, 1)]
    assert p.configs[5].optimizer["lr"] == 0.2 and p.configs[5].train.seed == 1 and p.configs[5].model["hidden"] == (4,)


def test_keys_may_be_nested_tables_and_names_go_first(tmp_path):
    p = plan(tmp_path, "[grid.optimizer]\nlr = [0.1]\nname = ['sgd', 'adam']\n[grid.train]\nseed = [3]\n")
    assert [(c.optimizer["name"], c.optimizer["lr"], c.train.seed) for c in p.configs] == [("sgd", 0.1, 3), ("adam", 0.1, 3)]


def test_draws(tmp_path):
    text = ("[random]\nn = {n}\n'optimizer.lr' = {{low = 1e-4, high = 1e-1, log = true}}\n"
            "'optimizer.beta1' = {{low = 0.5, high = 0.75}}\n'train.batch' = {{low = 10, high = 12}}\n"
            "'model.hidden' = [[4], [5]]\n'train.epochs' = {{choice = [1, 2]}}\n")
    p = plan(tmp_path, text.format(n=200))
    assert len(p.points) == 200
    rates = [q["optimizer.lr"] for q in p.points]
    assert all(1e-4 <= r <= 1e-1 for r in rates) and 0.35 < sum(r < 10**-2.5 for r in rates) / 200 < 0.65, "even in log"
    betas = [q["optimizer.beta1"] for q in p.points]
    assert all(0.5 <= b <= 0.75 for b in betas) and 0.35 < sum(b < 0.625 for b in betas) / 200 < 0.65
    assert {q["train.batch"] for q in p.points} == {10, 11, 12} and {q["train.epochs"] for q in p.points} == {1, 2}
    assert {str(q["model.hidden"]) for q in p.points} == {"[4]", "[5]"}
    assert plan(tmp_path, text.format(n=7)).points == p.points[:7], "more draws leave the first as they are"
    assert plan(tmp_path, text.format(n=7).replace("n = 7", "n = 7\nseed = 1")).points != p.points[:7]
    assert p.points[0] == {"optimizer.lr": 0.02518, "optimizer.beta1": 0.5178, "train.batch": 12, "model.hidden": [4],
                           "train.epochs": 1}, "the draws are pinned: the counter RNG at (seed, draw, key)"


def test_grid_and_draws_are_multiplied_and_nothing_runs_twice(tmp_path):
    both = plan(tmp_path, "[grid]\n'train.seed' = [0, 1, 2]\n[random]\nn = 4\n'optimizer.lr' = {low = 0.1, high = 0.9}\n")
    assert len(both.points) == 12 and len({q["optimizer.lr"] for q in both.points}) == 4
    assert len(plan(tmp_path, "[random]\nn = 50\n'train.batch' = {low = 5, high = 6}\n").points) == 2


def test_a_base_from_a_file_relative_to_the_sweep(tmp_path):
    (tmp_path / "run.toml").write_text("[data]\nfolder = 'here'\nvalidation = 0.1\n[train]\nepochs = 9\n")
    p = plan(tmp_path, "[grid]\n'train.seed' = [0]\n", ("train.batch", 7), base="base = 'run.toml'\n")
    c = p.configs[0]
    assert (c.train.epochs, c.train.batch, c.data.folder) == (9, 7, str(tmp_path / "here"))


@pytest.mark.parametrize("text, message", [
    ("", "nothing varies"),
    ("[gird]\n'train.seed' = [0]", "unknown key gird: did you mean grid"),
    ("[grid]\n'train.sed' = [0]", "train.sed=0: train.sed: unknown key sed: did you mean seed"),
    ("[grid]\n'train.seed' = [0, -1]", "train.seed=-1: train.seed"),
    ("[grid]\n'train.seed' = 3", "expected a list"), ("[grid]\n'train.seed' = []", "expected a list"),
    ("[grid]\n'train.seed' = [1, 1]", "twice"), ("grid = 3", r"expected a table \[grid\]"),
    (f"[grid]\n'train.seed' = {list(range(200))}\n'train.batch' = {list(range(1, 60))}", "more than 10,000 runs"),
    (f"[grid]\n'train.seed' = {list(range(200))}\n[random]\nn = 60\n'optimizer.lr' = [1, 2]", "more than 10,000 runs"),
    ("[random]\n'optimizer.lr' = {low = 1, high = 2}", "random: n: expected a whole number"),
    ("[random]\nn = 0", "random: n"), ("[random]\nn = 3", "nothing to draw"), ("[random]\nn = true", "random: n"),
    ("[random]\nn = 3\nseed = -1\n'optimizer.lr' = {low = 1, high = 2}", "random: seed"),
    ("[random]\nn = 3\n'optimizer.lr' = {low = 2, high = 1}", "low < high"),
    ("[random]\nn = 3\n'optimizer.lr' = {low = 0, high = 1, log = true}", "above 0 for log"),
    ("[random]\nn = 3\n'optimizer.lr' = {low = 0, high = 1, step = 3}", "expected a list of values or"),
    ("[random]\nn = 3\n'optimizer.lr' = 3", "expected a list of values or"),
    ("[random]\nn = 3\n'optimizer.lr' = {low = 0, high = inf}", "low < high"),
    ("[random]\nn = 3\n'optimizer.lr' = {choice = 3}", "choose from"),
    ("[random]\nn = 3\n'optimizer.eps' = {low = -3.0, high = -2.0}", "eps must be a finite number"),
])
def test_bad_files(tmp_path, text, message):
    with pytest.raises(DataError, match="sweep.toml: .*" + message):
        plan(tmp_path, text, base="" if text.startswith("grid =") else BASE)


def test_bad_bases(tmp_path):
    grid = "[grid]\n'train.seed' = [0]\n"
    with pytest.raises(UsageError, match="never by the test set: set data.validation"):
        plan(tmp_path, grid, base="")
    with pytest.raises(DataError, match="base is a settings file or a table"):
        plan(tmp_path, grid, base="base = 3\n")
    with pytest.raises(DataError, match="nowhere.toml: cannot be read"):
        plan(tmp_path, grid, base="base = 'nowhere.toml'\n")
    with pytest.raises(DataError, match="sweep.toml: train.epoch: unknown key"):
        plan(tmp_path, grid, base=BASE + "[base.train]\nepoch = 3\n")


def result(accuracy, test=0.5, state="finished"):
    if state != "finished":
        return {"state": state, "val_accuracy": None, "val_loss": None, "test_accuracy": None, "seconds": None}
    return {"state": state, "val_accuracy": accuracy, "val_loss": 1 - accuracy, "test_accuracy": test, "seconds": 1.0}


def test_the_best_is_chosen_by_validation_whatever_the_test_set_says(tmp_path):
    p = plan(tmp_path, "[grid]\n'train.seed' = [0, 1]\n'optimizer.lr' = [1, 2, 3, 4]\n")
    found = [result(0.5, 0.99), result(0.7, 0.99), result(0.8, 0.1), result(0.9, 0.3), result(0.99), result(0, state="failed"),
             result(0, state="waiting"), result(0, state="failed")]
    rows, chosen = summary(p, found)
    assert [r["settings"]["optimizer.lr"] for r in rows] == [2, 1, 3, 4], "a setting that failed once stands behind"
    assert rows[0]["val_accuracy"] == {"mean": pytest.approx(0.85), "deviation": pytest.approx(0.005**0.5), "n": 2}
    assert (rows[2]["finished"], rows[2]["failed"], rows[2]["val_accuracy"]["deviation"]) == (1, 1, None)
    assert rows[3]["val_accuracy"] is None
    assert chosen["settings"] == {"optimizer.lr": 2} and chosen["test_accuracy"]["mean"] == pytest.approx(0.2)
    assert not any("test_accuracy" in r for r in rows)
    assert summary(p, [result(0, state="failed")] * 8)[1] is None


def test_spread():
    assert spread([]) is None and spread([2.0]) == {"mean": 2.0, "deviation": None, "n": 1}
    assert spread([1.0, 3.0]) == {"mean": 2.0, "deviation": pytest.approx(2**0.5), "n": 2}
