"""containerd-shim-runjail-v1: chooses the host and leaves the rest to `shim`."""

import _signal
import gc
import os
import sys

from runjail.cli.main import Context, _open_standard
from runjail.cli.parse import Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from runjail.host.base import Host
    from runjail.lifecycle.state import Store
    from runjail.shim.machine import Machine


def main() -> "NoReturn":
    """Run the command that containerd wants and end the process."""
    from runjail.shim import bootstrap
    from runjail.shim.machine import Engine

    gc.disable()  # a shim that stays enables it again
    _open_standard()
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    context = Context(Given())
    host = context.host()

    def store(root: str) -> "Store":
        from runjail.lifecycle.state import Store

        return Store(root, lambda: context.plugins(host))

    engine = Engine(host, _machine(host), store, lambda: _share(context))
    os._exit(bootstrap.main(sys.argv, engine))


def _machine(host: "Host") -> "Machine":
    if host.os == "freebsd":
        from runjail.host.freebsd_shim import FreeBSDShim

        return FreeBSDShim()
    from runjail.host.linux_shim import LinuxShim

    return LinuxShim()


def _share(context: Context) -> str:
    """Return whether containers share a shim by pod or by namespace (runjail.toml)."""
    path = context.settings()
    if not path:
        return "pod"
    from runjail.settings import read

    share: str = read(path)["shim"].get("share", "pod")
    return share
