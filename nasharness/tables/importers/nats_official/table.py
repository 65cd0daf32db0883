"""Import of NATS-Bench's published archives into a table (docs/reproduction/nats-bench.md#records).

Every value that the ``nats_bench`` package can return is kept, per seed and per epoch, as float64: an absent seed or
epoch is NaN and nothing is imputed. Parameter and operation counts are not read: some records carry wrong ones, and
the spaces compute them.

Records are read in blocks, in parallel; each finished block is a shard in ``.import-NAME`` beside the table, renamed
into place when complete. An import that was stopped, by whatever means, goes on from the shards it finds.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError, UsageError
from nasharness.runs.job import Progress
from nasharness.storage import only_writer, writing
from nasharness.tables.catalogue import table_path
from nasharness.tables.importers import CITATION, CITATION_201
from nasharness.tables.importers.nats_official.anchors import check_anchors
from nasharness.tables.importers.nats_official.records import DATASETS, SCHEDULES, Curve, Shard, is_done
from nasharness.tables.importers.nats_official.sources import SIZES, Archive, find_archive, space_in, tasks
from nasharness.tables.importers.nats_official.workers import Task, read_all
from nasharness.tables.table import Table
from nasharness.tables.writer import TableWriter, partial_of

LICENCE = "MIT"
ATTRIBUTION = "NATS-Bench, Copyright (c) Xuanyi Dong, https://github.com/D-X-Y/NATS-Bench, MIT licence"
#: share of a space's architectures below which those that are present alone are stored
SPARSE = 0.5
#: records in one shard
BLOCK = 128
METRICS = tuple(
    f"{part}_{metric}" for part in ("val", "test", "valtest", "train") for metric in ("acc", "loss", "top5")
) + ("train_s", "val_s", "test_s", "valtest_s", "latency_s")


def import_archive(
    path: str | os.PathLike[str],
    *,
    name: str = "official",
    space: str | None = None,
    partial: bool = False,
    jobs: int | None = None,
    progress: Progress | None = None,
    destination: str | os.PathLike[str] | None = None,
    anchors: bool = True,
) -> Table:
    """Import a NATS-Bench archive and return the table.

    ``path``: the folder ``NATS-*-simple``, its ``.tar``, the single-file ``.pickle.pbz2``, or a NAS-Bench-201 ``.pth``.
    The last two are one pickle, for which the standard reader needs some 30 GB of memory: here one process reads it
    record by record in some 100 MB, and takes some 15 minutes for the published ones. All cores read the folder or its
    tar, which hold the same. Of a single file that was renamed, ``space`` must be given.
    ``name``: the table's name. ``space``: refuse an archive of another space. ``partial``: accept an archive in which
    records are missing (their values are NaN). ``jobs``: processes, one per core by default. ``progress(done, total)``
    is called in this thread after every block of records. ``destination``: the table's folder, by default where
    ``nasharness`` looks for it. ``anchors=False`` skips the comparison with published values, for archives made up.

    Raises UsageError for a request that cannot be met, DataError for an archive that is damaged, hostile, incomplete
    or not what it says; the table that may have been there before is then unchanged.
    """
    source = Path(path).expanduser()
    archive = find_archive(source)
    jobs = _jobs(jobs)
    space, strings = space_in(archive, space)
    if strings:
        refuse_partial(source, archive.records, SIZES[space], partial)
    target = table_path(space, name) if destination is None else Path(destination)
    with writing(f"a table under {target.parent}", "run the import again"), only_writer(target):
        folder = target.with_name(f".import-{target.name}")
        folder.mkdir(parents=True, exist_ok=True)
        total = len(archive.records) or SIZES[space]
        shards = _read(tasks(archive, space, strings, folder, BLOCK), total, jobs, progress)
        refuse_partial(source, {index for shard in shards for index in shard.indices}, SIZES[space], partial)
        read = partial_of(target, "read")
        table = assemble(archive, space, target, name, shards, anchors, lambda: folder.rename(read))
        shutil.rmtree(read, ignore_errors=True)
    return table


def _jobs(jobs: int | None) -> int:
    if jobs is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if jobs < 1:
        raise UsageError(f"jobs is {jobs}, expected 1 or more")
    return min(jobs, 64)


def refuse_partial(path: Path, present: Collection[int], size: int, partial: bool) -> None:
    """Raise DataError where records are missing and that was not asked for, or where there is none at all."""
    beyond = [index for index in present if index >= size]
    if beyond:
        raise DataError(f"{path}: a record of architecture {min(beyond)}; the space ends at {size - 1}")
    if not present:
        raise DataError(f"{path} holds no record at all, expected {size:,} such as 000000.pickle.pbz2")
    if len(present) < size and not partial:
        first = next(index for index in range(size) if index not in present)
        raise DataError(
            f"{path} is incomplete: {size - len(present):,} of {size:,} records are missing, the first is that of "
            f"architecture {first}; fetch the rest, or import what is there with --partial (partial=True)"
        )


def _read(todo: Iterable[Task], total: int, jobs: int, progress: Progress | None) -> list[Shard]:
    """Make the shards that are not there yet. Returns all, in order."""
    shards: list[Shard] = []

    def wrote(path: Path) -> None:
        shards.append(Shard(path))
        if progress is not None:
            progress(sum(shard.size for shard in shards), total)

    def missing() -> Iterator[Task]:
        for task in todo:
            if "shard" in task and is_done(Path(task["shard"]), task["identity"]):
                wrote(Path(task["shard"]))
            else:
                yield task

    if progress is not None:
        progress(0, total)
    read_all(missing(), jobs, wrote)
    return sorted(shards, key=lambda shard: shard.path)


# ---- from shards to a table


def assemble(
    archive: Archive,
    space: str,
    target: Path,
    name: str,
    shards: Sequence[Shard],
    anchors: bool,
    switch: Callable[[], object] = lambda: None,
) -> Table:
    """Write ``shards`` as the table in ``target``; ``switch`` as of TableWriter."""
    count, size = sum(shard.size for shard in shards), SIZES[space]
    complete = count == size
    spread = _spread(shards)
    provenance: dict[str, Any] = {
        "archive": archive.path.name,
        "kind": archive.kind,
        "content_sha256": _content(shards),
        "records": count,
        "complete": complete,
        "anchors_checked": anchors,
        "not_constant": {key: {"architectures": n, "spread": s} for key, (n, s) in sorted(spread.items())},
    }
    version = archive.name if complete else f"{archive.name}+partial.{count}"
    present = sorted(index for shard in shards for index in shard.indices)
    rows = present if count < SPARSE * size else None
    writer = TableWriter(
        target,
        space=space,
        name=name,
        version=version,
        size=size,
        source=f"{archive.path.name} (NATS-Bench)",
        licence=LICENCE,
        citation=CITATION_201 if archive.kind == "pth" else CITATION,
        attribution=ATTRIBUTION,
        provenance=provenance,
        rows=rows,
        switch=switch,
    )
    written: dict[tuple[str, str, int], NDArray[Any]] = {}
    with writer:
        for key, curves in sorted(_columns(shards).items(), key=lambda item: _rank(item[0])):
            written[key] = _column(writer, *key, curves, shards, spread, rows)
            _release(written[key])
        if anchors:
            check_anchors(space, written, str(archive.path), rows)
    return Table.open(target)


def _release(column: NDArray[Any]) -> None:
    """Let go of a written column's pages; without this, a whole table would be held in memory until its end."""
    mapped = getattr(column, "_mmap", None)
    if hasattr(mmap, "MADV_DONTNEED") and mapped is not None:
        mapped.madvise(mmap.MADV_DONTNEED)  # of a shared mapping: the written pages stay in the file


