"""containerd-shim-runjail-v1: chooses the host and leaves the rest to `shim`."""

from __future__ import annotations

import _signal
import gc
import os
import sys

from runjail.shim import command_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from runjail.cli.context import Context
    from runjail.container.container import Runtime
    from runjail.shim.engine import Engine


def main() -> NoReturn:
    """Run the command that containerd wants and end the process. Its standard descriptors are always open."""
    gc.disable()  # a shim that stays enables it again
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    exposed = ""
    if sys.platform == "linux" and "start" in sys.argv:  # a shim and its workers execute what its `start` did
        from runjail.host.interpreter import secure

        exposed = secure()
    os._exit(command_line.main(sys.argv, lambda: _engine(exposed)))


def _engine(exposed: str) -> Engine:
    """Return the engine of this machine. A `delete` that has nothing to do needs none."""
    from runjail.cli.args import GLOBALS, Args
    from runjail.cli.context import Context
    from runjail.shim.engine import Engine

    context = Context(Args(GLOBALS))
    host = context.host()

    def runtime(root: str) -> Runtime:
        from runjail.container.container import Runtime

        return Runtime(host, root, lambda: context.plugins(host), context.allowed_params)

    return Engine(host, host.shim(), runtime, lambda: _share(context), exposed)


def _share(context: Context) -> str:
    """Return whether containers share a shim by pod or by namespace (runjail.toml)."""
    path = context.settings()
    if not path:
        return "pod"
    from runjail.settings import read

    share: str = read(path)["shim"].get("share", "pod")
    return share
