"""Writes archives in NATS-Bench's published formats, of any size, for tests and benchmarks.

The structure is that of the official records (docs/reproduction/nats-bench.md#records): protocol 4, an ordered dict per
training length, numpy scalars for params and latency, no top-5 curves at 200 epochs, one to three seeds. Values are
made up; where ``table`` (the columns of tss.parquet) is given, the last epochs are the real ones. The architectures of
``ANCHORS`` get their published values. ``full`` shortens the full-length curves: the records then say so themselves.
"""

from __future__ import annotations

import bz2
import collections
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np

from nasharness import spaces
from nasharness.tables.importers.nats_official.anchors import ANCHORS

FOLDER = {"tss": "NATS-tss-v1_0-3ffb9-simple", "sss": "NATS-sss-v1_0-50262-simple"}
DATASETS = ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120")
IMAGES = {
    "cifar10-valid": {"train": 25000, "x-valid": 25000, "ori-test": 10000},
    "cifar10": {"train": 50000, "ori-test": 10000},
    "cifar100": {"train": 50000, "x-valid": 5000, "x-test": 5000, "ori-test": 10000},
    "ImageNet16-120": {"train": 151700, "x-valid": 3000, "x-test": 3000, "ori-test": 6000},
}
LAST_ONLY = {"cifar10-valid": ("ori-test",), "cifar100": ("x-valid", "x-test"), "ImageNet16-120": ("x-valid", "x-test")}
GROUP = {"cifar10-valid": (0, 0), "cifar10": (1, 0), "cifar100": (None, 1), "ImageNet16-120": (None, 2)}
PARQUET = {  # (hp, data set, evaluation set) -> column of tss.parquet
    ("12", "cifar10-valid", "x-valid"): "cifar10_val_12",
    ("12", "cifar10", "ori-test"): "cifar10_test_12",
    ("12", "cifar100", "x-valid"): "cifar100_val_12",
    ("12", "cifar100", "x-test"): "cifar100_test_12",
    ("12", "ImageNet16-120", "x-valid"): "in16_val_12",
    ("12", "ImageNet16-120", "x-test"): "in16_test_12",
    ("200", "cifar10-valid", "x-valid"): "cifar10_val_200",
    ("200", "cifar10-valid", "ori-test"): "cifar10_half_test_200",
    ("200", "cifar10", "ori-test"): "cifar10_test_200",
    ("200", "cifar100", "ori-test"): "cifar100_test_200",
}


def seeds_of(space: str, hp: str, dataset: str, index: int) -> list[int]:
    if space == "sss":
        return [777, 888, 999] if hp == "12" else [777]
    if hp == "12":
        return [777, 111] if dataset == "cifar10-valid" else [111]
    count = 3 if index in ANCHORS["tss"] or index % 100 < 51 else 2 if index % 100 < 98 else 1
    return [999, 777, 888] if count == 3 else [777, 888][:count]


def anchor(space: str, index: int, hp: str, dataset: str, name: str) -> float | None:
    """The published last-epoch accuracy, where there is one."""
    if index not in ANCHORS[space] or hp == "01" or name == "train":
        return None
    groups = ANCHORS[space][index][0 if hp == "12" else 2 :][:2]
    if dataset in ("cifar100", "ImageNet16-120"):
        at = 1 if dataset == "cifar100" else 2
        val, test = groups[0][at], groups[1][at]
        return {"x-valid": val, "x-test": test, "ori-test": (val + test) / 2}[name]
    if dataset == "cifar10-valid":
        return groups[0][0] if name == "x-valid" else None
    return groups[1][0]


def times_of(space: str, index: int, rng: np.random.Generator) -> dict[tuple[str, str], float]:
    """Seconds of one pass, by data set and set."""
    t, e = 5 + 10 * rng.random(), 1e-4 * (1 + rng.random())
    factor = {"cifar10-valid": 1.0, "cifar10": 2.0, "cifar100": 2.0, "ImageNet16-120": 6.068}
    times = {}
    for dataset, sets in IMAGES.items():
        for name, images in sets.items():
            times[dataset, name] = factor[dataset] * t if name == "train" else e * images
    if index in ANCHORS[space]:
        for at, dataset in enumerate(("cifar10-valid", "cifar100", "ImageNet16-120")):
            cost = ANCHORS[space][index][4][at]
            times[dataset, "train"] = (cost - times[dataset, "x-valid"]) / 12
    return times


