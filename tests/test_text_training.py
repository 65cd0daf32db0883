"""Whole runs on a tiny text: the same bits however often they are interrupted, and clear ends."""

import json
import math
import os
import re
import signal
from pathlib import Path

import pytest
import torch

from nasharness.errors import DataError, NasharnessError, UsageError
from nasharness.nets.shrinkrnn import PUBLISHED
from nasharness.runs import checkpoint
from nasharness.runs.log import read
from nasharness.runs.signals import REQUEUE, Stopped
from nasharness.storage.sealed import seal
from nasharness.training.distributed import World
from nasharness.training.language import recipes
from nasharness.training.language.data import END, read_corpus
from nasharness.training.language.eval import mean_loss, perplexity, reading
from nasharness.training.language.run import Extras, TextRun
from nasharness.training.language.task import load, retrain_text, text_perplexity
from nasharness.training.language.train import LOOK, TextTrainer
from nasharness.training.retrained import line
from nasharness.training.watch import Diverged
from tests.text_fixtures import assert_same, options, outcome, write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("text"))


def told(lines):
    """Progress that remembers the lines."""
    return lambda done, total, label="", detail="", line="": lines.append(line)


class StopAfter:
    """Sends this process SIGTERM once so many words have been reported."""

    def __init__(self, words: int) -> None:
        self.words = words

    def __call__(self, done: int, total: int, label: str = "", detail: str = "", line: str = "") -> None:
        if done >= self.words > 0:
            self.words = 0
            os.kill(os.getpid(), signal.SIGTERM)


def test_learns_and_writes_its_record(corpus, tmp_path):
    lines = []
    record = retrain_text(options(corpus, tmp_path / "run", epochs=4, extra={"lr": "0.03"}), told(lines))
    assert record["valid_perplexity"] < 26 < 31  # guessing has 31
    assert seal(record) == json.loads((tmp_path / "run" / "retrained.json").read_text())
    assert [row["epoch"] for row in read(tmp_path / "run")] == [1, 2, 3, 4]
    assert record["params"] == 31 * 9 + 4 * 8**2 + 12 * 2 * 8**2
    assert f"{record['test_perplexity']:.2f} test (1 stream)" in line(record)
    assert sum("(best)" in text for text in lines) >= 1
    found = text_perplexity(tmp_path / "run", corpus / "tiny.test.txt")
    assert found["perplexity"] == pytest.approx(record["test_perplexity"], rel=1e-6)
    model, words = load(tmp_path / "run")
    valid = read_corpus(corpus).valid
    again = perplexity(mean_loss(model, valid, words.words.index(END), streams=2))
    assert again == pytest.approx(record["valid_perplexity"], rel=1e-6)


