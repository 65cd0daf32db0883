"""Fronts in studies: what is kept of each run, and what reads it."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

import nasharness
from nasharness import fronts
from nasharness.analysis.comparison import compare
from nasharness.errors import UsageError
from nasharness.search import Problem
from nasharness.search.front import along, final_points
from nasharness.studies import Plan, load, run_study, write

WANTED = ("error", "raspi4_latency")
ALGORITHMS = ["random", "nsga2", "autoshrink.pareto"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    plan = Plan.create(
        algorithms=ALGORITHMS, datasets="cifar10", runs=12, evaluations=60, table="embedded", objectives=list(WANTED)
    )
    return run_study(plan, tmp_path_factory.mktemp("studies") / "fronts")


@pytest.fixture(scope="module")
def results(folder):
    return load(folder)


def problem(evaluations, **options):
    return Problem.create("tss", table="embedded", objectives=WANTED, evaluations=evaluations, **options)


@pytest.mark.parametrize("name", ["nsga2", "random"])
@pytest.mark.parametrize("signal", ["val@200:random", "val@200:trial0"])
def test_the_hypervolume_along_a_run_is_that_of_shorter_runs(name, signal):
    whole = nasharness.run(name, problem(90, signal=signal), runs=7)
    run, steps, shares = along(whole.problem, whole.trajectories)
    assert (np.diff(run * 1000 + steps) > 0).all()
    for evaluations in (1, 20, 55, 90):
        short = nasharness.run(name, problem(evaluations, signal=signal), runs=7).front.hypervolume
        here = [shares[(run == number) & (steps <= evaluations)][-1] for number in range(7)]
        assert np.array_equal(here, short)


def test_a_study_keeps_the_members_of_each_front(results):
    for cell in results.cells:
        kept = results.fronts(cell)
        again = nasharness.run(cell["name"], problem(60), runs=12).front
        assert kept.columns.tolist() == ["seed", "arch", "signal", *WANTED]
        for seed in range(12):
            mine = kept[kept["seed"] == seed]
            assert np.array_equal(mine["arch"], again.ids[seed])
            assert np.array_equal(mine["signal"], again.signals[seed])
            assert np.array_equal(mine[list(WANTED)], again.points[seed])
        last = results.last[results.last["algorithm"] == cell["algorithm"]]
        grid = results.hypervolumes(cell, [0, 1, 30, 60, 1000])
        assert np.array_equal(grid[:, -1], last["hypervolume"])
        assert (grid[:, 0] == 0).all()
        assert (grid[:, 2] <= 1).all()


def test_a_run_keeps_what_a_study_keeps(folder, tmp_path):
    result = nasharness.run("nsga2", problem(60), runs=12)
    mine, theirs = load(write(result, tmp_path / "run")), load(folder)
    cell = next(cell for cell in theirs.cells if cell["name"] == "nsga2")
    assert mine.fronts(mine.cells[0]).equals(theirs.fronts(cell))
    assert mine.cells[0]["front"] == cell["front"]


def test_a_study_says_what_there_is_to_find(results):
    asked = problem(60)
    whole = final_points(asked, np.arange(15_625))
    exact = whole[fronts.non_dominated(whole)]
    said = results.cells[0]["front"]
    assert np.array_equal(np.unique(exact, axis=0), said["exact"])
    assert np.array_equal(final_points(asked, np.array(said["architectures"])), said["exact"])
    reference = fronts.reference_of(exact)
    assert said["reference_point"] == list(reference.point)
    assert said["hypervolume"] == fronts.hypervolume(np.array(said["exact"]), reference.point)
    # the signal's mean is the final metric here: nothing of the front is out of reach
    assert said["reachable_hypervolume"] == 1


REACHED = {
    "flops_m": 0.9703, "eyeriss_lat_ms": 0.9738, "gold_6226_lat_ms": 0.9967, "raspi4_lat_ms": 0.998,
    "pixel3_lat_ms": 0.9992, "edgegpu_lat_ms": 0.9979, "edgegpu_energy_mj": 0.998,
}  # fmt: skip


def test_what_validation_can_reach_on_test(shared_data):
    """Shares of the exact front's hypervolume that the front by mean validation scores of all cells has on test."""
    tss = pq.read_table(shared_data / "tss.parquet").to_pandas()
    costs = pq.read_table(shared_data / "tss_hw.parquet").to_pandas().assign(flops_m=tss["flops_m"])
    told = problem(60).evaluator().expected_signal()
    for cost, share in REACHED.items():
        rows = np.flatnonzero(costs[cost].notna())
        known = costs[cost].to_numpy(float)[rows]
        whole = np.stack([100 - tss["cifar10_test_200"].to_numpy(float)[rows], known], axis=1)
        chosen = whole[fronts.non_dominated(np.stack([-told[rows], known], axis=1))]
        exact = whole[fronts.non_dominated(whole)]
        point = fronts.reference_of(exact).point
        reached = fronts.hypervolume(chosen, point) / fronts.hypervolume(exact, point)
        assert reached == pytest.approx(share, abs=6e-5), cost


