"""``nasharness data``: import, fetch, status, verify."""

from __future__ import annotations

import json
from typing import Any

import click

from nasharness.cli.completion import Names
from nasharness.cli.terminal import Progress, quiet_option
from nasharness.tables.table import Table


@click.group("data")
def command() -> None:
    """Import, fetch, inspect and verify tables; fetch images."""


@command.command("import")
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option("--name", help="Name of the table; 'light' for small files, 'official' for an archive.")
@click.option(
    "--space",
    type=Names("spaces"),
    metavar="NAME",
    help="The space that the architectures are of, where it is a registered one.",
)
@click.option("--partial", is_flag=True, help="Accept missing rows or records; their values are NaN.")
@click.option("--jobs", type=int, help="Processes that read an archive; one per core by default.")
@click.option("--force", is_flag=True, help="Replace a table of this name whose content differs.")
@click.option("--arch", metavar="COLUMN[,COLUMN]", help="A table of your own: the column(s) of the architectures.")
@click.option(
    "--metric", "metrics", multiple=True, metavar="COLUMN=[DATASET/]METRIC[@EPOCHS][:TRIAL]",
    help="What a column measures; repeatable.",
)  # fmt: skip
@click.option(
    "--known", multiple=True, metavar="COLUMN[=NAME]", help="A quantity that costs nothing to know: params ..."
)
@click.option("--cost", metavar="COLUMN", help="Seconds of one evaluation.")
@click.option("--minimise", multiple=True, metavar="METRIC", help="A metric of which less is better.")
@click.option("--ordered", is_flag=True, help="Options are quantities (widths), not kinds.")
@click.option("--missing", metavar="refuse|drop|keep", help="Rows that lack a value.")
@click.option("--repeated", metavar="refuse|first|mean", help="Architectures that occur more than once.")
@click.option("--signal", metavar="MEASURE", help="What a search sees where it names nothing else.")
@click.option("--final", metavar="MEASURE", help="What it is scored by where it names nothing else.")
@click.option("--card", metavar="FILE.toml", help="All of this in a file.")
@click.option("--devices", is_flag=True, help="The files hold latencies and energies of devices, by index.")
@click.option("--dataset", metavar="NAME[,NAME]", help="Data sets that device columns hold for (the space's first).")
@quiet_option
def import_(paths: tuple[str, ...], devices: bool, dataset: str | None, **given: Any) -> None:
    """Import a table: one of your own, NATS-Bench's archives, published small files, or columns of devices.

    \b
    Your own: a CSV or Parquet file with a row an architecture.
      nasharness data import mine.csv --name mine --arch code --metric run0=acc:0 --metric run1=acc:1

    An archive is the folder NATS-*-simple, its .tar, the single .pickle.pbz2, or a NAS-Bench-201 .pth; these two are
    read by one process in some 15 minutes, the others by all cores. Small files are .parquet, .csv or .pd, joined by
    their column 'index', with columns such as cifar10_val_12, cifar100_test_200, in16_val_200_s777 and cifar10_epoch_s.

    \b
    Devices: index, NAME_lat_ms, NAME_BATCH_lat_ms, NAME_energy_mj; or HW-NAS-Bench-v1_0.pickle as it is.
      nasharness data import hw.parquet --space tss --devices
    """  # noqa: D301 - click reads it
    from nasharness.errors import UsageError
    from nasharness.hardware import imported
    from nasharness.tables.inventory import import_any

    if devices or (len(paths) == 1 and imported.recognised(paths[0])):
        described = _described(given)
        allowed = {key: described.pop(key) for key in ("name", "space", "force") if key in described}
        described.pop("partial", None)  # columns of devices may always lack rows
        if described:
            raise UsageError(f"{', '.join(described)}: of tables of accuracies, not of devices; leave it out")
        for hardware in imported.import_files(paths, dataset=dataset, **allowed):
            _announce_devices(hardware)
        return
    if dataset is not None:
        raise UsageError(f"--dataset {dataset}: goes with --devices")

    progress = Progress("records")
    try:
        table = import_any(paths, progress=progress.update, **_described(given))
    finally:
        progress.close()
    _announce(table)


def _described(given: dict[str, Any]) -> dict[str, Any]:
    """The options as `import_any` takes them; those that were not given are left out."""
    from nasharness.errors import UsageError

    options = {key: value for key, value in given.items() if value not in (None, (), False)}
    for key in ("metrics", "known"):
        pairs = {}
        for text in options.get(key, ()):
            column, equals, meaning = text.rpartition("=") if key == "metrics" else text.partition("=")
            if key == "metrics" and not (column and meaning):
                raise UsageError(f"--metric {text!r}: expected COLUMN=METRIC, as in test_acc=acc or run0=acc:0")
            if column in pairs:
                raise UsageError(f"--{key.removesuffix('s')} {text!r}: column {column!r} is named twice")
            pairs[column] = meaning or column
        if pairs:
            options[key] = pairs
    if "arch" in options:
        columns = [column.strip() for column in options["arch"].split(",")]
        options["arch"] = columns[0] if len(columns) == 1 else columns
    return options


