"""AutoShrink's pooled evidence: its views and model written out, answers, noise, limits of its start, other spaces."""

import numpy as np
import pytest
from nasharness.algorithms.contenders import Contenders
from nasharness.algorithms.evidence import Evidence, most_optimistic
from nasharness.algorithms.ridge import normal_scores

import nasharness
from nasharness import spaces, tables
from nasharness.errors import UsageError
from nasharness.search import Problem, registry
from nasharness.search.loop import search
from nasharness.search.run import make_task
from nasharness.search.testing import synthetic_problem
from nasharness.spaces.embedding import embeddings

TSS, SSS = spaces.get("tss"), spaces.get("sss")
EVERYTHING = np.arange(TSS.size, dtype=np.int32)


def asked(result, run):
    return result.trajectories.ids[run, : result.trajectories.count[run]]


# ---- views


def test_the_topology_of_a_cell_is_its_live_operations_and_its_paths_without_skips():
    view = embeddings(TSS)[0]
    assert view.name == "topology"
    rng = np.random.default_rng(0)

    def written_out(cell):
        graph = TSS.graph(int(cell))
        live = [edge for edge, carries in zip(graph.edges, graph.live(), strict=True) if carries]
        counts, paths, open_paths = {}, {}, [(0, ())]
        for _, _, operation in live:
            counts[operation] = counts.get(operation, 0) + 1
        while open_paths:
            node, word = open_paths.pop()
            if node == 3:
                paths[word] = paths.get(word, 0) + 1
            for source, target, operation in live:
                if source == node:
                    open_paths.append((target, word if operation == "skip_connect" else (*word, operation)))
        return counts, paths

    def apart(one, other):
        return sum((one.get(key, 0) - other.get(key, 0)) ** 2 for key in {*one, *other})

    for one, other in rng.integers(0, TSS.size, (60, 2)):
        (counts, paths), (theirs, their_paths) = written_out(one), written_out(other)
        expected = 9 * apart(counts, theirs) + 16 * apart(paths, their_paths)
        assert ((view.points[one].astype(int) - view.points[other]) ** 2).sum() == expected


def test_networks_that_no_path_leads_through_are_one_point():
    points = embeddings(TSS)[0].points[TSS.is_constant(EVERYTHING)]
    assert (points == points[0]).all()


def test_spaces_without_a_skeleton_have_their_choices():
    assert [view.name for view in embeddings(TSS)] == ["topology", "flat"]
    assert [view.name for view in embeddings(SSS)] == ["flat"]
    flat = embeddings(spaces.get("macro"))[0]
    assert flat.points.shape == (6561, 24)


# ---- the model


@pytest.mark.parametrize("space", [TSS, SSS], ids=["tss", "sss"])
def test_grown_evidence_predicts_as_the_kernel_written_out(space):
    view = embeddings(space)[0]
    evidence = Evidence((view,), 2, own=0.05)
    rng = np.random.default_rng(1)
    ids = np.stack([rng.choice(space.size, 30, replace=False) for _ in range(2)]).astype(np.int32)
    values = rng.normal(size=ids.shape)
    for first, last in ((0, 9), (9, 10), (10, 17), (17, 30)):
        evidence.add(ids[:, first:last], values[:, first:last])
    pool = np.stack([np.setdiff1d(rng.choice(space.size, 60), row)[:40] for row in ids]).astype(np.int32)
    found, mean, covariance = evidence.promising(pool, np.ones(pool.shape, bool), 40, 15)
    for run in range(2):
        points = view.points.astype(float) / view.unit
        kernel = lambda one, other, at=points: np.exp(-0.5 * ((at[one][:, None] - at[other][None]) ** 2).sum(axis=2))  # noqa: E731
        covered = kernel(ids[run], ids[run]) + 0.05 * np.eye(30)
        cross = kernel(found[run], ids[run])
        assert sorted(found[run]) == sorted(pool[run])
        assert mean[run] == pytest.approx(
            cross @ np.linalg.solve(covered, normal_scores(values[run : run + 1])[0]), abs=2e-6
        )
        expected = kernel(found[run], found[run]) + 0.05 * np.eye(40) - cross @ np.linalg.solve(covered, cross.T)
        assert covariance[run] == pytest.approx(expected[:15, :15], abs=2e-6)
        assert (np.diff(mean[run]) <= 0).all()


