"""The page of a report: style and script inlined, so that it loads nothing from anywhere."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from nasharness.analysis.figures.style import css_colours
from nasharness.analysis.report import curves
from nasharness.version import __version__

#: The page may load nothing from anywhere; the browser enforces it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"

CSS = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-padding-top:1rem}
body{margin:0;background:var(--ink-paper);color:var(--ink-text);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main,header,footer{max-width:84rem;margin:0 auto;padding:0 clamp(1rem,4vw,2.5rem)}
header{padding-top:2.2rem}
h1{font-size:clamp(1.6rem,4vw,2.3rem);line-height:1.15;margin:0 0 .5rem;letter-spacing:-.015em;overflow-wrap:anywhere}
h2{font-size:1.35rem;line-height:1.25;margin:3rem 0 .6rem;letter-spacing:-.01em}
h3{font-size:1.05rem;margin:1.8rem 0 .4rem}
p{margin:.4rem 0;max-width:44rem}
.lead{font-size:1.12rem;font-weight:600}
.quiet{color:var(--ink-muted);font-size:.88rem}
a{color:var(--link)}
nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;list-style:none;margin:1rem 0 0;padding:0}
nav a{display:inline-block;padding:.25rem 0}
.skip{position:absolute;left:-999px}
.skip:focus{left:1rem;top:.5rem;background:var(--ink-paper);padding:.4rem .8rem;z-index:9}
:focus-visible{outline:3px solid var(--link);outline-offset:2px;border-radius:2px}
.scroll{overflow-x:auto;max-width:100%;-webkit-overflow-scrolling:touch}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;min-width:100%}
caption{text-align:left;color:var(--ink-muted);font-size:.88rem;padding:0 0 .4rem;position:static}
table.narrow{min-width:min(100%,30rem)}
th,td{padding:.38rem .7rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--ink-grid)}
thead th{border-bottom:2px solid var(--ink-muted);vertical-align:bottom;font-weight:600;padding:0}
thead th.plain{padding:.38rem .7rem}
tbody th{font-weight:600}
th:first-child,td.text,th.text{text-align:left}
table.board th:first-child{position:sticky;left:0;background:var(--ink-paper);z-index:1;
white-space:normal;overflow-wrap:anywhere;min-width:calc(min(var(--name,9ch),20ch) + 2.4em)}
table.board th,table.board td{padding-left:.33rem;padding-right:.33rem}
table.board thead th{padding:0}table.board th button{padding-left:.33rem;padding-right:.33rem;white-space:normal}
table.board td small{display:block;margin:0}
tbody tr:hover>*{background:var(--stripe)}
th button{all:unset;box-sizing:border-box;display:block;width:100%;cursor:pointer;padding:.45rem .7rem;
min-height:2.4rem;font-weight:600;white-space:nowrap}
th button:hover{color:var(--link)}
th button:focus-visible{outline:3px solid var(--link);outline-offset:-3px}
th button::after{content:"\\2195";opacity:.35;margin-left:.3em;font-size:.85em}
th[aria-sort=ascending] button::after{content:"\\25B2";opacity:1}
th[aria-sort=descending] button::after{content:"\\25BC";opacity:1}
th.group{text-align:left;padding-top:1rem;white-space:normal}
th small,td small{color:var(--ink-muted);font-size:.82em;margin-left:.35em}
th.group small{display:block;font-weight:400;margin:0}
.swatch{display:inline-block;width:.72em;height:.72em;border-radius:2px;margin-right:.5em}
figure{margin:1.2rem 0 2.2rem}
figcaption{font-weight:600;margin-bottom:.35rem}
figure svg{display:block;max-width:100%;height:auto}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(19rem,100%),1fr));gap:1rem;margin:.6rem 0}
.card{border:1px solid var(--ink-grid);border-radius:8px;padding:.8rem .9rem}
.card svg{display:block;width:100%!important;height:auto}
.card p{margin:.15rem 0;font-size:.88rem}
.card code{font-size:.72rem;overflow-wrap:anywhere;color:var(--ink-muted)}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.85em}
pre{overflow-x:auto;background:var(--stripe);padding:.7rem .9rem;border-radius:6px;margin:.5rem 0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.2rem;font-size:.9rem;margin:.6rem 0}
dt{color:var(--ink-muted)}dd{margin:0;overflow-wrap:anywhere;min-width:0}
details{margin:.8rem 0}summary{cursor:pointer;font-weight:600;padding:.3rem 0}
footer{margin-top:3.5rem;padding-bottom:2.5rem;color:var(--ink-muted);font-size:.85rem}
.words{white-space:normal;min-width:15rem}
.lines{padding-left:1.1rem;font-size:.9rem}.lines li{margin:.3rem 0;overflow-wrap:anywhere}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
@media(max-width:42rem){
figure .scroll svg{max-width:none;width:46rem!important}
dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}
th,td,thead th.plain{padding:.38rem .5rem}th button{padding:.45rem .5rem}
table.board th:first-child{font-size:.8rem;min-width:calc(min(var(--name,9ch),15ch) + 2em)}
}
@media print{nav,.skip{display:none}figure,.card{break-inside:avoid}}
"""

