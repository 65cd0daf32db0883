"""The loop owns budget, clock, repeats, incumbent and scoring; each rule against a plain reference."""

import numpy as np
import pytest

import nasharness
from nasharness import spaces, studies
from nasharness.errors import AlgorithmFailedError, DataError, NasharnessError, UsageError
from nasharness.search import NOTHING, PAUSE, Algorithm, Interrupted, Problem, ScalarAlgorithm, loop
from nasharness.search.backend import Backend
from nasharness.search.streams import NOISE, generator
from nasharness.search.testing import synthetic_problem, synthetic_table
from nasharness.tables import Table, TableWriter


class Listed(Algorithm):
    """Ask for what is written in ``steps``, the same for every run."""

    steps: list = []

    def __init__(self, task):
        super().__init__(task)
        self.todo = [np.atleast_2d(step) for step in self.steps]
        self.told = []

    def ask(self):
        step = self.todo.pop(0) if self.todo else np.array([[NOTHING]])
        return np.repeat(step, self.runs, axis=0).astype(np.int32)

    def tell(self, ids, values):
        type(self).last_told = values.copy()


def test_the_quick_way_and_the_masked_way_agree(monkeypatch):
    for options in ({"evaluations": 203}, {"seconds": 5_000.0}, {"evaluations": 150, "seconds": 5_000.0}):
        for name in ("random", "rea"):
            problem = synthetic_problem(**options)
            quick = nasharness.run(name, problem, runs=20)
            with monkeypatch.context() as patch:
                patch.setattr(loop._State, "_evaluate_level", lambda *_: None)
                masked = nasharness.run(name, problem, runs=20)
            for field in ("ids", "signal", "clock", "epochs", "count"):
                assert np.array_equal(
                    getattr(quick.trajectories, field), getattr(masked.trajectories, field), equal_nan=field != "ids"
                ), (name, options, field)
            assert np.array_equal(quick.incumbent, masked.incumbent)


def test_values_that_are_missing_are_never_the_incumbent():
    """A function may answer NaN, in a step of several too: `random` asks for many at once."""
    backend = Backend("gaps", lambda ids: np.where(ids % 2 == 0, np.nan, ids.astype(float)))
    result = nasharness.run("random", space="tss", table=backend, evaluations=40, runs=3)
    ids = result.trajectories.ids
    assert np.array_equal(result.incumbent, np.where(ids % 2 == 0, -1, ids).max(axis=1))


def test_limits_of_what_a_function_answers():
    """Nothing is below every value of a function but minus infinity: no warning, and the limit is kept."""
    backend = Backend("index", lambda ids: np.asarray(ids, dtype=float))
    with np.errstate(all="raise"):
        result = nasharness.run(
            "rea", space="tss", dataset="cifar10", table=backend, limits=["macs <= 60"], evaluations=30, runs=3
        )
    assert (spaces.get("tss").flops(result.incumbent, "cifar10") <= 60).all()
    assert (result.refused > 0).all()


def test_trajectory_is_what_the_table_says():
    problem = synthetic_problem(evaluations=50, signal="val@12:777")
    result = nasharness.run("random", problem, runs=3)
    signal = problem.table.values("cifar10-valid", "val_acc", 12, seed="777")
    cost = 12 * problem.table.values("cifar10-valid", "train_s") + problem.table.values("cifar10-valid", "val_s")
    truth = problem.table.values("cifar10", "test_acc", 200)
    ids = result.trajectories.ids
    assert np.array_equal(result.trajectories.signal, signal[ids])
    assert result.trajectories.clock == pytest.approx(np.cumsum(cost[ids], axis=1), rel=1e-13)
    best = ids[np.arange(3), signal[ids].argmax(axis=1)]
    assert np.array_equal(result.incumbent, best)
    assert np.array_equal(result.final, truth[best])
    assert result.regret == pytest.approx(truth.max() - truth[best])
    assert np.array_equal(result.trajectories.incumbents()[:, -1], best)
    assert np.array_equal(result.trajectories.incumbents()[:, 0], ids[:, 0])


def test_last_evaluation_overshoots_the_seconds_and_no_other():
    problem = synthetic_problem(seconds=1_000.0)
    for name in ("random", "rea", "autoshrink"):
        result = nasharness.run(name, problem, runs=5)
        for row, count in enumerate(result.trajectories.count):
            clock = result.trajectories.clock[row, :count]
            assert clock[-1] >= 1_000
            assert (clock[:-1] < 1_000).all()
        assert np.array_equal(result.seconds, result.trajectories.clock[np.arange(5), result.trajectories.count - 1])


