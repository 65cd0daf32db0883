"""The judge of a one-shot search: the table's final metric. Outside of every session; no algorithm can reach it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nasharness.errors import DataError
from nasharness.search.evaluator import Truth
from nasharness.search.problem import Problem


@dataclass(frozen=True)
class Standing:
    """Where an architecture stands among all. ``final``, ``regret``: percent, percentage points.

    ``beats``: share of all architectures that are worse. ``median``: of the final metric over the whole space, percent.
    """

    final: float
    regret: float
    beats: float
    median: float

    def words(self, size: int) -> str:
        """The same as a statement."""
        which = "better than" if self.final > self.median else "worse than" if self.final < self.median else "equal to"
        share = f"beats {100 * self.beats:.1f} % of all {size:,} architectures"
        return f"{share}; {which} the median one ({self.median:.2f} %)"


class Judge:
    """The final metric of every architecture of a space on a data set.

    ``problem``, ``truth``: None where no table is here, and then ``why`` says how to get one.
    """

    def __init__(self, problem: Problem | None, why: str = "") -> None:
        self.problem = problem
        self.truth: Truth | None = None if problem is None else problem.truth()
        self.why = why
        self._sorted = np.empty(0) if self.truth is None else np.sort(self.truth.values)

    @classmethod
    def find(cls, space: str, dataset: str, *, table: str | None = None, final: str | None = None) -> Judge:
        """Open the table as ``Problem.judging`` does.

        Where none here can judge, and none was asked for by name, the judge has nothing to say. Raises UsageError
        and DataError for everything else that cannot be.
        """
        try:
            return cls(Problem.judging(space, dataset, table=table, final=final))
        except DataError as error:
            if table is not None or final is not None:
                raise
            return cls(None, str(error))

    @property
    def optimum(self) -> float:
        """The best final metric of the space, percent; NaN without a table."""
        return float("nan") if self.truth is None else self.truth.optimum

    def final(self, arch: Any) -> float | None:
        """Final metric of an architecture, an index or choices, percent; None without a table."""
        return None if self.truth is None else float(self.truth.score(np.int32(arch)))

    def standing(self, arch: Any) -> Standing | None:
        """Where an architecture stands; None without a table."""
        final = self.final(arch)
        if final is None:
            return None
        worse = int(np.searchsorted(self._sorted, final, side="left"))
        return Standing(final, self.optimum - final, worse / len(self._sorted), float(np.median(self._sorted)))

    def describe(self) -> dict[str, Any] | None:
        """The table as plain values; None without one."""
        if self.problem is None:
            return None
        table = self.problem.table
        return {"source": table.name, "version": table.version, "checksum": table.checksum}
