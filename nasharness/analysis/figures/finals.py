"""Where runs end: the distribution of the final metric, and the critical-difference diagram."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nasharness.analysis.figures.curves import shared_seeds
from nasharness.analysis.figures.source import Panel, StudyView
from nasharness.analysis.figures.style import COLUMN, MUTED, TEXT, points, seaborn, setting, sheet, shortened
from nasharness.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Runs of an algorithm that are drawn as points, at most.
SHOWN = 60
ECDF_NOTE = "Share of runs whose incumbent's final metric is at most that; further right is better."
RUNS_NOTE = (
    "Boxes: middle half of the runs and median; whiskers: 5th to 95th percentile; diamonds: means; dots: up to 60 runs."
)


def ecdf(source: StudyView) -> pd.DataFrame:
    """Distribution of the final metric: dataset, algorithm, final, share of runs up to it."""
    import pandas as pd

    parts = []
    for panel in source.panels:
        for runs in panel.runs:
            values, counts = np.unique(runs.last["final"].to_numpy(), return_counts=True)
            share, count = np.cumsum(counts) / counts.sum(), int(counts.sum())
            columns = {
                "panel": panel.title,
                "algorithm": runs.algorithm,
                "final": values,
                "share": share,
                "runs": count,
            }
            parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def draw_ecdf(source: StudyView, data: pd.DataFrame) -> Figure:
    """One panel a data set; the lowest hundredth of all runs may lie left of it."""
    sns = seaborn()
    made = sheet(len(source.panels), legend=source.legend, note=f"{ECDF_NOTE} {source.note}")
    for axes, panel in zip(made.panels[0], source.panels, strict=True):
        rows = data[data["panel"] == panel.title]
        low, high = _limits(panel)
        for number, (label, own) in enumerate(rows.groupby("algorithm", observed=True, sort=False)):
            look = source.looks[str(label)]
            each = np.rint(np.diff(own["share"], prepend=0) * own["runs"])
            sns.ecdfplot(x=own["final"], weights=each, ax=axes, label=str(label), color=look.colour,
                         linestyle=look.dash, marker=look.marker, markersize=3.2 * look.size)  # fmt: skip
            line = axes.lines[-1]
            x, y = (np.asarray(one, dtype=np.float64) for one in line.get_data())
            line.set_data(np.append(x, max(high, x[-1])), np.append(y, 1.0))  # to the edge, where seaborn's ends
            inside = np.flatnonzero((x >= low) & (x <= high))
            place = int(len(inside) * (0.2 + 0.06 * number) % len(inside)) if len(inside) else 0
            line.set_markevery([int(inside[place])] if len(inside) else [])
        axes.set_xlim(low, high)
        axes.set_ylim(0, 1.02)
        axes.locator_params(axis="x", nbins=5)
    made.label(source.titles, "final metric (%)", "share of runs")
    return made.figure


def _limits(panel: Panel) -> tuple[float, float]:
    lows = [float(np.quantile(runs.last["final"], 0.05)) for runs in panel.runs]
    # an algorithm far below all others must not squeeze them
    low = max(min(lows), panel.best - 3 * (panel.best - float(np.median(lows))))
    high = panel.best
    span = max(high - low, 1e-3)
    return low - 0.04 * span, high + 0.03 * span


def final_runs(source: StudyView) -> pd.DataFrame:
    """Final metric of runs, by ``part``: 5%, 25%, 50%, 75%, 95% and mean of an algorithm; ``run`` for each dot."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for panel in source.panels:
        for runs in panel.runs:
            values = runs.last["final"].to_numpy()
            base = {"panel": panel.title, "algorithm": runs.algorithm, "runs": len(values)}
            marks = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
            rows += [
                base | {"part": part, "final": mark}
                for part, mark in zip(("5%", "25%", "50%", "75%", "95%"), marks, strict=True)
            ]
            rows.append(base | {"part": "mean", "final": values.mean()})
            shown = np.unique(np.linspace(0, len(values) - 1, min(SHOWN, len(values))).astype(int))
            rows += [base | {"part": "run", "seed": int(runs.last["seed"].iloc[i]), "final": values[i]} for i in shown]
    made = pd.DataFrame(rows)
    made["seed"] = made["seed"].astype("Int64") if "seed" in made else pd.NA
    return made


