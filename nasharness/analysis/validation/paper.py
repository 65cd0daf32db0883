"""Run the registered algorithms as the papers did and hold them against the published tables, number by number."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasharness import spaces
from nasharness.analysis.layout import plain
from nasharness.analysis.validation.published import DATASETS, PROTOCOLS, STATUS, Published, published
from nasharness.errors import DataError, UsageError
from nasharness.runs.job import Progress
from nasharness.search import Problem, registry
from nasharness.search import run as search
from nasharness.search.trajectories import Trajectories
from nasharness.tables import Table, candidates, open_table
from nasharness.tables.catalogue import how_to_get
from nasharness.tables.importers.nats_light.table import SPACES as LIGHT_SPACES
from nasharness.tables.importers.nats_official.anchors import FULL

Floats = NDArray[np.float64]
#: runs behind a published mean
PUBLISHED_RUNS = 500
#: published numbers have two decimals; a mean of three rounded numbers may be off by twice as much
ROUNDING = 0.0101
AGREES, DIFFERS, ABSENT = "agrees", "differs", "not computed"


@dataclass(frozen=True)
class Agreement:
    """A published number beside ours. ``how``: ``search``, ``replay`` of known cells, or why there is nothing.

    ``needs``: what would decide a number that could not be computed: a table with the command that gets it, or what no
    table has.
    """

    published: Published
    mean: float
    std: float
    tolerance: float
    verdict: str
    how: str
    table: str = ""
    needs: str = ""


class _Here:
    """The tables here, asked for the full-length accuracies of the papers."""

    def __init__(self, space: str, table: str | None) -> None:
        try:
            self.tables: list[Table] = [open_table(space, table)] if table else candidates(space)[0]
            self.reason = ""
        except DataError as error:
            self.tables, self.reason = [], str(error)
        self.space = space

    def column(self, dataset: str, split: str) -> tuple[Floats, str] | None:
        """Accuracies of all architectures at full length, mean over trials, and the table's name."""
        trained = "cifar10-valid" if (dataset, split) == ("cifar10", "val") else dataset
        for table in self.tables:
            if table.has(trained, f"{split}_acc", FULL[self.space]):
                values = table.values(trained, f"{split}_acc", FULL[self.space])
                if np.isfinite(values).all():
                    return values, table.name
        return None


def agreement(
    *,
    runs: int = PUBLISHED_RUNS,
    seed: int = 0,
    space: str | None = None,
    table: str | None = None,
    progress: Progress | None = None,
) -> list[Agreement]:
    """Compare every published number that the tables here can answer.

    Searches see the 12-epoch validation accuracy and are scored by full-length means over trials, as the papers'. An
    accuracy may come from another table than the search, which is named. Two means agree within three standard errors
    of their difference; replayed cells within rounding.
    """
    rows = [row for row in published() if space is None or row.space == space]
    here = {name: _Here(name, table) for name in {row.space for row in rows}}
    kept: dict[tuple[str, str, str], Floats | str] = {}
    found = []
    for done, row in enumerate(rows):
        found.append(_one(row, here[row.space], kept, runs, seed))
        if progress is not None:
            progress(done + 1, len(rows))
    return found


