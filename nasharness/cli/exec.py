"""``nasharness exec``: run a script with our tables in the place of ``nats_bench`` and ``nas_201_api``."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from types import TracebackType

import click

from nasharness.cli.completion import Names
from nasharness.errors import UsageError


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.option(
    "--table", type=Names("tables"), metavar="NAME", help="Answer from this table; by default from the best one here."
)
@click.argument("script", metavar="SCRIPT")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
def command(table: str | None, script: str, arguments: tuple[str, ...]) -> None:
    """Run SCRIPT as Python would; what it imports as nats_bench or nas_201_api answers from a table.

    Options of nasharness end at SCRIPT. The paths of archives that the script names are not looked at; test columns are
    open to it. A measurement that the table lacks raises, naming the table that has it.
    """
    if not Path(script).is_file():
        raise UsageError(f"no script at {script}; expected a Python file")
    from nasharness import cli

    for variable in cli.quieted:  # said for our own numpy; the script's is the script's business
        os.environ.pop(variable, None)
    from nasharness import compat

    compat.install(table)
    sys.argv = [script, *arguments]
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(script))
    try:
        runpy.run_path(script, run_name="__main__")
    except Exception as error:
        error = error.with_traceback(_of_script(error.__traceback__, script))
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(1)


def _of_script(trace: TracebackType | None, script: str) -> TracebackType | None:
    """The script's part of a traceback: ours lie above it, and below where one of our stand-ins refused."""
    while trace is not None and trace.tb_frame.f_code.co_filename != script:
        trace = trace.tb_next
    from nasharness import compat

    last = step = trace
    while step is not None:
        if os.path.dirname(step.tb_frame.f_code.co_filename) != os.path.dirname(compat.__file__):
            last = step
        step = step.tb_next
    if last is not None:
        last.tb_next = None
    return trace
