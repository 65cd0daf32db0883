"""AutoShrink's own search: the loop with a made-up trainer, the journal, the proxies, small searches on real data."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from nasharness import spaces  # noqa: E402
from nasharness.errors import DataError, UsageError  # noqa: E402
from nasharness.images import load  # noqa: E402
from nasharness.nets import imagenet, language  # noqa: E402
from nasharness.nets.shrinkrnn import Recurrence, RecurrentNet  # noqa: E402
from nasharness.search.winner import read_winner  # noqa: E402
from nasharness.spaces.shrink import CNN, RNN, Graph  # noqa: E402
from nasharness.spaces.shrink_macro import counts, penalty, search_macro  # noqa: E402
from nasharness.training.language.data import Corpus, Vocabulary  # noqa: E402
from nasharness.training.proxy_search import (  # noqa: E402
    images,
    text,
    trajectory,  # noqa: E402
)
from nasharness.training.proxy_search.journal import Journal  # noqa: E402
from nasharness.training.proxy_search.randomness import seed_of  # noqa: E402
from nasharness.training.proxy_search.run import ShrinkRequest, search  # noqa: E402
from nasharness.training.proxy_search.settings import SETTINGS, ImageSettings, TextSettings  # noqa: E402
from nasharness.training.proxy_search.shrink import Job, Outcome, shrink  # noqa: E402
from nasharness.training.proxy_search.text import TextProxy  # noqa: E402


def made(space=CNN, algorithm="autoshrink", **changed):
    return SETTINGS[space.name].make(algorithm, space, changed)


def macs(graph):
    return counts(graph, search_macro(), 10).macs


def run(value, settings, space=CNN, seed=0, cost=macs):
    """Shrink with a trainer that gives ``value(graph)``; return the trajectory and what was trained, in order."""
    trained = []

    def train(jobs):
        trained.extend(jobs)
        return [Outcome(value(job.graph)) for job in jobs]

    def score(quality, price):
        return quality - settings.cost_weight * math.log10(price)

    found = shrink(space.complete(space.official), settings, seed, train=train, cost=cost, score=score)
    assert found.trainings == len(trained)
    return found, trained


def by_hash(graph):
    """An arbitrary accuracy that depends on the graph alone."""
    return (hash(graph.mask) % 1009) / 1009


def flat(graph):
    return 1000.0


@pytest.mark.parametrize("algorithm", ["autoshrink", "autoshrink.official"])
@pytest.mark.parametrize(("space", "most"), [(CNN, 235), (RNN, 95)], ids=["cnn", "rnn"])
def test_official_counts_hold(algorithm, space, most):
    settings = made(space, algorithm, patience=0)
    fewest = most
    for seed in range(8):
        found, trained = run(by_hash, settings, space, seed)
        assert found.trainings <= most
        assert len({job.key for job in trained}) == len(trained)  # nothing is paid for twice
        fewest = min(fewest, found.trainings)
    assert fewest < most  # pruning shortens it


@pytest.mark.parametrize(("space", "most"), [(CNN, 235), (RNN, 95)], ids=["cnn", "rnn"])
def test_official_counts_are_reached_where_nothing_is_cut_off(space, most):
    found, _ = run(lambda graph: float(len(graph.eligible)), made(space, "autoshrink.official", cost_weight=0), space)
    assert sum(len(step.candidates) for step in found.steps) == most
    assert found.trainings <= most  # a graph that comes up again in a later step is known
    assert [len(step.chosen.graph.eligible) for step in found.steps] == list(
        range(len(space.edges) - 1, -1 if space is CNN else 3, -1)
    )
    assert found.ended.startswith("0 of 28" if space is CNN else "4 of 15")


def test_best_removal_is_made_and_cut_off_edges_go():
    found, _ = run(by_hash, made(patience=0))
    before = found.start
    for step in found.steps:
        assert step.chosen.score == max(one.score for one in step.candidates)
        for one in step.candidates:
            assert one.graph == before.without(one.removed)
            assert one.graph.eligible == one.graph.present
        assert len({one.removed for one in step.candidates}) == len(step.candidates) <= 10
        before = step.chosen.graph
    best = found.best()
    assert best.score == max(one.score for one in found.recorded())
    assert len(found.recorded()) == len(found.steps) + 1


def test_start_is_scored_in_place_of_one_removal():
    found, trained = run(by_hash, made(patience=0))
    assert trained[0].graph == found.start
    assert len(found.steps[0].candidates) == 9
    official, trained = run(by_hash, made(algorithm="autoshrink.official"))
    assert official.scored_start is None
    assert found.start not in [job.graph for job in trained]
    assert len(official.steps[0].candidates) == 10
    best, _ = run(lambda graph: 1.0 if len(graph.eligible) == 28 else 0.0, made(cost_weight=0))
    assert best.best().graph == best.start


def test_seed_decides_what_is_drawn():
    one, two, other = (run(by_hash, made(patience=0), seed=seed)[0] for seed in (3, 3, 4))
    assert one == two
    assert one.steps[0] != other.steps[0]


def test_diverged_removal_is_never_chosen_but_officially_always():
    """docs/reproduction/autoshrink.md#r2: the official argsort puts NaN last and takes the last."""

    def value(graph):
        return math.nan if (0, 3) not in graph.present else by_hash(graph)

    found, _ = run(value, made(k=28, patience=0, keep_fraction=0.9))
    assert all((0, 3) in step.chosen.graph.present for step in found.steps)
    assert any(math.isnan(one.score) for step in found.steps for one in step.candidates)
    official, _ = run(value, made(algorithm="autoshrink.official", k=28, keep_fraction=0.9))
    assert official.steps[0].chosen.removed == (0, 3)
    with pytest.raises(DataError, match="all diverged"):
        run(lambda graph: math.nan, made(keep_fraction=0.95))[0].best()


