"""Images in domains from files: folders DIR/DOMAIN/CLASS/*.jpg or DIR/CLASS/DOMAIN/*.jpg, or parquet with a column
``domain``.

The outer folder names the domain in PACS and NICO++, and the class in NICO, where the inner one is the context.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from nasharness.errors import DataError
from nasharness.images import jpegs
from nasharness.images.base import require
from nasharness.images.domains import DomainSet
from nasharness.storage import regular
from nasharness.storage.contained import contained

SUFFIXES = (".jpg", ".jpeg", ".png")
FIX = "; --side N cuts and scales all to N x N"
LAYOUT = "DIR/DOMAIN/CLASS/*.jpg, DIR/CLASS/DOMAIN/*.jpg, or parquet with the columns jpeg, label and domain"


def read_folder(folder: Path, side: int | None = None, target: str | None = None) -> DomainSet:
    """Read DIR/DOMAIN/CLASS/*.jpg; classes are those of any domain, by name.

    ``target``: the domain that will be held out; where inner folders alone are called so, these are the domains, and
    the outer ones the classes. ``side``: pixels to which images are cut and scaled; None where all are squares of one
    size. Raises DataError for another layout, and for an image that cannot be read.
    """
    require("PIL.Image", "Pillow", "reading JPEG images")
    names = _listed(folder)
    places = [tuple(name.split("/")[:2]) for name in names]
    outer, inner = ({place[level] for place in places} for level in (0, 1))
    if target in inner - outer:
        places = [(context, shown) for shown, context in places]
    domains, classes = (sorted({place[level] for place in places}) for level in (0, 1))
    size = sum((folder / name).stat().st_size for name in names)
    pixels = contained(f"{__name__}:folder_here", str(folder), size, str(folder), names, side, fork=False)
    y = np.array([classes.index(place[1]) for place in places], dtype=np.int64)
    domain = np.array([domains.index(place[0]) for place in places], dtype=np.int64)
    return _independent(folder.name, pixels, y, domain, domains, classes, f"{folder} ({_counted(domain, domains)})")


def folder_here(folder: str, names: list[str], side: int | None) -> Any:
    """The pixels of ``names`` in ``folder``, in the process that reads."""

    def content(name: str) -> bytes:
        try:
            with regular(Path(folder) / name) as file:
                return file.read()
        except OSError as error:
            raise DataError(f"cannot read {Path(folder) / name}: {error.strerror or error}") from None

    return jpegs.decode([content(name) for name in names], Path(folder), names, side, FIX)


def read_parquet(paths: list[Path], side: int | None = None) -> DomainSet:
    """Read parquet files with the columns ``jpeg``, ``label`` and ``domain``, texts or whole numbers."""
    require("PIL.Image", "Pillow", "reading JPEG images")
    parts = []
    for path in paths:
        try:
            with regular(path) as file:
                size = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from None
        parts.append(contained(f"{__name__}:parquet_here", str(path), size, str(path), side, fork=False))
        if parts[-1][0].shape[2] != parts[0][0].shape[2]:
            raise DataError(
                f"{path}: images have side {parts[-1][0].shape[2]}, those of {paths[0].name} {parts[0][0].shape[2]}; "
                "--side N cuts and scales all to N x N"
            )
    texts = np.array([str(one) for _, _, found in parts for one in found])
    names, domain = np.unique(texts, return_inverse=True)
    pixels, y = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
    domains = [str(name) for name in names]
    classes = [str(label) for label in range(int(y.max()) + 1)]
    where = f"{', '.join(path.name for path in paths)} in {paths[0].parent} ({_counted(domain, domains)})"
    return _independent(paths[0].stem, pixels, y, domain.astype(np.int64), domains, classes, where)


def parquet_here(name: str, side: int | None) -> Any:
    """Pixels, labels and domains of a file, in the process that reads. Raises DataError."""
    path = Path(name)
    table = jpegs.rows_of(path, ["domain"])
    kind = table.schema.field("domain").type
    named = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)
    if not (named or pa.types.is_integer(kind)) or table["domain"].null_count:
        raise DataError(f"{path}: column 'domain' is {kind}, expected texts or whole numbers, no nulls")
    pixels = jpegs.decode(table["jpeg"].to_pylist(), path, crop=side, fix=FIX)
    return pixels, table["label"].to_numpy().astype(np.int64), [str(one) for one in table["domain"].to_pylist()]


def has_domains(path: Path) -> bool:
    """Whether a parquet file has the column ``domain``."""
    try:
        return "domain" in parquet.read_schema(path).names
    except (pa.ArrowException, OSError):
        return False


def _listed(folder: Path) -> list[str]:
    """``DOMAIN/CLASS/FILE`` of every image, sorted."""
    try:
        found = sorted(
            path.relative_to(folder).as_posix()
            for path in folder.glob("*/*/*")
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        )
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror or error}") from None
    if not found:
        raise DataError(f"{folder}: no images there; expected {LAYOUT}")
    return found


def _independent(
    name: str, x: Any, y: Any, domain: Any, domains: list[str], classes: list[str], source: str
) -> DomainSet:
    """Images that show a thing each, none of them kept for testing."""
    count = len(y)
    return DomainSet(
        name, x, y, domain, tuple(domains), tuple(classes), np.arange(count), np.zeros(count, dtype=np.bool_), source
    )


def _counted(domain: Any, names: list[str]) -> str:
    return ", ".join(f"{name}: {int((domain == place).sum()):,}" for place, name in enumerate(names))
