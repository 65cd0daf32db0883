"""``nasharness list``."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from typing import Any

import click

from nasharness.cli.completion import Names, Pattern
from nasharness.errors import DataError, unknown

KINDS = ("algos", "spaces", "tables", "datasets", "devices", "proxies", "fronts")


@click.command("list")
@click.argument("kind", type=Names("kinds"), metavar="|".join(KINDS))
@click.argument("pattern", type=Pattern(), default="*", metavar="[PATTERN]")
def command(kind: str, pattern: str) -> None:
    """List algorithms, spaces, tables, data sets, devices, proxies or fronts.

    PATTERN is a name, or a wildcard such as 'auto*'.

    With a PATTERN, algorithms come with what each of their settings means, its range and its source. Fronts are the
    exact ones of each table against each known cost, SPACE/DATASET/TABLE/COST, with the reference point that
    hypervolumes are measured against.
    """
    if kind not in KINDS:
        raise unknown("list", kind, KINDS, "nasharness list --help")
    listed: dict[str, Callable[[], list[tuple[str, ...]]]] = {
        "algos": lambda: _algos(pattern != "*"), "spaces": _spaces, "tables": _tables, "datasets": _datasets,
    }  # fmt: skip
    listed |= {"devices": _devices, "proxies": _proxies, "fronts": lambda: _fronts(pattern)}
    rows = listed[kind]()
    kept = [row for row in rows if fnmatch.fnmatch(row[0], pattern)]
    if not kept:
        click.echo(f"nothing matches {pattern!r}")
        return
    width = max(len(row[0]) for row in kept)
    for name, *lines in kept:
        click.echo(f"{name:<{width}}  {lines[0]}")
        for line in lines[1:]:
            click.echo(f"{'':<{width}}  {line}")


def _algos(meanings: bool) -> list[tuple[str, ...]]:
    from nasharness import spaces
    from nasharness.search import registry
    from nasharness.training.proxy_search import settings
    from nasharness.training.proxy_search.settings import SETTINGS, defaults_of

    rows: list[tuple[str, ...]] = []
    for name in registry.names():
        record = registry.get(name)
        told = [
            f"{record.kind}; spaces {', '.join(record.spaces)}"
            + (f"; needs {', '.join(record.needs)}" if record.needs else "")
        ]
        if record.defaults:
            told += _settings("settings", record.defaults, record.meanings, meanings)
        for space in spaces.graph_names():
            if name in spaces.graphs(space).algorithms:
                cls = SETTINGS[space]
                told += _settings(f"on {space}:", defaults_of(cls, name), settings.told(cls), meanings)
        rows.append((name, record.summary, *told, record.citation))
    return rows + [(f"{name} (broken)", reason) for name, reason in registry.broken().items()]


def _settings(title: str, defaults: Mapping[str, Any], told: Mapping[str, str], meanings: bool) -> list[str]:
    """Settings in one line, or a line each with meaning, range and source."""
    if not meanings:
        return [f"{title} " + ", ".join(f"{key}={value}" for key, value in defaults.items())]
    width = max(len(f"{key} = {value}") for key, value in defaults.items())
    lines = (f"  {f'{key} = {value}':<{width}}  {told.get(key, '')}".rstrip() for key, value in defaults.items())
    return [title, *lines]


def _spaces() -> list[tuple[str, ...]]:
    from nasharness import spaces

    rows: list[tuple[str, ...]] = [
        (name, f"{space.size:,} architectures", space.summary)
        for name in spaces.names()
        for space in [spaces.get(name)]
    ]
    for name in spaces.graph_names():
        graphs = spaces.graphs(name)
        line = f"{graphs.size:.2g} graphs of {', '.join(graphs.operations)}; no table"
        rows.append((name, line, graphs.summary, f"searched by {', '.join(graphs.algorithms)} with {graphs.needs}"))
    return rows


def _tables() -> list[tuple[str, ...]]:
    from nasharness import spaces
    from nasharness.tables import catalogue

    rows: list[tuple[str, ...]] = []
    for space in spaces.names():
        for name in catalogue.table_names(space):
            try:
                table = catalogue.open_table(space, name)
            except DataError as error:
                rows.append((f"{space}/{name}", str(error)))
                continue
            rows.append(
                (
                    f"{space}/{name}",
                    f"{table.version}, {len(table.columns)} columns of {', '.join(table.datasets)}",
                    f"{table.meta['licence']}",
                )
            )
    return rows + [
        (f"{space}/{name}", f"not here; get it with: {catalogue.how_to_get(space, name)}")
        for space, name in catalogue.missing()
    ]


def _datasets() -> list[tuple[str, ...]]:
    from nasharness import spaces
    from nasharness.search.measure import holdings
    from nasharness.tables import catalogue

    rows: dict[str, list[str]] = {}
    for name in spaces.names():
        space = spaces.get(name)
        for dataset in space.datasets:
            rows.setdefault(dataset, [])
        for table in catalogue.table_names(name):
            try:
                opened = catalogue.open_table(name, table)
            except DataError as error:
                for dataset in space.datasets:
                    rows[dataset].append(f"{name}/{table}: {error}")
                continue
            for dataset in space.datasets or opened.datasets:
                rows.setdefault(dataset, []).append(f"{name}/{table}: {holdings(opened, space, dataset)}")
    return [(dataset, *(lines or ["no table here measures it"])) for dataset, lines in rows.items()]


def _devices() -> list[tuple[str, ...]]:
    from nasharness import hardware, spaces

    rows: dict[str, list[str]] = {}
    for one in hardware.every():
        unit = one.unit or "no unit"
        about = f"{one.space}, {one.dataset}: {unit}, batch {one.batch}, {one.kind}; {one.source}"
        about += "" if one.table in one.kind else f", table {one.table}"
        if one.partial and one.known is not None:
            about += f"; {one.known:,} of {one.size:,} known"
            about += f", {one.refused:,} do not run there" if one.refused else ""
        rows.setdefault(one.name, []).append(about)
    for space, ways in hardware.HOW_TO_GET.items():
        here = [one.name for one in hardware.quantities(spaces.get(space))]
        for device, command in ways.items():
            if not any(name.startswith(device) for name in here):
                rows.setdefault(f"{device}_latency", []).append(f"{space}: not here; get it with: {command}")
    return [(name, *lines) for name, lines in sorted(rows.items())]


def _proxies() -> list[tuple[str, ...]]:
    from nasharness import proxies

    rows: list[tuple[str, ...]] = []
    for name in proxies.names():
        proxy = proxies.get(name)
        rows.append((name, proxy.summary, proxy.citation))
    return rows + [(f"{name} (broken)", reason) for name, reason in proxies.broken().items()]


def _fronts(pattern: str) -> list[tuple[str, ...]]:
    """Exact fronts and reference points of the tables that are here; only what ``pattern`` matches is computed."""
    from nasharness import spaces
    from nasharness.errors import UsageError
    from nasharness.search import Problem
    from nasharness.search.objective import known_names
    from nasharness.tables import catalogue

    rows: list[tuple[str, ...]] = []
    for name in spaces.names():
        space = spaces.get(name)
        for table in catalogue.table_names(name) if "index" in space.offers else ():
            try:
                opened = catalogue.open_table(name, table)
            except DataError as error:
                rows.append((f"{name}/*/{table}", str(error)))
                continue
            for dataset in space.datasets or opened.datasets:
                costs = [cost for cost in known_names(opened, space, dataset)
                         if fnmatch.fnmatch(f"{name}/{dataset}/{table}/{cost}", pattern)]  # fmt: skip
                for cost in costs:
                    try:
                        judged = Problem.judging(name, dataset, table=table)
                        first = "accuracy" if judged.sign < 0 or judged.objectives[0].unit != "percent" else "error"
                        told = _front(Problem.judging(name, dataset, table=table, objectives=[first, cost]))
                    except (UsageError, DataError) as error:
                        told = (str(error),)
                    rows.append((f"{name}/{dataset}/{table}/{cost}", *told))
    return rows


def _front(problem: Any) -> tuple[str, ...]:
    exact = problem.exact_front()
    if exact is None or exact.reference is None:
        return (exact.note if exact is not None else "no front",)
    told = exact.describe(problem)
    ends = list(zip(*told["exact"], strict=True))
    ranges = ", ".join(
        f"{one.name} {min(values):.6g} to {max(values):.6g}{' ' if one.unit else ''}{one.unit}"
        for one, values in zip(problem.objectives, ends, strict=True)
    )
    point = ", ".join(f"{value:.8g}" for value in told["reference_point"])
    return (
        f"{len(told['exact'])} members by {problem.final}: {ranges}",
        f"reference point ({point}), hypervolume {told['hypervolume']:.8g}",
    )
