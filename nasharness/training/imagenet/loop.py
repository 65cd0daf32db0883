"""The loop of a long run: steps, looks at the loss, evaluation, checkpoints on time and on epochs, and ways to end."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from torch import nn

from nasharness.runs.log import Log
from nasharness.runs.signals import Stop, Stopped
from nasharness.training.checkpoint import Keeper, save
from nasharness.training.device import memory, synchronise
from nasharness.training.evaluate import Scores
from nasharness.training.imagenet.loader import Order
from nasharness.training.imagenet.statistics import settled
from nasharness.training.imagenet.step import Batch, Trainer
from nasharness.training.options import Report
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
    """Runs ``trainer`` to the end of the last epoch.

    Args:
        trainer: what is trained; its ``step`` says where to begin.
        order: images, batch and seed.
        epochs: the last one.
        schedule: epoch -> learning rate.
        batches: first step -> batches on the device, ``accumulate`` a step, up to the end of the run.
        validate: evaluates a network on all validation images, in all processes together.
        keeper: where checkpoints go; ``identity`` is written with them.
        journal: where rows go; None in all processes but the first.
        minutes: longest time between checkpoints.
        extra: what else a checkpoint must hold: called when one is written, in all processes together.
        stop: asked between steps.
        report: progress, in images.
    """

    def __init__(
        self,
        trainer: Trainer,
        *,
        order: Order,
        epochs: int,
        schedule: Schedule,
        batches: Callable[[int], Iterator[Batch]],
        validate: Callable[[nn.Module], Scores],
        keeper: Keeper,
        identity: Mapping[str, Any],
        journal: Log | None,
        minutes: float,
        extra: Callable[[], dict[str, Any]],
        stop: Stop,
        report: Report | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trainer, self.order, self.epochs, self.schedule = trainer, order, epochs, schedule
        self.batches, self.validate, self.keeper, self.identity = batches, validate, keeper, identity
        self.journal, self.seconds, self.extra, self.stop = journal, 60 * minutes, extra, stop
        self.report, self.clock = report, clock
        self.world = trainer.world
        self.best: Best | None = None
        self.last: dict[str, Scores] = {}
        self.spent = 0.0
        self.evaluated = 0  # the step of the last evaluation

    def run(self) -> None:
        """Train. Where it ends early, the last checkpoint is whole and :meth:`resume` goes on from it.

        Raises:
            Diverged: the loss or a weight is not a number.
            Stopped: a signal asked for it; a checkpoint has been written.
            DataError: a file cannot be written, too many images cannot be read, another process was lost.
        """
        trainer, total = self.trainer, self.epochs * self.order.steps
        batches = self.batches(trainer.step)
        self._start = self._saved = self._mark = self.clock()
        self._mark_step = trainer.step
        if self._unevaluated:
            epoch = self.order.epoch(trainer.step - 1)
            self._look(epoch, self.schedule(epoch), ends=True)
        while trainer.step < total:
            epoch = self.order.epoch(trainer.step)
            lr = self.schedule(epoch)
            trainer.advance(batches, lr)
            ends = trainer.step % self.order.steps == 0
            if self._watch(ends):
                self._look(epoch, lr, ends)

    def resume(self, state: Mapping[str, Any]) -> None:
        """Take up a checkpoint's state."""
        self.trainer.load_state_dict(state["trainer"])
        self.spent = msgspec.convert(state["seconds"], float)
        self.evaluated = msgspec.convert(state["evaluated"], int)
        if state["best"] is not None:
            self.best = Best(*msgspec.convert(state["best"], tuple[int, str, Scores]))
        self.last = msgspec.convert(state["last"], dict[str, Scores])
        if self.journal is not None:
            self.journal.rewind(self.trainer.step - self._unevaluated)

    @property
    def _unevaluated(self) -> bool:
        """Whether the run was ended between an epoch's last step and its evaluation."""
        return self.trainer.step % self.order.steps == 0 and self.evaluated < self.trainer.step

    def _watch(self, ends: bool) -> bool:
        alone = self.world.size == 1 and self.stop.code
        return bool(ends or alone or self.trainer.step % LOOK == 0)

    def _look(self, epoch: int, lr: float, ends: bool) -> None:
        trainer = self.trainer
        loss = trainer.watch.look(trainer.step, epoch, lr)
        due = self.clock() - self._saved >= self.seconds and self.world.main
        # one number, so that all processes do the same: whether to stop, and whether it is time for a checkpoint
        agreed = self.world.largest(2 * self.stop.code + due)
        code, due = agreed // 2, bool(agreed % 2)
        self._progress(epoch, loss)
        if ends:
            self._save(lr)  # an evaluation takes minutes: whoever is told to stop does not wait for it
            self._obey(code, epoch)
        if ends or trainer.step % LOG == 0:
            row = {"step": trainer.step, "epoch": epoch, "lr": lr, "loss": loss, **self._speed()}
            if ends:
                row |= self._evaluate(epoch)
            if self.journal is not None:
                self.journal.write(row)
            trainer.watch.begin()
            self._mark, self._mark_step = self.clock(), trainer.step
        if ends or due or code:
            self._save(lr)
            self._obey(code, epoch)

    def _obey(self, code: int, epoch: int) -> None:
        if code:
            raise Stopped(
                f"stopped at step {self.trainer.step:,} of {self.epochs * self.order.steps:,} (epoch {epoch}); "
                f"everything is in {self.keeper.folder.parent}: the same command with --resume goes on",
                code,
            )

    def _evaluate(self, epoch: int) -> dict[str, Any]:
        trainer = self.trainer
        self.world.share(trainer.network)
        with settled(trainer.network):
            self.last = {"raw": self.validate(trainer.forward)}
        if trainer.ema is not None:
            with trainer.ema.applied():
                self.world.share(trainer.network)
                self.last["ema"] = self.validate(trainer.forward)
        for weights, scores in self.last.items():
            if self.best is None or scores.top1 > self.best.scores.top1:
                self.best = Best(epoch, weights, scores)
                self._save_best()
        self.evaluated = trainer.step
        columns = {"raw": "val_{}", "ema": "ema_{}"}
        return {
            columns[weights].format(name): getattr(scores, name)
            for weights, scores in self.last.items()
            for name in ("loss", "top1", "top5")
        }

    def _save_best(self) -> None:
        if not self.world.main or self.best is None:
            return
        averaged = self.trainer.ema if self.best.weights == "ema" else None
        with averaged.applied() if averaged is not None else settled(self.trainer.network):
            state = {"network": self.trainer.network.state_dict(), "best": _plain(self.best)}
            save(self.keeper.best, state, kind=KIND, identity=self.identity)

    def _save(self, lr: float) -> None:
        check_weights([weight.detach() for weight in self.trainer.network.parameters()], self.trainer.step, lr)
        extra = self.extra()
        if self.world.main:
            state = {
                "trainer": self.trainer.state_dict(),
                "evaluated": self.evaluated,
                "seconds": self.spent + self.clock() - self._start,
                "best": None if self.best is None else _plain(self.best),
                "last": {name: dataclasses.asdict(scores) for name, scores in self.last.items()},
                **extra,
            }
            self.keeper.save(self.trainer.step, state, kind=KIND, identity=self.identity)
        self._saved = self.clock()

    def _speed(self) -> dict[str, float]:
        synchronise(self.world.device)
        seconds = max(self.clock() - self._mark, 1e-9)
        images = (self.trainer.step - self._mark_step) * self.order.batch
        return {"images_per_s": round(images / seconds, 3), "memory_gib": round(memory(self.world.device) / 2**30, 3)}

    def _progress(self, epoch: int, loss: float) -> None:
        if self.report is not None and self.world.main:
            detail = f"epoch {epoch}/{self.epochs}, loss {loss:.4f}, {memory(self.world.device) / 2**30:.1f} GiB"
            if self.best is not None:
                detail += f", best {self.best.scores.top1:.2f} %"
            self.report(
                self.trainer.step * self.order.batch, self.epochs * self.order.steps * self.order.batch, "", detail
            )

    @property
    def total_seconds(self) -> float:
        """Seconds of training so far, over all resumptions."""
        return self.spent + self.clock() - self._start


def _plain(best: Best) -> tuple[int, str, dict[str, Any]]:
    return best.epoch, best.weights, dataclasses.asdict(best.scores)
