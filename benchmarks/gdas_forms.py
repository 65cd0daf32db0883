"""Which form of GDAS's straight-through gradient ranks operations as the table does, on a frozen supernet.

    python benchmarks/gdas_forms.py --images cifar10 --data DIR [--out results/gdas_forms.json]

A supernet is trained on uniformly drawn cells and frozen. At uniform architecture parameters each form (`gdas.paper`,
`gdas.drawn` and the default of `gdas`) then has its gradient taken on many batches and draws. What descent raises is
compared with the table: the mean accuracy of all cells that have the operation on that edge. Intervals are bootstraps
over blocks of passes within each seed's supernet, 95 %.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from nasharness.search import Problem, registry
from nasharness.spaces import get
from nasharness.spaces.tss import OPERATIONS
from nasharness.supernets.policy import loss
from nasharness.supernets.request import OneShotRequest
from nasharness.training.batches import DeviceImages

FORMS = {"published": "gdas.paper", "drawn alone": "gdas.drawn", "share of a quarter": "gdas"}
BLOCKS = 20


def marginals():
    """Mean accuracy of the cells that have each operation on each edge: ``[6, 5]``."""
    values, choices = Problem.create("tss").truth().values, get("tss").choices(np.arange(15_625))
    return np.array([[values[choices[:, edge] == op].mean() for op in range(5)] for edge in range(6)])


def gradients(session, request, form, passes, tau):
    """Gradients of ``passes`` architecture steps at uniform parameters: ``[passes, 6, 5]``."""
    record = registry.get(FORMS[form])
    settings = record.settings({"tau_first": tau, "tau_last": tau, "warmup": 0.0})
    algorithm = record.build_one_shot(session.task, settings)
    logits = algorithm.policy.logits
    images = request.images
    arch = DeviceImages(*request.split.arch, images.mean, images.std, session.device, flip=images.mirrored)
    generator = torch.Generator().manual_seed(17)
    found = []
    for batch, labels in arch.batches(64, generator, shuffle="replacement", steps=passes):
        with torch.no_grad():
            logits.zero_()
        value = loss(session.task, algorithm.relaxed(0, learn=True), batch, labels)
        (gradient,) = torch.autograd.grad(value, [logits], allow_unused=True, materialize_grads=True)
        found.append(gradient.double().numpy())
    return np.array(found)


def judged(found, table):
    """What the gradients ``[seeds, passes, 6, 5]`` say: Kendall's tau with the table, and how each operation drifts."""
    seeds, passes = found.shape[:2]
    blocks = found.reshape(seeds, BLOCKS, passes // BLOCKS, 6, 5).mean(axis=2)
    rng = np.random.default_rng(0)
    again = [blocks[:, rng.integers(BLOCKS, size=BLOCKS)].mean(axis=(0, 1)) for _ in range(1_000)]
    taus = [stats.kendalltau(-each.ravel(), table.ravel()).statistic for each in again]
    mean = blocks.mean(axis=(0, 1))
    each = -blocks.mean(axis=3).reshape(-1, 5)  # by operation, over edges
    z = each.mean(axis=0) / (each.std(axis=0, ddof=1) / np.sqrt(len(each)))
    return {
        "tau": round(float(stats.kendalltau(-mean.ravel(), table.ravel()).statistic), 3),
        "ci95": [round(float(q), 3) for q in np.percentile(taus, [2.5, 97.5])],
        "drift_z": {op: round(float(v), 1) for op, v in zip(OPERATIONS, z, strict=True)},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", default="cifar10")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--passes", type=int, default=1_000)
    parser.add_argument("--tau", type=float, default=1.0)
    parser.add_argument("--out", type=Path, help="write the numbers there as JSON")
    asked = parser.parse_args()
    table, parts = marginals(), {form: [] for form in FORMS}
    request = OneShotRequest.create(
        "random.supernet", images=asked.images, data=asked.data, epochs=asked.epochs, device="cpu"
    )
    for seed in range(asked.seeds):
        session = request.session(seed, "cpu")
        for row in session.train():
            print(f"seed {seed}, epoch {row.epoch}: loss {row.loss:.3f}, accuracy {row.accuracy:.1f} %", flush=True)
        for form in FORMS:
            parts[form].append(gradients(session, request, form, asked.passes, asked.tau))
    measured = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "images": f"{request.images.name}, {request.split.note}",
        "epochs": asked.epochs,
        "seeds": asked.seeds,
        "passes": asked.passes,
        "tau": asked.tau,
        "forms": {form: judged(np.array(found), table) for form, found in parts.items()},
    }
    text = json.dumps(measured, indent=1)
    print(text)
    if asked.out is not None:
        asked.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
