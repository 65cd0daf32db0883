"""Where a result comes from: version, git revision, platform, command."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from nasharness.errors import printable
from nasharness.version import __version__


def provenance(**more: Any) -> dict[str, Any]:
    """Version, Python, platform, git revision and command of this process; ``more`` comes after, and goes before."""
    return {
        "nasharness": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "git_revision": git_revision(),
        "command": [printable(word) for word in (Path(sys.argv[0]).name, *sys.argv[1:])],
    } | more


def git_revision() -> str | None:
    """Revision of the checkout nasharness runs from, with ``-dirty`` where files differ; None when installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=root, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
