"""``nasharness study``."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nasharness.cli.completion import Names
from nasharness.cli.options import asked_of_a_table, check_writable
from nasharness.cli.terminal import Progress, quiet_option
from nasharness.errors import DataError, UsageError

if TYPE_CHECKING:
    from nasharness.studies import Plan, Study
    from nasharness.studies.estimate import Estimate


@click.command("study")
@click.argument("plan_file", required=False, type=click.Path(path_type=Path), metavar="[PLAN.toml]")
@click.option(
    "--algo",
    type=Names("algos"),
    metavar="A,B,...|all",
    help="Algorithms (nasharness list algos); rea(population=20) changes a setting of one.",
)
@click.option("--space", type=Names("spaces"), metavar="NAME", help="Search space (default tss).")
@click.option("--dataset", type=Names("datasets"), metavar="A,B,...|all", help="Data sets (default cifar10).")
@click.option("--runs", type=int, metavar="N", help="Runs of each algorithm on each data set (default 1).")
@click.option("--seed", type=int, metavar="N", help="Seed of the first run (default 0); the next has the next one.")
@asked_of_a_table()
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the study (default results/PLAN)."
)
@click.option("--resume", is_flag=True, help="Go on with the study in --out; without a plan, with the one it has.")
@click.option("--jobs", default=1, show_default=True, metavar="N", help="Processes side by side.")
@click.option(
    "--ray", is_flag=False, flag_value="", metavar="[ADDRESS]", help="Run on a Ray cluster; a local one by default."
)
@click.option("--dry-run", is_flag=True, help="Print the plan with its estimate, and do nothing.")
@quiet_option
def command(
    plan_file: Path | None,
    algo: str | None,
    dataset: str | None,
    assignments: dict[str, str],
    out: Path | None,
    resume: bool,
    jobs: int,
    ray: str | None,
    dry_run: bool,
    **options: Any,
) -> None:
    """Run a study: algorithms x data sets x seeds, written as shards that survive whatever happens.

    PLAN.toml holds the same as the options: algorithms, space, datasets, runs, seed, evaluations, seconds, budget,
    signal, final, repeats, table, objectives, limits, start, realisations, stages, environments, target, and
    [settings]. Options replace what the file says.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # before numpy reads them: processes are the parallelism, threads would fight
    from nasharness.studies import Study, run_study
    from nasharness.studies.estimate import estimate
    from nasharness.studies.forecast import left_by_now
    from nasharness.studies.plan import count, share
    from nasharness.studies.run import check, resume_command, tables_there

    changes: dict[str, Any] = {key: value for key, value in options.items() if value is not None and value != ()}
    changes |= {key: value for key, value in (("algorithms", algo), ("datasets", dataset)) if value is not None}
    if assignments:
        changes["settings"] = assignments
    if out is None and plan_file is not None:
        out = Path("results") / plan_file.stem
    plan = _plan(plan_file, changes, out, resume)
    if jobs < 1:
        raise UsageError(f"--jobs {jobs}: expected a whole number of at least 1")
    study = Study.of(plan, tables_there(out) if resume and out is not None else None)
    done = _done(study, out) if out is not None else set()
    cost = estimate(study, jobs, done) if len(done) < len(study.shards()) else None
    described = describe(study, out, jobs, ray, done, cost)
    if dry_run:
        click.echo(described)
        return
    if out is None:
        raise UsageError("a study needs a folder: --out results/NAME")
    check_writable(out)
    check(out, study, resume)
    total = len(study.shards())
    click.echo(described)
    folder = out
    progress = Progress("runs", left=lambda: left_by_now(folder))
    expected = None if cost is None else cost.each
    try:
        run_study(study, out, jobs=jobs, ray=ray, resume=resume, progress=progress, expected=expected)
    except KeyboardInterrupt:
        kept = len(_done(study, out))
        from nasharness.runs.signals import INTERRUPTED, Stopped

        said = f"interrupted: {share(kept, total, 'shard')} complete; go on with: {resume_command(out)}"
        raise Stopped(said, INTERRUPTED) from None
    finally:
        progress.close()
    size = sum(path.stat().st_size for path in (out / "shards").glob("*.parquet"))
    click.echo(
        f"written    {out}: {count(total, 'shard')}, {_size(size)}; next: nasharness compare {shlex.quote(str(out))}"
    )


