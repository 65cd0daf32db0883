"""AutoShrink towards a front: what it evaluates first, what it leaves out, limits, and fronts against random search."""

import numpy as np
import pytest
from nasharness.algorithms.ridge import PooledModel, simplest
from nasharness.algorithms.shrinking import demotions, dense_start, descend, descent_draws

import nasharness
from nasharness import spaces, tables
from nasharness.errors import UsageError
from nasharness.search import Problem
from nasharness.search.registry import get
from nasharness.search.run import make_task
from nasharness.search.streams import Streams
from nasharness.search.testing import synthetic_problem

TSS, SSS = spaces.get("tss"), spaces.get("sss")
EVERYTHING = np.arange(TSS.size)


def asked(result, run):
    return result.trajectories.ids[run, : result.trajectories.count[run]]


@pytest.mark.parametrize("objectives", [["error", "macs"], ["error", "params", "macs"], ["error", "val@4:111"]])
@pytest.mark.parametrize("space", ["tss", "sss"])
def test_batch_and_alone_are_the_same_bits(space, objectives):
    problem = synthetic_problem(space, evaluations=60, objectives=objectives, signal="val@12:777")
    batch = nasharness.run("autoshrink.pareto", problem, runs=18, seed=3)  # two groups of runs in the model
    for run in (0, 17):
        alone = nasharness.run("autoshrink.pareto", problem, runs=1, seed=3 + run)
        assert np.array_equal(asked(alone, 0), asked(batch, run))
        assert alone.recommended[0] == batch.recommended[run]


def better(problem, runs=30):
    """Whether its fronts have the greater hypervolume, by three standard errors over runs of the same seeds."""
    mine = nasharness.run("autoshrink.pareto", problem, runs=runs).front.hypervolume
    for other in ("random", "nsga2"):
        gain = mine - nasharness.run(other, problem, runs=runs).front.hypervolume
        assert gain.mean() > 3 * gain.std(ddof=1) / np.sqrt(runs), other


def test_its_fronts_are_better_than_those_of_random_search_and_evolution():
    better(synthetic_problem("sss", evaluations=80, objectives=["error", "macs"], signal="val@12:777"))
    for cost in ("macs", "raspi4_latency"):
        better(Problem.create(table="embedded", evaluations=50, objectives=["error", cost]))


def test_two_objectives_that_are_both_paid_for(data_home):
    rng = np.random.default_rng(7)
    choices = np.stack(np.meshgrid(*[np.arange(4)] * 5, indexing="ij"), -1).reshape(-1, 5)
    worth = rng.random((2, 5, 4)) + np.array([1, -1])[:, None, None] * np.linspace(0, 2, 4)
    one, other = (each[np.arange(5), choices].sum(axis=1) + rng.normal(0, 0.1, len(choices)) for each in worth)
    frame = {"code": np.array(["".join(map(str, row)) for row in choices], dtype=object), "acc": one, "robust": other}
    tables.from_frame(frame, name="two", arch="code", metrics={"acc": "acc", "robust": "robust"}, ordered=True)
    better(Problem.create("two", signal="acc", final="acc", objectives=["acc", "robust"], evaluations=60))


def test_with_one_objective_it_is_autoshrink_pooled():
    problem = synthetic_problem(evaluations=70)
    one, other = (nasharness.run(name, problem, runs=4) for name in ("autoshrink.pareto", "autoshrink.pooled"))
    assert np.array_equal(one.trajectories.ids, other.trajectories.ids)
    assert np.array_equal(one.recommended, other.recommended)


def test_it_begins_with_the_full_network_stops_of_the_cheapest_descent_and_single_removals():
    problem = synthetic_problem(evaluations=200, objectives=["error", "macs"])
    start = dense_start(TSS)
    removals = demotions(TSS, keep_path=True)[start]
    macs = TSS.flops(EVERYTHING, "cifar10")
    first = nasharness.run("autoshrink.pareto", problem, runs=3).trajectories.ids[:, :23]
    assert (first[:, 0] == start).all()
    assert (first[:, 1:5] == first[0, 1:5]).all()  # the stops need no evaluation, so they are the same in all runs
    assert macs[first[0, 1:5]].min() == macs[~TSS.is_constant(EVERYTHING)].min()
    assert all(set(row[5:]) == set(removals[removals >= 0]) for row in first)
    brief = nasharness.run("autoshrink.pareto", synthetic_problem(evaluations=12, objectives=["error", "macs"]), runs=3)
    assert np.array_equal(brief.trajectories.ids[:, :5], first[:, :5])
    assert not np.isin(brief.trajectories.ids[:, 6:], removals).all(axis=1).any()  # half of a small budget is left


def test_no_network_is_evaluated_twice_nor_a_costlier_twin_of_it():
    problem = synthetic_problem(evaluations=150, objectives=["error", "macs"])
    result = nasharness.run("autoshrink.pareto", problem, runs=4)
    macs = TSS.flops(EVERYTHING, "cifar10")
    classes = TSS.canonical(EVERYTHING)
    cheapest = np.full(TSS.size, np.inf)
    np.minimum.at(cheapest, classes, macs)
    for run in range(4):
        ids = asked(result, run)
        assert len(set(ids)) == len(ids)
        chosen = ids[23:]
        assert (macs[chosen] == cheapest[classes[chosen]]).all()
        assert len(set(classes[chosen])) == len(chosen)
        assert TSS.is_constant(chosen).sum() <= 1