def _content(shards: Sequence[Shard]) -> str:
    """Hash of all records' own hashes in index order: equal for a folder and for the tar of it."""
    digest = hashlib.sha256()
    for shard in shards:
        for index, sha256 in zip(shard.indices, shard.head["sha256"], strict=True):
            digest.update(f"{index} {sha256}\n".encode())
    return digest.hexdigest()


def _spread(shards: Sequence[Shard]) -> dict[str, tuple[int, float]]:
    total: dict[str, tuple[int, float]] = {}
    for shard in shards:
        for key, (count, spread) in shard.head["spread"].items():
            before = total.get(key, (0, 0.0))
            total[key] = (before[0] + int(count), max(before[1], float(spread)))
    return total


def _columns(shards: Sequence[Shard]) -> dict[tuple[str, str, int], list[Curve]]:
    columns: dict[tuple[str, str, int], dict[Curve, None]] = {}
    for shard in shards:
        for curve in shard.places:
            columns.setdefault((curve.dataset, curve.metric, curve.schedule), {})[curve] = None
    return {key: list(curves) for key, curves in columns.items()}


def _rank(key: tuple[str, str, int]) -> tuple[int, int, int]:
    dataset, metric, schedule = key
    return DATASETS.index(dataset), SCHEDULES.index(schedule) if schedule else -1, METRICS.index(metric)


def _column(
    writer: TableWriter,
    dataset: str,
    metric: str,
    schedule: int,
    curves: Sequence[Curve],
    shards: Sequence[Shard],
    spread: Mapping[str, tuple[int, float]],
    rows: Sequence[int] | None,
) -> NDArray[Any]:
    if not schedule:
        unit = "s per batch of 256" if metric == "latency_s" else "s per epoch" if metric == "train_s" else "s per pass"
        count, largest = spread.get(f"{dataset}.{metric}", (0, 0.0))
        note = f"mean of the 12-epoch trials; not constant over trials for {count} architectures" if count else ""
        note += f" (largest relative spread {largest:.2g})" if count else ""
        written = writer.create(dataset, metric, unit=unit, dtype="float64", note=note)
        epochs: list[int] = [-1]
        seeds = [""]
    else:
        epochs = sorted({epoch for curve in curves for epoch in curve.epochs})
        seeds = sorted({curve.seed for curve in curves}, key=int)
        unit = "nats" if metric.endswith("_loss") else "percent"
        written = writer.create(
            dataset,
            metric,
            unit=unit,
            dtype="float64",
            schedule=schedule,
            epochs=[epoch + 1 for epoch in epochs],
            seeds=seeds,
        )
    column = written.reshape(len(epochs), len(seeds), -1)
    place = {epoch: at for at, epoch in enumerate(epochs)}
    for shard in shards:
        indices = shard.indices if rows is None else np.searchsorted(rows, shard.indices).tolist()
        first, last = indices[0], indices[-1]
        whole = indices == list(range(first, last + 1))
        where: slice | Sequence[int] = slice(first, last + 1) if whole else indices
        for curve in curves:
            if curve not in shard.places:
                continue
            values, seed = shard.read(curve), seeds.index(curve.seed)
            if tuple(epochs) == (curve.epochs or (-1,)) and isinstance(where, slice):
                # Two curves of one seed never fill the same cell, so NaN must not overwrite the other's values.
                old = column[:, seed, where]
                column[:, seed, where] = (
                    values if len(curves) == len(seeds) else np.where(np.isnan(values), old, values)
                )
                continue
            for at, epoch in enumerate(curve.epochs or (-1,)):
                line = column[place[epoch], seed]
                line[where] = np.where(np.isnan(values[at]), line[where], values[at])
    return written
