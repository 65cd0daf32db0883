"""``nasharness leaderboard``."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from nasharness.cli.options import check_writable, was_given, whole_numbers, words
from nasharness.cli.terminal import Progress, quiet_option
from nasharness.errors import UsageError


@click.command("leaderboard")
@click.argument("studies", nargs=-1, type=click.Path(path_type=Path), metavar="[STUDY...]")
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/leaderboard"), show_default=True,
              metavar="DIR", help="Folder of the page, the numbers and the studies behind them.")  # fmt: skip
@click.option(
    "--algo", default="all", show_default=True, metavar="A,B,...|all", help="Algorithms (nasharness list algos)."
)
@click.option("--space", "asked", metavar="NAME,...", help="Spaces (default: all that have a table here).")
@click.option(
    "--evaluations",
    default="25,50,100,200,500,1000",
    show_default=True,
    metavar="N,...",
    help="Budgets, each of so many evaluations.",
)
@click.option(
    "--start",
    "starts",
    default="random:10,own",
    show_default=True,
    metavar="START,...",
    help="Starts, as of nasharness run.",
)
@click.option("--realisations", default=4, show_default=True, metavar="N", help="Draws of the signal's noise.")
@click.option("--runs", default=5, show_default=True, metavar="N", help="Seeds on each of them.")
@click.option(
    "--most",
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Leave out, at a budget, what takes longer a run.",
)
@click.option("--jobs", default=2, show_default=True, metavar="N", help="Processes side by side.")
@quiet_option
def command(
    studies: tuple[Path, ...],
    out: Path,
    algo: str,
    asked: str | None,
    evaluations: str,
    starts: str,
    realisations: int,
    runs: int,
    most: float,
    jobs: int,
) -> None:
    """Run every algorithm on every table here, by budget and start, over seeds and realisations; write the page.

    What is finished is kept: the same command goes on where it was stopped. With STUDY... nothing is run: what these
    studies hold, of whatever tables and budgets, is ranked and printed, or written to --out.
    """
    if studies:
        _ranked(studies)
        return
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from nasharness.analysis.leaderboard import as_csv, entries, page
    from nasharness.storage import atomically, write_json
    from nasharness.storage.sealed import parse, read_bytes
    from nasharness.studies import load, run_study

    check_writable(out)
    out.mkdir(parents=True, exist_ok=True)
    slow_file = out / "left_out.json"
    slow: dict[str, str] = {}
    if slow_file.exists():
        slow = parse(read_bytes(slow_file), dict[str, str], slow_file, "remove it")
    folders: list[Path] = []
    for space, table, datasets in _tables(words(asked) if asked else None):
        for start in words(starts):
            speed: dict[str, tuple[int, float]] = {}
            for budget in sorted(whole_numbers("--evaluations", evaluations)):
                name = "-".join((space, table, str(budget), start.replace(":", "")))
                folder = out / "studies" / name
                plan = _there(folder, runs, realisations)
                reasons: dict[str, str] = {}
                if plan is None:
                    plan, reasons = _plan(
                        algo, space, table, datasets, budget, start, realisations, runs, speed, most, slow, name
                    )
                if plan is None:
                    continue
                slow |= reasons
                click.echo(f"{name}: {len(plan.algorithms)} algorithms", err=True)
                progress = Progress("runs")
                run_study(plan, folder, jobs=jobs, resume=(folder / "study.json").exists(), progress=progress)
                progress.close()
                folders.append(folder)
                write_json(slow_file, slow)
    if not folders:
        raise UsageError("no table here measures the spaces asked for; nasharness list tables says how they arrive")
    found = [entry for folder in folders for entry in entries(load(folder))]
    context = click.get_current_context()
    given = [one for one in context.command.params if was_given(context, one.name or "")]
    line = " ".join(["nasharness leaderboard", *(f"{one.opts[0]} {context.params[one.name or '']}" for one in given)])
    atomically(out / "leaderboard.csv", as_csv(found))
    atomically(out / "README.md", page(found, line, slow))
    click.echo(f"written    {out / 'README.md'}, leaderboard.csv: {len(found):,} entries of {len(folders)} studies")


def _ranked(studies: Sequence[Path]) -> None:
    """Rank what studies hold; print the page, or write it where --out was given."""
    from nasharness.analysis.leaderboard import as_csv, entries, page
    from nasharness.storage import atomically
    from nasharness.studies import load

    context = click.get_current_context()
    refused = [f"--{name}" for name in ("algo", "evaluations", "realisations", "runs", "most", "jobs") if
               was_given(context, name)]  # fmt: skip
    refused += [option for name, option in (("asked", "--space"), ("starts", "--start")) if was_given(context, name)]
    if refused:
        raise UsageError(f"{', '.join(refused)}: nothing is run for a STUDY; leave it out, or the studies")
    found = [entry for folder in studies for entry in entries(load(folder))]
    made = page(found, f"nasharness leaderboard {' '.join(map(str, studies))}", {})
    if not was_given(context, "out"):
        click.echo(made, nl=False)
        return
    out: Path = context.params["out"]
    check_writable(out)
    out.mkdir(parents=True, exist_ok=True)
    atomically(out / "leaderboard.csv", as_csv(found))
    atomically(out / "README.md", made)
    click.echo(f"written    {out / 'README.md'}, leaderboard.csv: {len(found):,} entries of {len(studies)} studies")


def _tables(asked: list[str] | None) -> list[tuple[str, str, list[str]]]:
    """Space, table and data sets of everything here that can be searched."""
    from nasharness import spaces
    from nasharness.errors import DataError
    from nasharness.search import Problem
    from nasharness.tables.inventory import inventory

    for name in asked or ():
        spaces.get(name)
    found = []
    for row in inventory():
        if row["problem"] or (asked is not None and row["space"] not in asked):
            continue
        good = []
        for dataset in spaces.get(row["space"]).datasets or row["datasets"]:
            try:
                Problem.create(row["space"], dataset, table=row["name"], evaluations=1)
            except (UsageError, DataError):
                continue
            good.append(dataset)
        if good:
            found.append((row["space"], row["name"], good))
    return found


def _there(folder: Path, runs: int, realisations: int) -> Any:
    """The plan of a study that was begun, which goes on as it was planned; None where there is none.

    Raises UsageError for one of other runs or realisations.
    """
    from nasharness.studies import Plan
    from nasharness.studies.folder import read_meta

    if not (folder / "study.json").exists():
        return None
    plan = Plan.create(**{key: value for key, value in read_meta(folder)["plan"].items() if value is not None})
    if plan.runs != runs or plan.realisations not in (None, str(realisations)):
        raise UsageError(
            f"{folder} has {plan.runs} runs on {plan.realisations or 1} realisations; go on with as many, or choose "
            "another --out"
        )
    return plan


def _plan(
    algo: str,
    space: str,
    table: str,
    datasets: list[str],
    budget: int,
    start: str,
    realisations: int,
    runs: int,
    speed: dict[str, tuple[int, float]],
    most: float,
    slow: dict[str, str],
    name: str,
) -> tuple[Any, dict[str, str]]:
    """The study of one table, budget and start; and why algorithms are left out of it.

    One run of each algorithm says what it takes, and at least what it takes at the next budget. ``slow`` remembers what
    was left out before, so that a second call plans the same.
    """
    from dataclasses import replace

    from nasharness import spaces
    from nasharness.search import Problem, registry
    from nasharness.search import run as search
    from nasharness.search.run import unfit
    from nasharness.studies import Plan
    from nasharness.studies.plan import ALL, Choice, multi_trial, split_names

    problem = Problem.create(space, datasets[0], table=table, evaluations=budget, start=start)
    try:
        realised = problem.realised(realisations)[0]
    except UsageError:  # one value an architecture
        realised = problem
    chosen = multi_trial(spaces.get(space)) if algo == ALL else split_names(algo)
    kept, reasons = [], {}
    for each in chosen:
        base = each.partition("(")[0]
        if unfit(registry.get(base), realised, realised.evaluator()):
            continue
        at = f"{each} on {name}"
        if at in slow:
            continue
        before, seconds = speed.get(each, (0, 0.0))
        expected = seconds * budget / before if before else 0.0
        if expected <= most:
            if not before:  # what is worked out once a space is not its to pay
                search(base, replace(realised, evaluations=1), settings=Choice.parse(each).changed)
            began = time.perf_counter()
            search(base, realised, settings=Choice.parse(each).changed)
            seconds = time.perf_counter() - began
            speed[each] = budget, seconds
            expected = seconds
        if expected > most:
            reasons[at] = f"a run would take about {expected:.0f} s"
            continue
        kept.append(each)
    if not kept:
        return None, reasons
    given: dict[str, Any] = {} if realised is problem else {"realisations": realisations}
    return (
        Plan.create(
            algorithms=kept, space=space, datasets=datasets, runs=runs, evaluations=budget, table=table, start=start,
            **given,
        ),
        reasons,
    )  # fmt: skip
