"""A table of one's own: from a data frame, with a word on which columns say what."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness import spaces
from nasharness.errors import DataError, UsageError, unknown
from nasharness.spaces import stored
from nasharness.spaces.base import Space
from nasharness.spaces.listed import FilledSpace, ListedSpace
from nasharness.storage import atomically, only_writer, writing
from nasharness.storage.sealed import seal
from nasharness.tables.catalogue import open_table, table_path
from nasharness.tables.table import COST, Table
from nasharness.tables.writer import TableWriter

#: One trial of a measurement that names none.
ONLY = "0"
MISSING = ("refuse", "drop", "keep")
REPEATED = ("refuse", "first", "mean")
_NAME = re.compile(r"[A-Za-z_][\w.-]{0,99}")
_SPEC = re.compile(
    r"(?:(?P<dataset>[^/@:\s]+)/)?(?P<metric>[A-Za-z_][\w.-]*)(?:@(?P<epoch>\d+)(?:/(?P<schedule>\d+))?)?(?::(?P<trial>[\w.-]+))?"
)

#: what a trajectory can note
MOST_EPOCHS = 32_767


@dataclass(frozen=True)
class Spec:
    """What a column measures: ``[DATASET/]METRIC[@EPOCHS[/SCHEDULE]][:TRIAL]``."""

    dataset: str
    metric: str
    epoch: int | None
    schedule: int | None
    trial: str

    @classmethod
    def parse(cls, text: str, dataset: str) -> Spec:
        """Read ``text``; ``dataset``: where it names none. Raises UsageError for another form."""
        match = _SPEC.fullmatch(text.strip())
        if match is None:
            raise UsageError(
                f"metric {text!r}: expected [DATASET/]METRIC[@EPOCHS][:TRIAL], as in acc, cifar10/test@200:0"
            )
        epoch = None if match["epoch"] is None else int(match["epoch"])
        schedule = int(match["schedule"]) if match["schedule"] else None
        if max(epoch or 0, schedule or 0) > MOST_EPOCHS:
            raise UsageError(f"metric {text!r}: at most {MOST_EPOCHS:,} epochs")
        if match["trial"] in ("random", "mean", "others"):
            raise UsageError(
                f"metric {text!r}: a trial called {match['trial']!r} would mean something else in a signal"
            )
        return cls(match["dataset"] or dataset, match["metric"], epoch, schedule, match["trial"] or ONLY)


def from_frame(
    frame: Any,
    *,
    name: str,
    arch: str | Sequence[str],
    metrics: Mapping[str, str],
    known: Mapping[str, str] | Sequence[str] = (),
    cost: str | None = None,
    minimise: Sequence[str] = (),
    space: str | Space | None = None,
    ordered: bool = False,
    missing: str = "refuse",
    repeated: str = "refuse",
    signal: str | None = None,
    final: str | None = None,
    units: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
    source: str = "a data frame",
    licence: str = "the user's own",
    citation: str = "",
    provenance: Mapping[str, Any] | None = None,
    force: bool = False,
    destination: Path | None = None,
) -> Table:
    """Make a table of ``frame``, a data frame or a mapping of equally long columns, and return it.

    ``name``: of the table, and of its space and data set where those have no other name. ``arch``: one column of
    strings (characters, a printed tuple, or tokens between ``-``, ``_``, ``:`` or ``|``), or several columns; with the
    name of an existing ``space``, its published strings or indices; a space of rows may be given itself. ``metrics``:
    column -> what it measures, as in
    ``{"run0": "acc:0", "v12": "cifar10/val@12"}``; equal names with other trials are one measurement, with other epochs
    one measurement at several fidelities. ``known``: columns that cost nothing to know (parameters, latency), with the
    names they get. ``cost``: column of the seconds of one evaluation. ``minimise``: metrics of which less is better.
    ``ordered``: whether options are quantities (widths) rather than kinds. ``missing``: what to do with rows that lack
    a value: ``refuse``, ``drop`` the rows, or ``keep`` NaN. ``repeated``: with architectures that occur again:
    ``refuse``, keep the ``first``, or take the ``mean``. ``signal``, ``final``: the measurements that a search sees and
    is scored by, where it names none. ``force``: replace a table of this name. ``destination``: its folder, by default
    where ``nasharness`` looks for it.

    Raises UsageError and DataError naming the column, row or value that is wrong; nothing is written in that case.
    """
    for word, words, what in ((missing, MISSING, "missing"), (repeated, REPEATED, "repeated")):
        if word not in words:
            raise unknown(f"treatment of {what} values", word, words)
    columns = _columns(frame)
    names = [arch] if isinstance(arch, str) else list(arch)
    free = dict(known) if isinstance(known, Mapping) else {column: column for column in known}
    for column, called in free.items():
        if not _NAME.fullmatch(called):
            raise UsageError(f"--known {column}={called}: expected a name of letters, digits, '.', '_' and '-'")
    for column in [*names, *metrics, *free, *([cost] if cost else [])]:
        if column not in columns:
            raise unknown("column of the data", column, columns)
    if not metrics:
        others = [column for column in columns if column not in names]
        raise UsageError(
            "no column to score by: say what one measures, as in "
            f"--metric {others[0] if others else 'COLUMN'}=acc (columns: {', '.join(columns)[:300]})"
        )
    specs = {column: Spec.parse(text, name) for column, text in metrics.items()}
    _distinct(specs)
    unmeasured = [
        metric for metric in minimise if metric not in {spec.metric for spec in specs.values()} | {*free.values()}
    ]
    if unmeasured:
        raise unknown("metric to minimise", unmeasured[0], {spec.metric for spec in specs.values()})
    numbers = {column: _numbers(columns[column], column) for column in [*specs, *free, *([cost] if cost else [])]}
    keys = [columns[column] for column in names]
    keys, numbers = _whole_rows(keys, numbers, list(specs), missing)
    keys, numbers = _once(keys, numbers, repeated)
    chosen, order = _space(name, space, names, keys, ordered, missing)
    spread = {column: _spread(values, order, chosen.size) for column, values in numbers.items()}
    if cost and not (spread[cost] > 0).all():
        raise DataError(
            f"column {cost!r}: seconds of an evaluation must be positive; it has {np.nanmin(spread[cost]):g}"
        )
    target = table_path(chosen.name, name) if destination is None else destination
    if (target / "table.json").is_file() and not force:
        raise UsageError(f"table {name!r} is in {target} already; replace it with --force, or choose another --name")
    own = chosen if isinstance(chosen, (FilledSpace, ListedSpace)) else None
    with contextlib.ExitStack() as locks:
        for place in (target, *([] if own is None else [stored.folder(own.name) / "space.json"])):
            locks.enter_context(only_writer(place))
        switch = (lambda: None) if own is None else stage_space(own, force)
        protocol = {key: text for key, text in (("signal", signal), ("final", final)) if text}
        with TableWriter(
            target, space=chosen.name, name=name, version="imported", size=chosen.size, source=source, licence=licence,
            citation=citation, provenance=provenance, protocol=protocol,
            space_checksum="" if own is None else stored.checksum(own), switch=switch,
        ) as writer:  # fmt: skip
            _write(writer, specs, spread, set(minimise), units or {}, notes or {})
            datasets = dict.fromkeys(spec.dataset for spec in specs.values())
            for dataset in datasets:
                for column, metric in free.items():
                    writer.add(
                        dataset, metric, spread[column], unit=(units or {}).get(column, ""), dtype="float64",
                        note=(notes or {}).get(column, ""), minimise=metric in minimise,
                    )  # fmt: skip
                if cost:
                    note = (notes or {}).get(cost, "one evaluation")
                    writer.add(dataset, COST, spread[cost], unit="s", dtype="float64", note=note)
    return Table.open(target) if destination is not None else open_table(chosen.name, name)


def stage_space(space: FilledSpace | ListedSpace, force: bool = False) -> Callable[[], None]:
    """Put the arrays of a space of rows beside its tables; return what makes them the space, by one renaming.

    Raises UsageError where the folder holds another space of that name, unless ``force``.
    """
    folder = stored.folder(space.name)
    recorded = stored.recorded_checksum(space.name)
    if recorded == stored.checksum(space):
        return lambda: stored.sweep(folder)  # after one that was killed before it did
    if recorded and not force:
        raise UsageError(
            f"space {space.name!r} is defined in {folder} with other architectures; --force, or another --name"
        )
    card = stored.card_of(space)
    with writing(f"a space to {folder}", ""):
        for name, values in stored.arrays_of(space).items():
            content = io.BytesIO()
            np.save(content, np.ascontiguousarray(values), allow_pickle=False)
            digest = hashlib.sha256(content.getbuffer()).hexdigest()
            card["arrays"][name] = digest
            atomically(folder / stored.array_file(name, digest), content.getvalue())

    def switch() -> None:
        atomically(folder / "space.json", json.dumps(seal(card)) + "\n")
        stored.sweep(folder)

    return switch


def _columns(frame: Any) -> dict[str, NDArray[Any]]:
    """Columns by name, equally long. Takes a mapping, or a data frame of pandas or pyarrow."""
    names = list(getattr(frame, "column_names", getattr(frame, "columns", frame)))
    columns = {str(name): np.asarray(frame[name]) for name in names}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1 or not lengths.pop():
        raise DataError("the data have no rows, or columns of different lengths")
    return columns


def _distinct(specs: Mapping[str, Spec]) -> None:
    seen: dict[Spec, str] = {}
    for column, spec in specs.items():
        if spec in seen:
            raise UsageError(
                f"columns {seen[spec]!r} and {column!r} both measure {spec.dataset}/{spec.metric}, trial {spec.trial}; "
                f"give each a trial: --metric {seen[spec]}={spec.metric}:0 --metric {column}={spec.metric}:1"
            )
        seen[spec] = column


def _numbers(values: NDArray[Any], column: str) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"column {column!r} is not all numbers: {error}") from None
    if np.isinf(numbers).any():
        raise DataError(f"column {column!r} is infinite in row {int(np.flatnonzero(np.isinf(numbers))[0])}")
    return numbers


def _whole_rows(
    keys: list[NDArray[Any]], numbers: dict[str, NDArray[np.float64]], measured: Sequence[str], missing: str
) -> tuple[list[NDArray[Any]], dict[str, NDArray[np.float64]]]:
    """Deal with values that are missing, as the user said."""
    if missing == "keep":
        return keys, numbers
    absent = {column: int(np.isnan(numbers[column]).sum()) for column in measured}
    absent = {column: count for column, count in absent.items() if count}
    if not absent:
        return keys, numbers
    if missing == "refuse":
        column, count = next(iter(absent.items()))
        first = int(np.flatnonzero(np.isnan(numbers[column]))[0])
        raise DataError(
            f"column {column!r} has no value in {count:,} of {len(numbers[column]):,} rows (first: row {first}); leave "
            "such rows out with --missing drop, or keep the gaps with --missing keep"
        )
    kept = ~np.any([np.isnan(numbers[column]) for column in measured], axis=0)
    if not kept.any():
        raise DataError("no row has a value in every column that is measured")
    return [key[kept] for key in keys], {column: values[kept] for column, values in numbers.items()}


def _once(
    keys: list[NDArray[Any]], numbers: dict[str, NDArray[np.float64]], repeated: str
) -> tuple[list[NDArray[Any]], dict[str, NDArray[np.float64]]]:
    """Deal with architectures that occur again, as the user said."""
    from nasharness.tables.strings import joined, texts_of  # not at the top: pyarrow takes long to import

    whole = joined([texts_of(key) for key in keys]).dictionary_encode()
    group = whole.indices.to_numpy()
    if len(whole.dictionary) == len(group):
        return keys, numbers
    count = np.bincount(group)
    order = np.unique(group, return_index=True)[1]  # groups are numbered as rows bring them: ascending
    if repeated == "refuse":
        which = int(order[count > 1][0])
        again = int(np.flatnonzero(group == group[which])[1])
        raise DataError(
            f"{int((count > 1).sum()):,} architectures occur more than once; the first is "
            f"{whole[which].as_py()[:120]!r}, in rows {which} and {again}. --repeated first keeps the first of them, "
            "--repeated mean their mean"
        )
    if repeated == "mean":
        numbers = {column: np.bincount(group, weights=values) / count for column, values in numbers.items()}
    else:
        numbers = {column: values[order] for column, values in numbers.items()}
    return [key[order] for key in keys], numbers


def _space(
    name: str, space: str | Space | None, names: list[str], keys: list[NDArray[Any]], ordered: bool, missing: str
) -> tuple[Space, NDArray[np.int64]]:
    """The space of these architectures, and which of its architectures each row is."""
    if space is None:
        if spaces.registered(name):
            raise UsageError(
                f"--name {name}: a space is called so; give the table another name, or import it into that space with "
                f"--space {name}"
            )
        from nasharness.tables.strings import space_of

        found = space_of(name, names, keys, ordered)
        return found, np.arange(found.size)
    chosen = spaces.get(space) if isinstance(space, str) else space
    if len(keys) != 1:
        raise UsageError(
            f"--space {chosen.name}: its architectures are one column of strings or indices; --arch names {len(keys)}"
        )
    ids = np.array([chosen.parse(value if isinstance(value, str) else int(value)) for value in keys[0].tolist()])
    if len(np.unique(ids)) < len(ids):
        raise DataError(f"column {names[0]!r}: two rows are the same architecture of space {chosen.name!r}")
    if len(ids) < chosen.size and missing != "keep":
        raise DataError(
            f"the data have {len(ids):,} of the {chosen.size:,} architectures of space {chosen.name!r}; --missing keep "
            "imports what there is"
        )
    return chosen, ids


def _spread(values: NDArray[np.float64], order: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    column = np.full(size, np.nan)
    column[order] = values
    return column


def _write(
    writer: TableWriter,
    specs: Mapping[str, Spec],
    spread: Mapping[str, NDArray[np.float64]],
    minimise: set[str],
    units: Mapping[str, str],
    notes: Mapping[str, str],
) -> None:
    """Write measured columns: trials along axis 1, and epochs of one measurement along axis 0."""
    groups: dict[tuple[str, str], list[tuple[str, Spec]]] = {}
    for column, spec in specs.items():
        groups.setdefault((spec.dataset, spec.metric), []).append((column, spec))
    for (dataset, metric), members in groups.items():
        epochs = sorted({spec.epoch for _, spec in members if spec.epoch is not None})
        if epochs and any(spec.epoch is None for _, spec in members):
            raise UsageError(
                f"metric {metric} of {dataset} is given with epochs and without; say @EPOCHS for all or none"
            )
        trials = list(dict.fromkeys(spec.trial for _, spec in members))
        schedule = max([*epochs, *(spec.schedule or 0 for _, spec in members)]) if epochs else None
        said = [column for column, _ in members if column in units or column in notes]
        array = writer.create(
            dataset, metric, unit=units.get(said[0], "") if said else "", dtype="float64", schedule=schedule,
            epochs=epochs, seeds=trials, note=notes.get(said[0], "") if said else "", minimise=metric in minimise,
        )  # fmt: skip
        for column, spec in members:
            array[epochs.index(spec.epoch) if spec.epoch is not None else 0, trials.index(spec.trial)] = spread[column]
