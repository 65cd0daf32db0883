"""Read studies back: one data frame over all shards, checked before anything is computed from it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nasharness.errors import DataError, UsageError
from nasharness.extras import module
from nasharness.search.registry import ONE_SHOT
from nasharness.studies.cells import shard_names
from nasharness.studies.folder import read_meta, read_shard, shard_note
from nasharness.studies.plan import count, share
from nasharness.studies.shard import FRONTS, LATER, NAMES, SCHEMA, schema_like

if TYPE_CHECKING:
    import pandas as pd


#: Seeds of one realisation are so far from those of the next, which makes each run's seed its own.
APART = 1 << 48


class StudyResults:
    """What ``load`` returns.

    ``frame``: all rows, columns as in the shards (those of fronts where there are any), and ``study``, the number of
    the folder they came from; ordered by study, cell, seed and step. ``cells``: those of study.json with ``study``
    added, in the same order. ``metas``: the content of every study.json. Where two studies have the same algorithm on
    the same data set, its label (in both ``frame`` and ``cells``) ends in ``@ FOLDER``; a start that the problem
    gives is named before: ``rea [dense]``. Where a study crosses seeds with realisations of the noise, the column
    ``seed`` of realisation r (0, 1, ...) is r x APART more than the seed, so that no two runs share one.
    """

    def __init__(
        self, frame: pd.DataFrame, cells: list[dict[str, Any]], metas: list[dict[str, Any]], paths: list[Path]
    ) -> None:
        self.frame = frame
        self.cells = cells
        self.metas = metas
        self.paths = paths

    def __repr__(self) -> str:
        runs = int(self.frame["last"].sum())
        return f"<StudyResults of {', '.join(map(str, self.paths))}: {len(self.cells)} cells, {runs:,} runs>"

    @property
    def last(self) -> pd.DataFrame:
        """One row a run: its end."""
        return self.frame[self.frame["last"]].reset_index(drop=True)

    def fronts(self, cell: Mapping[str, Any]) -> pd.DataFrame:
        """The front of every run of a cell: a row a member, in the order of evaluation.

        Columns: ``seed``, ``arch``, ``signal`` of the first objective, and the final value in each objective under its
        name. Raises UsageError for a cell of one objective.
        """
        import pandas as pd

        rows = self._of(cell)
        counts = [len(members) for members in rows["front"]]
        objectives = [each["name"] for each in cell["protocol"]["objectives"]]
        values = np.concatenate([*rows["front_values"], np.empty(0)]).reshape(-1, len(objectives))
        return pd.DataFrame(
            {
                "seed": np.repeat(rows["seed"].to_numpy(), counts),
                "arch": np.concatenate([*rows["front"], np.empty(0, dtype=np.int32)]),
                "signal": np.concatenate([*rows["front_signals"], np.empty(0)]),
                **dict(zip(objectives, values.T, strict=True)),
            }
        )

    def hypervolumes(self, cell: Mapping[str, Any], evaluations: NDArray[Any] | Sequence[int]) -> NDArray[np.float64]:
        """Hypervolume of every run's front after each of ``evaluations``, ``[runs, evaluations]``, by seed.

        As a share of the exact front's; 0 before the first evaluation. A run that has ended keeps its front. Raises
        UsageError for a cell of one objective.
        """
        rows = self._of(cell)
        found = np.zeros((len(rows), len(evaluations)))
        for number, (steps, shares) in enumerate(zip(rows["front_steps"], rows["front_hypervolumes"], strict=True)):
            place = np.searchsorted(steps, evaluations, side="right")
            found[number] = np.concatenate([[0.0], shares])[place]
        return found

    def _of(self, cell: Mapping[str, Any]) -> pd.DataFrame:
        """The last row of each run of a cell of several objectives, by seed."""
        frame = self.frame
        name = FRONTS[0].name
        own = frame[frame["last"] & (frame["cell"] == cell["id"]) & (frame["study"] == cell["study"])]
        if name not in frame or own[name].isna().any():
            raise UsageError(
                f"{cell['algorithm']} on {cell['dataset']} has no fronts: it was run for one objective; name another "
                "one (--objective params)"
            )
        return own.sort_values("seed", kind="stable")

    def strings(self, column: str = "incumbent", rows: pd.DataFrame | None = None) -> list[str]:
        """The architectures of a column, ``incumbent`` or ``recommended``, as the strings of their space.

        ``rows``: of ``frame``, ``last`` or ``at``; None for all of ``frame``. Empty where a row has none. Each
        architecture is looked up once. Raises UsageError for a space that is not registered here.
        """
        from nasharness import spaces

        rows = self.frame if rows is None else rows
        known: dict[tuple[str, Any], str] = {}
        told = []
        for name, value in zip(rows["space"].astype(str), rows[column], strict=True):
            key = (name, value.tobytes() if isinstance(value, np.ndarray) else int(value))
            if key not in known:
                known[key] = "" if np.ravel(value)[0] < 0 else spaces.get(name).string(value)
            told.append(known[key])
        return told

    def at(self, evaluations: float | None = None, seconds: float | None = None) -> pd.DataFrame:
        """One row a run, in the order of ``last``: the incumbent at a budget, the last row within it.

        ``signal`` and ``final`` are NaN and ``incumbent`` -1 where the run had no evaluation by then. Columns
        ``recommended`` and ``evaluations`` are left out. Raises UsageError unless exactly one budget is given.
        """
        if (evaluations is None) == (seconds is None):
            raise UsageError("at() needs either evaluations or seconds")
        column, limit = ("step", evaluations) if seconds is None else ("simulated_seconds", seconds)
        run = np.cumsum(np.concatenate([[0], self.frame["last"].to_numpy()[:-1]]))  # of each row
        inside = np.flatnonzero(self.frame[column].to_numpy() <= limit)
        last = np.full(int(run[-1]) + 1, -1) if len(run) else np.empty(0, dtype=np.int64)
        last[run[inside]] = inside  # ascending, so that the latest stays
        ends = np.flatnonzero(self.frame["last"].to_numpy())
        found = self.frame.iloc[np.where(last >= 0, last, ends)].reset_index(drop=True)
        found.loc[last < 0, ["signal", "final", "simulated_seconds"]] = np.nan
        found.loc[last < 0, "incumbent"] = -1
        found.loc[last < 0, "step"] = 0
        return found.drop(columns=["recommended", "recommended_final", "evaluations"])


def load(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], *, partial: bool = False) -> StudyResults:
    """Read one folder or several: of studies, of runs, of one-shot runs.

    ``partial``: take what is finished of a study that is not complete. Raises DataError for a folder without a study,
    a study that is incomplete, a shard that is truncated, lacks columns or belongs to another study, and for studies
    that cannot be compared: another table or final metric for the same space and data set.
    """
    pd = module("pandas", "reading studies needs pandas", "study")
    folders = [Path(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
    if not folders:
        raise UsageError("no study was given")
    for path in folders:
        if [other.resolve() for other in folders].count(path.resolve()) > 1:
            raise UsageError(f"study {path} is given twice")
    metas = [read_meta(path) for path in folders]
    _comparable(folders, metas)
    cells = [cell | {"study": number} for number, meta in enumerate(metas) for cell in meta["cells"]]
    labels = _labels(folders, cells)
    frames = []
    for number, (path, meta) in enumerate(zip(folders, metas, strict=True)):
        frame = _read(path, meta, partial).to_pandas()
        frame["study"] = np.int32(number)
        renamed = {cell["id"]: label for cell, label in zip(cells, labels, strict=True) if cell["study"] == number}
        if any(label != cell["algorithm"] for cell, label in zip(cells, labels, strict=True)):
            frame["algorithm"] = frame["cell"].astype(str).map(renamed)
        places = {cell["id"]: cell["realisation"] for cell in meta["cells"] if cell.get("realisation")}
        if places:
            frame["seed"] += frame["cell"].astype(str).map(places).fillna(0).astype(np.int64) * APART
        frames.append(frame)
    whole = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    for name in NAMES:
        whole[name] = whole[name].astype("category")
    for cell, label in zip(cells, labels, strict=True):
        cell["algorithm"] = label
    return StudyResults(whole, cells, metas, folders)


def alike(paths: Sequence[str | os.PathLike[str]]) -> list[list[Path]]:
    """Folders in groups whose results may stand side by side: one table, protocol and budget for each data set.

    Starts and realisations of the signal may differ. Raises DataError for a folder without a study.
    """
    groups: list[tuple[list[Path], dict[tuple[str, str], Any]]] = []
    for path in map(Path, paths):
        own: dict[tuple[str, str], Any] = {}
        for cell in read_meta(path)["cells"]:
            apart = ("start", "signal") if cell.get("realisation") is not None else ("start",)
            protocol = {key: value for key, value in cell["protocol"].items() if key not in apart}
            if cell["kind"] == ONE_SHOT:  # which have a signal and a budget of their own
                continue
            own[cell["space"], cell["dataset"]] = (cell["table"]["checksum"], protocol)
        for folders, known in groups:
            if all(known.get(key, value) == value for key, value in own.items()):
                folders.append(path)
                known |= own
                break
        else:
            groups.append(([path], own))
    return [folders for folders, _ in groups]


def _read(path: Path, meta: Mapping[str, Any], partial: bool) -> pa.Table:
    names = shard_names(meta["cells"])
    files = [path / "shards" / f"{name}.parquet" for name in names]
    missing = sum(not file.is_file() for file in files)
    command = f"nasharness study --resume --out {shlex.quote(str(path))}"
    if missing == len(files):
        raise DataError(
            f"study {path} is empty: none of its {count(len(files), 'shard')} is there; go on with: {command}"
        )
    if missing and not partial:
        raise DataError(
            f"study {path} is incomplete: {share(missing, len(files), 'shard')} missing; go on with: {command}"
        )
    tables = []
    for name, file in zip(names, files, strict=True):
        if not file.is_file():
            continue
        try:
            table = read_shard(file)
        except (OSError, pa.ArrowException, UsageError) as error:
            raise DataError(
                f"{file} is truncated or damaged ({str(error).splitlines()[0]}); compute it again: {command}"
            ) from error
        for column in LATER:  # of studies that did not keep it
            if column not in table.column_names:
                table = table.append_column(column, pa.nulls(table.num_rows, pa.float64()))
        absent = [column for column in SCHEMA.names if column not in table.column_names]
        if absent:
            raise DataError(f"{file} lacks the columns {', '.join(absent)}; compute it again: {command}")
        note = shard_note(table)
        if note.get("study") != meta["identity"] or note.get("shard") != name:
            raise DataError(f"{file} belongs to another study than {path / 'study.json'}; compute it again: {command}")
        try:
            schema = schema_like(table.schema)
            tables.append(table.select(schema.names).cast(schema))
        except pa.ArrowException as error:
            raise DataError(
                f"{file} holds columns of other types ({str(error).splitlines()[0]}); compute it again: {command}"
            ) from error
    return pa.concat_tables(tables).unify_dictionaries()


def _comparable(paths: Sequence[Path], metas: Sequence[Mapping[str, Any]]) -> None:
    first: dict[tuple[str, str], tuple[Path, Mapping[str, Any]]] = {}
    for path, meta in zip(paths, metas, strict=True):
        if not meta["cells"]:
            raise DataError(
                f"study {path} is empty: it has no cells; go on with: "
                f"nasharness study --resume --out {shlex.quote(str(path))}"
            )
        for cell in meta["cells"]:
            other_path, other = first.setdefault((cell["space"], cell["dataset"]), (path, cell))
            if other["table"]["checksum"] != cell["table"]["checksum"]:
                was, now = (f"{c['table']['source']} (checksum {c['table']['checksum'][:12]})" for c in (other, cell))
                raise DataError(
                    f"results of different tables do not mix: {cell['space']}/{cell['dataset']} is from {was} in "
                    f"{other_path}, from {now} in {path}; run both on one table (--table)"
                )
            if other["protocol"]["final"] != cell["protocol"]["final"]:
                raise DataError(
                    f"results of different final metrics do not mix: {cell['space']}/{cell['dataset']} is scored by "
                    f"{other['protocol']['final']} in {other_path}, by {cell['protocol']['final']} in {path}"
                )


def _labels(paths: Sequence[Path], cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Labels of algorithms: with their start where it is given, and by folder where two studies share one on a data
    set.
    """  # noqa: D205
    starts = [cell["protocol"].get("start", "own").partition(" (")[0] for cell in cells]
    own = [
        cell["algorithm"] + (f" [{start}]" if start != "own" else "") for cell, start in zip(cells, starts, strict=True)
    ]
    studies: dict[tuple[str, str, str], set[int]] = {}
    for label, cell in zip(own, cells, strict=True):
        studies.setdefault((label, cell["space"], cell["dataset"]), set()).add(cell["study"])
    shared = {key[0] for key, found in studies.items() if len(found) > 1}
    names = [path.name for path in paths]
    folder = [path.name if names.count(path.name) == 1 else str(path) for path in paths]
    return [
        f"{label} @ {folder[cell['study']]}" if label in shared else label
        for label, cell in zip(own, cells, strict=True)
    ]