def test_random_trials_come_from_the_noise_stream():
    problem = synthetic_problem(evaluations=80, signal="val@12:random")
    result = nasharness.run("random", problem, runs=4, seed=9)
    table = problem.table.array("cifar10-valid", "val_acc", 12)[-1]
    for row in range(4):
        trial = (generator(9 + row, NOISE).random(80) * 2).astype(int)
        assert np.array_equal(result.trajectories.signal[row], table[trial, result.trajectories.ids[row]])


def test_repeats_charged_or_free(plug):
    Listed.steps = [[5], [5], [6], [5], [7]]
    plug(Listed)
    charged = nasharness.run("plugged", synthetic_problem(evaluations=4), runs=3)
    assert charged.trajectories.ids.tolist() == [[5, 5, 6, 5]] * 3
    assert charged.evaluations.tolist() == [4] * 3
    free = nasharness.run("plugged", synthetic_problem(evaluations=3, repeats="free"), runs=3)
    assert free.trajectories.ids.tolist() == [[5, 5, 6, 5, 7]] * 3
    assert free.evaluations.tolist() == [3] * 3
    signal, clock = free.trajectories.signal, free.trajectories.clock
    assert (signal[:, 0] == signal[:, 1]).all(), "a free repeat must yield the same trial again"
    assert (signal[:, 0] == signal[:, 3]).all()
    assert (np.diff(clock)[:, 0] == 0).all()
    assert (np.diff(clock)[:, 1] > 0).all()


def test_repeats_within_one_step_are_free_too(plug):
    Listed.steps = [[5, 5, 6, 5, 7, 8]]
    plug(Listed)
    result = nasharness.run("plugged", synthetic_problem(evaluations=3, repeats="free"), runs=2)
    assert result.trajectories.ids.tolist() == [[5, 5, 6, 5, 7]] * 2
    assert result.evaluations.tolist() == [3, 3]


def test_a_search_that_only_repeats_itself_for_free_comes_to_an_end(plug):
    class Stuck(ScalarAlgorithm):
        """Ask for the same architecture for ever."""

        def ask(self):
            return 3

    plug(Stuck)
    result = nasharness.run("plugged", synthetic_problem(evaluations=10, repeats="free"))
    assert result.evaluations.tolist() == [1]
    assert result.trajectories.count[0] <= loop.STALL + 1


def test_empty_slots_pauses_and_the_end(plug):
    Listed.steps = [[1, NOTHING, 2], [PAUSE], [NOTHING, 3]]
    plug(Listed)
    result = nasharness.run("plugged", synthetic_problem(evaluations=100), runs=2)
    assert result.trajectories.ids.tolist() == [[1, 2, 3]] * 2
    assert result.evaluations.tolist() == [3, 3]
    assert np.isnan(Listed.last_told).all()


def test_slots_behind_the_budget_are_not_told(plug):
    Listed.steps = [[1, 2, 3, 4]]
    plug(Listed)
    result = nasharness.run("plugged", synthetic_problem(evaluations=2), runs=2)
    assert result.trajectories.ids.tolist() == [[1, 2]] * 2
    assert np.isnan(Listed.last_told).tolist() == [[False, False, True, True]] * 2


def test_ties_are_broken_at_random_and_alike_for_all(tmp_path, plug):
    with TableWriter(
        tmp_path / "t", space="tss", name="flat", version="0", size=15625, source="-", licence="-", citation="-"
    ) as writer:
        for dataset, metric in (("cifar10-valid", "val_acc"), ("cifar10", "test_acc")):
            writer.add(
                dataset, metric, np.full(15625, 50.0), unit="percent", schedule=12, epochs=(12,), seeds=("mean",)
            )
        writer.add("cifar10-valid", "train_s", np.ones(15625), unit="s")
    problem = Problem.create(table=Table.open(tmp_path / "t"))
    found = []
    for steps in ([[4, 3], [2], [9]], [[9, 4, 2, 3]], [[9], [3, -1], [4, 2]]):  # whatever the order and the steps
        Listed.steps = steps
        plug(Listed)
        result = nasharness.run("plugged", problem, runs=400)
        found.append(result.incumbent.tolist())
        assert result.trajectories.incumbents()[:, -1].tolist() == found[-1]
        improved, _ = result.trajectories.improvements()
        assert improved[:, 0].all()
        assert (improved.sum(axis=1) > 1).any()
    assert found[0] == found[1] == found[2]
    counts = np.bincount(found[0], minlength=10)[[2, 3, 4, 9]]
    assert counts.sum() == 400
    assert (np.abs(counts - 100) < 40).all()
    assert "signal-tied" in [caveat.code for caveat in result.caveats]