def curve(rng: np.random.Generator, epochs: int, images: int, final: float | None) -> tuple[list[float], list[float]]:
    """Accuracies (multiples of 100 / images, as float32 sums give them) and losses."""
    last = 30 + 60 * rng.random() if final is None or np.isnan(final) else final
    shape = last * (1 - 0.7 * np.exp(-3 * (1 + np.arange(epochs)) / epochs)) * (1 + 0.02 * rng.random(epochs))
    accuracy = np.round(np.clip(shape, 0, 99) * images / 100) * 100 / images
    accuracy = accuracy * (1 + 1e-10 * rng.integers(0, 3, epochs))
    if final is not None and not np.isnan(final):
        accuracy[-1] = final
    return accuracy.tolist(), (3 * np.exp(-accuracy / 60) + 0.01 * rng.random(epochs)).tolist()


def make_trial(space, index, arch, hp, dataset, seed, times, full, table):
    rng = np.random.default_rng([index, seed, int(hp), DATASETS.index(dataset)])
    epochs = min(int(hp), full) if int(hp) > 12 else int(hp)
    old = space == "tss" and hp == "200"
    acc, loss = curve(rng, epochs, IMAGES[dataset]["train"], None)
    names = [name for name in IMAGES[dataset] if name != "train"]
    if old:
        names = [n for n in names if n not in LAST_ONLY.get(dataset, ())] + list(LAST_ONLY.get(dataset, ()))
    eval_acc, eval_loss, eval_times = {}, {}, {}
    for name in names:
        column = PARQUET.get((hp, dataset, name))
        final = anchor(space, index, hp, dataset, name)
        if final is None and table is not None and column in table:
            final = float(table[column][index])
        a, x = curve(rng, epochs, IMAGES[dataset][name], final)
        kept = [epochs - 1] if old and name in LAST_ONLY.get(dataset, ()) else range(epochs)
        for epoch in range(epochs):
            eval_times[f"{name}@{epoch}"] = times[dataset, name] + 0.0
        for epoch in kept:
            eval_acc[f"{name}@{epoch}"], eval_loss[f"{name}@{epoch}"] = a[epoch], x[epoch]
    latency = 0.01 + 0.01 * (index % 97) / 97
    if index in ANCHORS[space]:
        at = {"cifar10-valid": 0, "cifar10": 0, "cifar100": 1, "ImageNet16-120": 2}[dataset]
        latency = ANCHORS[space][index][5][at] / 1000
    config = {"channel": 16, "num_cells": 5, "arch_str": arch, "class_num": 10}
    if space == "sss":
        cell = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
        config = {"name": "infer.shape.tiny", "channels": arch, "arch_str": arch, "genotype": cell, "class_num": 10}
    numbers = range(epochs)
    top5 = None if old else dict(zip(numbers, (min(99.0, v + 3) for v in acc), strict=True))
    return {
        "name": dataset,
        "train_acc1es": dict(zip(numbers, acc, strict=True)),
        "train_acc5es": top5,
        "train_losses": dict(zip(numbers, loss, strict=True)),
        "train_times": collections.OrderedDict((e, times[dataset, "train"] + 0.0) for e in numbers),
        "arch_config": config,
        "params": np.float64(0.5 + index / 1e5),
        "flop": 15.64737,
        "seed": f"{seed:04d}",
        "epochs": epochs,
        "latency": [np.float64(latency)],
        "eval_names": names,
        "eval_acc1es": eval_acc,
        "eval_times": eval_times,
        "eval_losses": eval_loss,
        "net_state_dict": None,
    }


def make_record(space: str, index: int, arch: str, full: int = 20, table=None) -> collections.OrderedDict:
    times = times_of(space, index, np.random.default_rng([index, 1]))
    record = collections.OrderedDict()
    for hp in ("12", "200") if space == "tss" else ("01", "12", "90"):
        seeds = {dataset: seeds_of(space, hp, dataset, index) for dataset in DATASETS}
        record[hp] = {
            "arch_index": index,
            "arch_str": arch,
            "all_results": {
                (dataset, seed): make_trial(space, index, arch, hp, dataset, seed, times, full, table)
                for dataset in DATASETS
                for seed in seeds[dataset]
            },
            "dataset_seed": {dataset: sorted(seeds[dataset]) for dataset in DATASETS},
            "clear_net_done": True,
        }
    return record


