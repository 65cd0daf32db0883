"""Full training of a winner on images: from options to a trained network and its record, ``retrained.json``."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from nasharness.errors import DataError, UsageError
from nasharness.extras import pip_install
from nasharness.nets import imagenet
from nasharness.nets.counts import macs, params
from nasharness.runs.checkpoint import Keeper
from nasharness.runs.driver import Driver
from nasharness.runs.job import Progress
from nasharness.runs.signals import Stop
from nasharness.training import optimisers, schedules
from nasharness.training.device import dtype_of, guarded
from nasharness.training.distributed import World, join, peers
from nasharness.training.imagenet import decode, recipes, sources
from nasharness.training.imagenet.augment import Augmenter
from nasharness.training.imagenet.ema import MovingAverage
from nasharness.training.imagenet.loader import (
    BadImages,
    Images,
    Order,
    Raw,
    Steps,
    training_batches,
    validation_batches,
)
from nasharness.training.imagenet.loop import Loop
from nasharness.training.imagenet.step import Batch, Trainer
from nasharness.training.options import Options
from nasharness.training.record import FORMAT, common
from nasharness.version import __version__

DEFAULT_RECIPE = "shrinkcnn"


def retrain_images(options: Options, progress: Progress | None = None) -> dict[str, Any]:
    """Train a network in full on ``options.data`` and return the record that ``retrained.json`` holds.

    Under ``torchrun`` every process calls it; the first one writes. The folder ``options.out`` gets ``run.json`` (what
    was asked for), ``checkpoints/``, ``log.jsonl``, ``log.csv``, ``bad_images.txt`` where there are some, and in
    the end ``retrained.json``.

    Raises:
        UsageError: a name, a number or a combination is wrong; the folder holds another run.
        DataError: data are absent or damaged, the device is too small, a file cannot be written, a process was lost.
        Diverged: the loss is not a number any more.
        Stopped: a signal ended the run; the same options with ``resume`` go on.
    """
    if importlib.util.find_spec("PIL") is None:
        raise UsageError(f"reading images needs Pillow: {pip_install('train')}")
    recipe = recipes.get(options.recipe or DEFAULT_RECIPE)
    recipe = recipes.changed(
        recipe, ema=options.ema, mixup=options.mixup, cutmix=options.cutmix, erase=options.erase,
        rand_augment=options.rand_augment, lr=options.lr,
    )  # fmt: skip
    if options.extra:
        raise UsageError(f"--set {next(iter(options.extra))}: training on images has no such setting")
    with (
        join(options.device, timeout_seconds=options.timeout) as world,
        peers(world),
        Stop() as stop,
    ):
        return _Run(options, recipe, world).run(stop, progress)


class _Run:
    def __init__(self, options: Options, recipe: recipes.ImageRecipe, world: World) -> None:
        self.options, self.recipe, self.world = options, recipe, world
        self.train = sources.open_split(options.data, "train")
        self.val = sources.open_split(options.data, "val", self.train.classes)
        self.classes, self.shift = _classes(options, len(self.train.classes))
        self.epochs, self.batch = options.epochs or recipe.epochs, options.batch or recipe.batch
        share, local = -(-self.batch // world.size), options.batch_norm == "local"
        self.accumulate = options.accumulate or (recipe.parts_for(share) if local else 1)
        #: images that batch norm's statistics are of
        self.norm_images = self.batch // self.accumulate // (world.size if local else 1)
        self.order = Order(len(self.train), self.batch, options.seed)
        self.keeper = Keeper(options.out / "checkpoints", options.keep)
        listing = options.out / "bad_images.txt" if world.main else None
        self.bad = BadImages(options.bad_images, options.bad_limit, listing)
        self.pin = world.device.type == "cuda"
        # everything in float64: slow, and the way to see that two runs differ by rounding alone
        self.double = options.precision == "fp64"
        self.precision = "fp32" if self.double else options.precision
        self.dtype = dtype_of(world.device, self.precision, scaled=True)

    def run(self, stop: Stop, progress: Progress | None) -> dict[str, Any]:
        options, world = self.options, self.world
        self._steps(0)  # a batch that cannot be shared is refused before anything is written
        network = imagenet.build(
            options.network, self.classes, size=options.size, generator=torch.Generator().manual_seed(options.seed)
        )
        self.counts = {"params": params(network), "macs": macs(network, (1, 3, options.size, options.size))}
        with guarded("--batch, or raise --accumulate"):
            network.to(world.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            loop = self._loop(self._trainer(network.double() if self.double else network))
            driver = Driver(
                loop, options.out, self.keeper, options.resume, key="step", plan=("run.json", self._plan),
                record=("retrained.json", lambda: self._record(loop)), minutes=options.checkpoint_minutes,
                boards=options.track, stop=stop, progress=progress,
            )  # fmt: skip
            try:
                return driver.complete()
            except RuntimeError as error:
                if "DataLoader worker" in str(error):
                    raise DataError(
                        f"a process that decodes images died ({str(error).splitlines()[0]}); out of memory? "
                        "lower --workers, then go on with --resume"
                    ) from error
                raise

    # ---- what is trained

    def _trainer(self, network: nn.Module) -> Trainer:
        options, recipe = self.options, self.recipe
        if self.world.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # one shape of batch: the fastest kernels are found once
        optimiser = optimisers.make(
            recipe.optimiser, network, recipe.lr_for(self.batch), momentum=recipe.momentum,
            weight_decay=recipe.weight_decay, decay_on=recipe.decay_on, eps=recipe.eps,
        )  # fmt: skip
        ema = MovingAverage(network, recipe.ema, unit=recipe.ema_unit) if recipe.ema else None
        return Trainer(
            network, optimiser, self.world, classes=self.classes, smoothing=recipe.smoothing, clip=recipe.clip,
            mixup=recipe.mixup, cutmix=recipe.cutmix, ema=ema, accumulate=self.accumulate, precision=self.precision,
            compile=options.compile, batch_norm=options.batch_norm, seed=options.seed,
        )  # fmt: skip

    def _loop(self, trainer: Trainer) -> Loop:
        recipe = self.recipe
        schedule = schedules.make(
            recipe.schedule, recipe.lr_for(self.batch), self.epochs, warmup=recipe.warmup_for(self.epochs)
        )
        return Loop(
            trainer, order=self.order, epochs=self.epochs, schedule=schedule, batches=self._batches,
            validation=self._validation, keeper=self.keeper, identity=self._identity(), bad=self.bad,
            stop_after=self.options.stop_after,
        )  # fmt: skip

    # ---- batches

    def _steps(self, first: int) -> Steps:
        return Steps(
            self.order, first, self.epochs * self.order.steps, rank=self.world.rank, size=self.world.size,
            accumulate=self.accumulate,
        )  # fmt: skip

    def _images(self, source: sources.ImageSource, *, training: bool) -> Images:
        options = self.options
        return Images(
            source, self.recipe, size=options.size, seed=options.seed, training=training, shift=self.shift
        )  # fmt: skip

    def _batches(self, first: int) -> Iterator[Batch]:
        images = self._images(self.train, training=True)
        raw = training_batches(images, self._steps(first), workers=self.options.workers, pin=self.pin)
        return self._on_device(raw, self._augmenter(training=True))

    def _validation(self) -> Iterator[Batch]:
        images = self._images(self.val, training=False)
        batch = min(max(1, self.batch // self.world.size // self.accumulate), max(1, len(self.val)))
        raw = validation_batches(
            images, batch=batch, rank=self.world.rank, size=self.world.size, workers=self.options.workers, pin=self.pin
        )
        return self._on_device(raw, self._augmenter(training=False))

    def _augmenter(self, *, training: bool) -> Augmenter:
        recipe, options = self.recipe, self.options
        return Augmenter(
            recipe.augment if training else None, recipe.mean, recipe.std, size=options.size, seed=options.seed,
            device=self.world.device,
        )  # fmt: skip

    def _on_device(self, batches: Iterator[Raw], augmenter: Augmenter) -> Iterator[Batch]:
        device = self.world.device
        for raw in batches:
            self.bad.add(raw.bad)
            pixels = raw.pixels.to(device, non_blocking=True)
            labels, weights = raw.labels.to(device, non_blocking=True), raw.weights.to(device, non_blocking=True)
            inputs = augmenter(pixels, raw.numbers)
            yield Batch(inputs.double() if self.double else inputs, labels, weights)

    # ---- files

    def _identity(self) -> dict[str, Any]:
        """Return what must be equal for a checkpoint to be of use: not the device, the workers or the processes."""
        options = self.options
        network = options.network if isinstance(options.network, str) else dict(options.network)
        if isinstance(network, dict):
            network = {key: network[key] for key in ("space", "winner") if key in network}
        return {
            "network": network,
            "classes": self.classes,
            "size": options.size,
            "recipe": {key: value for key, value in dataclasses.asdict(self.recipe).items() if key != "source"},
            "epochs": self.epochs,
            "batch": self.batch,
            "norm_images": self.norm_images,
            "precision": "float64" if self.double else str(self.dtype).removeprefix("torch."),
            "seed": options.seed,
            "images": {"train": self.train.checksum, "val": self.val.checksum},
        }

    def _plan(self) -> dict[str, Any]:
        """What was asked for, as ``run.json`` holds it."""
        options = self.options
        network = options.network if isinstance(options.network, str) else dict(options.network)
        return {
            "format": FORMAT,
            "task": options.task,
            "network": network,
            "classes": self.classes,
            "class_names": ["background"] * self.shift + list(self.train.classes),
            "size": options.size,
            "recipe": dataclasses.asdict(self.recipe),
            "epochs": self.epochs,
            "batch": self.batch,
            "norm_images": self.norm_images,
            "data": str(options.data),
            "decoder": decode.decoder(),
            "nasharness": __version__,
            "torch": torch.__version__,
        }

    def _record(self, loop: Loop) -> dict[str, Any]:
        options, best = self.options, loop.best
        if best is None:
            raise DataError(f"{options.out}: the run has ended without an evaluation")
        weights = "ema" if "ema" in loop.last else "raw"
        return common(options, self.world, loop.total_seconds) | {
            "recipe": self.recipe.name,
            "epochs": self.order.epoch(loop.trainer.step - 1),
            "batch": self.batch,
            "size": options.size,
            "classes": self.classes,
            **self.counts,
            "images": {"train": len(self.train), "val": loop.last["raw"].images, "unreadable": len(self.bad.found)},
            "headline": {"weights": weights, **dataclasses.asdict(loop.last[weights])},
            "last": {name: dataclasses.asdict(scores) for name, scores in loop.last.items()},
            "best": {"epoch": best.epoch, "weights": best.weights, **dataclasses.asdict(best.scores)},
        }


def _classes(options: Options, found: int) -> tuple[int, int]:
    """Return the network's outputs and what is added to a label."""
    if options.classes is None or options.classes == found:
        return found, 0
    if options.classes == found + 1:
        return options.classes, 1
    raise UsageError(
        f"--classes {options.classes}, but {options.data} has {found} classes: leave --classes out, or give {found} "
        f"({found + 1}: with class 0 for background)"
    )