def test_studies_of_one_objective_are_as_they_were(tmp_path):
    result = nasharness.run("random", Problem.create("tss", table="embedded", evaluations=10), runs=2)
    folder = write(result, tmp_path / "plain")
    schema = pq.read_schema(folder / "shards" / "c000-00000.parquet")
    assert not [name for name in schema.names if name.startswith("front")]
    plain = load(folder)
    assert "front" not in plain.cells[0]
    with pytest.raises(UsageError, match="run for one objective; name another one"):
        plain.fronts(plain.cells[0])


def test_studies_of_one_and_several_objectives_are_loaded_together(folder, tmp_path):
    result = nasharness.run("rea", Problem.create("tss", table="embedded", evaluations=60), runs=3)
    both = load([folder, write(result, tmp_path / "plain")])
    assert len(both.fronts(both.cells[0]))
    with pytest.raises(UsageError, match="one objective"):
        both.fronts(both.cells[-1])


def limited(result, bound):
    """Of each run, the final metric of the best by signal, among all evaluations, that costs at most ``bound``."""
    cost = result.problem.known().values(1, result.trajectories.ids) * -1
    told = np.where(cost <= bound, result.trajectories.signal, -np.inf)
    rows = np.arange(len(told))
    best = result.trajectories.ids[rows, told.argmax(axis=1)]
    scored = result.problem.truth().score(best, result.trajectories.shown(rows, best))
    return np.where(told.max(axis=1) > -np.inf, scored, np.nan), best


def test_the_best_under_a_limit_is_that_of_all_evaluations(results, folder, cli):
    bound = 12.0
    compared = compare(results.frame, results.cells, limit=f"raspi4_latency <= {bound}")
    section = compared.sections[0]
    for row in section.rows:
        expected, _ = limited(nasharness.run(row.algorithm, problem(60), runs=12), bound)
        assert row.mean == pytest.approx(np.nan_to_num(expected).mean(), abs=1e-12)
    values, cost = problem(60).truth().values, problem(60).known().values(1, np.arange(15_625)) * -1
    assert section.optimum == pytest.approx(values[cost <= bound].max(), abs=1e-12)
    code, printed, _ = cli("compare", folder, "--limit", "raspi4_latency <= 12 ms")
    assert code == 0
    assert f"optimum {section.optimum:.2f}" in printed
    assert "final metric of the best under raspi4_latency <= 12 ms" in printed


def test_a_run_that_found_nothing_within_a_limit_counts_as_nothing(results):
    section = compare(results.frame, results.cells, limit="raspi4_latency <= 0.02").sections[0]
    random = next(row for row in section.rows if row.algorithm == "random")
    found, _ = limited(nasharness.run("random", problem(60), runs=12), 0.02)
    empty = int(np.isnan(found).sum())
    assert empty > 0
    assert (
        f"{empty} runs of random found nothing that keeps raspi4_latency <= 0.02 ms; they count as 0 %" in section.notes
    )
    assert random.mean == pytest.approx(np.nan_to_num(found).mean())


def test_hypervolumes_are_compared_at_any_budget(results, folder, cli):
    for evaluations in (20, 60):
        rows = compare(results.frame, results.cells, score="hypervolume", evaluations=evaluations).sections[0].rows
        for row in rows:
            share = nasharness.run(row.algorithm, problem(evaluations), runs=12).front.hypervolume
            if "pareto" not in row.algorithm or evaluations == 60:  # whose first steps depend on the budget
                assert row.mean == pytest.approx(100 * share.mean())
    code, printed, _ = cli("compare", folder, "--score", "hypervolume")
    assert code == 0
    assert "hypervolume of the run's front, of the exact front's, percent, at the end" in printed
    assert "optimum 100.00" in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--limit", "raspi4_latency < 5"), "expected NAME <= NUMBER"),
        (("--limit", "raspi4_latency <= 1.2.3"), "'1.2.3' is no number"),
        (("--limit", "raspi4_latency <= 0.001"), "nothing on tss/cifar10 keeps it; the nearest is 0.0112"),
        (("--limit", "raspi4_latency <= 5 s"), "raspi4_latency has ms, not 's'"),
        (("--limit", "pixel3_latency <= 5"), "nearest: raspi4_latency"),
        (("--limit", "error <= 5"), "unknown objective that random knew on cifar10 'error'"),
        (("--limit", "raspi4_latency <= 5", "--score", "recommended"), "give one of them"),
        (("--limit", "raspi4_latency <= 5", "--at-evaluations", "9"), "only at the end"),
        (("--score", "hypervolume", "--at-seconds", "9000"), "use --at-evaluations"),
    ],
)
def test_bad_limits_are_named(folder, cli, words, said):
    code, printed, error = cli("compare", folder, *words)
    assert (code, printed) == (2, "")
    assert said in error
