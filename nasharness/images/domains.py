"""Images of the same classes in several domains, and the split that holds one of them out.

A domain is a way in which images come about: photographs and sketches, or digits turned by an angle. Sources train and
judge; the target tests, and nothing that searches sees it (DomainBed, arXiv 2007.01434, calls this leave-one-out).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError, UsageError, unknown
from nasharness.images.base import ImageSet, Labels, Pixels, build
from nasharness.images.splits import Domains, Split
from nasharness.images.stratified import stratified

#: of the source images, what judges
VALIDATION = 0.2
SEED = 0


@dataclass(frozen=True)
class DomainSet:
    """Images uint8 ``[n, 3, side, side]``, labels and domains int64 ``[n]``.

    ``names``: of the domains. ``class_names``: of the labels. ``things``: int64 ``[n]``, what is shown: images of one
    thing in several domains have the same number, and no split parts them. ``kept``: bool ``[n]``, images of things
    that only test; where there are none, a target tests with all of its images. ``default``: the target where none is
    named, or empty. ``source``: what was read, for people.
    """

    name: str
    x: Pixels
    y: Labels
    domain: Labels
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    things: Labels
    kept: NDArray[np.bool_]
    source: str
    default: str = ""
    mirrored: bool = True


def leave_out(
    images: DomainSet,
    target: str | None = None,
    *,
    sources: Sequence[str] | None = None,
    validation: float = VALIDATION,
    seed: int = SEED,
) -> tuple[ImageSet, Split]:
    """Hold the domain ``target`` out; train and judge on ``sources``, all others by default.

    ``validation``: share of the things in the sources whose images judge, drawn by class and domain. Pixels are scaled
    to [-1, 1], on which an editor of images works. Raises UsageError for domains that are not there, a target among the
    sources, and fewer than two sources; DataError where there is but one domain.
    """
    if len(images.names) < 2:
        raise DataError(
            f"{images.name}: all images are of one domain ({', '.join(images.names)}); to hold one out and to train on "
            f"others takes three ({images.source})"
        )
    chosen = target or images.default
    if not chosen:
        raise UsageError(f"which domain is held out? --target-domain NAME, one of: {', '.join(images.names)}")
    for name in (chosen, *(sources or ())):
        if name not in images.names:
            raise unknown(f"domain of {images.name}", name, images.names)
    if sources is not None and chosen in sources:
        raise UsageError(
            f"--target-domain {chosen}: is among the sources ({', '.join(sources)}); what is held out trains nothing"
        )
    trained = tuple(name for name in images.names if (name != chosen if sources is None else name in sources))
    if len(trained) < 2:
        raise UsageError(
            f"one source domain ({', '.join(trained)}) beside the target {chosen}: expected two or more, since a "
            f"search learns from how they differ; the domains of {images.name}: {', '.join(images.names)}"
        )
    number = np.full(len(images.names), -1)
    number[[images.names.index(name) for name in trained]] = np.arange(len(trained))
    place = number[images.domain]
    rows = np.flatnonzero((place >= 0) & ~images.kept)
    tests = images.domain == images.names.index(chosen)
    tests &= images.kept | (not images.kept[tests].any())
    judges = _judging(images, rows, validation, seed)
    parts = [rows[~judges], rows[judges], np.flatnonzero(tests)]
    weights, arch, test = ((images.x[part], images.y[part]) for part in parts)
    if not len(test[0]):
        raise DataError(f"{images.name}: the domain {chosen} has no images ({images.source})")
    loaded = build(
        images.name,
        (images.x[rows], images.y[rows]),
        test,
        source=images.source,
        classes=len(images.class_names),
        class_names=images.class_names,
        mirrored=images.mirrored,
    )
    note = (
        f"the domain {chosen} is held out, {len(test[1]):,} images; of {', '.join(trained)} {len(parts[0]):,} images "
        f"train and {len(parts[1]):,} judge, drawn by class and domain, seed {seed}"
    )
    domains = Domains(sources=trained, target=chosen, weights=place[parts[0]], arch=place[parts[1]])
    halves = (0.5, 0.5, 0.5)
    return replace(loaded, mean=halves, std=halves), Split(weights, arch, test, "domains", note, domains)


def _judging(images: DomainSet, rows: NDArray[np.intp], share: float, seed: int) -> NDArray[np.bool_]:
    """Which of ``rows`` judge, bool ``[len(rows)]``: all images of the things that were drawn."""
    _, first, things = np.unique(images.things[rows], return_index=True, return_inverse=True)
    at = rows[first]
    strata = images.y[at] * len(images.names) + images.domain[at]
    _, drawn = stratified(strata, share, np.random.default_rng(seed))
    chosen = np.zeros(len(first), dtype=np.bool_)
    chosen[drawn] = True
    return np.asarray(chosen[things])
