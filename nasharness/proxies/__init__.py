"""Zero-cost proxies: scores of untrained networks, and files of them that starts and `validate` read.

`register` adds one; see ``docs/how-to/proxies.md``. Importing this imports no torch.
"""

from nasharness.proxies.registry import Proxy, broken, get, names, register

__all__ = ["Proxy", "broken", "get", "names", "register"]
