"""``nasharness validate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from nasharness.cli.terminal import Progress
from nasharness.errors import UsageError, unknown


@click.command("validate")
@click.option("--algo", metavar="NEW", help="Algorithm to validate: NAME or NAME(KEY=VALUE, ...).")
@click.option("--against", metavar="OLD|FILE", help="Algorithm or recorded baseline to compare with.")
@click.option("--space", metavar="tss|sss", help="Search space (default tss).")
@click.option("--dataset", "datasets", metavar="NAME,...|all", help="Data sets (default cifar10).")
@click.option("--evaluations", metavar="N,...", help="Budgets in evaluations (default 200).")
@click.option("--seconds", type=float, metavar="T", help="Budget in simulated seconds instead.")
@click.option("--budget", metavar="nats|nb201", help="Budget of a paper instead.")
@click.option("--signal", metavar="MEASURE", help="What the searches see: val@12 ...")
@click.option("--final", metavar="MEASURE", help="What results, or a proxy's ranking, are scored by: test@200 ...")
@click.option("--repeats", metavar="charged|free", help="Cost of repeats (default charged, or the baseline's).")
@click.option("--runs", type=click.IntRange(1), metavar="N", help="Runs at most (default 500, or the baseline's).")
@click.option("--seed", type=click.IntRange(0), metavar="S", help="First seed (default 0, or the baseline's).")
@click.option("--against-seed", type=click.IntRange(0), metavar="S",
              help="OLD's first seed (default: the same, so runs are pairs).")  # fmt: skip
@click.option("--score", default="recommended", show_default=True, metavar="recommended|final",
              help="The algorithm's own answer, or the incumbent.")  # fmt: skip
@click.option("--alpha", default=0.02, show_default=True, help="Chance of any false better or worse.")
@click.option("--require", metavar="better", help="Exit with 1 unless NEW is better.")
@click.option("--record", type=click.Path(path_type=Path), metavar="FILE", help="Write NEW's scores as a baseline.")
@click.option("--paper", metavar="nats-bench", help="Hold the registered algorithms against the published tables.")
@click.option("--table", is_flag=False, flag_value="", metavar="[NAME]",
              help="Without --algo, --paper, --scores, --supernet: check this table. With them: use it.")  # fmt: skip
@click.option("--scores", type=click.Path(path_type=Path), metavar="FILE", help="Rank quality of the proxy in FILE.")
@click.option("--column", "columns", multiple=True, metavar="NAME", help="Score column of FILE; may be repeated.")
@click.option("--k", "ks", metavar="K,...", help="For --scores: ks of precision@k and regret@k (default 1,10,100).")
@click.option("--lower-is-better", is_flag=True, help="For --scores: small scores are good.")
@click.option("--supernet", type=click.Path(path_type=Path), metavar="PATH",
              help="Rank quality of the shared weights in a checkpoint or a run's folder.")  # fmt: skip
@click.option("--sample", type=click.IntRange(3), metavar="N", help="For --supernet: architectures ranked (500).")
@click.option("--all", "all_", is_flag=True, help="For --supernet: rank every architecture.")
@click.option("--on", "part", default="test", show_default=True, metavar="test|validation",
              help="For --supernet: the images, neither of which trained weights.")  # fmt: skip
@click.option("--score-images", type=click.IntRange(1), metavar="N",
              help="For --supernet: images that score an architecture (1,000).")  # fmt: skip
@click.option("--batch", type=click.IntRange(2), metavar="N", help="For --supernet: images in a batch (500).")
@click.option("--images", metavar="NAME|PATH", help="For --supernet: other images than those of the run.")
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="For --supernet: where they are now.")
@click.option("--split-file", type=click.Path(path_type=Path), metavar="FILE", help="For --supernet: their split.")
@click.option("--device", metavar="NAME", help="For --supernet: cpu, cuda, cuda:1, mps.")
@click.option("--curve/--no-curve", default=True, help="For --supernet: tau by epoch too, where weights were kept.")
@click.option("--figure", type=click.Path(path_type=Path), metavar="FILE",
              help="For --supernet: draw it: FILE.png, FILE.pdf, FILE.csv.")  # fmt: skip
@click.option("--save-scores", type=click.Path(path_type=Path), metavar="FILE.csv",
              help="For --supernet: write what --scores reads.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(**options: Any) -> int:
    """Find out whether a change is better, whether algorithms and tables are as published, how well a proxy ranks.

    \b
    nasharness validate --algo NEW --against OLD --space tss --dataset cifar10,cifar100 --evaluations 50,100
    nasharness validate --algo NEW --record baseline.json     later: --against baseline.json
    nasharness validate --paper nats-bench
    nasharness validate --table light
    nasharness validate --scores proxy.csv
    nasharness validate --supernet results/rsps --space tss --figure results/rsps/ranking

    Exit code: 0; 1 when NEW is worse anywhere, or with --require better when it is not better, or when a check fails.
    """  # noqa: D301 - click reads the escape
    modes = {key: options[key] is not None for key in ("algo", "paper", "scores", "supernet")}
    chosen = [f"--{key}" for key, given in modes.items() if given]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} ask for different things; give one of them")
    if modes["algo"]:
        return _algorithms(options)
    if modes["paper"]:
        return _paper(options)
    if modes["scores"]:
        return _scores(options)
    if modes["supernet"]:
        from nasharness.cli.validate_supernet import assess_supernet

        return assess_supernet(options)
    if options["table"] is not None:
        return _table(options)
    raise UsageError(
        "nothing to validate; give --algo NEW --against OLD, --paper nats-bench, --table [NAME], --scores FILE or "
        "--supernet PATH"
    )


def _algorithms(options: dict[str, Any]) -> int:
    from nasharness.analysis.statistics.sequential import BETTER, WORSE
    from nasharness.analysis.validation import SCORES, Live, as_dict, render, validate
    from nasharness.analysis.validation.baseline import Recorded, record
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
    problems = _problems(options, baseline)
    seed = options["seed"] if options["seed"] is not None else (baseline.seed if baseline else 0)
    runs = options["runs"] if options["runs"] is not None else (baseline.runs if baseline else 500)
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
        written = record(out, mine, runs)
        progress.close()
        click.echo(
            json.dumps({"recorded": str(written)})
            if _as_json(options)
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
    found = validate(mine, old, problems, runs=runs, score=options["score"], alpha=options["alpha"], progress=progress)
    if out is not None:
        written = record(out, mine, runs)
    progress.close()
    if _as_json(options):
        click.echo(json.dumps(as_dict(found)))
    else:
        seeds = f"{seed}..." + (" of both" if other_seed == seed else f" of new, {other_seed}... of old (not pairs)")
        click.echo(render(found, problems, seeds))
        if written is not None:
            click.echo(f"recorded   {written}: {new}, {runs:,} runs")
    if found.verdict == WORSE or (options["require"] == BETTER and found.verdict != BETTER):
        return 1
    return 0


def _as_json(options: dict[str, Any]) -> bool:
    return bool(options["as_json"])


def _is_file(text: str) -> bool:
    return text.endswith(".json") or "/" in text or Path(text).is_file()


def _problems(options: dict[str, Any], baseline: Any) -> list[Any]:
    from nasharness import spaces
    from nasharness.search import Problem

    space = options["space"] or (baseline.cells[0]["space"] if baseline else "tss")
    known = spaces.get(space).datasets
    if options["datasets"] is None:
        datasets = baseline.datasets if baseline else ["cifar10"]
    else:
        datasets = list(known) if options["datasets"].strip() == "all" else _split(options["datasets"])
    if not datasets:
        raise UsageError(f"--dataset {options['datasets']!r} names no data set; known: {', '.join(known)}")
    for dataset in datasets:
        if dataset not in known:
            raise unknown(f"data set of space {space!r}", dataset, known, "nasharness list datasets")
        if baseline and dataset not in baseline.datasets:
            raise UsageError(f"{baseline.path} has no data set {dataset!r}; it has {', '.join(baseline.datasets)}")
    given = {key: options[key] for key in ("seconds", "budget")}
    given["table"] = options["table"] or None

    def measured(protocol: Any) -> dict[str, Any]:
        # a baseline says which measurements it was made with; other ones must be asked for, and are then refused
        return {key: options[key] or protocol[key] for key in ("signal", "final", "repeats")}

    budgets: list[int | None] = [None]
    if options["evaluations"] is not None:
        budgets = list(_whole_numbers("--evaluations", options["evaluations"]))
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
    default = {"signal": None, "final": None, "repeats": "charged"}
    protocols = {cell["dataset"]: cell["protocol"] for cell in reversed(baseline.cells)} if baseline else {}
    return [
        Problem.create(space, dataset, evaluations=evaluations, **given | measured(protocols.get(dataset, default)))
        for dataset in datasets
        for evaluations in budgets
    ]


def _split(text: str) -> list[str]:
    """Names of a list, each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _whole_numbers(option: str, text: str) -> list[int]:
    try:
        numbers = [int(part) for part in _split(text)]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise UsageError(f"{option} {text!r}: expected whole numbers of at least 1, as in 50,100,200")
    return numbers


