"""``nasharness validate --paper``, ``--table`` and ``--scores``."""

from __future__ import annotations

import json
from typing import Any

import click

from nasharness.cli.options import whole_numbers
from nasharness.cli.terminal import Progress
from nasharness.errors import unknown


def check_paper(options: dict[str, Any]) -> int:
    """Hold the registered algorithms against published tables. Return the exit code."""
    from nasharness.analysis.layout import json_ready
    from nasharness.analysis.validation.paper import agreement, failures, render

    if options["paper"] != "nats-bench":
        raise unknown("paper", options["paper"], ["nats-bench"])
    runs = options["runs"] if options["runs"] is not None else 500
    progress = Progress("numbers")
    found = agreement(
        runs=runs, seed=options["seed"] or 0, space=options["space"], table=options["table"] or None, progress=progress
    )
    progress.close()
    if options["as_json"]:
        click.echo(json.dumps(json_ready(found)))
    else:
        click.echo(render(found, runs))
    return 1 if failures(found) else 0


def check_one_table(options: dict[str, Any]) -> int:
    """Hold a table against published anchors. Return the exit code."""
    from nasharness.analysis.layout import json_ready
    from nasharness.analysis.validation.table_check import WRONG, check_table, render
    from nasharness.tables import candidates, open_table

    space = options["space"] or "tss"
    tables = [open_table(space, options["table"])] if options["table"] else candidates(space)[0][:1]
    checks = check_table(tables[0])
    if options["as_json"]:
        click.echo(json.dumps({"table": tables[0].name, "checks": json_ready(checks)}))
    else:
        click.echo(render(tables[0], checks))
    return 1 if any(check.verdict == WRONG for check in checks) else 0


def rank_scores(options: dict[str, Any]) -> int:
    """Rank quality of the proxy in ``--scores``. Return the exit code."""
    from nasharness.analysis.validation.proxies import INTERVALS, KS, as_dict, quality, render
    from nasharness.search import Problem
    from nasharness.search.scores import read_scores

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
    ks = whole_numbers("--k", options["ks"]) if options["ks"] else [k for k in KS if k <= len(index)]
    progress = Progress("scores")
    found = []
    for name, values in scores.items():
        found.append(
            quality(name, values, truth, ks=ks, seed=options["seed"] or 0, lower_is_better=options["lower_is_better"])
        )
        progress(len(found), len(scores))
    progress.close()
    if options["as_json"]:
        click.echo(json.dumps({"file": str(options["scores"]), "dataset": dataset, "truth": str(problem.final),
                               "table": problem.table.checksum, "scores": as_dict(found)}))  # fmt: skip
        return 0
    told = [
        f"file       {options['scores']}: {len(index):,} of {size:,} architectures"
        + (f"; left out: {', '.join(left_out)}" if left_out else ""),
        f"truth      {problem.final} on {dataset}, table {problem.table.name} (checksum {problem.table.checksum[:12]})",
        INTERVALS,
    ]
    click.echo(render(found, told))
    return 0
