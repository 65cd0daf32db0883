"""The AutoShrink family: published rows, each quirk of the official code, and its place among the others."""

import os
import subprocess
import sys

import numpy as np
import pytest
from nasharness.algorithms.autoshrink import OFFICIAL
from nasharness.algorithms.autoshrink_set import AutoShrinkSet, Survivors, sample_from
from nasharness.algorithms.ridge import PooledModel, normal_scores
from nasharness.algorithms.shrinking import (
    demotions,
    dense_start,
    penalty,
    sample_without_replacement,
)

import nasharness
from nasharness import spaces
from nasharness.search import Problem, registry
from nasharness.search.run import make_task
from nasharness.search.testing import synthetic_problem
from nasharness.tables.importers.nats_light import table as light

TSS, SSS = spaces.get("tss"), spaces.get("sss")


def build(name, problem, seeds=(0,), **settings):
    record = registry.get(name)
    task = make_task(record, problem, problem.evaluator(), np.array(seeds))
    return record.build(task, record.settings(settings))


@pytest.fixture
def light_table(shared_data, data_home):
    return light.import_files([shared_data / "tss.parquet"])


# ---- the engine


def test_sampling_without_replacement_is_uniform_and_of_the_right_size():
    rng = np.random.default_rng(0)
    eligible = np.array([True, False, True, True, False, True])
    drawn = sample_without_replacement(rng.random((30_000, 6)), np.broadcast_to(eligible, (30_000, 6)), 3)
    assert drawn.shape == (30_000, 3)
    assert all(len(set(row)) == 3 for row in drawn[:100].tolist())
    counts = np.bincount(drawn.ravel(), minlength=6)
    assert counts[~eligible].sum() == 0
    assert np.abs(counts[eligible] / 30_000 - 0.75).max() < 0.01
    few = sample_without_replacement(rng.random((5, 6)), np.broadcast_to(eligible, (5, 6)), 10)
    assert (np.sort(few, axis=1)[:, 2:] == [0, 2, 3, 5]).all()
    assert (few[:, 4:] == -1).all()


def test_demotions_are_one_rung_of_the_ladder_then_forward_pruning():
    smaller = demotions(TSS, keep_path=False)
    options = TSS.options[0]
    for index in (0, 1462, 9930, 77, 12_345):
        expected = set()
        choices = TSS.choices(index)
        for edge in range(6):
            for weaker in TSS.ladder[options[choices[edge]]]:
                shrunk = choices.copy()
                shrunk[edge] = options.index(weaker)
                expected.add(int(TSS.index(TSS.skeleton.pruned(np.array(shrunk, dtype=np.int8)))))
        expected.discard(index)
        assert {int(cell) for cell in smaller[index] if cell >= 0} == expected
    assert dense_start(TSS) == 1462
    assert (demotions(TSS, keep_path=True)[1462] >= 0).sum() == 18


def test_pruning_keeps_the_network():
    """A pruned cell computes the same: the corrected isomorphism rule agrees."""
    ids = np.arange(TSS.size, dtype=np.int32)
    pruned = TSS.index(TSS.skeleton.pruned(TSS.choices(ids)))
    assert np.array_equal(TSS.canonical(pruned, "corrected"), TSS.canonical(ids, "corrected"))
    kept = demotions(TSS, keep_path=True)
    assert not TSS.is_constant(kept[kept >= 0]).any()


def test_width_descent_goes_down_one_layer_by_one_step():
    smaller = demotions(SSS, keep_path=True)
    assert dense_start(SSS) == 32_767
    assert (smaller[0] == -1).all()
    widths = SSS.choices(smaller[32_767])
    assert widths.sum(axis=1).tolist() == [34] * 5


def test_official_penalty():
    """score = accuracy - 0.1 * (log10 MACs - 6): ten times the MACs cost ten points."""
    millions = TSS.flops(np.arange(TSS.size), "cifar10")
    assert penalty(TSS, "cifar10", 0.1) == pytest.approx(10 * (np.log10(millions * 1e6) - 6))


# ---- the concrete cell


