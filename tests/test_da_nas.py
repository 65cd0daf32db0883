"""Stages of a problem, and DA-NAS's pruning on them: against a plain loop, the reference findings, costs, refusals."""

import json

import numpy as np
import pytest
from pyarrow import parquet

import nasharness
from nasharness import spaces
from nasharness.analysis.statistics.correlation import kendall
from nasharness.errors import UsageError
from nasharness.search import Problem
from nasharness.search.streams import generator
from nasharness.search.testing import synthetic_problem
from nasharness.tables import from_frame

TSS = spaces.get("tss")
STAGES = ("cifar10/val@200", "cifar100/val@200")


def staged(stages=STAGES, **options):
    """ImageNet16-120 in the end, 200 epochs, by means over trials."""
    asked = {"signal": "val@200:mean", "final": "val@200:mean", "evaluations": 200} | options
    return Problem.create("tss", "ImageNet16-120", table="embedded", stages=stages, **asked)


def means(dataset):
    problem = Problem.create("tss", dataset, table="embedded", final="val@200:mean", evaluations=1)
    return problem.truth().values


def plain(seed, sources, samples, drops, final, score):
    """DA-NAS as a loop over cells, the draws in the same order."""
    rng, sets, shown = generator(seed), [list(range(5)) for _ in range(6)], []
    for values, count, drop in zip(sources, samples, drops, strict=True):
        u = rng.random((count, 6))
        cells = [[options[int(x * len(options))] for options, x in zip(sets, row, strict=True)] for row in u]
        told = values[TSS.index(np.array(cells, dtype=np.int8))]
        if values is sources[-1]:
            shown += TSS.index(np.array(cells, dtype=np.int8)).tolist()
        for edge in range(6):
            worth = {}
            for option in sets[edge]:
                having = [value for cell, value in zip(cells, told, strict=True) if cell[edge] == option]
                worth[option] = score(having) if having else np.inf
            best = sorted(sets[edge], key=lambda option: (-worth[option], option))
            sets[edge] = sorted(best[: max(2, len(best) - drop)])
    u = rng.random((final, 6))
    cells = [[options[int(x * len(options))] for options, x in zip(sets, row, strict=True)] for row in u]
    shown += TSS.index(np.array(cells, dtype=np.int8)).tolist()
    return sets, shown


@pytest.mark.parametrize("score", ["mean", "max"])
def test_pruning_is_that_of_a_plain_loop(score):
    sources = [means(name) for name in ("cifar10", "cifar100", "ImageNet16-120")]
    settings = {"samples": "20,30,25", "drop": "2,1,1", "final": 9, "score": score}
    result = nasharness.run("da-nas.table", staged(evaluations=84), runs=5, seed=3, settings=settings)
    reduce = {"mean": lambda having: sum(having) / len(having), "max": max}[score]
    for row in range(5):
        _, shown = plain(3 + row, sources, (20, 30, 25), (2, 1, 1), 9, reduce)
        assert result.trajectories.ids[row, 50:].tolist() == shown
        assert result.incumbent[row] == shown[int(np.argmax(sources[2][shown]))]


def test_stages_are_paid_for_by_their_own_cost_and_make_no_incumbent():
    problem = staged()
    result = nasharness.run("da-nas.table", problem, runs=3)
    trajectories = result.trajectories
    assert (trajectories.epochs[:, [0, 60, 120, 199]] == [-2, -1, 200, 200]).all()
    assert trajectories.own().sum(axis=1).tolist() == [80] * 3
    seconds = [
        Problem.create("tss", name, table="embedded", evaluations=1).evaluator().cost_column(200)
        for name in ("cifar10", "cifar100", "ImageNet16-120")
    ]
    asked = np.repeat([0, 1, 2], [60, 60, 80])
    paid = np.stack([seconds[stage][trajectories.ids[:, step]] for step, stage in enumerate(asked)], axis=1)
    np.testing.assert_allclose(result.seconds, paid.sum(axis=1))
    truth = means("ImageNet16-120")
    assert np.array_equal(result.final, truth[trajectories.ids[:, 120:]].max(axis=1))
    assert (trajectories.incumbents()[:, :120] == -1).all()
    # a run that ends within the stages has nothing by the signal; its answer is the best of the stage
    short = nasharness.run("da-nas.table", staged(evaluations=50), runs=2, settings={"samples": "30,30,30"})
    assert (short.incumbent == -1).all()
    assert np.isnan(short.final).all()
    assert np.isfinite(short.recommended_final).all()
    assert "none" in str(short)


def test_noisy_signals_show_no_trial_of_theirs_in_a_stage():
    problem = Problem.create("tss", "cifar100", table="embedded", stages=["cifar10/val@200"], evaluations=60)
    result = nasharness.run("da-nas.table", problem, runs=2)
    own = result.trajectories.own()
    shown = result.trajectories.shown(np.arange(2), result.trajectories.ids[:, 0])
    alone = [bool((own[row] & (result.trajectories.ids[row] == result.trajectories.ids[row, 0])).any())
             for row in range(2)]  # fmt: skip
    assert [bool(bits) for bits in shown] == alone


def test_fewer_epochs_are_stages_where_the_table_has_them():
    result = nasharness.run("da-nas.table", synthetic_problem(evaluations=100), runs=2)
    assert np.unique(result.trajectories.epochs).tolist() == [1, 4, 12]
    assert result.trajectories.epochs[0, [0, 30, 60, 99]].tolist() == [1, 4, 12, 12]


