"""Searches over pools of candidates: their models against plain linear algebra and scipy, and hard cases."""

import numpy as np
import pytest
from nasharness.algorithms.candidates import repeated, scores
from nasharness.algorithms.gaussian import EVIDENCE, Factor, expected_improvement
from scipy import stats

import nasharness
from nasharness.search import Problem, registry
from nasharness.search.run import make_task
from nasharness.tables import from_frame

SEARCHES = ("gp", "nas-bowl", "bananas", "npenas", "weaknas")


def spread(runs, n, m, seed=0):
    """Kernels of random points on a line, among n and with m others: ``[runs, n, n]``, ``[runs, m, n]``."""
    rng = np.random.default_rng(seed)
    points, others = rng.random((runs, n)), rng.random((runs, m))
    among = np.exp(-4 * np.abs(points[:, :, None] - points[:, None]))
    return among, np.exp(-4 * np.abs(others[:, :, None] - points[:, None]))


def test_a_factor_grown_in_parts_predicts_as_a_full_solve_does():
    runs, n, m, noise = 3, 40, 7, 0.1
    among, cross = spread(runs, n, m)
    y = np.random.default_rng(1).normal(size=(runs, n))
    factor, everything, at = Factor(runs), slice(0, runs), 0
    for k in (10, 1, 1, 5, 23):
        own = among[:, at : at + k, at : at + k] + noise * np.eye(k)
        factor.add(everything, among[:, at : at + k, :at], own)
        factor.grown(k)
        at += k
    mean, deviation = factor.posterior(everything, cross, y)
    for run in range(runs):
        whole = among[run] + noise * np.eye(n)
        solved = np.linalg.solve(whole, cross[run].T)
        assert np.allclose(mean[run], solved.T @ y[run], atol=2e-6)
        assert np.allclose(deviation[run] ** 2, 1 - (cross[run] * solved.T).sum(axis=1), atol=4e-6)
        assert np.allclose(factor.inverse[run], np.linalg.inv(np.linalg.cholesky(whole)))
        fitted = stats.multivariate_normal(cov=whole * (y[run] @ np.linalg.solve(whole, y[run]) / n)).logpdf(y[run])
        constant = -0.5 * n * (1 + np.log(2 * np.pi / n))
        assert np.isclose(factor.likelihood(everything, y)[run] + constant, fitted, atol=1e-5)


def test_expected_improvement_is_the_integral():
    rng = np.random.default_rng(2)
    mean, deviation, best = rng.normal(size=500), rng.random(500) + 1e-3, rng.normal(size=500)
    z = (mean - best) / deviation
    wanted = (mean - best) * stats.norm.cdf(z) + deviation * stats.norm.pdf(z)
    assert np.allclose(expected_improvement(mean, deviation, best), wanted, atol=1e-14)
    sampled = np.maximum(rng.normal(mean[0], deviation[0], 400_000) - best[0], 0)
    assert abs(sampled.mean() - wanted[0]) < 5 * sampled.std() / 400_000**0.5


def test_scores_leave_out_what_was_not_evaluated():
    values = np.array([[3.0, 1.0, 2.0, np.nan], [3.0, 1.0, 2.0, 2.5]])
    found = scores(values)
    assert found[0, 3] == 0
    assert np.allclose(found[0, :3], stats.norm.ppf([5 / 6, 1 / 6, 3 / 6]))
    assert np.allclose(found[1], stats.norm.ppf([7 / 8, 1 / 8, 3 / 8, 5 / 8]))


def test_repeats_within_a_pool():
    assert repeated(np.array([[5, 3, 5, 3, 1]])).tolist() == [[False, False, True, True, False]]


@pytest.mark.parametrize(("kernel", "theta"), [("product", 0.3), ("hamming", 0.3)])
def test_kernels_of_choices(kernel, theta):
    problem = Problem.create(table="embedded", evaluations=5)
    record = registry.get("gp")
    search = record.build(
        make_task(record, problem, problem.evaluator(), np.arange(1)), record.settings({"kernel": kernel})
    )
    ids = np.random.default_rng(0).integers(15_625, size=(1, 30))
    found = search.kernel(ids, ids, np.zeros(1, dtype=int))[0]
    choices = problem.space.choices(ids[0])
    distance = (choices[:, None] != choices[None]).sum(axis=2)
    assert np.allclose(found, (1 + theta) ** -distance if kernel == "product" else 1 - distance / 6)
    assert np.linalg.eigvalsh(found).min() > -1e-9


@pytest.mark.parametrize("name", SEARCHES)
def test_a_small_space_is_searched_to_its_end_and_no_further(name, data_home):
    if "graph" in registry.get(name).needs:
        pytest.skip("a space made of codes has no graphs")
    codes = [f"{a}{b}" for a in "123" for b in "1234"]
    frame = {"code": np.array(codes, dtype=object), "acc": np.arange(12.0)}
    table = from_frame(frame, name="mine", arch="code", metrics={"acc": "acc"})
    result = nasharness.run(name, space="mine", table=table, evaluations=50, runs=3)
    for ids in result.trajectories.ids:
        assert sorted(ids[ids >= 0]) == list(range(12))
    assert (result.incumbent == 11).all()


@pytest.mark.parametrize("name", SEARCHES)
def test_limits_are_kept_and_nothing_is_refused(name):
    result = nasharness.run(name, table="embedded", evaluations=60, runs=4, limits=["params <= 0.4"])
    assert (result.evaluations == 60).all()
    ids = result.trajectories.ids
    assert (result.problem.space.params(ids, "cifar10") <= 0.4).all()
    assert (result.refused == 0).all()


@pytest.mark.parametrize("name", SEARCHES)
def test_no_run_asks_for_an_architecture_twice_and_thousands_stay_bounded(name):
    evaluations = 3 * EVIDENCE
    result = nasharness.run(name, table="embedded", evaluations=evaluations, runs=1)
    assert len(set(result.trajectories.ids[0].tolist())) == evaluations


@pytest.mark.parametrize("name", SEARCHES)
def test_better_than_random_at_fifty_evaluations(name):
    problem = Problem.create(table="embedded", evaluations=50, dataset="cifar100", signal="val@200:mean")
    ours, theirs = (nasharness.run(each, problem, runs=30).final.mean() for each in (name, "random"))
    assert ours > theirs + 0.5


def test_weaknas_predicts_the_whole_space_as_its_kernel_says():
    problem = Problem.create(table="embedded", evaluations=5)
    record = registry.get("weaknas")
    search = record.build(make_task(record, problem, problem.evaluator(), np.arange(1)), record.settings({}))
    rng = np.random.default_rng(3)
    ids, y = rng.integers(15_625, size=(2, 20)), rng.normal(size=(2, 20))
    ids[1, 3], y[1, 3] = -1, 0.0  # nothing was told here
    found = search.predict(ids, y)
    everything = problem.space.choices(np.arange(15_625))
    for run in range(2):
        told = ids[run] >= 0
        choices = problem.space.choices(ids[run, told])
        among = 1.3 ** -(choices[:, None] != choices).sum(axis=2).astype(float) + 0.1 * np.eye(told.sum())
        across = 1.3 ** -(everything[:, None] != choices).sum(axis=2).astype(float)
        assert np.allclose(found[run], across @ np.linalg.solve(among, y[run, told]), atol=2e-6)