def test_same_bits_after_sigterm_while_averaging(corpus, tmp_path):
    """Stopped in the middle of an epoch of averaged SGD with every kind of dropout, and resumed."""
    asked = {"recipe": "shrinkrnn", "epochs": 6, "lr": 20.0, "extra": {"patience": "1", "drop_words": "0.1"}}
    plain = options(corpus, tmp_path / "plain", **asked)
    retrain_text(plain)
    rows, _ = outcome(plain.out)
    assert any(row["averaged"] for row in rows), "the run must reach averaging for this test to mean anything"
    first = next(row["epoch"] for row in rows if row["averaged"])
    out = tmp_path / "stopped"
    words = 4 * (len(read_corpus(corpus).train) // 4 - 1)
    with pytest.raises(Stopped) as caught:
        retrain_text(options(corpus, out, **asked), StopAfter((first - 1) * words + words // 2))
    assert caught.value.exit_code == REQUEUE
    assert not (out / "retrained.json").exists()
    retrain_text(options(corpus, out, resume=True, **asked))
    assert_same(outcome(out), outcome(plain.out))


def test_stop_while_evaluating_keeps_the_raw_weights(corpus, tmp_path, monkeypatch):
    asked = {"recipe": "shrinkrnn", "epochs": 3, "lr": 30.0, "extra": {"patience": "1"}}
    retrain_text(options(corpus, tmp_path / "plain", **asked))
    from nasharness.training.language import run

    calls = []

    def told_to_stop(*given, **rest):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return reading(*given, **rest)

    out = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(run, "reading", told_to_stop)
        with pytest.raises(Stopped, match="stopped while reading the validation text.*--resume"):
            retrain_text(options(corpus, out, **asked))
    retrain_text(options(corpus, out, resume=True, **asked))
    assert_same(outcome(out), outcome(tmp_path / "plain"))


def test_streams_that_cannot_be_shared_are_refused(corpus):
    from nasharness.training.distributed import World

    recipe = recipes.get("small", {"batch": 5, "width": 4})
    text = read_corpus(corpus)
    from nasharness.training.language.model import LanguageModel

    with pytest.raises(UsageError, match="5 streams cannot be shared by 2 processes"):
        TextTrainer(LanguageModel((4,), 31, 4), text, recipe, seed=0, world=World(0, 2, torch.device("cpu")))


# ---- ends


def test_a_loss_that_is_no_number_stops_with_step_and_rate(corpus, tmp_path):
    poisoned = options(corpus, tmp_path / "run", extra={"initial": "9"}, lr=9000.0)
    with monkeypatched_loss(math.nan), pytest.raises(Diverged, match=r"step \d+ .*epoch 1, learning rate [\d.e+]+"):
        retrain_text(poisoned)
    assert not (tmp_path / "run" / "retrained.json").exists()


def test_a_loss_far_above_guessing_stops_within_a_look_and_the_checkpoint_stays(corpus, tmp_path, monkeypatch):
    """Perplexities that are numbers, and tell that nothing is learnt any more."""
    rate = TextTrainer.lr
    monkeypatch.setattr(TextTrainer, "lr", lambda trainer: rate(trainer) * (1 if trainer.epoch == 0 else 1000))
    found = r"diverged to perplexity [\d.e+]+, where guessing has 31, at step (\d+) \(epoch 2, learning rate [\d.e+]+\)"
    with pytest.raises(Diverged, match=found) as stopped:
        retrain_text(options(corpus, tmp_path / "run", epochs=2))
    (row,) = read(tmp_path / "run")
    assert int(re.search(found, str(stopped.value))[1]) <= row["segments"] + LOOK
    (kept,) = checkpoint.Keeper(tmp_path / "run" / "checkpoints").steps()
    assert kept.stem == f"step-{row['segments']:09}"


def test_the_published_recipe_goes_back_to_the_best_weights(corpus, tmp_path):
    """As the released code does on a loss that is no number; here for one segment of the second epoch."""
    lines = []
    asked = options(corpus, tmp_path / "run", recipe="shrinkrnn", epochs=3, extra={"lr": "1"})
    with monkeypatched_loss(math.nan, epoch=1):
        retrain_text(asked, told(lines))
    rows = read(tmp_path / "run")
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[1]["reloaded_from_epoch"] == 1
    assert rows[2]["valid_loss"] < 10
    assert any("going on from the best weights, of epoch 1" in text for text in lines)


def test_every_process_counts_reloads_alike(corpus, tmp_path):
    """Also one that keeps no best weights: else two would part ways at the last reload."""
    asked = options(corpus, tmp_path / "run")
    world = World(0, 1, torch.device("cpu"))
    recipe = recipes.get("small", {"width": 8, "batch": 4, "bptt": 10, "valid_streams": 2})
    one = TextRun(asked, Extras(), recipe, PUBLISHED, read_corpus(corpus), world)
    one.world = World(1, 1, torch.device("cpu"))
    one.reloads = 2
    list(one._epoch())
    assert one.reloads == 0
    assert not one.keeper.best.exists()


class monkeypatched_loss:  # noqa: N801 - reads as a context
    """Let the loss be ``value`` in one epoch."""

    def __init__(self, value: float, *, epoch: int = 0) -> None:
        self.value, self.epoch = value, epoch
        self.patch = pytest.MonkeyPatch()

    def __enter__(self) -> None:
        from nasharness.training.language import train

        real = train.penalty
        step = TextTrainer.step
        trainers = []

        def remembering(trainer):
            trainers.append(trainer)
            return step(trainer)

        def poisoned(raw, dropped, recipe):
            wrong = trainers[-1].epoch == self.epoch
            return real(raw, dropped, recipe) + (self.value * raw.sum() if wrong else 0.0)

        self.patch.setattr(TextTrainer, "step", remembering)
        self.patch.setattr(train, "penalty", poisoned)

    def __exit__(self, *_: object) -> None:
        self.patch.undo()


def test_another_run_is_not_overwritten_nor_resumed(corpus, tmp_path):
    out = tmp_path / "run"
    retrain_text(options(corpus, out, epochs=1))
    before = (out / "retrained.json").read_bytes()
    with pytest.raises(UsageError, match="add --resume"):
        retrain_text(options(corpus, out, epochs=1))
    with pytest.raises(UsageError, match="different: .*network .*lstm"):
        retrain_text(options(corpus, out, epochs=1, resume=True, network="lstm"))
    other = write_corpus(tmp_path / "other")
    with (other / "tiny.train.txt").open("a") as file:
        file.write("another word\n")
    with pytest.raises(UsageError, match="different: .*vocabulary"):
        retrain_text(options(other, out, epochs=1, resume=True))
    assert (out / "retrained.json").read_bytes() == before
    retrain_text(options(corpus, out, epochs=1, resume=True))  # a finished run: measured again
    assert (out / "retrained.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": {"emsize": "8", "nhid": "9", "width": "8"}}, "share one width"),
        ({"extra": {"droppp": "8"}}, "nearest: drop"),
        ({"extra": {"bptt": "many"}}, "expected a number"),
        ({"extra": {"dynamic": "maybe"}}, "yes or no"),
        ({"network": "shrinkrn"}, "nearest: shrinkrnn"),
        ({"recipe": "nats"}, "recipe for text"),
        ({"batch": 1000}, "lower --batch"),
        ({"precision": "fp8"}, "precision"),
    ],
)
def test_bad_requests_are_said_and_write_nothing(corpus, tmp_path, change, message):
    with pytest.raises(NasharnessError, match=message):
        retrain_text(options(corpus, tmp_path / "run", **change))
    assert not (tmp_path / "run").exists()