def test_all_of_a_space_is_evaluated_where_the_budget_goes_that_far(data_home):
    codes = np.array([f"{a}{b}" for a in "0123" for b in "0123"], dtype=object)
    frame = {"code": codes, "acc": np.arange(16.0) % 7, "size": np.arange(16.0)[::-1]}
    tables.from_frame(
        frame, name="tiny", arch="code", metrics={"acc": "acc"}, known=["size"], minimise=["size"], ordered=True
    )
    result = nasharness.run("autoshrink.pareto", space="tiny", objectives=["acc", "size"], evaluations=40, runs=3)
    assert (np.sort(result.trajectories.ids[:, :16], axis=1) == np.arange(16)).all()
    assert (result.evaluations == 16).all()
    assert np.allclose(result.front.hypervolume, 1)


@pytest.mark.parametrize("name", ["autoshrink", "autoshrink.pooled", "autoshrink.pareto"])
@pytest.mark.parametrize("limits", [["macs <= 30"], ["macs <= 30", "params >= 0.1"], ["params >= 1.1"]])
def test_what_breaks_a_limit_is_not_even_proposed(name, limits):
    several = name.endswith("pareto")
    problem = synthetic_problem(evaluations=60, limits=limits, objectives=["error", "params"] if several else [])
    result = nasharness.run(name, problem, runs=5)
    assert (result.refused == 0).all()
    assert (problem.known().excess(result.trajectories.ids[result.trajectories.ids >= 0]) == 0).all()
    assert (result.trajectories.count > 15).all()
    alone = nasharness.run(name, problem, runs=1, seed=4)
    assert np.array_equal(asked(alone, 0), asked(result, 4))


def test_a_limit_that_few_keep_ends_the_search_when_they_are_evaluated():
    problem = synthetic_problem(evaluations=60, limits=["macs <= 7.8"], objectives=["error", "params"])
    allowed = (problem.known().excess(EVERYTHING) == 0).sum()
    assert allowed == 729  # none, skip and pooling on six edges
    few = synthetic_problem("sss", evaluations=60, limits=["macs <= 5"], objectives=["error", "params"])
    count = (few.known().excess(np.arange(SSS.size)) == 0).sum()
    assert 1 < count < 60
    for name in ("autoshrink.pooled", "autoshrink.pareto"):
        result = nasharness.run(name, few, runs=3)
        assert (result.evaluations == count).all()


def test_limits_are_approached_from_the_full_network():
    """Descents end on networks that keep the limits, right after one that does not, whatever they draw."""
    smaller = demotions(TSS, keep_path=True)
    macs = TSS.flops(EVERYTHING, "cifar10")
    excess = np.maximum(macs - 50, 0)
    u = Streams(range(50)).uniform(descent_draws(TSS))
    before, ends = descend(dense_start(TSS), smaller, excess == 0, excess, u)
    assert (macs[ends] <= 50).all()
    assert (macs[before] > 50).all()
    assert (smaller[before] == ends[:, None]).any(axis=1).all()
    assert len(set(ends)) > 10
    # where no descent can keep the limits, any architecture that does will do
    _, ends = descend(dense_start(TSS), smaller, EVERYTHING == 77, np.ones(TSS.size), u)
    assert (ends == 77).all()


def test_what_does_not_run_on_a_device_is_never_evaluated(data_home):
    codes = np.array([f"{a}{b}{c}" for a in "012" for b in "012" for c in "012"], dtype=object)
    size = np.arange(27.0)
    size[13:20] = np.nan
    tables.from_frame(
        {"code": codes, "acc": np.arange(27.0), "ms": size}, name="gaps", arch="code", metrics={"acc": "acc"},
        known=["ms"], minimise=["ms"], ordered=True, missing="keep",
    )  # fmt: skip
    result = nasharness.run("autoshrink.pareto", space="gaps", objectives=["acc", "ms"], evaluations=40, runs=2)
    ms = np.isnan(tables.open_table("gaps", "gaps").values("gaps", "ms"))
    assert (result.evaluations == 20).all()
    assert not ms[result.trajectories.ids[result.trajectories.ids >= 0]].any()


def test_equal_networks_share_evidence_and_prediction():
    same = simplest(TSS)
    assert np.array_equal(TSS.canonical(same), TSS.canonical(EVERYTHING))
    assert np.array_equal(same[same], same)
    absent = (TSS.choices(EVERYTHING) == TSS.skeleton.absent).sum(axis=1)
    assert (absent[same] >= absent).all()
    assert np.array_equal(simplest(SSS), np.arange(SSS.size))
    ids = np.array([[5, 900, 4_000, 12_000, 12_000]])  # one of them twice
    for merge in (False, True):
        model = PooledModel(TSS, 0.3, 0.1, merge)
        ((_, predicted),) = model.predict(ids, np.array([[1.0, 4.0, 2.0, 3.0, 5.0]]))
        by_index = predicted[0, model.cell]
        assert np.array_equal(by_index, by_index[model.same])
    assert len(np.unique(model.same)) == TSS.classes()


@pytest.mark.parametrize("settings", [{"stops": -1}, {"noise": 0.0}, {"growth": 0.5}])
def test_settings_are_checked(settings):
    problem = synthetic_problem(objectives=["error", "macs"])
    record = get("autoshrink.pareto")
    task = make_task(record, problem, problem.evaluator(), np.arange(1))
    with pytest.raises(UsageError, match=next(iter(settings))):
        record.build(task, record.settings(settings))
