"""Several objectives and limits: what is told, what is paid, what is answered, and how fronts are measured."""

import numpy as np
import pytest

import nasharness
from nasharness import fronts, spaces, tables
from nasharness.errors import NasharnessError, UsageError
from nasharness.search import Algorithm, Backend, Problem, registry
from nasharness.search.front import final_points
from nasharness.search.testing import asked_of, synthetic_problem
from nasharness.spaces import ChoiceSpace


class Watching(Algorithm):
    """Ask at random and keep what was told."""

    told: list = []

    def ask(self):
        return self.space.sample_index(self.streams.uniform(3))

    def tell(self, ids, values):
        type(self).told.append((ids.copy(), values.copy()))


def test_one_objective_keeps_its_shapes_and_several_add_an_axis(plug):
    plug(Watching, needs=("objectives",))
    for objectives, shape in (((), (4, 3)), (("params",), (4, 3, 2)), (("error", "params", "macs"), (4, 3, 3))):
        Watching.told = []
        nasharness.run("plugged", synthetic_problem(evaluations=9, objectives=objectives), runs=4)
        assert {values.shape for _, values in Watching.told} == {shape}


def test_what_is_told_is_higher_for_better_and_known_quantities_are_exact(plug):
    plug(Watching, needs=("objectives",))
    Watching.told = []
    problem = synthetic_problem(evaluations=9, objectives=("params", "macs"), signal="val@12:777")
    nasharness.run("plugged", problem, runs=4)
    tss = spaces.get("tss")
    signal = problem.table.values("cifar10-valid", "val_acc", 12, seed="777")
    for ids, values in Watching.told:
        assert np.array_equal(values[..., 0], signal[ids])
        assert np.array_equal(values[..., 1], -tss.params(ids, "cifar10"))
        assert np.array_equal(values[..., 2], -tss.flops(ids, "cifar10"))


def test_an_algorithm_that_needs_no_objectives_sees_the_first_alone_and_walks_the_same_way():
    plain = nasharness.run("reinforce", synthetic_problem(evaluations=50), runs=6)
    several = nasharness.run("reinforce", synthetic_problem(evaluations=50, objectives=["params"]), runs=6)
    assert np.array_equal(plain.trajectories.ids, several.trajectories.ids)
    assert several.front is not None
    assert plain.front is None


@pytest.mark.parametrize("name", ["random", "rea", "nsga2", "local-search"])
def test_batch_and_alone_are_the_same_bits_with_several_objectives(name):
    problem = synthetic_problem(evaluations=70, objectives=["error", "params", "macs"], limits=["macs <= 90"])
    batch = nasharness.run(name, problem, runs=5, seed=3)
    for run in range(5):
        alone = nasharness.run(name, problem, runs=1, seed=3 + run)
        count = int(alone.trajectories.count[0])
        assert np.array_equal(alone.trajectories.ids[0, :count], batch.trajectories.ids[run, :count])
        assert np.array_equal(alone.recommended[0], batch.recommended[run])


@pytest.mark.parametrize("name", [*sorted(registry.names(kind="multi-trial"))])
def test_every_algorithm_keeps_a_limit_that_is_known_and_pays_for_nothing_beyond_it(name):
    if "whole-signal" in registry.get(name).needs:
        pytest.skip("reads the whole signal: a diagnostic")
    problem = synthetic_problem(evaluations=40, limits=["macs <= 60", "params >= 0.1"], **asked_of(name, 12))
    result = nasharness.run(name, problem, runs=4)
    macs = spaces.get("tss").flops(np.arange(15_625), "cifar10")
    for row, count in enumerate(result.trajectories.count):
        assert (macs[result.trajectories.ids[row, :count]] <= 60).all()
    answered = result.recommended[result.recommended >= 0]
    assert (macs[answered] <= 60).all()
    kept = (macs <= 60) & (spaces.get("tss").params(np.arange(15_625), "cifar10") >= 0.1)
    assert result.optimum == problem.truth().values[kept].max()


def test_a_limit_on_what_is_known_changes_nothing_where_all_keep_it():
    plain = nasharness.run("rea", synthetic_problem(evaluations=60), runs=5)
    limited = nasharness.run("rea", synthetic_problem(evaluations=60, limits=["macs <= 1000"]), runs=5)
    assert np.array_equal(plain.trajectories.ids, limited.trajectories.ids)
    assert (limited.refused == 0).all()


def test_fronts_are_the_non_dominated_of_each_run_scored_by_the_final_metrics():
    problem = synthetic_problem(evaluations=60, objectives=["error", "params"], signal="val@12:111")
    result = nasharness.run("random", problem, runs=6)
    front = result.front
    truth = problem.truth().values
    params = spaces.get("tss").params(np.arange(15_625), "cifar10")
    whole = np.stack([100 - truth, params], axis=1)
    exact = np.unique(whole[fronts.non_dominated(whole)], axis=0)
    assert np.array_equal(np.unique(front.exact, axis=0), exact)
    reference = fronts.reference_of(exact)
    for run in range(6):
        ids = np.unique(result.trajectories.ids[run])
        signal = problem.table.values("cifar10-valid", "val_acc", 12, seed="111")
        seen = np.stack([-signal[ids], params[ids]], axis=1)
        mine = ids[fronts.non_dominated(seen)]
        assert set(front.ids[run].tolist()) == set(mine.tolist())
        share = fronts.hypervolume(whole[mine], reference.point) / fronts.hypervolume(exact, reference.point)
        assert front.hypervolume[run] == pytest.approx(share, rel=1e-12)
    assert np.array_equal(final_points(problem, np.arange(5)), whole[:5])
    summary = result.summary()["front"]
    assert summary["hypervolume"]["mean"] == pytest.approx(front.hypervolume.mean())
    assert summary["optimum"]["members"] == len(exact)