def draw_final_runs(source: StudyView, data: pd.DataFrame) -> Figure:
    """Boxes and dots, the best mean on top; names once, since the order is that of the first data set."""
    first = data[(data["panel"] == source.panels[0].title) & (data["part"] == "mean")]
    order = first.sort_values("final", ascending=False, kind="stable")["algorithm"].tolist()
    order += [label for label in source.algorithms if label not in order]
    longest = max(len(shortened(label)) for label in order)
    made = sheet(
        len(source.panels),
        height=0.2 + 0.17 * len(order),
        note=f"{RUNS_NOTE} {source.note}",
        left=0.14 + 0.058 * longest,
        gap=0.2,
    )
    for column, (axes, panel) in enumerate(zip(made.panels[0], source.panels, strict=True)):
        rows = data[data["panel"] == panel.title]
        _boxes(axes, panel, rows, order, [source.looks[label].colour for label in order])
        axes.set_xlim(*_limits(panel))
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.set_yticks(
            range(len(order)), [shortened(label) for label in order] if made.leftmost(column) else [""] * len(order)
        )
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(False, axis="y")
        axes.axvline(panel.best, color=MUTED, linewidth=0.7, linestyle=(0, (1, 2)))
        axes.locator_params(axis="x", nbins=5)
    made.label(source.titles, "final metric (%)", "")
    return made.figure


def _boxes(axes: Axes, panel: Panel, rows: pd.DataFrame, order: Sequence[str], colours: Sequence[str]) -> None:
    """Boxes of all runs, and of some of them a dot, a row an algorithm."""
    import pandas as pd

    sns = seaborn()
    last = [runs.last.assign(algorithm=runs.algorithm)[["algorithm", "final"]] for runs in panel.runs]
    told: dict[str, Any] = {"x": "final", "y": "algorithm", "order": order, "hue": "algorithm", "hue_order": order,
                            "palette": list(colours), "legend": False, "ax": axes}  # fmt: skip
    dots = rows[rows["part"] == "run"].astype({"algorithm": str})
    before = len(axes.collections)
    sns.stripplot(dots, **told, jitter=False, size=1.9, alpha=0.4, linewidth=0, zorder=2)
    for placed in axes.collections[before:]:
        # spread by a fixed sequence that fills the row evenly (golden ratio); seaborn's own is random
        offsets = np.array(placed.get_offsets())
        offsets[:, 1] += (np.arange(len(offsets)) * 0.618034 % 1 - 0.5) * 0.56
        placed.set_offsets(offsets)
    with warnings.catch_warnings():  # seaborn 0.13.2 still gives matplotlib `vert`, which 3.10 deprecates
        warnings.filterwarnings("ignore", "vert: bool")
        sns.boxplot(
            pd.concat(last).astype({"algorithm": str}), **told, whis=(5, 95), width=0.5, fill=False, linewidth=0.9,
            gap=0, showcaps=False, showfliers=False, showmeans=True,
            medianprops={"linewidth": 1.8}, meanprops={"marker": "D", "markersize": 2.6, "zorder": 6},
        )  # fmt: skip
    axes.set(xlabel="", ylabel="")
    for mean, colour in zip([line for line in axes.lines if line.get_marker() == "D"], colours, strict=False):
        mean.set(markerfacecolor=colour, markeredgecolor=colour)


def critical_difference(source: StudyView) -> pd.DataFrame:
    """Mean ranks over all blocks (data set x seed), Friedman's p, Nemenyi's critical difference and the groups.

    ``groups``: numbers of the bars that an algorithm is part of: those under one bar are not told apart at 5 %.
    """
    import pandas as pd

    from nasharness.analysis.statistics import ranks
    from nasharness.analysis.statistics.significance import critical_difference as nemenyi_difference
    from nasharness.analysis.statistics.significance import friedman

    labels = [
        label for label in source.algorithms if all(label in [r.algorithm for r in p.runs] for p in source.panels)
    ]
    if len(labels) < 3:
        raise UsageError(f"{len(labels)} of the algorithms have runs on every data set; Friedman's test needs 3")
    blocks = []
    for panel in source.panels:
        seeds = sorted(shared_seeds(panel))
        by_label = {runs.algorithm: runs.last.set_index("seed")["final"] for runs in panel.runs}
        blocks.append(np.stack([by_label[label].loc[seeds].to_numpy() for label in labels]))
    scores = np.round(np.concatenate(blocks, axis=1), 9)[..., None]
    count = scores.shape[1]
    if count < 2:
        raise UsageError("one run on one data set; Friedman's test needs at least 2 blocks")
    mean_ranks = ranks(scores).mean(axis=(1, 2))
    tested = friedman(scores)
    difference = nemenyi_difference(len(labels), count)
    order = np.argsort(mean_ranks, kind="stable")
    members = _groups(mean_ranks[order], difference)
    return pd.DataFrame(
        {
            "algorithm": [labels[i] for i in order],
            "mean_rank": mean_ranks[order],
            "groups": [
                " ".join(str(number) for number, (a, b) in enumerate(members) if a <= i <= b) for i in range(len(order))
            ],
            "critical_difference": difference,
            "friedman_chi2": tested.statistic,
            "friedman_p": tested.p,
            "blocks": count,
        }
    )