def test_a_descent_follows_the_best_of_its_candidates():
    """Replay of one exhaustive descent against the plain algorithm."""
    problem = synthetic_problem(evaluations=2_000, signal="val@12:111")
    settings = {"k": 100, "patience": 0, "restarts": False, "keep_path": False}
    result = nasharness.run("autoshrink", problem, settings=settings)
    signal = problem.table.values("cifar10-valid", "val_acc", 12, seed="111")
    smaller, state, asked = demotions(TSS, keep_path=False), 1462, {1462}
    best = (signal[1462], 1462)
    while (smaller[state] >= 0).any():
        options = [int(cell) for cell in smaller[state] if cell >= 0]
        asked.update(options)
        state = max(options, key=lambda cell: signal[cell])
        best = max(best, (signal[state], state))
    assert set(result.trajectories.ids[0].tolist()) == asked
    assert result.recommended[0] == best[1]
    assert len(asked) == result.evaluations[0], "no architecture is paid for twice"


def test_scores_weigh_cost():
    problem = synthetic_problem(evaluations=150, signal="val@12:111")
    plain = nasharness.run("autoshrink", problem, runs=20)
    frugal = nasharness.run("autoshrink", problem, runs=20, settings={"cost_weight": 0.5})
    millions = TSS.flops(np.arange(TSS.size), "cifar10")
    assert millions[frugal.recommended].mean() < 0.7 * millions[plain.recommended].mean()


def test_sss_shrinks_widths():
    problem = synthetic_problem("sss", evaluations=400, signal="val@12:111")
    settings = {"patience": 0, "restarts": False}
    result = nasharness.run("autoshrink", problem, runs=3, settings=settings)
    assert result.trajectories.ids[:, 0].tolist() == [32_767] * 3
    assert (
        result.evaluations >= 105
    ).all()  # 105 to 165, and the start is one more (docs/reproduction/autoshrink.md#s1)
    assert (result.evaluations <= 166).all()


# ---- quirks of the official code, one by one (docs/reproduction/autoshrink.md)


def test_official_profile_is_what_it_says():
    assert registry.get("autoshrink.official").defaults == registry.get("autoshrink").defaults | OFFICIAL


def test_q9_the_full_network_is_scored_first_or_never():
    problem = synthetic_problem(evaluations=30)
    assert (nasharness.run("autoshrink", problem, runs=3).trajectories.ids[:, 0] == 1462).all()
    official = nasharness.run("autoshrink.official", problem, runs=3)
    assert not (official.trajectories.ids == 1462).any()


def test_q7_shrinks_to_the_empty_cell_or_stops():
    problem = synthetic_problem(evaluations=1_000, signal="val@12:111")
    empty = TSS.index([0] * 6)
    official = nasharness.run("autoshrink.official", problem, runs=3, settings={"cost_weight": 0.0, "k": 100})
    assert (official.trajectories.ids == empty).any(axis=1).all()
    fixed = nasharness.run("autoshrink", problem, runs=3)
    ids = fixed.trajectories.ids
    assert not TSS.is_constant(ids[ids >= 0]).any()


def tied(name, **settings):
    """One step over candidates with equal signals: which network is kept?"""
    algorithm = build(name, synthetic_problem(evaluations=100), seeds=range(200), score_start=False, **settings)
    asked = algorithm.ask()
    candidates = algorithm._candidates.copy()
    algorithm.tell(asked, np.where(asked >= 0, 50.0, np.nan))
    return candidates, algorithm._state[:, 0]


def test_q15_ties_go_to_the_cheaper_or_to_the_last():
    candidates, kept = tied("autoshrink", ties="last")
    assert np.array_equal(kept, candidates[:, -1])
    candidates, kept = tied("autoshrink", ties="cheaper")
    flops = TSS.flops(np.arange(TSS.size), "cifar10")
    assert (flops[kept] == flops[candidates].min(axis=1)).all()
    slot = (candidates == kept[:, None]).argmax(axis=1)
    assert len(set(slot.tolist())) > 5, "equal and equally cheap ones are drawn at random"


@pytest.mark.parametrize(("nan", "wins"), [("best", True), ("worst", False)])
def test_r2_a_failed_evaluation_wins_only_in_the_official_code(nan, wins):
    algorithm = build("autoshrink", synthetic_problem(evaluations=100), score_start=False, nan=nan)
    asked = algorithm.ask()
    values = np.full(asked.shape, 50.0)
    values[0, 3] = np.nan
    algorithm.tell(asked, values)
    assert (algorithm._state[0, 0] == asked[0, 3]) == wins
    assert algorithm.recommend(np.array([0]))[0] != asked[0, 3]


