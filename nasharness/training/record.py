"""The record of a full training, beside the winner's table numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nasharness.version import __version__

if TYPE_CHECKING:
    import torch

    from nasharness.training.distributed import World
    from nasharness.training.options import Options

#: of ``run.json`` and ``retrained.json``
FORMAT = 1


def table_of(winner: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a search's table says of its winner."""
    chosen = winner.get("winner")
    final = chosen.get("final") if isinstance(chosen, Mapping) else None
    keys = ("algorithm", "space", "dataset", "table", "protocol")
    return {key: winner.get(key) for key in keys} | {"final": final}


def common(options: Options, world: World, seconds: float) -> dict[str, Any]:
    """What the record of every full training says, ``retrained.json``."""
    import torch

    winner = None if isinstance(options.network, str) else dict(options.network)
    return {
        "format": FORMAT,
        "kind": "retrained",
        "task": options.task,
        "network": options.title,
        "seconds": round(seconds, 1),
        "device": device_name(world.device),
        "processes": world.size,
        "seed": options.seed,
        "winner": winner,
        "table": None if winner is None else table_of(winner),
        "nasharness": __version__,
        "torch": torch.__version__,
    }


def device_name(device: torch.device) -> str:
    """Return the GPU's name, or the kind of device."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
