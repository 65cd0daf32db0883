"""``nasharness report``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nasharness.cli.terminal import Progress, quiet_option
from nasharness.errors import UsageError


@click.command("report")
@click.argument("studies", nargs=-1, type=click.Path(path_type=Path), metavar="STUDY...")
@click.option("--retrained", multiple=True, type=click.Path(path_type=Path), metavar="RUN",
              help="Show a full training too: the folder of nasharness retrain, or its retrained.json; repeat for "
                   "several.")  # fmt: skip
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="FILE", help="File of the page (default STUDY/report.html)."
)
@click.option("--title", metavar="TEXT", help="Heading of the page (default: the name of the study).")
@click.option("--average", default="mean", show_default=True, metavar="mean|median", help="What curves show.")
@click.option("--partial", is_flag=True, help="Report what is finished of a study that is not complete.")
@quiet_option
def command(
    studies: tuple[Path, ...],
    retrained: tuple[Path, ...],
    out: Path | None,
    title: str | None,
    average: str,
    partial: bool,
) -> None:
    """Write a study as one HTML page: leaderboards that sort, figures, winners drawn, settings, provenance.

    The page holds everything it needs; it opens without a network. With --retrained it shows search, table and full
    training side by side; --retrained without a STUDY makes a page of the training alone. Studies of
    several budgets or tables make a page of standings over all of them, and the leaderboard of each.
    """
    if not studies and not retrained:
        raise UsageError("give a STUDY, the folder of nasharness study, or --retrained RUN, one of nasharness retrain")
    for path in studies:
        if not (path / "study.json").is_file() and (_record(path) or (path / "run.json").is_file()):
            raise UsageError(
                f"{path} is a full training, not a study: nasharness report --retrained {path} makes its page, "
                f"nasharness report STUDY --retrained {path} shows it with a study"
            )
    from nasharness.analysis import report
    from nasharness.studies import load
    from nasharness.studies.load import alike
    from nasharness.training.retrained import read_all

    trainings = read_all(retrained)
    groups = alike(studies)
    results: Any = None
    if groups:
        loaded = [load(group, partial=partial) for group in groups]
        results = loaded[0] if len(loaded) == 1 else loaded
    target = out if out is not None else _folder([*studies, *retrained][0]) / "report.html"
    progress = Progress("figures")
    try:
        path = report.write(results, target, title=title, average=average, progress=progress, trainings=trainings)
    finally:
        progress.close()
    for training in trainings:
        click.echo(str(training))
    winners = f", and {path.parent / 'winners'}, which nasharness retrain --winner reads" if len(groups) == 1 else ""
    click.echo(f"written    {path} ({path.stat().st_size / 1e6:.1f} MB){winners}")


def _record(path: Path) -> bool:
    return path.name == "retrained.json" or (path / "retrained.json").is_file()


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent
