"""Fronts as scores: the hypervolume over the budget, and the best under a limit, from a study's files alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError, UsageError, unknown
from nasharness.search.objective import split_limit

if TYPE_CHECKING:
    import pandas as pd

    from nasharness.analysis.statistics import Floats


@dataclass(frozen=True)
class Under:
    """A limit on an objective of a study. ``place``: of the objective; ``most``: whether the bound is the greatest."""

    name: str
    place: int
    most: bool
    bound: float
    unit: str

    def __str__(self) -> str:
        return f"{self.name} {'<=' if self.most else '>='} {self.bound:g}" + (f" {self.unit}" if self.unit else "")

    def keeps(self, values: Floats) -> NDArray[np.bool_]:
        """Which rows of ``values [n, objectives]`` keep it."""
        column = values[:, self.place]
        return np.asarray(column <= self.bound if self.most else column >= self.bound)


def read_limit(text: str, cell: Mapping[str, Any]) -> Under:
    """A limit on an objective that the runs of a cell searched by, and whose value is known before it is paid for.

    Raises UsageError for another form, unit or objective, and for a limit that nothing on the exact front keeps.
    """
    name, most, bound, unit = split_limit(text)
    objectives = _objectives(cell)
    known = [each["name"] for each in objectives if each["known"]]
    if name not in known:
        raise unknown(f"objective that {cell['algorithm']} knew on {cell['dataset']}", name, known)
    place = next(place for place, each in enumerate(objectives) if each["name"] == name)
    own = objectives[place]["unit"]
    if unit and unit != own:
        raise UsageError(f"limit {text!r}: {name} has {own or 'no unit'}, not {unit!r}; leave the unit out")
    found = Under(name, place, most, bound, own)
    exact = np.array(cell["front"]["exact"])
    if not found.keeps(exact).any():
        nearest = exact[:, place].min() if most else exact[:, place].max()
        raise UsageError(f"limit '{found}': nothing on {cell['space']}/{cell['dataset']} keeps it; the nearest is "
                         f"{nearest:g}")  # fmt: skip
    return found


@dataclass(frozen=True)
class Found:
    """What each run found best within a limit, arrays ``[runs]``; where it found nothing, -1 and NaN."""

    arch: NDArray[np.int32]
    signal: Floats
    final: Floats


def best_under(last: pd.DataFrame, cell: Mapping[str, Any], limit: Under) -> Found:
    """Of each run, the best *by the signal* that keeps the limit: a front holds the answer to any limit.

    ``last``: a row a run. Signal and final metric in their own direction.
    """
    sign = -1 if cell["protocol"].get("direction") == "min" else 1
    objectives = len(_objectives(cell))
    found = Found(np.full(len(last), -1, dtype=np.int32), np.full(len(last), np.nan), np.full(len(last), np.nan))
    columns = (last[name] for name in ("front", "front_signals", "front_values"))
    for run, (members, signals, values) in enumerate(zip(*columns, strict=True)):
        table = np.reshape(values, (-1, objectives))
        keeps = limit.keeps(table)
        if keeps.any():
            best = np.where(keeps, sign * np.asarray(signals), -np.inf).argmax()
            found.arch[run], found.signal[run] = members[best], signals[best]
            found.final[run] = metric(table[best : best + 1], cell)[0]
    return found


def optimum_under(cell: Mapping[str, Any], limit: Under) -> tuple[float, int]:
    """The best final metric that keeps the limit, and the architecture that has it."""
    exact = np.array(cell["front"]["exact"])
    kept = np.flatnonzero(limit.keeps(exact))
    sign = 1 if _objectives(cell)[0]["minimise"] else -1
    best = kept[(sign * exact[kept, 0]).argmin()]
    return float(metric(exact[best : best + 1], cell)[0]), int(cell["front"]["architectures"][best])


def metric(values: Floats, cell: Mapping[str, Any]) -> Floats:
    """The final metric, in its own direction, of rows ``[n, objectives]``: the accuracy where an error was sought."""
    return np.asarray(100.0 - values[:, 0] if _objectives(cell)[0]["name"] == "error" else values[:, 0])


def front_rows(rows: pd.DataFrame, cell: Mapping[str, Any]) -> pd.DataFrame:
    """Rows as those of a study, with the hypervolume, in percent of the exact front's, as ``final``.

    A row for each change and one, ``last``, for each run's end. When a run was so far is known in evaluations alone.
    """
    import pandas as pd

    last = rows[rows["last"]]
    if last["hypervolume"].isna().any():
        count = int(last["hypervolume"].isna().sum())
        raise DataError(
            f"{cell['algorithm']} on {cell['dataset']}: {count} runs have no hypervolume (it takes two objectives: "
            "--objective)"
        )
    counts = [len(steps) for steps in last["front_steps"]]
    changes = pd.DataFrame(
        {
            "seed": np.repeat(last["seed"].to_numpy(), counts),
            "step": np.concatenate(list(last["front_steps"])),
            "simulated_seconds": np.nan,
            "final": 100.0 * np.concatenate(list(last["front_hypervolumes"])),
            "last": False,
        }
    )
    ends = last[["seed", "step", "simulated_seconds", "last"]].assign(final=100.0 * last["hypervolume"])
    return pd.concat([changes, ends], ignore_index=True)


def _objectives(cell: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = cell["protocol"].get("objectives", ())
    if "front" not in cell:
        raise UsageError(
            f"{cell['algorithm']} on {cell['dataset']} was run for one objective, so it has no front; a study with "
            "--objective error --objective NAME does (and one with --limit is compared as it is)"
        )
    return found
