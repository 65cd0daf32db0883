"""Fronts of several objectives: what runs attain, how the hypervolume grows, the best under limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nasharness import fronts
from nasharness.analysis.comparison.fronts import Under, best_under, optimum_under
from nasharness.analysis.figures.curves import AVERAGE_NOTES, AXES, centre_and_band, curve, frame, lines
from nasharness.analysis.figures.source import Floats, Panel, Runs, StudyView
from nasharness.analysis.figures.style import MUTED, TEXT, Look, points, seaborn, sheet
from nasharness.errors import DataError, UsageError
from nasharness.search.interval import t_quantile

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Shares of the runs that attain what is drawn: band, line, band.
QUANTILES = {"early": 0.25, "median": 0.5, "late": 0.75}
EXACT, REACHABLE = Look(TEXT, "-", "."), Look(MUTED, (0, (4, 1, 1, 1)), "None")
#: Share of the exact front's members that is drawn, the most accurate first.
SHOWN = 0.9
FRONTS_NOTE = (
    "Lines: what the median run attains (attainment surface), bands: what 25 % and 75 % of the runs do; each run's "
    "front is chosen by the signal and drawn by the final metric. What is worse in the first objective than nine "
    "tenths of the exact front is cut off."
)
REACHABLE_NOTE = (
    "Best by validation: the front of all architectures by their expected signal; no search by it can be told more."
)
LIMITS_NOTE = (
    "Bars: how far what a run found best, by the signal, stays behind the best there is under a limit, in percentage "
    "points; mean over runs with its 95 % interval. Limits: quartiles of the cost over the space; below each, the best "
    "there is and its index. Where runs found nothing within a limit, the bar is of the others; their share is given."
)


def several(source: StudyView) -> bool:
    """Whether every panel has a front."""
    return all("front" in panel.cell for panel in source.panels)


def objectives(source: StudyView) -> list[Mapping[str, Any]]:
    """The objectives that all panels of a study share. Raises UsageError where there is one, DataError for others."""
    shared: list[Mapping[str, Any]] | None = None
    for panel in source.panels:
        found = list(panel.cell["protocol"].get("objectives", ()))
        if len(found) < 2 or "front" not in panel.cell:
            raise UsageError(f"{panel.title}: one objective; fronts need more (--objective error --objective params)")
        if shared is not None and [one["name"] for one in found] != [one["name"] for one in shared]:
            raise DataError("the data sets were searched by different objectives; draw their studies apart")
        shared = found
    return shared or []


def attained(source: StudyView) -> pd.DataFrame:
    """Staircases: panel, objective, part (exact, reachable, early, median, late), algorithm, cost, value, runs.

    For more than two objectives each of the further ones is held against the first.
    """
    import pandas as pd

    asked = objectives(source)
    rows = []
    for panel in source.panels:
        for place, objective in enumerate(asked[1:], 1):
            pair = [place, 0]
            signs = np.array([1 if asked[each]["minimise"] else -1 for each in pair])
            known = {part: np.array(panel.cell["front"][part])[:, pair] for part in ("exact", "reachable")}
            for part, values in known.items():
                edge = np.unique((values * signs)[fronts.non_dominated(values * signs)], axis=0)
                rows.append(_stairs(panel, objective["name"], part, "", edge * signs, 0))
            for runs in panel.runs:
                points = _points(source, runs, len(asked))[..., pair] * signs
                surfaces = fronts.attainment(points, list(QUANTILES.values()))
                for part, edge in zip(QUANTILES, surfaces, strict=True):
                    rows.append(_stairs(panel, objective["name"], part, runs.algorithm, edge * signs, len(points)))
    return pd.concat(rows, ignore_index=True)


def _stairs(panel: Panel, objective: str, part: str, algorithm: str, edge: Floats, runs: int) -> pd.DataFrame:
    import pandas as pd

    named = {"panel": panel.title, "objective": objective, "part": part, "algorithm": algorithm}
    return pd.DataFrame(named | {"cost": edge[:, 0], "value": edge[:, 1], "runs": runs})


def _points(source: StudyView, runs: Runs, count: int) -> Floats:
    """Final values of every run's front, ``[runs, most, objectives]``, filled up with NaN."""
    rows = runs.last
    if "front_values" not in rows or rows["front_values"].isna().any():
        raise DataError(f"{runs.algorithm}: some of its runs keep no front; make the study again")
    members = [np.reshape(values, (-1, count)) for values in rows["front_values"]]
    padded = np.full((len(members), max(1, *(len(one) for one in members)), count), np.nan)
    for run, one in enumerate(members):
        padded[run, : len(one)] = one
    return padded


