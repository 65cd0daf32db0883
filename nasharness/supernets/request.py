"""What is asked of a one-shot run, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nasharness import images as image_sets
from nasharness import spaces
from nasharness.errors import UsageError, unknown, whole
from nasharness.images import DomainSet, ImageSet, Split, leave_out
from nasharness.images.domains import VALIDATION as DOMAIN_VALIDATION
from nasharness.search import registry
from nasharness.search.objective import Limit
from nasharness.search.registry import ONE_SHOT, Record
from nasharness.spaces.nats import DATASETS
from nasharness.studies.folder import read_meta, refuse_others
from nasharness.supernets import limit as limits
from nasharness.supernets.build import STEMS, check_space
from nasharness.supernets.recipe import SupernetRecipe
from nasharness.supernets.session import CHECKPOINT, Session
from nasharness.training import device as devices

#: images that may stand in for any data set, to try things out
STAND_IN = "digits"
#: whose architecture a run answers with: that of its last epoch, of the one that did best on images of the sources that
#: judge, or on the domain that is held out, which no search knows
SELECTIONS = ("last", "source", "oracle")
#: what the signal of a one-shot run is
SIGNAL = "accuracy of the derived architecture with the shared weights, on images that train no weights"


@dataclass(frozen=True)
class OneShotRequest:
    """Build one with ``OneShotRequest.create``; it can be sent to another process. No table is part of it.

    ``seeds``: one run each. ``devices``: where they run; with several, as many runs go on side by side.
    ``keep_every``: epochs between the weights that are kept for later ranking. ``origin``: how images and split were
    asked for, as ``load_images`` takes it. ``select``: of SELECTIONS. ``limit``: on a latency that the loss
    counts; what it counts is then found before the runs (`nasharness.supernets.limit`).
    """

    algorithm: str
    settings: dict[str, Any]
    space: str
    dataset: str
    images: ImageSet
    split: Split
    recipe: SupernetRecipe
    seeds: tuple[int, ...]
    devices: tuple[str, ...]
    precision: str
    out: Path | None
    resume: bool
    keep_every: int
    derive_every: int | None
    origin: dict[str, Any]
    notes: tuple[str, ...] = ()
    select: str = "last"
    limit: Limit | None = None

    @classmethod
    def create(
        cls,
        algorithm: str,
        space: str = "tss",
        dataset: str = "cifar10",
        *,
        images: str | Path | ImageSet | DomainSet,
        data: str | Path | None = None,
        validation: float | None = None,
        split_file: str | Path | None = None,
        target_domain: str | None = None,
        source_domains: Sequence[str] | None = None,
        side: int | None = None,
        select: str | None = None,
        limit: str | None = None,
        settings: Mapping[str, Any] | None = None,
        runs: int = 1,
        seed: int = 0,
        device: str | None = None,
        precision: str = "auto",
        out: str | Path | None = None,
        resume: bool = False,
        keep_every: int | None = None,
        derive_every: int | None = None,
        **recipe: Any,
    ) -> OneShotRequest:
        """Check everything, read and split the images.

        ``images``: a name, a path or an ImageSet, ``data`` where its files are. ``validation``: share of the training
        images that judge architectures; ``split_file``: a published split instead. ``target_domain``: the domain of
        the images that is held out, ``source_domains`` the others that are used, all by default; ``side``: pixels to
        which images from files are cut and scaled (`nasharness.images.load_domains`). ``select``: which epoch's
        architecture is a run's answer, of SELECTIONS; ``source`` by default where images have domains. ``limit``: as
        ``pixel1_latency <= 79``, on the latency that the algorithm's loss counts. ``device``: a
        name, or several with commas between them; None for every GPU there is, as far as runs need them. ``out``:
        folder of the run.
        ``recipe``: fields of SupernetRecipe (``epochs``, ``batch``, ``lr``, ``channels``, ...), None for the default.
        Raises UsageError for what cannot be asked, DataError for images that are not here or damaged.
        """
        record = registry.get(algorithm)
        record.require(ONE_SHOT)
        chosen = record.settings(settings or {})
        record.check_space(spaces.get(space))
        check_space(space)
        if dataset not in spaces.get(space).datasets:
            raise unknown(
                f"data set of space {space!r}", dataset, spaces.get(space).datasets, "nasharness list datasets"
            )
        kept = None if limit is None else limits.parse(limit, record, chosen, space, dataset)
        runs, seed = whole("--runs", runs, 1), whole("--seed", seed, 0)
        for option, number in (("--keep-every", keep_every), ("--derive-every", derive_every)):
            if number is not None:
                whole(option, number, 1)
        if spaces.get(space).ordinal and recipe.get("channels") is not None:
            raise UsageError(
                f"--channels {recipe['channels']}: {space} has none, widths are what it searches; use --cells"
            )
        if space in STEMS and recipe.get("cells") is not None:
            raise UsageError(f"--cells {recipe['cells']}: {space} has no cells, its layers are given; use --channels")
        asked = SupernetRecipe.of(record, space, **recipe)
        where = _devices(device, runs)
        for name in where:
            devices.dtype_of(torch.device(name), precision)
        folder = None if out is None else Path(out)
        seeds = tuple(range(seed, seed + runs))
        going_on = _check_folder(folder, record, seeds, resume)
        origin: dict[str, Any] = {
            "images": images if isinstance(images, ImageSet | DomainSet) else _found(images),
            "data": None if data is None else _found(data),
            "validation": validation,
            "split_file": None if split_file is None else _found(split_file),
        }
        asked_domains = {"target": target_domain, "sources": source_domains, "side": side}
        if "domains" in record.needs or any(value is not None for value in asked_domains.values()):
            origin["domains"] = asked_domains | {"sources": None if source_domains is None else list(source_domains)}
        loaded, split = load_images(dataset, **origin)
        selection = select or ("last" if split.domains is None else "source")
        if selection not in SELECTIONS:
            raise unknown("selection", selection, SELECTIONS)
        if selection != "last" and split.domains is None:
            raise UsageError(f"--select {selection}: no domain is held out; add --target-domain NAME")
        notes = check_images(loaded, dataset, split)
        if resume and not going_on:
            notes += (f"{folder} holds no epoch of these runs, so they begin at the beginning",)
        origin["images"] = images.name if isinstance(images, ImageSet | DomainSet) else origin["images"]
        return cls(
            algorithm=record.name,
            settings=chosen,
            space=space,
            dataset=dataset,
            images=loaded,
            split=split,
            recipe=asked,
            seeds=seeds,
            devices=where,
            precision=precision,
            out=folder,
            resume=resume,
            keep_every=keep_every or -(-asked.epochs // 10),
            derive_every=derive_every,
            origin=origin,
            notes=notes,
            select=selection,
            limit=kept,
        )

    @property
    def record(self) -> Record:
        """The algorithm's record."""
        return registry.get(self.algorithm)

    def folder(self, seed: int) -> Path | None:
        """Where the run of a seed keeps its files; None where nothing is kept."""
        return None if self.out is None else seed_folder(self.out, seed)

    def session(self, seed: int, device: str) -> Session:
        """The run of one seed, at its beginning."""
        return Session(
            self.record,
            self.settings,
            space=self.space,
            dataset=self.dataset,
            images=self.images,
            split=self.split,
            recipe=self.recipe,
            seed=seed,
            device=torch.device(device),
            precision=self.precision,
            derive_every=self.derive_every,
            origin=self.origin,
            folder=self.folder(seed),
            keep_every=self.keep_every,
        )


