"""Speed of model-based search, against Optuna's TPE and a plain loop of scikit-learn's Gaussian process, in one run.

    python benchmarks/bench_peers.py [--out results/benchmarks/peers.json]

prints processor time per evaluation and ratios; ``pytest benchmarks`` runs the same pieces under pytest-benchmark. No
test asserts a time: machines are shared and noisy, ratios are what counts. Needs `pip install '.[peers,train]'`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from pathlib import Path

import numpy as np

import nasharness
from nasharness.search import Problem

ALGORITHMS = ("gp", "gp.hamming", "tpe", "tpe.paper", "autoshrink.pooled", "weaknas", "npenas", "bananas", "nas-bowl")
EVALUATIONS = 200


def problem(evaluations=EVALUATIONS):
    return Problem.create(table="embedded", evaluations=evaluations, signal="val@200:trial0")


def ours(name, runs=100):
    """Run an algorithm as a user's command does: evaluations made."""
    return int(nasharness.run(name, problem(), runs=runs).evaluations.sum())


def optuna_tpe(evaluations=EVALUATIONS, seed=0):
    """Optuna's default sampler as its own documentation runs it: one study, an objective that reads the same column."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    asked = problem()
    space, signal = asked.space, asked.table.values("cifar10-valid", "val_acc", 200, seed="trial0")

    def objective(trial):
        return signal[space.index([trial.suggest_categorical(name, range(5)) for name in space.positions])]

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=evaluations)
    return evaluations


def sklearn_gp(evaluations=EVALUATIONS, seed=0, start=10, pool=100):
    """A plain loop: fit on one-hot choices with fixed hyper-parameters, expected improvement over a random pool."""
    from scipy.stats import norm
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF

    asked = problem()
    space, signal = asked.space, asked.table.values("cifar10-valid", "val_acc", 200, seed="trial0")
    onehot = np.eye(5)[space.choices(np.arange(space.size))].reshape(space.size, -1)
    rng = np.random.default_rng(seed)
    ids = list(rng.integers(space.size, size=start))
    model = GaussianProcessRegressor(RBF(2.0), alpha=0.1, optimizer=None, normalize_y=True)
    while len(ids) < evaluations:
        told = signal[ids]
        model.fit(onehot[ids], told)
        candidates = rng.integers(space.size, size=pool)
        mean, deviation = model.predict(onehot[candidates], return_std=True)
        z = (mean - told.max()) / np.maximum(deviation, 1e-9)
        ids.append(int(candidates[np.argmax(deviation * (z * norm.cdf(z) + norm.pdf(z)))]))
    return evaluations


def cost(function, *arguments, repeats=3):
    """Microseconds of processor time per evaluation: the least of some repeats."""
    found = []
    for _ in range(repeats):
        began = time.process_time()
        made = function(*arguments)
        found.append(1e6 * (time.process_time() - began) / made)
    return min(found)


def test_gp(benchmark):
    benchmark.pedantic(ours, ("gp",), rounds=3)


def test_tpe(benchmark):
    benchmark.pedantic(ours, ("tpe",), rounds=3)


def test_nas_bowl(benchmark):
    benchmark.pedantic(ours, ("nas-bowl",), rounds=3)


def test_optuna_tpe(benchmark):
    benchmark.pedantic(optuna_tpe, rounds=3)


def test_sklearn_gp(benchmark):
    benchmark.pedantic(sklearn_gp, rounds=3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the numbers there as JSON")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    theirs = {"optuna_tpe": cost(optuna_tpe), "sklearn_gp": cost(sklearn_gp)}
    rows = {}
    for name in ALGORITHMS:
        took = cost(ours, name)
        rows[name] = {"us_per_evaluation": round(took, 1)}
        rows[name] |= {f"times_faster_than_{peer}": round(value / took, 1) for peer, value in theirs.items()}
    measured = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread",
        "versions": f"Python {platform.python_version()}, numpy {np.__version__}",
        "runs": 100,
        "evaluations": EVALUATIONS,
        "peers_us_per_evaluation": {peer: round(value, 1) for peer, value in theirs.items()},
        "ours": rows,
    }
    text = json.dumps(measured, indent=1)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
