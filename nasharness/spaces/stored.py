"""Spaces that tables define: a folder with ``space.json`` and arrays, beside the tables of that space.

``DATA/tables/NAME/space.json`` holds names and checksums; beside it lie the published strings, the options of each row
(``features``), and its neighbours (``starts`` and ``rows``), where there are such, in files whose names hold a part of
their SHA-256: so one renaming of ``space.json`` replaces a space. All are compared when they are opened, and mapped.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from nasharness import storage
from nasharness.errors import DataError, UsageError
from nasharness.spaces.base import Space
from nasharness.spaces.listed import FilledSpace, ListedSpace
from nasharness.storage.places import data_dir
from nasharness.storage.sealed import read_sealed
from nasharness.storage.verified import verify

FORMAT = "nasharness-space/2"
#: kind of a space of rows -> the module and class that it is made with
_KINDS = {
    "product": ("nasharness.spaces.listed", "FilledSpace"),
    "listed": ("nasharness.spaces.listed", "ListedSpace"),
    "cells": ("nasharness.spaces.cells", "CellSpace"),
    "part": ("nasharness.spaces.part", "PartSpace"),
}
#: published spaces that a table defines, and the command that brings it
PUBLISHED = {
    "nb101": "nasharness data import nasbench_only108.tfrecord",
    "tss-curves": "nasharness data fetch curves",
}
_AGAIN = "import its table again"


class _Card(msgspec.Struct):
    """What ``space.json`` must hold. ``arrays``: name -> SHA-256 of its file."""

    format: Literal["nasharness-space/2"]
    name: str
    kind: Literal["product", "listed", "cells", "part"]
    summary: str
    positions: list[str]
    options: list[list[str]]
    ordinal: bool
    checksum: str
    arrays: dict[Literal["strings", "features", "starts", "rows"], str]
    more: dict[str, Any] = {}


def folder(name: str) -> Path:
    """Where the space ``name`` and its tables lie, or would lie. Raises UsageError for a name that is no plain word."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise UsageError(f"space name {name!r}: expected letters, digits, '.', '_' and '-', as in 'channel'")
    return data_dir() / "tables" / name


def names() -> list[str]:
    """Names of the spaces that tables here define, sorted."""
    return sorted(path.parent.name for path in (data_dir() / "tables").glob("*/space.json"))


def find(name: str) -> Space | None:
    """Return the space ``name`` that a table defines, None for no such. Raises DataError where it is damaged."""
    try:
        path = folder(name) / "space.json"
        stamp = path.stat().st_mtime_ns
    except (OSError, UsageError):
        return None
    return _read(path, stamp)


def recorded_checksum(name: str) -> str:
    """The checksum in ``space.json``; empty where no table defines that space, or the file is damaged."""
    try:
        return str(read_sealed(folder(name) / "space.json", _Card, _AGAIN)["checksum"])
    except DataError:
        return ""


@lru_cache(maxsize=64)
def _read(path: Path, stamp: int) -> Space:
    card = read_sealed(path, _Card, _AGAIN)
    arrays = {name: _map(path.parent / array_file(name, digest), digest) for name, digest in card["arrays"].items()}
    try:
        near = {"near": (arrays["starts"], arrays["rows"])} if "starts" in arrays else {}
        module, made = _KINDS[card["kind"]]
        space: Space = getattr(importlib.import_module(module), made)(
            card["name"],
            arrays["strings"],
            features=arrays.get("features"),
            options=card["options"],
            positions=card["positions"],
            ordinal=card["ordinal"],
            summary=card["summary"],
            **near,
            **card.get("more", {}),
        )
        return space
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{path} is damaged ({type(error).__name__}: {error}); {_AGAIN}") from None


def array_file(name: str, digest: str) -> str:
    """The file of an array whose bytes have this SHA-256."""
    return f"{name}-{digest[:16]}.npy"


def recover(place: Path) -> None:
    """Tidy after a killed import of the space that the folder ``place`` defines, unless it is still at work."""
    with contextlib.suppress(DataError, OSError), storage.only_writer(place / "space.json"):
        sweep(place)


def sweep(place: Path) -> None:
    """Remove arrays of a space that was there before; only who holds the lock of its ``space.json`` may call this."""
    card = read_sealed(place / "space.json", _Card, _AGAIN)
    kept = {array_file(name, digest) for name, digest in card["arrays"].items()}
    storage.sweep(place)
    for file in place.glob("*-*.npy"):
        if file.name not in kept:
            file.unlink(missing_ok=True)


def _map(path: Path, digest: str) -> NDArray[Any]:
    verify(path, digest, _AGAIN)
    try:
        mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}; {_AGAIN}") from None
    return mapped


def checksum(space: FilledSpace | ListedSpace) -> str:
    """SHA-256 over what a space of rows is: kind, names, strings and features."""
    digest = hashlib.sha256()
    about = [type(space).__name__, space.positions, space.options, space.ordinal, *sorted(space.more().items())]
    digest.update(json.dumps(about).encode())
    for array in (space.definition()["strings"], space.features):
        if array is not None:
            digest.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def arrays_of(space: FilledSpace | ListedSpace) -> dict[str, NDArray[Any]]:
    """The arrays that ``space.json`` names, neighbours included: what ``write`` puts beside it."""
    found: dict[str, NDArray[Any]] = {"strings": space.definition()["strings"]}
    if space.features is not None:
        found["features"] = space.features
    if isinstance(space, ListedSpace) and "neighbours" in space.offers:
        found["starts"], found["rows"] = space._near
    return found


def card_of(space: FilledSpace | ListedSpace) -> dict[str, Any]:
    """The content of ``space.json``, but for the SHA-256 of its arrays' files."""
    return {
        "format": FORMAT,
        "name": space.name,
        "kind": space.kind,
        "size": space.size,
        "summary": space.summary,
        "positions": list(space.positions),
        "options": [list(names) for names in space.options],
        "ordinal": space.ordinal,
        "more": space.more(),
        "arrays": {},
        "checksum": checksum(space),
    }
