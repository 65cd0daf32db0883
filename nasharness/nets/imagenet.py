"""Networks for full training on images, by name or from the record of a search's winner.

``build("shrinkcnn-a", 1000)``; ``build(json.load(open("winner.json")), 1000)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from nasharness.errors import UsageError, unknown
from nasharness.nets.shrinkcnn import ShrinkCNN
from nasharness.spaces import shrink
from nasharness.spaces.shrink_macro import imagenet_macro

_ACTIVATIONS = {"shrinkcnn-a": "relu", "shrinkcnn-b": "swish"}


def names() -> list[str]:
    """Networks that ``build`` knows by name."""
    return list(_ACTIVATIONS)


def build(
    winner: Mapping[str, Any] | str, classes: int, *, size: int = 224, generator: torch.Generator | None = None
) -> nn.Module:
    """Return the network for images of ``size`` pixels: float ``[batch, 3, size, size]`` to ``[batch, classes]``.

    ``winner``: one of ``names()``, or the content of a ``winner.json``. Raises UsageError for an unknown name or space.
    """
    if classes < 1:
        raise UsageError(f"classes = {classes}: expected at least 1")
    if isinstance(winner, str):
        if winner not in _ACTIVATIONS:
            raise unknown("network", winner, names())
        macro = imagenet_macro(activation=_ACTIVATIONS[winner], side=size)
        return ShrinkCNN(shrink.SHRINKCNN, macro, classes, generator=generator)
    space = winner.get("space")
    if space not in _BUILDERS:
        raise unknown("space of a winner", space, _BUILDERS)
    return _BUILDERS[space](winner, classes, size, generator)


def _shrink_cnn(winner: Mapping[str, Any], classes: int, size: int, generator: torch.Generator | None) -> nn.Module:
    graph = shrink.CNN.read(winner["winner"])
    return ShrinkCNN(graph, imagenet_macro(side=size), classes, generator=generator)


_BUILDERS: dict[str, Callable[[Mapping[str, Any], int, int, torch.Generator | None], nn.Module]] = {
    "shrink-cnn": _shrink_cnn,
}
