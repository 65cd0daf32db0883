"""``nasharness data``: import, fetch, status, verify."""

from __future__ import annotations

import json
from typing import Any

import click

from nasharness.cli.terminal import Progress
from nasharness.tables.table import Table


@click.group("data")
def command() -> None:
    """Import, fetch, inspect and verify tables; fetch images."""


@command.command("import")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--name", help="Name of the table; 'light' for small files, 'official' for an archive.")
@click.option("--space", metavar="tss|sss", help="Refuse an archive of another space; says that of a renamed file.")
@click.option("--partial", is_flag=True, help="Accept missing rows or records; their values are NaN.")
@click.option("--jobs", type=int, help="Processes that read an archive; one per core by default.")
@click.option("--force", is_flag=True, help="Replace a table of this name whose content differs.")
def import_(
    paths: tuple[str, ...], name: str | None, space: str | None, partial: bool, jobs: int | None, force: bool
) -> None:
    """Import published data: NATS-Bench's archives, or small files.

    An archive is the folder NATS-*-simple, its .tar, the single .pickle.pbz2, or a NAS-Bench-201 .pth; these two are
    read by one process in some 15 minutes, the others by all cores. Small files are .parquet, .csv or .pd, joined by
    their column 'index', with columns such as cifar10_val_12, cifar100_test_200, in16_val_200_s777 and cifar10_epoch_s.
    """
    from nasharness.spaces import get
    from nasharness.tables.inventory import import_any

    if space is not None:
        get(space)
    progress = Progress("records")
    try:
        table = import_any(
            paths, name=name, space=space, partial=partial, jobs=jobs, force=force, progress=progress.update
        )
    finally:
        progress.close()
    _announce(table)


@command.command("fetch")
@click.argument("images", required=False, metavar="[cifar10|cifar100]")
@click.option("--mirror", metavar="DIR|URL", help="Read the same files from a folder or another address.")
@click.option("--sha256", "digests", multiple=True, metavar="FILE=HEX", help="Expected SHA-256 of a file; repeatable.")
@click.option("--name", metavar="NAME", help="Name of the table (light).")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds without a byte before a retry.")
@click.option("--force", is_flag=True, help="Replace a table of this name, or images, that are here already.")
def fetch_(
    images: str | None, mirror: str | None, digests: tuple[str, ...], name: str | None, timeout: float, force: bool
) -> None:
    """Download the public files of the light table, check them, convert them; or the published images of CIFAR.

    A download that was stopped goes on where it stopped.
    """
    from nasharness.errors import UsageError
    from nasharness.images.fetch import fetch_images
    from nasharness.tables.fetch import fetch

    expected = {}
    for text in digests:
        file, _, digest = text.partition("=")
        if len(digest) != 64 or not file:
            raise UsageError(f"--sha256 {text!r}: expected FILE=HEX with 64 hexadecimal digits")
        expected[file] = digest
    progress = Progress("bytes")
    common: dict[str, Any] = {
        "mirror": mirror,
        "sha256": expected,
        "timeout": timeout,
        "force": force,
        "progress": lambda file, done, total: progress.update(done, total, file),
    }
    try:
        if images is not None:
            if name is not None:
                raise UsageError(f"--name {name}: tables have a name, images have their own; leave it out")
            archive = fetch_images(images, **common)
        else:
            table = fetch(name=name or "light", **common)
    finally:
        progress.close()
    if images is not None:
        click.echo(f"images of {images}, {archive.stat().st_size / 1e6:.1f} MB, checked; use: --images {images}")
        click.echo(f"in {archive}")
        return
    _announce(table)


@command.command("status")
@click.option("--table", metavar="NAME", help="Only the tables of this name.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(table: str | None, as_json: bool) -> None:
    """Show the tables and images that are here, their sources and licences, and how to get the missing ones."""
    from nasharness.images import catalogue as images
    from nasharness.tables import inventory
    from nasharness.tables.catalogue import data_dir

    here = inventory.inventory(table)
    lacking = inventory.missing() if table is None else []
    pictures = images.present() if table is None else []
    if as_json:
        report = {"data": str(data_dir()), "tables": here, "missing": lacking, "images": pictures}
        click.echo(json.dumps(report, indent=1))
        return
    for row in here:
        click.echo(f"{row['space']}/{row['name']}")
        if row["problem"]:
            click.echo(f"  problem      {row['problem']}")
            continue
        click.echo(f"  version      {row['version']}")
        click.echo(f"  source       {row['source']}")
        click.echo(
            f"  holds        {row['rows']:,} rows, {len(row['columns'])} columns of {', '.join(row['datasets'])}"
        )
        if table is not None:
            for column in row["columns"]:
                note = row["notes"].get(column, "")
                click.echo(f"                 {column}" + (f": {note}" if note else ""))
        click.echo(f"  size         {row['bytes'] / 1e6:.1f} MB")
        click.echo(f"  licence      {row['licence']}")
        if row["attribution"]:
            click.echo(f"  attribution  {row['attribution']}")
        click.echo(f"  checksum     {row['checksum']}")
        click.echo(f"  path         {row['path']}")
    for absent in lacking:
        click.echo(f"{absent['space']}/{absent['name']}\n  not here; get it with: {absent['command']}")
    for row in pictures:
        click.echo(f"images/{row['name']}")
        if row["path"]:
            click.echo(f"  size         {row['bytes'] / 1e6:.1f} MB\n  path         {row['path']}")
        else:
            click.echo(f"  not here; get it with: {row['command']}")


@command.command("verify")
@click.option("--table", metavar="NAME", help="Only the tables of this name.")
def verify(table: str | None) -> None:
    """Compare every file with its recorded SHA-256; exit code 1 on any difference."""
    from nasharness.errors import DataError
    from nasharness.tables import inventory

    results = inventory.verify(table)
    for name, problems in results.items():
        click.echo(f"{name}: {'damaged' if problems else 'all files as recorded'}")
        for problem in problems:
            click.echo(f"  {problem}", err=True)
    damaged = [name for name, problems in results.items() if problems]
    if damaged:
        raise DataError(f"damaged: {', '.join(damaged)}; import or fetch again")


def _announce(table: Table) -> None:
    click.echo(f"{table.space}/{table.name}: {table.size:,} rows, {len(table.columns)} columns, {table.version}")
    click.echo(f"checksum {table.checksum}")
    click.echo(f"in {table.path}")
