"""``nasharness run``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from nasharness.cli.terminal import Progress, ascii_only
from nasharness.errors import NasharnessError, UsageError


@click.command("run")
@click.option("--algo", required=True, metavar="NAME", help="Algorithm (nasharness list algos).")
@click.option("--space", required=True, metavar="tss|sss", help="Search space.")
@click.option(
    "--dataset", default="cifar10", show_default=True, metavar="NAME", help="cifar10, cifar100 or ImageNet16-120."
)
@click.option("--runs", default=1, show_default=True, help="Number of runs, each with a seed of its own.")
@click.option("--seed", default=0, show_default=True, help="Seed of the first run; the next has the next one.")
@click.option("--evaluations", type=int, metavar="N", help="Budget in evaluations (default 200).")
@click.option("--seconds", type=float, metavar="T", help="Budget in simulated seconds of training.")
@click.option(
    "--budget", metavar="nats|nb201", help="Budget of a paper: nats is 20,000/40,000/120,000 simulated seconds."
)
@click.option("--signal", metavar="MEASURE", help="What the search sees: val@12, val@12:mean, val@200:777 ...")
@click.option("--final", metavar="MEASURE", help="What results are scored by: test@200:mean ...")
@click.option(
    "--repeats",
    default="charged",
    show_default=True,
    metavar="charged|free",
    help="Whether asking an architecture again costs again.",
)
@click.option(
    "--table",
    metavar="NAME",
    help="embedded, light, official or the name of an imported table; overrides the order of look-up.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting of the algorithm; may be repeated.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write trajectories.parquet, result.json and winner.json there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(
    algo: str,
    space: str,
    dataset: str,
    runs: int,
    seed: int,
    assignments: tuple[str, ...],
    table: str | None,
    out: Path | None,
    as_json: bool,
    **problem_options: Any,
) -> None:
    """Search a table with an algorithm, once or hundreds of times."""
    from nasharness.search import Interrupted, Problem, registry
    from nasharness.search import run as search
    from nasharness.search.run import check_request
    from nasharness.search.text import header, render

    record = registry.get(algo)
    settings = record.settings(_assignments(assignments))
    problem = Problem.create(space, dataset, table=table, **problem_options)
    check_request(record, settings, problem, problem.evaluator(), runs, seed)
    if out is not None:
        _check_writable(out)
    if not as_json:
        click.echo(header(problem, record, settings))
        click.echo()
    progress = Progress("runs")
    try:
        result = search(algo, problem, runs=runs, seed=seed, settings=settings, progress=progress)
    except Interrupted as interrupted:
        progress.close()
        raise _InterruptedError(interrupted, out) from None
    progress.close()
    written = result.write(out) if out is not None else None
    if as_json:
        click.echo(json.dumps(result.summary(), allow_nan=False))
        return
    click.echo(render(result, ascii=ascii_only()))
    click.echo(
        f"written    {written if written is not None else 'nothing; --out DIR keeps trajectories and winner.json'}"
    )


class _InterruptedError(NasharnessError):
    """Ctrl-C: what was complete is written if it can be, and said in any case."""

    exit_code = 130

    def __init__(self, interrupted: Any, out: Path | None) -> None:
        result = interrupted.result
        done = 0 if result is None else result.runs
        message = f"interrupted: {done:,} of {interrupted.runs:,} runs were complete"
        if result is not None and out is not None:
            message += f" and are written to {result.write(out)}"
        elif result is not None:
            message += f"; their mean final metric is {result.final.mean():.2f} % (--out DIR would have kept them)"
        super().__init__(message)


def _assignments(texts: tuple[str, ...]) -> dict[str, str]:
    settings = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key.strip():
            raise UsageError(f"--set {text!r}: expected KEY=VALUE, as in --set population=20")
        settings[key.strip()] = value
    return settings


def _check_writable(out: Path) -> None:
    """Find out before the search, and not after it, that its result could not be kept."""
    existing = out
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise UsageError(f"--out {out}: {existing} is a file, expected a folder or a new name")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"--out {out}: no permission to write in {existing}; choose another folder")