def test_perplexity_of_what_is_no_run_or_no_text(corpus, tmp_path):
    with pytest.raises(DataError, match="there is no checkpoint"):
        text_perplexity(tmp_path, corpus / "tiny.test.txt")
    retrain_text(options(corpus, tmp_path / "run", epochs=1))
    with pytest.raises(DataError, match="cannot read"):
        text_perplexity(tmp_path / "run", tmp_path / "absent.txt")
    (tmp_path / "new.txt").write_text("w1 unheard\n", encoding="utf-8")
    with pytest.raises(DataError, match="'unheard' is not among the 31 words"):
        text_perplexity(tmp_path / "run", tmp_path / "new.txt")


def test_a_winner_of_the_recurrent_space_is_trained(corpus, tmp_path):
    winner = {
        "space": "darts-rnn",
        "winner": {"recurrent": [["relu", 0], ["sigmoid", 1]], "concat": [1, 2], "final": 50.0},
        "algorithm": "darts",
        "dataset": "ptb",
    }
    record = retrain_text(options(corpus, tmp_path / "run", network=winner, epochs=1))
    assert record["winner"] == winner
    assert line(record).startswith("darts on darts-rnn ptb -> table 50.00 % -> darts-rnn, tiny 1 epoch (small)")
    assert text_perplexity(tmp_path / "run", corpus / "tiny.test.txt")["tokens"] == len(read_corpus(corpus).test)


@pytest.mark.parametrize(
    ("network", "suffix"),
    [
        ("shrinkrnn", "pt2"),
        ("shrinkrnn", "onnx"),
        ("lstm", "pt2"),
        ("awd-lstm", "pt2"),
        ("awd-lstm", "onnx"),
        ("lstm", "safetensors"),
    ],  # fmt: skip
)
def test_a_trained_model_is_exported_and_reads_the_same(corpus, tmp_path, network, suffix):
    if suffix == "onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxscript")
    from nasharness.training.language.export import ENTRY, export_text

    small = {"hidden": "6", "layers": "2"}
    retrain_text(options(corpus, tmp_path / "run", epochs=1, network=network, extra=small))
    file = tmp_path / f"model.{suffix}"
    made = export_text(tmp_path / "run", file)
    assert made["format"] == suffix
    assert made["difference"] < 1e-5
    if suffix == "safetensors":
        held = pytest.importorskip("safetensors.torch").load_file(file)
        expected = load(tmp_path / "run")[0].state_dict()
        assert held.keys() == expected.keys()
        assert all(torch.equal(held[name], expected[name]) for name in held)
    if suffix == "pt2":
        extra = {ENTRY: ""}
        reader = torch.export.load(str(file), extra_files=extra).module()
        words = json.loads(extra[ENTRY])["words"]
        assert words == list(load(tmp_path / "run")[1].words)
        state, before, total = torch.zeros(1, json.loads(extra[ENTRY])["state"]), words.index(END), 0.0
        text = read_corpus(corpus).test.tolist()
        for token in text:
            chances, state = reader(torch.tensor([before]), state)
            total -= float(chances.detach()[0, token])
            before = token
        expected = text_perplexity(tmp_path / "run", corpus / "tiny.test.txt")["perplexity"]
        assert perplexity(total / len(text)) == pytest.approx(expected, rel=1e-4)


def test_a_text_run_that_gets_no_better_is_ended(corpus, tmp_path):
    record = retrain_text(options(corpus, tmp_path / "run", recipe="awd-lstm", network="lstm", epochs=9, lr=1e-9,
                                  stop_after=3))  # fmt: skip
    assert record["epochs"] == record["best"]["epoch"] + 3 < 9


def test_commands_on_a_run(corpus, tmp_path):
    from click.testing import CliRunner

    from nasharness.cli.predict import command as predict
    from nasharness.cli.retrain import command as retrain

    run, runner = tmp_path / "run", CliRunner()
    given = ["--network", "shrinkrnn", "--task", "ptb", "--data", str(corpus), "--out", str(run), "--recipe", "small"]
    given += ["--epochs", "1", "--batch", "4", "--device", "cpu", "--set", "emsize=8", "--set", "nhid=8"]
    done = runner.invoke(retrain, given, catch_exceptions=False)
    assert done.exit_code == 0
    assert "shrinkrnn, tiny 1 epoch (small): perplexity" in done.output
    assert json.loads((run / "retrained.json").read_text())["width"] == 8
    seen = runner.invoke(predict, [str(run), "--text", str(corpus / "tiny.test.txt"), "--json"], catch_exceptions=False)
    assert json.loads(seen.output)["perplexity"] == pytest.approx(
        json.loads((run / "retrained.json").read_text())["test_perplexity"], rel=1e-6
    )
    assert isinstance(runner.invoke(predict, [str(run)]).exception, UsageError)
