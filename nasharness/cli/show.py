"""``nasharness show``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from nasharness.cli.completion import Names


@click.command("show")
@click.argument("arch", metavar="ARCH|INDEX|NAME")
@click.option(
    "--space", type=Names("spaces"), metavar="NAME", help="Search space (nasharness list spaces); a NAME needs none."
)
@click.option(
    "--table",
    type=Names("tables"),
    metavar="NAME",
    help="Only this table's measurements (default: those of every table here).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option(
    "--png",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw it to FILE too, as its name says: .png, .pdf or .svg.",
)
def command(arch: str, space: str | None, table: str | None, as_json: bool, png: Path | None) -> None:
    """Show everything known of an architecture: the cell drawn, its cost, its class, every measurement, every device.

    NAME is a published network: shrinkcnn-a, shrinkcnn-b, shrinkrnn, spnasnet-100.
    """
    from nasharness import spaces
    from nasharness.cli.terminal import ascii_only
    from nasharness.spaces import named, shrink_card

    if space is None and arch not in shrink_card.names():
        found = named.every().get(arch)
        space = found.name if found is not None else None
    if space is None or spaces.is_graphs(space):
        _graph(arch, space, table, as_json, png)
        return
    from nasharness.hardware import HOW_TO_GET
    from nasharness.hardware import card as devices
    from nasharness.tables.card import card, render

    known = card(space, arch, table)
    if table is None:
        known["devices"] = devices.card(spaces.get(space), spaces.get(space).parse(arch))
    if png is not None:
        from nasharness.analysis.figures.pictures import write

        write(space, known["index"] if known["index"] is not None else known["arch"], png)
    if as_json:
        click.echo(json.dumps(known))
        return
    lines = devices.lines(known.get("devices", []))
    ways = dict.fromkeys(HOW_TO_GET.get(space, {}).values())
    if table is None and not lines and ways:
        lines = ["", f"no device is known here; get some with: {' or: '.join(ways)}"]
    click.echo("\n".join([render(known, ascii=ascii_only()), *lines]))


def _graph(arch: str, space: str | None, table: str | None, as_json: bool, png: Path | None) -> None:
    from nasharness import spaces
    from nasharness.cli.terminal import ascii_only
    from nasharness.errors import UsageError, unknown
    from nasharness.spaces import named, shrink_card

    if table is not None:
        raise UsageError(f"--table {table}: no table measures {arch!r}; leave it out")
    if space is not None:
        known = shrink_card.card(space, spaces.graphs(space).parse(arch))
    elif arch in shrink_card.names():
        known = shrink_card.card(arch)
    else:
        error = unknown("network", arch, [*shrink_card.names(), *named.every()])
        raise UsageError(f"{error}; for an architecture of a search space add --space NAME (nasharness list spaces)")
    if png is not None:
        from nasharness.analysis.figures.pictures import write

        title = f"{known['name']}\n{known['arch']}" if space is None else known["arch"]
        write(known["space"], known["arch"], png, title)
    click.echo(json.dumps(known) if as_json else shrink_card.render(known, ascii=ascii_only()))
