"""``nasharness validate --algo``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from nasharness.cli.options import whole_numbers
from nasharness.cli.terminal import Progress
from nasharness.errors import UsageError, unknown


def compare_algorithms(options: dict[str, Any]) -> int:
    """Is ``--algo`` better than ``--against``; or record its scores. Return the exit code."""
    from nasharness.analysis.statistics.sequential import BETTER, WORSE
    from nasharness.analysis.validation import SCORES, Live, validate
    from nasharness.analysis.validation.baseline import Recorded, record
    from nasharness.analysis.validation.text import as_dict, render
    from nasharness.search import registry
    from nasharness.studies.plan import Choice

    against, out = options["against"], options["record"]
    if against is None and out is None:
        raise UsageError("--against OLD or --record FILE is missing: what shall --algo be compared with?")
    if options["require"] not in (None, BETTER):
        raise unknown("requirement", options["require"], [BETTER])
    if options["score"] not in SCORES:
        raise unknown("score", options["score"], SCORES)
    new = Choice.parse(options["algo"])
    registry.get(new.name)
    baseline = Recorded(against) if against is not None and _is_file(against) else None
    realised = options["realisations"] or (baseline.realisations if baseline else None)
    problems = _problems(options, baseline)
    each = 1
    if realised and options["realisations"] is None and baseline and _as_recorded(options):
        each = len(problems) // max(1, len({(p.dataset, p.evaluations) for p in problems}))
    elif realised:
        parts = [problem.realised(realised) for problem in problems]
        each = len(parts[0])
        problems = [problem for part in parts for problem in part]
    seed = options["seed"] if options["seed"] is not None else (baseline.seed if baseline else 0)
    runs = (
        options["runs"] if options["runs"] is not None else (baseline.runs if baseline else (500 if each == 1 else 50))
    )
    mine = Live(new, problems, seed)
    written = None
    progress = Progress("runs")
    if against is None:
        done = 0

        def made(count: int) -> None:
            nonlocal done
            done += count
            progress(done, runs * len(problems))

        mine.made = made
        written = record(out, mine, runs, realised)
        progress.close()
        click.echo(
            json.dumps({"recorded": str(written)})
            if options["as_json"]
            else f"recorded   {written}: {new}, {runs:,} runs"
        )
        return 0
    old: Live | Recorded
    if baseline is not None:
        if options["against_seed"] is not None:
            raise UsageError("--against-seed is for an algorithm; a baseline has its own seeds")
        baseline.match(problems)
        if runs > baseline.runs:
            raise UsageError(
                f"{against} has {baseline.runs:,} runs; ask for at most that many (--runs {baseline.runs})"
            )
        old, other_seed = baseline, baseline.seed
    else:
        other_seed = seed if options["against_seed"] is None else options["against_seed"]
        old = Live(Choice.parse(against), problems, other_seed)
    found = validate(
        mine, old, problems, runs=runs, score=options["score"], alpha=options["alpha"], progress=progress,
        realisations=each,
    )  # fmt: skip
    if out is not None:
        written = record(out, mine, runs, realised)
    progress.close()
    if options["as_json"]:
        click.echo(json.dumps(as_dict(found)))
    else:
        seeds = f"{seed}..." + (" of both" if other_seed == seed else f" of new, {other_seed}... of old (not pairs)")
        click.echo(render(found, problems, seeds))
        if written is not None:
            click.echo(f"recorded   {written}: {new}, {runs:,} runs")
    if found.verdict == WORSE or (options["require"] == BETTER and found.verdict != BETTER):
        return 1
    return 0


def _as_recorded(options: dict[str, Any]) -> bool:
    """Whether the problems are those of the baseline, which are realised already."""
    return all(options[key] is None for key in ("evaluations", "seconds", "budget"))


def _is_file(text: str) -> bool:
    return text.endswith(".json") or "/" in text or Path(text).is_file()


def _problems(options: dict[str, Any], baseline: Any) -> list[Any]:
    from nasharness import spaces
    from nasharness.search import Problem
    from nasharness.studies.plan import measured_datasets

    space = options["space"] or (baseline.cells[0]["space"] if baseline else "tss")
    asked = {"table": options["table"] or None, "datasets": options["datasets"]}
    if options["datasets"] is None and baseline:
        datasets = baseline.datasets
    else:
        datasets = measured_datasets(spaces.get(space), asked)
    for dataset in datasets:
        if baseline and dataset not in baseline.datasets:
            raise UsageError(f"{baseline.path} has no data set {dataset!r}; it has {', '.join(baseline.datasets)}")
    given = {key: options[key] for key in ("seconds", "budget")}
    given["table"] = options["table"] or None

    def measured(protocol: Any) -> dict[str, Any]:
        # a baseline says which measurements it was made with; other ones must be asked for, and are then refused
        objectives = [each["name"] for each in protocol.get("objectives", ())]
        sought = {"objectives": objectives[objectives[:1] != ["error"] :], "limits": protocol.get("limits", ())}
        seen = options["environments"] or protocol.get("environments", ())
        kept = {"stages": options["stages"] or protocol.get("stages", ())}
        if seen:  # they are signal and objectives, and the target is the final metric
            kept |= {"environments": seen, "target": options["target"] or protocol["final"]}
            protocol, sought = protocol | {"signal": None, "final": None}, sought | {"objectives": ()}
        return (
            {key: options[key] or protocol[key] for key in ("signal", "final", "repeats", "start")}
            | {key: options[key] or names for key, names in sought.items()}
            | kept
            | ({"target": options["target"]} if options["target"] and not seen else {})
        )

    budgets: list[int | None] = [None]
    if options["evaluations"] is not None:
        budgets = list(whole_numbers("--evaluations", options["evaluations"]))
    elif baseline and options["seconds"] is None and options["budget"] is None:
        budget = ("evaluations", "seconds")
        return [
            Problem.create(
                space,
                cell["dataset"],
                **given | measured(cell["protocol"]) | {key: cell["protocol"][key] for key in budget},
            )
            for cell in baseline.cells
            if cell["dataset"] in datasets
        ]
    default = {"signal": None, "final": None, "repeats": "charged", "start": "own"}
    protocols = {cell["dataset"]: cell["protocol"] for cell in reversed(baseline.cells)} if baseline else {}
    return [
        Problem.create(space, dataset, evaluations=evaluations, **given | measured(protocols.get(dataset, default)))
        for dataset in datasets
        for evaluations in budgets
    ]
