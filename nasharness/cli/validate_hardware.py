"""``nasharness validate --hardware``."""

from __future__ import annotations

import json
from typing import Any

import click

from nasharness.cli.options import check_writable
from nasharness.cli.terminal import Progress


def check_devices(options: dict[str, Any]) -> int:
    """Hold what is known of devices against what HW-NAS-Bench claims. Return the exit code."""
    from nasharness.analysis.layout import json_ready
    from nasharness.analysis.validation.hardware import claims, costs_of, failures, render

    costs = costs_of(
        options["space"] or "tss", options["datasets"], table=options["table"] or None, final=options["final"]
    )
    if options["figure"] is not None:
        check_writable(options["figure"].parent, "--figure")
    progress = Progress("claims")
    found = claims(costs, progress)
    progress.close()
    written = []
    if options["figure"] is not None:
        from nasharness.analysis.figures.devices import write

        written = [str(path) for path in write(costs, options["figure"])]
    if options["as_json"]:
        about = {"space": costs.space.name, "dataset": costs.dataset, "accuracy": costs.judge}
        click.echo(json.dumps(about | {"claims": json_ready(found), "written": written}))
    else:
        click.echo(render(costs, found))
        if written:
            click.echo(f"written    {', '.join(written)}")
    return 1 if failures(found) else 0