def test_what_is_chosen_together_is_what_conditioning_on_each_chosen_one_chooses():
    rng = np.random.default_rng(2)
    roots = rng.normal(size=(5, 12, 12))
    covariance, mean = roots @ roots.transpose(0, 2, 1), rng.normal(size=(5, 12))
    places = most_optimistic(mean, covariance, 2.0, 6)
    for run in range(5):
        left = covariance[run].copy()
        taken = []
        for _ in range(6):
            hope = mean[run] + 2.0 * np.sqrt(np.maximum(np.diagonal(left), 0))
            hope[taken] = -np.inf
            taken.append(int(hope.argmax()))
            left = left - np.outer(left[taken[-1]], left[taken[-1]]) / left[taken[-1], taken[-1]]
        assert places[run].tolist() == taken


def test_of_a_pool_what_is_not_new_is_left_out():
    evidence = Evidence(embeddings(TSS), 2, own=0.05)
    evidence.add(np.array([[4, 5, 6]] * 2, dtype=np.int32), np.array([[1.0, 2.0, 3.0]] * 2))
    pool = np.array([[5, 9, 11, 12]] * 2, dtype=np.int32)
    assert evidence.asked(pool).tolist() == [[True, False, False, False]] * 2
    found, mean, _ = evidence.promising(pool, ~evidence.asked(pool), 4, 4)
    assert np.isneginf(mean[:, -1]).all()
    assert (found[:, -1] == 5).all()
    assert np.isfinite(mean[:, :3]).all()


def test_evidence_keeps_the_mean_of_repeats_and_knows_who_is_noisy():
    evidence = Evidence(embeddings(TSS), 3, own=0.05)
    evidence.add(np.array([[4, 5, 6]] * 3, dtype=np.int32), np.array([[1.0, 2.0, 3.0]] * 3))
    evidence.add(np.array([[5, 7], [5, 7], [9, -1]], dtype=np.int32), np.array([[2.0, 0.5], [4.0, 0.5], [1.0, np.nan]]))
    assert evidence.noisy.tolist() == [False, True, False]
    assert evidence.repeats.tolist() == [1, 1, 0]
    assert evidence.mean[:, 1].tolist() == [2.0, 3.0, 2.0]
    assert evidence.squares.tolist() == [0.0, 2.0, 0.0]
    held, scores, _ = evidence.held(slice(0, 3))
    assert np.isneginf(scores).sum(axis=1).tolist() == [0, 0, 0]
    assert sorted(evidence.ids[2, held[2]].tolist()) == [4, 5, 6, 9]


def test_models_stay_bounded_when_evaluations_do_not():
    evidence = Evidence(embeddings(SSS), 1, own=0.05)
    rng = np.random.default_rng(0)
    order = rng.permutation(SSS.size).astype(np.int32)
    for first in range(0, 3_000, 150):
        ids = order[None, first : first + 150]
        evidence.add(ids, ids.astype(float))
        held, scores, _ = evidence.held(slice(0, 1))
        assert held.shape[1] <= 150
        assert evidence.ids[0, held[0, scores[0].argmax()]] == order[: first + 150].max()


# ---- answers


@pytest.mark.parametrize("space", ["tss", "sss"])
@pytest.mark.parametrize("name", ["autoshrink.pooled", "autoshrink.pareto"])
@pytest.mark.parametrize("evaluations", [1, 9, 24, 70, 130])
def test_where_the_signal_is_exact_the_answer_is_never_worse_than_the_incumbent(space, name, evaluations):
    problem = synthetic_problem(space, evaluations=evaluations, signal="val@12:111")
    result = nasharness.run(name, problem, runs=6)
    signal = problem.table.values("cifar10-valid", "val_acc", 12, seed="111")
    assert (signal[result.recommended] == signal[result.incumbent]).all()


