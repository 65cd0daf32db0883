"""Import of device columns: anybody's measurements by index, and the official file of HW-NAS-Bench."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness import spaces
from nasharness.errors import DataError, UsageError, unknown
from nasharness.hardware.catalogue import OPERATORS, PUBLISHED, table_path
from nasharness.hardware.quantity import MEASURED, MODELLED, REFUSED, of_column, unit_of
from nasharness.spaces import stored
from nasharness.spaces.base import Indices, Space
from nasharness.storage import file_sha256
from nasharness.storage.contained import contained
from nasharness.storage.sealed import read_bytes
from nasharness.tables.importers.nats_light.files import read_columns
from nasharness.tables.table import Table
from nasharness.tables.unpickle import NUMPY_SCALARS, OLD_PROTOCOLS, ORDERED_DICT, loads
from nasharness.tables.writer import TableWriter

HW_NAS_BENCH = {
    "version": "v1.0",
    "licence": "MIT, Copyright (c) 2022 GaTech-EIC",
    "citation": "C. Li, Z. Yu, Y. Fu, Y. Zhang, Y. Zhao, H. You, Q. Yu, Y. Wang, Y. Lin: HW-NAS-Bench: Hardware-Aware "
    "Neural Architecture Search Benchmark. ICLR 2021, arXiv:2103.10584",
}
#: the metrics of HW-NAS-Bench that are estimates of a model; the others were measured
_ESTIMATED = ("eyeriss", "fpga")
_SUFFIXES = (".parquet", ".csv", ".csv.gz")


@dataclass
class Columns:
    """Columns of one hardware table: (data set, quantity) -> float ``[n]``; ``kinds`` where one is not measured."""

    values: dict[tuple[str, str], NDArray[np.floating[Any]]]
    kinds: dict[tuple[str, str], str] = field(default_factory=dict)
    operators: Sequence[str] | None = None
    ignored: tuple[str, ...] = ()


def recognised(path: str | os.PathLike[str]) -> bool:
    """Whether a file is HW-NAS-Bench's, or its FBNet operators as JSON, by its first bytes."""
    file = Path(path).expanduser()
    if not file.is_file() or file.suffix not in (".pickle", ".pkl", ".json"):
        return False
    with file.open("rb") as opened:
        head = opened.read(4096)
    return b"ConvBlock_H" in head if file.suffix == ".json" else b"nasbench201" in head or b"fbnet" in head


def import_files(
    paths: Sequence[str | os.PathLike[str]],
    *,
    space: str | None = None,
    name: str | None = None,
    dataset: str | None = None,
    force: bool = False,
) -> list[Table]:
    """Import device columns and return the hardware tables made of them.

    One file of HW-NAS-Bench, or files of columns joined by ``index``: see ``read_devices``. ``name``: of the table, by
    default that of the first file. ``dataset``: data sets that the columns hold for, separated by commas, by default
    the space's first. Raises UsageError for what cannot be, DataError for a damaged file; no table is written then, and
    one of this name with other content stays as it is unless ``force``.
    """
    files = [Path(path).expanduser() for path in paths]
    for file in files:
        if not file.is_file():
            raise UsageError(f"nothing at {file}; expected a file of device columns")
    if not files:
        raise UsageError("nothing to import: expected a file with the columns index, NAME_lat_ms, NAME_energy_mj")
    if len(files) == 1 and recognised(files[0]):
        if dataset is not None:
            raise UsageError(f"--dataset {dataset}: {files[0].name} says itself which; leave it out")
        return _published(files[0], space, name, force)
    chosen = spaces.get(space or "tss")
    table = name or files[0].name.split(".")[0]
    if table in PUBLISHED:
        raise UsageError(f"the hardware table {table!r} is a published one; choose another --name")
    return [write(chosen, table, read_devices(files, chosen, dataset), _card(files), force=force)]


def _card(files: Sequence[Path]) -> dict[str, Any]:
    digests = {file.name: file_sha256(file) for file in files}
    return {
        "version": " + ".join(digest[:12] for digest in digests.values()),
        "source": ", ".join(digests),
        "licence": "the importer's own",
        "citation": "",
        "files": digests,
    }


