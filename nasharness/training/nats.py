"""Training one architecture as NATS-Bench trained all of them, epoch by epoch.

docs/reproduction/nats-bench.md#splits-and-recipe:

SGD with Nesterov momentum 0.9, learning rate 0.1 to 0 along a cosine that is set once an epoch, weight decay 5e-4 on
every weight, batch 256 (the last one of an epoch is what is left), cross-entropy; flip and crop; evaluation of plain
images with running statistics. An epoch's order and augmentation are a function of (seed, epoch): weights and optimiser
are all that a resumed run needs.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nasharness import spaces
from nasharness.errors import UsageError, whole
from nasharness.images import ImageSet, Split
from nasharness.nets.build import CELLS, CHANNELS, MOST, check_space, network
from nasharness.nets.counts import macs, params
from nasharness.runs import checkpoint
from nasharness.runs.job import Mark
from nasharness.training import device as devices
from nasharness.training import optimisers, schedules
from nasharness.training.batches import DeviceImages
from nasharness.training.distributed import World
from nasharness.training.evaluate import evaluate
from nasharness.training.watch import LossWatch, check_weights

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
#: on a GPU, steps between looks at the loss: each one waits for the device
LOOK = 10
EVALUATION_BATCH = 512
WHAT_TO_LOWER = "--batch"


@dataclass(frozen=True)
class NatsRecipe:
    """What may be chosen; the defaults are NATS-Bench's. ``channels``, ``cells``: of a network that is made smaller."""

    epochs: int
    batch: int = 256
    lr: float = 0.1
    channels: int = CHANNELS
    cells: int | None = None


@dataclass(frozen=True)
class Epoch:
    """What one epoch left. Losses in nats, accuracies in percent; ``seconds`` of training and of evaluating.

    ``train_loss``, ``train_acc``: over the epoch's own batches, as the weights were then. ``val_acc``: on the images
    that judge architectures, None where the split has none.
    """

    epoch: int
    lr: float
    train_loss: float
    train_acc: float
    val_loss: float | None
    val_acc: float | None
    test_loss: float
    test_acc: float
    train_s: float
    evaluation_s: float

    def __str__(self) -> str:
        val = "" if self.val_acc is None else f"validation {self.val_acc:6.2f} %  "
        return (
            f"epoch {self.epoch:4}  lr {self.lr:.4f}  loss {self.train_loss:.4f}  train {self.train_acc:6.2f} %  {val}"
            f"test {self.test_acc:6.2f} %  {self.train_s:.1f} s"
        )


