"""A problem: space, table, data set, search signal, final metric, objectives, limits and budget. What a run is given.

Signal and truth are two objects: ``evaluator`` reads the search signal and its cost, ``truth`` the final metric. The
loop holds the first alone, and an algorithm neither (see task.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nasharness import spaces
from nasharness.errors import DataError, UsageError, unknown, whole
from nasharness.search import measure as measures
from nasharness.search.backend import Backend
from nasharness.search.evaluator import Evaluator, Known, Truth
from nasharness.search.measure import Measure
from nasharness.search.objective import Limit, Objective, parse_limit, reader, resolve
from nasharness.search.sources import check_target, environments_asked, read_stages
from nasharness.search.start import OWN, Start
from nasharness.spaces.base import Space
from nasharness.spaces.operators import Summed
from nasharness.tables import Table, candidates, open_table

if TYPE_CHECKING:
    from nasharness.search.front import Exact

DEFAULT_EVALUATIONS = 200
REPEATS = ("charged", "free")


@dataclass(frozen=True)
class Problem:
    """Build one with ``Problem.create``; every field decides results and is printed with them.

    ``objectives``: the first is the signal that is paid for; an algorithm that declares no need of objectives sees that
    one alone. ``limits``: what an answer must keep; an architecture known to break one is not paid for.
    """

    space: Space
    table: Table | Backend
    dataset: str
    signal: Measure
    final: Measure
    evaluations: int | None
    seconds: float | None
    repeats: str
    notes: tuple[str, ...] = ()
    objectives: tuple[Objective, ...] = ()
    limits: tuple[Limit, ...] = ()
    start: Start = OWN
    stages: tuple[Measure, ...] = ()
    environments: tuple[str, ...] = ()

    @classmethod
    def create(
        cls,
        space: str | Space = "tss",
        dataset: str | None = None,
        *,
        table: str | Table | Backend | None = None,
        signal: str | None = None,
        final: str | None = None,
        evaluations: int | None = None,
        seconds: float | None = None,
        budget: str | None = None,
        repeats: str = "charged",
        objectives: Sequence[str] = (),
        limits: Sequence[str] = (),
        start: str | Start = "own",
        stages: Sequence[str] = (),
        environments: str | Sequence[str] = (),
        target: str | None = None,
    ) -> Problem:
        """Put a problem together from names; what is left out follows the protocol of the table, else of the space.

        ``dataset``: None for the space's first, or the only one that its tables have. ``table``: a name, an open table,
        a `Backend`, or None for the first that can answer. ``signal``, ``final``: measurements as in ``val@12``,
        ``test@200:mean``, ``acc:0``. Budget: ``evaluations``, simulated ``seconds``, both, or the name of a preset of
        the space's protocol; 200 evaluations when none is given. ``repeats``: whether a run pays again for an
        architecture it has evaluated (``charged``, as NATS-Bench does) or not (``free``). ``objectives``: ``error``,
        ``params``, ``macs``, known columns or measurements; the signal comes first unless it is among them. ``limits``:
        as in ``params <= 1.2``. ``start``: what every run begins with, see start.py; ``own`` leaves it to the
        algorithm. ``stages``: cheaper measurements that may be asked in place of the signal, in order, as in
        ``cifar10/val@200``. ``environments``: at least two measurements that an evaluation shows, in place of signal
        and objectives, and ``target``, in place of the final metric, the one that results are scored by.

        Raises UsageError for a name or value that cannot be, DataError for data that are not here.
        """
        others = {"signal": signal, "final": final, "objective": objectives}
        sources = environments_asked(environments, target, others)
        if sources:
            signal, objectives, final = sources[0], sources[1:], target
        names = {"dataset": dataset, "signal": signal, "final": final, "budget": budget}
        for what, value in names.items():
            if value is not None and not isinstance(value, str):
                raise UsageError(f"{what} {value!r}: expected a name or None")
        if table is not None and not isinstance(table, (str, Table, Backend)):
            raise UsageError(f"table {table!r}: expected a name, an open Table, a Backend or None")
        chosen = space if isinstance(space, Space) else spaces.get(space)
        if repeats not in REPEATS:
            raise unknown("treatment of repeats", repeats, REPEATS)
        asked: dict[str, Any] = {"repeats": repeats, "start": Start.parse(start, chosen, dataset)}
        asked["environments"] = sources
        if repeats == "free" and "index" not in chosen.offers:
            raise UsageError(f"repeats=free needs a space that can be enumerated; {chosen.name!r} is none")
        if isinstance(table, Backend):
            if sources or stages:
                raise UsageError("a backend has one measurement: stages and environments need a table")
            asked |= dict(
                zip(("evaluations", "seconds"), _budget(evaluations, seconds, budget, chosen, ""), strict=True)
            )
            return cls(chosen, table, dataset or table.name, table.measure, table.measure, **asked)._with(
                objectives, limits
            )
        options, passed_over = _tables(chosen, table)
        dataset = dataset or default_dataset(chosen, options)
        known = datasets(chosen, options)
        if dataset not in known:
            raise unknown(f"data set of space {chosen.name!r}", dataset, known, "nasharness list datasets")
        evaluations, seconds = _budget(evaluations, seconds, budget, chosen, dataset)
        asked |= {"evaluations": evaluations, "seconds": seconds}
        for option in options:
            try:
                seen, scored = _protocol(option, chosen, dataset, signal, final)
                asked["stages"] = read_stages(stages, option, chosen, dataset)
                notes = tuple(f"table {reason}" for reason in passed_over)
                problem = cls(chosen, option, dataset, seen, scored, notes=notes, **asked)._with(objectives, limits)
                problem.check_environments()
                # both are read once here, so that a hole in the data is found before the search and not in its middle
                problem.truth()
                evaluator = problem.evaluator()
            except (UsageError, DataError) as error:
                if len(options) == 1:
                    raise
                passed_over.append(f"{option.name!r} was passed over: {error}")
                continue
            if seconds is not None and not evaluator.clocked:
                raise UsageError(
                    f"table {option.name!r} has no training times, so no simulated clock: give the budget in "
                    "--evaluations"
                )
            return problem
        raise UsageError("no table here can answer: " + "; ".join(passed_over))

    @classmethod
    def judging(
        cls,
        space: str,
        dataset: str,
        *,
        table: str | None = None,
        final: str | None = None,
        objectives: Sequence[str] = (),
    ) -> Problem:
        """A problem of which the final metric alone is read: any table that has one will do, without a signal too.

        For what searched elsewhere, as one-shot algorithms do on images, and for exact fronts. Raises UsageError for a
        name that cannot be, DataError where no table here can judge.
        """
        chosen = spaces.get(space)
        options, passed_over = _tables(chosen, table)
        if dataset not in (known := datasets(chosen, options)):
            raise unknown(f"data set of space {chosen.name!r}", dataset, known, "nasharness list datasets")
        for option in options:
            try:
                scored = _scored(option, chosen, dataset, final)
                problem = cls(chosen, option, dataset, scored, scored, None, None, "charged")._with(objectives, ())
                problem.truth()
            except (UsageError, DataError) as error:
                if table is not None or final is not None:
                    raise
                passed_over.append(f"{option.name!r} cannot judge: {error}")
                continue
            return replace(problem, notes=tuple(f"table {reason}" for reason in passed_over))
        raise DataError(f"no table of space {space!r} can judge {dataset}: {'; '.join(passed_over)}")

    def _with(self, objectives: Sequence[str], limits: Sequence[str]) -> Problem:
        """The same with its objectives and limits read. Raises UsageError for what cannot be."""
        table = self.table if isinstance(self.table, Table) else None
        minimise = False if table is None else self.signal.column(table).minimise
        unit = "" if table is None else self.signal.column(table).unit
        primary = Objective(self.signal.short, minimise, unit, self.signal, self.final)
        found: list[Objective] = []
        for text in objectives:
            objective = resolve(text, primary, table, self.space, self.dataset)
            if any(objective.name == other.name for other in found):
                raise UsageError(f"objective {objective.name!r} is asked for twice")
            found.append(objective)
        first = [objective for objective in found if objective.measure == self.signal]
        ordered = (first or [primary]) + [objective for objective in found if objective not in first]
        kept = [parse_limit(text, primary, ordered, table, self.space, self.dataset) for text in limits]
        problem = replace(self, objectives=tuple(ordered), limits=tuple(kept))
        problem.check_limits()
        return problem

    @property
    def sign(self) -> int:
        """What makes a higher signal better: -1 where it is minimised."""
        return self.objectives[0].sign

    def check_environments(self) -> None:
        """Raise UsageError for a source that is known without an evaluation, or that results are scored by."""
        if not self.environments:
            return
        for objective in self.objectives:
            if objective.measure is None:
                raise UsageError(f"environment {objective.name!r} is known without an evaluation: it is no measurement")
        check_target(self.final, [objective.measure for objective in self.objectives if objective.measure is not None])

    def check_limits(self) -> None:
        """Raise UsageError for limits that nothing keeps, with the nearest value there is, or that cannot be kept.

        A limit is on what is known: what only an evaluation tells cannot keep a search from paying for it.
        """
        for limit in self.limits:
            if not limit.objective.known:
                raise UsageError(
                    f"limit '{limit}': {limit.objective.name} is known only after an evaluation is paid for; limits "
                    "are on what is known before: closed forms, known columns and devices (nasharness list devices)"
                )
        read = reader(self.table if isinstance(self.table, Table) else None, self.space, self.dataset)
        listed = "index" in self.space.offers
        kept: Any = True  # what keeps all limits so far
        for number, limit in enumerate(self.limits):
            values_of = read(limit.objective)
            if listed:
                values = values_of(np.arange(self.space.size))
            elif isinstance(values_of, Summed):
                values = np.array([values_of.least(), values_of.most()])
            else:
                continue
            keeps = limit.excess(values) == 0
            if not (kept & keeps).any():
                left = np.where(kept, values, np.nan)
                nearest = np.nanmin(left) if limit.most else np.nanmax(left)
                others = " and ".join(f"'{other}'" for other in self.limits[:number] if keeps.any())
                raise UsageError(
                    f"limit '{limit}': nothing on space {self.space.name} keeps it"
                    f"{' and ' if others else ''}{others}; the nearest is {nearest:g}"
                )
            kept = kept & keeps if listed else True  # of a sum the extremes alone are known

    def describe(self) -> dict[str, Any]:
        """The protocol: every field that decides results, as plain values."""
        described: dict[str, Any] = {
            "signal": str(self.signal),
            "final": str(self.final),
            "evaluations": self.evaluations,
            "seconds": self.seconds,
            "repeats": self.repeats,
            "start": str(self.start),
            "cost": self.cost_note(),
            "direction": "min" if self.sign < 0 else "max",
        }
        if len(self.objectives) > 1 or self.objectives[0].error:
            described["objectives"] = [objective.describe() for objective in self.objectives]
        if self.limits:
            described["limits"] = [str(limit) for limit in self.limits]
        if self.stages:
            described["stages"] = [str(stage) for stage in self.stages]
        if self.environments:
            described["environments"] = list(self.environments)
        return described

    def cost_note(self) -> str:
        """Say in words what one evaluation costs."""
        if not isinstance(self.table, Table):
            return "one evaluation"
        stored = self.signal.stored
        if not (self.table.has(stored, "train_s") or self.table.has(stored, measures.COST)):
            return "one evaluation; the table has no times"
        if self.signal.epoch is None:
            return "the seconds of one evaluation"
        if not self.table.has(stored, "val_s"):
            return f"{self.signal.epoch} training epochs, validation not charged"
        note = self.table.column(stored, "val_s").note
        passes = self.signal.passes(self.signal.epoch)
        number = "one validation pass" if passes == 1 else f"{passes} validation passes"
        return f"{self.signal.epoch} training epochs + {number}" + (f" ({note})" if note else "")

    def evaluator(self) -> Evaluator:
        """What reads the search signal and its cost; made once."""
        return self._evaluator

    def truth(self) -> Truth:
        """What reads the final metric; made once. The harness asks it when the search is over."""
        return self._truth

    def known(self) -> Known | None:
        """What reads objectives and limits that cost nothing; None where there are no such. Made once."""
        return self._known

    def exact_front(self) -> Exact | None:
        """The exact front of several objectives; None where there is one, or no table tells it. Made once."""
        return self._exact

    @cached_property
    def _exact(self) -> Exact | None:
        from nasharness.search.front import exact_of  # which needs the loop, which needs this

        return exact_of(self)

    @cached_property
    def _evaluator(self) -> Evaluator:
        if not isinstance(self.table, Table):
            made: Any = self.table.evaluator()
            return made  # type: ignore[no-any-return]
        more = [(each.measure, each.sign) for each in self.objectives[1:] if each.measure is not None]
        return Evaluator(self.table, self.signal, self.sign, more, self.stages)

    @cached_property
    def _truth(self) -> Truth:
        if not isinstance(self.table, Table):
            made: Any = self.table.truth()
            return made  # type: ignore[no-any-return]
        feasible = None
        if self._known is not None and self._known.limited:
            feasible = self._known.excess(np.arange(self.space.size, dtype=np.int32)) == 0
        return Truth(self.table, self.final, self.signal, self.sign < 0, feasible)

    @cached_property
    def _known(self) -> Known | None:
        if not self.limits and len(self.objectives) < 2:
            return None
        table = self.table if isinstance(self.table, Table) else None
        return Known(self.objectives, self.limits, reader(table, self.space, self.dataset))

    def realised(self, asked: str | int) -> tuple[Problem, ...]:
        """The same problem on several realisations of its signal: ``all``, a number, or names of measures.

        See `nasharness.search.measure.realisations`, which says what is raised.
        """
        if not isinstance(self.table, Table):
            raise UsageError(f"realisations: {self.table.name} is a function and has no trials")
        if self.environments:
            raise UsageError("realisations are of one signal: they cannot be crossed with environments")
        signals = measures.realisations(self.signal, self.table, self.space, self.dataset, str(asked))
        objectives = tuple(one.name for one in self.objectives) if len(self.objectives) > 1 else ()
        limits = tuple(map(str, self.limits))
        found = [replace(self, signal=one, objectives=(), limits=())._with(objectives, limits) for one in signals]
        for problem in found:
            problem.truth()
            problem.evaluator()
        return tuple(found)

    @cached_property
    def signal_regret(self) -> Any:
        """How far the expected signal of each architecture is from the best there is, float64 ``[n]``; None for a
        function. The best of those that keep the limits.
        """  # noqa: D205
        if not isinstance(self.table, Table):
            return None
        expected = self.evaluator().expected_signal()
        known = self.known()
        allowed = expected
        if known is not None and known.limited:
            allowed = expected[known.excess(np.arange(self.space.size, dtype=np.int32)) == 0]
        return allowed.max(initial=-np.inf) - expected

    def loaded(self, **changes: Any) -> Problem:
        """The same with its columns in memory and none mapped: what a process on another machine needs, and no table.

        ``changes``: other budgets.
        """
        table = Table(self.table.path, self.table.meta) if isinstance(self.table, Table) else self.table
        made = replace(self, table=table, **changes)
        made.__dict__.update(_evaluator=self._evaluator, _truth=self._truth, _known=self._known, _exact=self._exact)
        return made


def _tables(space: Space, table: str | Table | None) -> tuple[list[Table], list[str]]:
    if isinstance(table, Table):
        if table.space != space.name:
            raise UsageError(f"table {table.name!r} is of space {table.space!r}, not {space.name!r}")
        return [table], []
    return ([open_table(space.name, table)], []) if table is not None else candidates(space.name)


def datasets(space: Space, tables: Sequence[Table]) -> list[str]:
    """Data sets of a space: the published ones, then others that its tables measure.

    Where the tables measure none of the published ones, as an imported one may, the others alone.
    """
    measured = dict.fromkeys(dataset for table in tables for dataset in table.datasets)
    stored = set(space.protocol.trained_on.values())
    others = [dataset for dataset in measured if dataset not in space.datasets and dataset not in stored]
    return others if others and not stored.union(space.datasets) & measured.keys() else [*space.datasets, *others]


def default_dataset(space: Space, tables: Sequence[Table]) -> str:
    """The data set that is meant where none is named. Raises UsageError where it could be one of several."""
    known = datasets(space, tables)
    if known[0] not in space.datasets and len(known) > 1:
        raise UsageError(f"space {space.name!r} has {', '.join(known)}; say which: --dataset {known[0]}")
    return known[0]


def _budget(
    evaluations: int | None, seconds: float | None, budget: str | None, space: Space, dataset: str
) -> tuple[int | None, float | None]:
    presets = space.protocol.budgets
    if budget is not None:
        if budget not in presets:
            raise unknown("budget", budget, presets)
        if seconds is not None:
            raise UsageError(
                f"--budget {budget} and --seconds {seconds:g} both set the simulated seconds; give one of them"
            )
        if dataset not in presets[budget]:
            raise UsageError(
                f"budget {budget!r} has no value for {dataset} on {space.name}; use --seconds or --evaluations"
            )
        seconds = presets[budget][dataset]
    if evaluations is not None:
        evaluations = whole("evaluations", evaluations, 1)
    number = isinstance(seconds, (int, float, np.number)) and not isinstance(seconds, bool)
    if seconds is not None and not (number and np.isfinite(seconds) and seconds > 0):
        raise UsageError(f"seconds {seconds}: expected a positive number of simulated seconds")
    if evaluations is None and seconds is None:
        evaluations = DEFAULT_EVALUATIONS
    return evaluations, None if seconds is None else float(seconds)


def _protocol(
    table: Table, space: Space, dataset: str, signal: str | None, final: str | None
) -> tuple[Measure, Measure]:
    """Signal and final metric: those asked for, else those of the table's card, else of the space's protocol."""
    own = table.protocol
    seen = _read(signal or own.get("signal"), space.protocol.signal, "signal", table, space, dataset)
    if seen.is_test and seen.source is None and (signal or "signal" not in own):
        raise _no_signal(signal or str(seen), table, space, dataset)
    if seen.seed == "others":
        raise UsageError(f"signal {signal}: 'others' is for final metrics: what a search has not seen")
    return seen, _scored(table, space, dataset, final)


def _scored(table: Table, space: Space, dataset: str, final: str | None) -> Measure:
    """The final metric alone."""
    asked = final or table.protocol.get("final")
    scored = _read(asked, space.protocol.final, "final metric", table, space, dataset)
    if scored.seed == "random":
        raise UsageError(f"final metric {final!r}: a random seed is no final metric; use :mean or a trial's label")
    return scored


def _no_signal(text: str, table: Table, space: Space, dataset: str) -> UsageError:
    """What to say to a test accuracy as a signal: what the table offers instead."""
    known = measures.metrics(table, space, dataset)
    instead = next((f"val@{column.schedule}" for column in known.get("val_acc", [])), "")
    others = [other for other in datasets(space, [table]) if other != dataset and other in table.datasets]
    if "signal" in table.protocol:
        instead = f"leave --signal out, for {table.protocol['signal']} of the table's own protocol"
    elif instead:
        instead = f"use {instead} or the like"
    elif others:
        named = re.search(r"test[\w.-]*(@[\d/-]+)?", text)
        instead = f"table {table.name!r} has no validation accuracy of {dataset}; search by another data set: "
        instead += f"--signal {others[0]}:{named[0] if named else 'test'}"
    else:
        instead = f"table {table.name!r} has nothing else"
    return UsageError(f"signal {text!r}: a test accuracy is never a search signal; {instead}")


def _read(text: str | None, preferred: Sequence[str], what: str, table: Table, space: Space, dataset: str) -> Measure:
    """The measurement asked for, else the first preferred one that exists, else what can only be meant."""
    if text is not None:
        if what == "signal" and text.strip().startswith("test"):
            raise _no_signal(text, table, space, dataset)
        return measures.parse(text, table, space, dataset)
    for choice in preferred:
        try:
            return measures.parse(choice, table, space, dataset)
        except UsageError:
            continue
    for choice in preferred if what != "signal" else ():
        # a table that scores other data sets by it must not score this one by something lesser
        if any(_has(choice, table, space, other) for other in datasets(space, [table])):
            measures.parse(choice, table, space, dataset)
    return measures.guess(what, table, space, dataset)


def _has(text: str, table: Table, space: Space, dataset: str) -> bool:
    try:
        measures.parse(text, table, space, dataset)
    except UsageError:
        return False
    return True