def test_lower_fidelities_cost_less_and_unknown_ones_are_refused(plug):
    class Low(ScalarAlgorithm):
        """Ask at four epochs."""

        epochs = 4

        def ask(self):
            return 11, type(self).epochs

    plug(Low, needs=("fidelities",))
    problem = synthetic_problem(evaluations=1, signal="val@12:111")
    result = nasharness.run("plugged", problem)
    column = problem.table.column("cifar10-valid", "val_acc", 12)
    curve = problem.table.array("cifar10-valid", "val_acc", 12)[:, column.seeds.index("111"), 11]
    assert result.trajectories.signal[0, 0] == curve[3]
    assert result.trajectories.epochs[0, 0] == 4
    cost = problem.table.values("cifar10-valid", "train_s")[11] * 4 + problem.table.values("cifar10-valid", "val_s")[11]
    assert result.seconds[0] == pytest.approx(cost)
    Low.epochs = 13
    with pytest.raises(AlgorithmFailedError, match="13 epochs"):
        nasharness.run("plugged", problem)


@pytest.mark.parametrize("bad", [np.array([1, 2]), np.array([[1.5]]), np.array([[15625]]), np.array([[-3]])])
def test_what_a_plug_in_may_not_ask(plug, bad):
    class Bad(Algorithm):
        """Ask for nonsense."""

        def ask(self):
            return bad

    plug(Bad)
    with pytest.raises(AlgorithmFailedError, match="Bad.ask"):
        nasharness.run("plugged", synthetic_problem(evaluations=5))


def test_interrupted_runs_keep_what_is_complete(plug):
    class Interrupting(ScalarAlgorithm):
        """Be interrupted in the third batch."""

        def ask(self):
            if self.task.seeds[0] >= 4:
                raise KeyboardInterrupt
            return 1

    plug(Interrupting)
    with pytest.raises(Interrupted) as caught:
        nasharness.run("plugged", synthetic_problem(evaluations=3), runs=10, batch=2)
    assert caught.value.result.runs == 4
    assert caught.value.result.seeds.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dataset": "cifar11"}, "nearest: cifar10, cifar100"),
        ({"space": "tsss"}, "nearest: tss, sss"),
        ({"evaluations": 0}, "at least 1"),
        ({"evaluations": 2.5}, "whole number"),
        ({"seconds": 0.0}, "positive"),
        ({"seconds": float("nan")}, "positive"),
        ({"budget": "natss"}, "nearest: nats"),
        ({"budget": "nats", "seconds": 5.0}, "both"),
        ({"budget": "nb201", "dataset": "cifar100"}, "no value for cifar100"),
        ({"repeats": "fre"}, "nearest: free"),
        ({"signal": "test@200"}, "never a search signal"),
        ({"signal": "val@13"}, "it has val@12"),
        ({"signal": "val12"}, "has no 'val12' of cifar10; it has val@12"),
        ({"signal": "@12"}, "as in val@12"),
        ({"signal": "val@12:778"}, "nearest: 777"),
        ({"final": "val@12:random"}, "random seed is no final metric"),
        ({"table": "lihgt"}, "nearest: light"),
        ({"table": "../x"}, "letters, digits"),
    ],
)
def test_what_a_problem_may_not_be(options, words, data_home):
    problem = {"table": synthetic_table("tss", data_home / "tables/tss/light"), "evaluations": None} | options
    if "space" in options or "table" in options:
        problem["table"] = options.get("table")
    with pytest.raises(NasharnessError, match=words):
        Problem.create(**problem)


def copied(full, folder, change):
    """Copy a table, its CIFAR-10 validation column changed."""
    about = {
        "space": "tss",
        "name": "copy",
        "version": "0",
        "size": 15625,
        "source": "-",
        "licence": "-",
        "citation": "-",
    }
    with TableWriter(folder, **about) as writer:
        for column in full.columns.values():
            values = np.array(full.array(column.dataset, column.metric, column.schedule))
            if column.name == "cifar10-valid.val_acc@12":
                change(values)
            axes = {"epochs": column.epochs, "seeds": column.seeds} if column.schedule else {}
            options = {"unit": column.unit, "dtype": "float64", "schedule": column.schedule}
            writer.add(column.dataset, column.metric, values, **options, **axes)
    return Table.open(folder)


def test_holes_in_a_table_are_found_before_the_search(tmp_path):
    full = synthetic_table("tss", tmp_path / "full")

    def holes(values):
        values[:, :, 77] = np.nan
        values[:, 0, 78] = np.nan

    table = copied(full, tmp_path / "holes", holes)
    with pytest.raises(DataError, match=r"1 of 15,625 .*index 77"):
        Problem.create(table=table)
    with pytest.raises(DataError, match=r"2 of 15,625 .*index 77"):
        Problem.create(table=table, signal="val@12:111")
    Problem.create(dataset="cifar100", table=table)


