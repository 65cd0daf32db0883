"""One-shot runs as text for a person."""

from __future__ import annotations

from typing import Any

from nasharness import spaces
from nasharness.search.text import pairs, spread
from nasharness.search.winner import lines as other_candidates
from nasharness.search.winner import words
from nasharness.supernets.build import STEMS
from nasharness.supernets.judge import Judge
from nasharness.supernets.request import OneShotRequest
from nasharness.supernets.result import OneShotResult
from nasharness.supernets.session import Epoch


def header(request: OneShotRequest, judge: Judge) -> str:
    """What is about to be run: images, supernet, training, table, algorithm with the settings that are changed."""
    space, recipe, record = spaces.get(request.space), request.recipe, request.record
    changed = record.changed(request.settings)
    if judge.problem is None:
        table = f"none: {judge.why}"
    else:
        found = judge.problem.table
        table = f"{found.name}: {found.version}, checksum {found.checksum[:12]}; judged by {judge.problem.final}"
    size = f"{recipe.channels} channels, " if not space.ordinal else ""
    stages = f"{size}{recipe.cells} cell{'s' if recipe.cells > 1 else ''} a stage"
    if space.name in STEMS:
        stages = f"{len(space.sizes)} layers, {recipe.channels} channels in the stem"
    lines = [
        f"space      {space.name} ({space.size:,} architectures), data set {request.dataset}",
        f"images     {request.images.name}: {request.images.source}",
        f"split      {request.split.note}",
        f"table      {table}",
        f"supernet   {stages}; on {', '.join(request.devices)}",
        f"training   {recipe.epochs} epochs, batch {recipe.batch}, learning rate {recipe.lr:g} to {recipe.lr_end:g}, "
        f"weight decay {recipe.weight_decay:g}",
        f"algorithm  {record.name}" + (f" with {pairs(changed)}" if changed else " with its defaults"),
        *(f"note       {note}" for note in request.notes),
    ]
    if request.out is None:
        lines.append("note       nothing is kept: --out DIR keeps a checkpoint an epoch, the results, and winner.json")
    return "\n".join(lines)


def line(epoch: Epoch, final: float | None, space: str, dataset: str) -> str:
    """One epoch in one line; the table's number is for the reader, the algorithm never sees it."""
    parts = [f"epoch {epoch.epoch:>{len(str(epoch.epochs))}}/{epoch.epochs}", f"loss {epoch.loss:.3f}"]
    parts.append(f"accuracy {epoch.accuracy:.1f} %")
    if epoch.entropy is not None:
        parts.append(f"entropy {epoch.entropy:.3f}")
    if epoch.left is not None:
        parts.append(f"options {epoch.left[0]}/{epoch.left[1]}")
    if epoch.arch is not None:
        parts.append(f"derived {epoch.arch}" if isinstance(epoch.arch, int) else f"signal {epoch.signal:.1f} %")
        if final is not None:
            parts.append(f"{dataset} {final:.2f} %")
    if epoch.held_out is not None:
        parts += [f"source {epoch.signal:.1f} %", f"held out {epoch.held_out:.1f} %"]
    parts += [f"{epoch.images_per_second:,.0f} images/s", f"{epoch.seconds:.1f} s"]
    if epoch.remark:
        parts.append(epoch.remark)
    elif epoch.arch is not None:
        parts.append(spaces.get(space).string(epoch.arch))
    return "  ".join(parts)


def render(result: OneShotResult, ascii: bool = False) -> str:  # noqa: A002 - as in Space.draw
    """The outcome: the winner drawn, what the table says of every run, time and memory."""
    summary, request = result.summary(), result.request
    space = spaces.get(request.space)
    others = other_candidates(result.candidates, space, len(result.runs), " %")
    seeds = f"seed {request.seeds[0]}" if len(result.runs) == 1 else f"seeds {request.seeds[0]} to {request.seeds[-1]}"
    index = "" if space.arch_shape else f"index {result.winner}: "
    lines = [
        f"winner     {summary['winner']['arch']}",
        f"           {index}{words(result.candidates[0], len(result.runs), ' %')}",
        "",
        *("  " + line for line in space.draw(result.winner, ascii=ascii).splitlines()),
        "",
        *others,
        f"runs       {len(result.runs):,} ({seeds}), {request.recipe.epochs} epochs each",
        *_held_out(result),
        *_verdict(result, summary, space.size),
        f"spent      {summary['seconds']['mean']:,.1f} s of real time a run, "
        f"{summary['images_per_second']['mean']:,.0f} images/s, "
        f"{summary['peak_memory_bytes'] / 2**20:,.0f} MiB at most, on {summary['device']}",
        f"cost       {summary['images_x_candidates']['mean']:,.0f} images x candidates a run",
        f"images     {request.images.name}: {request.images.source}",
        *(f"note       {note}" for note in result.notes),
    ]
    return "\n".join(lines)


def _held_out(result: OneShotResult) -> list[str]:
    """Accuracies on the held-out domain, by each selection, and which one the answer is by."""
    found = result.domains()
    if not found:
        return []
    told = {
        "source": f"of the epoch that is best on source images ({_epochs(result, 'source')})",
        "last": "of the last epoch",
        "oracle": f"of the epoch that is best on the target ({_epochs(result, 'oracle')}), which nobody can know",
    }
    lines: list[str] = []
    for select, words_ in told.items():
        scored = found["accuracy"][select]
        value = f"{spread(scored)} %" if "mean" in scored else "not known"
        mark = "; the answer is of this" if select == found["selected"] else ""
        lines.append(f"{'held out' if not lines else '':<11}{value}  {words_}{mark}")
    domains = f"the domain {found['target']} of {result.request.images.name}, trained on {', '.join(found['sources'])}"
    return [f"domains    {domains}", *lines]


def _epochs(result: OneShotResult, select: str) -> str:
    return "epoch " + ", ".join(str(run.chosen(select).epoch) for run in result.runs)


def _verdict(result: OneShotResult, summary: dict[str, Any], size: int) -> list[str]:
    problem, standings = result.judge.problem, result.standings
    if problem is None:
        return ["final      not known: no table can judge"]
    lines = [
        f"final      {spread(summary['final'])} %  {problem.final} of what was derived, on {result.request.dataset}"
    ]
    if len(standings) == 1:
        lines.append(f"standing   {standings[0].words(size)}")
    else:
        better = sum(standing.final > standing.median for standing in standings)
        shares = ", ".join(f"{100 * standing.beats:.1f}" for standing in standings)
        lines += [
            f"standing   {better} of {len(standings)} runs better than the median architecture "
            f"({standings[0].median:.2f} %); by seed they beat {shares} % of all {size:,}",
            "           "
            + ", ".join(f"seed {run.seed}: {one.final:.2f} %" for run, one in zip(result.runs, standings, strict=True)),
        ]
    return [*lines, f"regret     {spread(summary['regret'])}  against the table's optimum {result.judge.optimum:.2f} %"]
