"""A result as text for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nasharness.search.winner import lines as other_candidates
from nasharness.search.winner import words

if TYPE_CHECKING:
    from nasharness.search.problem import Problem
    from nasharness.search.registry import Record
    from nasharness.search.replicated import Replicated
    from nasharness.search.result import Result


def header(problem: Problem, record: Record, settings: dict[str, Any]) -> str:
    """What is about to be run: table, protocol, budget, algorithm with the settings that differ from its defaults."""
    table = problem.table
    changed = record.changed(settings)
    several = [
        f"{one.name} ({'min' if one.minimise else 'max'}{', known' if one.known else ''})" for one in problem.objectives
    ]
    lines = [
        f"space      {problem.space.name} ({problem.space.size:,} architectures), data set {problem.dataset}",
        f"table      {table.name}: {table.version}, checksum {table.checksum[:12]}",
        f"protocol   signal {problem.signal} -> final {problem.final}; repeats {problem.repeats}",
        f"start      {problem.start}",
        *([f"stages     {', '.join(map(str, problem.stages))}"] if problem.stages else []),
        *([f"sources    {', '.join(problem.environments)}"] if problem.environments else []),
        *([f"objectives {', '.join(several)}"] if len(several) > 1 and not problem.environments else []),
        *(f"limit      {limit}" for limit in problem.limits),
        *(f"device     {name}" for name in _devices(problem)),
        f"cost       {_first_clause(problem.cost_note())}",
        f"budget     {budget_text(problem)}",
        f"algorithm  {record.name}" + (f" with {pairs(changed)}" if changed else " with its defaults"),
        *(f"note       {note}" for note in problem.notes),
    ]
    return "\n".join(lines)


def render_replicated(found: Replicated) -> str:
    """What runs on several realisations come to, and a line for each."""
    summary, problem = found.summary(), found.results[0].problem
    unit = " %" if problem.objectives[0].unit == "percent" else ""
    lines = [
        f"runs       {summary['runs']:,} on each of {len(found.results)} realisations; intervals over both",
        f"final      {spread(summary['final'])}{unit}  {problem.final} of the incumbent (best by signal)",
        f"recommend  {spread(summary['recommended'])}{unit}  {problem.final} of the algorithm's own answer",
        f"regret     {spread(summary['regret'])}  of the incumbent",
        *_signal(summary, unit),
        "",
        *(
            f"  {one['signal']:<16} final {spread(one['final'])}, recommend {spread(one['recommended'])}, "
            f"winner {one['winner']['index'] if one['winner']['index'] is not None else one['winner']['arch']}"
            for one in summary["realisations"]
        ),
        "",
        *(f"caveat     {caveat}" for caveat in found.caveats),
    ]
    return "\n".join(lines)


def _devices(problem: Problem) -> list[str]:
    """Where the numbers of each device come from."""
    used = [*problem.objectives, *(limit.objective for limit in problem.limits)]
    return list(dict.fromkeys(f"{one.name} in {one.unit}: {one.device}" for one in used if one.device is not None))


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
    """The outcome: the winner drawn, final metric and regret with their intervals, cost, overhead and caveats."""
    summary = result.summary()
    problem, winner = result.problem, result.winner
    metric, unit = str(problem.final), " %" if problem.objectives[0].unit == "percent" else ""
    scored = "mean of all its trials" if problem.final.seed == "others" else "final"
    seeds = f"seed {summary['seed']}" if result.runs == 1 else f"seeds {result.seeds[0]} to {result.seeds[-1]}"
    named, others = summary["winner"], other_candidates(result.candidates, problem.space, result.runs, unit, scored)
    if named["arch"] is None:
        why = "found anything that keeps the limits" if problem.limits else "was shown the signal"
        picture = [f"winner     none: no run {why}"]
    else:
        index = f"index {named['index']}" if named["index"] is not None else f"of space {problem.space.name}"
        drawn = ["  " + line for line in problem.space.draw(winner, ascii=ascii).splitlines()]
        why = words(result.candidates[0], result.runs, unit, scored)
        picture = [f"winner     {named['arch']}", f"           {index}: {why}", "", *drawn]
    best = f", against the table's optimum {result.optimum:.2f}{unit}" if result.optimum == result.optimum else ""  # noqa: PLR0124
    lines = [
        *picture,
        "",
        *others,
        f"runs       {result.runs:,} ({seeds})",
        f"final      {spread(summary['final'])}{unit}  {metric} of the incumbent (best by signal)",
        f"recommend  {spread(summary['recommended'])}{unit}  {metric} of the algorithm's own answer",
        f"regret     {spread(summary['regret'])}  of the incumbent{best}",
        *_signal(summary, unit),
        *_fronts(result),
        f"spent      {result.evaluations.mean():,.1f} evaluations{_clock(result)}"
        + (" (means over runs)" if result.runs > 1 else ""),
        *([f"refused    {result.refused.mean():,.1f} proposals, known to break a limit"] if problem.limits else []),
        f"overhead   {result.overhead_seconds:.3f} s of real time for all runs",
        *(f"caveat     {caveat}" for caveat in result.caveats),
    ]
    return "\n".join(lines)


def _signal(summary: dict[str, Any], unit: str) -> list[str]:
    """How well the runs searched, apart from what the signal tells of the final metric."""
    found, own = summary["signal_regret"], summary["recommended_signal_regret"]
    if found is None:
        return []
    return [
        f"signal     regret {spread(found)}{unit} of the incumbent, {spread(own)}{unit} of the answer; "
        f"{found['at_maximum']:.0%} and {own['at_maximum']:.0%} of the runs are at its maximum"
    ]


def _fronts(result: Result) -> list[str]:
    """A line or two about the fronts, where there are several objectives."""
    front = result.front
    if front is None:
        return []
    if front.note:
        return [f"front      {front.note}"]
    known = front.summary()
    return [
        f"front      hypervolume {100 * known['hypervolume']['mean']:.1f} % of the exact front's, IGD+ "
        f"{known['igd_plus']['mean']:.4f}, {known['size']:.1f} members (exact: {len(front.exact)})"
    ]


def _clock(result: Result) -> str:
    mean = result.seconds.mean()
    return "" if mean != mean else f", {mean:,.0f} simulated seconds"  # noqa: PLR0124 - NaN differs from itself


def spread(stats: dict[str, Any]) -> str:
    """A mean with its 95 % interval and standard deviation, where there are such."""
    if stats["mean"] is None:
        return "none"
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
