"""What tables are here, what is missing, and whether what is here is undamaged; import of whatever file a user has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nasharness import spaces
from nasharness.errors import DataError, UsageError, unknown
from nasharness.runs.job import Progress
from nasharness.tables import catalogue
from nasharness.tables.importers import published
from nasharness.tables.importers.nats_light.files import SUFFIXES, is_light
from nasharness.tables.importers.nats_light.table import SPACES as LIGHT_SPACES
from nasharness.tables.importers.nats_light.table import import_files
from nasharness.tables.own_files import import_own, read_card
from nasharness.tables.registry import offered
from nasharness.tables.table import Table


def inventory(name: str | None = None) -> list[dict[str, Any]]:
    """Every table that is here as plain values, in the order of look-up; only those called ``name`` if given.

    Keys: ``space, name, version, rows, columns`` (their names), ``notes`` (by column), ``datasets, bytes, source,
    licence, citation, attribution, checksum, path``, and ``problem``, empty unless the table cannot be opened.
    Raises UsageError for a name that no table here has.
    """
    rows = [
        _row(space, here) for space in spaces.names() for here in catalogue.table_names(space) if name in (None, here)
    ]
    if name is not None and not rows:
        known = {here for space in spaces.names() for here in catalogue.table_names(space)}
        raise unknown("table", name, known, "nasharness data status")
    return rows


def _row(space: str, name: str) -> dict[str, Any]:
    path = catalogue.open_table(space, name).path if name in offered(space) else catalogue.table_path(space, name)
    row: dict[str, Any] = {"space": space, "name": name, "path": str(path), "problem": ""}
    row["bytes"] = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    try:
        table = Table.open(path)
    except DataError as error:
        return row | {"problem": str(error)}
    meta = {key: table.meta.get(key, "") for key in ("version", "source", "licence", "citation", "attribution")}
    columns = list(table.columns)
    meta["notes"] = {name: column.note for name, column in table.columns.items() if column.note}
    return row | meta | {"rows": table.size, "columns": columns, "datasets": table.datasets, "checksum": table.checksum}


def missing() -> list[dict[str, str]]:
    """Published tables that are not here: ``space, name, command``, the command that brings each."""
    return [
        {"space": space, "name": name, "command": catalogue.how_to_get(space, name)}
        for space, name in catalogue.missing()
    ]


def verify(name: str | None = None) -> dict[str, list[str]]:
    """Compare every file of the tables with its recorded SHA-256; return what is wrong by ``space/name``.

    Raises UsageError for a name that no table here has.
    """
    return {
        f"{row['space']}/{row['name']}": [row["problem"]] if row["problem"] else Table.open(row["path"]).verify()
        for row in inventory(name)
    }


#: Options that describe a table of one's own.
_OWN = ("arch", "metrics", "known", "cost", "minimise", "ordered", "missing", "repeated", "signal", "final", "card")


def import_any(
    paths: Sequence[str | os.PathLike[str]],
    *,
    name: str | None = None,
    space: str | None = None,
    partial: bool = False,
    jobs: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **own: Any,
) -> Table:
    """Import a table of one's own (see `own.from_frame`), small published files, or one archive.

    ``own``: what describes a table of one's own, or ``card``, a file that does. The other options are those of
    ``import_files`` and ``import_archive``. Raises UsageError for a mixture, a path that is not there, and a table of
    this name that is there already unless ``force``.
    """
    for key in own:
        if key not in _OWN:
            raise unknown("option of an import", key, (*_OWN, "name", "space", "partial", "jobs", "force"))
    card = own.pop("card", None)
    described = read_card(card) if card is not None else {}
    files = [Path(path).expanduser() for path in (paths or described.get("files", ()))]
    described.pop("files", None)
    if not files:
        raise UsageError("nothing to import: expected a file, a folder or an archive")
    for file in files:
        if not (file.is_file() or file.is_dir()):
            what = "a pipe or a device is" if file.exists() else "nothing"
            raise UsageError(f"{what} at {file}; expected a file or a folder to import")
    if name == "embedded":
        raise UsageError("the table 'embedded' ships with nasharness and is not imported; choose another --name")
    if own or described:
        named = {key: value for key, value in (("name", name), ("space", space)) if value is not None}
        return import_own(files, force=force, progress=progress, **(described | own | named))
    known = published.recognise(files)
    if known is not None:
        if space not in (None, known.space):
            raise UsageError(
                f"{files[0]} is of table {known.name!r} of space {known.space!r}, not of {space!r}; leave --space out"
            )
        return known.read(files, name, force)
    small = [file for file in files if file.is_file() and is_light(file)]
    if small and len(small) == len(files):
        if space is not None and spaces.get(space).name not in LIGHT_SPACES:
            raise UsageError(
                f"--space {space}: these files are of {', '.join(LIGHT_SPACES)}; of {space}, import an archive, or say "
                "what the columns are with --arch and --metric"
            )
        return import_files(files, name=name or "light", partial=partial, force=force)
    if len(files) != 1:
        raise UsageError(f"{len(files)} paths; expected one archive, or small files only ({', '.join(SUFFIXES)})")
    from nasharness.tables.importers.nats_official.table import import_archive

    chosen, expected = name or "official", space or published.archive_space(files[0])
    target = catalogue.table_path(spaces.get(expected).name, chosen)
    if (target / "table.json").is_file() and not force:
        raise UsageError(f"table {chosen!r} of space {expected!r} is in {target} already; replace it with --force")
    return import_archive(files[0], name=chosen, space=space, partial=partial, jobs=jobs, progress=progress)
