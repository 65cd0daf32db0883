"""``nasharness validate --supernet``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from nasharness.cli.options import check_writable, dashed
from nasharness.cli.terminal import Progress, use_processors
from nasharness.errors import UsageError

if TYPE_CHECKING:
    from nasharness.search import Problem


def assess_supernet(options: dict[str, Any]) -> int:
    """Rank architectures by the shared weights in ``--supernet`` and hold the ranking against the table."""
    if options["save_scores"] is not None and options["save_scores"].suffix != ".csv":
        raise UsageError(f"--save-scores {options['save_scores']}: expected a name that ends in .csv")
    for option in ("figure", "save_scores"):
        if options[option] is not None:
            check_writable(options[option].parent, dashed(option))
    use_processors()
    from nasharness.supernets.quality import assess
    from nasharness.supernets.quality_text import as_dict, captions, frame, render, write_scores

    def problem(space: str, dataset: str) -> Problem:
        from nasharness.search import Problem

        return Problem.create(space, dataset, table=options["table"] or None, final=options["final"])

    progress = Progress("scores")
    images = {"images": options["images"], "data": options["data"]} if options["images"] else {}
    if options["data"] and not images:
        images = {"data": options["data"]}
    changes = {key: value if value is None else str(value) for key, value in images.items()}
    if options["split_file"]:
        changes |= {"split_file": str(options["split_file"]), "validation": None}
    given = {"sample": options["sample"], "count": options["score_images"], "batch": options["batch"]}
    try:
        report = assess(
            options["supernet"],
            problem,
            space=options["space"],
            dataset=options["datasets"],
            part=options["part"],
            seed=options["seed"] or 0,
            device=options["device"],
            origin=changes,
            curve=options["curve"],
            progress=progress,
            **{key: value for key, value in given.items() if value is not None}
            | ({"sample": None} if options["all_"] else {}),
        )
    finally:
        progress.close()
    written = [] if options["save_scores"] is None else [write_scores(report, options["save_scores"])]
    if options["figure"] is not None:
        from nasharness.analysis.figures.supernet import write

        written += write(frame(report), captions(report), options["figure"])
    if options["as_json"]:
        click.echo(json.dumps(as_dict(report) | {"written": [str(path) for path in written]}))
        return 0
    click.echo(render(report))
    if written:
        click.echo(f"written    {', '.join(str(path) for path in written)}")
    return 0