LIGHT, DARK = "--link:#0b5cad;--stripe:#f4f3ef;", "--link:#8cc2ff;--stripe:#262625;"

JS = """
"use strict";
document.querySelectorAll("table.board").forEach(function (table) {
  var body = table.tBodies[0], heads = Array.from(table.tHead.rows[0].cells);
  var said = table.closest("section").querySelector("[aria-live]");
  heads.forEach(function (head, column) {
    var button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", function () {
      var now = head.getAttribute("aria-sort");
      var next = now === "ascending" ? "descending" : now === "descending" ? "ascending" : head.dataset.first;
      heads.forEach(function (other) { if (other.querySelector("button")) other.setAttribute("aria-sort", "none"); });
      head.setAttribute("aria-sort", next);
      var sign = next === "ascending" ? 1 : -1, text = head.dataset.kind === "text";
      var rows = Array.from(body.rows).map(function (row, place) {
        return { row: row, place: place, value: row.cells[column].dataset.value };
      });
      rows.sort(function (a, b) {
        // what is unknown stays at the end whichever way
        if (a.value === "" || b.value === "") return (a.value === "") - (b.value === "") || a.place - b.place;
        var order = text ? a.value.localeCompare(b.value) : Number(a.value) - Number(b.value);
        return order ? sign * order : a.place - b.place;
      });
      rows.forEach(function (entry) { body.appendChild(entry.row); });
      if (said) said.textContent = "Sorted by " + button.textContent + ", " + next + ".";
    });
  });
});
"""


def escape(value: object) -> str:
    """A value as text that cannot become markup."""
    return html.escape(str(value), quote=True)


def scrolling(label: str, content: str) -> str:
    """``content`` in a region named ``label`` that scrolls sideways where it is too wide."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">{content}</div>'


def table(label: str, heads: Sequence[str], rows: str, kind: str = "plain", *, narrow: bool = False) -> str:
    """A table under ``heads``, all of CSS class ``kind``; ``narrow``: no wider than it must be."""
    head = "".join(f'<th class="{kind}" scope="col">{words}</th>' for words in heads)
    style = ' class="narrow"' if narrow else ""
    return scrolling(label, f"<table{style}><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")


def header(name: str, lead: str, quiet: str, links: Iterable[tuple[str, str]]) -> str:
    """The top of a page: its name, what it found, what it is about, and a menu of (anchor, words)."""
    menu = "".join(f'<li><a href="#{anchor}">{words}</a></li>' for anchor, words in links)
    return (
        '<a class="skip" href="#main">Skip to the results</a>\n<header>'
        f'<h1>{escape(name)}</h1><p class="lead">{escape(lead)}</p>'
        + (f'<p class="quiet">{escape(quiet)}</p>' if quiet else "")
        + (f'<nav aria-label="Sections"><ul>{menu}</ul></nav>' if menu else "")
        + "</header>"
    )


def document(name: str, head: str, sections: Sequence[str]) -> str:
    """The whole page: ``head`` from ``header``, and its sections."""
    style = (
        f":root{{color-scheme:light dark;{css_colours(False)}{LIGHT}}}"
        f"@media(prefers-color-scheme:dark){{:root{{{css_colours(True)}{DARK}}}}}{CSS}{curves.CSS}"
    )
    body = [head, "<main id='main'>", *sections, "</main>"]
    body.append(f"<footer>Made by nasharness {__version__}. This page loads nothing from anywhere.</footer>")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(name)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + f"\n<script>{JS}{curves.JS}</script>\n</body>\n</html>\n"
    )