def test_ties_go_to_the_cheaper_but_officially_to_the_last():
    """autoshrink.md#q15."""
    found, _ = run(flat, made(k=28, cost_weight=0, patience=0, keep_fraction=0.9))
    for step in found.steps:
        assert step.chosen.cost == min(one.cost for one in step.candidates)
    official, _ = run(flat, made(algorithm="autoshrink.official", cost_weight=0, keep_fraction=0.9))
    assert all(step.chosen is step.candidates[-1] for step in official.steps)


def test_path_is_kept_but_officially_shrunk_away():
    """autoshrink.md#q7."""
    found, trained = run(flat, made(patience=0))
    assert all(any(source == 0 for source, _ in job.graph.present) for job in trained)
    assert found.ended.startswith("no edge can be removed")
    official, trained = run(flat, made(algorithm="autoshrink.official"))
    assert trained[-1].graph.present == ()
    assert official.ended.startswith("0 of 28")


def test_patience_ends_a_search_that_only_gets_worse():
    found, _ = run(lambda graph: float(len(graph.eligible)), made(patience=3, cost_weight=0))
    assert len(found.steps) == 3
    assert found.ended == "no better score in 3 steps"
    found, _ = run(lambda graph: -float(len(graph.eligible)), made(patience=3, cost_weight=0))
    assert len(found.steps) > 3
    assert found.ended.startswith("no edge can be removed")


def test_repeats_and_finalists_are_averaged():
    """autoshrink.md#q1."""
    calls = []

    def train(jobs):
        calls.append(list(jobs))
        return [Outcome(float(job.repeat)) for job in jobs]

    settings = made(k=3, repeats=2, finalists=2, cost_weight=0, keep_fraction=0.95, score_start=False)
    found = shrink(CNN.complete(CNN.official), settings, 0, train=train, cost=macs, score=lambda value, price: value)
    assert [len(jobs) for jobs in calls] == [6, 2]
    assert sorted(job.repeat for job in calls[0]) == [0, 0, 0, 1, 1, 1]
    assert [job.repeat for job in calls[1]] == [2, 2]
    assert sorted(one.value for one in found.steps[0].candidates) == [0.5, 1.0, 1.0]
    assert found.trainings == 8