def _paper(options: dict[str, Any]) -> int:
    from nasharness.analysis.validation.paper import agreement, failures, render

    if options["paper"] != "nats-bench":
        raise unknown("paper", options["paper"], ["nats-bench"])
    runs = options["runs"] if options["runs"] is not None else 500
    progress = Progress("numbers")
    found = agreement(
        runs=runs, seed=options["seed"] or 0, space=options["space"], table=options["table"] or None, progress=progress
    )
    progress.close()
    if _as_json(options):
        from dataclasses import asdict

        rows = [{key: None if value != value else value for key, value in asdict(one).items()} for one in found]
        click.echo(json.dumps(rows))
    else:
        click.echo(render(found, runs))
    return 1 if failures(found) else 0


def _table(options: dict[str, Any]) -> int:
    from nasharness.analysis.validation.table_check import WRONG, check_table, render
    from nasharness.tables import candidates, open_table

    space = options["space"] or "tss"
    tables = [open_table(space, options["table"])] if options["table"] else candidates(space)[0][:1]
    checks = check_table(tables[0])
    if _as_json(options):
        from dataclasses import asdict

        click.echo(json.dumps({"table": tables[0].name, "checks": [asdict(check) for check in checks]}))
    else:
        click.echo(render(tables[0], checks))
    return 1 if any(check.verdict == WRONG for check in checks) else 0


