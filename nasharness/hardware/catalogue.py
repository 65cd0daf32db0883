"""Hardware tables: where they live, and which one answers for a device.

A hardware table is a `Table` of scalar columns, ``DATASET.QUANTITY``, apart from the tables of accuracies: whichever of
those answers a search, devices are known. It lies in ``DATA/hardware/SPACE/NAME``; the embedded ones ship inside the
package. For each quantity and data set the first of these answers: tables of a user's own by name, HW-NAS-Bench's
file, HELP's files, the embedded table, closed forms. A table of a space that is too large to list holds operators, and
a network costs the sum of its operators.

In a column NaN is unknown and -1 "does not run there". Read as an objective both are NaN, and no limit is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness import spaces
from nasharness.errors import DataError, UsageError
from nasharness.hardware import forms
from nasharness.hardware.quantity import CLOSED_FORM, MODELLED, REFUSED, Quantity, batch_of, canonical, unit_of
from nasharness.spaces import stored
from nasharness.spaces.base import Floats, Space
from nasharness.storage.places import data_dir
from nasharness.tables.table import Column, Table

#: names of published tables, in the order of look-up, behind those of one's own
PUBLISHED = ("hw-nas-bench", "help", "embedded")
#: in place of a data set, what a column of operators is of
OPERATORS = "operators"


def table_path(space: str, name: str) -> Path:
    """Where the hardware table ``name`` of ``space`` lies, or would lie. Raises UsageError for no plain word."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(f"table name {name!r}: expected letters, digits, '.', '_' and '-', as in 'phones'")
    if name == "embedded":
        return Path(__file__).parent / "embedded" / space
    return data_dir() / "hardware" / space / name


def tables(space: str) -> list[Table]:
    """Hardware tables of ``space`` that are here, in the order of look-up.

    Raises DataError for a damaged one: another would answer in its place.
    """
    found = {path.parent.name for path in (data_dir() / "hardware" / space).glob("[!.]*/table.json")}
    if (table_path(space, "embedded") / "table.json").is_file():
        found.add("embedded")
    ordered = sorted(found - set(PUBLISHED)) + [name for name in PUBLISHED if name in found]
    opened = [Table.open(table_path(space, name)) for name in ordered]
    for table in opened:
        if table.meta.get("space_checksum", "") != stored.recorded_checksum(space):
            raise DataError(
                f"hardware table {table.name!r} is of other architectures than space {space!r} has now: the space was "
                f"imported again since; import it again too, or remove {table.path}"
            )
    return opened


def every() -> Iterator[Quantity]:
    """Every quantity of every space."""
    for name in spaces.names():
        yield from quantities(spaces.get(name))


def quantities(space: Space, dataset: str | None = None) -> list[Quantity]:
    """What is known of devices on ``space``, on one data set or on all: each quantity once a data set."""
    found: dict[tuple[str, str], Quantity] = {}
    for one in _all(space):
        if dataset in (None, one.dataset):
            found.setdefault((one.dataset, one.name), one)
    return list(found.values())


def find(space: Space, dataset: str, name: str) -> Quantity | None:
    """The quantity called ``name`` on ``dataset``, None where nothing knows it."""
    wanted = canonical(name)
    return next(_all(space, dataset, wanted), None)


def _all(space: Space, dataset: str | None = None, name: str | None = None) -> Iterator[Quantity]:
    for table in tables(space.name):
        for column in table.columns.values():
            if name not in (None, column.metric):
                continue
            for on in _datasets(table, column, space):
                if dataset in (None, on):
                    yield _quantity(table, column, space, on)
    for on, quantity in forms.forms(space):
        if name in (None, quantity) and dataset in (None, on):
            source = forms.SOURCE if on == space.datasets[0] else forms.THREE_ROWS
            yield Quantity(
                quantity, space.name, on, unit_of(quantity), 1, CLOSED_FORM, CLOSED_FORM, source, forms.LICENCE,
                space.size, space.size,
            )  # fmt: skip


def operators_of(table: Table) -> list[str] | None:
    """The operators that the rows of a table are, None where they are architectures."""
    named: list[str] | None = table.meta["provenance"].get("operators")
    return named


def _datasets(table: Table, column: Column, space: Space) -> list[str]:
    operators = operators_of(table)
    if operators is None:
        return [column.dataset]
    have = set(operators)
    layers: Any = space  # a space of which a table holds operators says which an architecture has
    return [dataset for dataset in space.datasets if have.issuperset(layers.operators(dataset).names())]


def _quantity(table: Table, column: Column, space: Space, dataset: str) -> Quantity:
    about = table.meta["provenance"].get("quantities", {}).get(column.name, {})
    known = size = None
    kind, refused = about.get("kind", "measured"), 0
    if operators_of(table) is not None:
        kind = MODELLED
    else:
        values = table.array(column.dataset, column.metric)
        refused = int((values == REFUSED).sum())
        known, size = table.size - int(np.isnan(values).sum()) - refused, table.size
    return Quantity(
        column.metric, space.name, dataset, column.unit, batch_of(column.metric), kind, table.name,
        table.meta["source"], table.meta["licence"], known, size, refused, column.sha256,
    )  # fmt: skip


def column(quantity: Quantity) -> NDArray[np.float64]:
    """Every architecture's value, float64 ``[n]``, as stored: NaN unknown, -1 does not run there."""
    space = spaces.get(quantity.space)
    if quantity.table == CLOSED_FORM:
        return forms.compute(space, quantity.dataset, quantity.name, np.arange(space.size, dtype=np.int32))
    return _open(quantity).values(quantity.dataset, quantity.name)


def reader(quantity: Quantity) -> Callable[[Any], Floats]:
    """What reads the quantity: from architectures ``[...]`` to float64 ``[...]``, NaN where there is no value.

    It holds the values themselves and no table, and can be sent to another process.
    """
    space: Any = spaces.get(quantity.space)
    if quantity.table != CLOSED_FORM:
        table = _open(quantity)
        operators = operators_of(table)
        if operators is not None:
            prices = dict(zip(operators, table.values(OPERATORS, quantity.name).tolist(), strict=True))
            summed: Callable[[Any], Floats] = space.operators(quantity.dataset).summed(prices)
            return summed
    values = column(quantity)
    return partial(np.take, np.where(values == REFUSED, np.nan, values))


def _open(quantity: Quantity) -> Table:
    return Table.open(table_path(quantity.space, quantity.table))


def inventory() -> list[dict[str, Any]]:
    """Every hardware table here as plain values: space, name, rows, columns, source, licence, checksum, path."""
    return [
        {
            "space": table.space, "name": table.name, "rows": table.size, "columns": list(table.columns),
            "source": table.meta["source"], "licence": table.meta["licence"], "checksum": table.checksum,
            "path": str(table.path),
        }
        for space in spaces.names() for table in tables(space)
    ]  # fmt: skip


def verify() -> dict[str, list[str]]:
    """Compare every file with its recorded SHA-256; what is wrong by ``space/name (devices)``."""
    return {f"{table.space}/{table.name} (devices)": table.verify() for one in spaces.names() for table in tables(one)}