def test_settings_are_checked_by_name():
    for changed, why in (
        ({"k": 0}, "k = 0: expected 1 to"),
        ({"kk": 1}, "unknown setting of autoshrink on shrink-cnn 'kk'; nearest: k"),
        ({"ties": "laste"}, "nearest: last"),
        ({"epochs": "many"}, "whole number"),
        ({"validation": "valid"}, "unknown value of autoshrink: validation"),
    ):
        with pytest.raises(UsageError, match=why):
            made(**changed)
    with pytest.raises(UsageError, match=r"rea does not search space 'shrink-rnn'.*--text DIR"):
        made(RNN, "rea")
    official = made(RNN, "autoshrink.official")
    assert (official.divisor, official.cost, official.nan, official.val_streams) == ("rows", "edges", "best", 256)
    assert made(algorithm="autoshrink.official").projection_decay == 8e-5


# ---- journal


def journalled(folder, resume, limit=None, identity=None):
    """A search with a made-up trainer and a journal; dies after ``limit`` trainings."""
    journal = Journal(folder, identity or {"seed": 1}, resume=resume)
    paid = 0

    def train(jobs):
        nonlocal paid
        for job in jobs:
            if journal.get(job) is None:
                if paid == limit:
                    raise KeyboardInterrupt
                paid += 1
                journal.put(job, Outcome(by_hash(job.graph), (0.1, math.nan), "", 1.5))
        return [journal.get(job) for job in jobs]

    settings = made(k=3, keep_fraction=0.8)
    found = shrink(CNN.complete(CNN.official), settings, 1, train=train, cost=macs, score=lambda value, price: value)
    return found, paid


@pytest.mark.parametrize("limit", [0, 1, 2, 7, 11])
def test_killed_search_goes_on_to_the_same_result(tmp_path, limit):
    whole, total = journalled(tmp_path / "whole", False)
    with pytest.raises(KeyboardInterrupt):
        journalled(tmp_path / "cut", False, limit)
    path = tmp_path / "cut" / "journal.jsonl"
    path.write_bytes(path.read_bytes() + b'{"graph": "sep3x3@0/con')  # torn while being written
    again, paid = journalled(tmp_path / "cut", True)
    assert again == whole
    assert paid == total - limit
    assert path.read_bytes().count(b"\n") == total + 1
    third, paid = journalled(tmp_path / "cut", True)
    assert (third, paid) == (whole, 0)


def test_journal_refuses_what_is_not_its_own(tmp_path):
    journalled(tmp_path, False)
    with pytest.raises(UsageError, match="go on with --resume"):
        journalled(tmp_path, False)
    with pytest.raises(UsageError, match="holds another search: seed is 2, there 1"):
        journalled(tmp_path, True, identity={"seed": 2})
    path = tmp_path / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for bad in (
        b"{}\n",
        b"garbage\n",
        b"[1]\n",
        b'{"graph": 1, "repeat": "x", "value": 0, "curve": [], "stopped": ""}\n',
    ):
        path.write_bytes(b"".join([*lines[:2], bad, *lines[3:]]))
        with pytest.raises(DataError, match="line 3: no entry of a journal"):
            journalled(tmp_path, True)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        journalled(tmp_path / "file", False)


def test_paired_trainings_share_their_seed():
    one, two = Job(CNN.complete(CNN.official)), Job(CNN.complete(CNN.official).without((0, 1)))
    assert seed_of(5, one, paired=True) == seed_of(5, two, paired=True) != seed_of(6, one, paired=True)
    assert seed_of(5, one, paired=False) != seed_of(5, two, paired=False)
    assert seed_of(5, Job(one.graph, 1), paired=True) != seed_of(5, one, paired=True)


# ---- proxy training on images


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def image_proxy(digits, algorithm="autoshrink", **changed):
    settings = made(
        algorithm=algorithm, **{"train_per_class": 8, "val_per_class": 5, "batch": 20, "epochs": 2} | changed
    )
    return images.ImageProxy.make(digits, settings, 0, "cpu", "fp32")


def rows(part):
    return {image.tobytes() for image in part[0]}