class Training:
    """Network, optimiser and images, as a job that a driver can run; ``epochs()`` trains what is left.

    Raises UsageError for an architecture that does not exist and a recipe that cannot be, DataError where a GPU is too
    small for the images.
    """

    kind = "train"

    def __init__(
        self,
        space: str,
        arch: int | str,
        images: ImageSet,
        split: Split,
        recipe: NatsRecipe,
        *,
        seed: int = 0,
        device: torch.device,
        precision: str = "auto",
        compile: bool = False,  # noqa: A002 - torch's word for it
    ) -> None:
        chosen = spaces.get(space)
        check_space(space)
        self.arch = chosen.parse(arch)
        self.space, self.recipe, self.seed, self.device, self.precision = chosen, recipe, seed, device, precision
        whole("--batch", recipe.batch, 1)
        for name, most in MOST.items():
            if getattr(recipe, name) is not None:
                whole(f"--{name}", getattr(recipe, name), 1, most)
        if seed < 0:
            raise UsageError(f"--seed {seed}: expected 0 or more")
        self.rate = schedules.cosine(recipe.lr, recipe.epochs)
        self.cells = recipe.cells if recipe.cells is not None else CELLS[space]
        weights = _stream(seed, 0, "cpu")  # drawn on the CPU: the same network on every device
        with devices.guarded("--channels or --cells"):
            net: nn.Module = network(
                space, self.arch, images.classes, channels=recipe.channels, cells=self.cells, generator=weights
            )
        self.identity = {
            "space": space,
            "arch": self.arch,
            "classes": images.classes,
            "images": images.checksum,
            "split": f"{split.note} ({_crc(split.weights)}, {_crc(split.arch)})",
            **asdict(recipe),
            "cells": self.cells,
            "seed": seed,
            "precision": str(devices.dtype_of(device, precision)).removeprefix("torch."),
        }
        self.params, self.macs = params(net), macs(net, (1, 3, images.side, images.side))
        self.about = (
            f"images     {images.source}\nsplit      {split.note}\n"
            f"network    {space} {self.arch}: {self.params:,} parameters, {self.macs:,} MACs; {device}, "
            f"{self.identity['precision']}"
        )
        with devices.guarded("the number of images, or use --device cpu"):
            self.net = net.to(device)
            # what is compiled shares the weights; evaluation, in another mode, is not worth compiling for
            self.forward: nn.Module = torch.compile(self.net) if compile else self.net  # type: ignore[assignment]
            self._train, self._val, self._test = (
                DeviceImages(x, y, images.mean, images.std, device, flip=images.mirrored) if len(y) else None
                for x, y in (split.weights, split.arch, split.test)
            )
        self.optimiser = optimisers.make(
            "nesterov", self.net, recipe.lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, decay_on="all"
        )
        self.world = World(0, 1, device)
        self.watch = LossWatch(self.world, images.classes)
        self.rows: list[Epoch] = []
        if device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # one size of batch: the fastest kernels are found once

    @property
    def done(self) -> int:
        """Epochs that are complete."""
        return len(self.rows)

    @property
    def logged(self) -> int:
        """As `nasharness.runs.job.Job` asks: rows are counted by epoch."""
        return self.done

    @property
    def _steps(self) -> int:
        """Steps of an epoch."""
        return self._part(self._train).steps(self.recipe.batch)

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on, after a whole epoch."""
        return {
            "network": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "rows": [asdict(row) for row in self.rows],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state()``. Raises ValueError and its like for a state that does not fit."""
        checkpoint.same_form(state, self.state())
        self.net.load_state_dict(state["network"])
        checkpoint.load_optimiser(self.optimiser, state["optimiser"])
        self.rows = msgspec.convert(state["rows"], list[Epoch])

    def epochs(self) -> Iterator[Epoch]:
        """Train the epochs that are left; yield after each."""
        return (mark.result for mark in self.steps() if mark.result is not None)

    def steps(self) -> Generator[Mark, None, None]:
        """Train the epochs that are left; yield every few steps, and after each epoch, when its state may be kept.

        Raises Diverged when the loss is no number any more, naming step and learning rate; DataError when a GPU's
        memory is too small.
        """
        yield Mark(line=self.about, where="before the first epoch")
        while self.done < self.recipe.epochs:
            with devices.guarded(WHAT_TO_LOWER):
                row = yield from self._epoch(self.done + 1)
            self.rows.append(row)
            yield Mark(*self._progress(0), line=str(row), where=f"after epoch {row.epoch}", row=asdict(row),
                       step=row.epoch, due=True, result=row)  # fmt: skip

    def _progress(self, step: int) -> tuple[int, int]:
        return self.done * self._steps + step, self.recipe.epochs * self._steps

    def _epoch(self, epoch: int) -> Generator[Mark, None, Epoch]:
        lr = self.rate(epoch)
        optimisers.set_lr(self.optimiser, lr)
        images, steps = self._part(self._train), self._steps
        first = (epoch - 1) * steps  # steps are counted over the whole run
        losses = torch.zeros((), device=self.device)
        right = torch.zeros((), dtype=torch.int64, device=self.device)
        look = 1 if self.device.type == "cpu" else LOOK
        self.net.train()
        self.watch.begin()
        began = time.perf_counter()
        generator = _stream(self.seed, epoch, self.device)
        for step, (x, y) in enumerate(images.batches(self.recipe.batch, generator), start=1):
            loss, correct = self._step(x, y)
            losses += loss * len(y)
            right += correct
            self.watch.add(loss)
            if step % look == 0 or step == steps:
                mean = self.watch.look(first + step, epoch, lr)
                yield Mark(*self._progress(step), detail=f"loss {mean:.4f}", where=f"in epoch {epoch}")
        check_weights([weight.detach() for weight in self.net.parameters()], first + steps, lr)
        devices.synchronise(self.device)
        trained = time.perf_counter()
        val_loss, val_acc = self._evaluate(self._val) if self._val is not None else (None, None)
        test_loss, test_acc = self._evaluate(self._part(self._test))
        return Epoch(
            epoch=epoch,
            lr=lr,
            train_loss=float(losses) / len(images),
            train_acc=100 * int(right) / len(images),
            val_loss=val_loss,
            val_acc=val_acc,
            test_loss=test_loss,
            test_acc=test_acc,
            train_s=trained - began,
            evaluation_s=time.perf_counter() - trained,
        )

    def _step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """One step; return the mean loss and the number of images that were classified rightly."""
        with devices.autocast(self.device, self.precision):
            logits = self.forward(x)
        loss = functional.cross_entropy(logits.float(), y)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return loss.detach(), (logits.detach().argmax(1) == y).sum()

    def _evaluate(self, images: DeviceImages) -> tuple[float, float]:
        batches = images.batches(EVALUATION_BATCH, shuffle=False, augment=False)
        scores = evaluate(
            self.net, ((x, y, torch.ones_like(y)) for x, y in batches), self.world, precision=self.precision
        )
        return scores.loss, scores.top1

    @staticmethod
    def _part(images: DeviceImages | None) -> DeviceImages:
        if images is None:
            raise UsageError("the split leaves no images to train on, or none to test on")
        return images


def _stream(seed: int, epoch: int, device: torch.device | str) -> torch.Generator:
    """The random stream of an epoch, counted from 1; 0: of the weights."""
    words = np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)
    return torch.Generator(device=device).manual_seed(int(words[0] >> 1))


def _crc(part: tuple[Any, Any]) -> str:
    return f"{zlib.crc32(np.ascontiguousarray(part[0]).data if len(part[0]) else b''):08x}"
