"""What a result is scored by: trials that the search has not seen, and caveats where that cannot be."""

import numpy as np
import pytest

import nasharness
from nasharness import tables
from nasharness.errors import UsageError
from nasharness.search import Problem
from nasharness.studies import Plan, load, run_study

EMBEDDED = {"table": "embedded", "evaluations": 100}


@pytest.fixture
def noisy(data_home):
    """A space of 243 architectures whose true worth is known, each measured in three trials."""
    rng = np.random.default_rng(5)
    codes = np.array([f"{code:05d}" for code in range(100_000) if set(f"{code:05d}") <= set("012")], dtype=object)
    worth = 70 + np.array([sum(map(int, code)) for code in codes]) / 3
    trials = worth + rng.normal(0, 1.0, (3, len(codes)))
    frame = {"code": codes, **{f"run{number}": values for number, values in enumerate(trials)}}
    metrics = {f"run{number}": f"acc:{number}" for number in range(3)}
    tables.from_frame(frame, name="noisy", arch="code", metrics=metrics)
    return worth, trials


def test_the_default_of_the_embedded_table_scores_with_unseen_trials():
    problem = Problem.create(**EMBEDDED)
    assert (str(problem.signal), str(problem.final)) == ("val@200:random", "val@200:others")
    column = problem.table.array("cifar10-valid", "val_acc", 200)[0]
    result = nasharness.run("rea", problem, runs=40)
    for run in range(40):
        arch = result.incumbent[run]
        present = column[:, arch][~np.isnan(column[:, arch])].astype(np.float64)
        told = result.trajectories.signal[run, result.trajectories.ids[run] == arch]
        hidden = [value for value in present if not np.isclose(told, value).any()]
        assert result.final[run] == pytest.approx(np.mean(hidden) if hidden else present.mean())
    assert result.optimum == pytest.approx(np.nanmean(column, axis=0).max())


def test_the_score_is_what_the_chosen_are_worth_on_average(noisy):
    """With the trials that the search saw, scores are too high; without them they are right within their error."""
    worth, _ = noisy
    seeds = {}
    for final in ("acc:others", "acc:mean"):
        result = nasharness.run("random", space="noisy", signal="acc:random", final=final, evaluations=60, runs=2_000)
        seeds[final] = result.final - worth[result.incumbent]
    error = seeds["acc:others"].std() / np.sqrt(2_000)
    # the table is one draw of three trials: its cells are few, so their noise does not average out over runs
    assert seeds["acc:mean"].mean() > seeds["acc:others"].mean() + 0.3
    assert abs(seeds["acc:others"].mean()) < 0.25 + 4 * error


def test_swapping_the_trials_swaps_what_is_seen_and_what_is_scored(noisy):
    _, trials = noisy
    for shown in range(3):
        result = nasharness.run(
            "random", space="noisy", signal=f"acc:{shown}", final="acc:others", evaluations=60, runs=9
        )
        others = trials[[number for number in range(3) if number != shown]].mean(axis=0)
        assert result.final == pytest.approx(others[result.incumbent])


def test_on_the_embedded_table_the_gain_from_having_been_seen_is_gone():
    """Over swapped trials: what was seen scores above its own unseen trials; the score does not."""
    gains, scores = [], []
    for shown, hidden in (("trial0", "trial1"), ("trial1", "trial0")):
        problem = Problem.create(table="embedded", evaluations=100, signal=f"val@200:{shown}")
        unseen = problem.table.values("cifar10-valid", "val_acc", 200, seed=hidden)
        result = nasharness.run("rea", problem, runs=300)
        chosen = result.incumbent
        gains.append(problem.table.values("cifar10-valid", "val_acc", 200, seed=shown)[chosen] - unseen[chosen])
        scores.append(result.final - unseen[chosen])
    assert np.mean(gains) > 0.1
    assert abs(np.mean(scores)) < np.mean(gains) / 4


def test_where_all_was_seen_the_mean_stands_and_it_is_said(noisy):
    result = nasharness.run(
        "local-search", space="noisy", signal="acc:mean", final="acc:others", evaluations=40, runs=5
    )
    assert result.final == pytest.approx(noisy[1].mean(axis=0)[result.incumbent])
    assert "final-contains-signal" in [caveat.code for caveat in result.caveats]
    with pytest.raises(UsageError, match="for final metrics"):
        Problem.create("noisy", signal="acc:others")


def test_studies_and_runs_score_alike(noisy, tmp_path):
    options = {"signal": "acc:random", "final": "acc:others", "evaluations": 60}
    plan = Plan.create(algorithms=["rea"], space="noisy", runs=20, **options)
    last = load(run_study(plan, tmp_path / "study")).last
    result = nasharness.run("rea", space="noisy", runs=20, **options)
    assert np.array_equal(last["final"], result.final)
    assert np.array_equal(last["recommended_final"], result.recommended_final)
