"""``nasharness train``: one architecture from scratch, with checkpoints, log and record, and the table's number beside.

``result.json`` holds what a row of a new table needs: architecture, what it was trained on, schedule, seed, accuracies
after every epoch, seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nasharness import images as image_sets
from nasharness.errors import UsageError
from nasharness.images import ImageSet, Split
from nasharness.nets.build import CELLS, CHANNELS
from nasharness.runs.checkpoint import Keeper
from nasharness.runs.driver import Driver
from nasharness.runs.job import Progress
from nasharness.runs.signals import Stop
from nasharness.tables.card import card
from nasharness.training import device as devices
from nasharness.training.nats import NatsRecipe, Training
from nasharness.training.record import device_name
from nasharness.version import __version__

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
    compile: bool = False
    out: Path | None = None
    resume: bool = False


def train(request: TrainRequest, progress: Progress | None = None) -> dict[str, Any]:
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
        compile=request.compile,
    )
    with Stop() as stop:
        return Driver(
            training,
            request.out,
            None if request.out is None else Keeper(request.out / "checkpoints", CHECKPOINTS),
            request.resume,
            record=("result.json", lambda: record(training, images, split)),
            stop=stop,
            progress=progress,
        ).complete()


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
        "device": device_name(training.device),
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
