"""Devices: how far they agree on the order of networks, and which network is the best on each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nasharness.analysis.figures.files import as_csv, write_figure
from nasharness.analysis.figures.source import Floats, Panel, StudyView
from nasharness.analysis.figures.style import COLOURS, PAPER, TEXT, looks, points, seaborn, sheet
from nasharness.analysis.validation.hardware import WITHIN, Costs, costs_of
from nasharness.errors import UsageError
from nasharness.hardware import looks_like_one
from nasharness.search.objective import split_limit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AGREEMENT_NOTE = (
    "Kendall's tau between the orders in which two quantities put the architectures that both know; 1: the same order. "
    "Devices at batch 1, by their agreement with MACs."
)
#: Inches for names that stand below a matrix.
BELOW = 1.02
BEST_NOTE = (
    f"A row for each network that is the cheapest on some device (framed there) among those at most {WITHIN} points "
    "below the most accurate; shades, and numbers where there is room: how many times as long it takes on each device "
    "as that device's own. Batch 1."
)


def named(source: StudyView) -> bool:
    """Whether every panel has a device among its objectives and limits."""
    return all(_named(panel) for panel in source.panels)


def _named(panel: Panel) -> bool:
    protocol = panel.cell["protocol"]
    names = [one["name"] for one in protocol.get("objectives", ())]
    names += [split_limit(limit)[0] for limit in protocol.get("limits", ())]
    return any(looks_like_one(name) for name in names)


def agreement(source: StudyView) -> pd.DataFrame:
    """Kendall's tau of every pair of quantities: panel, one, other, tau. Of a study that searched by a device."""
    return _of_panels(source, _agreement)


def best(source: StudyView) -> pd.DataFrame:
    """What each device's best network takes on every device: panel, index, accuracy, device, cost, unit, times, own."""
    return _of_panels(source, _best)


def _of_panels(source: StudyView, numbers: Any) -> pd.DataFrame:
    import pandas as pd

    parts = []
    for panel in source.panels:
        if not _named(panel):
            raise UsageError(
                f"{panel.title}: no device is among the objectives and limits of this study; nasharness validate "
                "--hardware --figure FILE draws devices without one"
            )
        table = panel.problem().table.name
        costs = costs_of(panel.space.name, panel.dataset, table=table, final=panel.cell["protocol"]["final"])
        parts.append(numbers(costs).assign(panel=panel.title))
    made = pd.concat(parts, ignore_index=True)
    return made[["panel", *(name for name in made if name != "panel")]]


def _names(costs: Costs, energies: bool) -> list[str]:
    """Latencies at batch 1, and energies."""
    alone = [name for name, one in costs.quantities.items() if one.batch == 1]
    return [name for name in alone if energies or name.endswith("_latency")]


def _agreement(costs: Costs) -> pd.DataFrame:
    import pandas as pd

    names = _names(costs, True)
    if "macs" in costs.columns:
        order = np.argsort([-tau for tau in costs.taus([("macs", name) for name in names])], kind="stable")
        names = ["macs", *(names[place] for place in order)]
    pairs = [(one, other) for place, one in enumerate(names) for other in names[place + 1 :]]
    taus = dict(zip(pairs, costs.taus(pairs), strict=True))
    rows = [
        {"one": one, "other": other, "tau": 1.0 if one == other else taus.get((one, other), taus.get((other, one)))}
        for one in names
        for other in names
    ]
    return pd.DataFrame(rows)


def _best(costs: Costs) -> pd.DataFrame:
    import pandas as pd

    devices = _names(costs, False)
    if costs.accuracy is None or not devices:
        raise UsageError(f"the best network of each device of space {costs.space.name} takes a table of accuracies")
    picks = {device: costs.best(device) for device in devices}
    networks = sorted(set(picks.values()), key=lambda arch: -list(picks.values()).count(arch))
    rows = []
    for arch in networks:
        for device in devices:
            cost, least = costs.columns[device][arch], costs.columns[device][picks[device]]
            accuracy = abs(float(costs.accuracy[arch]))
            unit = costs.quantities[device].unit
            rows.append({"index": arch, "accuracy": accuracy, "device": device, "cost": cost, "unit": unit,
                         "times": cost / least, "own": picks[device] == arch})  # fmt: skip
    return pd.DataFrame(rows)


def draw_agreement(source: StudyView, data: pd.DataFrame) -> Figure:
    """A matrix a data set, one below the other."""
    return _draw_agreement(data, source.titles, f"{AGREEMENT_NOTE} {source.note_table}")


def draw_best(source: StudyView, data: pd.DataFrame) -> Figure:
    """A matrix a data set, one below the other."""
    return _draw_best(data, source.titles, f"{BEST_NOTE} {source.note_table}")


