"""Noise as a factor: realisations of a signal, what is scored on them, and intervals over seeds and realisations."""

import json

import numpy as np
import pytest

import nasharness
from nasharness.analysis.statistics import hierarchical
from nasharness.analysis.statistics.sequential import SAME
from nasharness.analysis.validation import Live, validate
from nasharness.errors import UsageError
from nasharness.search import Problem, replicate
from nasharness.search.interval import spread
from nasharness.search.measure import read_trials
from nasharness.search.testing import synthetic_problem
from nasharness.studies import load
from nasharness.studies.plan import Choice

SMALL = {"dataset": "cifar100", "table": "embedded", "evaluations": 30}


def test_a_drawn_realisation_shows_one_trial_of_each_and_scores_by_the_others():
    problem = Problem.create(**SMALL)
    drawn = problem.realised(3)
    assert [str(one.signal) for one in drawn] == [f"val@200:draw{number}" for number in range(3)]
    trials, counts = read_trials(problem.final, problem.table, 200)
    signals = [one.evaluator().signal(np.arange(15625, dtype=np.int32), 0) for one in drawn]
    for one, signal in zip(drawn, signals, strict=True):
        shown = np.isclose(trials, signal)
        assert shown.any(axis=0).all()
        rest = (np.nansum(np.where(np.arange(len(trials))[:, None] < counts, trials, 0), axis=0) - signal) / (
            counts - 1
        )
        assert np.allclose(one.truth().values, rest)
    agree = (signals[0] == signals[1]).mean()
    assert 0.35 < agree < 0.5  # one of two trials, or of three
    again = Problem.create(**SMALL, signal="val@200:draw1")
    assert np.array_equal(again.evaluator().signal(np.arange(99, dtype=np.int32), 0), signals[1][:99])


def test_all_is_every_trial_that_every_architecture_has():
    found = Problem.create(**SMALL).realised("all")
    assert [str(one.signal) for one in found] == ["val@200:trial0", "val@200:trial1"]
    assert all(str(one.final) == "val@200:others" for one in found)
    named = Problem.create(**SMALL).realised("val@200:trial1,val@200:mean")
    assert [one.signal.seed for one in named] == ["trial1", "mean"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [("1", "2 to 1,000"), ("0", "2 to 1,000"), ("val@200:trial0", "at least two"), ("trial0,trial1", "no 'trial0'")],
)
def test_what_is_no_realisation_is_refused(asked, says):
    with pytest.raises(UsageError, match=says):
        Problem.create(**SMALL).realised(asked)


def test_one_value_has_no_realisations():
    with pytest.raises(UsageError, match="one value of test"):
        synthetic_problem("sss", signal="cifar100/test@90", dataset="cifar10").realised("all")
    assert [one.signal.seed for one in synthetic_problem(signal="val@12:777").realised("all")] == ["111", "777"]


def test_realisations_keep_objectives_limits_and_start():
    problem = synthetic_problem(evaluations=20, limits=["params <= 0.5"], objectives=["params"], start="random:4")
    for one in problem.realised(2):
        assert one.describe()["limits"] == problem.describe()["limits"]
        assert [each.name for each in one.objectives] == [each.name for each in problem.objectives]
        assert one.start == problem.start


def test_run_over_realisations(cli):
    found = replicate("rea", Problem.create(**SMALL), 4, runs=6, seed=3)
    alone = nasharness.run("rea", Problem.create(**SMALL, signal="val@200:draw2"), runs=6, seed=3)
    assert np.array_equal(found.results[2].incumbent, alone.incumbent)
    summary = found.summary()
    finals = np.array([result.final for result in found.results])
    assert summary["final"]["mean"] == pytest.approx(finals.mean())
    assert summary["final"]["ci95"] == pytest.approx(list(hierarchical.interval(finals)))
    words = ("run", "--algo", "rea", "--space", "tss", "--dataset", "cifar100", "--evaluations", 30, "--runs", 6)
    code, text, _ = cli(*words, "--realisations", 4)
    assert code == 0
    assert "6 on each of 4 realisations" in text
    code, text, _ = cli(*words, "--realisations", 4, "--seed", 3, "--json")
    assert json.loads(text)["final"] == summary["final"]
    assert cli(*words, "--realisations", 4, "--out", "x")[0] == 2


def test_signal_regret_stands_beside_the_final_one(cli):
    problem = Problem.create(**{**SMALL, "evaluations": 300}, signal="val@200:mean")
    result = nasharness.run("local-search", problem, runs=20)
    expected = result.problem.evaluator().expected_signal()
    assert result.signal_regret == pytest.approx(expected.max() - expected[result.incumbent])
    summary = result.summary()["signal_regret"]
    assert summary["at_maximum"] == (result.signal_regret == 0).mean() > 0
    assert "of the runs are at its maximum" in str(result)


def test_studies_cross_seeds_with_realisations(cli, tmp_path):
    words = ("--algo", "random,rea", "--space", "tss", "--dataset", "cifar100", "--runs", 8, "--evaluations", 30)
    code, text, _ = cli("study", *words, "--realisations", 3, "--out", tmp_path / "s")
    assert code == 0
    assert "3 realisations x 8 runs = 48 runs" in text
    assert cli("study", "--resume", "--out", tmp_path / "s")[0] == 0
    results = load(tmp_path / "s")
    assert len(results.last) == 48
    assert results.last.groupby(["algorithm", "seed"], observed=True).size().max() == 1
    code, text, _ = cli("compare", tmp_path / "s")
    assert code == 0
    assert "each seed on 3 realisations" in text
    found = replicate("rea", Problem.create(**SMALL), 3, runs=8)
    mean = np.mean([result.final.mean() for result in found.results])
    code, text, _ = cli("compare", tmp_path / "s", "--format", "csv")
    row = next(line for line in text.splitlines() if ",rea," in line)
    assert f"{mean:.4f}"[:7] in row
    assert cli("figures", tmp_path / "s", "--out", tmp_path / "f")[0] == 0