def test_cheap_pruning_beats_more_random_evaluations_of_the_target():
    """80 target evaluations after pruning on easier data against 200 random ones."""
    pruned = nasharness.run("da-nas.table", staged(), runs=200)
    widest = nasharness.run("da-nas.table.max", staged(), runs=200)
    random = nasharness.run("random", staged(()), runs=200)
    for one in (pruned, widest):
        error = np.hypot(one.final.std(), random.final.std()) / 200**0.5
        assert one.final.mean() - random.final.mean() > 5 * error
        assert one.seconds.mean() < 0.75 * random.seconds.mean()


def test_pooled_evidence_beats_separate_stages():
    for evaluations in (100, 200):
        separate = nasharness.run("da-nas.table", staged(evaluations=evaluations), runs=100)
        pooled = nasharness.run("da-nas.pooled", staged(evaluations=evaluations), runs=25)
        assert (pooled.trajectories.own().sum(axis=1) == (40 if evaluations == 100 else 80)).all()
        error = np.hypot(separate.final.std() / 10, pooled.final.std() / 5)
        assert pooled.final.mean() - separate.final.mean() > 5 * error


def test_what_is_known_of_the_data_sets(shared_data):
    """Agreement of the data sets, and marginal means by operation (none, skip, 1x1, 3x3, average)."""
    columns = parquet.read_table(shared_data / "tss.parquet", columns=["cifar10_test_200", "cifar100_test_200"])
    c10, c100 = (np.array(columns[name].to_pylist()) for name in columns.column_names)
    assert kendall(c10, c100) == pytest.approx(0.882, abs=0.0006)
    choices = TSS.choices(np.arange(TSS.size))
    for edge, expected in ((0, (82.0, 87.2, 89.8, 91.0, 85.3)), (3, (79.2, 88.4, 90.6, 91.8, 85.3)),
                           (2, (86.6, 86.5, 87.8, 88.3, 86.2))):  # fmt: skip
        for option, mean in enumerate(expected):
            assert c10[choices[:, edge] == option].mean() == pytest.approx(mean, abs=0.06)


@pytest.mark.parametrize("algorithm", ["da-nas.table", "da-nas.pooled"])
def test_a_staged_run_is_the_same_alone(algorithm):
    many = nasharness.run(algorithm, staged(evaluations=60), runs=4, seed=2)
    for row in (0, 3):
        alone = nasharness.run(algorithm, staged(evaluations=60), seed=2 + row)
        assert np.array_equal(alone.trajectories.ids[0], many.trajectories.ids[row])
        assert np.array_equal(alone.trajectories.epochs[0], many.trajectories.epochs[row])
        assert alone.recommended[0] == many.recommended[row]


def test_no_position_falls_below_two_options_without_an_end():
    for settings in ({"drop": "9"}, {"drop": "9", "min_options": 1, "final": 1}):
        result = nasharness.run(
            "da-nas.table", staged(evaluations=181), runs=2, settings={"samples": "60,60,60"} | settings
        )
        last = TSS.choices(result.trajectories.ids[:, 120:180])
        assert max(len(np.unique(last[0, :, edge])) for edge in range(6)) <= settings.get("min_options", 2)


def test_stages_and_settings_that_cannot_be(data_home):
    for stages, why in (
        (["cifar11/val@200"], "nearest: .*cifar10"), (["cifar10/val@12"], "has no val@12"),
        ([STAGES[0], STAGES[0]], "twice"), ("cifar10/val@200", "expected a list"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=why):
            staged(stages)
    for settings, why in (
        ({"samples": "60,60"}, "one for each of the 2 stages"), ({"samples": "a,b"}, "whole numbers"),
        ({"drop": "1,1"}, "or 3, one a round"), ({"min_options": 1, "final": 0}, "at least 2"),
        ({"final": -2}, "at least 0"), ({"score": "median"}, "mean, max"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=why):
            nasharness.run("da-nas.table", staged(), settings=settings)
    for settings in ({"noise": 0.0}, {"explore": 2.0}, {"growth": 0.0}, {"drop": -1.0}):
        with pytest.raises(UsageError, match="expected"):
            nasharness.run("da-nas.pooled", staged(), settings=settings)


def test_the_command_line_and_studies_take_stages(cli, tmp_path):
    words = ["--algo", "da-nas.table", "--space", "tss", "--dataset", "ImageNet16-120", "--evaluations", 40, "--stage",
             STAGES[0], "--stage", STAGES[1], "--runs", 3]  # fmt: skip
    code, out, said = cli("run", *words)
    assert code == 0, said
    assert "stages     cifar10/val@200:mean, cifar100/val@200:mean" in out
    code, out, _ = cli("run", *words, "--json", "--out", tmp_path / "run")
    assert code == 0
    assert json.loads(out)["protocol"]["stages"] == ["cifar10/val@200:mean", "cifar100/val@200:mean"]
    code, _, said = cli("study", *words, "--out", tmp_path / "study")
    assert code == 0, said
    for name in ("shards",):
        made = [sorted((tmp_path / one / name).iterdir()) for one in ("run", "study")]
        assert [path.read_bytes() for path in made[0]] == [path.read_bytes() for path in made[1]]


def test_an_imported_table_has_stages_too(data_home):
    rng = np.random.default_rng(0)
    frame = {"arch": [TSS.string(index) for index in range(TSS.size)]}
    frame |= {name: rng.random(TSS.size) for name in ("easy", "hard")}
    metrics = {"easy": "cifar10/acc", "hard": "cifar100/acc"}
    table = from_frame(frame, name="mine", space="tss", arch="arch", metrics=metrics)
    problem = Problem.create("tss", "cifar100", table=table, signal="acc", final="acc", stages=["cifar10/acc"])
    result = nasharness.run("da-nas.table", problem, runs=2)
    assert np.isnan(result.seconds).all()
    assert np.isfinite(result.final).all()