def _plan(file: Path | None, changes: dict[str, Any], out: Path | None, resume: bool) -> Plan:
    from nasharness.studies import Plan, read_plan
    from nasharness.studies.folder import read_meta

    if file is not None:
        return read_plan(file, **changes)
    if resume and out is not None and "algorithms" not in changes:
        if changes:
            raise UsageError(f"--resume without --algo takes the plan of {out}; leave out {', '.join(changes)}")
        if out.is_dir() and not (out / "study.json").exists():
            raise DataError(
                f"no study in {out}: it was stopped before its study.json was written, which holds the plan; start it "
                f"with its plan: nasharness study PLAN.toml --resume --out {shlex.quote(str(out))}, or "
                "--algo ... and what it had"
            )
        return Plan.create(**{key: value for key, value in read_meta(out)["plan"].items() if value is not None})
    return Plan.create(**changes)


def _done(study: Study, out: Path) -> set[str]:
    """Shards of just this study that are there; looks, and changes nothing."""
    from nasharness.studies.folder import is_whole

    names = (shard.name for shard in study.shards())
    return {name for name in names if is_whole(out / "shards" / f"{name}.parquet", study.identity)}


def describe(study: Study, out: Path | None, jobs: int, ray: str | None, done: set[str], cost: Estimate | None) -> str:
    """The plan for a person: what, on what, how many, how long, how large."""
    from nasharness.analysis.caveats import before
    from nasharness.search.text import budget_text
    from nasharness.studies.plan import count, share

    plan = study.plan
    shards = study.shards()
    each = len(study.problems) // len(plan.datasets)
    lines = [
        f"study      {count(len(plan.algorithms), 'algorithm')} x {count(len(plan.datasets), 'data set')} x "
        + (f"{each} realisations x " if plan.realisations else "")
        + f"{count(plan.runs, 'run')} = {count(each * plan.total_runs, 'run')} in {count(len(shards), 'shard')}",
        f"seeds      {plan.seed} to {plan.seed + plan.runs - 1}",
        *_wrapped("algorithms", [str(choice) for choice in plan.algorithms]),
    ]
    for place, problem in enumerate(study.problems[::each]):
        signals = [str(one.signal) for one in study.problems[place * each : (place + 1) * each]]
        lines.append(
            f"data set   {problem.dataset}: table {problem.table.name} ({problem.table.version}, "
            f"checksum {problem.table.checksum[:12]})"
        )
        lines.append(
            f"           signal {', '.join(signals)} -> final {problem.final}; repeats {problem.repeats}; "
            f"{budget_text(problem)}"
        )
        lines += [] if problem.start.own else [f"           start {problem.start}"]
        lines += [f"           note: {note}" for note in problem.notes]
    lines += [f"caveat     {caveat}" for caveat in before(study.cells)]
    if done:
        lines.append(f"there      {share(len(done), len(shards), 'shard')} complete")
    if cost is not None:
        where = f"on {jobs} process{'es' if jobs > 1 else ''}"
        if ray is not None:
            where, cost_text = "over the processors of the Ray cluster", f"about {_time(cost.cpu_seconds)} of work"
        else:
            cost_text = f"about {_time(cost.seconds)}"
        lines.append(f"estimate   {cost_text} {where}, {_size(cost.bytes)} on disk (from a probe of each algorithm)")
    if out is not None:
        lines.append(f"out        {out}")
    return "\n".join(lines)


def _wrapped(title: str, words: list[str], width: int = 100) -> list[str]:
    lines = [f"{title:<10}"]
    for number, word in enumerate(words):
        text = word + ("," if number < len(words) - 1 else "")
        if len(lines[-1]) + 1 + len(text) > width:
            lines.append(" " * 10)
        lines[-1] += " " + text
    return lines


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.1f} h"