def write(costs: Costs, target: Path) -> list[Path]:
    """Draw both of what is known of devices: TARGET and TARGET-best, each as PNG, PDF and CSV."""
    note = f"Space {costs.space.name}, {costs.dataset}."
    judged = f"{note} Accuracy: {costs.judge}."
    written = []
    with looks():
        parts: list[tuple[str, Any, Any, str]] = [("", _agreement, _draw_agreement, f"{AGREEMENT_NOTE} {note}")]
        if costs.accuracy is not None:
            parts.append(("-best", _best, _draw_best, f"{BEST_NOTE} {judged}"))
        for ending, numbers, draw, words in parts:
            data = numbers(costs).assign(panel=costs.dataset)
            figure = draw(data, [costs.dataset], words)
            name = f"{target.stem}{ending}"
            written += write_figure(target.parent, name, figure, as_csv(data), ("png", "pdf"), "--figure")
    return written


def _draw_agreement(data: pd.DataFrame, titles: Sequence[str], note: str) -> Figure:
    count = max(data[data["panel"] == title]["one"].nunique() for title in titles)
    made = sheet(1, len(titles), height=0.22 * count, width=1.35 + 0.3 * count, left=1.25, note=note, xlabel=BELOW,
                 row_gap=0.25 + BELOW)  # fmt: skip
    for (axes,), title in zip(made.panels, titles, strict=True):
        own = data[data["panel"] == title]
        names = list(dict.fromkeys(own["one"]))
        taus = own.pivot(index="one", columns="other", values="tau").loc[names, names].to_numpy()
        shade = np.clip(np.abs(taus), 0, 1) ** 2  # the eye tells 0.9 from 0.8 as it does 0.5 from 0.4
        labels = [name.replace("_", " ") for name in names]
        _matrix(axes, taus, shade, labels, labels, (count, count))
        axes.set_title(title)
    return made.figure


def _draw_best(data: pd.DataFrame, titles: Sequence[str], note: str) -> Figure:
    groups = [data[data["panel"] == title] for title in titles]
    rows, columns = (max(own[name].nunique() for own in groups) for name in ("index", "device"))
    made = sheet(1, len(titles), height=0.24 * rows, width=1.35 + 0.36 * columns, left=1.25, note=note, xlabel=BELOW,
                 row_gap=0.25 + BELOW)  # fmt: skip
    for (axes,), own, title in zip(made.panels, groups, titles, strict=True):
        archs, devices = list(dict.fromkeys(own["index"])), list(dict.fromkeys(own["device"]))
        times = own["times"].to_numpy().reshape(len(archs), len(devices))
        accuracy = own.drop_duplicates("index")["accuracy"]
        labels = [f"{arch} ({value:.2f} %)" for arch, value in zip(archs, accuracy, strict=True)]
        framed = own["own"].to_numpy(dtype=bool).reshape(times.shape)
        shade = np.clip((times - 1) / max(0.25, float(np.nanmax(times)) - 1), 0, 1)
        short = [name.removesuffix("_latency").replace("_", " ") for name in devices]
        _matrix(axes, times, shade, labels, short, (rows, columns), framed)
        axes.set_title(title)
    return made.figure


def _matrix(
    axes: Axes,
    values: Floats,
    shade: Floats,
    rows: Sequence[str],
    columns: Sequence[str],
    size: tuple[int, int],
    framed: Any = None,
) -> None:
    """Cells with their numbers, the stronger the shade the more.

    ``size``: rows and columns that there is room for; ``framed``: cells with a frame around them.
    """
    from matplotlib.patches import Rectangle

    sns = seaborn()
    figure: Any = axes.get_figure()
    inches = axes.get_position().width * figure.get_size_inches()[0] / size[1]
    legible = 72 * inches >= 2.9 * points(5.2)  # four characters; where cells are narrower, shades alone tell
    blues = sns.blend_palette([PAPER, COLOURS["blue"][0]], as_cmap=True)
    sns.heatmap(
        0.05 + 0.6 * shade, mask=np.isnan(values), vmin=0, vmax=1, cmap=blues, cbar=False, ax=axes, xticklabels=False,
        annot=values if legible else False, fmt=".2f", annot_kws={"fontsize": points(5.2), "color": TEXT},
    )  # fmt: skip
    if framed is not None:
        for row, column in np.argwhere(framed & ~np.isnan(values)):
            inner = Rectangle((column + 0.04, row + 0.06), 0.92, 0.88, fill=False, edgecolor=TEXT, linewidth=0.9)
            axes.add_patch(inner)
    axes.set(xlim=(0, size[1]), ylim=(size[0], 0))  # cells of one size in all panels
    beside = min(points(6.5), 72 * inches / 1.15)  # names stand a column apart
    for column, name in enumerate(columns):  # right below the matrix, which may be lower than the axes
        axes.text(column + 0.5, len(rows) + 0.15, name, rotation=90, ha="center", va="top", fontsize=beside)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, rotation=0)
    axes.tick_params(length=0)
    axes.grid(False)
    for side in axes.spines.values():
        side.set_visible(False)
