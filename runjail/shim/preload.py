"""What a shim loads when it starts: all that it and its workers may ever run.

Another version may be installed over this one while containers run, and a file that is read then belongs to nobody's
version. What is loaded before gc.freeze is also shared by all workers.
"""

from __future__ import annotations

MODULES = (  # imported inside functions for the sake of quick verbs, or only where something is configured
    "runjail.container.hooks",
    "runjail.container.nri",
    "runjail.container.reserve",
    "runjail.host.reaper",
    "runjail.host.child",
    "runjail.nri.invoke",
    "runjail.settings",
    "runjail.spec.capabilities",
    "runjail.spec.seccomp",
)


def load(host: tuple[str, ...]) -> None:
    """Load everything. host: the names of modules that this operating system needs."""
    for name in (*MODULES, *host):
        __import__(name)
