"""``nasharness run``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from nasharness.cli.terminal import Progress, ascii_only
from nasharness.errors import NasharnessError, UsageError

#: headings of ``nasharness run --help``, and the options under them
SECTIONS = {
    "Search a table": ("evaluations", "seconds", "budget", "signal", "repeats", "objectives", "limits"),
    "Train a supernet on images (one-shot algorithms)": (
        "images", "data", "validation", "split_file", "epochs", "batch", "lr", "channels", "cells",
        "device", "precision", "resume", "derive_every", "keep_every",
    ),
    "Train every candidate (spaces shrink-cnn and shrink-rnn; also --images, --data, --device, --resume, ...)": (
        "text", "jobs",
    ),
}  # fmt: skip


class Sectioned(click.Command):
    """A command whose help lists options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, first those under no heading."""
        placed = {name: heading for heading, names in SECTIONS.items() for name in names}
        rows: dict[str, list[tuple[str, str]]] = {"Options": [], **{heading: [] for heading in SECTIONS}}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                rows[placed.get(parameter.name or "", "Options")].append(record)
        for heading, records in rows.items():
            with formatter.section(heading):
                formatter.write_dl(records)


@click.command("run", cls=Sectioned)
@click.option("--algo", required=True, metavar="NAME", help="Algorithm (nasharness list algos).")
@click.option("--space", required=True, metavar="NAME", help="Search space (nasharness list spaces).")
@click.option("--dataset", metavar="NAME", help="Data set (default: the space's first; nasharness list datasets).")
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
    "--objective",
    "objectives",
    multiple=True,
    metavar="NAME",
    help="What is wanted besides: error, params, macs ...; repeatable.",
)
@click.option("--limit", "limits", multiple=True, metavar="'NAME <= X'", help="What an answer must keep; repeatable.")
@click.option("--repeats", metavar="charged|free", help="Whether asking an architecture again costs again (charged).")
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
    help="Write trajectories.parquet, result.json and winner.json there, and a supernet's checkpoints.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--images", metavar="NAME|PATH", help="cifar10, cifar100, ImageNet16-120, digits, or parquet of JPEGs.")
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="Folder that holds the images' files.")
@click.option("--validation", type=float, metavar="SHARE", help="Share of the training images that judge (0.2).")
@click.option("--split-file", type=click.Path(path_type=Path), metavar="FILE", help="A published split instead.")
@click.option("--epochs", type=int, metavar="N", help="Epochs of training (75; 100 for NAME.paper).")
@click.option("--batch", type=int, metavar="N", help="Images in a batch (64).")
@click.option("--lr", type=float, metavar="RATE", help="Learning rate of the weights at first (0.1; paper 0.025).")
@click.option("--channels", type=int, metavar="C", help="Channels of the first stage of tss (16).")
@click.option("--cells", type=int, metavar="N", help="Cells in each of three stages (1; paper: 5 on tss).")
@click.option("--device", metavar="NAME,...", help="cpu, cuda, cuda:1, mps; several: a run on each (default: GPUs).")
@click.option("--precision", metavar="auto|fp32|bf16", help="auto: bf16 on an NVIDIA GPU, else fp32.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out, exactly where its last epoch ended.")
@click.option("--derive-every", type=int, metavar="N", help="Epochs between derivations shown (about 10 in all, or 1).")
@click.option("--text", type=click.Path(path_type=Path), metavar="DIR", help="Folder of NAME.{train,valid,test}.txt.")
@click.option("--jobs", type=int, metavar="N", help="Trainings side by side (the processors; 4 a GPU).")
@click.option("--keep-every", type=int, metavar="N", help="Epochs between weights kept for ranking (about 10 in all).")
def command(
    algo: str,
    space: str,
    dataset: str | None,
    runs: int,
    seed: int,
    assignments: tuple[str, ...],
    table: str | None,
    out: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Search a table with an algorithm, once or hundreds of times; or train a supernet on images, and let the table
    judge what it finds.

    \b
    nasharness run --algo rea --space tss --runs 500 --budget nats
    nasharness run --algo gdas --space tss --images cifar10 --data DIR --epochs 50 --out results/gdas
    nasharness run --algo autoshrink --space shrink-cnn --images cifar10 --data DIR --out results/shrink
    """  # noqa: D205, D301 - click reads both
    from nasharness import spaces
    from nasharness.search import Interrupted, Problem, registry
    from nasharness.search import run as search
    from nasharness.search.run import check_request
    from nasharness.search.text import header, render

    record = registry.get(algo)
    settings = _assignments(assignments)
    searching, training, candidates = (
        # 0 is a value, and wrong: `is`, not `==`
        {name: given[name] for name in names if not any(given[name] is absent for absent in (None, False, ()))}
        for names in SECTIONS.values()
    )
    if space not in spaces.graph_names() and space not in spaces.names():
        spaces.get(space)  # which names the nearest
    if out is not None:
        _check_writable(out)
    if space in spaces.graph_names():
        from nasharness.cli.run_shrink import search as shrink

        measured = searching | {name: value for name, value in (("table", table), ("final", given["final"])) if value}
        _refuse(measured, f"space {space} has no table, its networks are trained")
        if dataset is not None:
            raise UsageError(
                f"--dataset {dataset}: of tables; space {space} trains on what {spaces.graphs(space).needs} gives"
            )
        shrink(
            algo, space, {"runs": runs, "seed": seed, "settings": settings, "out": out}, training | candidates, as_json
        )
        return
    _refuse(candidates, "such options go with the spaces " + " and ".join(spaces.graph_names()))
    if record.kind == registry.ONE_SHOT or "images" in training:
        record.require(registry.ONE_SHOT)
        if "images" not in training:
            record.require(registry.MULTI_TRIAL)  # which says that images are missing
        _refuse(searching, f"{algo} trains a supernet and asks no table; use --epochs for how long")
        from nasharness.cli.run_one_shot import train

        judged = {"table": table, "final": given["final"]}
        asked = {"runs": runs, "seed": seed, "settings": settings, "out": out} | training
        train(algo, space, dataset or spaces.get(space).datasets[0], judged, asked, as_json)
        return
    _refuse(training, f"{algo} asks a table and trains nothing; such options go with one-shot algorithms")
    settings = record.settings(settings)
    problem = Problem.create(space, dataset, table=table, final=given["final"], **{"repeats": "charged"} | searching)
    check_request(record, settings, problem, problem.evaluator(), runs, seed)
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


def _refuse(options: dict[str, Any], why: str) -> None:
    if options:
        named = ", ".join("--" + name.replace("_", "-") for name in options)
        raise UsageError(f"{named}: {why}")


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


def _check_writable(out: Path, option: str = "--out") -> None:
    """Find out before the work, and not after it, that its result could not be kept."""
    existing = out
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise UsageError(f"{option} {out}: {existing} is a file, expected a folder or a new name")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"{option} {out}: no permission to write in {existing}; choose another folder")
