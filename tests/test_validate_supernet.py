"""``nasharness validate --supernet``: how well shared weights rank, by epoch, and what it says to bad input."""

import csv
import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import spearmanr

from nasharness.analysis.statistics.correlation import kendall
from nasharness.cli.validate import command
from nasharness.errors import DataError, UsageError
from nasharness.search import Problem
from nasharness.spaces import get

torch = pytest.importorskip("torch")

from nasharness.runs import checkpoint  # noqa: E402
from nasharness.supernets.quality import Weights, assess, find  # noqa: E402
from nasharness.supernets.quality_text import captions, frame, verdict  # noqa: E402
from nasharness.supernets.ranking import rank  # noqa: E402
from nasharness.training.batches import DeviceImages  # noqa: E402
from tests.one_shot_fixtures import few_digits, made_up, run  # noqa: E402

#: what a small ranking takes; the images are those of the run, which was given them as an object
QUICK = ("--sample", 12, "--score-images", 20, "--device", "cpu", "--images", "digits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of two seeds and three epochs, whose weights were kept after each."""
    out = tmp_path_factory.mktemp("supernet") / "run"
    run("random.supernet", runs=2, epochs=3, keep_every=1, out=out).write()
    return out


def invoke(*arguments):
    made = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if made.exception is not None and not isinstance(made.exception, SystemExit):
        raise made.exception
    return made.stdout


def problem(space, dataset):
    return Problem.create(space, dataset)


def quick(path, **options):
    given = {"sample": 12, "count": 20, "device": "cpu", "origin": {"images": few_digits()}} | options
    return assess(path, problem, **given)


def test_scores_are_those_of_the_shared_weights_and_tau_is_kendalls(folder):
    report = quick(folder / "seed-1")
    weights = Weights.read(folder / "seed-1" / "checkpoint.pt")
    assert (weights.epoch, report.ranked.epoch) == (3, 3)
    images = few_digits()
    held = DeviceImages(images.test_x, images.test_y, images.mean, images.std)
    whole = quick(folder / "seed-1", count=None, batch=len(images.test_y))
    affinity, _, accuracy, loss = rank(
        weights.supernet(torch.device("cpu")), whole.ranked.index, held.batches(len(held), shuffle=False, augment=False)
    )
    assert np.allclose(affinity, whole.ranked.scores.affinity, atol=1e-5)
    assert np.allclose(accuracy, whole.ranked.scores.accuracy, atol=1e-6)
    assert np.allclose(loss, whole.ranked.scores.loss, atol=1e-4)
    truth = Problem.create().truth().values[report.ranked.index]
    by_name = {one.name: one for one in report.found}
    assert by_name["accuracy"].tau["all"][0] == pytest.approx(kendall(report.ranked.scores.accuracy, truth))
    assert by_name["loss"].tau["all"][0] == pytest.approx(kendall(-report.ranked.scores.loss, truth))
    assert [point.epoch for point in report.curve] == [1, 2, 3]
    assert len(set(report.ranked.index.tolist())) == 12


def test_the_curve_ends_where_the_ranking_is_made_of_the_same(folder):
    report = quick(folder / "seed-0")
    for one in report.found:
        value, interval = report.curve[-1].tau[one.name]
        assert value == pytest.approx(one.tau["all"][0])
        assert np.isnan(interval).all() or interval[0] < value < interval[1]


def test_a_folder_of_several_runs_says_which_it_takes(folder):
    files, note = find(folder)
    assert files[-1] == folder / "seed-0" / "checkpoint.pt"
    assert [path.name for path in files[:-1]] == ["epoch-00001.pt", "epoch-00002.pt", "epoch-00003.pt"]
    assert "seed-0" in note
    assert "seed-1" in note
    assert find(files[0]) == ([files[0]], "")


def test_the_command_reports_writes_and_draws(folder, tmp_path, monkeypatch):
    scores, figure = tmp_path / "scores.csv", tmp_path / "drawn" / "ranking"
    text = invoke("--supernet", folder, "--space", "tss", *QUICK, "--save-scores", scores, "--figure", figure)
    for word in ("Kendall tau", "precision@1", "by accuracy", "verdict", "which train no weights", "seed-0 of"):
        assert word in text
    rows = list(csv.DictReader(scores.open()))
    assert list(rows[0]) == ["index", "affinity", "accuracy", "loss"]
    assert len(rows) == 12
    again = json.loads(invoke("--scores", scores, "--column", "loss", "--lower-is-better", "--k", "1,5", "--json"))
    answer = json.loads(invoke("--supernet", folder / "seed-0", *QUICK, "--no-curve", "--json"))
    loss = next(one for one in answer["scores"] if one["score"] == "loss")
    assert again["scores"][0]["kendall"]["all"]["value"] == pytest.approx(loss["kendall"]["all"]["value"])
    assert answer["by_epoch"]["points"] == []
    drawn = sorted(path.name for path in figure.parent.iterdir())
    assert drawn == ["ranking.csv", "ranking.pdf", "ranking.png"]
    parts = [row["part"] for row in csv.DictReader((figure.parent / "ranking.csv").open())]
    assert (parts.count("epoch"), parts.count("end"), parts.count("architecture")) == (9, 3, 12)


def test_a_figure_of_a_single_checkpoint_has_no_curve(folder, tmp_path):
    from nasharness.analysis.figures.style import looks
    from nasharness.analysis.figures.supernet import draw

    report = quick(folder / "seed-0" / "epoch-00002.pt")
    assert report.curve == []
    with looks():
        assert len(draw(frame(report), captions(report)).axes) == 2
        assert len(draw(frame(quick(folder)), captions(report)).axes) == 3


def test_weights_that_rank_nothing_are_called_so(folder):
    assert "no better than chance" in verdict(quick(folder / "seed-0", sample=5))


def test_a_supernet_that_learnt_a_little_puts_constant_cells_last(tmp_path):
    """A cell whose output does not depend on its input can only guess."""
    run("random.supernet", epochs=6, lr=0.1, out=tmp_path)
    space = get("tss")
    choices = space.choices(np.arange(space.size))
    constant = np.flatnonzero((choices == 0).all(axis=1) | ((choices[:, [3, 4, 5]] == 0).all(axis=1)))
    alive = np.flatnonzero((choices[:, 3] == 1) | (choices[:, 3] == 3))  # input and output joined by skip or 3x3
    archs = np.concatenate([constant[:10], np.random.default_rng(0).choice(alive, 40, replace=False)])
    images = few_digits()
    held = DeviceImages(images.test_x, images.test_y, images.mean, images.std)
    net = Weights.read(tmp_path / "seed-0" / "checkpoint.pt").supernet(torch.device("cpu"))
    *_, accuracy, loss = rank(net, archs, held.batches(len(held), shuffle=False, augment=False))
    assert accuracy[:10].max() <= np.quantile(accuracy[10:], 0.25)
    assert loss[:10].min() > np.median(loss[10:])
    assert len(set(loss[:10].tolist())) == 1, "constant cells are one and the same network"


def test_other_images_may_judge_and_are_named(folder):
    other = made_up("mine", 10, images=60)
    report = quick(folder / "seed-0", origin={"images": other})
    assert any("are not those the supernet was trained with" in note for note in report.notes)
    with pytest.raises(UsageError, match="have 7 classes, the supernet was trained for 10"):
        quick(folder / "seed-0", origin={"images": made_up("mine", 7)})


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["--supernet", "{folder}", "--space", "sss"], UsageError, "is a supernet of space 'tss', not 'sss'"),
        (["--supernet", "{folder}/nowhere"], UsageError, "nothing there; expected a checkpoint or the folder of a run"),
        (["--supernet", "{folder}/study.json"], DataError, "is not a checkpoint of nasharness"),
        (["--supernet", "{old}"], DataError, "is not the checkpoint of this network"),
        (["--supernet", "{other}"], DataError, "is a checkpoint of kind 'retrain', not 'supernet'"),
        (["--supernet", "{empty}"], UsageError, "no checkpoint there"),
        (["--supernet", "{folder}", "--table", "mine"], UsageError, "unknown table of space 'tss' 'mine'"),
        (["--supernet", "{folder}", "--table", "light"], DataError, "no light table of space 'tss'"),
        (["--supernet", "{folder}", "--sample", "99999"], UsageError, "--sample 99999: expected 3 to 15,625"),
        (["--supernet", "{folder}", "--on", "training"], UsageError, "--on training: expected test or validation"),
        (["--supernet", "{folder}", "--dataset", "cifar"], UsageError, "unknown data set"),
        (["--supernet", "{folder}", "--algo", "rea"], UsageError, "--algo and --supernet ask for different things"),
        (["--supernet", "{folder}", "--save-scores", "{empty}/x.txt"], UsageError, "a name that ends in .csv"),
        (["--supernet", "{folder}", "--figure", "{folder}/study.json/x"], UsageError, "--figure .* is a file"),
    ],
)
def test_bad_input_is_one_line(folder, tmp_path, data_home, arguments, kind, message):
    empty, other = tmp_path / "empty", tmp_path / "other.pt"
    empty.mkdir()
    checkpoint.save(other, {"x": 1}, kind="retrain", identity={})
    old = checkpoint.save(tmp_path / "old.pt", {"net": {}, "epoch": 1}, kind="supernet", identity={"space": "tss"})
    places = {"old": old, "folder": folder, "empty": empty, "other": other}
    with pytest.raises(kind, match=message) as raised:
        invoke(*[re.sub(r"\{(\w+)\}", lambda found: str(places[found[1]]), word) for word in arguments],
               *[word for word in QUICK if word not in ("--sample", 12) or "--sample" not in arguments])  # fmt: skip
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("identity", "origin", "named"),
    [
        ({"channels": "many"}, {}, "channels"),
        ({"cells": -1}, {}, "cells"),
        ({"classes": 10.5}, {}, "classes"),
        ({}, {"command": "x"}, "command"),
    ],
)
def test_a_checkpoint_of_odd_contents_is_refused(folder, tmp_path, identity, origin, named):
    whole = folder / "seed-0" / "epoch-00001.pt"
    state, made = checkpoint.load(whole, kind="supernet"), checkpoint.identity_of(whole, kind="supernet")
    odd = tmp_path / "odd.pt"
    checkpoint.save(odd, state | {"origin": state["origin"] | origin}, kind="supernet", identity=made | identity)
    with pytest.raises(DataError, match=f"is not the checkpoint of this network .*{named}"):
        invoke("--supernet", odd, *QUICK)


