"""The registry of zero-cost proxies, under the entry-point group ``nasharness.proxies``: see ``nasharness.plugins``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nasharness.errors import UsageError
from nasharness.plugins import Registry

if TYPE_CHECKING:
    from nasharness.proxies.candidate import Candidate

GROUP = "nasharness.proxies"
COMMAND = "nasharness list proxies"
Function = Callable[["Candidate"], float]


@dataclass(frozen=True)
class Proxy:
    """What is known of a proxy. ``function``: from a candidate to its score, higher is better; -inf for a network whose
    answer does not depend on the image, NaN for what has no score. ``citation``: the paper. ``summary``: one line.
    """  # noqa: D205 - fields

    name: str
    function: Function
    citation: str
    summary: str


def _origin(proxy: Proxy) -> tuple[str, str]:
    return inspect.getfile(proxy.function), proxy.function.__qualname__


_registry: Registry[Proxy] = Registry("proxy", GROUP, COMMAND, _origin)


def register(name: str, *, citation: str) -> Callable[[Function], Function]:
    """Register the decorated function under ``name``; the first line of its docstring is its summary.

    It is given a `Candidate`, an architecture that can be built, and returns its score, higher is better. Imports of
    torch belong into the function: names are listed without it. A name that is taken raises UsageError.
    """

    def decorate(function: Function) -> Function:
        if not name.isidentifier() or name in ("index", "arch", "dataset") or name.endswith("_time_s"):
            raise UsageError(
                f"proxy {name!r}: expected a name that can head a column of scores: letters, digits and _, not index, "
                "arch or dataset, and not ending in _time_s"
            )
        summary = (inspect.getdoc(function) or "").partition("\n")[0]
        _registry.add(name, Proxy(name, function, citation, summary))
        return function

    return decorate


def get(name: str) -> Proxy:
    """Return the proxy of that name, importing only the module that holds it. Raises UsageError for an unknown one."""
    return _registry.get(name)


def names() -> list[str]:
    """Every registered name, sorted; imports every module that registers one."""
    return _registry.names()


def broken() -> dict[str, str]:
    """Entry points that cannot be imported, with the reason."""
    return _registry.broken()