def test_proxy_images_are_balanced_apart_and_seeded(digits):
    proxy = image_proxy(digits)
    assert np.bincount(proxy.train[1]).tolist() == [8] * 10
    assert np.bincount(proxy.val[1]).tolist() == [5] * 10
    assert not rows(proxy.train) & rows(proxy.val)
    assert rows(proxy.val) <= rows((digits.train_x,))  # autoshrink.md#q3: the test images are not touched
    assert np.array_equal(proxy.train[0], image_proxy(digits).train[0])
    official = image_proxy(digits, "autoshrink.official", train_per_class=300)
    assert np.bincount(official.train[1]).tolist() == [300] * 10  # autoshrink.md#q4: with replacement
    assert rows(official.val) <= rows((digits.test_x,))
    with pytest.raises(UsageError, match="set train_per_class="):
        image_proxy(digits, train_per_class=1000)
    with pytest.raises(UsageError, match="try --set batch=20"):
        image_proxy(digits, batch=200)


def test_weight_decay_is_split_as_published(digits):
    training = images._Training(image_proxy(digits, "autoshrink.official"), Job(CNN.complete(CNN.official)))
    names = {id(parameter): name for name, parameter in training.net.named_parameters()}
    decay = {names[id(p)]: group["weight_decay"] for group in training.optimiser.param_groups for p in group["params"]}
    assert len(decay) == len(names)
    for name, module in training.net.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            depthwise = module.groups > 1
            assert decay[f"{name}.weight"] == (0.0 if depthwise else 8e-5 if "projection" in name else 2e-5)
    assert decay["classifier.weight"] == 2e-5
    assert decay["classifier.bias"] == decay["stem.1.weight"] == 0.0
    group = training.optimiser.param_groups[0]
    assert (group["lr"], group["betas"], group["eps"]) == (4e-3, (0.9, 0.999), 1e-8)


def test_image_training_is_exact_learns_and_counts(digits):
    proxy = image_proxy(digits, train_per_class=40, epochs=6, val_per_class=20)
    job = Job(Graph.of(CNN.official, [(0, 2), (2, 5)]))
    threads = torch.get_num_threads()
    one, two = proxy.run(job), proxy.run(job)
    assert torch.get_num_threads() == threads
    assert (one.value, one.curve) == (two.value, two.curve)
    assert len(one.curve) == 6
    assert one.value == pytest.approx(np.mean(one.curve[-3:]))  # autoshrink.md#q2
    assert one.value > 0.5
    assert proxy.cost(job.graph) == counts(job.graph, search_macro(side=8), 10).macs
    assert proxy.score(0.9, 1e7) == 0.9 - penalty(1e7) == pytest.approx(0.8)


def test_image_stop_rules(digits):
    def stop(algorithm, epoch, curve, train=1.0, val=1.0):
        training = images._Training(image_proxy(digits, algorithm, epochs=20), Job(Graph.of(CNN.official, [(0, 1)])))
        return training._stop(epoch, curve, train, val)

    for algorithm in ("autoshrink", "autoshrink.official"):
        assert stop(algorithm, 0, [0.1], train=math.nan).startswith("diverged")
        assert stop(algorithm, 3, [0.1] * 4) == ""
        assert stop(algorithm, 4, [0.1] * 5).startswith("hopeless")
        assert stop(algorithm, 19, [0.5] * 20) == ""  # it is over anyway
    assert [images.hopeless(classes) for classes in (2, 10, 100)] == pytest.approx([5 / 9, 0.2, 0.02])
    worse = [0.5, 0.4, 0.4, 0.4, 0.4, 0.4]
    assert stop("autoshrink", 5, worse, val=9.0) == ""  # autoshrink.md#q5
    assert stop("autoshrink.official", 5, worse).startswith("no better epoch in 5")
    assert stop("autoshrink.official", 2, [0.3, 0.4, 0.5], val=3.1).startswith("validation loss above three times")


