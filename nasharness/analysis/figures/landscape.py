"""What the table looks like: search signal against final metric, accuracy against cost, and where algorithms land."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nasharness.analysis.figures.source import Floats, Panel, Runs, StudyView
from nasharness.analysis.figures.style import MUTED, PAPER, TEXT, Look, points, sheet
from nasharness.analysis.statistics.correlation import kendall
from nasharness.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nasharness.search import Problem

BINS = 56
#: Share of the architectures, best by final metric, that the enlargement shows.
TOP = 0.05
LANDSCAPE_NOTE = (
    "Above: all architectures, stronger where there are more. Below: the top enlarged; markers: mean over an "
    "algorithm's incumbents; star: best by final metric; ring: best by signal. "
    "Signals are those of each architecture's first trial."
)
PARETO_NOTE = (
    "Grey: architectures, stronger where there are more; line: Pareto front; markers: mean over an algorithm's "
    "incumbents, with lines from the 25th to the 75th percentile of each axis. MACs of one image, in closed form."
)


def landscape(source: StudyView) -> pd.DataFrame:
    """Rows by ``part``: ``bin`` (x0, x1, y0, y1, count), ``top`` (index, signal, final), ``optimum``, ``best_signal``,
    ``algorithm`` (means of its incumbents) and ``kendall`` (in x0: of all, in y0: of the top). Signals are those of
    each architecture's first trial. Raises DataError where the table is not here.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for panel in source.panels:
        problem = panel.problem()
        signal, final = _one_trial(problem), problem.truth().values
        base = {"panel": panel.title}
        rows += [base | {"part": "bin"} | cell for cell in _bins(signal, final, _whole(signal), _whole(final))]
        low_s, low_f = np.quantile(signal, 1 - TOP), np.quantile(final, 1 - TOP)
        inside = np.flatnonzero((signal >= low_s) & (final >= low_f))
        best = {"optimum": int(final.argmax()), "best_signal": int(signal.argmax())}
        for part, indices in {"top": inside.tolist(), **{part: [index] for part, index in best.items()}}.items():
            rows += [base | {"part": part, "index": i, "signal": signal[i], "final": final[i]} for i in indices]
        for runs in panel.runs:
            ids = runs.last["incumbent"].to_numpy()
            mean = {"signal": signal[ids].mean(), "final": final[ids].mean()}
            rows.append(base | {"part": "algorithm", "algorithm": runs.algorithm, "runs": len(ids)} | mean)
        top = final >= low_f
        rows.append(base | {"part": "kendall", "x0": kendall(signal, final), "y0": kendall(signal[top], final[top])})
    made = pd.DataFrame(rows)
    made["index"] = made["index"].astype("Int64")
    return made


def _one_trial(problem: Problem) -> Floats:
    """What one evaluation of every architecture yields: its first trial. The mean over trials would flatter it."""
    evaluator = problem.evaluator()
    ids = np.arange(problem.space.size, dtype=np.int32)
    return evaluator.signal_of_trial(ids, len(evaluator.epochs) - 1, np.zeros(len(ids), dtype=np.intp))


def _whole(values: Floats) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _bins(x: Floats, y: Floats, xs: tuple[float, float], ys: tuple[float, float]) -> list[dict[str, Any]]:
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=BINS, range=(_wide(xs), _wide(ys)))
    return [
        {"x0": x_edges[i], "x1": x_edges[i + 1], "y0": y_edges[j], "y1": y_edges[j + 1], "count": int(counts[i, j])}
        for i, j in np.argwhere(counts > 0)
    ]


def _wide(span: tuple[float, float]) -> tuple[float, float]:
    return span if span[1] > span[0] else (span[0] - 0.5, span[1] + 0.5)


def draw_landscape(source: StudyView, data: pd.DataFrame) -> Figure:
    """Two rows: everything, and the top enlarged."""
    made = sheet(
        len(source.panels), 2, legend=source.legend, note=f"{LANDSCAPE_NOTE} {source.note}", lines=False, row_gap=0.5
    )
    for column, panel in enumerate(source.panels):
        rows = data[data["panel"] == panel.title]
        above, below = made.panels[0][column], made.panels[1][column]
        _cloud(above, rows[rows["part"] == "bin"])
        above.autoscale_view()
        tau = rows[rows["part"] == "kendall"].iloc[0]
        text = f"Kendall's tau {tau['x0']:.2f}\nin the top {TOP:.0%} {tau['y0']:.2f}"
        above.text(0.04, 0.95, text, transform=above.transAxes, va="top", fontsize=points(6))
        _enlarged(below, source, rows)
    made.label(source.titles, "search signal (%)", "final metric (%)")
    made.panels[1][0].set_ylabel("final metric (%), top")
    return made.figure


def _cloud(axes: Axes, bins: pd.DataFrame) -> None:
    from matplotlib.collections import PolyCollection

    corners = bins[["x0", "x1", "y0", "y1"]].to_numpy(dtype=float)
    polygons = np.stack([corners[:, [0, 2]], corners[:, [1, 2]], corners[:, [1, 3]], corners[:, [0, 3]]], axis=1)
    count = bins["count"].to_numpy(dtype=float)
    shade = 0.12 + 0.78 * np.log1p(count) / np.log1p(count.max()) if len(count) else count
    axes.add_collection(PolyCollection(list(polygons), facecolors=MUTED, alpha=shade, edgecolors="none", zorder=1.5))


