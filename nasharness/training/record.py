"""The record of a full training, beside the winner's table numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasharness import storage
from nasharness.errors import DataError
from nasharness.storage import writing
from nasharness.storage.sealed import seal

if TYPE_CHECKING:
    import torch

#: of ``run.json`` and ``retrained.json``
FORMAT = 1


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a record whole, or not at all; numbers that are not finite become null.

    Raises:
        DataError: it cannot be written.
    """
    finite = json.loads(json.dumps(value), parse_constant=lambda _: None)
    with writing(path, "free some space and resume", DataError):
        storage.write_json(path, seal(finite))


def table_of(winner: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a search's table says of its winner."""
    chosen = winner.get("winner")
    final = chosen.get("final") if isinstance(chosen, Mapping) else None
    keys = ("algorithm", "space", "dataset", "table", "protocol")
    return {key: winner.get(key) for key in keys} | {"final": final}


def device_name(device: torch.device) -> str:
    """Return the GPU's name, or the kind of device."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
