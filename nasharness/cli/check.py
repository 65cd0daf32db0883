"""``nasharness check``."""

from __future__ import annotations

import click

from nasharness.cli.completion import Names
from nasharness.errors import NasharnessError, where


@click.command("check")
@click.argument("names", type=Names("algos"), metavar="NAME...", nargs=-1, required=True)
def command(names: tuple[str, ...]) -> int:
    """Run the conformance kit over algorithms, your own or ours: a line for every check.

    The same checks as nasharness.search.testing.CHECKS, or nasharness.supernets.testing.CHECKS for a one-shot
    algorithm. They run on made-up tables and images, and need no data. Exit code 1 when one fails.
    """
    from nasharness.search import registry

    for name in names:
        registry.get(name)
    return 1 if sum(_check(name) for name in names) else 0


def _check(name: str) -> int:
    """Print a line for each check of one algorithm; return how many failed."""
    from nasharness.search import registry
    from nasharness.search.run import files_of

    record = registry.get(name)
    if record.kind == registry.ONE_SHOT:
        from nasharness.cli.terminal import use_processors

        use_processors()
        from nasharness.supernets.testing import CHECKS
    else:
        from nasharness.search.testing import CHECKS
    failed = 0
    click.echo(name)
    for check in CHECKS:
        try:
            check(name)
        except (AssertionError, NasharnessError) as error:
            verdict, line = "FAILED", " ".join(str(error).split())
        except (Exception, SystemExit) as error:
            verdict, line = "FAILED", where(error, files_of(record))
        else:
            verdict, line = "ok", (check.__doc__ or "").partition("\n")[0].replace("``", "")
        failed += verdict != "ok"
        click.echo(f"  {verdict:<6}  {check.__name__.removeprefix('check_'):<9}  {line}")
    click.echo(f"  {f'{failed} of ' if failed else 'all '}{len(CHECKS)} checks {'failed' if failed else 'passed'}")
    return failed
