"""How figures look: one colour an algorithm in all figures of a study, sizes in inches, the note below, themed SVG.

Nothing here changes matplotlib's global settings: figures are made without pyplot, within ``looks()``.
"""

from __future__ import annotations

import contextlib
import contextvars
import io
import re
import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nasharness.errors import unknown
from nasharness.extras import module

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Width in inches of a figure over one column of a two-column page, and over both.
COLUMN, PAGE = 3.4, 7.0
TEXT, MUTED, GRID, PAPER = "#1a1a19", "#6b6a66", "#e2e1dc", "#fffffe"
#: (on white, on black): hues of P. Tol's "muted" and of Okabe and Ito's scheme, told apart by the colour-blind too.
COLOURS = {
    "grey": ("#6f6f6e", "#b4b4b2"),
    "blue": ("#0072b2", "#4aa8e0"),
    "vermilion": ("#d55e00", "#f5883a"),
    "teal": ("#44aa99", "#5fcdb9"),
    "purple": ("#aa4499", "#d77cc8"),
    "green": ("#117733", "#48b56d"),
    "olive": ("#999933", "#c6c65a"),
    "wine": ("#882255", "#d0608f"),
    "amber": ("#e69f00", "#f4c04e"),
    "indigo": ("#332288", "#978af0"),
    "sky": ("#56b4e9", "#9ad4f7"),
    "rose": ("#cc6677", "#ec97a4"),
}
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.4)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">", "h", "*")
#: Colours of options by their order; where the first one is none, it is grey.
OPTIONS = ("grey", "green", "blue", "vermilion", "amber", "purple", "teal", "sky", "wine", "olive", "rose", "indigo")
#: Colour names in the SVG of a page -> CSS custom properties with a light and a dark value.
INKS = {"text": (TEXT, "#f2f1ec"), "muted": (MUTED, "#a9a8a1"), "grid": (GRID, "#3b3b39"), "paper": (PAPER, "#1b1b1a")}

_RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same figure on every machine
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 7,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "text.color": TEXT,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": TEXT,
    "ytick.labelcolor": TEXT,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "xtick.minor.width": 0.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.2,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "text.parse_math": False,  # a $ in a name is a $
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "nasharness",
    "path.simplify": True,
}


@dataclass(frozen=True)
class Look:
    """How one algorithm is drawn, everywhere."""

    colour: str
    dash: Any
    marker: str

    @property
    def size(self) -> float:
        """Factor by which the marker is drawn larger, so that all look alike in size."""
        return {"*": 1.6, "P": 1.2, "X": 1.2, "p": 1.1}.get(self.marker, 1.0)


@dataclass(frozen=True)
class Setting:
    """What figures are made for.

    ``width``: ``auto`` (a column for one panel, else a page), ``column`` (panels stand one above the other) or
    ``page``. ``style``: ``paper``, or ``talk``: larger, and its text larger still. ``captions``: whether the note
    stands below the panels; else it is written beside the figure. Raises UsageError for anything else.
    """

    width: str = "auto"
    style: str = "paper"
    captions: bool = True

    def __post_init__(self) -> None:
        for what, value, known in (("width", self.width, WIDTHS), ("style", self.style, STYLES)):
            if value not in known:
                raise unknown(f"{what} of figures", value, known, "nasharness figures --help")

    @property
    def enlarged(self) -> float:
        """Inches of the page for one of the layout."""
        return 1.5 if self.style == "talk" else 1.0

    @property
    def text(self) -> float:
        """How large text is within the layout."""
        return 4 / 3 if self.style == "talk" else 1.0


WIDTHS, STYLES = ("auto", "column", "page"), ("paper", "talk")
#: Points that the smallest text has in print.
SMALLEST = 6.0
_setting: contextvars.ContextVar[Setting] = contextvars.ContextVar("figures", default=Setting())  # noqa: B039 - frozen


def setting() -> Setting:
    """What figures are made for within ``looks()``."""
    return _setting.get()


def points(size: float) -> float:
    """Size of a text that has ``size`` points on paper, but never fewer than SMALLEST."""
    made = setting()
    return max(size, SMALLEST) * made.enlarged * made.text


def seaborn() -> Any:
    """What draws boxes, bars, steps and matrices. Raises UsageError where it is not installed."""
    return module("seaborn", "figures need seaborn", "study")