@pytest.mark.parametrize(
    "options",
    [{"signal": "val@12:111"}, {"signal": "val@12:random", "repeats": "free"}, {"signal": "val@12:random"}],
    ids=["exact", "free", "brief"],
)
def test_where_repeats_tell_nothing_or_do_not_pay_nothing_is_evaluated_twice(options):
    evaluations = 50 if options == {"signal": "val@12:random"} else 150
    result = nasharness.run("autoshrink.pooled", synthetic_problem(evaluations=evaluations, **options), runs=4)
    assert all(len(set(asked(result, run))) == evaluations for run in range(4))


def test_what_a_signal_is_it_finds_out_by_itself():
    """Told that a signal may be noisy which is not, it evaluates up to five again, and goes on."""
    record, problem = registry.get("autoshrink.pooled"), synthetic_problem(evaluations=150, signal="val@12:111")
    evaluator, seeds = problem.evaluator(), np.arange(3)
    task = make_task(record, problem, evaluator, seeds)
    task.exact = False
    searched = search(record.build(task, record.defaults), problem, evaluator, seeds)
    distinct = np.array([len(set(row)) for row in searched.trajectories.ids.tolist()])
    assert (distinct >= 145).all()
    assert (distinct < 150).all()


def test_a_noisy_signal_is_repeated_with_the_rest_of_the_budget():
    result = nasharness.run("autoshrink.pooled", synthetic_problem(evaluations=200, signal="val@12:random"), runs=6)
    distinct = np.array([len(set(asked(result, run))) for run in range(6)])
    assert (distinct >= 80).all()  # the share that is not for repeats
    assert (distinct < 200).all()
    assert all((asked(result, run) == result.recommended[run]).sum() >= 2 for run in range(6))


def test_contenders_find_the_best_of_noisy_ones_more_often_than_equal_shares_do():
    rng = np.random.default_rng(3)
    worth = np.sort(rng.normal(0, 1, (400, 8)), axis=1)
    ids = np.tile(np.arange(8, dtype=np.int32), (400, 1))
    mean, count = worth + rng.normal(0, 1, worth.shape), np.ones(worth.shape, dtype=np.int64)
    squares, repeats = np.zeros(400), np.zeros(400, dtype=np.int64)
    rows = np.arange(400)
    for _ in range(10):
        for chosen in Contenders(ids, mean, count, squares, repeats).race(8).T:
            value = worth[rows, chosen] + rng.normal(0, 1, 400)
            off = value - mean[rows, chosen]
            count[rows, chosen] += 1
            mean[rows, chosen] += off / count[rows, chosen]
            squares += off * (value - mean[rows, chosen])
            repeats += 1
    raced = (Contenders(ids, mean, count, squares, repeats).best() == 7).mean()
    equal = ((worth + rng.normal(0, 1 / np.sqrt(11), worth.shape)).argmax(axis=1) == 7).mean()
    assert raced > equal
    assert count[:, 7].mean() > 2 * count[:, 0].mean()


def test_noise_is_averaged_out_on_measured_data():
    """One of two or three trials an evaluation: the share of runs that end at the optimum grows with the budget."""
    found = []
    for evaluations in (60, 192):
        problem = Problem.create(dataset="cifar100", table="embedded", final="val@200:mean", evaluations=evaluations)
        result = nasharness.run("autoshrink.pooled", problem, runs=40)
        truth = problem.truth()
        found.append((truth.score(result.recommended) == truth.optimum).mean())
    assert found[1] > max(0.85, found[0])


# ---- limits


