"""``nasharness report``."""

from __future__ import annotations

from pathlib import Path

import click

from nasharness.cli.terminal import Progress


@click.command("report")
@click.argument("studies", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="STUDY...")
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FILE", help="Default: STUDY/report.html.")
@click.option("--title", metavar="TEXT", help="Heading of the page (default: the name of the study).")
@click.option("--average", default="mean", show_default=True, metavar="mean|median", help="What curves show.")
@click.option("--partial", is_flag=True, help="Report what is finished of a study that is not complete.")
def command(studies: tuple[Path, ...], out: Path | None, title: str | None, average: str, partial: bool) -> None:
    """Write a study as one HTML page: leaderboards that sort, figures, winners drawn, settings, provenance.

    The page holds everything it needs; it opens without a network.
    """
    from nasharness.analysis import report
    from nasharness.studies import load

    results = load(studies, partial=partial)
    target = out if out is not None else studies[0] / "report.html"
    progress = Progress("figures")
    try:
        path = report.write(results, target, title=title, average=average, progress=progress)
    finally:
        progress.close()
    click.echo(f"written    {path} ({path.stat().st_size / 1e6:.1f} MB)")
