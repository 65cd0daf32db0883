"""``trajectory.json``, every candidate of every step of a search: its writer and its readers, which need no torch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasharness import spaces
from nasharness.errors import DataError
from nasharness.storage.sealed import parse, read_bytes
from nasharness.training.proxy_search.shrink import Candidate, Trajectory

if TYPE_CHECKING:
    from nasharness.training.proxy_search.run import ShrinkRequest

NAME = "trajectory.json"


def record(request: ShrinkRequest, trajectory: Trajectory) -> dict[str, Any]:
    """The content of ``trajectory.json``: every candidate of every step. The same search gives the same bytes."""

    def plain(one: Candidate) -> dict[str, Any]:
        return {
            "removed": None if one.removed is None else f"{one.removed[0]}->{one.removed[1]}",
            "arch": str(one.graph),
            "edges": len(one.graph.eligible),
            request.proxy.quality: one.value if math.isfinite(one.value) else None,
            "cost": one.cost,
            "score": one.score if math.isfinite(one.score) else None,
            "stopped": one.stopped,
        }

    start = trajectory.scored_start
    return {
        "space": request.space.name,
        "algorithm": request.algorithm,
        "seed": request.seed,
        "dataset": request.dataset,
        "quality": request.proxy.quality,
        "cost_unit": request.proxy.unit,
        "start": str(trajectory.start),
        "scored_start": None if start is None else plain(start),
        "steps": [
            {
                "edges": len(step.chosen.graph.eligible),
                "chosen": step.candidates.index(step.chosen),
                "candidates": [plain(one) for one in step.candidates],
            }
            for step in trajectory.steps
        ],
        "trainings": trajectory.trainings,
        "ended": trajectory.ended,
    }


def read(folder: Path) -> dict[str, Any]:
    """Return the content of ``trajectory.json`` in ``folder``; DataError where there is none or it is damaged."""
    path = folder / NAME
    found = parse(read_bytes(path), dict[str, Any], path, "search again")
    if not {"space", "start", "steps", "quality"} <= set(found):
        raise DataError(f"{path}: no trajectory of AutoShrink's own search")
    return found


def rows(trajectory: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for every candidate: step (0 is the complete graph), edge removed, value, cost, score, chosen or not."""
    found = []
    if trajectory["scored_start"] is not None:
        found.append(_row(0, trajectory["scored_start"], True, trajectory["quality"]))
    for number, step in enumerate(trajectory["steps"], 1):
        for place, one in enumerate(step["candidates"]):
            found.append(_row(number, one, place == step["chosen"], trajectory["quality"]))
    return found


def _row(step: int, one: dict[str, Any], chosen: bool, quality: str) -> dict[str, Any]:
    return {
        "step": step,
        "removed": one["removed"] or "",
        "edges": one["edges"],
        "quality": math.nan if one[quality] is None else one[quality],
        "cost": one["cost"],
        "score": math.nan if one["score"] is None else one["score"],
        "chosen": chosen,
        "stopped": one["stopped"],
        "arch": one["arch"],
    }


def survival(trajectory: dict[str, Any]) -> dict[str, int]:
    """Edge -> the step that removed it, or the number of steps + 1 where it is still there."""
    space = spaces.graphs(trajectory["space"])
    steps = trajectory["steps"]
    graphs = [space.parse(trajectory["start"])]
    graphs += [space.parse(step["candidates"][step["chosen"]]["arch"]) for step in steps]
    return {
        f"{source}->{target}": next(
            (number for number, graph in enumerate(graphs) if (source, target) not in graph.present), len(graphs)
        )
        for source, target in graphs[0].present
    }
