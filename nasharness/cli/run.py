"""``nasharness run``."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import click

from nasharness.cli.completion import Names
from nasharness.cli.options import ModalCommand, asked_of_a_table, check_writable, given, option, refuse
from nasharness.cli.terminal import Progress, ascii_only, quiet_option
from nasharness.errors import UsageError
from nasharness.storage import claimed

TABLE, SUPERNET, CANDIDATES = "table", "supernet", "candidates"

of_supernet, of_candidates = partial(option, modes=SUPERNET), partial(option, modes=CANDIDATES)


class Run(ModalCommand):
    """Search a table, train a supernet, or train every candidate."""

    headings: ClassVar[dict[str, str]] = {
        TABLE: "Search a table",
        SUPERNET: "Train a supernet on images (one-shot algorithms)",
        CANDIDATES: "Train every candidate (spaces shrink-cnn and shrink-rnn; also --images, --data, --device, ...)",
    }


@click.command("run", cls=Run)
@click.option("--algo", required=True, type=Names("algos"), metavar="NAME", help="Algorithm (nasharness list algos).")
@click.option(
    "--space", required=True, type=Names("spaces"), metavar="NAME", help="Search space (nasharness list spaces)."
)
@click.option(
    "--dataset",
    type=Names("datasets"),
    metavar="NAME",
    help="Data set (default: the space's first; nasharness list datasets).",
)
@click.option("--runs", default=1, show_default=True, help="Number of runs, each with a seed of its own.")
@click.option("--seed", default=0, show_default=True, help="Seed of the first run; the next has the next one.")
@asked_of_a_table(modes=TABLE)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the run there as a study of one: shards, winner.json, "
    "all evaluations or a supernet's checkpoints (default: keep nothing).",
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out; a training exactly where it ended.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@of_supernet(
    "--images",
    metavar="NAME|PATH",
    help="cifar10, cifar100, ImageNet16-120, digits, a Parquet file of JPEGs, or a folder DOMAIN/CLASS/*.",
)
@of_supernet("--data", type=click.Path(path_type=Path), metavar="DIR", help="Folder that holds the images' files.")
@of_supernet("--validation", type=float, metavar="SHARE", help="Share of the training images that judge (default 0.2).")
@of_supernet("--split-file", type=click.Path(path_type=Path), metavar="FILE", help="A published split instead.")
@of_supernet(
    "--target-domain", metavar="NAME", help="Domain of the images that is held out (default of digits: 40 degrees)."
)
@of_supernet("--source-domains", metavar="NAME,...", help="The domains that train and judge (default: all others).")
@of_supernet(
    "--select", metavar="source|last|oracle", help="With domains, by which the epoch is chosen (default source)."
)
@of_supernet("--side", type=int, metavar="N", help="Cut and scale images in domains to N pixels a side.")
@of_supernet("--epochs", type=int, metavar="N", help="Epochs of training (default 75; 100 of NAME.paper).")
@of_supernet("--batch", type=int, metavar="N", help="Images in a batch (default 64).")
@of_supernet(
    "--lr",
    type=float,
    metavar="RATE",
    help="Learning rate of the weights at first (default 0.1; mobile 0.05, fbnet 0.1 for a batch of 256; NAME.paper "
    "0.025).",
)
@of_supernet(
    "--channels",
    type=int,
    metavar="C",
    help="Channels of the first stage of tss (default 16), of the stem of mobile and fbnet (default 8).",
)
@of_supernet(
    "--device-cost", metavar="NAME", help="Device whose latency counts in the loss of single-path (default pixel1)."
)
@of_supernet("--cells", type=int, metavar="N", help="Cells in each of three stages (default 1; NAME.paper: 5 on tss).")
@of_supernet("--device", metavar="NAME,...", help="cpu, cuda, cuda:1, mps; several: a run on each (default: GPUs).")
@of_supernet("--precision", metavar="auto|fp32|bf16", help="auto: bf16 on an NVIDIA GPU, else fp32 (default auto).")
@of_supernet(
    "--derive-every", type=int, metavar="N", help="Epochs between derivations shown (default: about 10 in all)."
)
@of_candidates("--text", type=click.Path(path_type=Path), metavar="DIR", help="Folder of NAME.{train,valid,test}.txt.")
@of_candidates("--jobs", type=int, metavar="N", help="Trainings side by side (default: one a processor, or 4 a GPU).")
@of_supernet(
    "--keep-every", type=int, metavar="N", help="Epochs between weights kept for ranking (default: about 10 in all)."
)
@quiet_option
def command(
    algo: str,
    space: str,
    dataset: str | None,
    runs: int,
    seed: int,
    assignments: dict[str, str],
    table: str | None,
    final: str | None,
    out: Path | None,
    resume: bool,
    as_json: bool,
    **_: Any,
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

    context = click.get_current_context()
    searching, training, candidates = (given(context, mode) for mode in (TABLE, SUPERNET, CANDIDATES))
    record = registry.get(algo)
    if not spaces.is_graphs(space):
        spaces.get(space)  # which names the nearest
    if out is not None:
        check_writable(out)
        click.get_current_context().with_resource(claimed(out, "a run"))
    asked: dict[str, Any] = {"runs": runs, "seed": seed, "settings": assignments, "out": out}
    if spaces.is_graphs(space):
        from nasharness.cli.run_shrink import search as shrink

        measured = searching | {name: value for name, value in (("table", table), ("final", final)) if value}
        refuse(measured, f"space {space} has no table, its networks are trained")
        if dataset is not None:
            raise UsageError(
                f"--dataset {dataset}: of tables; space {space} trains on what {spaces.graphs(space).needs} gives"
            )
        shrink(algo, space, asked, training | candidates | {"resume": resume}, as_json)
        return
    if candidates:
        refuse(candidates, "such options go with the spaces " + " and ".join(spaces.graph_names()))
    if record.kind == registry.ONE_SHOT or "images" in training:
        record.require(registry.ONE_SHOT)
        if "images" not in training:
            record.require(registry.MULTI_TRIAL)  # which says that images are missing
        if "limits" in searching:
            first, *others = searching.pop("limits")
            if others:
                raise UsageError(f"--limit {first!r} and {len(others)} more: a supernet's loss counts one latency")
            training["limit"] = first
        refuse(searching, f"{algo} trains a supernet and asks no table; use --epochs for how long")
        from nasharness.cli.run_one_shot import train

        if "source_domains" in training:
            training["source_domains"] = [name.strip() for name in training["source_domains"].split(",")]
        if "device_cost" in training:
            if "device_cost" not in record.defaults:
                raise UsageError(f"--device-cost: {algo} counts no cost of a device; single-path does")
            asked["settings"] = assignments | {"device_cost": training.pop("device_cost")}
        train(
            algo,
            space,
            dataset or spaces.get(space).datasets[0],
            {"table": table, "final": final},
            asked | training | {"resume": resume},
            as_json,
        )
        return
    refuse(training, f"{algo} asks a table and trains nothing; such options go with one-shot algorithms")
    settings = record.settings(assignments)
    realised = searching.pop("realisations", None)
    problem = Problem.create(space, dataset, table=table, final=final, **{"repeats": "charged"} | searching)
    runs, seed = check_request(record, settings, problem, problem.evaluator(), runs, seed, keep=out is not None)
    if realised is not None:
        _replicated(record, settings, problem, realised, asked, as_json)
        return
    if out is not None:
        from nasharness.studies import write
        from nasharness.studies.of_result import study_of
        from nasharness.studies.run import check

        check(out, study_of(record, settings, problem, runs, seed), resume)
    elif resume:
        raise UsageError("--resume needs --out DIR, the folder of the run that is to go on")
    if not as_json:
        click.echo(header(problem, record, settings))
        click.echo()
    progress = Progress("runs")
    try:
        result = search(algo, problem, runs=runs, seed=seed, settings=settings, keep=out is not None, progress=progress)
    except Interrupted as interrupted:
        from nasharness.runs.signals import INTERRUPTED, Stopped

        raise Stopped(_kept(interrupted, out), INTERRUPTED) from None
    finally:
        progress.close()
    if out is not None:
        write(result, out, resume=resume)
    if as_json:
        click.echo(json.dumps(result.summary(), allow_nan=False))
        return
    click.echo(render(result, ascii=ascii_only()))
    click.echo(f"written    {out or 'nothing; --out DIR keeps every evaluation and winner.json'}")


def _replicated(
    record: Any, settings: dict[str, Any], problem: Any, realised: str, asked: dict[str, Any], as_json: bool
) -> None:
    """Search on several realisations of the signal, and say what that comes to."""
    from nasharness.search import replicate
    from nasharness.search.text import header

    if asked["out"] is not None:
        raise UsageError(
            f"--out and --realisations: keep them as a study: nasharness study --algo {record.name} --realisations "
            f"{realised} --out {asked['out']} ..."
        )
    signals = [str(one.signal) for one in problem.realised(realised)]
    if not as_json:
        click.echo(header(problem, record, settings).replace(str(problem.signal), ", ".join(signals), 1))
        click.echo()
    progress = Progress("runs")
    try:
        found = replicate(
            record.name, problem, realised, runs=asked["runs"], seed=asked["seed"], settings=settings, progress=progress
        )
    finally:
        progress.close()
    click.echo(json.dumps(found.summary(), allow_nan=False) if as_json else str(found))


def _kept(interrupted: Any, out: Path | None) -> str:
    """What was complete is written if it can be, and said in any case."""
    result = interrupted.result
    done = 0 if result is None else result.runs
    message = f"interrupted: {done:,} of {interrupted.runs:,} runs were complete"
    if result is not None and out is not None:
        from nasharness.studies import write

        if (out / "study.json").exists():
            return f"{message}; {out} is as it was"
        return f"{message} and are written to {write(result, out)}"
    if result is not None:
        return f"{message}; their mean final metric is {result.final.mean():.2f} % (--out DIR would have kept them)"
    return message