def test_validate_over_realisations(cli, tmp_path):
    words = ("validate", "--dataset", "cifar100", "--evaluations", 60)
    code, text, _ = cli(*words, "--algo", "local-search", "--against", "random", "--realisations", 8, "--runs", 10)
    assert code == 0
    assert "verdict    better, over seeds x realisations of the noise: 10 seeds on each of 8" in text
    assert "effects" in text
    code, text, _ = cli(*words, "--algo", "local-search", "--against", "random", "--realisations", "all", "--runs", 5)
    assert "2 realisations cannot decide" in text
    file = tmp_path / "base.json"
    assert cli(*words, "--algo", "rea", "--realisations", 3, "--runs", 5, "--record", file)[0] == 0
    code, text, _ = cli("validate", "--algo", "rea", "--against", file)
    assert "5 x 3" in text
    assert "every run is equal" in text
    code, text, _ = cli(*words, "--algo", "rea", "--against", "random", "--runs", 30, "--json")
    assert "one realisation" not in json.loads(text)["cells"][0]["generalises"]  # a trial is drawn for each evaluation
    code, text, _ = cli(*words, "--algo", "rea", "--against", "random", "--signal", "val@200:trial0", "--runs", 30)
    assert "over seeds alone, on one realisation of the signal (val@200:trial0)" in text


def test_runs_that_end_alike_are_no_evidence(cli):
    words = ("validate", "--algo", "dense-then-random", "--against", "random", "--signal", "val@200:mean", "--runs", 30)
    code, text, _ = cli(*words, "--dataset", "cifar100", "--evaluations", 30)
    assert "its seeds are no replicates" in text or "their seeds are no replicates" in text


def test_the_standard_error_adds_up_both_effects():
    rng = np.random.default_rng(0)
    of_rows, of_columns = rng.normal(0, 1, (9, 1)), rng.normal(0, 1, 40)
    values = of_rows + of_columns  # no rest
    error, _ = spread(values)
    assert error == pytest.approx(np.sqrt(of_rows.var(ddof=1) / 9 + of_columns.var(ddof=1) / 40))
    noise = rng.normal(0, 1, (9, 40))
    low, high = hierarchical.interval(values + noise)
    drawn = hierarchical.interval(values + noise, np.mean, resamples=4_000)
    assert (low + high) / 2 == pytest.approx((values + noise).mean())
    assert (drawn[1] - drawn[0]) == pytest.approx(high - low, rel=0.15)
    alone = hierarchical.interval(noise[:1])
    assert (alone[1] - alone[0]) / 2 == pytest.approx(2.0227 * noise[0].std(ddof=1) / np.sqrt(40), rel=1e-3)


def test_few_realisations_never_decide_more_than_signs_can():
    assert hierarchical.p_value(np.full((2, 5), 1.0)) == 0.5
    assert hierarchical.p_value(np.full((7, 5), 1.0)) == pytest.approx(2.0**-6)
    assert hierarchical.p_value(np.zeros((9, 4))) == 1.0
    assert hierarchical.least_realisations(0.02) == 7


@pytest.mark.slow
@pytest.mark.parametrize("realisations", [2, 3, 5, 10, 20])
@pytest.mark.parametrize("parts", [(0, 0), (0, 0.5), (0.2, 0), (0.5, 0.1), (0.9, 0.05), (0.3, 0.3)])
def test_coverage(realisations, parts):
    """``parts``: shares of the variance between realisations and between seeds; the rest is of runs."""
    rng = np.random.default_rng([realisations, *(int(100 * part) for part in parts)])
    rest = 1 - sum(parts)
    # 95 % less three standard errors; the t of 25 exponential seeds has 92 % itself
    for draw, least in ((rng.normal, 0.935), (lambda size: rng.exponential(size=size) - 1, 0.9)):
        inside, rounds = 0, 1_500
        for _ in range(rounds):
            values = np.sqrt(rest) * draw(size=(realisations, 25))
            values = values + np.sqrt(parts[0]) * rng.normal(size=(realisations, 1))
            values = values + np.sqrt(parts[1]) * draw(size=25)
            low, high = hierarchical.interval(values)
            inside += low <= 0 <= high
        assert inside / rounds >= least
        assert realisations < 10 or inside / rounds <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("sides", [("rea", "rea"), ("rea", "rea(sample=3)")], ids=["copy", "equal setting"])
def test_false_verdicts_over_seeds_and_realisations(sides):
    problems = Problem.create(**SMALL).realised(80)
    wrong = 0
    for repetition in range(40):
        chosen = [problems[(7 * repetition + step) % 80] for step in range(8)]
        new = Live(Choice.parse(sides[0]), chosen, 1_000 * repetition)
        old = Live(Choice.parse(sides[1]), chosen, 500_000 + 1_000 * repetition)
        wrong += validate(new, old, chosen, runs=20, realisations=8, alpha=0.05).verdict != SAME
    assert wrong <= 5  # 5 % of 40, and three standard errors: 2 + 3 * 1.4