def draw_attained(source: StudyView, data: pd.DataFrame) -> Figure:
    """A column a data set, a row a cost; logarithmic where values span more than a decade."""
    asked = objectives(source)
    names = [one["name"] for one in asked[1:]]
    legend, note = [*source.legend, ("exact front", EXACT)], FRONTS_NOTE
    if not _all_reachable(source):
        legend.append(("best by validation", REACHABLE))
        note += f" {REACHABLE_NOTE}"
    made = sheet(len(source.panels), len(names), legend=legend, note=f"{note} {source.note}", height=2.1, row_gap=0.5)
    for row, objective in enumerate(asked[1:]):
        for column, panel in enumerate(source.panels):
            axes = made.panels[row][column]
            own = data[(data["panel"] == panel.title) & (data["objective"] == objective["name"])]
            _surfaces(axes, source, own, asked[0], objective)
            axes.set_xlabel(_axis(objective))
    made.label(source.titles, _axis(asked[-1]), _axis(asked[0]))
    return made.figure


def _all_reachable(source: StudyView) -> bool:
    return all(panel.cell["front"]["reachable_hypervolume"] in (1.0, None) for panel in source.panels)


def _axis(objective: Mapping[str, Any]) -> str:
    unit = {"percent": "%", "M": "millions"}.get(objective["unit"], objective["unit"])
    name: str = objective["name"].replace("_", " ")
    return f"{name} ({unit})" if unit else name


def _surfaces(
    axes: Axes, source: StudyView, rows: pd.DataFrame, first: Mapping[str, Any], other: Mapping[str, Any]
) -> None:
    shown = _shown(rows, first)
    x, y = shown["cost"].to_numpy(), shown["value"].to_numpy()
    scales = [_scale(values) for values in (x, y)]
    (left, right), (bottom, top) = (_room(values, scale) for values, scale in zip((x, y), scales, strict=True))
    worst_x, worst_y = (right if other["minimise"] else left), (top if first["minimise"] else bottom)

    def stairs(part: str, label: str = "") -> tuple[Floats, Floats]:
        """From the worst value upright to the first corner, and on to the worst cost."""
        own = rows[(rows["part"] == part) & (rows["algorithm"] == label)]
        own = own.sort_values("cost", ascending=bool(other["minimise"]), kind="stable")
        xs, ys = own["cost"].to_numpy(), own["value"].to_numpy()
        if not len(xs):
            return xs, ys
        return np.concatenate([xs[:1], xs, [worst_x]]), np.concatenate([[worst_y], ys, ys[-1:]])

    for label, look in source.looks.items():
        if not len(rows[rows["algorithm"] == label]):
            continue
        early, late = stairs("early", label), stairs("late", label)
        _between(axes, early, late, worst_y, look.colour)
        xs, ys = stairs("median", label)
        axes.step(
            xs, ys, where="post", color=look.colour, linestyle=look.dash, marker=look.marker,
            markersize=2.4 * look.size, markevery=_every(len(xs), 6), zorder=3,
        )  # fmt: skip
    if not _all_reachable(source):
        axes.step(*stairs("reachable"), where="post", color=MUTED, linestyle=REACHABLE.dash, linewidth=0.9, zorder=3.4)
    axes.step(*stairs("exact"), where="post", color=TEXT, linewidth=0.7, marker=".", markersize=2, zorder=3.6)
    axes.set(xscale=scales[0], yscale=scales[1], xlim=(left, right), ylim=(bottom, top))
    _plain_ticks(axes, scales)


def _shown(rows: pd.DataFrame, first: Mapping[str, Any]) -> pd.DataFrame:
    """Corners that the axes make room for: without the tail of the exact front, where networks classify nothing."""
    sign = 1 if first["minimise"] else -1
    exact = sign * rows[rows["part"] == "exact"]["value"]
    return rows[sign * rows["value"] <= np.quantile(exact, SHOWN) + 0.1 * (np.quantile(exact, SHOWN) - exact.min())]


