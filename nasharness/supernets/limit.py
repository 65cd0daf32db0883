"""A weight of the cost with which a search keeps a limit, found by bisection in short runs before the run itself.

For one-shot algorithms whose loss counts the latency of a device (settings ``cost_weight`` and ``device_cost``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from nasharness import hardware, spaces
from nasharness.errors import DataError, DegenerateError, UsageError
from nasharness.runs.signals import Stop, Stopped
from nasharness.search.objective import Limit, Objective, split_limit
from nasharness.search.registry import Record
from nasharness.storage import writing
from nasharness.storage.files import write_json
from nasharness.storage.sealed import parse as parse_json
from nasharness.storage.sealed import read_bytes

if TYPE_CHECKING:
    from nasharness.runs.job import Progress
    from nasharness.supernets.request import OneShotRequest

#: what is known of the weights that were tried, in the folder of the run
FILE = "limit.json"
#: a short run has this share of the epochs, and no fewer than the second; thresholds need some steps to pass norms
SHARE, LEAST = 1 / 3, 4
#: while it is not known between which weights the answer lies, the next is so many times the last, up to the greatest
GROWTH, GREATEST = 4.0, 1e4
#: bisection, of logarithms, ends where the answer is this near to the bound, or after so many runs
NEAR, RUNS = 0.02, 9


def parse(text: str, record: Record, settings: dict[str, Any], space: str, dataset: str) -> Limit:
    """The limit ``text`` on the latency that the loss of an algorithm counts.

    Raises UsageError for another quantity or form, and for what no network of the space keeps.
    """
    if "cost_weight" not in record.defaults or "device_cost" not in record.defaults:
        raise UsageError(f"--limit: {record.name} counts no latency of a device, so it cannot keep a limit on one")
    where, wanted = spaces.get(space), f"{settings['device_cost']}_latency"
    name, most, bound, unit = split_limit(text)
    found = hardware.find(where, dataset, wanted)
    if found is None:
        raise hardware.unknown_quantity(wanted, hardware.quantities(where), space, dataset)
    if name != wanted or not most:
        raise UsageError(
            f"limit {text!r}: {record.name} counts {wanted} (--device-cost); expected '{wanted} <= NUMBER'"
        )
    if unit and unit != found.unit:
        raise UsageError(f"limit {text!r}: {name} has {found.unit}, not {unit!r}; leave the unit out")
    read: Any = hardware.reader(found)
    least = read.fixed + sum(float(np.min(prices)) for prices in read.layers)
    if not bound >= least:
        raise UsageError(
            f"limit {text!r}: the smallest network of space {space!r} takes {least:.2f} {found.unit}, so none keeps it"
        )
    return Limit(Objective(found.name, found.minimise, found.unit, device=found), most, bound)


def latency(limit: Limit, arch: Any) -> float:
    """What an architecture has of the limit's quantity."""
    return float(hardware.reader(limit.objective.device)(np.asarray(arch, dtype=np.int8)))  # type: ignore[arg-type]


def verdict(limit: Limit, arch: Any, weight: float) -> str:
    """Whether an answer keeps the limit, in words, and what to do where it does not."""
    value, unit = latency(limit, arch), limit.objective.unit
    if value <= limit.bound:
        return f"keeps the limit {limit}: {value:.2f} {unit}"
    return (
        f"BREAKS the limit {limit}: {value:.2f} {unit}; the short runs promised more than the whole one holds: give a "
        f"--set cost_weight above {weight:.4g}, from which the search for one then begins"
    )


