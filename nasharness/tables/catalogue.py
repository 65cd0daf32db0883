"""Where tables live, and which one answers a question.

A table of space ``tss`` named ``light`` lies in ``DATA/tables/tss/light``; DATA is ``$NASHARNESS_DATA``, else the
platform's folder for user data. The embedded table ships inside the package. Look-up order: official, light, embedded.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import platformdirs

from nasharness.errors import DataError, UsageError, unknown
from nasharness.tables.table import Table

ORDER = ("official", "light", "embedded")

HOW_TO_GET = {
    "official": "nasharness data import DIR_OR_ARCHIVE",
    "light": "nasharness data fetch",
    "embedded": "reinstall nasharness: the embedded table ships with it",
}


def data_dir() -> Path:
    """The folder that holds downloaded and imported data: ``$NASHARNESS_DATA``, else the user's data folder."""
    chosen = os.environ.get("NASHARNESS_DATA")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_data_dir("nasharness", appauthor=False))


def table_path(space: str, name: str) -> Path:
    """Where the table ``name`` of ``space`` lies, or would lie. Raises UsageError for a name that is no plain word."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(f"table name {name!r}: expected letters, digits, '.', '_' and '-', as in 'light'")
    if name == "embedded":
        return Path(__file__).parent / "embedded" / space
    return data_dir() / "tables" / space / name


def table_names(space: str) -> list[str]:
    """Names of the tables of ``space`` that exist here, in the order of look-up, then alphabetically."""
    folder = data_dir() / "tables" / space
    found = {path.parent.name for path in folder.glob("*/table.json") if not path.parent.name.startswith(".")}
    if (table_path(space, "embedded") / "table.json").is_file():
        found.add("embedded")
    return [name for name in ORDER if name in found] + sorted(found - set(ORDER))


def open_table(space: str, name: str) -> Table:
    """Open one table by name. Raises DataError with the command that brings it where it is not here."""
    known = table_names(space)
    if name in known:
        return Table.open(table_path(space, name))
    table_path(space, name)  # refuses names that are no names
    if name in ORDER:
        raise DataError(f"no {name} table of space {space!r} in {data_dir()}; get it with: {how_to_get(space, name)}")
    raise unknown(f"table of space {space!r}", name, known, "nasharness list tables")


def candidates(space: str) -> tuple[list[Table], list[str]]:
    """Every table that look-up considers, best first, and what is wrong with those that cannot be opened.

    Raises DataError with the command that brings one where there is none.
    """
    tables, damaged = [], []
    for name in table_names(space):
        if name in ORDER:
            try:
                tables.append(open_table(space, name))
            except DataError as error:
                damaged.append(f"{name!r} was passed over: {error}")
    if not tables:
        if damaged:
            raise DataError(f"no table of space {space!r} can be opened: {'; '.join(damaged)}")
        raise DataError(
            f"no table of space {space!r} in {data_dir()}, and no small public one exists; import NATS-Bench's: "
            f"{how_to_get(space, 'official')}"
            if space == "sss"
            else f"no table of space {space!r} in {data_dir()}; get one with: {HOW_TO_GET['light']}"
        )
    return tables, damaged


def how_to_get(space: str, name: str) -> str:
    """The command that brings a table here."""
    if name == "official":
        archive = {"tss": "NATS-tss-v1_0-3ffb9-simple.tar", "sss": "NATS-sss-v1_0-50262-simple.tar"}.get(
            space, "ARCHIVE"
        )
        return f"nasharness data import {archive}"
    if name == "light" and space != "tss":
        return how_to_get(space, "official")
    return HOW_TO_GET.get(name, "nasharness data import FILE --name NAME")
