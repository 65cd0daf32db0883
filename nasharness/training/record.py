"""The record of a full training, beside the winner's table numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

#: of ``run.json`` and ``retrained.json``
FORMAT = 1


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
