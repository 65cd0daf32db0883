"""nasharness: find out whether a neural-architecture-search algorithm, or a fix to one, is really better.

Three lines search a table::

    import nasharness
    result = nasharness.run("autoshrink", space="tss", runs=500)
    print(result)
"""

from __future__ import annotations

from typing import Any

from nasharness.version import __version__

__all__ = ["__version__", "run"]


def __getattr__(name: str) -> Any:
    # `import nasharness` must cost nothing: the loop, and numpy with it, arrives on first use.
    if name == "run":
        from nasharness.search import run

        return run
    raise AttributeError(f"module 'nasharness' has no attribute {name!r}")
