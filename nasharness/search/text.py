"""A result as text for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasharness.search.problem import Problem
    from nasharness.search.registry import Record
    from nasharness.search.result import Result


def header(problem: Problem, record: Record, settings: dict[str, Any]) -> str:
    """What is about to be run: table, protocol, budget, algorithm with the settings that differ from its defaults."""
    table = problem.table
    changed = record.changed(settings)
    lines = [
        f"space      {problem.space.name} ({problem.space.size:,} architectures), data set {problem.dataset}",
        f"table      {table.name}: {table.version}, checksum {table.checksum[:12]}",
        f"protocol   signal {problem.signal} -> final {problem.final}; repeats {problem.repeats}",
        f"cost       {_first_clause(problem.cost_note())}",
        f"budget     {budget_text(problem)}",
        f"algorithm  {record.name}" + (f" with {pairs(changed)}" if changed else " with its defaults"),
    ]
    if "whole-signal" in record.needs:
        lines.append(
            "note       this algorithm reads the search signal of the whole table; it is a diagnostic, not a search"
        )
    if "fidelities" in record.needs and len(problem.evaluator().epochs) == 1:
        lines.append(
            f"note       {record.name} wants several fidelities; table {table.name!r} has {problem.signal} alone, so "
            "every evaluation is at full fidelity (the official table has them: nasharness data import)"
        )
    lines += [f"note       {note}" for note in problem.notes]
    return "\n".join(lines)


def budget_text(problem: Problem) -> str:
    """The budget in words."""
    parts = []
    if problem.evaluations is not None:
        parts.append(f"{problem.evaluations:,} evaluations")
    if problem.seconds is not None:
        about = problem.seconds / problem.evaluator().mean_cost
        parts.append(f"{problem.seconds:,.0f} simulated seconds (about {about:,.0f} evaluations)")
    return " and ".join(parts)


def render(result: Result, ascii: bool = False) -> str:  # noqa: A002 - as in Space.draw
    """The outcome: the winner drawn, final metric and regret with their intervals, cost and overhead."""
    summary = result.summary()
    problem = result.problem
    final, recommended, regret = summary["final"], summary["recommended"], summary["regret"]
    metric = str(problem.final)
    winner = result.winner
    votes = int((result.recommended == winner).sum())
    share = "" if result.runs == 1 else f", recommended by {votes:,} of {result.runs:,} runs"
    seeds = f"seed {summary['seed']}" if result.runs == 1 else f"seeds {result.seeds[0]} to {result.seeds[-1]}"
    lines = [
        f"winner     {summary['winner']['arch']}",
        f"           index {winner}{share}",
        "",
        *("  " + line for line in problem.space.draw(winner, ascii=ascii).splitlines()),
        "",
        f"runs       {result.runs:,} ({seeds})",
        f"final      {spread(final)} %  {metric} of the incumbent (best by signal)",
        f"recommend  {spread(recommended)} %  {metric} of the algorithm's own answer",
        f"regret     {spread(regret)}  of the incumbent, against the table's optimum {result.optimum:.2f} %",
        f"spent      {result.evaluations.mean():,.1f} evaluations{_clock(result)}"
        + (" (means over runs)" if result.runs > 1 else ""),
        f"overhead   {result.overhead_seconds:.3f} s of real time for all runs",
    ]
    return "\n".join(lines)


def _clock(result: Result) -> str:
    mean = result.seconds.mean()
    return "" if mean != mean else f", {mean:,.0f} simulated seconds"  # noqa: PLR0124 - NaN differs from itself


def spread(stats: dict[str, Any]) -> str:
    """A mean with its 95 % interval and standard deviation, where there are such."""
    text = f"{stats['mean']:.2f}"
    if stats.get("ci95") is None:
        return text
    low, high = stats["ci95"]
    text += f" [{low:.2f}, {high:.2f}]"
    return text + (f" std {stats['std']:.2f}" if "std" in stats else "")


def _first_clause(note: str) -> str:
    """A column's note can be long; `nasharness data status` shows all of it."""
    head, colon, _ = note.partition(": ")
    return head + "; see nasharness data status --table NAME)" if colon else note


def pairs(settings: dict[str, Any]) -> str:
    """``key=value, ...``."""
    return ", ".join(f"{key}={value}" for key, value in settings.items())
