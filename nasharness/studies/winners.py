"""The winners of a study: the candidates of each algorithm, from the last rows of its runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasharness import spaces
from nasharness.search import winner as winners
from nasharness.search.winner import Candidate
from nasharness.spaces.base import Space
from nasharness.storage import write_json

if TYPE_CHECKING:
    import pandas as pd

    from nasharness.studies.load import StudyResults

FOLDER = "winners"


def candidates_of(last: pd.DataFrame, space: Space, cell: Mapping[str, Any]) -> list[Candidate]:
    """What the runs of a cell offer. ``last``: a row a run.

    The final metric of a candidate is its mean over the runs that hold it: no table needs to be here.
    """
    incumbent, recommended = archs(last["incumbent"], space), archs(last["recommended"], space)
    finals = [last[name].to_numpy(dtype=np.float64) for name in ("final", "recommended_final")]

    def score(arch: Any) -> float:
        held = [
            values[(ids.reshape(len(values), -1) == np.ravel(arch)).all(axis=1)]
            for ids, values in zip((incumbent, recommended), finals, strict=True)
        ]
        return float(np.concatenate(held).mean())

    signal = last["signal"].to_numpy(dtype=np.float64)
    sign = -1 if cell["protocol"].get("direction") == "min" else 1
    seeds, several = last["seed"].to_numpy(), bool(cell["protocol"].get("environments"))
    return winners.candidates(space, seeds, incumbent, signal, recommended, score, sign, answers_first=several)


def archs(column: pd.Series[Any], space: Space) -> NDArray[Any]:
    """A column of architectures as an array ``[rows, *arch_shape]``."""
    return np.stack(list(column)) if space.arch_shape else column.to_numpy()


def write_winners(results: StudyResults, folder: Path) -> list[Path]:
    """Write a ``winner.json`` for each algorithm on each data set into ``folder``, named after them."""
    written = []
    groups = dict(iter(results.last.groupby(["study", "cell"], observed=True, sort=False)))
    for cell in results.cells:
        last = groups.get((cell["study"], cell["id"]))
        if last is None:
            continue
        space = spaces.get(cell["space"])
        found = [one.as_dict(space) for one in candidates_of(last, space, cell)]
        told = cell | {"algorithm": cell["name"], "runs": len(last)}
        origin = results.metas[cell["study"]].get("provenance", {})
        name = re.sub(r"[^\w.+=-]+", "-", f"{cell['space']}-{cell['dataset']}-{cell['algorithm']}").strip("-")
        path = folder / f"{name}.json"
        write_json(path, winners.content(told, found, provenance=origin))
        written.append(path)
    return written