def test_q1_scores_can_be_means_of_trials():
    problem = synthetic_problem(evaluations=90, signal="val@12:random")
    result = nasharness.run("autoshrink", problem, runs=2, settings={"trials": 3})
    ids = result.trajectories.ids[0]
    assert all((ids[start : start + 3] == ids[start]).all() for start in range(0, 90, 3))


def test_q2_best_of_epochs_is_a_signal():
    problem = synthetic_problem(evaluations=20, signal="val@1-12:777")
    result = nasharness.run("autoshrink.official", problem)
    column = problem.table.column("cifar10-valid", "val_acc", 12)
    curves = problem.table.array("cifar10-valid", "val_acc", 12)[:, column.seeds.index("777")]
    assert np.array_equal(result.trajectories.signal[0], curves.max(axis=0)[result.trajectories.ids[0]])
    assert str(problem.signal) == "val@1-12:777"


def test_q8_a_beam_keeps_the_best_networks():
    algorithm = build("autoshrink", synthetic_problem(evaluations=500), beam=3, k=18)
    for _ in range(4):
        asked = algorithm.ask()
        algorithm.tell(asked, np.where(asked >= 0, (asked * 7919 % 997).astype(float), np.nan))
    assert len(set(algorithm._state[0].tolist())) == 3


@pytest.mark.parametrize("name", ["autoshrink", "autoshrink.set", "autoshrink.pooled"])
def test_no_architecture_is_paid_for_twice(name):
    settings = {"autoshrink.set": {"samples": 5}, "autoshrink.pooled": {"repeats": 0.0}}.get(name, {})
    result = nasharness.run(name, synthetic_problem(evaluations=700), runs=4, settings=settings)
    for row, count in enumerate(result.trajectories.count):
        assert len(set(result.trajectories.ids[row, :count].tolist())) == count


@pytest.mark.parametrize("space", ["tss", "sss"])
def test_restarts_spend_the_whole_budget(space):
    result = nasharness.run("autoshrink", synthetic_problem(space, evaluations=1_500), runs=5)
    assert result.evaluations.tolist() == [1_500] * 5


# ---- sets


def test_survivors_and_samples_from_them():
    sets = Survivors(TSS, 2)
    assert sets.removable().sum() == 60
    for slot in (0, 1, 2, 4):
        sets.remove(np.array([slot, -1]))
    assert sets.removable()[0].sum() == 25, "the last choice of a position stays"
    rng = np.random.default_rng(0)
    cells = sample_from(TSS, sets.alive[:, None], rng.random((2, 5_000, 6)))
    assert (TSS.choices(cells[0])[:, 0] == 3).all()
    assert np.abs(np.bincount(TSS.choices(cells[1])[:, 0]) / 5_000 - 0.2).max() < 0.03


@pytest.mark.parametrize(
    ("samples", "dataset", "mean", "std"),
    [
        (1, "cifar10", 93.04, 1.18),
        (1, "cifar100", 69.98, 1.92),
        (5, "cifar10", 93.52, 0.68),
        (5, "cifar100", 71.21, 1.54),
        (20, "cifar10", 94.01, 0.43),
        (20, "cifar100", 72.17, 1.23),
    ],
)
def test_set_shrink_reproduces_the_published_rows(light_table, monkeypatch, samples, dataset, mean, std):
    """docs/reproduction/autoshrink.md#t1 with k=10: the cell that is left, 200 seeds there and 200 here.

    Our own answer is the best that was paid for where the signal is exact, which is better.
    """

    def left(algorithm, rows):
        last = algorithm._sets.single()
        return np.where(last >= 0, last, algorithm._best_id)[rows]

    monkeypatch.setattr(AutoShrinkSet, "recommend", left)
    problem = Problem.create(dataset=dataset, table=light_table, evaluations=5_000)
    result = nasharness.run("autoshrink.set", problem, runs=200, settings={"samples": samples})
    error = np.hypot(std, result.recommended_final.std()) / np.sqrt(200)
    assert abs(result.recommended_final.mean() - mean) < 2.6 * error  # 2.6: six rows are tested at 1 % each
    if samples == 1:
        assert 170 < result.evaluations.mean() < 190  # about 178 distinct


# ---- pooled evidence