def _groups(ordered: Any, difference: float) -> list[tuple[int, int]]:
    """Longest stretches (first, last) of sorted mean ranks no wider than the critical difference, two or more long."""
    found: list[tuple[int, int]] = []
    for first in range(len(ordered)):
        last = int(np.searchsorted(ordered, ordered[first] + difference, side="right")) - 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def draw_critical_difference(source: StudyView, data: pd.DataFrame) -> Figure:
    """Demsar's diagram (JMLR 2006): ranks on a line, names left and right, bars join what is not told apart."""
    count = len(data)
    difference, p = float(data["critical_difference"].iloc[0]), float(data["friedman_p"].iloc[0])
    groups = sorted({int(number) for text in data["groups"] for number in text.split()})
    bars = 0.09 * len(groups)
    narrow = setting().width == "column"  # names stand on one side alone: two leave no room for the line
    half = count if narrow else -(-count // 2)
    text = setting().text
    names = {label: shortened(label, 20 if narrow else 28) for label in data["algorithm"]}
    height = 0.42 + 0.3 * (text - 1) + bars + 0.16 * half + 0.05
    shown_p = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    note = (
        f"Mean rank of the final metric over {int(data['blocks'].iloc[0]):,} blocks (data set x seed), 1 the best. "
        f"Friedman {shown_p}; bars join algorithms closer than Nemenyi's critical difference at 5 %. {source.note}"
    )
    made = sheet(1, height=height, note=note, width=5.0, left=0.1, xlabel=0.02, top=0.06)
    axes = made.panels[0][0]
    axes.axis("off")
    margin = 0.055 * text * max(map(len, names.values())) + 0.45 * text
    width = (COLUMN if narrow else 5.0) - 0.2
    ends = 0.15 if narrow else margin
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    line = 0.34 + 0.3 * (text - 1)
    ranks = data["mean_rank"].to_numpy()

    def place(rank: float) -> float:
        return margin + (rank - 1) / max(count - 1, 1) * (width - margin - ends)

    axes.plot([place(1), place(count)], [line, line], color=TEXT, linewidth=0.8)
    for tick in range(1, count + 1):
        axes.plot([place(tick)] * 2, [line - 0.05, line], color=TEXT, linewidth=0.8)
        axes.text(place(tick), line - 0.08, str(tick), ha="center", va="bottom", fontsize=points(6.5))
    unit = place(2) - place(1)
    axes.plot([place(1), place(1) + difference * unit], [0.08, 0.08], color=TEXT, linewidth=1.6, solid_capstyle="butt")
    axes.text(
        place(1) + difference * unit + 0.06,
        0.08,
        f"critical difference {difference:.2f}",
        va="center",
        fontsize=points(6),
    )
    for row, number in enumerate(groups):
        own = ranks[[str(number) in text.split() for text in data["groups"]]]
        y = line + 0.09 + 0.09 * row
        axes.plot(
            [place(own.min()) - 0.03, place(own.max()) + 0.03],
            [y, y],
            color=MUTED,
            linewidth=2.6,
            solid_capstyle="butt",
        )
    for row, (label, rank) in enumerate(zip(data["algorithm"], ranks, strict=True)):
        left = row < half
        y = line + 0.17 + bars + 0.16 * (row if left else count - 1 - row)
        look = source.looks[label]
        end = margin - 0.12 if left else width - margin + 0.12
        axes.plot([place(rank), place(rank), end], [line, y, y], color=look.colour, linewidth=0.9, zorder=1)
        axes.plot(place(rank), line, look.marker, color=look.colour, markersize=2.8 * look.size, zorder=3)
        words = f"{names[label]}  {rank:.2f}" if left else f"{rank:.2f}  {names[label]}"
        axes.text(
            end - 0.05 if left else end + 0.05,
            y,
            words,
            ha="right" if left else "left",
            va="center",
            fontsize=points(6.5),
        )
    return made.figure