def test_a_seed_that_is_absent_is_never_drawn(tmp_path):
    full = synthetic_table("tss", tmp_path / "full")
    absent = np.arange(15625) % 2 == 0

    def holes(values):
        values[:, 0, absent] = np.nan

    table = copied(full, tmp_path / "some", holes)
    result = nasharness.run("random", Problem.create(table=table, evaluations=500), runs=4)
    ids, signal = result.trajectories.ids, result.trajectories.signal
    trials = table.array("cifar10-valid", "val_acc", 12)[-1]
    assert (signal[absent[ids]] == trials[1, ids[absent[ids]]]).all()
    first = signal[~absent[ids]] == trials[0, ids[~absent[ids]]]
    assert 0.4 < first.mean() < 0.6


def test_a_billion_runs_are_refused_with_the_memory_they_would_take():
    with pytest.raises(UsageError, match=r"1,000,000,000 runs .* TiB of memory.*at most"):
        nasharness.run("rea", synthetic_problem(), runs=10**9)


@pytest.mark.parametrize(
    ("options", "words"), [({"runs": 0}, "runs 0"), ({"runs": 1.5}, "runs 1.5"), ({"seed": -1}, "seed -1")]
)
def test_what_run_refuses(options, words):
    with pytest.raises(UsageError, match=words):
        nasharness.run("random", synthetic_problem(evaluations=1), **options)


def test_numpy_integers_are_welcome():
    result = nasharness.run("random", synthetic_problem(evaluations=np.int64(7)), runs=np.int32(2), seed=np.uint8(3))
    assert result.seeds.tolist() == [3, 4]
    assert result.trajectories.steps == 7


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: nasharness.run("rea", "tss"), "expected a Problem"),
        (lambda: nasharness.run("rea", spce="tss"), "nearest: space"),
        (lambda: nasharness.run("rea", seconds="5"), "positive number"),
        (lambda: nasharness.run("rea", signal=5), "expected a name"),
        (lambda: nasharness.run(5), "expected a name"),
        (lambda: nasharness.run("rea", table=5), "open Table"),
        (lambda: nasharness.run("rea", settings=[1]), "expected a mapping"),
        (lambda: nasharness.run("rea", evaluations=True), "whole number"),
    ],
)
def test_misuse_from_python_is_explained(call, words):
    with pytest.raises(UsageError, match=words):
        call()


def test_settings_may_be_numpy_numbers():
    result = nasharness.run("rea", synthetic_problem(evaluations=20), settings={"population": np.int64(5)})
    assert result.changed == {"population": 5}


def test_long_requests_come_in_batches_and_change_nothing(monkeypatch):
    problem = synthetic_problem(evaluations=5)
    whole = nasharness.run("rea", problem, runs=900)
    parts = nasharness.run("rea", problem, runs=900, batch=300)
    assert np.array_equal(whole.trajectories.ids, parts.trajectories.ids)


def test_the_best_of_a_range_of_epochs_pays_a_validation_for_each():
    last, best = (synthetic_problem(evaluations=1, signal=text).evaluator() for text in ("val@12:777", "val@1-12:777"))
    passes = synthetic_problem(evaluations=1).table.values("cifar10-valid", "val_s")
    assert best.cost_column(12) - last.cost_column(12) == pytest.approx(11 * passes)


@pytest.mark.parametrize("algorithm", ["random", "rea", "autoshrink"])
def test_a_result_says_the_same_without_its_evaluations(algorithm, tmp_path):
    """A million runs of `nasharness run` without --out hold some hundred bytes each, not every evaluation."""
    whole, short = (
        nasharness.run(algorithm, space="tss", evaluations=60, runs=7, batch=3, keep=k) for k in (True, False)
    )
    a, b = whole.summary(), short.summary()
    a.pop("overhead_seconds"), b.pop("overhead_seconds")
    assert a == b
    assert short.trajectories.steps == 0
    assert short.trajectories.count.tolist() == [60] * 7
    with pytest.raises(UsageError, match="keep=False"):
        studies.write(short, tmp_path / "out")


def test_what_is_said_of_the_first_evaluation_is_what_the_trajectory_says():
    result = nasharness.run("rea", space="tss", evaluations=60, runs=7)
    trajectories = result.trajectories
    assert np.array_equal(result.digest.first, trajectories.incumbents()[:, 0])
    best = np.where(trajectories.own(), trajectories.signal, -np.inf).max(axis=1)
    assert np.array_equal(result.digest.signal, best)
