"""nasharness: find out whether a neural-architecture-search algorithm, or a fix to one, is really better.

Three lines search a table::

    import nasharness
    result = nasharness.run("autoshrink", space="tss", runs=500)
    print(result)

``study``, ``compare``, ``validate`` and ``score`` do what the commands of these names do::

    results = nasharness.study(["random", "rea"], "results/first", runs=100, evaluations=100)
    print(nasharness.compare(results))
    print(nasharness.validate("rea(population=20)", "rea", evaluations=100))
"""

from __future__ import annotations

from typing import Any

from nasharness.version import __version__

__all__ = ["__version__", "compare", "run", "score", "study", "validate"]


def __getattr__(name: str) -> Any:
    # `import nasharness` must cost nothing: the loop, and numpy with it, arrives on first use.
    if name == "run":
        from nasharness.search import run

        return run
    if name in __all__:
        from nasharness import api

        return getattr(api, name)
    raise AttributeError(f"module 'nasharness' has no attribute {name!r}")
