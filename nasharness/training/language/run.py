"""One run of full training on text: options in, checkpoints, journal and ``retrained.json`` out."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from nasharness.errors import UsageError
from nasharness.nets.shrinkrnn import Recurrence
from nasharness.runs.log import Log
from nasharness.runs.signals import Stop, Stopped
from nasharness.training import checkpoint
from nasharness.training.device import dtype_of, memory, synchronise
from nasharness.training.distributed import World
from nasharness.training.language.data import END, PARTS, Corpus
from nasharness.training.language.eval import dynamic_loss, mean_loss, mean_squares, perplexity
from nasharness.training.language.model import LanguageModel, describe, exact
from nasharness.training.language.recipes import TextRecipe
from nasharness.training.language.train import TextTrainer
from nasharness.training.options import Options, Report, title
from nasharness.training.record import FORMAT, device_name, table_of, write_json
from nasharness.training.watch import Diverged
from nasharness.version import __version__

KIND, MODEL_KIND = "retrain-text", "text-model"
#: how often a recipe that reloads after a loss that is no number may do so between two best epochs
RELOADS = 3

Say = Callable[[str], None]
#: folder of the checkpoints in the folder of a run
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Extras:
    """What only a run on text can be asked.

    ``corpus``: NAME of NAME.train.txt, where the folder holds several. ``unknown_words``: ``error`` or ``unk``, see
    `language.data.read_corpus`. ``dynamic``: report the test text under dynamic evaluation, too.
    """

    corpus: str | None = None
    unknown_words: str = "error"
    dynamic: bool = False


class TextRun:
    """One call of `language.task.retrain_text`, in one process."""

    def __init__(
        self,
        options: Options,
        extras: Extras,
        recipe: TextRecipe,
        graph: Recurrence | None,
        corpus: Corpus,
        world: World,
        say: Say,
        stop: Stop,
    ) -> None:
        self.options, self.extras, self.recipe, self.corpus, self.world = options, extras, recipe, corpus, world
        self.say, self.stop = say, stop
        self.graph = graph
        self.dtype = fast_dtype(world.device, options.precision)
        self.compiled = options.compile
        draw = torch.Generator().manual_seed(options.seed)
        self.model = LanguageModel(
            graph, len(corpus.vocabulary), recipe.width, initial=recipe.initial, generator=draw
        ).to(world.device)
        self.trainer = TextTrainer(self.model, corpus, recipe, seed=options.seed, world=world, dtype=self.dtype)
        self.settings = {key: value for key, value in dataclasses.asdict(recipe).items() if key != "source"}
        self.identity: dict[str, Any] = {
            "network": describe(graph),
            "vocabulary": corpus.vocabulary.checksum,
            "tokens": [len(corpus.train), len(corpus.valid), len(corpus.test)],
            **{"recipe" if key == "name" else key: value for key, value in self.settings.items()},
            "seed": options.seed,
            "products": str(self.dtype).removeprefix("torch."),
        }
        self.keeper = checkpoint.Keeper(options.out / CHECKPOINTS, keep=options.keep)
        self.seconds = 0.0
        self.reloads = 0

    def complete(self, report: Report | None) -> dict[str, Any]:
        """Train to the end, then measure the best weights."""
        options, trainer = self.options, self.trainer
        self._begin()
        journal = Log(options.out, key="epoch", tensorboard=options.tensorboard) if self.world.main else None
        if journal is not None:
            journal.rewind(trainer.epoch)
        try:
            while trainer.epoch < self.recipe.epochs:
                try:
                    row = self._epoch(report)
                except Diverged as error:
                    row = self._go_back(error)
                if journal is not None:
                    journal.write(row)
                self._save()
        finally:
            if journal is not None:
                journal.close()
        return self._measure(report)

    def _begin(self) -> None:
        options = self.options
        # asked of the first process: the others may see what it has begun to write
        taken = self.world.main and not options.resume and (bool(self.keeper.steps()) or self._run_file.exists())
        if self.world.largest(int(taken)):
            raise UsageError(
                f"--out {options.out} holds a run: add --resume to go on with it, or choose another folder"
            )
        if self.world.main and options.resume:
            self.keeper.sweep()
        found = self.keeper.last(kind=KIND, identity=self.identity) if options.resume else None
        weights = sum(weight.numel() for weight in self.model.parameters())
        self.say(self.corpus.describe())
        self.say(
            f"{self.identity['network']}, width {self.recipe.width}: {weights:,} parameters; recipe "
            f"{self.recipe.name}, {self.recipe.epochs} epochs, batch {self.recipe.batch}; {self.world.device}, "
            f"{self.identity['products']} products{', compiled' if self.compiled else ''}"
        )
        if found is not None:
            path, state = found
            with checkpoint.fitting(path):
                self.trainer.load_state_dict(state["trainer"])
                self.seconds = msgspec.convert(state["seconds"], float)
                self.reloads = msgspec.convert(state["reloads"], int)
            share = self.trainer.words / self.trainer.epoch_words
            self.say(f"going on from {path}: {self.trainer.epoch} epochs done, {100 * share:.0f} % of the next")
        elif self.world.main:
            winner = None if isinstance(options.network, str) else dict(options.network)
            asked = {"format": FORMAT, "task": options.task, "data": str(options.data), "winner": winner}
            write_json(self._run_file, asked | self.identity | {"nasharness": __version__, "torch": torch.__version__})

    @property
    def _run_file(self) -> Path:
        return self.options.out / "run.json"

    def _epoch(self, report: Report | None) -> dict[str, Any]:
        """Go to the end of the epoch in hand and validate."""
        trainer, options = self.trainer, self.options
        self.model.use(self.dtype, compiled=self.compiled)
        label = f"epoch {trainer.epoch + 1} of {self.recipe.epochs}"
        began, words, saved = time.monotonic(), trainer.words, time.monotonic()
        before = self.seconds
        while not trainer.finished:
            trainer.step()
            self._progress(report)
            due = time.monotonic() - saved > 60 * options.checkpoint_minutes
            told = self.world.largest(2 * self.stop.code + int(due))
            if told:
                self.seconds = before + time.monotonic() - began
                path = self._save()
                saved = time.monotonic()
                if told > 1:
                    raise Stopped(f"stopped in {label}; {path} is whole: go on with --resume", told // 2)
        synchronise(self.world.device)
        elapsed = max(1e-9, time.monotonic() - began)
        rate = (trainer.words - words) / elapsed
        lr = trainer.lr()
        train = trainer.train_loss()
        try:
            valid = self._validate()
        except Stopped:
            self._save()  # with the text at its end: what is resumed validates first
            raise
        averaging = trainer.optimiser.averaging
        best = valid < min(trainer.optimiser.losses, default=math.inf)
        if best:
            self.reloads = 0
            if self.world.main:
                self._keep_best(valid)
        began_averaging = trainer.optimiser.record(valid)
        trainer.epoch += 1
        trainer.begin_epoch()
        self.seconds = before + time.monotonic() - began
        self.say(
            f"{label}: train {perplexity(train):.1f}, valid {perplexity(valid):.2f}{' (best)' if best else ''}, "
            f"{rate:,.0f} words/s, {self.seconds:,.0f} s"
            + (" (averaged weights)" if averaging else "")
            + ("; averaging the weights from here on" if began_averaging else "")
        )
        return {
            "epoch": trainer.epoch,
            "segments": trainer.segments,
            "lr": lr,
            "averaged": averaging,
            "train_loss": train,
            "train_perplexity": perplexity(train),
            "valid_loss": valid,
            "valid_perplexity": perplexity(valid),
            "words_per_second": rate,
            "seconds": self.seconds,
            "memory_bytes": memory(self.world.device),
        }

    def _validate(self) -> float:
        """Return the validation loss of the averaged weights, where they are; one process reads, all know."""
        loss = torch.zeros(1, dtype=torch.float64)
        if self.world.main:
            with self.trainer.optimiser.averaged(), exact(self.model):
                loss += mean_loss(
                    self.model, self.corpus.valid, self._end, streams=self.recipe.valid_streams, progress=self._told
                )
        value = float(self.world.total(loss))
        trainer = self.trainer
        if not value <= trainer.watch.limit:
            where = f"(epoch {trainer.epoch + 1}, learning rate {trainer.lr():g})"
            raise trainer.watch.diverged(value, f"on the validation text after segment {trainer.segments} {where}")
        return value

    def _progress(self, report: Report | None) -> None:
        trainer = self.trainer
        if report is None:
            return
        detail = f"epoch {trainer.epoch + 1}/{self.recipe.epochs}"
        if math.isfinite(trainer.seen):
            detail += f", perplexity {perplexity(trainer.seen):.1f}"
        if trainer.optimiser.losses:
            detail += f", best valid {perplexity(min(trainer.optimiser.losses)):.2f}"
        detail += f", {memory(self.world.device) / 2**30:.1f} GiB"
        done = trainer.epoch * trainer.epoch_words + trainer.words
        report(done, self.recipe.epochs * trainer.epoch_words, "", detail)

    def _told(self, done: int, total: int) -> None:
        """Stop in the middle of an evaluation, which begins again on resuming; with peers only between segments."""
        if self.stop.code and self.world.size == 1:
            raise Stopped("stopped while reading a text to evaluate; go on with --resume", self.stop.code)

    @property
    def _end(self) -> int:
        return self.corpus.vocabulary.words.index(END)

    def _save(self) -> Path | None:
        state = {"trainer": self.trainer.state_dict(), "seconds": self.seconds, "reloads": self.reloads}
        if not self.world.main:
            return None
        return self.keeper.save(self.trainer.segments, state, kind=KIND, identity=self.identity)

    def _keep_best(self, loss: float) -> None:
        trainer = self.trainer
        with trainer.optimiser.averaged():
            weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        state = {
            "model": weights,
            "optimiser": trainer.optimiser.state_dict(),
            "words": list(self.corpus.vocabulary.words),
            "corpus": self.corpus.name,
            "graph": None if self.graph is None else dataclasses.asdict(self.graph),
            "width": self.recipe.width,
            "valid_loss": loss,
            "epoch": trainer.epoch + 1,
        }
        checkpoint.save(self.keeper.best, state, kind=MODEL_KIND, identity=self.identity)

    def _go_back(self, error: Diverged) -> dict[str, Any]:
        """Take up the best weights after a loss that is no number, where the recipe says so; else pass it on."""
        self.reloads += 1
        if self.recipe.on_nan != "reload" or self.reloads > RELOADS or not self.keeper.best.is_file():
            raise error
        state = checkpoint.load(self.keeper.best, kind=MODEL_KIND, identity=self.identity)
        trainer = self.trainer
        losses = trainer.optimiser.losses
        with checkpoint.fitting(self.keeper.best):
            self.model.load_state_dict(state["model"])
            trainer.optimiser.load_state_dict(state["optimiser"])
            epoch = msgspec.convert(state["epoch"], int)
        trainer.optimiser.losses = losses
        trainer.epoch += 1
        trainer.begin_epoch()
        self.say(f"{error}; going on from the best weights, of epoch {epoch} ({self.reloads} of {RELOADS})")
        return {"epoch": trainer.epoch, "segments": trainer.segments, "reloaded_from_epoch": epoch}

    def _measure(self, report: Report | None) -> dict[str, Any]:
        """Evaluate the best weights on the test text and write the record; only the first process does."""
        if not self.world.main:
            return {}
        best = checkpoint.load(self.keeper.best, kind=MODEL_KIND, identity=self.identity)
        with checkpoint.fitting(self.keeper.best):
            self.model.load_state_dict(best["model"])
            epoch, valid = msgspec.convert((best["epoch"], best["valid_loss"]), tuple[int, float])
            weights = "averaged" if msgspec.convert(best["optimiser"]["averaging"], bool) else "raw"

        def progress(done: int, total: int) -> None:
            self._told(done, total)
            if report is not None:
                report(done, total, "test text")

        streams = self.recipe.test_streams
        with exact(self.model):
            test = mean_loss(self.model, self.corpus.test, self._end, streams=streams, progress=progress)
        options, winner = self.options, None if isinstance(self.options.network, str) else self.options.network
        record = {
            "format": FORMAT,
            "kind": "retrained",
            "task": options.task,
            "network": title(options.network),
            "cell": self.identity["network"],
            "recipe": self.recipe.name,
            "settings": self.settings,
            "epochs": self.trainer.epoch,
            "batch": self.recipe.batch,
            "width": self.recipe.width,
            "params": sum(weight.numel() for weight in self.model.parameters()),
            "corpus": self.corpus.name,
            "tokens": dict(zip(PARTS, self.identity["tokens"], strict=True)),
            "vocabulary": len(self.corpus.vocabulary),
            "best": {"epoch": epoch, "weights": weights},
            "valid_perplexity": perplexity(valid),
            "valid_streams": self.recipe.valid_streams,
            "test_perplexity": perplexity(test),
            "test_streams": streams,
            "seconds": round(self.seconds, 1),
            "device": device_name(self.world.device),
            "threads": torch.get_num_threads(),
            "processes": self.world.size,
            "products": self.identity["products"],
            "seed": options.seed,
            "winner": None if winner is None else dict(winner),
            "table": None if winner is None else table_of(winner),
            "nasharness": __version__,
            "torch": torch.__version__,
        }
        if self.extras.dynamic:
            with exact(self.model):
                record["dynamic_test_perplexity"] = perplexity(_dynamic(self.model, self.corpus, self._end, progress))
        write_json(self.options.out / "retrained.json", record)
        return record


def fast_dtype(device: torch.device, precision: str) -> torch.dtype:
    """Return the dtype of products: bf16 where the device multiplies it itself, unless ``precision`` says otherwise."""
    if precision == "auto" and device.type == "cpu":
        capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        fast = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
        return torch.bfloat16 if fast else torch.float32
    return dtype_of(device, precision)


def _dynamic(model: LanguageModel, corpus: Corpus, end: int, progress: Callable[[int, int], None] | None) -> float:
    squares = mean_squares(model, corpus.train, end)
    return dynamic_loss(model, corpus.test, end, squares, progress=progress)
