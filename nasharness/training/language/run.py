"""One run of full training on text: options in, checkpoints, journal and ``retrained.json`` out."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import torch

from nasharness.runs import checkpoint
from nasharness.runs.driver import Driver
from nasharness.runs.job import Mark, Progress
from nasharness.runs.signals import Stop
from nasharness.training.device import dtype_of, memory, synchronise
from nasharness.training.distributed import World
from nasharness.training.language.data import END, PARTS, Corpus
from nasharness.training.language.eval import Reading, dynamic_reading, mean_squares, perplexity, reading
from nasharness.training.language.model import LanguageModel, Network, describe, exact
from nasharness.training.language.recipes import TextRecipe
from nasharness.training.language.train import TextTrainer
from nasharness.training.options import Options
from nasharness.training.record import FORMAT, common
from nasharness.training.watch import Diverged
from nasharness.version import __version__

KIND, MODEL_KIND = "retrain-text", "text-model"
#: how often a recipe that reloads after a loss that is no number may do so between two best epochs
RELOADS = 3

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
    """One call of `language.task.retrain_text`, in one process: a job for the driver."""

    kind = KIND

    def __init__(
        self,
        options: Options,
        extras: Extras,
        recipe: TextRecipe,
        graph: Network,
        corpus: Corpus,
        world: World,
    ) -> None:
        self.options, self.extras, self.recipe, self.corpus, self.world = options, extras, recipe, corpus, world
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
        self.before = 0.0
        self.began: float | None = None
        self.reloads = 0

    def complete(self, stop: Stop, progress: Progress | None) -> dict[str, Any]:
        """Train to the end, measure the best weights, and return the record."""
        options = self.options
        return Driver(
            self, options.out, self.keeper, options.resume, plan=("run.json", self._plan),
            record=("retrained.json", self._record), minutes=options.checkpoint_minutes,
            boards=options.track, stop=stop, progress=progress,
        ).complete()  # fmt: skip

    def steps(self) -> Generator[Mark, None, None]:
        """Train to the end, then measure the best weights; yield after every segment and every epoch."""
        trainer = self.trainer
        self.began = time.monotonic()
        yield Mark(line=self._about(), where="before its first step")
        while trainer.epoch < self.recipe.epochs and not self._stale:
            try:
                row, line = yield from self._epoch()
            except Diverged as error:
                row, line = self._go_back(error)
            yield self._at(line=line, row=row, due=True)
        if self._stale:
            yield Mark(line=f"no better epoch in {self.options.stop_after}: the run ends here (--stop-after)")
        self.before, self.began = self.seconds, None
        if self.world.main:
            self.measured = yield from self._measure()

    @property
    def _stale(self) -> bool:
        """Whether as many epochs as asked for have passed since the best."""
        losses, limit = self.trainer.optimiser.losses, self.options.stop_after
        return bool(limit and losses) and len(losses) - 1 - losses.index(min(losses)) >= (limit or 0)

    @property
    def seconds(self) -> float:
        """Seconds of training so far, over all resumptions."""
        return self.before + (0.0 if self.began is None else time.monotonic() - self.began)

    @property
    def logged(self) -> int:
        """As `nasharness.runs.job.Job` asks: rows are counted by epoch."""
        return self.trainer.epoch

    def state(self) -> dict[str, Any]:
        """All that the rest of the run depends on; all processes ask together."""
        return {"trainer": self.trainer.state_dict(), "seconds": self.seconds, "reloads": self.reloads}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state()``."""
        self.trainer.load_state_dict(state["trainer"])
        self.before = msgspec.convert(state["seconds"], float)
        self.reloads = msgspec.convert(state["reloads"], int)

    def _about(self) -> str:
        weights, trainer = sum(weight.numel() for weight in self.model.parameters()), self.trainer
        about = (
            f"{self.corpus.describe()}\n"
            f"{self.identity['network']}, width {self.recipe.width}: {weights:,} parameters; recipe "
            f"{self.recipe.name}, {self.recipe.epochs} epochs, batch {self.recipe.batch}; {self.world.device}, "
            f"{self.identity['products']} products{', compiled' if self.compiled else ''}"
        )
        if not trainer.segments:
            return about
        return f"{about}\n{trainer.epoch} epochs done, {100 * trainer.words / trainer.epoch_words:.0f} % of the next"

    def _plan(self) -> dict[str, Any]:
        """What was asked for, as ``run.json`` holds it."""
        options = self.options
        winner = None if isinstance(options.network, str) else dict(options.network)
        asked = {"format": FORMAT, "task": options.task, "data": str(options.data), "winner": winner}
        return asked | self.identity | {"nasharness": __version__, "torch": torch.__version__}

    def _epoch(self) -> Generator[Mark, None, tuple[dict[str, Any], str]]:
        """Go to the end of the epoch in hand and validate; return the row of the journal, and a line."""
        trainer = self.trainer
        self.model.use(self.dtype, compiled=self.compiled)
        label = f"epoch {trainer.epoch + 1} of {self.recipe.epochs}"
        began, words = time.monotonic(), trainer.words
        while not trainer.finished:
            trainer.step()
            yield self._at()
        synchronise(self.world.device)
        rate = (trainer.words - words) / max(1e-9, time.monotonic() - began)
        lr = trainer.lr()
        train = trainer.train_loss()
        valid = yield from self._validate()
        averaging = trainer.optimiser.averaging
        best = valid < min(trainer.optimiser.losses, default=math.inf)
        if best:
            self.reloads = 0
            if self.world.main:
                self._keep_best(valid)
        began_averaging = trainer.optimiser.record(valid)
        trainer.epoch += 1
        trainer.begin_epoch()
        line = (
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
        }, line

    def _validate(self) -> Generator[Mark, None, float]:
        """Return the validation loss of the averaged weights, where they are; one process reads, all know."""
        loss = torch.zeros(1, dtype=torch.float64)
        trainer = self.trainer
        if self.world.main:
            with trainer.optimiser.averaged(), exact(self.model):
                text = reading(self.model, self.corpus.valid, self._end, streams=self.recipe.valid_streams)
                loss += yield from self._aside("validation text", text, trainer.segments)
        value = float(self.world.total(loss))
        if not value <= trainer.watch.limit:
            where = f"(epoch {trainer.epoch + 1}, learning rate {trainer.lr():g})"
            raise trainer.watch.diverged(value, f"on the validation text after segment {trainer.segments} {where}")
        return value

    def _aside(self, label: str, reading: Reading, step: int | None = None) -> Generator[Mark, None, float]:
        """Go through an evaluation, which can be stopped; a resumed run begins it again. ``step``: as of Mark."""
        where = f"while reading the {label} to evaluate"
        while True:
            try:
                done, total = next(reading)
            except StopIteration as end:
                return float(end.value)
            yield Mark(done, total, label, where=where, step=step, aside=True)

    def _at(self, **more: Any) -> Mark:
        trainer = self.trainer
        detail = f"epoch {trainer.epoch + 1}/{self.recipe.epochs}"
        if math.isfinite(trainer.seen):
            detail += f", perplexity {perplexity(trainer.seen):.1f}"
        if trainer.optimiser.losses:
            detail += f", best valid {perplexity(min(trainer.optimiser.losses)):.2f}"
        detail += f", {memory(self.world.device) / 2**30:.1f} GiB"
        done, total = trainer.epoch * trainer.epoch_words + trainer.words, self.recipe.epochs * trainer.epoch_words
        where = f"in epoch {trainer.epoch + 1} of {self.recipe.epochs}"
        return Mark(done, total, detail=detail, where=where, step=trainer.segments, **more)

    @property
    def _end(self) -> int:
        return self.corpus.vocabulary.words.index(END)

    def _keep_best(self, loss: float) -> None:
        trainer = self.trainer
        with trainer.optimiser.averaged():
            weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        state = {
            "model": weights,
            "optimiser": trainer.optimiser.state_dict(),
            "words": list(self.corpus.vocabulary.words),
            "corpus": self.corpus.name,
            "graph": self.graph if isinstance(self.graph, tuple) else dataclasses.asdict(self.graph),
            "width": self.recipe.width,
            "valid_loss": loss,
            "epoch": trainer.epoch + 1,
        }
        checkpoint.save(self.keeper.best, state, kind=MODEL_KIND, identity=self.identity)

    def _go_back(self, error: Diverged) -> tuple[dict[str, Any], str]:
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
        line = f"{error}; going on from the best weights, of epoch {epoch} ({self.reloads} of {RELOADS})"
        return {"epoch": trainer.epoch, "segments": trainer.segments, "reloaded_from_epoch": epoch}, line

    def _measure(self) -> Generator[Mark, None, dict[str, Any]]:
        """Take up the best weights and read the test text: what the record says of them."""
        best = checkpoint.load(self.keeper.best, kind=MODEL_KIND, identity=self.identity)
        with checkpoint.fitting(self.keeper.best):
            self.model.load_state_dict(best["model"])
            epoch, valid = msgspec.convert((best["epoch"], best["valid_loss"]), tuple[int, float])
            weights = "averaged" if msgspec.convert(best["optimiser"]["averaging"], bool) else "raw"
        with exact(self.model):
            text = reading(self.model, self.corpus.test, self._end, streams=self.recipe.test_streams)
            test = yield from self._aside("test text", text)
            found = {
                "best": {"epoch": epoch, "weights": weights},
                "valid_perplexity": perplexity(valid),
                "test_perplexity": perplexity(test),
            }
            if self.extras.dynamic:
                squares = mean_squares(self.model, self.corpus.train, self._end)
                adapting = dynamic_reading(self.model, self.corpus.test, self._end, squares)
                found["dynamic_test_perplexity"] = perplexity((yield from self._aside("test text", adapting)))
        return found

    def _record(self) -> dict[str, Any]:
        """The outcome, as ``retrained.json`` holds it; only the first process has measured it."""
        if not self.world.main:
            return {}
        return common(self.options, self.world, self.seconds) | {
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
            **self.measured,
            "valid_streams": self.recipe.valid_streams,
            "test_streams": self.recipe.test_streams,
            "threads": torch.get_num_threads(),
            "products": self.identity["products"],
        }


def fast_dtype(device: torch.device, precision: str) -> torch.dtype:
    """Return the dtype of products: bf16 where the device multiplies it itself, unless ``precision`` says otherwise."""
    if precision == "auto" and device.type == "cpu":
        capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        fast = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
        return torch.bfloat16 if fast else torch.float32
    return dtype_of(device, precision)