def old_numpy(data: bytes) -> bytes:
    """Let a protocol-4 pickle name numpy's scalars as numpy 1 did, which wrote the official files."""
    new, old = b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray"
    if new not in data:
        return data
    place, at = data.index(new), 2
    out = bytearray(data)
    while at < len(data) and data[at] == 0x95:
        size = struct.unpack_from("<Q", data, at + 1)[0]
        if at < place < at + 9 + size:
            struct.pack_into("<Q", out, at + 1, size - 1)
        at += 9 + size
    out[place : place + len(new)] = old
    return bytes(out)


def write_pickle(path: Path, thing: object, level: int = 9) -> None:
    path.write_bytes(bz2.compress(old_numpy(pickle.dumps(thing, protocol=4)), level))


def meta_of(space: str) -> dict[str, object]:
    strings = list(spaces.get(space).strings())
    return {"meta_archs": strings, "total_archs": len(strings), "arch2infos": None, "evaluated_indexes": set()}


def load_table(parquet: Path | None):
    if parquet is None or not parquet.is_file():
        return None
    import pyarrow.parquet as pq

    names = pq.read_schema(parquet).names
    return {name: pq.read_table(parquet, columns=[name])[name].to_numpy() for name in PARQUET.values() if name in names}


def write_folder(parent: Path, space: str = "tss", indices=None, full: int = 20, parquet: Path | None = None) -> Path:
    """Write the folder of an archive under ``parent`` (all records unless ``indices``) and return it."""
    folder = parent / FOLDER[space]
    folder.mkdir(parents=True, exist_ok=True)
    strings = spaces.get(space).strings()
    table = load_table(parquet)
    write_pickle(folder / "meta.pickle.pbz2", meta_of(space))
    for index in range(len(strings)) if indices is None else indices:
        write_pickle(folder / f"{index:06d}.pickle.pbz2", make_record(space, index, strings[index], full, table))
    return folder


def write_folder_parallel(parent: Path, space: str, full: int, parquet: Path | None, jobs: int, count=None) -> Path:
    """``write_folder`` over several processes, for the full size."""
    command = [
        sys.executable,
        "-m",
        "tests.nats_fixtures",
        str(parent),
        space,
        str(full),
        str(parquet or ""),
        str(jobs),
    ]
    root = Path(__file__).resolve().parents[1]
    size = len(spaces.get(space).strings()) if count is None else count
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    running = [subprocess.Popen([*command, str(job), str(size)], cwd=root, env=environment) for job in range(jobs)]
    if any([process.wait() for process in running]):  # noqa: C419 - wait for every one
        raise RuntimeError("a generating process failed")
    return parent / FOLDER[space]


def write_tar(folder: Path) -> Path:
    path = folder.with_name(folder.name + ".tar")
    with tarfile.open(path, "w") as tar:
        tar.add(folder, arcname=folder.name)
    return path


def single_dict(space: str, indices, full: int, hps=None) -> dict[str, object]:
    strings = spaces.get(space).strings()
    infos = collections.OrderedDict()
    for index in indices:
        record = make_record(space, index, strings[index], full)
        infos[index] = collections.OrderedDict((hps.get(hp, hp) if hps else hp, state) for hp, state in record.items())
    return meta_of(space) | {"arch2infos": infos, "evaluated_indexes": set(indices)}


def write_single(parent: Path, space: str, indices, full: int = 20) -> Path:
    path = parent / (FOLDER[space].removesuffix("-simple") + ".pickle.pbz2")
    write_pickle(path, single_dict(space, indices, full))
    return path


def write_pth(parent: Path, indices, full: int = 20, zipped: bool = False) -> Path:
    """NAS-Bench-201's file as ``torch.save`` writes it, in the legacy or in the zip format."""
    path = parent / "NAS-Bench-201-v1_1-096897.pth"
    data = pickle.dumps(single_dict("tss", indices, full, {"12": "less", "200": "full"}), protocol=2)
    data = data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    if zipped:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            name = path.stem
            archive.writestr(f"{name}/data.pkl", data)
            archive.writestr(f"{name}/byteorder", "little")
            archive.writestr(f"{name}/version", "3\n")
        return path
    out = io.BytesIO()
    info = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    for thing in (0x1950A86A20F9469CFC6C, 1001, info):
        pickle.dump(thing, out, protocol=2)
    out.write(data)
    pickle.dump([], out, protocol=2)  # keys of the storages: there are no tensors
    path.write_bytes(out.getvalue())
    return path


if __name__ == "__main__":
    parent, space, full, parquet, jobs, job, size = sys.argv[1:8]
    write_folder(
        Path(parent), space, range(int(job), int(size), int(jobs)), int(full), Path(parquet) if parquet else None
    )
