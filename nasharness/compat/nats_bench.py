"""Stands in for the package ``nats_bench`` (1.8): ``create``, ``search_space_info``, ``api_utils``."""

from __future__ import annotations

from typing import Any

from nasharness import spaces
from nasharness.compat import api_utils
from nasharness.compat.api import Api
from nasharness.compat.results import ArchResults, ResultsCount
from nasharness.errors import unknown

__all__ = [
    "ArchResults",
    "NATSsize",
    "NATStopology",
    "ResultsCount",
    "api_utils",
    "create",
    "search_space_info",
    "version",
]


class NATStopology(Api):
    """The topology space. The path is not looked at."""

    def __init__(self, file_path_or_dict: Any = None, fast_mode: bool = False, verbose: bool = True) -> None:
        super().__init__("tss", fast_mode, verbose)


class NATSsize(Api):
    """The size space. The path is not looked at."""

    def __init__(self, file_path_or_dict: Any = None, fast_mode: bool = False, verbose: bool = True) -> None:
        super().__init__("sss", fast_mode, verbose)


SPACES: dict[str, type[NATStopology] | type[NATSsize]] = {
    "tss": NATStopology,
    "topology": NATStopology,
    "sss": NATSsize,
    "size": NATSsize,
}


def create(file_path_or_dict: Any, search_space: str, fast_mode: bool = False, verbose: bool = True) -> Api:
    """The API of ``tss`` (``topology``) or ``sss`` (``size``); UsageError, a ValueError, for another space."""
    if search_space not in SPACES:
        raise unknown("search space", search_space, SPACES)
    return SPACES[search_space](file_path_or_dict, fast_mode, verbose)


def search_space_info(main_tag: str, aux_tag: str | None) -> dict[str, Any]:
    """Options of a space: ``op_names`` and ``num_nodes`` of tss, ``candidates`` and ``num_layers`` of sss."""
    tss = {"op_names": list(spaces.get("tss").options[0]), "num_nodes": 4}
    known: dict[tuple[str, str | None], dict[str, Any]] = {("nas-bench-201", None): tss}
    sss = {"candidates": [int(width) for width in spaces.get("sss").options[0]], "num_layers": 5}
    for name, kind in SPACES.items():
        known["nats-bench", name] = tss if kind is NATStopology else sss
    if (main_tag, aux_tag) not in known:
        raise unknown("pair of tags", f"{main_tag}, {aux_tag}", [f"{main}, {aux}" for main, aux in known])
    return known[main_tag, aux_tag]


def version() -> str:
    """The version of ``nats_bench`` whose answers these are."""
    return "v1.8"
