"""How well shared weights rank architectures: against the table, at the end of a run and epoch by epoch.

An under-trained supernet misleads, and nothing in its loss says so; the rank correlation over the epochs does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nasharness import spaces
from nasharness.analysis.validation.proxies import KS, Interval, Quality, quality
from nasharness.errors import DataError, UsageError
from nasharness.images import ImageSet, Split
from nasharness.images.base import MOST_CLASSES
from nasharness.runs import checkpoint
from nasharness.runs.job import Progress
from nasharness.search.problem import Problem
from nasharness.spaces.base import Floats
from nasharness.supernets import randomness as streams
from nasharness.supernets.base import Supernet
from nasharness.supernets.bias import Bias, biases
from nasharness.supernets.build import build, least_weights
from nasharness.supernets.ranking import Scores, rank
from nasharness.supernets.request import load_images
from nasharness.supernets.session import CHECKPOINT, KIND, WHAT_TO_LOWER
from nasharness.training import device as devices
from nasharness.training.batches import DeviceImages

#: scores that shared weights give, and whether small ones are good; the verdict is about the first
SCORES: Mapping[str, bool] = {"affinity": False, "accuracy": False, "loss": True}
#: Architectures, and images for each, from which the curve over the epochs is made: a tenth of the work or less.
CURVE_ARCHS, CURVE_IMAGES = 100, 250
#: Architectures and images of the ranking itself, unless asked for otherwise.
SAMPLE, IMAGES, BATCH = 500, 1_000, 500
PARTS = ("test", "validation")
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_CLASSES)]


class _Run(msgspec.Struct):
    """What must be known of the run."""

    algorithm: str
    space: str
    dataset: str
    images: str
    classes: Count
    channels: Count
    cells: Count
    epochs: int
    seed: int
    published: bool


class _Domains(msgspec.Struct, forbid_unknown_fields=True):
    target: str | None = None
    sources: list[str] | None = None
    side: int | None = None


class _Origin(msgspec.Struct, forbid_unknown_fields=True):
    """How a run was asked for its images."""

    images: str
    data: str | None = None
    validation: float | None = None
    split_file: str | None = None
    domains: _Domains | None = None


@dataclass(frozen=True)
class Weights:
    """Shared weights on disk. ``identity``: of the run they are from; ``epoch``: after which they were kept."""

    path: Path
    epoch: int
    identity: dict[str, Any]
    origin: dict[str, Any]
    state: dict[str, Tensor]

    @classmethod
    def read(cls, path: Path) -> Weights:
        """Read a checkpoint, or weights that were kept along the way. Raises DataError for any other file."""
        state = checkpoint.load(path, kind=KIND)
        identity = checkpoint.identity_of(path, kind=KIND)
        with checkpoint.fitting(path):
            run = msgspec.convert(identity, _Run)
            epoch = state["epoch"] if "epoch" in state else len(state["rows"])
            net: dict[str, Any] = msgspec.convert(state["net"], dict[str, Any])
            weights = sum(value.numel() for value in net.values())
            if run.cells > len(net) or least_weights(run.space, channels=run.channels, cells=run.cells) > weights:
                raise ValueError("too few weights for so many cells and channels")  # before a network is made
            return cls(
                path,
                msgspec.convert(epoch, Count),
                identity,
                msgspec.to_builtins(msgspec.convert(state["origin"], _Origin)),
                net,
            )

    def supernet(self, device: torch.device) -> Supernet:
        """The network with these weights. Raises DataError where they do not fit."""
        net = build(
            self.identity["space"],
            self.identity["classes"],
            channels=self.identity["channels"],
            cells=self.identity["cells"],
            generator=torch.Generator(),
        )
        net.published = self.identity["published"]
        with checkpoint.fitting(self.path):
            net.load_state_dict(self.state)
        return net.to(device)


def find(path: str | Path) -> tuple[list[Path], str]:
    """Files with the weights of one run, by ascending epoch, the last ones last; and a note, or nothing.

    ``path``: a file, the folder of a run, or one of several runs, of which the first is taken. Raises UsageError where
    there is nothing.
    """
    place = Path(path)
    if place.is_file():
        return [place], ""
    if not place.is_dir():
        raise UsageError(f"--supernet {path}: nothing there; expected a checkpoint or the folder of a run (--out DIR)")
    runs = sorted(place.glob("seed-*"), key=lambda folder: (len(folder.name), folder.name))
    runs = [folder for folder in runs if _kept(folder)]
    if not _kept(place) and runs:
        others = ", ".join(folder.name for folder in runs[1:])
        files, _ = find(runs[0])
        return files, f"{runs[0].name} of {place}; others: --supernet {place}/NAME for {others}" if others else ""
    files = _kept(place)
    if not files:
        raise UsageError(
            f"--supernet {path}: no checkpoint there; a run with --out DIR keeps one after its first epoch"
        )
    return files, ""


def _kept(folder: Path) -> list[Path]:
    along = sorted(path for path in folder.glob("epoch-*.pt") if re.fullmatch(r"epoch-\d+\.pt", path.name))
    last = folder / CHECKPOINT
    return [*along, last] if last.is_file() else along


@dataclass(frozen=True)
class Ranked:
    """Architectures ``index`` ``[n]`` and their ``scores`` by the weights after an epoch."""

    epoch: int
    index: NDArray[np.int64]
    scores: Scores

    def columns(self) -> list[Floats]:
        """The scores in the order of SCORES."""
        return [getattr(self.scores, name) for name in SCORES]


@dataclass(frozen=True)
class Point:
    """Kendall's tau of each of SCORES after an epoch, with its 95 % interval; NaN where nothing can be ranked."""

    epoch: int
    tau: dict[str, tuple[float, Interval]]


