"""What figures are drawn from: the runs of a study by panel (space and data set), their curves, their tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasharness import spaces
from nasharness.analysis import caveats
from nasharness.analysis.comparison.runs import controls, optimum, same_protocol, trained
from nasharness.analysis.figures.style import Look, algorithm_looks
from nasharness.analysis.layout import budget
from nasharness.errors import DataError, unknown
from nasharness.search.registry import ONE_SHOT
from nasharness.spaces.base import Space

if TYPE_CHECKING:
    import pandas as pd

    from nasharness.search import Problem
    from nasharness.studies import StudyResults

Floats = NDArray[np.float64]
#: Budgets in simulated seconds get this many points of a curve between the first evaluation and the last.
POINTS = 80
AVERAGES = ("mean", "median")


@dataclass(frozen=True)
class Runs:
    """All runs of one algorithm in one panel. ``last``: one row a run; ``rows``: every improvement, by run and step."""

    algorithm: str
    cells: tuple[Mapping[str, Any], ...]
    rows: pd.DataFrame
    last: pd.DataFrame

    @cached_property
    def run(self) -> NDArray[np.int64]:
        """Number of the run that each of ``rows`` belongs to."""
        ends = self.rows["last"].to_numpy()
        return np.concatenate([[0], np.cumsum(ends)[:-1]]).astype(np.int64)

    def parts(self) -> Iterator[tuple[Mapping[str, Any], pd.DataFrame]]:
        """Each cell with its own rows."""
        for cell in self.cells:
            yield cell, self.rows[(self.rows["study"] == cell["study"]) & (self.rows["cell"] == cell["id"])]

    def first(self, axis: str) -> float:
        """From where on every run has an incumbent."""
        start = np.concatenate([[True], self.run[1:] != self.run[:-1]])
        return float(self.rows[axis].to_numpy()[start].max())

    def at(self, axis: str, budgets: Floats) -> Floats:
        """Final metric of every run's incumbent at ``budgets`` on ``axis`` (step, simulated_seconds).

        ``[runs, budgets]``, NaN before a run's first evaluation; what a run held at its end, it holds ever after.
        """
        where = self.rows[axis].to_numpy().astype(np.float64)
        final = self.rows["final"].to_numpy()
        found = np.full((len(self.last), len(budgets)), np.nan)
        starts = np.concatenate([[0], np.flatnonzero(self.run[1:] != self.run[:-1]) + 1, [len(where)]])
        for run in range(len(self.last)):
            low, high = starts[run], starts[run + 1]
            row = np.searchsorted(where[low:high], budgets, side="right") - 1
            found[run] = np.where(row >= 0, final[low + np.maximum(row, 0)], np.nan)
        return found


@dataclass(frozen=True)
class Panel:
    """One space and data set."""

    space: Space
    dataset: str
    optimum: float
    runs: tuple[Runs, ...]
    several_spaces: bool

    @property
    def title(self) -> str:
        """``CIFAR-10`` and so on; with the space where there are several."""
        title = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}.get(self.dataset, self.dataset)
        return f"{title} ({self.space.name})" if self.several_spaces else title

    @property
    def cell(self) -> Mapping[str, Any]:
        """A cell, of a search of the table if there is one: table and final metric are the same for all."""
        every = [cell for runs in self.runs for cell in runs.cells]
        return next((cell for cell in every if cell["kind"] != ONE_SHOT), every[0])

    @property
    def best(self) -> float:
        """The table's optimum, or what any run ended with at best where that is not known."""
        seen = max(float(runs.last["final"].max()) for runs in self.runs)
        return seen if np.isnan(self.optimum) else self.optimum

    def axis_end(self, axis: str) -> float:
        """Where curves end: the budget if it is one, else the median end of the longest algorithm."""
        key = {"step": "evaluations", "simulated_seconds": "seconds"}[axis]
        budgets = [cell["protocol"][key] for runs in self.runs for cell in runs.cells]
        if all(budget is not None for budget in budgets):
            return float(max(budgets))
        return max(float(runs.last[axis].median()) for runs in self.runs)

    def grid(self, axis: str) -> Floats:
        """Budgets at which curves are computed, even on a logarithmic axis; whole numbers of evaluations."""
        if axis == "simulated_seconds":
            timeless = [runs.algorithm for runs in self.runs if any(cell["clock"] is None for cell in runs.cells)]
            if timeless:
                raise DataError(
                    f"{self.title}: {', '.join(timeless)}: a table without training times has no simulated clock"
                )
        start = min(runs.first(axis) for runs in self.runs)
        end = max(self.axis_end(axis), start)
        points = np.geomspace(max(start, 1e-9), end, POINTS)
        if axis == "step":
            return np.unique(np.concatenate([np.round(points), [end]]))
        return np.unique(np.concatenate([points[:-1], [end]]))

    def problem(self) -> Problem:
        """The problem again, from the table itself. Raises DataError where that is not here, or another one by now."""
        from nasharness.search import Problem
        from nasharness.tables import open_table

        if self.space.arch_shape:
            raise DataError(f"{self.title}: space {self.space.name} is too large for a table of all its architectures")
        cell, table = self.cell, self.cell["table"]
        opened = open_table(self.space.name, table["source"])
        if opened.checksum != table["checksum"]:
            raise DataError(
                f"table {table['source']!r} of {self.space.name} is another one than the study's: checksum "
                f"{opened.checksum[:12]}, not {table['checksum'][:12]}; import or fetch that one again"
            )
        protocol = cell["protocol"]
        return Problem.create(
            self.space.name,
            self.dataset,
            table=opened,
            signal=protocol["signal"] if cell["kind"] != ONE_SHOT else None,
            final=protocol["final"],
            evaluations=protocol["evaluations"],
            seconds=protocol["seconds"],
            repeats=protocol["repeats"],
        )