def _enlarged(axes: Axes, source: StudyView, rows: pd.DataFrame) -> None:
    top = rows[rows["part"] == "top"]
    axes.scatter(top["signal"], top["final"], s=2.2, color=MUTED, alpha=0.55, linewidths=0, zorder=2)
    for part, marker, size in (("optimum", "*", 42), ("best_signal", "o", 30)):
        one = rows[rows["part"] == part]
        filled = TEXT if part == "optimum" else "none"
        axes.scatter(
            one["signal"], one["final"], s=size, marker=marker, facecolors=filled, edgecolors=TEXT, linewidths=0.7,
            zorder=4, clip_on=False,
        )  # fmt: skip
    for own in rows[rows["part"] == "algorithm"].itertuples():
        _mark(axes, source.looks[own.algorithm], own.signal, own.final)
    axes.locator_params(axis="both", nbins=5)


def _mark(axes: Axes, look: Look, x: float, y: float) -> None:
    edge = {"markeredgecolor": PAPER, "markeredgewidth": 0.5}
    axes.plot(x, y, look.marker, color=look.colour, markersize=4.4 * look.size, zorder=6, **edge)  # type: ignore[arg-type]


def pareto(source: StudyView) -> pd.DataFrame:
    """Rows by ``part``: ``bin`` (x0, x1, y0, y1, count), ``front`` (index, macs, final), ``algorithm`` (means and
    quartiles of its incumbents' MACs and final metric). MACs in millions. Raises DataError as ``landscape`` does.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for panel in source.panels:
        final = panel.problem().truth().values
        if "macs" not in panel.space.closed_forms:
            raise DataError(f"space {panel.space.name} does not tell the MACs of its architectures")
        macs = panel.space.flops(np.arange(panel.space.size), panel.dataset)
        base = {"panel": panel.title}
        landed = [_landing(runs, macs) for runs in panel.runs]
        low = min(row["final_low"] for row in landed)
        low -= 0.6 * max(panel.best - low, 1e-3)
        rows += [base | {"part": "bin"} | cell for cell in _bins(macs, final, _whole(macs), (low, panel.best))]
        rows += [
            base | {"part": "front", "index": int(i), "macs": macs[i], "final": final[i]} for i in front(macs, final)
        ]
        rows += [base | {"part": "algorithm"} | row for row in landed]
    made = pd.DataFrame(rows)
    made["index"] = made["index"].astype("Int64")
    return made


def _landing(runs: Runs, macs: Floats) -> dict[str, Any]:
    own, final = macs[runs.last["incumbent"].to_numpy()], runs.last["final"].to_numpy()
    (macs_low, macs_high), (final_low, final_high) = np.quantile(own, [0.25, 0.75]), np.quantile(final, [0.25, 0.75])
    return {
        "algorithm": runs.algorithm, "runs": len(own), "macs": own.mean(), "final": final.mean(),
        "macs_low": macs_low, "macs_high": macs_high, "final_low": final_low, "final_high": final_high,
    }  # fmt: skip


def front(cost: Floats, value: Floats) -> list[int]:
    """Indices of what no other beats in both cost (lower) and value (higher), by ascending cost."""
    order = np.lexsort((-value, cost))
    best = np.maximum.accumulate(value[order])
    kept = np.concatenate([[True], best[1:] > best[:-1]])
    return [int(index) for index in order[kept]]


def draw_pareto(source: StudyView, data: pd.DataFrame) -> Figure:
    """One panel a data set, from somewhat below the lowest quartile of any algorithm up to the optimum."""
    made = sheet(len(source.panels), legend=source.legend, note=f"{PARETO_NOTE} {source.note}", lines=False, height=1.9)
    for axes, panel in zip(made.panels[0], source.panels, strict=True):
        rows = data[data["panel"] == panel.title]
        _cloud(axes, rows[rows["part"] == "bin"])
        edge = rows[rows["part"] == "front"]
        axes.plot(edge["macs"], edge["final"], drawstyle="steps-post", color=TEXT, linewidth=0.9, zorder=3)
        axes.plot(edge["macs"], edge["final"], "o", color=TEXT, markersize=1.8, zorder=3)
        for own in rows[rows["part"] == "algorithm"].itertuples():
            look = source.looks[own.algorithm]
            axes.plot([own.macs_low, own.macs_high], [own.final] * 2, color=look.colour, linewidth=0.8, zorder=4)
            axes.plot([own.macs] * 2, [own.final_low, own.final_high], color=look.colour, linewidth=0.8, zorder=4)
            _mark(axes, look, own.macs, own.final)
        _frame_of(axes, panel, rows)
    made.label(source.titles, "MACs (millions)", "final metric of the incumbent (%)")
    return made.figure


def _frame_of(axes: Axes, panel: Panel, rows: pd.DataFrame) -> None:
    bins = rows[rows["part"] == "bin"]
    low, high = float(bins["y0"].min()), panel.best
    axes.set_ylim(low, high + 0.06 * (high - low))
    left, right = float(bins["x0"].min()), float(bins["x1"].max())
    axes.set_xlim(left - 0.03 * (right - left), right + 0.04 * (right - left))
