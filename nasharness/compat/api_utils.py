"""Stands in for ``nats_bench.api_utils`` and ``nas_201_api.api_utils``."""

from __future__ import annotations

from nasharness.compat.api import Api as NASBenchMetaAPI
from nasharness.compat.results import ArchResults, ResultsCount

__all__ = ["ArchResults", "NASBenchMetaAPI", "ResultsCount", "get_file_system", "reset_file_system"]

_file_system = ["default"]


def reset_file_system(lib: str = "default") -> None:
    """Remember the name; the stand-in opens no archive, whatever the file system."""
    _file_system[0] = lib


def get_file_system() -> str:
    """The name last given to `reset_file_system`."""
    return _file_system[0]