@contextlib.contextmanager
def looks(made_for: Setting | None = None) -> Iterator[None]:
    """Make and save figures within this; matplotlib's own settings are as before afterwards."""
    mpl = module("matplotlib", "figures need matplotlib", "study")
    defaults: Any = {key: value for key, value in mpl.rcParamsDefault.items() if not key.startswith("backend")}
    token = _setting.set(made_for or Setting())
    factor = setting().enlarged * setting().text
    scaled = {key: value * factor for key, value in _RC.items() if key.endswith(("size", "width")) and value}
    try:
        with mpl.rc_context(defaults | _RC | scaled):
            yield
    finally:
        _setting.reset(token)


def algorithm_looks(labels: Sequence[str], controls: Collection[str] = ()) -> dict[str, Look]:
    """Colour, dash and marker of every label, by their order; the same in all figures of a study.

    ``controls`` are grey, which no other is. Up to 132 looks are all different.
    """
    grey, *palette = (light for light, _ in COLOURS.values())
    made: dict[str, Look] = {}
    for number, label in enumerate(labels):
        marker = MARKERS[number % len(MARKERS)]
        if label in controls:
            made[label] = Look(grey, (0, (3, 1)), marker)
        else:
            made[label] = Look(palette[(number - 1) % len(palette)], DASHES[(number - 1) % len(DASHES)], marker)
    return made


def option_colours(names: Sequence[str], first: int = 0) -> dict[str, str]:
    """Colour of each option of a position, by their order; ``first``: 1 where no option is none."""
    return {name: COLOURS[OPTIONS[(first + number) % len(OPTIONS)]][0] for number, name in enumerate(names)}


@dataclass
class Sheet:
    """A figure with a row (or more) of panels, and room below for legend and note. Sizes in inches."""

    figure: Figure
    panels: list[list[Axes]]
    stacked: bool = False

    def leftmost(self, column: int) -> bool:
        """Whether nothing stands left of a panel of this column: it needs the labels of its axis."""
        return column == 0 or self.stacked

    def label(self, titles: Sequence[str], x: str, y: str) -> None:
        """Name panels above the first row, the axis below the last one, and the axis left of the first panels."""
        for axes, title in zip(self.panels[0], titles, strict=True):
            axes.set_title(title)
        for axes in self.panels[-1]:
            axes.set_xlabel(x)
        for column, axes in enumerate(self.panels[0]):
            if self.leftmost(column):
                axes.set_ylabel(y)
        if setting().style == "talk":  # numbers are so large that a few have room
            for axes in (axes for row in self.panels for axes in row if axes.get_xscale() == "linear"):
                axes.locator_params(axis="x", nbins=3)


