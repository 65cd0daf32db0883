"""A part of a registered space: architectures that a table lists, with the strings, graphs and costs of the whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.spaces.base import Choices, Floats, Indices, Space
from nasharness.spaces.graph import LabelledGraph
from nasharness.spaces.listed import ListedSpace


class PartSpace(ListedSpace):
    """Rows that are architectures of ``parent``, a registered space; an index is a row, not the parent's index.

    Neighbours are listed rows that differ in the fewest positions.
    """

    kind = "part"

    def __init__(self, name: str, strings: NDArray[np.bytes_], *, parent: str, **options: Any) -> None:
        from nasharness.spaces.registry import get  # which builds stored spaces, so not while modules load

        super().__init__(name, strings, **options)
        self.parent: Space = get(parent)
        self.options, self.positions = self.parent.options, self.parent.positions
        self.ordinal, self.string_form = self.parent.ordinal, self.parent.string_form
        self.closed_forms, self.skeleton = self.parent.closed_forms, self.parent.skeleton
        self.protocol = replace(self.parent.protocol, budgets={}, signal=(), final=())
        self._ids = np.array([self.parent.from_string(text) for text in self.strings()], dtype=np.int32)

    @classmethod
    def of(cls, name: str, parent: Space, ids: ArrayLike, summary: str = "") -> PartSpace:
        """The architectures ``ids [n]`` of ``parent``, in this order."""
        chosen = np.asarray(ids)
        strings = np.array([parent.string(int(one)).encode() for one in chosen])
        return cls(name, strings, parent=parent.name, features=parent.choices(chosen), summary=summary)

    def more(self) -> dict[str, Any]:
        """See `_Rows.more`."""
        return {"parent": self.parent.name}

    def of_parent(self, ids: ArrayLike) -> Indices:
        """The parent's indices of rows ``[...]``."""
        taken: Indices = self._ids.take(self._checked(ids))
        return taken

    def choices(self, ids: ArrayLike) -> Choices:
        """See `Space.choices`."""
        return self.parent.choices(self.of_parent(ids))

    def graph(self, arch: Any) -> LabelledGraph | None:
        """See `Space.graph`."""
        return self.parent.graph(int(self.of_parent(self.parse(arch))))

    def params(self, ids: ArrayLike, dataset: str) -> Floats:
        """See `Space.params`."""
        return self.parent.params(self.of_parent(ids), dataset)

    def flops(self, ids: ArrayLike, dataset: str) -> Floats:
        """See `Space.flops`."""
        return self.parent.flops(self.of_parent(ids), dataset)

    def draw(self, arch: Any, ascii: bool = False) -> str:  # noqa: A002
        """See `Space.draw`."""
        return self.parent.draw(int(self.of_parent(self.parse(arch))), ascii=ascii)