def seed_folder(out: Path, seed: int) -> Path:
    """Folder of one run within the folder of all."""
    return out / f"seed-{seed}"


def check_images(images: ImageSet, dataset: str, split: Split) -> tuple[str, ...]:
    """What to know of these images beside a table of ``dataset``.

    Raises UsageError where they are plainly of another data set. ``digits`` may stand in for any.
    """
    if dataset not in DATASETS:  # of which there is no table
        return (f"the networks are those of {dataset} at the scale of --channels, trained on {images.name}",)
    if split.domains is not None:
        return (f"the images are {images.name} in domains, the table is of {dataset}: its numbers are not theirs",)
    if images.name == STAND_IN:
        return (f"the images are {STAND_IN}, the table is of {dataset}: good for trying out, and for nothing else",)
    classes, side = DATASETS[dataset]
    if images.classes != classes or (images.name in DATASETS and images.name != dataset):
        raise UsageError(
            f"the images ({images.name}) have {images.classes} classes, {dataset} has {classes}: they are of another "
            "data set than the table; give --dataset as the images are, or other --images"
        )
    notes: tuple[str, ...] = ()
    if images.side != side:
        notes = (f"the images are of {images.side}x{images.side} pixels, those of the table of {side}x{side}",)
    if not images.published:
        notes += (f"these are not all the images of {dataset} that the table was made with",)
    return notes