class StudyView:
    """A study (or several) as figures see it. ``looks``: how each algorithm is drawn; ``controls``, such as random
    search, are first. ``average``: what curves show, one of AVERAGES.

    Raises DataError for a study without runs, or studies of other tables, protocols or budgets on one data set.
    """

    def __init__(self, results: StudyResults, average: str = "mean") -> None:
        if average not in AVERAGES:
            raise unknown("average", average, AVERAGES, "nasharness figures --help")
        self.average = average
        frame = results.frame
        if frame.empty:
            raise DataError("the study holds no runs; nothing can be drawn")
        self.results = results
        cells = [dict(cell) for cell in results.cells]
        known = list(dict.fromkeys(cell["algorithm"] for cell in cells))
        present = set(frame["algorithm"].unique())
        self.controls = controls(cells)
        labels = sorted((label for label in known if label in present), key=lambda label: label not in self.controls)
        self.looks: dict[str, Look] = algorithm_looks(labels, self.controls)
        keys = dict.fromkeys((cell["space"], cell["dataset"]) for cell in cells)
        several = len({space for space, _ in keys}) > 1
        groups = dict(iter(frame.groupby(["space", "dataset", "algorithm"], observed=True, sort=False)))
        panels = []
        for space, dataset in keys:
            same_protocol([cell for cell in cells if (cell["space"], cell["dataset"]) == (space, dataset)], at=False)
            runs = []
            for label in labels:
                rows = groups.get((space, dataset, label))
                if rows is None:
                    continue
                own = tuple(c for c in cells if (c["space"], c["dataset"], c["algorithm"]) == (space, dataset, label))
                runs.append(Runs(label, own, rows, rows[rows["last"]]))
            if runs:
                unjudged = [one.algorithm for one in runs if one.last["final"].isna().all()]
                if unjudged:
                    raise DataError(
                        f"{', '.join(unjudged)} on {space}/{dataset}: no final metric, so nothing can be drawn; get a "
                        "table that knows it (nasharness list tables) and finish the run again with --resume"
                    )
                best = optimum(runs[0].cells[0])
                panels.append(Panel(spaces.get(space), dataset, best, tuple(runs), several))
        self.panels: Sequence[Panel] = panels

    @property
    def algorithms(self) -> list[str]:
        """Labels, controls first."""
        return list(self.looks)

    @property
    def titles(self) -> list[str]:
        """Titles of the panels."""
        return [panel.title for panel in self.panels]

    @property
    def legend(self) -> list[tuple[str, Look]]:
        """Label and look of every algorithm."""
        return list(self.looks.items())

    @cached_property
    def note(self) -> str:
        """What every figure says below: tables, protocol, budget, number of runs."""
        return " ".join((self.note_table, self.note_runs))

    @cached_property
    def note_table(self) -> str:
        """Tables and protocol; per data set only what differs."""
        tables = _shared(self.panels, _table_text, "; ")
        signals, finals = (
            _shared(self.panels, lambda cell, key=key: str(cell["protocol"][key]), "; ")  # type: ignore[misc]
            for key in ("signal", "final")
        )
        return f"Table {tables}. Signal {signals}, final {finals}."

    @cached_property
    def note_runs(self) -> str:
        """Budget and number of runs."""
        budgets = _shared(self.panels, budget_text, "; ")
        counts = [len(runs.last) for panel in self.panels for runs in panel.runs]
        number = f"{counts[0]:,}" if len(set(counts)) == 1 else f"{min(counts):,} to {max(counts):,}"
        text = f"Budget {budgets}. {number} run{'' if counts == [1] * len(counts) else 's'} per algorithm and data set."
        learnt = trained(cell for panel in self.panels for runs in panel.runs for cell in runs.cells)
        if learnt:
            text += f" {', '.join(learnt)}: supernets; evaluations are epochs, seconds real ones."
        cells = [cell for panel in self.panels for runs in panel.runs for cell in runs.cells]
        if any(cell.get("realisation") is not None for cell in cells):
            text += " Runs on all realisations of the signal are pooled; intervals over both are in the comparison."
        return " ".join([text, *self._caveats(cells)])

    def _caveats(self, cells: Sequence[Mapping[str, Any]]) -> list[str]:
        """What was known before in full; of the runs, what it is about and where: a comparison has the numbers."""
        where: dict[str, list[str]] = {}
        for panel in self.panels:
            after = caveats.after((cell, rows) for runs in panel.runs for cell, rows in runs.parts())
            for code in dict.fromkeys(one.code for one in after):
                where.setdefault(code, []).append(panel.title)
        found = [str(one) for one in caveats.before(cells)]
        for code, titles in where.items():
            on = "" if len(titles) == len(self.panels) else f" on {', '.join(titles)}"
            found.append(f"{caveats.CODES[code]}{on} ({code})")
        return [f"Caveats: {'; '.join(found)}."] if found else []


def _table_text(cell: Mapping[str, Any]) -> str:
    return f"{cell['space']}/{cell['table']['source']} ({cell['table']['checksum'][:8]})"


def budget_text(cell: Mapping[str, Any]) -> str:
    """The budget of a cell in words, and whether repeats are charged to it."""
    if cell["kind"] == ONE_SHOT:
        return f"{cell['recipe']['epochs']:,} epochs"
    protocol = cell["protocol"]
    return budget(protocol) + (", repeats free" if protocol["repeats"] == "free" else "")


def _shared(panels: Sequence[Panel], text: Callable[[Mapping[str, Any]], str], between: str) -> str:
    """One text if it is the same everywhere, else each with the data sets that it is of."""
    titles: dict[str, list[str]] = {}
    for panel in panels:
        own = list(dict.fromkeys(text(cell) for runs in panel.runs for cell in runs.cells))
        said = " or ".join(own) if len(own) < 3 else f"{own[0]} ... {own[-1]} ({len(own)})"
        titles.setdefault(said, []).append(panel.title)
    if len(titles) == 1:
        return next(iter(titles))
    return between.join(f"{own} for {', '.join(names)}" for own, names in titles.items())
