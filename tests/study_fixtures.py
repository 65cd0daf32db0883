"""Synthetic studies with the folder layout and columns of real ones, for tests of what reads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from nasharness.storage import write_json
from nasharness.storage.sealed import seal
from nasharness.studies import Plan
from nasharness.studies.cells import FORMAT, identity_of
from nasharness.studies.shard import LATER, NAMES, SCHEMA, file_of

OPTIMUM = {"cifar10": 94.37, "cifar100": 73.51, "ImageNet16-120": 47.31}


def cells(
    algorithms=("random", "rea"), datasets=("cifar10",), runs=20, seed=0, evaluations=100, checksum="0" * 64
) -> list[dict]:
    """The list `cells` of a study.json."""
    return [
        {
            "id": f"c{number:03d}",
            "algorithm": algorithm,
            "name": algorithm.partition("(")[0],
            "kind": "multi-trial",
            "clock": "simulated",
            "settings": {},
            "changed": {},
            "needs": [],
            "control": algorithm == "random",
            "space": "tss",
            "dataset": dataset,
            "table": {"source": "made-up", "version": "1", "checksum": checksum},
            "protocol": {
                "signal": "val@12:mean",
                "final": "test@200:mean",
                "evaluations": evaluations,
                "seconds": None,
                "repeats": "charged",
                "cost": "12 training epochs + one validation pass",
            },
            "optimum": OPTIMUM[dataset],
            "runs": runs,
            "seed": seed,
            "shard_runs": runs,
            "shards": 1,
        }
        for number, (dataset, algorithm) in enumerate((d, a) for d in datasets for a in algorithms)
    ]


def frame(cell: dict, strength: float = 0.0, shift: float = 0.0) -> pd.DataFrame:
    """Rows of one cell: random improvements; `strength` speeds the search up, `shift` adds to every final metric.

    Runs are paired by seed: the same seed draws the same luck in every cell of a data set.
    """
    rows = []
    total = cell["protocol"]["evaluations"]
    for seed in range(cell["seed"], cell["seed"] + cell["runs"]):
        rng = np.random.default_rng([seed, 7])
        quality = rng.random(total) ** (1.0 / (1.0 + strength))
        best = np.maximum.accumulate(quality)
        steps = np.flatnonzero(np.concatenate([[True], best[1:] > best[:-1]]))
        final = np.minimum(cell["optimum"], cell["optimum"] - 6 * (1 - best) - rng.random(total) + shift)
        clock = np.cumsum(rng.uniform(80, 120, total))
        entries = [(int(step), False) for step in steps] + [(total - 1, True)]
        incumbent = 0
        for step, last in entries:
            incumbent = incumbent if last else int(quality[step] * 15_624)
            at = int(steps[-1]) if last else step
            rows.append(
                {
                    "seed": seed,
                    "step": step + 1,
                    "simulated_seconds": clock[step],
                    "signal": 60 + 30 * best[step],
                    "incumbent": incumbent,
                    "final": final[at],
                    "last": last,
                    "recommended": incumbent if last else -1,
                    "recommended_final": final[at] if last else np.nan,
                    "evaluations": total if last else -1,
                }
            )
    nothing = dict.fromkeys(("hypervolume", "igd_plus", *LATER), np.nan)
    made = pd.DataFrame(rows).assign(**nothing)
    for column in NAMES:
        value = {"cell": cell["id"], "table": f"{cell['table']['source']}:{cell['table']['checksum'][:12]}"}
        made[column] = value[column] if column in value else cell[column]
    return made[SCHEMA.names]


def write_study(folder: Path, made: list[dict] | None = None, strength: dict[str, float] | None = None) -> Path:
    """Write a whole synthetic study; `strength` maps an algorithm to how fast it is."""
    made = cells() if made is None else made
    plan = {"algorithms": sorted({cell["algorithm"] for cell in made}), "space": "tss", "runs": made[0]["runs"]}
    identity = identity_of({}, made)
    (folder / "shards").mkdir(parents=True)
    meta = {
        "format": FORMAT,
        "identity": identity,
        "plan": plan,
        "versions": {},
        "cells": made,
        "provenance": {},
    }
    write_json(folder / "study.json", seal(meta))
    for cell in made:
        rows = frame(cell, (strength or {}).get(cell["algorithm"], 0.0))
        table = pa.Table.from_pandas(rows, schema=SCHEMA, preserve_index=False)
        shard = f"{cell['id']}-00000"
        (folder / "shards" / f"{shard}.parquet").write_bytes(file_of(table, identity, shard, cell["runs"]))
    return folder


ALGORITHMS = ["random", "rea(population=20)", "bohb"]


def plan() -> Plan:
    """A real plan, 3 shards a cell: 250, 250 and 20 runs."""
    return Plan.create(algorithms=ALGORITHMS, datasets=["cifar10", "cifar100"], runs=520, evaluations=30)


def same(one: Path, other: Path) -> bool:
    """Whether two studies hold the same files with the same bytes, and nothing else."""

    def content(folder):
        files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
        found = {name: path.read_bytes() for name, path in files.items() if name != Path("study.json")}
        meta = json.loads((folder / "study.json").read_text())
        del meta["provenance"], meta["sha256"]  # what seals it all
        return found, meta

    return content(one) == content(other)