def test_divergence_spares_the_best_epoch_where_that_is_the_value(digits, monkeypatch):
    """The official value, of images too, is that of the best epoch, so that only text can give NaN
    (autoshrink.md#r2)."""

    def value(**changed):
        proxy = image_proxy(digits, epochs=5, **changed)
        training = images._Training(proxy, Job(Graph.of(CNN.official, [(0, 1)])))
        losses, seen = iter([1.0, 1.0, math.nan]), iter([(0.3, 1.0), (0.5, 1.0), (0.1, 1.0)])
        monkeypatch.setattr(training, "_epoch", lambda: next(losses))
        monkeypatch.setattr(training, "_validate", lambda: next(seen))
        return training.run()

    assert math.isnan(value().value)
    assert value(average=0).value == value(algorithm="autoshrink.official").value == 0.5
    assert value(average=0).stopped == "diverged in epoch 3"


# ---- proxy training on text


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A text in which the next word is nearly certain."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("text")
    for part, count in (("train", 300), ("valid", 60), ("test", 20)):
        lines = [" ".join(f"w{(start + step) % 12}" for step in range(9)) for start in rng.integers(12, size=count)]
        (folder / f"tiny.{part}.txt").write_text("\n".join(lines) + "\n")
    return folder


def text_proxy(corpus, algorithm="autoshrink", **changed):
    from nasharness.training.language.data import read_corpus

    tiny = {"hidden": 8, "batch": 10, "bptt": 10, "epochs": 3, "val_streams": 6, "train_lines": 200, "eval_lines": 50}
    return TextProxy.make(read_corpus(corpus), made(RNN, algorithm, **tiny | changed), 0, "cpu")


def test_text_training_is_exact_and_learns(corpus):
    proxy = text_proxy(corpus)
    assert len(proxy.train) == 2000  # nine words and the end of 200 lines
    assert proxy.words == 13
    one, two = (proxy.run(Job(RNN.complete(RNN.official))) for _ in range(2))
    assert (one.value, one.curve) == (two.value, two.curve)
    assert one.value == one.curve[-1] < 8.0
    assert proxy.score(100.0, 1e6) == 25.0
    assert proxy.run(Job(Graph.of(RNN.official, []))).value > 0


def test_perplexity_against_the_plain_network(corpus):
    proxy = text_proxy(corpus)
    job = Job(RNN.complete(RNN.official))
    training = text._Training(proxy, job)
    net = RecurrentNet(Recurrence.of(job.graph), proxy.words, 8).double()
    net.load_state_dict(training.net.state_dict())
    with torch.no_grad():
        logits, _ = net(training.val[:-1])
    plain = torch.nn.functional.cross_entropy(logits.flatten(0, 1), training.val[1:].flatten())
    assert training._validate() == pytest.approx(float(plain), rel=1e-5)
    official = text._Training(text_proxy(corpus, "autoshrink.official", val_streams=6, paired=True), job)
    length = len(training.val)
    assert official._validate() == pytest.approx(float(plain) * (length - 1) / length, rel=1e-5)  # autoshrink.md#r5


def test_text_costs_and_rates(corpus):
    full, none = RNN.complete(RNN.official), Graph.of(RNN.official, [])
    official = text_proxy(corpus, "autoshrink.official", val_streams=6)
    assert (official.cost(full), official.cost(none)) == (15 * 64, 64)  # autoshrink.md#r7: no logarithm of zero
    assert text_proxy(corpus).cost(full) == 4 * 64 + 15 * 2 * 64
    training = text._Training(text_proxy(corpus, epochs=10, bptt=1000, batch=100), Job(full))
    seen = []
    training.optimiser.step = lambda: seen.append(training.optimiser.param_groups[0]["lr"])
    for epoch in range(10):
        training._epoch(epoch)
    per_epoch = [20.0] * 7 + [2.0] * 2 + [0.2]  # times the length of the segment
    assert seen == pytest.approx([rate * 19 / 1000 for rate in per_epoch])