def read_devices(files: Sequence[Path], space: Space, dataset: str | None = None) -> Columns:
    """Read columns ``NAME_lat_ms``, ``NAME_BATCH_lat_ms`` and ``NAME_energy_mj`` of rows ``index``.

    Rows may be missing: their values are NaN. -1 means that the architecture does not run there; a column
    ``NAME_supported`` of 1, 0 and -1 (yes, no, unknown) says the same of ``NAME_lat_ms``. Other columns are left out.
    Raises UsageError for a unit that is none of these, a quantity that occurs twice, rows that are no architectures.
    """
    if "index" not in space.offers:
        raise UsageError(f"space {space.name!r} is too large for a value an architecture; import a table of operators")
    on = _datasets(space, dataset)
    found: dict[str, NDArray[np.float64]] = {}
    origin: dict[str, str] = {}
    ignored: list[str] = []
    for file in files:
        if not file.name.lower().endswith(_SUFFIXES):
            raise UsageError(f"{file}: expected a file ending in {', '.join(_SUFFIXES)}")
        raw = read_columns(file)
        if "index" not in raw:
            raise UsageError(f"{file}: it has no column 'index', the architecture's index (columns: {', '.join(raw)})")
        ids = _rows(raw.pop("index"), space, file)
        for column, values in raw.items():
            quantity = of_column(column, file.name)
            if quantity is None:
                ignored.append(column)
                continue
            if quantity in found:
                raise UsageError(f"{file}: {column!r} and {origin[quantity]!r} are both {quantity}; leave one out")
            found[quantity], origin[quantity] = _column(values, raw, column, ids, space.size, file), column
    if not found:
        raise UsageError(
            f"{files[0]}: no column of a device; expected NAME_lat_ms (ms), NAME_BATCH_lat_ms or NAME_energy_mj (mJ) "
            f"beside 'index' (columns: {', '.join(ignored)})"
        )
    used = [name for name in ignored if not name.endswith("_supported") and name != "arch"]
    return Columns({(one, name): values for one in on for name, values in found.items()}, ignored=tuple(used))


def _datasets(space: Space, named: str | None) -> list[str]:
    from nasharness.tables.catalogue import candidates

    known = list(space.datasets)
    if not known:  # a space that an imported table brought
        known = list(dict.fromkeys(one for table in candidates(space.name)[0] for one in table.datasets))
    if named is None:
        return known[:1]
    asked = [one.strip() for one in named.split(",") if one.strip()]
    for one in asked:
        if one not in known:
            raise unknown(f"data set of space {space.name!r}", one, known, "nasharness list datasets")
    return asked


def _rows(index: NDArray[Any], space: Space, file: Path) -> Indices:
    try:
        ids = space._checked(index)
    except UsageError as error:
        raise UsageError(f"{file}: column 'index': {error}") from None
    counts = np.bincount(ids, minlength=space.size)
    if counts.max(initial=0) > 1:
        raise UsageError(f"{file}: index {int(counts.argmax())} occurs {counts.max()} times; expected each once")
    if not len(ids):
        raise UsageError(f"{file}: it has no rows")
    return ids


def _column(
    values: NDArray[Any], raw: Mapping[str, NDArray[Any]], column: str, ids: Indices, size: int, file: Path
) -> NDArray[np.float64]:
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{file}: column {column!r} holds something else than numbers") from None
    support = raw.get(f"{column.removesuffix('_lat_ms')}_supported") if column.endswith("_lat_ms") else None
    if support is not None:
        numbers[np.asarray(support) == 0] = REFUSED
    wrong = np.flatnonzero(~(np.isnan(numbers) | (numbers == REFUSED) | ((numbers >= 0) & (numbers < np.inf))))
    if len(wrong):
        row = int(wrong[0])
        raise UsageError(
            f"{file}: {column} of index {ids[row]} is {numbers[row]:g}; expected a number of at least 0, nothing where "
            "it is unknown, or -1 where the architecture does not run there"
        )
    if not (numbers >= 0).any():
        raise UsageError(f"{file}: column {column!r} has no value at all")
    whole = np.full(size, np.nan)
    whole[ids] = numbers
    return whole


