"""monitor: what `run -d` leaves running beside a container (container/monitor.py); `run` executes it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

from runjail.cli.args import Args, value
from runjail.cli.context import Context
from runjail.container.monitor import watch
from runjail.sizes import read_descriptor

HELP = ""
ARGS = ("ID",)
NAMES = ("stdout", "stderr", "stdin", "attach")
OPTIONS = tuple(value(name, "", "FD", "") for name in NAMES)  # hidden from help: only `run` passes them

EXECUTED = "/proc/self/exe"  # Linux: the interpreter through its read-only mount (host/interpreter.py)
PREFIX = "/dev/fd/"


def run(args: Args, context: Context) -> int:
    """Watch a container to its end."""
    streams = {}
    for name in NAMES:
        number = read_descriptor(args.text(name).removeprefix(PREFIX))
        if number is not None:
            streams[name] = number
    runtime = context.runtime()
    watch(runtime.find(args.positionals[0]), streams, becoming(runtime.root, context.nri_bin))
    return 0


def becoming(root: str, nri_bin: str) -> Callable[[str, Mapping[str, int]], None]:
    """Return what executes this verb instead of the present one: a process without all that made the container.

    root, nri_bin: what the global options say, "" for nothing; a container that is made again asks plugins, too.
    """

    def become(container_id: str, streams: Mapping[str, int]) -> None:
        known = ["--root", root, *(["--nri-bin", nri_bin] if nri_bin else [])]
        options = []
        for name, number in streams.items():
            os.set_inheritable(number, True)
            options += [f"--{name}", f"{PREFIX}{number}"]
        start = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
        words = [*start, *known, "monitor", *options, container_id]
        try:
            os.execv(EXECUTED if os.path.exists(EXECUTED) else sys.executable, words)
        except OSError:  # an update took it away: then the present process goes on
            pass

    return become