def test_text_stop_rules_and_divergence(corpus):
    training = text._Training(
        text_proxy(corpus, "autoshrink.official", val_streams=6, epochs=20), Job(RNN.complete(RNN.official))
    )
    assert training._stop(0, [31.0], 1.0).startswith("diverged")
    assert training._stop(0, [1.0], math.inf).startswith("diverged")
    assert training._stop(4, [2.0] * 4 + [4.0], 4.0).startswith("hopeless")
    assert training._stop(5, [1.0, 2.0, 2.0, 2.0, 2.0], 1.0).startswith("no better epoch in 4")
    assert training._stop(1, [2.0, 2.0], 0.5).startswith("validation loss above three times")
    lost = text_proxy(corpus, lr=10_000, clip=1e9, embedding=50.0).run(Job(RNN.complete(RNN.official)))
    assert math.isnan(lost.value)
    assert lost.stopped.startswith("diverged")


@pytest.mark.parametrize(
    ("losses", "value", "official"),
    [([2.0, 1.5, 31.0], math.nan, 1.5), ([2.0, 1.5, math.nan], math.nan, 1.5), ([30.0], math.nan, math.nan)],
)
def test_divergence_of_text(corpus, monkeypatch, losses, value, official):
    """The official value is that of the best epoch, NaN where that is 30 nats or more."""
    for algorithm, expected in (("autoshrink", value), ("autoshrink.official", official)):
        proxy = text_proxy(corpus, algorithm, val_streams=6, epochs=9)
        training = text._Training(proxy, Job(Graph.of(RNN.official, [(0, 1)])))
        given = iter(losses)
        monkeypatch.setattr(training, "_epoch", lambda epoch: 1.0)
        monkeypatch.setattr(training, "_validate", lambda given=given: next(given))
        found = training.run()
        assert found.value == pytest.approx(math.exp(expected), nan_ok=True)
        assert found.stopped.startswith("diverged")


def test_proxy_text_is_the_published_share_of_penn_treebank(shared_data):
    """The official code's files, counted (docs/reproduction/autoshrink.md#recurrent-search)."""
    from nasharness.training.language.data import read_corpus

    whole = read_corpus(shared_data / "ptb", unknown_words="unk")
    proxy = TextProxy.make(whole, made(RNN), 0, "cpu")
    assert (len(proxy.train), len(proxy.val), proxy.words) == (88_832, 7_060, 7_002)
    official = TextProxy.make(whole, made(RNN, "autoshrink.official"), 0, "cpu")
    training = text._Training(official, Job(RNN.complete(RNN.official)))
    assert tuple(training.train.shape) == (694, 128)
    assert tuple(training.val.shape) == (27, 256)


def test_too_short_a_text_is_named():
    words = Vocabulary(("a", "<eos>"))
    short = Corpus("x", None, words, *(np.array([0, 1] * 5) for _ in range(3)))
    with pytest.raises(UsageError, match="val_streams = 32: 10 words"):
        TextProxy.make(short, made(RNN, batch=2), 0, "cpu")


# ---- whole searches

TINY = {"k": 2, "epochs": 1, "keep_fraction": 0.9, "train_per_class": 4, "val_per_class": 4, "batch": 20}


