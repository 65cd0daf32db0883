"""TPE against Optuna's sampler on the same evaluations."""

import sys

import numpy as np
import pytest

import nasharness
from nasharness import spaces
from nasharness.errors import UsageError
from nasharness.search import Problem, registry
from nasharness.search.run import make_task
from nasharness.studies import Plan

optuna = pytest.importorskip("optuna")


def search(runs, **settings):
    problem = Problem.create(table="embedded", evaluations=400)
    record = registry.get("tpe")
    return record.build(make_task(record, problem, problem.evaluator(), np.arange(runs)), record.settings(settings))


@pytest.mark.parametrize("told", [10, 26, 41, 300])
def test_densities_are_optunas(told):
    from optuna.samplers._tpe.sampler import _split_trials, default_gamma

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = spaces.get("tss")
    rng = np.random.default_rng(told)
    ids, values = rng.integers(space.size, size=(2, told)), rng.normal(size=(2, told)).round(1)
    values[:, 1] = values[:, 0]  # of equals the first is better
    tpe = search(2)
    tpe.tell(ids, values)
    ours = tpe.densities()
    parameters = {name: optuna.distributions.CategoricalDistribution(range(5)) for name in space.positions}
    for run in range(2):
        sampler = optuna.samplers.TPESampler(seed=0)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for row, value in zip(space.choices(ids[run]).tolist(), values[run].tolist(), strict=True):
            given = dict(zip(space.positions, row, strict=True))
            study.add_trial(optuna.trial.create_trial(params=given, distributions=parameters, value=value))
        split = _split_trials(study, study.trials, default_gamma(told))
        candidates = space.choices(np.append(rng.integers(space.size, size=30), ids[run, :3]))
        logs = []
        for part, trials in enumerate(split):
            estimator = sampler._build_parzen_estimator(study, parameters, trials, handle_below=part == 0)
            logs.append(estimator.log_pdf(dict(zip(space.positions, candidates.T, strict=True))))
        together = tpe.advantage(np.stack([candidates] * 2), tpe._split()[1])
        assert np.allclose(together[run], logs[0] - logs[1], atol=1e-8)
        for part, trials in enumerate(split):
            for position, name in enumerate(space.positions):
                one = {name: parameters[name]}
                estimator = sampler._build_parzen_estimator(study, one, trials, handle_below=part == 0)
                theirs = np.exp(estimator.log_pdf({name: np.arange(5)}))
                assert np.allclose(ours[part][run, position], theirs, atol=1e-12)


def test_options_are_drawn_from_the_good_and_the_best_ratio_is_taken():
    """With one candidate an option comes up as often as the good density says; with many the best ratio wins."""
    space = spaces.get("tss")
    rng = np.random.default_rng(0)
    ids = np.repeat(rng.integers(space.size, size=(1, 60)), 4_000, axis=0)
    values = np.repeat(rng.normal(size=(1, 60)), 4_000, axis=0)
    for candidates in (1, 500):
        tpe = search(4_000, candidates=candidates, multivariate=False)
        tpe.ask()
        tpe.tell(ids, values)
        good, bad = (density[0] for density in tpe.densities())
        chosen = space.choices(tpe.ask()[:, 0])
        for position in range(6):
            shares = np.bincount(chosen[:, position], minlength=5) / 4_000
            if candidates == 1:
                assert np.abs(shares - good[position]).max() < 0.04
            else:
                assert shares.argmax() == (good / bad)[position].argmax()
                assert shares.max() > 0.9


def test_architectures_are_drawn_from_the_good():
    """With one candidate a position has an option as often as the mixture of the good says."""
    space = spaces.get("tss")
    rng = np.random.default_rng(0)
    ids = np.repeat(rng.integers(space.size, size=(1, 60)), 4_000, axis=0)
    values = np.repeat(rng.normal(size=(1, 60)), 4_000, axis=0)
    tpe = search(4_000, candidates=1)
    tpe.ask()
    tpe.tell(ids, values)
    good = tpe.densities()[0][0]
    chosen = space.choices(tpe.ask()[:, 0])
    for position in range(6):
        assert np.abs(np.bincount(chosen[:, position], minlength=5) / 4_000 - good[position]).max() < 0.04


def test_limits_are_kept():
    result = nasharness.run("tpe", table="embedded", evaluations=60, runs=3, limits=["params <= 0.4"])
    assert (result.evaluations == 60).all()
    assert (result.problem.space.params(result.incumbent, "cifar10") <= 0.4).all()


def test_a_sampler_of_optuna_by_name():
    problem = Problem.create(table="embedded", evaluations=15, start="random:5")
    tpe, random = (
        nasharness.run("optuna", problem, settings={"sampler": name}) for name in ("TPESampler", "RandomSampler")
    )
    assert np.array_equal(tpe.trajectories.ids[0, :5], random.trajectories.ids[0, :5])
    assert not np.array_equal(tpe.trajectories.ids[0], random.trajectories.ids[0])
    with pytest.raises(UsageError, match="nearest: TPESampler"):
        nasharness.run("optuna", problem, settings={"sampler": "TPESampleer"})
    with pytest.raises(UsageError, match="GridSampler cannot be made without arguments"):
        nasharness.run("optuna", problem, settings={"sampler": "GridSampler"})


def test_without_optuna_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r"pip install .*\[peers\]"):
        nasharness.run("optuna", table="embedded", evaluations=5)


def test_a_study_of_all_algorithms_has_our_tpe_and_not_optunas():
    names = [choice.name for choice in Plan.create(algorithms="all", runs=1, evaluations=5).algorithms]
    assert "tpe" in names
    assert "optuna" not in names
