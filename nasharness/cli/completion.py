"""What a shell completes: names of algorithms, spaces, data sets, tables, devices, by click's own protocol."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem


def answer(command: click.Command) -> NoReturn:
    """Answer the shell that asks, and exit; what cannot be completed gets no answer, and nothing else is printed."""
    with contextlib.suppress(Exception):
        command.main(args=[], prog_name="nasharness")
    sys.exit(0)


def _algorithms() -> Iterable[tuple[str, str]]:
    from nasharness.search import registry

    return ((name, registry.get(name).summary) for name in registry.names())


def _spaces() -> Iterable[tuple[str, str]]:
    from nasharness import spaces

    yield from ((name, spaces.get(name).summary) for name in spaces.names())
    yield from ((name, spaces.graphs(name).summary) for name in spaces.graph_names())


def _datasets() -> Iterable[tuple[str, str]]:
    from nasharness import spaces

    names = dict.fromkeys(dataset for name in spaces.names() for dataset in spaces.get(name).datasets)
    return ((name, "") for name in names)


def _tables() -> Iterable[tuple[str, str]]:
    from nasharness import spaces
    from nasharness.tables import catalogue

    names = dict.fromkeys(table for name in spaces.names() for table in catalogue.table_names(name))
    return ((name, "") for name in names)


def _devices() -> Iterable[tuple[str, str]]:
    from nasharness import hardware

    found = {one.name: f"{one.unit or 'no unit'}, batch {one.batch}, {one.kind}" for one in hardware.every()}
    return found.items()


def _objectives() -> Iterable[tuple[str, str]]:
    return [("error", "of classification, percent"), ("params", "millions"), ("macs", "millions"), *_devices()]


def _proxies() -> Iterable[tuple[str, str]]:
    from nasharness import proxies

    return ((name, proxies.get(name).summary) for name in proxies.names())


def _kinds() -> Iterable[tuple[str, str]]:
    from nasharness.cli.list import KINDS as LISTED

    return ((kind, "") for kind in LISTED)


#: kind of name -> names with a word about each
KINDS: Mapping[str, Callable[[], Iterable[tuple[str, str]]]] = {
    "algos": _algorithms,
    "spaces": _spaces,
    "datasets": _datasets,
    "tables": _tables,
    "devices": _devices,
    "objectives": _objectives,
    "proxies": _proxies,
    "kinds": _kinds,
}


class Names(click.ParamType):  # type: ignore[type-arg] # generic since click 8.4 alone
    """Names of one of KINDS, one or several with commas between; any other text is let through, to be refused later."""

    name = "text"

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return ``value`` as it is."""
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names that begin as the text after the last comma does."""
        before, comma, last = incomplete.rpartition(",")
        named = KINDS[self.kind]()
        return [CompletionItem(before + comma + name, help=told) for name, told in named if name.startswith(last)]


class Pattern(Names):
    """Names of the kind that the command's argument ``kind`` says."""

    def __init__(self) -> None:
        super().__init__("")

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names that begin so."""
        kind = ctx.params.get("kind")
        return Names(str(kind)).shell_complete(ctx, param, incomplete) if kind in KINDS else []