def _scores(options: dict[str, Any]) -> int:
    from nasharness.analysis.validation.proxies import KS, as_dict, quality, read_scores, render
    from nasharness.search import Problem

    dataset = "cifar10" if options["datasets"] is None else options["datasets"]
    problem = Problem.create(
        options["space"] or "tss",
        dataset,
        table=options["table"] or None,
        final=options["final"],
        signal=options["signal"],
    )
    size = problem.space.size
    index, scores, left_out = read_scores(options["scores"], size, dataset, options["columns"])
    truth = problem.truth().values[index]
    ks = _whole_numbers("--k", options["ks"]) if options["ks"] else [k for k in KS if k <= len(index)]
    progress = Progress("scores")
    found = []
    for name, values in scores.items():
        found.append(
            quality(name, values, truth, ks=ks, seed=options["seed"] or 0, lower_is_better=options["lower_is_better"])
        )
        progress(len(found), len(scores))
    progress.close()
    if _as_json(options):
        click.echo(json.dumps({"file": str(options["scores"]), "dataset": dataset, "truth": str(problem.final),
                               "table": problem.table.checksum, "scores": as_dict(found)}))  # fmt: skip
        return 0
    facts = [
        f"file       {options['scores']}: {len(index):,} of {size:,} architectures"
        + (f"; left out: {', '.join(left_out)}" if left_out else ""),
        f"truth      {problem.final} on {dataset}, table {problem.table.name} (checksum {problem.table.checksum[:12]})",
        "intervals  95 %, bootstrap over architectures; equal scores in random order; regret in percentage points; "
        "[-] where resampling cannot tell",
    ]
    click.echo(render(found, facts))
    return 0
