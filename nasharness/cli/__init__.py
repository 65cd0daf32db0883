"""The command line: one file a command, and no logic that a Python user could not call.

Commands are imported when they are used, so that ``nasharness --help`` starts in a moment. Errors raised on purpose
are printed as one line and decide the exit code: 2 for usage, 1 for a failed check; 130 for Ctrl-C.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
import warnings
from typing import Any, TextIO

import click

from nasharness.cli.process import check_words, leave_nothing_to_flush, ready
from nasharness.errors import NasharnessError, printable, unknown
from nasharness.version import __version__

#: command -> module that holds a click command of that name, and the line that --help prints without importing it
COMMANDS = {
    "run": ("nasharness.cli.run", "Search with an algorithm: on a table, hundreds of times, or on images or text."),
    "study": ("nasharness.cli.study", "Run algorithms x data sets x seeds, resumably, here or on a cluster."),
    "watch": ("nasharness.cli.watch", "Show how far studies and trainings are that run elsewhere."),
    "list": ("nasharness.cli.list", "List algorithms, spaces, tables or data sets."),
    "show": ("nasharness.cli.show", "Show everything known of an architecture."),
    "compare": ("nasharness.cli.compare", "Compare the algorithms of one or more studies, with statistics."),
    "leaderboard": ("nasharness.cli.leaderboard", "Rank all algorithms on all tables here, and write the page."),
    "validate": ("nasharness.cli.validate", "Find out whether a change is better; check tables, papers, proxies."),
    "figures": ("nasharness.cli.figures", "Draw the figures of a study: PNG, PDF and the numbers behind them."),
    "report": ("nasharness.cli.report", "Write a study as one self-contained HTML page."),
    "score": ("nasharness.cli.score", "Score untrained networks by zero-cost proxies."),
    "train": ("nasharness.cli.train", "Train one architecture from scratch with the table's recipe."),
    "retrain": ("nasharness.cli.retrain", "Train a winner in full: on ImageNet, or on a text."),
    "export": ("nasharness.cli.export", "Write a trained network as a file that runs without nasharness."),
    "predict": ("nasharness.cli.predict", "What a trained network sees in images, or its perplexity of a text."),
    "check": ("nasharness.cli.check", "Run the conformance kit over an algorithm of yours."),
    "data": ("nasharness.cli.data", "Import, fetch, inspect and verify tables; fetch images."),
    "exec": ("nasharness.cli.exec", "Run a script written for nats_bench or nas_201_api on our tables."),
}


#: set by a shell that asks what a word could become
COMPLETE = "_NASHARNESS_COMPLETE"
#: set: errors that are meant for the user come with the traceback of where they were raised
TRACEBACK = "NASHARNESS_TRACEBACK"
#: variables that main set, and a script of somebody else's should not see
quieted: list[str] = []


def _traceback(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        os.environ[TRACEBACK] = "1"


def _traceback_option(hidden: bool = False) -> click.Option:
    return click.Option(
        ["--traceback"], is_flag=True, expose_value=False, is_eager=True, callback=_traceback, hidden=hidden,
        help=f"Show where an error was raised, too (also: {TRACEBACK}=1).",
    )  # fmt: skip


class _ReaderGoneError(Exception):
    """Who read standard output (head, less) has gone. Click would end the process itself, as a plug-in may not."""


class Commands(click.Group):
    """Loads a command when it is used."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _ReaderGoneError from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]  # `list` is a module of this package once it is loaded

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            raise unknown("command", cmd_name, COMMANDS, "nasharness --help")
        module, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), "command")  # noqa: B009 - untyped module
        if command.allow_interspersed_args and not any(option.name == "traceback" for option in command.params):
            command.params.append(_traceback_option(hidden=True))  # it is natural to add it at the end
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="nasharness")
def cli() -> None:
    """Find out whether a neural-architecture-search algorithm, or a fix to one, is really better."""


cli.params.append(_traceback_option())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    if COMPLETE in os.environ:
        from nasharness.cli.completion import answer

        answer(cli)
    # Models are small and many, one a run: threads inside a matrix product only wait for each other. Set before numpy
    # is imported; whoever sets it themselves is obeyed.
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        if variable not in os.environ:
            os.environ[variable] = "1"
            quieted.append(variable)
    ready()
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] != ["exec"]:  # a script says it in its own way
        warnings.showwarning = _warn
    code: Any = 0
    try:
        check_words(words)
        code = cli.main(args=words, prog_name="nasharness", standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as error:
        script = words[:1] == ["exec"]  # whose way to end it is
        code = error.code if script else _fail(f"a plug-in ended the process (SystemExit: {error.code})", 1)
    except BaseException as error:
        code = _outermost(error, words)
    finally:
        leave_nothing_to_flush()
    sys.exit(code if isinstance(code, int | str) else 0)  # a script's text is printed, and 1 its code


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Say what a library or ours warns of in one line, as everything else is said."""
    with contextlib.suppress(OSError, ValueError):
        click.echo(f"nasharness: {printable(str(message))}", err=True)


def _outermost(error: BaseException, words: list[str]) -> int:
    """Say in one line what went wrong, and return the exit code."""
    if os.environ.get(TRACEBACK, "0") != "0" and not isinstance(error, KeyboardInterrupt | click.Abort):
        traceback.print_exception(error)
    if isinstance(error, NasharnessError):
        return _fail(str(error), error.exit_code)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # whose message is the whole of --help
        with contextlib.suppress(OSError, ValueError):
            click.echo(error.format_message(), err=True)
        return 2
    if isinstance(error, click.ClickException):
        context = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "nasharness"
        return _fail(f"{error.format_message()} (see {context} --help)", 2)
    if isinstance(error, KeyboardInterrupt) or (
        isinstance(error, click.Abort) and not isinstance(error.__cause__, EOFError)
    ):
        return _fail("interrupted", 130)
    if isinstance(error, BrokenPipeError | _ReaderGoneError):
        return 141
    if isinstance(error, OSError) and not error.filename:  # standard output on a full disk, say
        return _fail(f"cannot write: {error.strerror or error}", 1)
    if isinstance(error, MemoryError):
        return _fail("out of memory; ask for fewer --runs at a time", 1)
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return _fail("there is no home folder for ~ to stand for: set HOME, or write the path in full", 2)
    cause = error.__cause__ if isinstance(error, click.Abort) and error.__cause__ is not None else error
    doing = next((word for word in words if word in COMMANDS), "nasharness")
    text = str(cause) or "no more is known"
    return _fail(f"{doing} failed unexpectedly, {type(cause).__name__}: {text} (where: add --traceback)", 1)


def _fail(message: str, code: int) -> int:
    with contextlib.suppress(OSError, ValueError):  # nobody hears it
        click.echo(f"nasharness: {printable(message)}", err=True)
    return code