def test_evaluating_everything_finds_the_exact_front(data_home):
    codes = np.array([f"{a}{b}" for a in "0123" for b in "0123"], dtype=object)
    cost = np.arange(16.0)[::-1]
    frame = {"code": codes, "acc": 10 + np.arange(16) % 7 * 1.0, "cost": cost}
    tables.from_frame(frame, name="small", arch="code", metrics={"acc": "acc"}, known={"cost": "latency"})
    result = nasharness.run("local-search", space="small", objectives=["accuracy", "latency"], evaluations=40, runs=3)
    assert result.front.hypervolume == pytest.approx([1.0] * 3)
    assert result.front.igd_plus == pytest.approx([0.0] * 3)


def test_paid_objectives_come_with_the_same_evaluation(data_home, plug):
    rng = np.random.default_rng(0)
    codes = np.array([f"{a}{b}{c}" for a in "012" for b in "012" for c in "012"], dtype=object)
    frame = {"code": codes, "acc": rng.random(27), "loss": rng.random(27)}
    tables.from_frame(frame, name="two", arch="code", metrics={"acc": "acc", "loss": "loss"}, minimise=["loss"])
    plug(Watching, needs=("objectives",))
    Watching.told = []
    problem = Problem.create("two", signal="acc", final="acc", objectives=["loss"], evaluations=6)
    result = nasharness.run("plugged", problem, runs=2)
    for ids, values in Watching.told:
        assert np.array_equal(values[..., 1], -frame["loss"][ids])
    assert result.evaluations.tolist() == [6, 6]
    assert result.front.points[0][:, 1].min() >= frame["loss"].min()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"objectives": ["parms"]}, "unknown objective 'parms'.*nearest: params"),
        ({"objectives": ["params", "params"]}, "'params' is asked for twice"),
        ({"objectives": ["macs", "flops"]}, "'macs' is asked for twice"),
        ({"objectives": ["test@200"]}, "never searched by"),
        ({"limits": ["macs"]}, "expected NAME <= NUMBER"),
        ({"limits": ["macs < 5"]}, "expected NAME <= NUMBER"),
        ({"limits": ["mac <= 5"]}, "unknown objective 'mac'"),
        ({"limits": ["macs <= 1"]}, "nothing on space tss keeps it; the nearest is 7.78"),
        ({"limits": ["params <= 5 kB"]}, "params has M, not 'kB'"),
    ],
)
def test_bad_objectives_and_limits_are_refused(options, words):
    with pytest.raises(UsageError, match=words):
        synthetic_problem(**options)


@pytest.mark.parametrize("name", ["random", "rea", "reinforce", "nsga2"])
def test_a_space_too_large_to_enumerate_is_searched_by_its_vectors(name):
    """Twenty-two layers of nine blocks: 9.8e20 networks, and no array of that size is ever made."""
    space = ChoiceSpace("blocks", (tuple("abcdefghi"),) * 22)
    assert space.size == 9**22
    backend = Backend("sum", lambda archs: archs.sum(axis=-1).astype(np.float64), optimum=22 * 8.0)
    result = nasharness.run(name, space=space, table=backend, evaluations=400, runs=6)
    assert result.trajectories.ids.shape == (6, 400, 22)
    assert result.trajectories.ids.dtype == np.int8
    assert np.array_equal(result.final, result.incumbent.sum(axis=1))
    assert np.array_equal(result.regret, 176 - result.final)
    assert (result.incumbent.sum(axis=1) == result.trajectories.ids.sum(axis=2).max(axis=1)).all()
    alone = nasharness.run(name, space=space, table=backend, evaluations=400, runs=1, seed=4)
    assert np.array_equal(alone.trajectories.ids[0], result.trajectories.ids[4])
    assert space.from_string(space.string(result.winner)).tolist() == result.winner.tolist()
    assert "\n\nwinner     " in str(result)
    assert result.summary()["winner"]["index"] is None


def test_vectors_that_are_none_are_refused(plug):
    class Wrong(Algorithm):
        """Asks for an option that does not exist."""

        def ask(self):
            return np.full((self.runs, 1, 22), 9, dtype=np.int8)

    plug(Wrong)
    space = ChoiceSpace("blocks", (tuple("abcdefghi"),) * 22)
    with pytest.raises(NasharnessError, match="returned index 9"):
        nasharness.run(
            "plugged", space=space, table=Backend("sum", lambda archs: archs.sum(axis=-1) * 1.0), evaluations=5
        )
    with pytest.raises(UsageError, match="needs a space that can be enumerated"):
        nasharness.run("local-search", space=space, table=Backend("sum", lambda archs: archs.sum(axis=-1) * 1.0))