def load_images(
    dataset: str,
    *,
    images: str | ImageSet | DomainSet,
    data: str | None = None,
    validation: float | None = None,
    split_file: str | None = None,
    domains: Mapping[str, Any] | None = None,
) -> tuple[ImageSet, Split]:
    """Read and split images, as ``OneShotRequest.create`` is asked to. Raises UsageError and DataError.

    ``domains``: ``target``, ``sources`` and ``side`` of images in domains; None for others.
    """
    if validation is not None and split_file is not None:
        raise UsageError("--validation and --split-file both split the images; give one of them")
    if validation is not None and not 0 < validation < 1:
        raise UsageError(f"--validation {validation}: expected a share between 0 and 1, as in 0.2")
    if domains is not None:
        if split_file is not None:
            raise UsageError("--split-file: images in domains are split by domain")
        if isinstance(images, ImageSet):
            raise UsageError(f"images {images.name!r} have no domains; expected a DomainSet")
        found = (
            images
            if isinstance(images, DomainSet)
            else image_sets.load_domains(images, data, domains["side"], domains["target"])
        )
        share = DOMAIN_VALIDATION if validation is None else validation
        return leave_out(found, domains["target"], sources=domains["sources"], validation=share)
    if isinstance(images, DomainSet):
        raise UsageError(f"images {images.name!r} are in domains: say which is held out (target_domain)")
    loaded = images if isinstance(images, ImageSet) else image_sets.load(images, data)
    if split_file is not None:
        scheme = "halves" if dataset == "cifar10" else "test-halves"
        return loaded, image_sets.split(loaded, scheme=scheme, file=split_file)
    if validation is not None:
        return loaded, image_sets.split(loaded, scheme="validation", fraction=validation)
    return loaded, image_sets.split(loaded)


def _found(place: str | Path) -> str:
    """A path so that it is found from any folder; a name as it is."""
    path = Path(place).expanduser()
    return str(path.resolve()) if path.exists() and str(place) not in image_sets.names() else str(place)


def _devices(device: str | None, runs: int) -> tuple[str, ...]:
    if device is None or device == "auto":
        first = devices.choose(None)
        if first.type == "cuda" and runs > 1:
            return tuple(f"cuda:{number}" for number in range(min(runs, torch.cuda.device_count())))
        return (str(first),)
    names: Sequence[str] = [name.strip() for name in device.split(",")]
    return tuple(str(devices.choose(name)) for name in names)[:runs]


def _check_folder(out: Path | None, record: Record, seeds: Sequence[int], resume: bool) -> list[int]:
    """Return the seeds whose runs can go on. Raises UsageError where a run, or another result, would be lost."""
    if out is None:
        if resume:
            raise UsageError("--resume needs --out DIR, the folder of the run that is to go on")
        return []
    there = [seed for seed in seeds if (seed_folder(out, seed) / CHECKPOINT).exists()]
    if there and not resume:
        raise UsageError(
            f"{seed_folder(out, there[0])} holds a run already; --resume goes on with it, or choose another --out"
        )
    check_result(out, record, seeds)
    return there


def check_result(out: Path, record: Record, seeds: Sequence[int]) -> None:
    """Raise UsageError where ``out`` holds a result other than one of these runs, or of some of them."""
    if not (out / "study.json").exists():
        refuse_others(out)
        return
    cells = read_meta(out)["cells"]
    for cell in cells:
        there = range(cell["seed"], cell["seed"] + cell["runs"])
        if len(cells) > 1 or cell["name"] != record.name or not set(there) <= set(seeds):
            raise UsageError(
                f"--out {out} holds the result of other runs, which would be lost: {cell['algorithm']} on "
                f"{cell['space']}/{cell['dataset']}, seeds {there[0]} to {there[-1]}; choose another --out"
            )
