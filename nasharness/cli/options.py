"""Options that several commands share, options of one kind of work, and checks of what was given."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import click
from click.core import ParameterSource

from nasharness.cli.completion import Names
from nasharness.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., Any])


class Option(click.Option):
    """An option that says which ``modes`` of its command it is for; none: for all of them."""

    def __init__(self, *words: Any, modes: Sequence[str] = (), **attributes: Any) -> None:
        super().__init__(*words, **attributes)
        self.modes = tuple(modes)


def option(*words: str, modes: str | Sequence[str] = (), **attributes: Any) -> Callable[[Function], Function]:
    """Declare an option that is for one mode of its command, or for several; else as ``click.option``."""
    return click.option(*words, cls=Option, modes=(modes,) if isinstance(modes, str) else modes, **attributes)


class ModalCommand(click.Command):
    """A command that does several kinds of work; ``headings``: mode -> heading of the options that are for it alone."""

    headings: ClassVar[Mapping[str, str]] = {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings, first those of no mode, or of several."""
        rows: dict[str, list[tuple[str, str]]] = {"Options": [], **{heading: [] for heading in self.headings.values()}}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                modes = _modes(parameter)
                rows[self.headings[modes[0]] if len(modes) == 1 else "Options"].append(record)
        for heading, records in rows.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def _modes(parameter: click.Parameter) -> tuple[str, ...]:
    return parameter.modes if isinstance(parameter, Option) else ()


def given(context: click.Context, mode: str) -> dict[str, Any]:
    """Values, by name, of the options for ``mode`` alone that were given."""
    names = [one.name or "" for one in context.command.params if _modes(one) == (mode,)]
    return {name: context.params[name] for name in names if was_given(context, name)}


def was_given(context: click.Context, name: str) -> bool:
    """Whether an option was given, and not left at its default."""
    return context.get_parameter_source(name) is not ParameterSource.DEFAULT


def dashed(name: str) -> str:
    """``--keep-every`` for ``keep_every``."""
    return "--" + name.replace("_", "-")


def refuse(options: Mapping[str, Any], why: str) -> None:
    """Raise UsageError where there are any."""
    if options:
        raise UsageError(f"{', '.join(map(dashed, options))}: {why}")


def asked_of_a_table(*, modes: str | Sequence[str] = ()) -> Callable[[Function], Function]:
    """Declare what a search of a table is asked: budget, signal, final metric, table, settings.

    ``modes``: what all of them but the final metric, the table and the settings are for.
    """
    declared = (
        option("--evaluations", type=int, modes=modes, metavar="N", help="Budget in evaluations (default 200)."),
        option("--seconds", type=float, modes=modes, metavar="T", help="Budget in simulated seconds of training."),
        option(
            "--budget", modes=modes, metavar="nats|nb201",
            help="Budget of a paper, in simulated seconds: nats is 20,000 on CIFAR-10, 40,000 on CIFAR-100, 120,000 on "
            "ImageNet16-120; nb201 12,000 on CIFAR-10.",
        ),
        option("--signal", modes=modes, metavar="MEASURE",
               help="What the search sees: val@12, val@12:mean, val@200:777 ... (default: as the table says)."),
        option("--final", metavar="MEASURE",
               help="What results are scored by: test@200:mean ... (default: as the table says)."),
        option("--objective", "objectives", type=Names("objectives"), multiple=True, modes=modes, metavar="NAME",
               help="What is wanted besides: error, params, macs, a device's latency ...; repeatable."),
        option("--limit", "limits", multiple=True, modes=modes, metavar="'NAME <= X'",
               help="What an answer must keep, as in 'params <= 1.2'; repeatable."),
        option("--repeats", modes=modes, metavar="charged|free",
               help="Whether asking an architecture again costs again (default charged)."),
        option("--start", modes=modes, metavar="START",
               help="The first architectures of a run: own (the default), dense, random[:N], space-filling[:N], "
               "scores:FILE[@COLUMN][:N], FILE."),
        option("--stage", "stages", multiple=True, modes=modes, metavar="MEASURE",
               help="A cheaper measurement that may be asked first: cifar10/val@200 ...; repeatable, in order."),
        option("--environments", modes=modes, metavar="MEASURE,...",
               help="Measurements that every evaluation shows, in place of signal and objectives."),
        option("--target", modes=modes, metavar="MEASURE", help="The environment that results are scored by."),
        option("--realisations", modes=modes, metavar="all|N|M,...",
               help="Realisations of the signal's noise: all trials, N draws, or named measures (default: one)."),
        option(
            "--table", type=Names("tables"), metavar="NAME",
            help="embedded, light, official or the name of an imported one (default: the first of official, light, "
            "embedded that can answer).",
        ),
        option(
            "--set", "assignments", multiple=True, metavar="KEY=VALUE", callback=_assigned,
            help="Change a setting of the algorithm; may be repeated.",
        ),
    )  # fmt: skip

    def declare(command: Function) -> Function:
        for one in reversed(declared):
            command = one(command)
        return command

    return declare


def _assigned(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    return assignments(texts)


def assignments(texts: Sequence[str]) -> dict[str, str]:
    """Read KEY=VALUE. Raises UsageError."""
    settings = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key.strip():
            raise UsageError(f"--set {text!r}: expected KEY=VALUE, as in --set population=20")
        settings[key.strip()] = value
    return settings


#: folders in a path that is written to, and bytes of a name, which the usual file systems bound so
DEEPEST, LONGEST = 100, 240


def check_writable(out: Path, option: str = "--out") -> None:
    """Find out before the work, and not after it, that its result could not be kept."""
    existing = out
    if len(out.parts) > DEEPEST or max((len(os.fsencode(part)) for part in out.parts), default=0) > LONGEST:
        raise UsageError(f"{option} {out}: expected at most {DEEPEST} folders with names of at most {LONGEST} bytes")
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise UsageError(f"{option} {out}: {existing} is a file, expected a folder or a new name")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"{option} {out}: no permission to write in {existing}; choose another folder")


def words(text: str) -> list[str]:
    """Names of a list separated by commas, each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def whole_numbers(option: str, text: str) -> list[int]:
    """Whole numbers of at least 1, separated by commas. Raises UsageError."""
    try:
        numbers = [int(part) for part in words(text)]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise UsageError(f"{option} {text!r}: expected whole numbers of at least 1, as in 50,100,200")
    return numbers
