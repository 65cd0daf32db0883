"""``nasharness train``: one architecture from scratch, with checkpoints, log and record, and the table's number beside.

``result.json`` holds what a row of a new table needs: architecture, what it was trained on, schedule, seed, accuracies
after every epoch, seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nasharness import images as image_sets
from nasharness import storage
from nasharness.errors import UsageError
from nasharness.images import ImageSet, Split
from nasharness.nets.build import CELLS, CHANNELS
from nasharness.runs.log import Log
from nasharness.runs.signals import Stop, Stopped
from nasharness.tables.card import card
from nasharness.training import device as devices
from nasharness.training.checkpoint import Keeper, fitting
from nasharness.training.nats import Epoch, NatsRecipe, Training
from nasharness.training.record import write_json
from nasharness.version import __version__

KIND = "train"
FORMAT = 1
CHECKPOINTS = 2


@dataclass(frozen=True)
class TrainRequest:
    """One training as asked for.

    ``images``: a name or a path, ``data`` where its files are. ``split``: None for the whole training set, and for
    CIFAR-100 and ImageNet16-120 as published the test set in halves; else as in ``nasharness.images.split``, seeded
    with ``split_seed`` and not with ``seed``, so that runs of several seeds share their images. ``out``: the folder of
    the run, None to keep nothing.
    """

    space: str
    arch: str | int
    images: str | Path
    recipe: NatsRecipe
    data: Path | None = None
    split: str | None = None
    split_file: Path | None = None
    split_seed: int = 0
    validation: float = 0.2
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    out: Path | None = None
    resume: bool = False


@dataclass(frozen=True)
class Watcher:
    """Whoever wants to know how far the run is: after some steps (done, of how many, mean loss), after every epoch."""

    begin: Callable[[Training, ImageSet, Split], None]
    step: Callable[[int, int, float], None]
    epoch: Callable[[Epoch], None]


def train(request: TrainRequest, watcher: Watcher | None = None) -> dict[str, Any]:
    """Train and return the record, which ``result.json`` in ``request.out`` holds as well.

    Raises UsageError for what cannot be asked, for a folder that holds another run and for a checkpoint of another
    architecture; DataError for images, files or memory; Diverged for a loss that is no number; Stopped on a signal.
    """
    if request.resume and request.out is None:
        raise UsageError("--resume goes on with the run in --out; give --out DIR")
    device = devices.choose(request.device)
    images = image_sets.load(request.images, request.data)
    split = _split(request, images)
    training = Training(
        request.space,
        request.arch,
        images,
        split,
        request.recipe,
        seed=request.seed,
        device=device,
        precision=request.precision,
    )
    with storage.claimed(request.out, "a training"):
        return _trained(request, training, images, split, watcher)


def _trained(
    request: TrainRequest, training: Training, images: ImageSet, split: Split, watcher: Watcher | None
) -> dict[str, Any]:
    out = request.out
    keeper = None if out is None else Keeper(out / "checkpoints", CHECKPOINTS)
    if keeper is not None and out is not None:
        _take_up(training, keeper, out, request.resume)
    if watcher is not None:
        watcher.begin(training, images, split)
    journal = None if out is None else Log(out, key="epoch")
    try:
        if journal is not None:
            journal.rewind(training.done)
        with Stop() as stop:
            _loop(training, keeper, journal, stop, watcher)
    finally:
        if journal is not None:
            journal.close()
    made = record(training, images, split)
    if out is not None:
        write_json(out / "result.json", made)
    return made


def _loop(training: Training, keeper: Keeper | None, journal: Log | None, stop: Stop, watcher: Watcher | None) -> None:
    def after_step(step: int, loss: float) -> None:
        if stop.code:
            raise Stopped(f"stopped in epoch {training.done + 1}{_kept(training, keeper)}", stop.code)
        if watcher is not None:
            watcher.step(training.done * training.steps + step, training.recipe.epochs * training.steps, loss)

    for row in training.epochs(after_step):
        if journal is not None:
            journal.write(asdict(row))
        if keeper is not None:
            keeper.save(training.done, training.state(), kind=KIND, identity=training.identity)
        if watcher is not None:
            watcher.epoch(row)


def _take_up(training: Training, keeper: Keeper, out: Path, resume: bool) -> None:
    """Go on from the last checkpoint where that is asked for; refuse to write over one where it is not."""
    if not resume:
        if keeper.steps() or (out / "result.json").exists():
            raise UsageError(f"--out {out} holds a run: add --resume to go on with it, or choose another folder")
        return
    keeper.sweep()
    found = keeper.last(kind=KIND, identity=training.identity)
    if found is not None:
        with fitting(found[0]):
            training.load_state(found[1])


def _kept(training: Training, keeper: Keeper | None) -> str:
    if keeper is None:
        return "; nothing was kept (--out DIR keeps a checkpoint an epoch)"
    if not training.done:
        return "; no epoch was complete, so nothing is kept"
    return f"; epoch {training.done} is kept in {keeper.folder}, and the same command with --resume goes on from it"


def _split(request: TrainRequest, images: ImageSet) -> Split:
    scheme = request.split
    if scheme is None:
        scheme = "test-halves" if images.published and images.name in ("cifar100", "ImageNet16-120") else "full"
    return image_sets.split(
        images, scheme=scheme, seed=request.split_seed, fraction=request.validation, file=request.split_file
    )


# ---- what it came to


def record(training: Training, images: ImageSet, split: Split) -> dict[str, Any]:
    """Everything worth keeping of a finished run, as plain values."""
    rows, recipe = training.rows, training.recipe
    columns: dict[str, list[Any]] = {
        name: [_finite(getattr(row, name)) for row in rows]
        for name in ("train_loss", "train_acc", "val_loss", "val_acc", "test_loss", "test_acc", "train_s")
    }
    if not len(split.arch[1]):
        del columns["val_loss"], columns["val_acc"]
    table = beside(training, images, split)
    return {
        "format": FORMAT,
        "kind": "trained",
        "space": training.space.name,
        "index": training.arch,
        "arch": training.space.string(training.arch),
        "dataset": trained_on(images, split),
        "schedule": recipe.epochs,
        "seed": training.seed,
        "epochs": columns,
        "train_s": float(np.mean(columns["train_s"])),
        "val_acc": rows[-1].val_acc,
        "test_acc": rows[-1].test_acc,
        "params": training.params,
        "macs": training.macs,
        "recipe": asdict(recipe) | {"cells": training.cells},
        "images": {
            "name": images.name,
            "source": images.source,
            "checksum": images.checksum,
            "published": images.published,
            "train": len(split.weights[1]),
            "val": len(split.arch[1]),
            "test": len(split.test[1]),
            "split": split.note,
        },
        "table": table,
        "device": torch.cuda.get_device_name(training.device) if training.device.type == "cuda" else "cpu",
        "precision": training.identity["precision"],
        "nasharness": __version__,
        "torch": torch.__version__,
    }


def trained_on(images: ImageSet, split: Split) -> str:
    """What the network was trained on, in NATS-Bench's words: half of CIFAR-10's training set is ``cifar10-valid``."""
    if images.name == "cifar10" and split.scheme == "halves":
        return "cifar10-valid"
    return images.name if split.scheme in ("full", "test-halves") else f"{images.name} ({split.scheme})"


def beside(training: Training, images: ImageSet, split: Split) -> dict[str, Any]:
    """What the tables here say of this architecture on this data set.

    ``rows``: table, metric, schedule and mean over seeds in percent; those of the same number of epochs where there are
    any, else of all. ``same``: whether they are. ``notes``: what makes them another measurement than this run's.
    """
    known = card(training.space.name, training.arch)
    dataset = trained_on(images, split)
    rows = [
        {
            "table": row["table"],
            "metric": row["metric"],
            "schedule": row["schedule"],
            "percent": _mean(row["values"]),
        }
        for row in known["measurements"]
        if row["dataset"] == dataset and row["metric"] in ("val_acc", "test_acc") and row["schedule"]
    ]
    same = [row for row in rows if row["schedule"] == training.recipe.epochs]
    notes = []
    if rows and not images.published:
        notes.append("the images are not the published ones")
    if rows and not same:
        notes.append(f"no table here has a run of {training.recipe.epochs} epochs")
    if rows and (training.recipe.channels != CHANNELS or training.cells != CELLS[training.space.name]):
        notes.append("the network is smaller or larger than the table's")
    if rows and (training.recipe.batch != NatsRecipe(1).batch or training.recipe.lr != NatsRecipe(1).lr):
        notes.append("batch or learning rate are not the table's")
    if not rows:
        notes.append(f"no table here has {dataset}")
    return {"rows": same or rows, "same": bool(same), "notes": notes}


def _finite(value: float | None) -> float | None:
    """A loss as JSON knows it: running statistics of a run that is going wrong can make one infinite."""
    return value if value is not None and math.isfinite(value) else None


def _mean(values: Mapping[str, float]) -> float:
    known = [values["mean"]] if "mean" in values else list(values.values())
    return math.fsum(known) / len(known)


def render(made: Mapping[str, Any]) -> str:
    """The record as text for a person."""
    images, table = made["images"], made["table"]
    accuracies = [f"test {made['test_acc']:.2f} %"]
    if made["val_acc"] is not None:
        accuracies.insert(0, f"validation {made['val_acc']:.2f} %")
    lines = [
        f"trained    {made['arch']}",
        f"           {made['dataset']}, {made['schedule']} epochs, seed {made['seed']}: {', '.join(accuracies)}; "
        f"{made['train_s']:.1f} s an epoch",
        f"images     {images['source']}",
    ]
    for row in table["rows"]:
        split = {"val_acc": "validation", "test_acc": "test"}[row["metric"]]
        lines.append(
            f"table      {row['table']}: {split} {row['percent']:.2f} % after {row['schedule']} epochs (mean of seeds)"
        )
    if table["notes"]:
        lines.append(f"           {'; '.join(table['notes'])}" + (": compare with care" if table["rows"] else ""))
    return "\n".join(lines)
