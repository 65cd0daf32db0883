"""``nasharness show``."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("show")
@click.argument("arch", metavar="ARCH|INDEX")
@click.option("--space", required=True, metavar="tss|sss", help="Search space.")
@click.option("--table", metavar="NAME", help="Only this table's measurements (default: those of every table here).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--png", type=click.Path(path_type=Path), metavar="FILE", help="Draw it to FILE too (.png, .pdf, .svg).")
def command(arch: str, space: str, table: str | None, as_json: bool, png: Path | None) -> None:
    """Show everything known of an architecture: the cell drawn, its cost, its isomorphism class, every measurement."""
    from nasharness.cli.terminal import ascii_only
    from nasharness.tables.card import card, render

    known = card(space, arch, table)
    if png is not None:
        from nasharness.analysis.cells import write

        write(space, known["index"], png)
    click.echo(json.dumps(known) if as_json else render(known, ascii=ascii_only()))
