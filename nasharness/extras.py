"""Optional dependencies: the command that installs them, whichever way nasharness itself was installed."""

from __future__ import annotations

import importlib
import json
import shlex
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from nasharness.errors import UsageError

#: the top of a checkout that this file lies in, if it does
_CHECKOUT = Path(__file__).resolve().parents[1]


def pip_install(extra: str) -> str:
    """Return the command that adds ``extra``: from the clone, the repository or the index nasharness came from."""
    origin = _origin()
    url, editable = str(origin.get("url", "")), ""
    if "dir_info" in origin:
        folder = Path(unquote(urlsplit(url).path))
        editable = "-e " if origin["dir_info"].get("editable") else ""
    elif "vcs_info" in origin:
        kind, commit = origin["vcs_info"]["vcs"], origin["vcs_info"]["commit_id"]
        return f"pip install 'nasharness[{extra}] @ {kind}+{url}@{commit}'"
    else:
        folder = _CHECKOUT
    if not (folder / "setup.cfg").is_file():  # installed from an index, or from a clone that has gone
        return f"pip install 'nasharness[{extra}]'"
    place = "." if folder == Path.cwd() else str(folder)
    return f"pip install {editable}{shlex.quote(f'{place}[{extra}]')}"


def module(name: str, why: str, extra: str) -> Any:
    """Import an optional package. Raises UsageError, which says why it is needed and how to get it, where it is not."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UsageError(f"{why}; get it with: {pip_install(extra)}") from None


def _origin() -> dict[str, Any]:
    """What pip wrote down about where it found nasharness (PEP 610); nothing of what comes from an index."""
    for dist in distributions(name="nasharness"):  # a build's NAME.egg-info in the checkout does not know
        text = dist.read_text("direct_url.json")
        if text:
            return dict(json.loads(text))
    return {}
