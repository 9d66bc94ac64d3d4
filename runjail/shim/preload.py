"""What a shim loads while its first worker runs: all that it and its workers may ever run.

Another version may be installed over this one while containers run, and a file that is read then belongs to nobody's
version. What is loaded before gc.freeze is also shared by all workers. Nearly all of it comes from one more file of
bytecode: searched one by one these modules take twice as much processor time, 2.8 ms more of a container's 70.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

ROOMS = os.path.dirname(os.path.dirname(__file__))
PACKAGES = ("container", "nri", "spec")  # and one of the host's
# Settings are loaded already where `start` has read a runjail.toml; elsewhere tomllib would be a waste.
MODULES = ("host.child", "host.programs", "host.reaper", "locks", "sizes", "target")
COLD = {  # modules of packages that only the command line uses, in any of them or in one
    "__init__",
    "attached",
    "check",
    "container.attach",
    "exit_record",
    "files_inside",
    "foreground",
    "inspect",
    "logs",
    "monitor",
    "output_log",
    "output_streams",
    "remake",
    "restart",
    "run",
    "stats",
    "terminal",
    "top",
}


def names(host: str, more: Sequence[str]) -> list[str]:
    """Return the names of all modules. host: the package of an operating system; more: what else it needs."""
    found = [*MODULES, *more]
    for package in (*PACKAGES, f"host.{host}"):
        files = os.listdir(f"{ROOMS}/{package.replace('.', '/')}")
        modules = [f"{package}.{file[:-3]}" for file in files if file.endswith(".py") and file[:-3] not in COLD]
        found += [module for module in modules if module not in COLD]
    return [f"runjail.{name}" for name in found]


def load(host: str, more: Sequence[str]) -> None:
    """Load them."""
    for name in names(host, more):
        __import__(name)
