"""What the site has beyond its pages: the reference of commands, algorithms and packages, and links out of docstrings.

MkDocs calls these functions by their names (https://www.mkdocs.org/dev-guide/plugins/#events). A generated page is
written from the registry or from ``__all__``, so that nothing can be forgotten.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

#: packages of the Python reference, a page each, with what stands in the navigation
PACKAGES = {
    "nasharness": "nasharness",
    "nasharness.search": "search",
    "nasharness.search.one_shot": "search.one_shot",
    "nasharness.search.testing": "search.testing",
    "nasharness.spaces": "spaces",
    "nasharness.tables": "tables",
    "nasharness.studies": "studies",
    "nasharness.analysis": "analysis",
    "nasharness.analysis.statistics": "analysis.statistics",
    "nasharness.analysis.comparison": "analysis.comparison",
    "nasharness.analysis.validation": "analysis.validation",
    "nasharness.analysis.figures": "analysis.figures",
    "nasharness.analysis.report": "analysis.report",
    "nasharness.fronts": "fronts",
    "nasharness.hardware": "hardware",
    "nasharness.proxies": "proxies",
    "nasharness.errors": "errors",
}
#: a link as docstrings write it: a page's path from the root, or a reproduction note's name, and a place in it
LINK = re.compile(r"\b(?P<page>docs/[\w/-]+\.md|[a-z-]+\.md)(?P<place>#[\w-]+)?")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the generated pages into the navigation, and pages that it does not name at the end of their section."""
    for section in config.nav or []:
        for title, folder in {"How to": "how-to", "Reproduction notes": "reproduction"}.items():
            if isinstance(section, dict) and title in section:
                named = str(section[title])
                pages = sorted(Path(config.docs_dir, folder).glob("*.md"))
                section[title].extend(f"{folder}/{page.name}" for page in pages if f"{folder}/{page.name}" not in named)
        for entry in section.get("Reference", []) if isinstance(section, dict) else []:
            for title, target in entry.items():
                if target == "reference/algorithms/":
                    entry[title] = [f"{target}index.md", *({name: f"{target}{name}.md"} for name in families())]
                elif target == "reference/python/":
                    entry[title] = [{title: f"{target}{name}.md"} for name, title in PACKAGES.items()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Generate pages."""
    pages = {"reference/algorithms/index.md": listing()}
    pages |= {f"reference/algorithms/{name}.md": family(name, members) for name, members in families().items()}
    pages["reference/cli.md"] = command_line()
    pages["assets/site.css"] = "td:first-child code { white-space: nowrap; }\n"
    pages |= {f"reference/python/{name}.md": package(name) for name in PACKAGES}
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the references of docstrings into links."""

    def link(match: re.Match[str]) -> str:
        path = match["page"].removeprefix("docs/")
        path = path if "/" in path or match["page"].startswith("docs/") else f"reproduction/{path}"
        target = files.get_file_from_path(path)
        if target is None:
            return match[0]
        return f'<a href="{target.url_relative_to(page.file)}{match["place"] or ""}">{match[0]}</a>'

    if not page.file.src_uri.startswith("reference/"):
        return html
    outside = re.split(r"(<(?:pre|code|a)\b.*?</(?:pre|code|a)>|<[^>]*>)", html, flags=re.S)
    return "".join(part if part.startswith("<") else LINK.sub(link, part) for part in outside)


# ---- the command line


def command_line() -> str:
    """Every command with its arguments and options, as ``--help`` has them."""
    import click

    from nasharness.cli import cli

    lines = [
        "# Command line", "",
        "Exit codes: 0; 1 for a failed check; 2 for wrong usage; 130 for Ctrl-C. An error is one line; `nasharness "
        "--traceback COMMAND` shows where it was raised.", "",
    ]  # fmt: skip

    def add(command: click.Command, context: click.Context) -> None:
        lines.extend([f"## {context.command_path}", ""])
        for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
            literal = paragraph.startswith("\b\n")  # click's mark of lines that are not to be joined
            lines.extend(["```text", paragraph[2:], "```", ""] if literal else [paragraph, ""])
        usage = " ".join(piece.strip() for piece in command.collect_usage_pieces(context))
        lines.extend(["```text", f"{context.command_path} {usage}", "```", ""])
        found = (parameter.get_help_record(context) for parameter in command.get_params(context))
        options = [record for record in found if record]
        lines.extend(["| option | |", "|---|---|"] if options else [])
        for names, told in options:
            words = told.replace("|", "\\|").replace("[", "\\[").replace("<", "&lt;")
            lines.append(f"| `{names}` | {words} |")
        lines.append("")
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                if below is not None and not below.hidden:
                    add(below, click.Context(below, info_name=name, parent=context))

    add(cli, click.Context(cli, info_name="nasharness"))
    return "\n".join(lines)


# ---- algorithms


def families() -> dict[str, list[str]]:
    """Class's first name -> names of its variants, it first; one page each."""
    from nasharness.search import registry

    found: dict[Any, list[str]] = {}
    for name in registry.names():
        found.setdefault(registry.get(name).cls, []).append(name)
    return {min(names, key=len): sorted(names, key=len) for names in sorted(found.values())}


def listing() -> str:
    """Every algorithm with its line."""
    from nasharness.search import registry

    lines = [
        "# Algorithms",
        "",
        "As `nasharness list algos` has them; `nasharness list algos NAME` shows one's settings.",
        "",
    ]
    for kind, title in (("multi-trial", "On tables"), ("one-shot", "By weight sharing")):
        lines += [f"## {title}", "", "| algorithm | |", "|---|---|"]
        for name, members in families().items():
            if registry.get(name).kind == kind:
                variants = "".join(f", `{member}`" for member in members if member != name)
                lines.append(f"| [{name}]({name}.md){variants} | {registry.get(name).summary} |")
        lines.append("")
    return "\n".join(lines)


def family(name: str, members: list[str]) -> str:
    """One algorithm: what it is, its settings, its variants."""
    from nasharness import spaces
    from nasharness.search import registry
    from nasharness.training.proxy_search.settings import SETTINGS, defaults_of, told

    record = registry.get(name)
    summary, _, rest = (inspect.getdoc(record.cls) or "").partition("\n")
    lines = [f"# {name}", "", f"**{summary}**", "", rest.strip(), "", f"*{record.citation}*", ""]
    where = "every space that offers what it needs" if record.spaces == ("*",) else ", ".join(record.spaces)
    lines += [f"Kind: {record.kind}. Spaces: {where}. Needs: {', '.join(record.needs) or 'nothing more'}.", ""]
    if record.defaults:
        lines += ["## Settings", "", *settings(record.defaults, record.meanings)]
        lines += [f"`nasharness run --algo {name} --set {next(iter(record.defaults))}=VALUE` changes one.", ""]
    for space in spaces.graph_names():
        if name in spaces.graphs(space).algorithms:
            proxy = SETTINGS[space]
            lines += [f"## Settings on {space}", "", *settings(defaults_of(proxy, name), told(proxy))]
    variants = [member for member in members if member != name]
    if variants:
        lines += ["## Variants", "", "| name | what it is | settings that differ |", "|---|---|---|"]
        for member in variants:
            other = registry.get(member)
            changed = ", ".join(f"`{key}={value}`" for key, value in record.changed(other.defaults).items())
            lines.append(f"| `{member}` | {other.summary} | {changed} |")
    return "\n".join(lines) + "\n"


def settings(defaults: Mapping[str, Any], meanings: Mapping[str, str]) -> list[str]:
    """A table of settings, from "meaning; range; source"."""
    lines = ["| setting | default | meaning | range | source |", "|---|---|---|---|---|"]
    for key, default in defaults.items():
        meaning, *between, source = (part.strip() for part in meanings[key].split(";"))
        extent = "; ".join(between) or ("true, false" if isinstance(default, bool) else "")
        lines.append(f"| `{key}` | `{default}` | {meaning} | {extent} | {source} |")
    return [*lines, ""]


# ---- Python


def public(name: str) -> Iterator[tuple[str, Any]]:
    """Public names of a package with what they are: ``__all__``, or functions and classes that are its own."""
    package = importlib.import_module(name)
    for key in getattr(package, "__all__", None) or vars(package):
        thing = getattr(package, key)
        own = inspect.isfunction(thing) or inspect.isclass(thing)
        if hasattr(package, "__all__") or (own and not key.startswith("_") and thing.__module__.startswith(name)):
            yield key, thing


def package(name: str) -> str:
    """One package: its docstring, and all its public names."""
    lines = [f"# {name}", "", inspect.getdoc(importlib.import_module(name)) or "", ""]
    below = [other for other in PACKAGES if other.rpartition(".")[0] == name]
    lines += [f"- [`{other}`]({other}.md)" for other in below] + [""]
    for key, thing in public(name):
        if isinstance(thing, str) and key.startswith("__"):
            lines += [f'<a id="{name}.{key}"></a>', f"`{key}`: the installed version, a string.", ""]
        elif not isinstance(thing, ModuleType):
            lines += [
                f'<a id="{name}.{key}"></a>',
                "",
                f"::: {home(name, key, thing)}",
                "",
                comment(name, key, thing),
                "",
            ]
    return "\n".join(lines)


def comment(name: str, key: str, thing: Any) -> str:
    """What stands in ``#:`` above a constant."""
    if inspect.isfunction(thing) or inspect.isclass(thing):
        return ""
    for module in [found for other, found in sys.modules.items() if other.startswith(name)]:
        above = re.search(rf"((?:^#:.*\n)+){key}\b[^\n]* = ", inspect.getsource(module), flags=re.M)
        if above:
            return re.sub(r"^#: ?", "", above[1], flags=re.M)
    return ""


def home(name: str, key: str, thing: Any) -> str:
    """Where ``thing`` is written: what mkdocstrings is to read."""
    if inspect.isfunction(thing) or inspect.isclass(thing):
        return f"{thing.__module__}.{thing.__qualname__}"
    return f"{name}.{key}"