def _every(count: int, most: int) -> list[int]:
    return np.unique(np.linspace(1, max(1, count - 2), most).astype(int)).tolist() if count > 2 else []


def _between(axes: Axes, early: tuple[Floats, Floats], late: tuple[Floats, Floats], worst: float, colour: str) -> None:
    """Fill what lies between two staircases."""
    if not len(early[0]):
        return
    up = bool(early[0][-1] >= early[0][0])
    every = np.unique(np.concatenate([early[0], late[0]]))
    every = every if up else every[::-1]
    sign = 1 if up else -1

    def height(stairs: tuple[Floats, Floats]) -> Floats:
        xs, ys = stairs
        place = np.searchsorted(sign * xs[1:], sign * every, side="right")
        return np.where(place > 0, ys[np.minimum(place, len(ys) - 1)], worst) if len(xs) else np.full(len(every), worst)

    axes.fill_between(every, height(early), height(late), step="post", color=colour, alpha=0.18, linewidth=0, zorder=2)


def _scale(values: Floats) -> str:
    low, high = float(values.min()), float(values.max())
    return "log" if low > 0 and high > 8 * low else "linear"


def _room(values: Floats, scale: str) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if scale == "log":
        return low / (high / low) ** 0.04, high * (high / low) ** 0.04
    return low - 0.04 * (high - low), high + 0.04 * (high - low)


