"""Training on images as a job: steps, looks at the loss, evaluations."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from nasharness.runs.checkpoint import Keeper, save
from nasharness.runs.job import Mark
from nasharness.training.device import memory, synchronise
from nasharness.training.evaluate import Scores, evaluate_each
from nasharness.training.imagenet.loader import BadImages, Order
from nasharness.training.imagenet.statistics import settled
from nasharness.training.imagenet.step import Batch, Trainer
from nasharness.training.schedules import Schedule
from nasharness.training.watch import check_weights

KIND = "retrain"
#: steps between looks at the loss, at the clock and at what other processes have been told
LOOK = 10
#: steps between rows of the log
LOG = 50


@dataclass(frozen=True)
class Best:
    """The best evaluation so far: when, of which weights (``raw`` or ``ema``), and how good."""

    epoch: int
    weights: str
    scores: Scores


class Loop:
    """The job of training on images: ``trainer`` to the end of the last epoch.

    Args:
        trainer: what is trained; its ``step`` says where to begin.
        order: images, batch and seed.
        epochs: the last one.
        schedule: epoch -> learning rate.
        batches: first step -> batches on the device, ``accumulate`` a step, up to the end of the run.
        validation: batches of all validation images, this process's share.
        keeper: where the best weights go; ``identity`` is written with them.
        bad: images that could not be read.
        stop_after: epochs without a better one after which the run ends.
    """

    kind = KIND

    def __init__(
        self,
        trainer: Trainer,
        *,
        order: Order,
        epochs: int,
        schedule: Schedule,
        batches: Callable[[int], Iterator[Batch]],
        validation: Callable[[], Iterator[Batch]],
        keeper: Keeper,
        identity: Mapping[str, Any],
        bad: BadImages,
        stop_after: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trainer, self.order, self.epochs, self.schedule = trainer, order, epochs, schedule
        self.batches, self.validation, self.keeper, self.identity = batches, validation, keeper, identity
        self.bad, self.stop_after, self.clock = bad, stop_after, clock
        self.world = trainer.world
        self.best: Best | None = None
        self.last: dict[str, Scores] = {}
        self.spent = 0.0
        self.evaluated = 0  # the step of the last evaluation
        self._lr = self._loss = 0.0
        self._start = self._mark = clock()
        self._mark_step = 0

    def steps(self) -> Generator[Mark, None, None]:
        """Train. Yield between steps: of one process alone after each, of several when all have looked at the loss.

        Raises:
            Diverged: the loss or a weight is not a number.
            DataError: a file cannot be written, too many images cannot be read, another process was lost.
        """
        trainer = self.trainer
        batches = self.batches(trainer.step)
        self._start = self._mark = self.clock()
        self._mark_step = trainer.step
        if self._unevaluated:
            epoch = self.order.epoch(trainer.step - 1)
            self._look(epoch)
            yield self._row(epoch, ends=True)
        while trainer.step < self.epochs * self.order.steps and not self._stale:
            epoch = self.order.epoch(trainer.step)
            self._lr = self.schedule(epoch)
            trainer.advance(batches, self._lr)
            ends = trainer.step % self.order.steps == 0
            if ends or trainer.step % LOOK == 0:
                self._look(epoch)
            elif self.world.size > 1:
                continue
            # an evaluation takes minutes: whoever is told to stop, or killed, does not wait for it
            yield self._at(epoch, due=ends)
            if ends or trainer.step % LOG == 0:
                yield self._row(epoch, ends=ends)
        if self._stale:
            yield Mark(line=f"no better epoch in {self.stop_after}: the run ends here (--stop-after)")

    @property
    def logged(self) -> int:
        """The step of the last row of the journal."""
        return self.trainer.step - self._unevaluated

    def state(self) -> dict[str, Any]:
        """All that the rest of the run depends on; all processes ask together."""
        trainer = self.trainer
        trainer.watch.look(trainer.step, self.order.epoch(trainer.step - 1), self._lr)
        self.world.share(trainer.network.buffers())
        if trainer.ema is not None:
            self.world.share(trainer.ema.buffers())
        check_weights([weight.detach() for weight in trainer.network.parameters()], trainer.step, self._lr)
        return {
            "trainer": trainer.state_dict(),
            "evaluated": self.evaluated,
            "seconds": self.total_seconds,
            "best": None if self.best is None else _plain(self.best),
            "last": {name: dataclasses.asdict(scores) for name, scores in self.last.items()},
            "bad": self.bad.share(self.world),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up a checkpoint's state."""
        self.trainer.load_state_dict(state["trainer"])
        self.spent = msgspec.convert(state["seconds"], float)
        self.evaluated = msgspec.convert(state["evaluated"], int)
        if state["best"] is not None:
            self.best = Best(*msgspec.convert(state["best"], tuple[int, str, Scores]))
        self.last = msgspec.convert(state["last"], dict[str, Scores])
        self.bad.found = msgspec.convert(state["bad"], dict[str, str])
        self._lr = self.schedule(self.order.epoch(self.trainer.step - 1))

    @property
    def _unevaluated(self) -> bool:
        """Whether the run was ended between an epoch's last step and its evaluation."""
        return self.trainer.step % self.order.steps == 0 and self.evaluated < self.trainer.step

    @property
    def _stale(self) -> bool:
        """Whether as many epochs as asked for have passed since the best."""
        if self.stop_after is None or self.best is None or self.trainer.step % self.order.steps:
            return False
        return self.trainer.step // self.order.steps - self.best.epoch >= self.stop_after

    def _look(self, epoch: int) -> None:
        self._loss = self.trainer.watch.look(self.trainer.step, epoch, self._lr)

    def _at(self, epoch: int, *, due: bool, row: dict[str, Any] | None = None) -> Mark:
        step, total = self.trainer.step, self.epochs * self.order.steps
        detail = f"epoch {epoch}/{self.epochs}, loss {self._loss:.4f}, {memory(self.world.device) / 2**30:.1f} GiB"
        if self.best is not None:
            detail += f", best {self.best.scores.top1:.2f} %"
        return Mark(
            step * self.order.batch, total * self.order.batch, detail=detail, row=row, step=step, due=due,
            where=f"at step {step:,} of {total:,} (epoch {epoch})",
        )  # fmt: skip

    def _row(self, epoch: int, *, ends: bool) -> Mark:
        """A row of the journal, with an evaluation where an epoch ends."""
        trainer = self.trainer
        row = {"step": trainer.step, "epoch": epoch, "lr": self._lr, "loss": self._loss, **self._speed()}
        if ends:
            row |= self._evaluate(epoch)
        trainer.watch.begin()
        self._mark, self._mark_step = self.clock(), trainer.step
        return self._at(epoch, due=ends, row=row)

    def _evaluate(self, epoch: int) -> dict[str, Any]:
        """Evaluate raw and averaged weights, on images that are decoded once."""
        trainer, network = self.trainer, self.trainer.network
        self.world.share(network.buffers())
        versions: dict[str, Any] = {"raw": lambda: settled(network)}
        if trainer.ema is not None:
            self.world.share(trainer.ema.buffers())
            versions["ema"] = trainer.ema.applied
        scores = evaluate_each(
            trainer.forward, self.validation(), self.world, list(versions.values()), precision=trainer.precision
        )
        self.last = dict(zip(versions, scores, strict=True))
        for weights, found in self.last.items():
            if self.best is None or found.top1 > self.best.scores.top1:
                self.best = Best(epoch, weights, found)
                self._save_best()
        self.evaluated = trainer.step
        columns = {"raw": "val_{}", "ema": "ema_{}"}
        return {
            columns[weights].format(name): getattr(found, name)
            for weights, found in self.last.items()
            for name in ("loss", "top1", "top5")
        }

    def _save_best(self) -> None:
        if not self.world.main or self.best is None:
            return
        averaged = self.trainer.ema if self.best.weights == "ema" else None
        with averaged.applied() if averaged is not None else settled(self.trainer.network):
            state = {"network": self.trainer.network.state_dict(), "best": _plain(self.best)}
            save(self.keeper.best, state, kind=KIND, identity=self.identity)

    def _speed(self) -> dict[str, float]:
        synchronise(self.world.device)
        seconds = max(self.clock() - self._mark, 1e-9)
        images = (self.trainer.step - self._mark_step) * self.order.batch
        return {"images_per_s": round(images / seconds, 3), "memory_gib": round(memory(self.world.device) / 2**30, 3)}

    @property
    def total_seconds(self) -> float:
        """Seconds of training so far, over all resumptions."""
        return self.spent + self.clock() - self._start


def _plain(best: Best) -> tuple[int, str, dict[str, Any]]:
    return best.epoch, best.weights, dataclasses.asdict(best.scores)
