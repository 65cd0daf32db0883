"""Which images train weights, which judge architectures, which test.

The roles are NATS-Bench's (docs/reproduction/nats-bench.md#splits-and-recipe).

``halves``: the training images in two halves (CIFAR-10, 25,000 each). ``test-halves``: all training images, and the
test images in two halves, x-valid and x-test (CIFAR-100, ImageNet16-120). ``validation``: a share of the training
images judges. ``full``: all training images train, none judge. ``auto``: what NATS-Bench does with a published set,
else ``validation``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError, NasharnessError, UsageError, unknown
from nasharness.images.base import ImageSet, Labels, Pixels
from nasharness.images.stratified import stratified
from nasharness.storage.sealed import read_text

SCHEMES = ("auto", "halves", "test-halves", "validation", "full")
#: keys of the published split files (AutoDL-Projects, configs/nas-benchmark)
KEYS = {"halves": ("train", "valid"), "test-halves": ("xtest", "xvalid")}
FILES = {
    ("cifar10", "halves"): "cifar-split.txt",
    ("cifar100", "test-halves"): "cifar100-test-split.txt",
    ("ImageNet16-120", "test-halves"): "imagenet-16-120-test-split.txt",
}


@dataclass(frozen=True)
class Domains:
    """Which domains a split trains on and which it holds out.

    ``sources``: their names. ``weights``, ``arch``: int64 ``[n]``, places in ``sources``, of the images that train
    weights and that judge.
    """

    sources: tuple[str, ...]
    target: str
    weights: Labels
    arch: Labels


@dataclass(frozen=True)
class Split:
    """Three parts that do not overlap, each ``(uint8 [n, 3, side, side], int64 [n])``.

    ``weights`` trains weights, ``arch`` judges architectures (empty for ``full``), ``test`` is for the final number.
    ``scheme``: the one that was used. ``note``: what was done, for people and for results. ``domains``: of images that
    have any (`nasharness.images.domains.leave_out`).
    """

    weights: tuple[Pixels, Labels]
    arch: tuple[Pixels, Labels]
    test: tuple[Pixels, Labels]
    scheme: str
    note: str
    domains: Domains | None = None


def split(
    images: ImageSet,
    *,
    scheme: str = "auto",
    seed: int = 0,
    fraction: float = 0.2,
    file: str | Path | None = None,
) -> Split:
    """Split a set of images. ``seed`` draws what is not read from ``file``, a published split file.

    ``fraction``: of the training images that judge, under ``validation``. Raises UsageError for an unknown scheme or a
    fraction that leaves a part empty, DataError for a file that is no split of these images.
    """
    if scheme not in SCHEMES:
        raise unknown("split", scheme, SCHEMES)
    chosen = _automatic(images) if scheme == "auto" else scheme
    train, test = (images.train_x, images.train_y), (images.test_x, images.test_y)
    if file is not None and chosen not in KEYS:
        raise UsageError(f"split {chosen!r} reads no file; a split file goes with halves or test-halves")
    if chosen == "full":
        return Split(train, _part(train, np.arange(0)), test, chosen, f"all {len(train[1]):,} training images train")
    whole = test if chosen == "test-halves" else train
    if file is not None:
        rest, judges = _read(Path(file), KEYS[chosen], len(whole[1]))
        how = f"as published in {Path(file).name}"
    else:
        share = fraction if chosen == "validation" else 0.5
        rest, judges = stratified(whole[1], share, np.random.default_rng(seed))
        published = FILES.get((images.name, chosen)) if images.published else None
        how = f"drawn by class, seed {seed}" + (
            f"; not the published split, which --split-file {published} reads" if published else ""
        )
    if chosen == "test-halves":
        note = (
            f"all {len(train[1]):,} training images train, {len(judges):,} of the test images judge architectures "
            f"(x-valid), {len(rest):,} test (x-test); {how}"
        )
        return Split(train, _part(test, judges), _part(test, rest), chosen, note)
    note = f"{len(rest):,} training images train, {len(judges):,} judge architectures, {len(test[1]):,} test; {how}"
    return Split(_part(train, rest), _part(train, judges), test, chosen, note)


def _automatic(images: ImageSet) -> str:
    if not images.published:
        return "validation"
    return "halves" if images.name == "cifar10" else "test-halves"


def _part(whole: tuple[Pixels, Labels], indices: NDArray[np.intp]) -> tuple[Pixels, Labels]:
    return whole[0][indices], whole[1][indices]


def _read(path: Path, keys: tuple[str, str], count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Read ``{key: [type, [index, ...]], ...}``; return the indices under ``keys``, ascending."""
    try:
        content = json.loads(read_text(path.expanduser(), "the split file"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, NasharnessError):
            raise
        raise DataError(f"{path}: not a split file: no JSON ({str(error)[:80]})") from None
    parts = []
    for key in keys:
        try:
            parts.append(np.array([int(item) for item in content[key][1]], dtype=np.intp))
        except (KeyError, IndexError, TypeError, ValueError, OverflowError):
            raise DataError(
                f"{path}: not a split file: expected {{{keys[0]!r}: [type, [indices]], {keys[1]!r}: ...}}, and nothing "
                f"of that kind is under {key!r}"
            ) from None
    both = np.sort(np.concatenate(parts))
    if len(both) != count or not np.array_equal(both, np.arange(count)):
        raise DataError(
            f"{path}: {len(parts[0]):,} + {len(parts[1]):,} indices, expected each of 0..{count - 1:,} once; it is the "
            "split of another set of images"
        )
    return np.sort(parts[0]), np.sort(parts[1])