def test_search_on_images_end_to_end(tmp_path):
    request = ShrinkRequest.create(
        "autoshrink", "shrink-cnn", out=tmp_path, images="digits", settings=TINY, jobs=1, device="cpu"
    )
    seen = []
    found = search(request, on_step=lambda trajectory: seen.append(len(trajectory.steps)))
    winner = json.loads((tmp_path / "winner.json").read_text())
    assert seen == list(range(1, len(found.trajectory.steps) + 1))
    chosen = read_winner(tmp_path)
    assert [one["label"] for one in winner["candidates"]] == ["best-signal"]
    assert chosen["winner"]["arch"] == str(found.best.graph)
    assert chosen["winner"]["signal"] == found.best.score
    assert winner["cost"]["value"] == request.proxy.cost(found.best.graph)
    assert CNN.read({key: chosen["winner"][key] for key in ("mask", "operations")}) == found.best.graph
    assert imagenet.build(chosen, 3, size=32)(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    again = search(request, resume=True)
    assert again.replayed == again.trajectory.trainings == found.trajectory.trainings
    assert json.loads((tmp_path / "winner.json").read_text()) == winner

    pytest.importorskip("matplotlib")
    from click.testing import CliRunner

    from nasharness.analysis.figures import graph_shrinking
    from nasharness.cli import figures

    files = graph_shrinking.write(tmp_path)
    assert {path.name for path in files} == {"shrinking.csv", "shrinking.png", "shrinking.pdf"}
    table = (tmp_path / "shrinking.csv").read_text().splitlines()
    assert len(table) == 1 + found.trajectory.trainings
    drawn = CliRunner().invoke(figures.command, [str(tmp_path), "--out", str(tmp_path / "drawn"), "--format", "svg"])
    assert drawn.exit_code == 0, drawn.output
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {"shrinking.csv", "shrinking.svg"}
    with pytest.raises(UsageError, match="'gif'"):
        graph_shrinking.write(tmp_path, formats=["gif"])
    lived = trajectory.survival(trajectory.read(tmp_path))
    kept = {edge for edge, until in lived.items() if until > len(found.trajectory.steps)}
    last = found.trajectory.steps[-1].chosen.graph
    assert kept == {f"{source}->{target}" for source, target in last.present}


def test_search_on_text_end_to_end(tmp_path, corpus):
    settings = {"k": 2, "epochs": 1, "keep_fraction": 0.8, "hidden": 6, "batch": 10, "val_streams": 6}
    request = ShrinkRequest.create(
        "autoshrink", "shrink-rnn", out=tmp_path, text=corpus, settings=settings, jobs=1, device="cpu"
    )
    found = search(request)
    winner = json.loads((tmp_path / "winner.json").read_text())
    assert winner["perplexity"] == found.best.value
    assert language.recurrence(read_winner(tmp_path)) == Recurrence.of(found.best.graph)


def test_what_cannot_be_searched_is_said(tmp_path, corpus):
    def refused(why, space="shrink-cnn", algorithm="autoshrink", error=UsageError, **options):
        with pytest.raises(error, match=why):
            ShrinkRequest.create(algorithm, space, out=tmp_path / "x", device="cpu", **options)
        assert not (tmp_path / "x").exists()

    refused("add --images NAME")
    refused("add --text DIR", space="shrink-rnn")
    refused("trains on images", text=corpus, images="digits")
    refused("trains on text", space="shrink-rnn", text=corpus, images="digits")
    refused("unknown set of images", images="cifar1")
    refused("7 nodes, joined by commas; got 2", images="digits", settings={"operations": "sep3x3,conv1x1"} | TINY)
    refused("nearest: conv1x1", images="digits", settings={"operations": ",".join(["conv1x"] * 7)} | TINY)
    refused("1 to 256", images="digits", jobs=0)
    refused("no folder", space="shrink-rnn", text=corpus / "none", error=DataError)
    with pytest.raises(UsageError, match="nearest: shrink-"):
        ShrinkRequest.create("autoshrink", "shrink-gnn", out=tmp_path)


def test_operations_of_the_nodes(tmp_path):
    def start(algorithm="autoshrink", seed=0, space="shrink-cnn", **changed):
        request = ShrinkRequest.create(
            algorithm, space, out=tmp_path, images="digits", settings=TINY | changed, jobs=1, device="cpu", seed=seed
        )
        return request.start.operations

    assert start("autoshrink.official", seed=7) == CNN.official  # the official seed is always 5
    assert start(seed=1) == start(seed=1)
    assert len({start(seed=seed) for seed in range(5)}) > 1
    assert start(operations=",".join(["sep3x3"] * 7)) == ("sep3x3",) * 7


def call(*arguments, **options):
    command = [sys.executable, "-m", "nasharness", "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=5000, check=False, **options)


def kill_and_resume(tmp_path, arguments, lines):
    """Run a search whole, and one that is killed -9 after ``lines`` of its journal; all results must be equal."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    done = call(*arguments, "--out", whole)
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-m", "nasharness", "run", *map(str, arguments), "--out", str(cut)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = cut / "journal.jsonl"
    while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= lines):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = journal.read_bytes().count(b"\n")
    refused = call(*arguments, "--out", cut)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    resumed = call(*arguments, "--out", cut, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert f"({kept - 1} replayed" in resumed.stdout
    for name in ("trajectory.json", "shrinking.csv"):
        assert (whole / name).read_bytes() == (cut / name).read_bytes()
    one, two = (json.loads((folder / "winner.json").read_text()) for folder in (whole, cut))
    clock = {"provenance": 0, "sha256": 0}  # when it was made, and the seal of that
    assert one | clock == two | clock
    return done


@pytest.mark.slow
@pytest.mark.timeout(10_000)
def test_kill_9_and_resume_on_images(tmp_path):
    pytest.importorskip("matplotlib")
    changed = [part for key, value in (TINY | {"keep_fraction": 0.8}).items() for part in ("--set", f"{key}={value}")]
    arguments = ["--algo", "autoshrink", "--space", "shrink-cnn", "--images", "digits", "--device", "cpu", *changed]
    done = kill_and_resume(tmp_path, [*arguments, "--jobs", 1], 4)
    assert "winner     " in done.stdout
    side = call(*arguments, "--jobs", 2, "--out", tmp_path / "side")
    assert side.returncode == 0, side.stderr
    same = [(tmp_path / name / "trajectory.json").read_bytes() for name in ("side", "whole")]
    assert same[0] == same[1]


@pytest.mark.slow
@pytest.mark.timeout(10_000)
def test_kill_9_and_resume_on_real_images(tmp_path, shared_data):
    arguments = ["--algo", "autoshrink.official", "--space", "shrink-cnn", "--images", "cifar10", "--data", shared_data,
                 "--device", "cpu", "--jobs", 2]  # fmt: skip
    changed = {"k": 2, "epochs": 2, "keep_fraction": 0.9, "train_per_class": 10, "val_per_class": 10, "batch": 50}
    kill_and_resume(tmp_path, [*arguments, *(p for k, v in changed.items() for p in ("--set", f"{k}={v}"))], 3)


@pytest.mark.slow
@pytest.mark.timeout(10_000)
def test_kill_9_and_resume_on_real_text(tmp_path, shared_data):
    arguments = ["--algo", "autoshrink", "--space", "shrink-rnn", "--text", shared_data / "ptb", "--device", "cpu"]
    changed = {
        "k": 3,
        "epochs": 2,
        "keep_fraction": 0.7,
        "train_lines": 400,
        "eval_lines": 60,
        "hidden": 32,
        "batch": 16,
    }
    kill_and_resume(tmp_path, [*arguments, *(p for k, v in changed.items() for p in ("--set", f"{k}={v}"))], 4)


def test_command_line_says_what_the_space_needs(tmp_path):
    for arguments, why in (
        (
            ["--algo", "rea", "--space", "shrink-cnn"],
            "--algo autoshrink|autoshrink.official --space shrink-cnn --images",
        ),
        (["--algo", "autoshrink", "--space", "shrink-rnn"], "add --out DIR"),
        (["--algo", "autoshrink", "--space", "shrink-cnn", "--evaluations", "3"], "has no table"),
        (["--algo", "rea", "--space", "tss", "--jobs", "3"], "--jobs: such options go with the spaces shrink-cnn"),
        (["--algo", "autoshrink", "--space", "shrink-cn", "--images", "digits"], "nearest: shrink-cnn"),
        (
            ["--algo", "autoshrink", "--space", "shrink-cnn", "--dataset", "cifar10", "--out", tmp_path / "x"],
            "--dataset cifar10: of tables",
        ),
    ):
        done = call(*arguments)
        assert done.returncode == 2
        assert why in done.stderr
        assert "Traceback" not in done.stderr


def test_names_of_settings_stay_in_step():
    assert set(SETTINGS) == set(spaces.graph_names())
    for cls in (ImageSettings, TextSettings):
        assert set(cls.OFFICIAL) | set(cls.RANGES) | set(cls.WORDS) <= set(cls().record())