def within(request: OneShotRequest, limit: Limit, stop: Stop, progress: Progress | None) -> OneShotRequest:
    """The request with a weight of the cost whose short run keeps the limit as closely as was found.

    Beginning with the ``cost_weight`` that was asked for. What each tried weight came to is kept in the folder of the
    run, and not computed again. Raises DataError where no weight up to 10,000 keeps it, Stopped where told to stop.
    """
    epochs = min(request.recipe.epochs, max(LEAST, round(SHARE * request.recipe.epochs)))
    tried = _Tried.of(request, limit, epochs)

    def keeps(weight: float) -> bool:
        if weight not in tried.latencies:
            tried.add(weight, _short(request, weight, limit, epochs, stop, progress))
            _say(progress, f"cost_weight {weight:.4g}: {tried.latencies[weight]:.2f} {limit.objective.unit}")
        return tried.latencies[weight] <= limit.bound

    weight = max(float(request.settings["cost_weight"]), 1e-3)
    _say(progress, f"a cost_weight for '{limit}' is looked for, in runs of {epochs} epochs")
    below, above = _bracket(weight, keeps)
    if above is None:
        raise DataError(
            f"limit '{limit}': no cost_weight up to {GREATEST:g} keeps it in runs of {epochs} epochs, the nearest has "
            f"{min(tried.latencies.values()):.2f} {limit.objective.unit}; more --epochs give thresholds more steps"
        )
    while below is not None and len(tried.latencies) < RUNS and tried.latencies[above] < (1 - NEAR) * limit.bound:
        middle = math.sqrt(below * above)
        below, above = (below, middle) if keeps(middle) else (middle, above)
    note = (
        f"cost_weight {above:.4g} was found for '{limit}' by bisection in {len(tried.latencies)} runs of {epochs} "
        f"epochs with seed {request.seeds[0]}; there it gave {tried.latencies[above]:.2f} {limit.objective.unit}"
    )
    _say(progress, note)
    return replace(request, settings=request.settings | {"cost_weight": above}, notes=(*request.notes, note))


def _bracket(weight: float, keeps: Any) -> tuple[float | None, float | None]:
    """A weight that breaks the limit and a greater one that keeps it; None for one that is not there."""
    below = None
    if keeps(weight):
        for lower in (weight / GROWTH**number for number in range(1, 5)):
            if not keeps(lower):
                return lower, lower * GROWTH
        return None, lower
    while weight <= GREATEST:
        below, weight = weight, weight * GROWTH
        if keeps(weight):
            return below, weight
    return below, None


@dataclass
class _Tried:
    """Latency by weight, kept in a file where a run has a folder."""

    file: Path | None
    identity: dict[str, str]
    latencies: dict[float, float]

    @classmethod
    def of(cls, request: OneShotRequest, limit: Limit, epochs: int) -> _Tried:
        first = request.session(request.seeds[0], request.devices[0]).identity
        identity = {name: str(value) for name, value in first.items() if name != "--set cost_weight"}
        identity |= {"limit": str(limit), "epochs of a short run": str(epochs)}
        tried = cls(None if request.out is None else request.out / FILE, identity, {})
        if tried.file is not None and request.resume and tried.file.exists():
            known = parse_json(read_bytes(tried.file), _Kept, tried.file, "remove it to look for a weight again")
            if known["identity"] == identity:
                tried.latencies = {float(one["cost_weight"]): float(one["latency"]) for one in known["tried"]}
        return tried

    def add(self, weight: float, value: float) -> None:
        self.latencies[weight] = value
        if self.file is not None:
            rows = [{"cost_weight": one, "latency": known} for one, known in self.latencies.items()]
            with writing(f"what was tried to {self.file}"):
                self.file.parent.mkdir(parents=True, exist_ok=True)
                write_json(self.file, {"identity": self.identity, "tried": rows})


class _Kept(msgspec.Struct):
    identity: dict[str, str]
    tried: list[dict[str, float]]


def _short(
    request: OneShotRequest, weight: float, limit: Limit, epochs: int, stop: Stop, progress: Progress | None
) -> float:
    """The latency of what a short run with ``weight`` ends with."""
    short = replace(
        request,
        settings=request.settings | {"cost_weight": weight},
        recipe=replace(request.recipe, epochs=epochs),
        out=None,
        derive_every=epochs,
    )
    session = short.session(short.seeds[0], short.devices[0])
    try:
        for mark in session.steps():
            if stop.code:  # nothing of a short run is worth a checkpoint
                kept = "nothing is kept" if request.out is None else f"what was tried is kept in {request.out / FILE}"
                raise Stopped(f"stopped while a cost_weight was looked for; {kept}", stop.code)
            if progress is not None:
                progress(mark.done, mark.total, f"cost_weight {weight:.4g}")
    except DegenerateError:  # all is left out that can be: that is the smallest there is
        return latency(limit, session.algorithm.derive())
    return latency(limit, session.rows[-1].arch)


def _say(progress: Progress | None, text: str) -> None:
    if progress is not None:
        progress(0, 0, line=text)
