"""Objectives and limits: what is wanted of an architecture besides the measurement that a search pays for."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from nasharness import hardware
from nasharness.errors import UsageError, nearest, unknown
from nasharness.search import measure as measures
from nasharness.search.measure import Measure
from nasharness.spaces.base import Floats, Space
from nasharness.tables import Table

#: other words for what spaces compute
_ALIASES = {"flops": "macs"}
_UNITS = {"params": "M", "macs": "M"}
_LIMIT = re.compile(r"\s*([\w./@:-]+?)\s*(<=|>=|<|>|=)\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*(\S*)\s*")


@dataclass(frozen=True)
class Objective:
    """A quantity with a direction and a unit.

    ``measure``: the search signal it is read from, which costs an evaluation; None for one that is known without. Known
    ones come from ``column``, (data set, metric) of a scalar column of the table, from ``device``, or from the space's
    closed form. ``final``: what it is scored by. ``error``: whether 100 minus the measurement is shown.
    """

    name: str
    minimise: bool
    unit: str = ""
    measure: Measure | None = None
    final: Measure | None = None
    column: tuple[str, str] | None = None
    error: bool = False
    device: hardware.Quantity | None = None

    @property
    def partial(self) -> bool:
        """Whether it is known that some architectures have no value, so that none of them can be an answer."""
        return self.device is not None and self.device.partial

    @property
    def known(self) -> bool:
        """Whether it costs nothing to know."""
        return self.measure is None

    @property
    def sign(self) -> int:
        """What makes higher better: -1 for what is minimised. An error is minimised by maximising the accuracy."""
        return -1 if self.minimise and not self.error else 1

    def shown(self, adjusted: Floats) -> Floats:
        """Values as a person reads them, of adjusted ones (higher is better)."""
        return np.asarray(100.0 - adjusted if self.error else self.sign * adjusted)

    def describe(self) -> dict[str, str | bool]:
        """Plain values."""
        read = str(self.measure or self.device or (".".join(self.column) if self.column else "closed form"))
        return {"name": self.name, "minimise": self.minimise, "unit": self.unit, "known": self.known, "read": read}


@dataclass(frozen=True)
class Limit:
    """An objective and a bound that an answer must keep. ``most``: whether the bound is the greatest value allowed."""

    objective: Objective
    most: bool
    bound: float

    def __str__(self) -> str:
        return f"{self.objective.name} {'<=' if self.most else '>='} {self.bound:g}"

    def excess(self, values: Floats) -> Floats:
        """How far ``values`` break it, relative to the bound; 0 where they keep it, infinite where nothing is known."""
        beyond = (values - self.bound) if self.most else (self.bound - values)
        broken = np.maximum(beyond, 0.0) / max(abs(self.bound), 1e-12)
        return np.asarray(np.where(np.isnan(values), np.inf, broken))


def known_names(table: Table | None, space: Space, dataset: str) -> list[str]:
    """Objectives that cost nothing: closed forms of the space, scalar columns of the table but for times, devices."""
    names = list(space.closed_forms)
    if table is not None:
        names += [column.metric for column in _scalars(table, space, dataset).values()]
    names += [quantity.name for quantity in hardware.quantities(space, dataset)]
    return list(dict.fromkeys(names))


def _scalars(table: Table, space: Space, dataset: str) -> dict[str, measures.Column]:
    times = ("train_s", "val_s", measures.COST)
    return {
        column.metric: column
        for column in table.columns.values()
        if not column.seeds and column.metric not in times
        and column.dataset == space.protocol.column_dataset(dataset, column.metric)
    }  # fmt: skip


def resolve(text: str, primary: Objective, table: Table | None, space: Space, dataset: str) -> Objective:
    """The objective that ``text`` names. Raises UsageError with the nearest names where there is none.

    ``error`` and ``accuracy`` are the signal itself; then closed forms, known columns of the table, quantities of
    devices, and measurements.
    """
    name = _ALIASES.get(text.strip(), text.strip())
    if name in ("error", "accuracy", primary.name):
        return primary if name != "error" else _as_error(primary)
    if name in space.closed_forms:
        return Objective(name, True, _UNITS.get(name, ""))
    scalars = {} if table is None else _scalars(table, space, dataset)
    if name in scalars:
        column = scalars[name]
        return Objective(name, _minimised(column), column.unit, column=(column.dataset, column.metric))
    device = hardware.find(space, dataset, name)
    if device is not None:
        return Objective(device.name, device.minimise, device.unit, device=device)
    if hardware.looks_like_one(name):
        raise hardware.unknown_quantity(name, hardware.quantities(space), space.name, dataset)
    every = ["error", "accuracy", *known_names(table, space, dataset)]
    if table is None:
        raise unknown("objective", text, every)
    try:
        seen = measures.parse(name, table, space, dataset)
    except UsageError as error:
        close = ", ".join(nearest(text, every))
        raise UsageError(
            f"unknown objective {text!r} on {dataset} (nearest: {close}); nor a measurement: {error}"
        ) from None
    if seen.is_test and seen.source is None:
        raise UsageError(f"objective {text!r}: a test measurement is never searched by")
    column = seen.column(table)
    final = Measure(seen.metric, seen.epoch, seen.schedule, "mean", seen.stored, seen.first, seen.source)
    return Objective(name, column.minimise, column.unit, seen, final)


def _minimised(column: measures.Column) -> bool:
    """A cost (latency, energy, size) is minimised unless its name says that more is better."""
    return column.minimise or not any(word in column.metric for word in ("throughput", "acc", "score"))


def _as_error(primary: Objective) -> Objective:
    if primary.minimise:
        raise UsageError(f"objective 'error': {primary.name} is minimised already; name it instead")
    return Objective("error", True, "percent", primary.measure, primary.final, error=True)


def parse_limit(
    text: str, primary: Objective, objectives: Sequence[Objective], table: Table | None, space: Space, dataset: str
) -> Limit:
    """Read ``NAME <= NUMBER`` or ``NAME >= NUMBER``. Raises UsageError for another form, or an unknown name."""
    name, most, bound, unit = split_limit(text)
    named = {objective.name: objective for objective in objectives}
    objective = named.get(name) or resolve(name, primary, table, space, dataset)
    if unit and unit != objective.unit:
        own = objective.unit or "no unit"
        raise UsageError(
            f"limit {text!r}: {objective.name} has {own}, not {unit!r}; leave the unit out, or write {own}"
        )
    return Limit(objective, most, bound)


def split_limit(text: str) -> tuple[str, bool, float, str]:
    """Name, whether the bound is the greatest value allowed, bound and unit of ``NAME <= NUMBER [UNIT]``.

    Raises UsageError for another form.
    """
    match = _LIMIT.fullmatch(text)
    if match is None or match[2] not in ("<=", ">="):
        raise UsageError(f"limit {text!r}: expected NAME <= NUMBER or NAME >= NUMBER, as in 'params <= 1.5'")
    try:
        bound = float(match[3])
    except ValueError:
        raise UsageError(f"limit {text!r}: {match[3]!r} is no number") from None
    if not math.isfinite(bound):  # of 1e999, too, Python makes infinity
        raise UsageError(f"limit {text!r}: {match[3]} is no finite number, so it limits nothing")
    return _ALIASES.get(match[1], match[1]), match[2] == "<=", bound, match[4]


def reader(table: Table | None, space: Space, dataset: str):  # type: ignore[no-untyped-def]
    """How known objectives are read: a function from an `Objective` to a function from architectures to values."""

    def read(objective: Objective):  # type: ignore[no-untyped-def]
        if objective.device is not None:
            return hardware.reader(objective.device)
        if objective.column is not None and table is not None:
            column = np.array(table.values(*objective.column), dtype=np.float64)
            return column.take
        if "index" in space.offers:
            return np.asarray(space.closed_form(objective.name, np.arange(space.size), dataset)).take
        return partial(space.closed_form, objective.name, dataset=dataset)

    return read
