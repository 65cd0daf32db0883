"""What measuring a space usually means: data sets, budgets and measurements that a problem takes when none is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Protocol:
    """Defaults of a space, or of a table, whose card may say them instead.

    ``datasets``: those with published measurements, the default first; empty where only tables tell. ``budgets``:
    name of a paper's budget -> data set -> simulated seconds. ``signal``: measurements a search sees, in order of
    preference, as in ``val@12``; the first that a table has is taken. ``final``: likewise what it is scored by.
    ``trained_on``: (data set, metric) -> the data set that those networks were trained on, where it is another one.
    """

    datasets: tuple[str, ...] = ()
    budgets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    signal: tuple[str, ...] = ()
    final: tuple[str, ...] = ()
    trained_on: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def column_dataset(self, dataset: str, metric: str) -> str:
        """The data set under which a table stores ``metric`` of ``dataset``."""
        return self.trained_on.get((dataset, metric), dataset)