def _published(file: Path, space: str | None, name: str | None, force: bool) -> list[Table]:
    """HW-NAS-Bench's own file, or the operators of its FBNet as JSON."""
    if name is not None:
        raise UsageError(f"--name {name}: {file.name} makes the hardware table 'hw-nas-bench'; leave it out")
    read = operators_of_json(file) if file.suffix == ".json" else read_hw_nas_bench(file)
    if space is not None and space not in read:
        raise unknown(f"space in {file.name}", space, read)
    card = HW_NAS_BENCH | {"source": f"HW-NAS-Bench v1.0 ({file.name})", "files": {file.name: file_sha256(file)}}
    wanted = {one: columns for one, columns in read.items() if space in (None, one)}
    for one, columns in wanted.items():  # before any of them is written
        _already_here(table_path(one, "hw-nas-bench"), columns, "float64", force)
    return [write(spaces.get(one), "hw-nas-bench", columns, card, force=force) for one, columns in wanted.items()]


def operators_of_json(file: Path) -> dict[str, Columns]:
    """Read HW-NAS-Bench's operators of FBNet from JSON; see ``read_operators``."""
    text = read_bytes(file).decode("utf-8", "replace")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: damaged or no JSON: {str(error)[:200]}") from None
    return {"fbnet": read_operators(content, str(file))}


def read_hw_nas_bench(file: Path) -> dict[str, Columns]:
    """Read ``HW-NAS-Bench-v1_0.pickle``: columns of tss by data set, and operators of fbnet.

    ``d["nasbench201"][dataset][metric]`` holds 15,625 numbers in NATS-Bench's order, ``d["fbnet"][metric]`` a number an
    operator. Raises DataError for another content, naming the place; nothing but plain containers and numbers is read.
    """
    data = read_bytes(file)
    content: Any = contained(f"{__name__}:content_here", str(file), len(data), data, str(file))
    spoken = f"{file}: expected HW-NAS-Bench's file"
    if not isinstance(content, dict) or not {"nasbench201", "fbnet"} <= content.keys():
        raise DataError(f"{spoken}, with the keys nasbench201 and fbnet")
    tss = spaces.get("tss")
    values: dict[tuple[str, str], NDArray[np.floating[Any]]] = {}
    kinds = {}
    for dataset, metrics in _mapping(content["nasbench201"], f"{spoken}: nasbench201").items():
        if dataset not in tss.datasets:
            raise DataError(f"{spoken}: nasbench201 has the unknown data set {str(dataset)[:40]!r}")
        for metric, numbers in _mapping(metrics, f"{spoken}: nasbench201.{dataset}").items():
            if metric == "config":
                _check_order(numbers, tss, f"{spoken}: nasbench201.{dataset}.config")
                continue
            where = f"{spoken}: nasbench201.{dataset}.{str(metric)[:60]}"
            values[dataset, metric] = _numbers(numbers, where, tss.size)
            kinds[dataset, metric] = MODELLED if str(metric).startswith(_ESTIMATED) else MEASURED
            _check_name(metric, where)
    return {"tss": Columns(values, kinds), "fbnet": read_operators(content["fbnet"], f"{spoken}: fbnet")}


def content_here(data: bytes, what: str) -> object:
    """What the pickle ``data`` holds, in the process that reads."""
    return loads(data, {**NUMPY_SCALARS, **OLD_PROTOCOLS, **ORDERED_DICT}, what=what)


def read_operators(content: Any, what: str) -> Columns:
    """Read ``metric -> operator -> number``; every metric has every operator of the space ``fbnet``."""
    fbnet: Any = spaces.get("fbnet")
    names = list(dict.fromkeys(name for one in fbnet.datasets for name in fbnet.operators(one).names()))
    values: dict[tuple[str, str], NDArray[np.floating[Any]]] = {}
    for metric, prices in _mapping(content, what).items():
        _check_name(metric, f"{what}.{str(metric)[:60]}")
        missing = [name for name in names if name not in _mapping(prices, f"{what}.{metric}")]
        if missing:
            raise DataError(f"{what}.{metric}: {len(missing)} of {len(names)} operators are missing, as {missing[0]}")
        values[OPERATORS, metric] = _numbers([prices[name] for name in names], f"{what}.{metric}", len(names))
    return Columns(values, operators=names)