def _one(
    row: Published, here: _Here, kept: dict[tuple[str, str, str], Floats | str], runs: int, seed: int
) -> Agreement:
    def absent(reason: str) -> Agreement:
        return Agreement(row, math.nan, math.nan, math.nan, ABSENT, reason, needs=needed(row))

    if row.algorithm is None and not row.cells:
        return absent(
            "a single architecture of that paper's data file, not of this one"
            if row.method == "ResNet"
            else "weight sharing: needs images and a GPU, and its cells were not published"
        )
    if not here.tables:
        return absent(here.reason)
    column = here.column(row.dataset, row.split)
    if column is None:
        return absent(f"no table here has all {row.dataset} {row.split} accuracies at {FULL[row.space]} epochs")
    values, name = column
    if row.algorithm is None:
        chosen = [
            int(values.argmax())
            if cell == "best"
            else cell
            if isinstance(cell, int)
            else spaces.get(row.space).parse(cell)
            for cell in row.cells
        ]
        mean, std = float(values[chosen].mean()), float(values[chosen].std())
        close = abs(mean - row.mean) <= ROUNDING and (row.std is None or abs(std - row.std) <= ROUNDING)
        return Agreement(row, mean, std, ROUNDING, AGREES if close else DIFFERS, "replay", name)
    searched = PROTOCOLS[row.source].searched or row.dataset
    key = (row.source, row.algorithm, searched)
    if key not in kept:
        kept[key] = _search(row, searched, here, runs, seed)
    places = kept[key]
    if isinstance(places, str):
        return absent(places)
    ids, weights = places.astype(np.intp)[:2], places[2:]
    scores = (values[ids] * weights).sum(axis=0)
    mean, std = float(scores.mean()), float(scores.std())
    theirs = row.std or 0.0
    tolerance = 3 * math.sqrt(std**2 / runs + theirs**2 / PUBLISHED_RUNS) + 0.005
    return Agreement(
        row, mean, std, tolerance, AGREES if abs(mean - row.mean) <= tolerance else DIFFERS, "search", name
    )


#: Needs that no table meets.
GPU = "no table: weight sharing on images, on a GPU"
OTHER_FILE = "no table: the data file of NAS-Bench-201 itself"


def needed(row: Published) -> str:
    """Which table decides a published number, with the command that gets it; or what no table has."""
    if row.algorithm is None and not row.cells:
        return OTHER_FILE if row.method == "ResNet" else GPU
    fidelities = row.algorithm is not None and "fidelities" in registry.get(row.algorithm).needs
    name = "light" if row.space in LIGHT_SPACES and not fidelities else "official"
    return f"table {name} of {row.space}: {how_to_get(row.space, name)}"


def _search(row: Published, dataset: str, here: _Here, runs: int, seed: int) -> Floats | str:
    """Incumbents at the budget: ``[4, runs]``, two architectures and the weights of their accuracies, or a reason."""
    if row.algorithm is None:
        raise AssertionError("no algorithm")
    budget = spaces.get(row.space).protocol.budgets[PROTOCOLS[row.source].budget][dataset]
    reason = ""
    for table in here.tables:
        # the final metric of the problem is never read: incumbents are scored by columns of any table here
        try:
            problem = Problem.create(
                row.space, dataset, table=table, signal="val@12", final="val@12:mean", seconds=budget
            )
        except (UsageError, DataError) as error:
            reason = reason or str(error)
            continue
        if "fidelities" in registry.get(row.algorithm).needs and len(problem.evaluator().epochs) == 1:
            return (
                f"{row.algorithm} needs several fidelities; table {table.name!r} has one (the official table has them)"
            )
        result = search(row.algorithm, problem, runs=runs, seed=seed)
        if PROTOCOLS[row.source].searched:  # scored by what was found, on all data sets
            return np.stack([result.incumbent, result.incumbent, np.ones(runs), np.zeros(runs)]).astype(np.float64)
        return at_budget(result.trajectories, budget)
    return reason


def at_budget(trajectories: Trajectories, budget: float) -> Floats:
    """NATS-Bench's reading of a trajectory at ``budget`` simulated seconds: ``[4, runs]``.

    The two points whose times are nearest to the budget, joined by a line: their two incumbents, and the weights that
    their accuracies have. Below 0 or above 1 the line is extended.
    """
    clock, count = trajectories.clock, trajectories.count
    steps = np.arange(clock.shape[1])
    distance = np.where(steps < count[:, None], np.abs(clock - budget), np.inf)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :2]
    if nearest.shape[1] == 1:
        nearest = np.repeat(nearest, 2, axis=1)
    nearest[count < 2, 1] = nearest[count < 2, 0]
    rows = np.arange(len(clock))[:, None]
    ids, times = trajectories.incumbents()[rows, nearest], clock[rows, nearest]
    gap = times[:, 1] - times[:, 0]
    share = np.where(gap != 0, (budget - times[:, 0]) / np.where(gap != 0, gap, 1), 0.0)
    return np.stack([ids[:, 0], ids[:, 1], 1 - share, share]).astype(np.float64)


