"""Published tables: what each is, how its files are recognised, and how they are brought here.

A table has a file of its own in this folder, which holds its `Published` as ``RECORD``. ``nasharness data import``
knows a file by its columns, ``nasharness data fetch NAME`` brings those that a public repository holds.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasharness.errors import UsageError, unknown
from nasharness.storage import file_sha256
from nasharness.storage.download import RAW, Bringer, Progress
from nasharness.tables.catalogue import commands, table_path
from nasharness.tables.importers.files import columns_of
from nasharness.tables.table import Table

#: modules of this folder that hold a RECORD
MODULES = ("nbmacro", "channel", "sss_light", "tnb101", "nb101", "curves")


@dataclass(frozen=True)
class Published:
    """A published table. ``space``: of it. ``columns``: by any of these sets its files are known.

    ``reader``: takes the files, and the name of the table, ``force`` and the record. ``files``: path in the repository
    at ``commit`` -> SHA-256; empty where no public file of acceptable size exists.
    """

    name: str
    space: str
    table: str
    columns: tuple[frozenset[str], ...]
    reader: Callable[[Sequence[Path], str, bool, Published], Table]
    repository: str
    commit: str
    licence: str
    citation: str
    files: Mapping[str, str]

    def read(self, files: Sequence[Path], name: str | None, force: bool) -> Table:
        """Import its files; a table of this name that was made of the same ones is left as it is.

        Raises UsageError and DataError for files that are not what they should be; nothing is written then.
        """
        chosen = name or self.table
        path = table_path(self.space, chosen)
        if not force and (path / "table.json").is_file():
            here = Table.open(path)
            made_of = here.meta["provenance"].get("files")
            if made_of == {file.name: file_sha256(file) for file in files} and not here.verify():
                return here
        return self.reader(files, chosen, force, self)

    def card(self, files: Sequence[Path]) -> dict[str, Any]:
        """What ``own.from_frame`` writes into the table's card."""
        digests = {file.name: file_sha256(file) for file in files}
        return {
            "source": f"{', '.join(digests)}: {self.repository} {self.commit[:7]}".rstrip(),
            "licence": self.licence,
            "citation": self.citation,
            "provenance": {"files": digests, "repository": self.repository, "commit": self.commit},
        }


def every() -> list[Published]:
    """All published tables with an importer of their own."""
    return [importlib.import_module(f"{__package__}.{module}").RECORD for module in MODULES]


def recognise(files: Sequence[Path]) -> Published | None:
    """The published table that ``files`` are, by the columns of any of them; None where they are none of these."""
    if not all(file.is_file() for file in files):
        return None
    for file in files:
        names = columns_of(file)
        for one in every() if names else ():
            if any(columns <= names for columns in one.columns):
                return one
    return None


def fetch(
    what: str,
    *,
    mirror: str | Path | None = None,
    sha256: Mapping[str, str] | None = None,
    name: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
    timeout: float = 60.0,
    attempts: int = 6,
    pause: float = 1.0,
) -> Table:
    """Bring the public files of the table ``what``, check their SHA-256 and import them. Options as in ``fetch.fetch``.

    Raises UsageError for an unknown table or one without public files, and as that function; no table is written then.
    """
    known = {one.name: one for one in every()}
    if what not in known:
        raise unknown("table to fetch", what, ["light", *(one.name for one in known.values() if one.files)])
    record = known[what]
    if not record.files:
        raise UsageError(
            f"{what}: no public file of acceptable size exists; get it with: {' or: '.join(commands(record.space))}"
        )
    bringer = Bringer(mirror, sha256, timeout, attempts, pause, progress)
    root = f"{RAW}/{record.repository}/{record.commit}"
    files = {Path(path).name: ([f"{root}/{path}"], digest) for path, digest in record.files.items()}
    paths = list(bringer.bring(files, f"nasharness data fetch {what}").values())
    table = record.read(paths, name, force)
    bringer.discard(paths)
    return table


def archive_space(path: Path) -> str:
    """The space that an archive of NATS-Bench is of, by its name: that of every published archive of sss says so."""
    return "sss" if "sss" in path.name.lower() else "tss"
