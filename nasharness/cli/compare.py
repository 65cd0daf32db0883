"""``nasharness compare``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from nasharness.cli.completion import Names
from nasharness.cli.options import words


@click.command("compare")
@click.argument("studies", nargs=-1, required=True, metavar="STUDY...", type=click.Path(path_type=Path))
@click.option(
    "--dataset", "datasets", type=Names("datasets"), metavar="NAME,...", help="Compare on these data sets alone."
)
@click.option(
    "--score", default="final", show_default=True, metavar="final|recommended|hypervolume", help="What is compared."
)
@click.option("--limit", metavar="'NAME <= X'", help="Compare the best that each run's front has under a limit.")
@click.option(
    "--format", "form", default="text", show_default=True, metavar="text|csv|markdown|latex", help="How it is written."
)
@click.option(
    "--columns",
    metavar="NAME,...",
    help="mean, median, iqm, regret, signal-regret, at-max, rank, improvement, p, "
    "reached, evaluations, seconds, runs (default: what the format has room for).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it to a new file.")
@click.option(
    "--at-evaluations", "evaluations", type=click.IntRange(1), metavar="N", help="Compare after N evaluations."
)
@click.option("--at-seconds", "seconds", type=float, metavar="T", help="Compare after T simulated seconds.")
@click.option("--reference", metavar="NAME", help="Algorithm the others are tested against (default: best mean).")
@click.option(
    "--target", type=float, metavar="PERCENT", help="Final metric for time-to-target (default: random search's mean)."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the bootstrap.")
@click.option("--partial", is_flag=True, help="Take the finished shards of a study that is not complete.")
def command(
    studies: tuple[Path, ...],
    datasets: str | None,
    score: str,
    limit: str | None,
    form: str,
    columns: str | None,
    as_json: bool,
    out: Path | None,
    evaluations: int | None,
    seconds: float | None,
    reference: str | None,
    target: float | None,
    seed: int,
    partial: bool,
) -> None:
    """Compare the algorithms of one or more studies (folders that nasharness study wrote).

    Per data set: mean, median and interquartile mean with stratified-bootstrap intervals, regret, rank, probability of
    improvement, paired Wilcoxon with Holm's correction, time to target.
    """
    from nasharness.analysis.comparison import SCORES, compare
    from nasharness.analysis.comparison.text import FORMATS, check_columns, render
    from nasharness.analysis.layout import json_ready
    from nasharness.errors import UsageError, unknown
    from nasharness.storage import atomically, writing
    from nasharness.studies import load

    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    chosen = check_columns(words(columns) if columns is not None else ())
    if chosen and (as_json or form == "csv"):
        raise UsageError("--columns: CSV and JSON have them all; leave it out")
    if out is not None and out.exists():
        raise UsageError(f"--out {out} is there already: choose another file, or remove it")
    if score not in SCORES:
        raise unknown("score", score, SCORES)
    results = load(studies, partial=partial)
    cells = results.cells
    if datasets is not None:
        known = list(dict.fromkeys(cell["dataset"] for cell in cells))
        wanted = words(datasets)
        for name in wanted:
            if name not in known:
                raise unknown("data set of these studies", name, known)
        cells = [cell for cell in cells if cell["dataset"] in wanted]
    comparison = compare(
        results.frame,
        cells,
        score=score,
        limit=limit,
        evaluations=evaluations,
        seconds=seconds,
        reference=reference,
        target=target,
        seed=seed,
    )
    text = json.dumps(json_ready(comparison), indent=1) if as_json else render(comparison, form, chosen)
    if out is None:
        click.echo(text)
        return
    with writing(out, "choose another --out"):
        atomically(out, (text + "\n").encode())
    click.echo(f"written    {out}")
