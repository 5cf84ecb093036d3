"""The check for leakage: no false alarm and no miss on programs that play both roles; its parts, one by one."""

from __future__ import annotations

import random

import pytest

from nncore.assign import grade, judge, leakage
from nncore.assign.chance import at_least, improves, same
from tests.assign import leaks, standins


@pytest.fixture(scope="module")
def checked(sandbox, tmp_path_factory):
    """{name: result} of all programs."""
    folder = tmp_path_factory.mktemp("leaks")
    with judge.prepared(leaks.assignment(folder), calibrated=False, leakage=True) as ground:
        test = ground.dataset.test
        pixels, labels = test.images.tobytes(), test.labels.tobytes()
        images = [pixels[i * 784 : (i + 1) * 784] for i in range(len(labels))]
        for name, program in (leaks.HONEST | leaks.LEAKING).items():
            leaks.write(folder / "students" / name, program, images, labels)
        state = grade.State(folder / "out")
        results = grade.grade(grade.submissions(folder / "students"), ground, state, jobs=2)
        state.close()
    return {r.submission: r for r in results}


def test_no_false_alarm(checked, capsys):
    with capsys.disabled():
        print()
        for name, r in checked.items():
            print(f"  {name:<30} {r.verdict:<8} {r.leakage['how']:<12} runs {r.leakage['runs']}  {'; '.join(r.leakage['found'])}")
    found = {name: (checked[name].verdict, checked[name].detail, checked[name].output[-300:]) for name in leaks.HONEST}
    assert {name: v for name, v in found.items() if v[0] != "PASS"} == {}


def test_no_miss(checked):
    found = {name: (checked[name].verdict, checked[name].leakage) for name in leaks.LEAKING}
    assert {name: v for name, v in found.items() if v[0] != "LEAKAGE"} == {}
    assert all(v[1]["found"] for v in found.values())


def test_who_repeats_to_the_bit_is_judged_exactly_by_one_run_more(checked):
    for name in leaks.HONEST:
        how = "statistical" if name.startswith("random") else "exact"
        assert checked[name].leakage["how"] == how, name
        assert checked[name].leakage["runs"] in ((2,) if how == "exact" else (2 * leakage.RUNS, 4 * leakage.RUNS)), name


@pytest.mark.parametrize("name, said", [
    ("copies labels", "labels"), ("learns test labels", "labels"), ("answers by line", "place"), ("answers by table", "table"),
    ("random, answers by line", "place"), ("random, learns test labels", "labels"), ("random, copies a few labels", "labels")])
def test_it_says_how(checked, name, said):
    assert leakage.SENTENCES[said] in checked[name].leakage["found"]


@pytest.mark.parametrize("name, said", [
    ("chooses by test labels", "labelled"), ("means of test labels too", "labelled"),
    ("scaled by the test set", "others"), ("teaches itself", "others"),
    ("as many of each class", "moved")])
def test_it_says_what_moved_them(checked, name, said):
    assert any(sentence.endswith(leakage.SENTENCES[said]) for sentence in checked[name].leakage["found"])


def test_labels_are_looked_at_without_asking(ground, tmp_path):
    """Random labels in the box cost no run: who copies them is found in any grading."""
    thief = standins.project(tmp_path / "thief", "honest; cp data/g_test_labels.csv test_predictions.csv")
    result = judge.judge(thief, ground)
    assert result.verdict == "LEAKAGE" and result.leakage["runs"] == 1 and "random numbers" in result.detail


# ---- parts -------------------------------------------------------------------------------------------------------------


def test_the_tail_of_the_binomial():
    from math import comb

    for n, p in ((10, 0.5), (40, 0.1)):
        for k in range(n + 1):
            exact = sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))
            assert at_least(k, n, p) == pytest.approx(exact, rel=1e-9)


def test_counting():
    assert same(b"abcd", b"abXd") == 3 and same(b"", b"") == 0
    assert improves(b"aab", b"aba", b"abb") == (1, 1)


def test_a_variant_moves_rows_and_keeps_them():
    predicted = bytes(random.Random(1).randrange(10) for _ in range(90))
    found = leakage.variant(predicted, bytes([*range(1, 10), 0]))
    assert sorted(found.order) == list(range(90)) and found.order != list(range(90))
    assert [sum(r == role for r in found.roles) for role in range(3)] == [18, 18, 54]
    assert all(found.labels[k] == (predicted[i] + 1) % 10 for k, i in enumerate(found.order))


def test_labels_are_what_is_taken_for_the_prediction():
    # Inputs given 0 were 2 twice and 1 once; who was given 2 was 0; the next class where nobody was wrong.
    assert leakage.rivals(bytes([0, 0, 0, 0, 1, 2]), bytes([2, 1, 2, 0, 1, 0]), 4) == bytes([2, 2, 0, 0])


def test_runs_are_parted_only_where_they_differ():
    chance = random.Random(3)
    pairs = [(i, j) for i in range(8) for j in range(i + 1, 8)]
    apart = {(i, j): chance.uniform(0.1, 0.2) + 0.3 * ((i < 4) != (j < 4)) for i, j in pairs}
    p, ratio = leakage.parted(apart, 4)
    assert p == 1 / 35 and ratio > 2
    alarms = sum(leakage.parted({pair: chance.random() for pair in pairs}, 4)[0] <= 1 / 35 for _ in range(2000))
    assert 20 < alarms < 110  # 57 expected at a level of 1/35, standard deviation 7.4


def seeded(chance: random.Random, answers: bytes, labels: bytes, copied: float) -> bytes:
    """What a run predicts whose seed decides one answer in ten, and which copies a share of the labels."""
    own = (a if chance.random() < 0.9 else chance.randrange(10) for a in answers)
    return bytes(t if chance.random() < copied else a for a, t in zip(own, labels, strict=True))


@pytest.mark.parametrize("copied, n, found", [(0.0, 300, False), (0.02, 2000, True), (0.005, 10_000, True)])
def test_labels_drawn_for_a_run_are_seen_in_its_answers(copied, n, found):
    """Far below what the seed moves. Who reads no labels is under a level about as often as it says."""
    chance, low, times = random.Random(7), 0, 5 if found else 200
    for _ in range(times):
        answers = bytes(chance.randrange(10) for _ in range(n))
        one, other = (seeded(chance, answers, answers, 0.0) for _ in range(2))
        told = []
        for _ in range(2 * leakage.RUNS - 2 if found else 3):
            labels = leakage.drawn(one, other, 10)
            told.append((seeded(chance, answers, labels, copied), labels))
        low += leakage.chance_of_drawn(one, other, told, 10) < (leakage.LEVEL_DRAWN / 4 if found else 0.05)
    # Two discrete tests at 5 % each: 9.8 % at most; 20 of 200 expected, standard deviation 4.2.
    assert low == times if found else low < 37


def test_random_labels_raise_no_alarm_at_its_level():
    chance = random.Random(5)
    for _ in range(300):
        predicted, labels = (bytes(chance.randrange(10) for _ in range(100)) for _ in range(2))
        assert not leakage.follows_labels(predicted, labels, 10)
    assert leakage.follows_labels(predicted, predicted[:40] + labels[40:], 10)
    assert not leakage.follows_labels(predicted, b"", 10)
