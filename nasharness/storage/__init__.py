"""Files: written whole or not at all, by one writer, with a note of where they come from. Imports no numpy."""

from nasharness.storage.files import (
    allocate,
    append,
    as_cell,
    as_json,
    atomically,
    file_sha256,
    reading,
    reason,
    regular,
    sweep,
    sync,
    write_json,
    writing,
)
from nasharness.storage.lines import read_lines
from nasharness.storage.lock import claimed, folder_lock, only_writer
from nasharness.storage.provenance import git_revision, provenance

__all__ = [
    "allocate",
    "append",
    "as_cell",
    "as_json",
    "atomically",
    "claimed",
    "file_sha256",
    "folder_lock",
    "git_revision",
    "only_writer",
    "provenance",
    "read_lines",
    "reading",
    "reason",
    "regular",
    "sweep",
    "sync",
    "write_json",
    "writing",
]
