"""Curves that answer: under the pointer, and by the arrow keys, every algorithm's value and interval."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

from nasharness.analysis.figures.source import StudyView
from nasharness.analysis.figures.style import COLOURS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

CSS = """
.plot{position:relative;width:max-content;max-width:100%;cursor:crosshair;touch-action:pan-x pan-y}
.guide{position:absolute;width:0;border-left:1px solid var(--ink-muted);pointer-events:none}
.dot{position:absolute;width:9px;height:9px;margin:-4.5px 0 0 -4.5px;border-radius:50%;
border:1.5px solid var(--ink-paper);pointer-events:none}
.tip{position:fixed;z-index:5;pointer-events:none;background:var(--ink-paper);border:1px solid var(--ink-muted);
border-radius:6px;padding:.35rem .55rem;font-size:.8rem;max-width:calc(100vw - 16px);
max-height:calc(100vh - 16px);overflow:hidden;box-shadow:0 2px 8px #0003}
.tip table{min-width:0;font-size:inherit}.tip th,.tip td{border:0;padding:.05rem .3rem;white-space:nowrap}
.tip caption{padding:0 .3rem .15rem;color:var(--ink-text);font-weight:600;font-size:inherit}
.tip tbody tr:hover>*{background:none}
"""

JS = """
(function () {
  var tip = document.createElement("div");
  tip.className = "tip"; tip.hidden = true; tip.setAttribute("role", "status");
  document.body.appendChild(tip);
  var marks = [];
  function hide() {
    tip.hidden = true;
    marks.forEach(function (mark) { mark.remove(); });
    marks = [];
  }
  function add(parent, kind, left, top) {
    var mark = parent.appendChild(document.createElement("div"));
    mark.className = kind; mark.style.left = 100 * left + "%"; mark.style.top = 100 * top + "%";
    marks.push(mark);
    return mark;
  }
  function cell(row, kind, text) {
    var made = row.appendChild(document.createElement(kind));
    made.textContent = text;
    return made;
  }
  function share(panel, x) {
    return panel.log ? Math.log(x / panel.x[0]) / Math.log(panel.x[1] / panel.x[0])
      : (x - panel.x[0]) / (panel.x[1] - panel.x[0]);
  }
  function show(plot, data, panel, x) {
    hide();
    var svg = plot.querySelector("svg").getBoundingClientRect(), box = panel.box, rows = [];
    var left = box[0] + share(panel, x) * (box[2] - box[0]);
    panel.series.forEach(function (one) {
      var place = one.x.length - 1;
      while (place >= 0 && one.x[place] > x) place -= 1;
      if (place >= 0) rows.push({ of: one, value: one.value[place], low: one.low[place], high: one.high[place] });
    });
    if (!rows.length) return;
    rows.sort(function (a, b) { return (data.best === "low" ? 1 : -1) * (a.value - b.value); });
    var guide = add(plot, "guide", left, box[1]);
    guide.style.height = 100 * (box[3] - box[1]) + "%";
    var table = document.createElement("table"), body = document.createElement("tbody");
    table.appendChild(document.createElement("caption")).textContent =
      panel.title + ", " + Math.round(x).toLocaleString("en") + " " + data.unit;
    rows.forEach(function (row) {
      var up = (row.value - panel.y[0]) / (panel.y[1] - panel.y[0]);
      var line = body.appendChild(document.createElement("tr"));
      if (up >= 0 && up <= 1)
        add(plot, "dot", left, box[3] - up * (box[3] - box[1])).style.background = "var(--c-" + row.of.colour + ")";
      var head = cell(line, "th", row.of.name), swatch = document.createElement("span");
      swatch.className = "swatch"; swatch.style.background = "var(--c-" + row.of.colour + ")";
      head.insertBefore(swatch, head.firstChild); head.scope = "row";
      cell(line, "td", row.value.toFixed(2));
      cell(line, "td", "[" + row.low.toFixed(2) + ", " + row.high.toFixed(2) + "]");
    });
    table.appendChild(body);
    tip.replaceChildren(table);
    tip.hidden = false;
    var at = svg.left + left * svg.width, size = tip.getBoundingClientRect();
    var most = document.documentElement.clientWidth - 8 - size.width;
    var beside = at + 14 < most ? at + 14 : at - 14 - size.width;
    tip.style.left = Math.max(8, Math.min(beside, most)) + "px";
    var below = svg.top + box[1] * svg.height;
    tip.style.top = Math.max(8, Math.min(below, window.innerHeight - size.height - 8)) + "px";
  }
  document.querySelectorAll(".plot").forEach(function (plot) {
    var data = JSON.parse(plot.nextElementSibling.textContent), now = { panel: 0, place: -1 };
    function steps() {
      return data.panels[now.panel].series.reduce(function (a, b) { return b.x.length > a.length ? b.x : a; }, []);
    }
    plot.addEventListener("pointermove", point);
    plot.addEventListener("pointerdown", point);
    function point(event) {
      var svg = plot.querySelector("svg").getBoundingClientRect();
      var x = (event.clientX - svg.left) / svg.width, y = (event.clientY - svg.top) / svg.height;
      var panel = data.panels.find(function (one) {
        return x >= one.box[0] && x <= one.box[2] && y >= one.box[1] && y <= one.box[3];
      });
      if (!panel) { hide(); return; }
      var part = (x - panel.box[0]) / (panel.box[2] - panel.box[0]);
      show(plot, data, panel, panel.log ? panel.x[0] * Math.pow(panel.x[1] / panel.x[0], part)
        : panel.x[0] + part * (panel.x[1] - panel.x[0]));
    }
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", function (event) {
      var step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], turn = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") { hide(); return; }
      if (!step && !turn) return;
      event.preventDefault();
      if (turn) now.panel = (now.panel + turn + data.panels.length) % data.panels.length;
      now.place = Math.min(Math.max(0, now.place + (step || 0)), steps().length - 1);
      show(plot, data, data.panels[now.panel], steps()[now.place]);
    });
  });
  window.addEventListener("scroll", hide, { passive: true });
})();
"""


def plot(title: str, drawn: str, values: str) -> str:
    """An ``<svg>`` of curves, and the ``values`` of `layer` for the script to find."""
    label = f"{html.escape(title)}: values by arrow keys"
    return (
        f'<div class="plot" tabindex="0" role="group" aria-label="{label}">{drawn}</div>'
        f'<script type="application/json">{values}</script>'
    )


def layer(source: StudyView, figure: Figure, data: pd.DataFrame, axis: str, column: str) -> str:
    """What the script reads of one figure of curves: where its panels are, and the values they draw.

    ``axis``, ``column``: those of ``data`` that hold the budget and the value.
    """
    panels = []
    for axes, panel in zip(figure.axes, source.panels, strict=True):
        box = axes.get_position()
        rows = data[data["panel"] == panel.title]
        panels.append(
            {
                "title": panel.title,
                "box": [round(each, 5) for each in (box.x0, 1 - box.y1, box.x1, 1 - box.y0)],
                "log": axes.get_xscale() == "log",
                "x": [float(each) for each in axes.get_xlim()],
                "y": [float(each) for each in axes.get_ylim()],
                "series": [_series(source, str(label), own, axis, column)
                           for label, own in rows.groupby("algorithm", observed=True, sort=False)],
            }
        )  # fmt: skip
    told = {
        "unit": "evaluations" if axis == "step" else "simulated seconds",
        "best": "low" if column == "rank" else "high",
        "panels": panels,
    }
    return json.dumps(told, separators=(",", ":")).replace("<", "\\u003c")


def _series(source: StudyView, label: str, own: pd.DataFrame, axis: str, column: str) -> dict[str, Any]:
    colour = next(name for name, pair in COLOURS.items() if pair[0] == source.looks[label].colour)
    numbers = {"x": own[axis], "value": own[column], "low": own["low"], "high": own["high"]}
    return {"name": label, "colour": colour} | {name: each.round(4).tolist() for name, each in numbers.items()}
