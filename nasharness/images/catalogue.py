"""Which sets of images there are, and where they are looked for.

``--data DIR`` may hold the published archive, the folder it unpacks to, or parquet files of JPEGs. Without it,
``$NASHARNESS_DATA/images`` is looked at, where ``nasharness data fetch cifar10`` puts the archive.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from nasharness.errors import DataError, UsageError, nearest
from nasharness.images import cifar, digits, domain_files, imagenet16, jpegs, rotated
from nasharness.images.base import LARGEST_SIDE, ImageSet
from nasharness.images.domains import DomainSet
from nasharness.storage.places import data_dir


def names() -> tuple[str, ...]:
    """Names of the sets of images that ``load`` knows."""
    return (*cifar.CIFAR, "ImageNet16-120", "digits")


def image_dir() -> Path:
    """Where fetched images lie: ``images`` in the data folder."""
    return data_dir() / "images"


def present() -> list[dict[str, Any]]:
    """Which fetchable images lie in ``image_dir()``: ``name, path`` (empty where absent), ``bytes, command``."""
    rows = []
    for layout in cifar.CIFAR.values():
        row: dict[str, Any] = {"name": layout.name, "path": "", "bytes": 0, "command": layout.fix}
        archive, folder = image_dir() / layout.archive, image_dir() / layout.folder
        if archive.is_file():
            row |= {"path": str(archive), "bytes": archive.stat().st_size}
        elif folder.is_dir():
            sizes = (file.stat().st_size for file in folder.iterdir() if file.is_file())
            row |= {"path": str(folder), "bytes": sum(sizes)}
        rows.append(row)
    return rows


def load(name: str | Path, data: str | Path | None = None) -> ImageSet:
    """Read the set ``name``, or the parquet files of JPEGs at the path ``name``.

    ``data``: the folder that holds the files; None for ``image_dir()``. Raises UsageError for an unknown name,
    DataError for files that are absent, damaged or hostile, with the command that brings them.
    """
    known = str(name)
    place = None if data is None else Path(data).expanduser()
    if place is not None and not place.exists():
        raise DataError(f"--data {place}: nothing there; expected a folder that holds {_expected(known)}")
    if known == "digits":
        return digits.read()
    if known in cifar.CIFAR:
        return _cifar(cifar.CIFAR[known], place or image_dir())
    if known == "ImageNet16-120":
        return _imagenet16(place or image_dir())
    path = Path(name).expanduser()
    if path.exists():
        return _parquet(path)
    if place is not None and (place / path).exists():
        return _parquet(place / path)
    if path.suffix == ".parquet" or "/" in known:
        raise DataError(f"images {known!r}: nothing there; expected a folder or file of parquet, or one of {names()}")
    raise UsageError(
        f"unknown set of images {known!r}; nearest: {', '.join(nearest(known, names()))}; expected one of these, or "
        "the path of a parquet file with the columns jpeg and label"
    )


def load_domains(
    name: str | Path, data: str | Path | None = None, side: int | None = None, target: str | None = None
) -> DomainSet:
    """Read images in domains: ``digits``, turned, or what lies at the path ``name`` (`domain_files.LAYOUT`).

    ``data``: the folder in which the path is looked for, too. ``side``: pixels to which images from files are cut and
    scaled. ``target``: the domain that will be held out, which tells domains from classes among folders
    (`domain_files.read_folder`). Raises UsageError for images that have no domains, DataError as ``load`` does.
    """
    known = str(name)
    if side is not None and not 1 <= side <= LARGEST_SIDE:
        raise UsageError(f"--side {side}: expected 1 to {LARGEST_SIDE}")
    if known == "digits":
        if side not in (None, rotated.SIDE):
            raise UsageError(f"--side {side}: turned digits have {rotated.SIDE} pixels; it is for files of images")
        return rotated.rotated()
    if known in names():
        raise UsageError(f"images {known!r} have no domains; expected digits, {domain_files.LAYOUT}")
    places = [Path(name).expanduser()] + ([] if data is None else [Path(data).expanduser() / name])
    path = next((place for place in places if place.exists()), None)
    if path is None:
        raise DataError(f"images {known!r}: nothing there; expected digits, {domain_files.LAYOUT}")
    files = [path] if path.is_file() else jpegs.image_files(path)
    if not files:
        return domain_files.read_folder(path, side, target)
    without = [file for file in files if not domain_files.has_domains(file)]
    if without:
        raise DataError(f"{without[0]}: no column 'domain'; expected {domain_files.LAYOUT}")
    return domain_files.read_parquet(files, side)


def _cifar(layout: cifar.Layout, place: Path) -> ImageSet:
    if place.is_file():
        return _parquet(place, layout) if place.suffix == ".parquet" else cifar.read_archive(layout, place)
    if (place / layout.archive).is_file():
        return cifar.read_archive(layout, place / layout.archive)
    for folder in (place / layout.folder, place):
        if any((folder / name).exists() for name in layout.train) and (folder / next(iter(layout.test))).exists():
            return cifar.read_folder(layout, folder)
    if (place / layout.folder).is_dir():
        return cifar.read_folder(layout, place / layout.folder)  # which says what is missing there
    spelled = r"cifar-?100" if layout.name == "cifar100" else r"cifar-?10(?!0)"
    files = [path for path in jpegs.image_files(place) if re.search(spelled, path.stem.lower())]
    if files:
        names = cifar.CIFAR10_CLASSES if layout.name == "cifar10" else None
        return jpegs.read(layout.name, files, classes=layout.classes, class_names=names)
    raise DataError(
        f"no images of {layout.name} in {place}: expected {_expected(layout.name)}; get them with: {layout.fix}"
    )


def _imagenet16(place: Path) -> ImageSet:
    for folder in (place, place / "ImageNet16", place / "ImageNet16-120"):
        if any((folder / name).exists() for name in ("train_data_batch_1", "val_data")):
            return imagenet16.read(folder)
    raise DataError(
        f"no images of ImageNet16-120 in {place}: expected {_expected('ImageNet16-120')}; {imagenet16.HOW_TO_GET}"
    )


def _parquet(path: Path, layout: cifar.Layout | None = None) -> ImageSet:
    files = [path] if path.is_file() else jpegs.image_files(path)
    if not files:
        raise DataError(f"{path}: no parquet file with the columns 'jpeg' and 'label' there")
    if layout is not None:
        return jpegs.read(layout.name, files, classes=layout.classes)
    return jpegs.read(path.stem, files)


def _expected(name: str) -> str:
    if name in cifar.CIFAR:
        layout = cifar.CIFAR[name]
        return f"{layout.archive}, the folder {layout.folder}, or parquet files {name}_*train*, {name}_*test*"
    if name == "ImageNet16-120":
        return "train_data_batch_1..10 and val_data"
    return "the images"