@command.command("fetch")
@click.argument("what", required=False, metavar="[TABLE|hardware|IMAGES]")
@click.option("--mirror", metavar="DIR|URL", help="Read the same files from a folder or another address.")
@click.option("--sha256", "digests", multiple=True, metavar="FILE=HEX", help="Expected SHA-256 of a file; repeatable.")
@click.option("--name", metavar="NAME", help="Name that the table gets.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds without a byte before a retry.")
@click.option("--force", is_flag=True, help="Replace a table of this name, or images, that are here already.")
@quiet_option
def fetch_(
    what: str | None, mirror: str | None, digests: tuple[str, ...], name: str | None, timeout: float, force: bool
) -> None:
    """Download the public files of a table, check them, convert them; or the published images of CIFAR.

    TABLE: light (of tss; the default), sss, nbmacro, channel, curves. IMAGES: cifar10, cifar100. hardware: HELP's
    latencies of devices. A download that was stopped goes on where it stopped.
    """
    from nasharness.errors import UsageError, unknown
    from nasharness.hardware import help as helps
    from nasharness.images import catalogue as pictures
    from nasharness.images.fetch import fetch_images
    from nasharness.tables.importers import published
    from nasharness.tables.importers.nats_light.fetch import fetch

    expected = {}
    for text in digests:
        file, _, digest = text.partition("=")
        if len(digest) != 64 or not file:
            raise UsageError(f"--sha256 {text!r}: expected FILE=HEX with 64 hexadecimal digits")
        expected[file] = digest
    offered = ("light", "hardware", *(one.name for one in published.every()))
    images = what in pictures.names()
    if what is not None and not images and what not in offered:
        raise unknown("table or images to fetch", what, (*offered, *pictures.names()), "nasharness data fetch --help")
    progress = Progress("bytes")
    common: dict[str, Any] = {
        "mirror": mirror,
        "sha256": expected,
        "timeout": timeout,
        "force": force,
        "progress": lambda file, done, total: progress.update(done, total, file),
    }
    try:
        if what == "hardware":
            if name is not None:
                raise UsageError(f"--name {name}: the hardware table is called 'help'; leave it out")
            _announce_devices(helps.fetch(**common))
            return
        if images:
            if name is not None:
                raise UsageError(f"--name {name}: tables have a name, images have their own; leave it out")
            archive = fetch_images(str(what), **common)
        elif what in (None, "light"):
            table = fetch(name=name or "light", **common)
        else:
            table = published.fetch(str(what), name=name, **common)
    finally:
        progress.close()
    if images:
        click.echo(f"images of {what}, {archive.stat().st_size / 1e6:.1f} MB, checked; use: --images {what}")
        click.echo(f"in {archive}")
        return
    _announce(table)


@command.command("status")
@click.option("--table", type=Names("tables"), metavar="NAME", help="Only the tables of this name.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(table: str | None, as_json: bool) -> None:
    """Show the tables and images that are here, their sources and licences, and how to get the missing ones."""
    from nasharness.hardware import catalogue as devices
    from nasharness.images import catalogue as images
    from nasharness.storage.places import data_dir
    from nasharness.tables import inventory

    here = inventory.inventory(table)
    hardware = devices.inventory() if table is None else []
    lacking = inventory.missing() if table is None else []
    pictures = images.present() if table is None else []
    if as_json:
        report = {"data": str(data_dir()), "tables": here, "devices": hardware, "missing": lacking}
        report |= {"images": pictures}
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
    for row in hardware:
        click.echo(f"{row['space']}/{row['name']} (devices)")
        click.echo(f"  source       {row['source']}")
        click.echo(f"  holds        {row['rows']:,} rows, {len(row['columns'])} columns")
        click.echo(f"  licence      {row['licence']}\n  checksum     {row['checksum']}\n  path         {row['path']}")
    for absent in lacking:
        click.echo(f"{absent['space']}/{absent['name']}\n  not here; get it with: {absent['command']}")
    for row in pictures:
        click.echo(f"images/{row['name']}")
        if row["path"]:
            click.echo(f"  size         {row['bytes'] / 1e6:.1f} MB\n  path         {row['path']}")
        else:
            click.echo(f"  not here; get it with: {row['command']}")


@command.command("verify")
@click.option("--table", type=Names("tables"), metavar="NAME", help="Only the tables of this name.")
def verify(table: str | None) -> None:
    """Compare every file with its recorded SHA-256; exit code 1 on any difference."""
    from nasharness.errors import DataError
    from nasharness.hardware import catalogue as devices
    from nasharness.tables import inventory

    results = inventory.verify(table) | (devices.verify() if table is None else {})
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


def _announce_devices(table: Table) -> None:
    names = list(dict.fromkeys(column.metric for column in table.columns.values()))
    on = [one for one in table.datasets if one != "operators"]
    click.echo(
        f"devices of {table.space}, table {table.name!r}: {', '.join(names)}" + (f"; on {', '.join(on)}" if on else "")
    )
    left_out = table.meta["provenance"].get("left_out", [])
    if left_out:
        click.echo(f"left out, no columns of a device: {', '.join(left_out)}")
    click.echo(f"in {table.path}")
