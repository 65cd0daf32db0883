"""Published tables that ``nasharness data import`` recognises by the columns of their files."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nasharness.tables.own_files import column_names
from nasharness.tables.table import Table


@dataclass(frozen=True)
class Published:
    """A published table. ``columns``: those by which its file is known. ``module``: has ``read(files, name, force)``.

    ``repository``, ``commit``, ``licence``: of the public files. ``fetch``: whether ``nasharness data fetch NAME`` can
    bring them.
    """

    name: str
    columns: frozenset[str]
    module: str
    repository: str = ""
    commit: str = ""
    licence: str = ""
    fetch: bool = False

    def read(self, files: Sequence[Path], name: str | None, force: bool) -> Table:
        """Import its files. Raises DataError for a file that is not what it says."""
        table: Table = importlib.import_module(self.module).read(files, name=name or self.name, force=force)
        return table


PUBLISHED: tuple[Published, ...] = ()


def recognise(files: Sequence[Path]) -> Published | None:
    """The published table that ``files`` are, by the columns of the first; None where they are none of these."""
    names = set(column_names(files[0]))
    return next((one for one in PUBLISHED if one.columns <= names), None)


def archive_space(path: Path) -> str:
    """The space that an archive of NATS-Bench is of, by its name: that of every published archive of sss says so."""
    return "sss" if "sss" in path.name.lower() else "tss"
