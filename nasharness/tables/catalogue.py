"""Where tables live, and which one answers a question.

A table of space ``tss`` named ``light`` lies in ``DATA/tables/tss/light``; DATA is ``$NASHARNESS_DATA``, else the
platform's folder for user data. The embedded table ships inside the package. Look-up order: official, light, embedded;
where a space has none of these, whatever it has.
"""

from __future__ import annotations

import re
from pathlib import Path

from nasharness import spaces
from nasharness.errors import DataError, UsageError, unknown
from nasharness.spaces import stored
from nasharness.storage.places import data_dir
from nasharness.tables import registry
from nasharness.tables.table import Table
from nasharness.tables.writer import recover

ORDER = ("official", "light", "embedded")

#: (space, table) -> the command that brings a published table
HOW_TO_GET = {
    ("tss", "official"): "nasharness data import NATS-tss-v1_0-3ffb9-simple.tar",
    ("sss", "official"): "nasharness data import NATS-sss-v1_0-50262-simple.tar",
    ("tss", "light"): "nasharness data fetch",
    ("sss", "light"): "nasharness data fetch sss",
    ("macro", "nbmacro"): "nasharness data fetch nbmacro",
    ("channel-resnet", "channel"): "nasharness data fetch channel",
    ("tnb101-micro", "tnb101"): "nasharness data import FILE, with columns arch and TASK_val",
    ("tss-curves", "curves"): stored.PUBLISHED["tss-curves"],
    ("nb101", "official"): stored.PUBLISHED["nb101"],
    ("tss", "embedded"): "reinstall nasharness: the embedded table ships with it",
}
#: what brings a table of one's own
OWN = "nasharness data import FILE --name NAME --arch COLUMN --metric COLUMN=METRIC"


def table_path(space: str, name: str) -> Path:
    """Where the table ``name`` of ``space`` lies, or would lie. Raises UsageError for a name that is no plain word."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(f"table name {name!r}: expected letters, digits, '.', '_' and '-', as in 'light'")
    if name == "embedded":
        return Path(__file__).parent / "embedded" / space
    return stored.folder(space) / name


def table_names(space: str) -> list[str]:
    """Names of the tables of ``space`` that exist here, in the order of look-up, then alphabetically."""
    folder = data_dir() / "tables" / space
    if recover(folder, stored.recorded_checksum(space) or None):
        stored.recover(folder)
    found = {path.parent.name for path in folder.glob("*/table.json") if not path.parent.name.startswith(".")}
    if (table_path(space, "embedded") / "table.json").is_file():
        found.add("embedded")
    found |= registry.offered(space).keys()
    return [name for name in ORDER if name in found] + sorted(found - set(ORDER))


def open_table(space: str, name: str) -> Table:
    """Open one table by name. Raises DataError with the command that brings it where it is not here."""
    known = table_names(space)
    if name in known:
        path = table_path(space, name)
        brought = name in registry.offered(space) and not (path / "table.json").is_file()
        table = registry.make(space, name) if brought else Table.open(path)
        bound = table.meta.get("space_checksum")
        if bound and bound != stored.recorded_checksum(space):
            raise DataError(
                f"table {name!r} measures other architectures than space {space!r} has now: the space was imported "
                "again since; import the table again too"
            )
        return table
    table_path(space, name)  # refuses names that are no names
    if (space, name) in HOW_TO_GET:
        raise DataError(f"no {name} table of space {space!r} in {data_dir()}; get it with: {how_to_get(space, name)}")
    raise unknown(f"table of space {space!r}", name, known, "nasharness list tables")


def candidates(space: str) -> tuple[list[Table], list[str]]:
    """Every table that look-up considers, best first, and what is wrong with those that cannot be opened.

    Raises DataError with the command that brings one where there is none.
    """
    tables, damaged = [], []
    names = table_names(space)
    for name in [name for name in names if name in ORDER] or names:
        try:
            tables.append(open_table(space, name))
        except DataError as error:
            damaged.append(f"{name!r} was passed over: {error}")
    if not tables:
        if damaged:
            raise DataError(f"no table of space {space!r} can be opened: {'; '.join(damaged)}")
        if spaces.get(space).no_table:
            raise DataError(spaces.get(space).no_table)
        raise DataError(f"no table of space {space!r} in {data_dir()}; get one with: {' or: '.join(commands(space))}")
    return tables, damaged


def commands(space: str) -> list[str]:
    """What brings a table of ``space``: the commands of the published ones, else of one's own."""
    return [command for (of, _), command in HOW_TO_GET.items() if of == space] or [OWN]


def how_to_get(space: str, name: str) -> str:
    """The command that brings a table here."""
    return HOW_TO_GET.get((space, name), f"nasharness data import FILE --name {name}")


def missing() -> list[tuple[str, str]]:
    """Published tables that are not here, as (space, name)."""
    return [(space, name) for space, name in HOW_TO_GET if name not in table_names(space)]