def sheet(
    columns: int,
    rows: int = 1,
    *,
    height: float = 1.75,
    legend: Sequence[tuple[str, Look]] = (),
    note: str = "",
    left: float = 0.56,
    gap: float = 0.46,
    row_gap: float = 0.55,
    width: float | None = None,
    lines: bool = True,
    xlabel: float = 0.36,
    top: float = 0.24,
) -> Sheet:
    """Lay out ``rows`` x ``columns`` panels of ``height`` each; ``legend``: label and look of each entry.

    One panel makes a figure as wide as a column, more of them one as wide as a page, unless ``width`` is given; within
    a column (`Setting`) the columns stand one below the other. Inches are those of a figure on paper.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    made_for = setting()
    text = made_for.text
    stacked = made_for.width == "column" and columns > 1
    if made_for.width == "column":
        width = min(width or COLUMN, COLUMN)
    elif width is None:
        width = COLUMN if columns == 1 and made_for.width == "auto" else PAGE
    left, xlabel, top = left * text, xlabel * text, top * text
    gap, row_gap = gap * text, row_gap * text
    entries = _legend_columns([label for label, _ in legend], width / text)
    legend_rows = -(-len(legend) // entries) if legend else 0
    note_lines = textwrap.wrap(note, int(width / text * 21)) if note and made_for.captions else []
    right = 0.10
    line = 0.113 * text
    below = xlabel + (0.118 * legend_rows + (0.05 if legend_rows else 0)) * text + line * len(note_lines) + 0.06
    # lower edges of the panels, from the top of the figure down: [column][row]
    block = rows * height + (rows - 1) * row_gap
    starts = [top + column * (block + xlabel + top) if stacked else top for column in range(columns)]
    total = starts[-1] + block + below
    beside = 1 if stacked else columns
    figure = Figure(figsize=(width * made_for.enlarged, total * made_for.enlarged))
    figure.set_label(note)
    panel_width = (width - left - right - (beside - 1) * gap) / beside
    panels = []
    for row in range(rows):
        panels.append(
            [
                figure.add_axes(
                    (
                        (left + (0 if stacked else column) * (panel_width + gap)) / width,
                        (total - start - (row + 1) * height - row * row_gap) / total,
                        panel_width / width,
                        height / total,
                    )
                )
                for column, start in enumerate(starts)
            ]
        )
    if legend:
        handles = [
            Line2D(
                [],
                [],
                color=look.colour,
                linestyle=look.dash if lines else "none",
                marker=look.marker,
                markersize=3.2 * look.size * made_for.enlarged * text,
                label=label,
            )
            for label, look in legend
        ]
        figure.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, (below - xlabel) / total),
            ncols=entries,
            handlelength=2.6 if lines else 1.0,
            columnspacing=1.2,
            handletextpad=0.5,
            borderaxespad=0,
            borderpad=0,
            labelspacing=0.35,
        )
    for number, words in enumerate(note_lines):
        height_of = (0.05 + line * (len(note_lines) - 1 - number)) / total
        figure.text(0.06 / width, height_of, words, fontsize=points(6), color=MUTED)
    return Sheet(figure, panels, stacked)


def shortened(label: str, most: int = 28) -> str:
    """A label that takes at most ``most`` characters, its middle left out if need be; legends and CSV have it whole."""
    if len(label) <= most:
        return label
    head = (most - 1) * 2 // 3
    return f"{label[:head]}…{label[head + 1 - most :]}"


def _legend_columns(labels: Sequence[str], width: float) -> int:
    """How many entries stand side by side, by the longest of them."""
    longest = max((len(label) for label in labels), default=1)
    fits = max(1, int((width - 0.1) / (0.4 + 0.05 * longest)))
    rows = -(-len(labels) // fits) if labels else 1
    return max(1, -(-len(labels) // rows)) if labels else 1


def save(figure: Figure, kind: str) -> bytes:
    """The figure as a ``png`` (300 dpi), ``pdf`` or ``svg`` file, without dates: same input, same bytes."""
    target = io.BytesIO()
    metadata: dict[str, Any] = {"png": {}, "pdf": {"CreationDate": None, "ModDate": None}, "svg": {"Date": None}}[kind]
    figure.savefig(target, format=kind, dpi=300, metadata=metadata)
    return target.getvalue()


def themed_svg(figure: Figure, prefix: str, title: str) -> str:
    """The figure as an ``<svg>`` element to put into a page, named ``title`` for those who cannot see it.

    Every id begins with ``prefix``, so that several figures share a page. Colours become CSS custom properties
    (``css_colours``): the page decides between light and dark.
    """
    import html

    text = save(figure, "svg").decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    # comments name glyphs and texts, which may hold anything a plug-in calls itself
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    for name, (light, _) in _all_colours().items():
        text = re.sub(re.escape(light), f"var(--{name})", text, flags=re.IGNORECASE)
    text = re.sub(r'(<svg\b[^>]*?) width="[^"]*pt"', r"\1", text, count=1)
    text = re.sub(r'(<svg\b[^>]*?) height="[^"]*pt"', r"\1", text, count=1)
    opening, rest = text.split(">", 1)
    width = figure.get_size_inches()[0]
    opening += f' role="img" aria-label="{html.escape(title, quote=True)}" style="width:{width * 1.45 * 96:.0f}px"'
    return re.sub(r"\n\s*", "\n", f"{opening}>{rest}").strip()


def css_colours(dark: bool) -> str:
    """Declarations of the custom properties that ``themed_svg`` refers to."""
    return "".join(f"--{name}:{pair[dark]};" for name, pair in _all_colours().items())


def _all_colours() -> dict[str, tuple[str, str]]:
    return {f"ink-{name}": pair for name, pair in INKS.items()} | {f"c-{name}": pair for name, pair in COLOURS.items()}