def test_pooled_prediction_equals_the_kernel_written_out():
    rng = np.random.default_rng(0)
    for space in (TSS, SSS):
        model = PooledModel(space, theta=0.3, noise=0.1)
        ids = rng.choice(space.size, (3, 40), replace=False).astype(np.int32)
        values = rng.normal(size=(3, 40))
        predicted = np.concatenate([part for _, part in model.predict(ids, values)])
        choices = space.choices(np.arange(space.size)).astype(int)
        probe = rng.choice(space.size, 50)
        for row in range(3):
            distance = np.abs(choices[:, None] - choices[ids[row]][None])
            alike = np.exp(-distance / 2) if space.ordinal else distance == 0
            kernel = np.prod((1 + 0.3 * alike) / 1.3, axis=2)
            weights = np.linalg.solve(kernel[ids[row]] + 0.1 * np.eye(40), normal_scores(values)[row])
            assert predicted[row, model.cell[probe]] == pytest.approx(kernel[probe] @ weights, abs=2e-6)


def test_shrinking_one_by_one_ends_with_the_best_choices():
    """PooledModel.survivors against dropping choices one at a time and looking at what is left."""
    rng = np.random.default_rng(1)
    model = PooledModel(TSS, 0.3, 0.1)
    predicted = rng.normal(size=(2, TSS.size)).astype(np.float32)
    for level in (6, 9, 17, 29):
        alive = model.survivors(predicted, np.array([level, level]))
        for row in range(2):
            grid = predicted[row].reshape((5,) * 6)
            left = np.ones((6, 5), dtype=bool)
            while True:
                worth = {
                    (e, o): grid[np.ix_(*[[o] if p == e else np.flatnonzero(left[p]) for p in range(6)])].max()
                    for e, o in zip(*np.nonzero(left), strict=True)
                }
                worst = [choice for choice, value in worth.items() if value == min(worth.values())]
                if left.sum() - len(worst) < level:  # choices that share their best cell go together
                    break
                left[tuple(np.transpose(worst))] = False
            assert np.array_equal(alive[row], left)


def test_normal_scores_share_ties_and_shun_failures():
    scores = normal_scores(np.array([[3.0, 1.0, 1.0, np.nan, 9.0]]))[0]
    assert scores[1] == scores[2]
    assert scores.argmin() == 3
    assert scores.argmax() == 4
    assert scores.sum() == pytest.approx(0)


def test_pooled_spends_any_budget_without_repeating_itself():
    problem = synthetic_problem(evaluations=300, repeats="free")
    result = nasharness.run("autoshrink.pooled", problem, runs=3)
    assert all(len(set(row)) == 300 for row in result.trajectories.ids.tolist())


# ---- its place among the others, on measured data


def advantage(one, other):
    """Mean difference of the final metric and half its 95 % interval."""
    difference = one.mean() - other.mean()
    return difference, 1.96 * np.sqrt(one.var() / len(one) + other.var() / len(other))


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
@pytest.mark.parametrize("evaluations", [100, 200, 500])
def test_pooled_beats_evolution(light_table, dataset, evaluations):
    problem = Problem.create(dataset=dataset, table=light_table, evaluations=evaluations)
    pooled = nasharness.run("autoshrink.pooled", problem, runs=100)
    evolution = nasharness.run("rea", problem, runs=500)
    for mine, theirs in ((pooled.final, evolution.final), (pooled.recommended_final, evolution.recommended_final)):
        difference, half = advantage(mine, theirs)
        if evaluations == 500:  # evolution has found the signal's maximum too, and the test accuracies are one cell's
            assert difference + half > 0
        else:
            assert difference - half > 0


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_concrete_cell_beats_evolution_at_100(light_table, dataset):
    problem = Problem.create(dataset=dataset, table=light_table, evaluations=100)
    shrink, evolution = (nasharness.run(name, problem, runs=500) for name in ("autoshrink", "rea"))
    for mine, theirs in ((shrink.final, evolution.final), (shrink.recommended_final, evolution.recommended_final)):
        difference, half = advantage(mine, theirs)
        assert difference - half > 0


def test_pooled_is_the_same_on_other_processors():
    """Matrix products differ in the last bits between kernels; predictions are rounded before anything is decided."""
    code = (
        "import hashlib, nasharness\n"
        "result = nasharness.run('autoshrink.pooled', dataset='cifar100', table='embedded', evaluations=500, runs=6)\n"
        "print(hashlib.sha256(result.trajectories.ids.tobytes()).hexdigest())"
    )
    found = set()
    for kernel in ("Prescott", "Nehalem", "Haswell"):
        environment = os.environ | {"OPENBLAS_CORETYPE": kernel}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
        found.add(done.stdout)
    assert len(found) == 1