def _plain_ticks(axes: Axes, scales: list[str]) -> None:
    """Plain numbers on logarithmic axes, 1, 2 and 5 times powers of ten where they span less than two decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    for axis, scale, limits in zip((axes.xaxis, axes.yaxis), scales, (axes.get_xlim(), axes.get_ylim()), strict=True):
        if scale == "log":
            wide = limits[1] > 100 * limits[0]
            axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        else:
            axis.set_major_locator(MaxNLocator(5))


def growth(source: StudyView) -> pd.DataFrame:
    """Hypervolume, in percent of the exact front's, over evaluations.

    Columns: panel, algorithm, step, mean or median, low, high, runs, reachable.
    """
    objectives(source)
    parts = []
    for panel in source.panels:
        if panel.cell["front"]["hypervolume"] is None:
            raise UsageError(f"{panel.title}: the hypervolume is not known (three objectives and more need '.[mo]')")
        grid = panel.grid("step").astype(np.int64)
        reachable = 100.0 * panel.cell["front"]["reachable_hypervolume"]
        for runs in panel.runs:
            values = np.concatenate([100.0 * source.results.hypervolumes(cell, grid) for cell in runs.cells])
            band = centre_and_band(values, source.average)
            parts.append(curve(panel, runs, {"step": grid}, source.average, band) | {"reachable": reachable})
    return frame(parts)


def draw_growth(source: StudyView, data: pd.DataFrame) -> Figure:
    """One panel a data set, logarithmic in the evaluations."""
    note = f"{AVERAGE_NOTES[source.average]} The exact front has 100 %. {source.note}"
    made = sheet(len(source.panels), legend=source.legend, note=note)
    for axes, panel in zip(made.panels[0], source.panels, strict=True):
        rows = data[data["panel"] == panel.title]
        lines(axes, source, rows, "step", source.average, steps=True)
        reachable = float(rows["reachable"].iloc[0])
        axes.axhline(reachable, color=MUTED, linewidth=0.7, linestyle=(0, (1, 2)), zorder=1.5)
        words = "best by validation" if reachable < 100 else "exact front"
        axes.annotate(
            f"{words} {reachable:.1f}", (0.02, reachable), xycoords=("axes fraction", "data"),
            textcoords="offset points", xytext=(0, -1.5), va="top", fontsize=points(5.5), color=MUTED,
        )  # fmt: skip
        later = rows[rows["step"] >= rows["step"].max() / 20]
        low, high = float(later[source.average].min()), max(reachable, float(rows["high"].max()))
        axes.set_ylim(low - 0.08 * (high - low), high + 0.06 * (high - low))
    made.label(source.titles, AXES["step"], "hypervolume (% of the exact front's)")
    return made.figure


def under_limits(source: StudyView) -> pd.DataFrame:
    """How far runs stay behind the best under limits.

    Columns: panel, objective, limit, unit, algorithm, behind, low, high, found (share of runs that found anything),
    runs, optimum, index of that.
    """
    import pandas as pd

    rows = []
    asked = objectives(source)
    for panel in source.panels:
        sign = -1 if asked[0]["minimise"] and asked[0]["name"] != "error" else 1
        for name, bounds in panel.cell["front"]["limits"].items():
            place = next(place for place, one in enumerate(asked) if one["name"] == name)
            for bound in bounds:
                limit = Under(name, place, True, bound, asked[place]["unit"])
                best, arch = optimum_under(panel.cell, limit)
                shared = {"panel": panel.title, "objective": name, "limit": bound, "unit": limit.unit}
                for runs in panel.runs:
                    finals = np.concatenate([best_under(_own(runs, cell), cell, limit).final for cell in runs.cells])
                    behind = sign * (best - finals[~np.isnan(finals)])
                    low, high = _bounds(behind)
                    mean = behind.mean() if len(behind) else np.nan
                    rows.append(
                        shared | {"algorithm": runs.algorithm, "behind": mean, "low": low, "high": high}
                        | {"found": len(behind) / len(finals), "runs": len(finals), "optimum": best, "index": arch}
                    )  # fmt: skip
    if not rows:
        raise UsageError("none of the objectives is known without an evaluation and minimised: no limits to ask under")
    return pd.DataFrame(rows)


def _own(runs: Runs, cell: Mapping[str, Any]) -> pd.DataFrame:
    last = runs.last
    return last[(last["cell"] == cell["id"]) & (last["study"] == cell["study"])]


def _bounds(values: Floats) -> tuple[float, float]:
    """The 95 % interval of the mean; the mean itself of fewer than two."""
    if len(values) < 2:
        return (float(values[0]),) * 2 if len(values) else (np.nan, np.nan)
    half = t_quantile(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def draw_under_limits(source: StudyView, data: pd.DataFrame) -> Figure:
    """A column a data set, a row a cost, a group of bars a limit."""
    names = list(dict.fromkeys(data["objective"]))
    looks = [(label, Look(look.colour, "none", "s")) for label, look in source.legend]
    made = sheet(
        len(source.panels), len(names), legend=looks, lines=False, note=f"{LIMITS_NOTE} {source.note}", xlabel=0.62,
        row_gap=0.85,
    )  # fmt: skip
    sns, width = seaborn(), 0.8 / max(1, len(looks))
    for row, name in enumerate(names):
        for column, panel in enumerate(source.panels):
            axes, own = made.panels[row][column], data[(data["panel"] == panel.title) & (data["objective"] == name)]
            limits = list(dict.fromkeys(own["limit"]))
            sns.barplot(
                own, x="limit", y="behind", hue="algorithm", order=limits, hue_order=[label for label, _ in looks],
                palette=[look.colour for _, look in looks], width=0.8, gap=0.1, saturation=1, errorbar=None,
                linewidth=0, legend=False, zorder=2, ax=axes,
            )  # fmt: skip
            for number, (label, _) in enumerate(looks):
                mine = own[own["algorithm"] == label]
                x = np.array([limits.index(limit) for limit in mine["limit"]]) - 0.4 + width * (number + 0.5)
                axes.vlines(x, mine["low"], mine["high"], color=TEXT, linewidth=0.7, zorder=3)
                for place, one in zip(x, mine.itertuples(), strict=True):
                    if one.found < 1:
                        text = f"{1 - one.found:.0%} none" if one.found else "none"
                        axes.text(place, max(0.0, np.nan_to_num(one.high)), f" {text}", rotation=90, fontsize=points(5),
                                  ha="center", va="bottom", color=MUTED)  # fmt: skip
            best = own.drop_duplicates("limit")
            axes.set_xticks(
                range(len(limits)),
                [f"≤ {one.limit:.3g} {one.unit}\nbest {one.optimum:.2f}\n({one.index})" for one in best.itertuples()],
            )
            axes.tick_params(axis="x", length=0)
            axes.grid(False, axis="x")
            low = min(0.0, float(np.nanmin(own["low"])))
            axes.set_ylim(1.05 * low, 1.18 * float(np.nanmax(own["high"])) or 1.0)
            axes.set_xlabel(_axis({"name": name, "unit": ""}))
    made.label(source.titles, _axis({"name": names[-1], "unit": ""}), "points behind the best there is")
    return made.figure