def test_weights_of_another_run_in_the_folder_are_refused(folder, tmp_path):
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    (mixed / "checkpoint.pt").write_bytes((folder / "seed-0" / "checkpoint.pt").read_bytes())
    (mixed / "epoch-00001.pt").write_bytes((folder / "seed-1" / "epoch-00001.pt").read_bytes())
    with pytest.raises(DataError, match="is of another run than"):
        quick(mixed)


def test_without_a_table_there_is_nothing_to_hold_the_ranking_against(tmp_path, data_home):
    run("random.supernet", "sss", epochs=1, out=tmp_path)
    with pytest.raises(DataError, match="no table of space 'sss'"):
        invoke("--supernet", tmp_path, "--space", "sss", *QUICK)


def test_what_shared_weights_overrate_is_named():
    """A favourite of the ranking stands out with its interval; where ranking and table agree, nothing does."""
    from nasharness.supernets.bias import biases

    space, rng = get("tss"), np.random.default_rng(0)
    index = rng.permutation(space.size)[:400]
    truth = Problem.create("tss").truth().values[index]
    pooled = (space.choices(index) == 4).sum(axis=1)
    assert all(one.excess[0] == 0 for one in biases(space, index, truth.copy(), truth, 0))
    found = {one.trait: one for one in biases(space, index, truth + 20 * pooled, truth, 0)}
    assert list(found) == ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
    worst = found["avg_pool_3x3"]
    assert worst.excess[1][0] > 0.3
    assert worst.score == pytest.approx(spearmanr(pooled, truth + 20 * pooled).statistic)
    assert worst.truth == pytest.approx(spearmanr(pooled, truth).statistic)
    assert all(one.excess[0] < 0.1 for name, one in found.items() if name != "avg_pool_3x3")
    sss = get("sss")
    index = rng.permutation(sss.size)[:300]
    wide = sss.choices(index)[:, 2].astype(float)
    found = {one.trait: one for one in biases(sss, index, wide, rng.random(300), 0)}
    assert len(found) == 5
    assert found[sss.positions[2]].score == pytest.approx(1)