def render(found: Sequence[Agreement], runs: int) -> str:
    """A line for every method and data set, and the counts. Why a number could not be computed, and what would decide
    it, is a numbered note.
    """
    notes: dict[str, int] = {}
    lines = []
    for source, protocol in PROTOCOLS.items():
        rows = [one for one in found if one.published.source == source]
        if not rows:
            continue
        by_place = {(one.published.method, one.published.dataset, one.published.split): one for one in rows}
        body = []
        for method in dict.fromkeys(one.published.method for one in rows):
            for dataset in DATASETS:
                line = [method, dataset]
                for split in ("val", "test"):
                    line += _texts(by_place.get((method, dataset, split)), notes)
                body.append(line)
        head = ["method", "data set", "val published", "here", "", "test published", "here", ""]
        lines += [protocol.title, "", plain(head, body), ""]
    computed = [one for one in found if one.verdict != ABSENT]
    agreeing = sum(one.verdict == AGREES for one in computed)
    needs = Counter(one.needs for one in found if one.verdict == ABSENT)
    replayed = sum(one.how == "replay" for one in found)
    lines += [f"note {number}     {text}" for text, number in notes.items()]
    lines += ["status     " + "; ".join(f"[{key}] {meaning}" for key, meaning in STATUS.items())]
    lines += [
        f"runs       {runs:,} here, {PUBLISHED_RUNS} with other seeds there; {replayed} numbers replay known cells"
    ]
    tables = {f"{one.published.dataset} {one.published.split} of {one.table}" for one in found if one.table}
    lines += [f"scored by  {', '.join(sorted(tables)) or 'nothing here'}"]
    lines += [f"missing    {count:>3} of {len(found)} numbers: {need}" for need, count in needs.most_common()]
    differing = len(computed) - agreeing
    lines += [f"verdict    {len(computed)} of {len(found)} numbers computed: {agreeing} agree, {differing} differ"]
    lines += ["           +- is the std over runs; a difference is held against three standard errors (in brackets)"]
    if failures(found):
        lines.append("           differing on the official table from a number that is [S] or [R]: a failed check")
    return "\n".join(lines)


def _texts(one: Agreement | None, notes: dict[str, int]) -> list[str]:
    """Published value with its status, ours, and the verdict."""
    if one is None:
        return ["-", "-", ""]
    p = one.published
    text = f"{_spread(p.mean, p.std)} {f'[{p.status}]':>4}"
    if one.verdict == ABSENT:
        table, _, _ = one.needs.partition(": ")  # the command that gets it is told once, with the counts
        reason = one.how if table == "no table" else f"{one.how}; decided by {table}"
        return [text, "-", f"note {notes.setdefault(reason, len(notes) + 1)}"]
    ours = _spread(one.mean, one.std if p.std is not None else None)
    difference = one.mean - p.mean
    return [text, ours, f"{one.verdict} {0.0 if abs(difference) < 0.005 else difference:+.2f} ({one.tolerance:.2f})"]


def _spread(mean: float, std: float | None) -> str:
    return f"{mean:.2f}" + ("" if std is None else f" +- {std:.2f}")


def failures(found: Sequence[Agreement]) -> list[Agreement]:
    """Numbers of NATS-Bench that are known for sure, computed on its own archive, and different.

    NAS-Bench-201's come from another data file and are no gate.
    """
    return [
        one
        for one in found
        if one.verdict == DIFFERS
        and one.table == "official"
        and PROTOCOLS[one.published.source].gate
        and one.published.status in ("S", "R")
    ]