def test_close_to_a_limit_candidates_are_two_choices_away_and_keep_it():
    problem = synthetic_problem(evaluations=40, signal="val@12:111", limits=["macs <= 60"])
    record, evaluator, seeds = registry.get("autoshrink.pooled"), problem.evaluator(), np.arange(3)
    algorithm = record.build(make_task(record, problem, evaluator, seeds), record.defaults)
    costs = problem.space.flops(EVERYTHING, problem.dataset)
    close = np.flatnonzero((costs <= 60) & (costs > 55))[:24].reshape(3, 8).astype(np.int32)
    far = np.zeros((3, 4))
    pool = algorithm._candidates(close, far)
    assert (costs[pool] <= 60).all()
    beside = [len(np.setdiff1d(pool[run], TSS.neighbours(close[run]))) for run in range(3)]
    assert min(beside) > 10


# ---- starts, settings, spaces


def test_from_ten_random_cells_it_beats_local_search():
    wins = []
    for dataset in ("cifar10", "cifar100"):
        problem = Problem.create(dataset=dataset, table="embedded", signal="val@200:trial0", final="val@200:trial0",
                                 evaluations=60, start="random:10")  # fmt: skip
        mine, theirs = (nasharness.run(name, problem, runs=40).final for name in ("autoshrink.pooled", "local-search"))
        gain = mine - theirs
        wins.append(gain.mean() > 2 * gain.std(ddof=1) / np.sqrt(40))
    assert all(wins)


def test_topology_pays_at_equal_everything():
    problem = Problem.create(table="embedded", signal="val@200:trial0", final="val@200:trial0", evaluations=60,
                             start="random:10")  # fmt: skip
    aware, flat = (
        nasharness.run("autoshrink.pooled", problem, runs=60, settings={"topology": topology}).final
        for topology in (True, False)
    )
    assert (aware - flat).mean() > 2 * (aware - flat).std(ddof=1) / np.sqrt(60)


def test_a_full_network_that_leads_nowhere_is_left(data_home):
    """The same table with operations renamed, so that the full network is the empty cell."""
    choices = TSS.choices(EVERYTHING)
    renamed = np.array([3, 1, 2, 0, 4])[choices]
    table = tables.open_table("tss", "embedded")
    signal = table.values("cifar10-valid", "val_acc", 200, seed="trial0")[TSS.index(renamed)]
    frame = {"arch": np.array(TSS.strings(), dtype=object), "acc": signal}
    problem_of = {"signal": "acc", "final": "acc", "dataset": "cifar10", "evaluations": 100}
    renamed_table = tables.from_frame(frame, name="renamed", arch="arch", metrics={"acc": "cifar10/acc"}, space="tss")
    problem = Problem.create("tss", table=renamed_table, **problem_of)
    result = nasharness.run("autoshrink.pooled", problem, runs=20)
    assert len(set(np.concatenate([asked(result, run)[8:13] for run in range(20)]).tolist())) > 80  # from anywhere
    assert result.recommended_final.mean() >= nasharness.run("local-search", problem, runs=60).recommended_final.mean()


def test_spaces_without_a_ladder_run(data_home):
    rng = np.random.default_rng(5)
    codes = np.unique(rng.integers(0, 4, (300, 5)), axis=0)[:180]
    names = np.array(["".join("abcd"[digit] for digit in code) for code in codes], dtype=object)
    worth = rng.random((5, 4))[np.arange(5), codes].sum(axis=1)
    listed = tables.from_frame({"code": names, "acc": worth}, name="letters", arch="code", metrics={"acc": "acc"})
    problem = Problem.create("letters", table=listed, signal="acc", final="acc", evaluations=60)
    assert "ladder" not in problem.space.offers
    result = nasharness.run("autoshrink.pooled", problem, runs=8)
    assert (result.regret < 0.05).mean() > 0.5
    every = Problem.create("letters", table=listed, signal="acc", final="acc", evaluations=500)
    assert (nasharness.run("autoshrink.pooled", every, runs=2).evaluations <= 190).all()


@pytest.mark.parametrize(
    "settings", [{"own": 0.0}, {"growth": 0.5}, {"explore": -1.0}, {"repeats": 1.5}, {"cost_weight": -1.0}]
)
def test_settings_outside_their_range_are_refused(settings):
    with pytest.raises(UsageError, match=next(iter(settings))):
        nasharness.run("autoshrink.pooled", synthetic_problem(evaluations=5), settings=settings)
