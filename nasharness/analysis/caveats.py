"""Caveats of studies: those known before anything ran, which cells hold, and those of the runs, from their rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nasharness.search import caveats
from nasharness.search.caveats import CODES, Caveat, Found
from nasharness.search.registry import ONE_SHOT

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CODES", "after", "before"]


def before(cells: Iterable[Mapping[str, Any]]) -> list[Caveat]:
    """What the cells of a study say, each once."""
    return list(dict.fromkeys(Caveat(**each) for cell in cells for each in cell.get("caveats", ())))


def after(parts: Iterable[tuple[Mapping[str, Any], pd.DataFrame]]) -> list[Caveat]:
    """What finished runs of one data set say. ``parts``: a cell and its rows, each.

    That all runs of an algorithm end at the optimum is no caveat beside others that do not.
    """
    found: dict[str, list[Found]] = {}
    for cell, rows in parts:
        found.setdefault(cell["algorithm"], []).extend([] if cell["kind"] == ONE_SHOT else _of(cell, rows))
    if not all(any(one.code == "saturated" for one in each) for each in found.values()):
        found = {name: [one for one in each if one.code != "saturated"] for name, each in found.items()}
    return caveats.said(found)


def _of(cell: Mapping[str, Any], rows: pd.DataFrame) -> list[Found]:
    """What can be said of the runs of one cell."""
    last = rows[rows["last"]]
    if last.empty:
        return []
    answers = last["recommended"]
    whole = answers if answers.dtype.kind in "iu" else answers.map(tuple)
    shown = last["all_shown"].to_numpy(dtype=np.float64)
    first = rows[(rows["step"] == 1) & ~rows["last"]]["final"].to_numpy()
    return caveats.after(
        cell["protocol"],
        final=last["final"].to_numpy(),
        optimum=math.nan if cell["optimum"] is None else cell["optimum"],
        seconds=last["simulated_seconds"].to_numpy(),
        first=first if len(first) == len(last) else None,
        seen_all=0.0 if np.isnan(shown).all() else float(np.nanmean(shown)),
        votes=None if len(last) < 2 else float(whole.value_counts().iloc[0] / len(last)),
    )
