"""Scoring many architectures by proxies, and the file of scores, which is written whole or not at all.

While it is made, ``.FILE.begun`` beside it holds a line an architecture; a run that was stopped goes on from there. An
architecture's scores depend on the seed and on itself, so that those of some are those of all.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nasharness import images as image_sets
from nasharness import proxies, spaces
from nasharness.errors import DataError, UsageError, unknown, where
from nasharness.images import ImageSet
from nasharness.nets.build import check_space, check_widths
from nasharness.proxies.candidate import INITS, Candidate
from nasharness.proxies.files import ENDINGS, Kept, keeping, write
from nasharness.proxies.registry import Proxy
from nasharness.runs.job import Progress
from nasharness.search.scores import read_scores
from nasharness.search.start import read_archs
from nasharness.spaces.base import Space
from nasharness.training import device as devices
from nasharness.training.batches import DeviceImages
from nasharness.version import __version__

#: Architectures and images unless asked for otherwise.
SAMPLE, BATCH = 100, 64
#: What the second word of a seed says it is for.
_ARCHS, _IMAGES = 1, 2


@dataclass(frozen=True)
class Request:
    """What is asked. ``proxies``: names. ``images``: a set of images or a path, ``data`` where its files are.

    ``archs``: a number of architectures drawn uniformly with ``seed``, ``all``, or a file with one a line. ``batch``:
    images that every network is shown, drawn from the training images with ``seed``. ``channels``, ``cells``: of
    smaller networks than the published ones. ``init``: how weights are drawn, of INITS.
    ``out``: a file that ends in .csv or .parquet; None to keep nothing.
    """

    proxies: Sequence[str]
    space: str
    images: str | Path
    data: Path | None = None
    archs: int | str | Path = SAMPLE
    batch: int = BATCH
    channels: int | None = None
    cells: int | None = None
    init: str = INITS[0]
    seed: int = 0
    device: str = "auto"
    out: Path | None = None
    resume: bool = False


@dataclass(frozen=True)
class Scored:
    """``index``: int64 ``[n]``, ascending. ``scores``: name -> float64 ``[n]``, higher is better.

    ``seconds``: that one architecture took here, by proxy; of those that were scored now. ``identity``: all that the
    scores depend on. ``source``: the files that the images are from.
    """

    space: Space
    index: NDArray[np.int64]
    scores: dict[str, NDArray[np.float64]]
    seconds: dict[str, float]
    identity: dict[str, Any]
    source: str
    out: Path | None


def score(request: Request, progress: Progress | None = None) -> Scored:
    """Score architectures and write the file. ``progress(done, total)`` counts scores.

    Raises UsageError for what cannot be asked, and for a file that is there or was begun by another request; DataError
    for images, a proxy that fails, or a device that is too small.
    """
    chosen = [proxies.get(name) for name in dict.fromkeys(request.proxies)]
    if not chosen:
        raise UsageError(f"no proxy to score by; expected some of {', '.join(proxies.names())}")
    space = spaces.get(request.space)
    check_space(space.name)
    if request.channels is not None:
        check_widths(space.name, request.channels)
    for name, value in (("--channels", request.channels), ("--depth", request.cells)):
        if value is not None and value < 1:
            raise UsageError(f"{name} {value}: expected 1 or more")
    if request.init not in INITS:
        raise unknown("initialisation", request.init, INITS)
    if request.out is not None and request.out.suffix not in ENDINGS:
        raise UsageError(f"--out {request.out}: expected a file that ends in {', '.join(ENDINGS)}")
    if request.seed < 0:
        raise UsageError(f"--seed {request.seed}: expected 0 or more")
    index = _archs(request, space)
    images = image_sets.load(request.images, request.data)
    if not 2 <= request.batch <= len(images.train_y):
        raise UsageError(f"--batch {request.batch}: expected 2 to {len(images.train_y):,}, the training images")
    device = devices.choose(request.device)
    names = [proxy.name for proxy in chosen]
    identity: dict[str, Any] = {
        "space": space.name,
        "dataset": images.name,
        "images": images.checksum,
        "batch": request.batch,
        "channels": request.channels,
        "cells": request.cells,
        "init": request.init,
        "seed": request.seed,
        "proxies": names,
        "architectures": len(index),
        "digest": hashlib.sha256(index.astype("<i8").tobytes()).hexdigest()[:16],
        "device": device.type,
        "torch": torch.__version__,
    }
    with keeping(request.out, identity, request.resume) as kept:
        if kept.complete is not None:
            _, scores, _ = read_scores(kept.complete, space.size, images.name, names)
            return Scored(space, index, scores, {}, identity, images.source, request.out)
        found, seconds = _scores(chosen, index, _first(request, space, images, device), kept, progress)
        scores = {proxy.name: found[:, column] for column, proxy in enumerate(chosen)}
        scored = Scored(space, index, scores, seconds, identity, images.source, request.out)
        if request.out is not None:
            card = identity | {"source": images.source, "nasharness": __version__}
            write(request.out, index, scores, card)
            kept.done()
    return scored


def _archs(request: Request, space: Space) -> NDArray[np.int64]:
    """Indices, ascending."""
    asked = request.archs
    if isinstance(asked, Path) or (isinstance(asked, str) and asked != "all" and not asked.isdecimal()):
        return np.sort(read_archs(Path(asked), space, "--cells")[0].astype(np.int64))
    count = space.size if asked == "all" else int(asked)
    if not 1 <= count <= space.size:
        raise UsageError(f"--cells {asked}: space {space.name} has {space.size:,} architectures; expected 1 to that")
    order = np.random.default_rng((request.seed, _ARCHS)).permutation(space.size)
    return np.sort(order[:count]).astype(np.int64)


def _first(request: Request, space: Space, images: ImageSet, device: torch.device) -> Callable[[int], Candidate]:
    """What makes a candidate of an index: all are shown the same images."""
    drawn = np.random.default_rng((request.seed, _IMAGES)).permutation(len(images.train_y))[: request.batch]
    held = DeviceImages(images.train_x[drawn], images.train_y[drawn], images.mean, images.std, device)
    batch = held.batch(torch.arange(len(held), device=device))

    def candidate(arch: int) -> Candidate:
        return Candidate(
            space=space,
            arch=arch,
            dataset=images.name,
            classes=images.classes,
            images=batch,
            labels=held.labels,
            channels=request.channels,
            cells=request.cells,
            seed=request.seed,
            init=request.init,
        )

    return candidate


def _scores(
    chosen: Sequence[Proxy],
    index: NDArray[np.int64],
    candidate: Callable[[int], Candidate],
    kept: Kept,
    progress: Progress | None,
) -> tuple[NDArray[np.float64], dict[str, float]]:
    """Scores ``[n, proxies]``, and seconds an architecture by proxy."""
    found = np.full((len(index), len(chosen)), np.nan)
    seconds = dict.fromkeys((proxy.name for proxy in chosen), 0.0)
    fresh = 0
    for row, arch in enumerate(index.tolist()):
        if arch in kept.rows:
            found[row] = kept.rows[arch]
        else:
            one = candidate(arch)
            for column, proxy in enumerate(chosen):
                began = time.perf_counter()
                found[row, column] = _score(proxy, one)
                seconds[proxy.name] += time.perf_counter() - began
            fresh += 1
            kept.add(arch, found[row].tolist())
        if progress is not None:
            progress((row + 1) * len(chosen), len(index) * len(chosen))
    return found, {name: total / fresh for name, total in seconds.items()} if fresh else {}


def _score(proxy: Proxy, candidate: Candidate) -> float:
    try:
        with devices.guarded("--batch"):
            return float(proxy.function(candidate))
    except (UsageError, DataError):
        raise
    except Exception as error:
        which = f"proxy {proxy.name!r} fails on {candidate.space.name} {candidate.arch}"
        raise DataError(f"{which}: {where(error)}") from error