@dataclass(frozen=True)
class Report:
    """What ``assess`` found. ``truth``: the table's final metric of the architectures ranked, percent ``[n]``.

    ``bias``: what the first score of ``found`` overrates.
    """

    weights: Weights
    problem: Problem
    ranked: Ranked
    truth: Floats
    found: list[Quality]
    bias: list[Bias]
    curve: list[Point]
    curve_archs: int
    curve_images: int
    images: str
    notes: list[str]


def assess(
    supernet: str | Path,
    problem: Callable[[str, str], Problem],
    *,
    space: str | None = None,
    dataset: str | None = None,
    sample: int | None = SAMPLE,
    part: str = "test",
    count: int | None = IMAGES,
    batch: int = BATCH,
    seed: int = 0,
    device: str | None = None,
    precision: str = "auto",
    origin: Mapping[str, Any] | None = None,
    curve: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Rank architectures by shared weights and hold the ranking against the table.

    ``supernet``: a checkpoint or a run's folder. ``problem(space, dataset)`` opens the table. ``sample``: architectures
    drawn from the whole space, None for all. ``part``: the images, the run's ``test`` or ``validation``, neither of
    which trains weights; ``count`` of them, None for all, in batches of about ``batch``. ``origin``: changes how the
    images are found (``images``, ``data``, ``validation``, ``split_file``). ``curve``: whether tau is wanted for the
    weights kept along the run, on a small sample. Raises UsageError and DataError.
    """
    files, note = find(supernet)
    last = Weights.read(files[-1])
    trained = last.identity
    if space is not None and spaces.get(space).name != trained["space"]:
        raise UsageError(f"{files[-1]} is a supernet of space {trained['space']!r}, not {space!r}")
    if part not in PARTS:
        raise UsageError(f"--on {part}: expected {' or '.join(PARTS)}")
    asked = problem(trained["space"], dataset or trained["dataset"])
    truth = asked.truth()
    where = devices.choose(device)
    images, split = load_images(asked.dataset, **(last.origin | dict(origin or {})))
    if images.classes != trained["classes"]:
        raise UsageError(
            f"the images ({images.name}) have {images.classes} classes, the supernet was trained for "
            f"{trained['classes']}"
        )
    notes = [note] if note else []
    if images.checksum != trained["images"]:
        notes.append(f"the images ({images.name}) are not those the supernet was trained with ({trained['dataset']})")
    x, y = split.test if part == "test" else split.arch
    index = _sample(asked.space.size, sample, seed)
    chosen = _images(len(y), count, seed)
    held = DeviceImages(x[chosen], y[chosen], images.mean, images.std, where)
    few_archs, few_images = _sample(asked.space.size, min(CURVE_ARCHS, len(index)), seed), chosen[:CURVE_IMAGES]
    little = DeviceImages(x[few_images], y[few_images], images.mean, images.std, where)

    def ranked(weights: Weights, archs: NDArray[np.int64], on: DeviceImages, label: str) -> Ranked:
        steps = -(-len(on) // batch)
        even = -(-len(on) // steps)  # no small batch at the end: cells are normalised by the statistics of their batch
        with devices.guarded(WHAT_TO_LOWER), devices.autocast(where, precision):
            batches = on.batches(even, shuffle=False, augment=False)
            return Ranked(weights.epoch, archs, rank(weights.supernet(where), archs, batches, progress, steps, label))

    points = []
    if curve and len(files) > 1:
        few = truth.values[few_archs]
        for weights in _each_epoch(files, last):
            one = ranked(weights, few_archs, little, f"epoch {weights.epoch}")
            points.append(Point(weights.epoch, {name: _tau(one, name, few, seed) for name in SCORES}))
    best = ranked(last, index, held, f"epoch {last.epoch}")
    known = truth.values[index]
    found, failed = [], []
    for name in SCORES:
        try:
            found.append(_quality(best, name, known, seed, ks=[k for k in KS if k <= len(index)]))
        except DataError as error:
            failed.append(error)
    if not found:
        raise failed[0]
    first = found[0].name
    sign = -1 if SCORES[first] else 1
    return Report(
        weights=last,
        problem=asked,
        ranked=best,
        truth=known,
        found=found,
        bias=biases(asked.space, index, sign * getattr(best.scores, first), asked.truth().sign * known, seed),
        curve=points,
        curve_archs=len(few_archs),
        curve_images=len(little),
        images=f"{len(chosen):,} {part} images of {images.name}, which train no weights ({_origin_of(images, split)})",
        notes=notes + [str(error) for error in failed],
    )


def _tau(ranked: Ranked, name: str, truth: Floats, seed: int) -> tuple[float, Interval]:
    """Kendall's tau of one score with its interval; NaN where there is nothing to rank."""
    try:
        return _quality(ranked, name, truth, seed, ks=[1], top=()).tau["all"]
    except DataError:
        return math.nan, (math.nan, math.nan)


def _quality(ranked: Ranked, name: str, truth: Floats, seed: int, **options: Any) -> Quality:
    return quality(name, getattr(ranked.scores, name), truth, lower_is_better=SCORES[name], seed=seed, **options)


def _each_epoch(files: list[Path], last: Weights) -> Iterator[Weights]:
    """The weights kept along the run and the last ones, each epoch once."""
    for path in files[:-1]:
        weights = Weights.read(path)
        if weights.identity != last.identity:
            raise DataError(f"{path} is of another run than {last.path}; move it away")
        if weights.epoch < last.epoch:
            yield weights
    yield last


def _sample(size: int, count: int | None, seed: int) -> NDArray[np.int64]:
    """Architectures, each once, in random order; all in theirs."""
    if count is None or count == size:
        return np.arange(size)
    if not 3 <= count <= size:
        raise UsageError(f"--sample {count}: expected 3 to {size:,} architectures")
    return streams.numpy_stream(seed, streams.BEFORE, streams.SCORES).permutation(size)[:count].astype(np.int64)


def _images(there: int, count: int | None, seed: int) -> NDArray[np.intp]:
    if there == 0:
        raise UsageError("the run set no such images aside; choose the other part with --on")
    if count is not None and count < 1:
        raise UsageError(f"--score-images {count}: expected at least 1")
    order = streams.numpy_stream(seed, streams.BEFORE, streams.SPLIT).permutation(there)
    return order[:count]


def _origin_of(images: ImageSet, split: Split) -> str:
    return f"{images.source}; {split.note}"
