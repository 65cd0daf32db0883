"""One-shot runs as a study of one cell: the folder that runs on tables have, with epochs in place of evaluations.

A row an epoch with a derivation: ``step`` is the epoch, ``simulated_seconds`` the real seconds of training (the cell
says ``clock: real``), ``incumbent`` what was derived, ``signal`` its accuracy with the shared weights, ``final`` the
table's metric, NaN where no table judges. Checkpoints and logs stay beside, in ``seed-0`` and so on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nasharness import spaces
from nasharness.search import winner as winners
from nasharness.search.result import number
from nasharness.storage import write_json, writing
from nasharness.studies.cells import FORMAT, identity_of, table_label, versions
from nasharness.studies.folder import Folder
from nasharness.studies.plan import Choice
from nasharness.studies.shard import LATER, encoded
from nasharness.supernets.request import SIGNAL, check_result

if TYPE_CHECKING:
    from nasharness.supernets.result import OneShotResult

#: the table of runs that no table judges
NO_TABLE = {"source": "none", "version": "", "checksum": ""}


def write(result: OneShotResult, folder: Path) -> Path:
    """Write ``study.json``, the shard and ``winner.json``; anew where ``folder`` holds runs that these include.

    Raises UsageError where it holds another result, or cannot be written.
    """
    request = result.request
    check_result(folder, request.record, request.seeds)
    found = cell(result)
    import torch

    code = versions([request.record]) | {"torch": torch.__version__}
    identity = identity_of(code, [found])
    meta = {
        "format": FORMAT,
        "identity": identity,
        "plan": {
            "algorithms": [found["algorithm"]],
            "space": request.space,
            "datasets": [request.dataset],
            "runs": found["runs"],
            "seed": found["seed"],
        },
        "versions": code,
        "cells": [found],
        "provenance": result.provenance() | result.hardware() | {"notes": result.notes},
    }
    labels = (found["id"], found["space"], found["dataset"], table_label(found), found["algorithm"])
    name = f"{found['id']}-00000"
    shard = encoded(rows(result), labels, spaces.get(request.space), identity, name, found["runs"])
    summary = result.summary()
    winner = winners.content(summary, summary["candidates"], provenance=result.provenance())

    with Folder(folder) as opened, writing(f"results to {folder}"):
        opened.write_meta(meta)
        opened.write(name, shard)
        write_json(opened.path / winners.NAME, winner)
    return folder


def cell(result: OneShotResult) -> dict[str, Any]:
    """The runs as a cell of study.json."""
    request, problem = result.request, result.judge.problem
    changed = request.record.changed(request.settings)
    made = {
        "id": "c000",
        "algorithm": str(Choice(request.algorithm, changed)),
        "name": request.algorithm,
        "kind": request.record.kind,
        "clock": "real",
        "settings": request.settings,
        "changed": changed,
        "needs": list(request.record.needs),
        "control": request.record.control,
        "space": request.space,
        "dataset": request.dataset,
        "table": result.judge.describe() or NO_TABLE,
        "protocol": {
            "signal": SIGNAL,
            "final": None if problem is None else str(problem.final),
            "evaluations": None,
            "seconds": None,
            "repeats": "charged",
            "cost": "real training of a supernet",
            "direction": "min" if problem is not None and problem.sign < 0 else "max",
        },
        "optimum": number(result.judge.optimum),
        "images": result.images(),
        "recipe": request.recipe.as_dict() | {"precision": request.precision},
        **({} if request.split.domains is None else {"held_out": result.domains()}),
        "runs": len(result.runs),
        "seed": request.seeds[0],
        "shard_runs": len(result.runs),
        "shards": 1,
    }
    plain: dict[str, Any] = json.loads(json.dumps(made))
    return plain


def rows(result: OneShotResult) -> dict[str, Any]:
    """What each run derived after its epochs, and its end, as columns of a shard."""
    made: list[tuple[Any, ...]] = []
    none = np.full(spaces.get(result.request.space).arch_shape, -1)
    for run in result.runs:
        for epoch in run.epochs:
            if epoch.arch is not None:
                made.append((run.seed, epoch.epoch, epoch.seconds, epoch.signal, epoch.arch, False, none, np.nan, -1))
        end, score = run.epochs[-1], result.judge.final(run.arch)
        made.append((run.seed, end.epoch, end.seconds, end.signal, end.arch, True, run.arch, score, 0))
    names = ("seed", "step", "simulated_seconds", "signal", "incumbent", "last", "recommended", "recommended_final",
             "evaluations")  # fmt: skip
    kinds = (np.int64, np.int32, np.float64, np.float64, np.int32, np.bool_, np.int32, np.float64, np.int32)
    columns: dict[str, Any] = {
        name: np.array(values, dtype=kind)  # None becomes NaN
        for name, kind, values in zip(names, kinds, zip(*made, strict=True), strict=True)
    }
    columns["final"] = np.array([result.judge.final(arch) for arch in columns["incumbent"]], dtype=np.float64)
    nothing = np.full(len(columns["final"]), np.nan)
    absent = ("hypervolume", "igd_plus", *LATER)  # there is no signal's maximum, and no trial
    return columns | dict.fromkeys(absent, nothing)