def _mapping(value: Any, what: str) -> dict[Any, Any]:
    if not isinstance(value, dict) or not value:
        raise DataError(f"{what} is no dict of anything")
    return value


def _check_name(metric: Any, what: str) -> None:
    if not isinstance(metric, str) or not metric.endswith(("_latency", "_energy", "_arithmetic_intensity")):
        raise DataError(f"{what}: expected DEVICE_latency, DEVICE_energy or DEVICE_arithmetic_intensity")


def _check_order(configs: Any, space: Space, what: str) -> None:
    """The configurations say which cell each index is."""
    if not isinstance(configs, (list, tuple)) or len(configs) != space.size:
        raise DataError(f"{what}: expected {space.size:,} configurations")
    for index in (0, 1, 2, space.size - 1):
        config = configs[index]
        if not isinstance(config, dict) or config.get("arch_str") != space.string(index):
            raise DataError(f"{what}: index {index} is not the cell {space.string(index)}")


def _numbers(values: Any, what: str, size: int) -> NDArray[np.float64]:
    if not isinstance(values, (list, tuple)) or len(values) != size:
        raise DataError(f"{what}: expected a list of {size:,} numbers")
    if not all(type(value) in (int, float) for value in values):
        raise DataError(f"{what}: holds something else than numbers")
    found = np.array(values, dtype=np.float64)
    wrong = np.flatnonzero(~((found >= 0) & (found < np.inf) | (found == REFUSED)))
    if len(wrong):
        raise DataError(f"{what}: number {wrong[0]} is {found[wrong[0]]:g}; expected at least 0, or -1")
    return found


def write(
    space: Space,
    name: str,
    columns: Columns,
    card: Mapping[str, Any],
    *,
    force: bool = False,
    destination: Path | None = None,
    dtype: str = "float64",
) -> Table:
    """Write a hardware table, whole or not at all, and return it.

    ``card``: version, source, licence, citation, files, and ``made_from`` where those were not read. One of this name
    with the same columns is left as it is; with others it is replaced only by ``force``, else UsageError.
    """
    target = destination or table_path(space.name, name)
    size = len(next(iter(columns.values.values())))
    quantities = {f"{one}.{metric}": {"kind": kind} for (one, metric), kind in columns.kinds.items()}
    provenance: dict[str, Any] = {key: card[key] for key in ("files", "made_from") if key in card}
    provenance |= {"quantities": quantities} if quantities else {}
    provenance |= {"operators": list(columns.operators)} if columns.operators is not None else {}
    if columns.ignored:
        provenance["left_out"] = list(columns.ignored)
    here = _already_here(target, columns, dtype, force)
    if here is not None:
        return here
    writer = TableWriter(
        target, space=space.name, name=name, version=card["version"], size=size, source=card["source"],
        licence=card["licence"], citation=card["citation"], provenance=provenance,
        space_checksum=stored.recorded_checksum(space.name),
    )  # fmt: skip
    with writer:
        for (dataset, metric), values in columns.values.items():
            writer.add(dataset, metric, values, unit=unit_of(metric), dtype=dtype, minimise=unit_of(metric) != "")
    return Table.open(target)


def _already_here(target: Path, columns: Columns, dtype: str, force: bool) -> Table | None:
    """The table there, where it is the same; None where there is none, or it may be replaced. Else UsageError."""
    if force or not (target / "table.json").is_file():
        return None
    here = Table.open(target)
    if not _same(here, columns, dtype):
        raise UsageError(
            f"the hardware table {here.name!r} of space {here.space!r} is in {target} already and differs; replace it "
            "with --force, or choose another --name"
        )
    return here


def _same(table: Table, columns: Columns, dtype: str) -> bool:
    if {f"{one}.{metric}" for one, metric in columns.values} != set(table.columns):
        return False
    return all(
        np.array_equal(table.array(*key), values.astype(dtype), equal_nan=True)
        for key, values in columns.values.items()
    )
