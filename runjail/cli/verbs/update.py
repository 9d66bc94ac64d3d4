"""update: the limits of a container, from a document, from options, or both (options win)."""

from __future__ import annotations

import os
from typing import Any

from runjail import log
from runjail.cli.args import Args, ignored, size, value
from runjail.cli.context import Context
from runjail.container.update import update
from runjail.errors import InvalidConfig, UsageError
from runjail.spec.document import in_file, read
from runjail.spec.resources import parse_resources

HELP = "change the limits of a container"
ARGS = ("ID",)
WHAT = "resources document"
KERNEL_MEMORY = ("kernel-memory", "kernel-memory-tcp")  # runc warns of them too: limits that kernels gave up
RDT = ("l3-cache-schema", "mem-bw-schema")  # refused
OPTIONS = (
    value("resources", "r", "FILE|-", "read the limits from this JSON document"),
    value("memory", "", "BYTES", "memory limit"),
    value("memory-reservation", "", "BYTES", "soft memory limit"),
    value("memory-swap", "", "BYTES", "limit of memory and swap together, -1 for none"),
    value("cpu-period", "", "MICROSECONDS", "period of the CPU quota"),
    value("cpu-quota", "", "MICROSECONDS", "CPU time in a period, -1 for no limit"),
    value("cpu-share", "", "N", "relative weight"),
    value("cpuset-cpus", "", "LIST", "processors, e.g. 0-2,5"),
    value("cpuset-mems", "", "LIST", "memory nodes"),
    value("pids-limit", "", "N", "number of processes, -1 for no limit"),
    value("blkio-weight", "", "N", "relative weight of block I/O"),
    value("cpu-burst", "", "MICROSECONDS", "CPU time beyond the quota that may be saved up"),
    value("cpu-idle", "", "N", "1: only CPU time that nobody else wants"),
    value("cpu-rt-period", "", "MICROSECONDS", "period of real-time processes"),
    value("cpu-rt-runtime", "", "MICROSECONDS", "their CPU time in a period"),
    *[ignored(name, "X") for name in (*KERNEL_MEMORY, *RDT)],
)

PLACES = {  # option: section and name in the document (runtime-spec, config-linux.md, resources)
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-share": ("cpu", "shares"),
    "cpu-burst": ("cpu", "burst"),
    "cpu-idle": ("cpu", "idle"),
    "cpu-rt-period": ("cpu", "realtimePeriod"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "blkio-weight": ("blockIO", "weight"),
    "cpuset-cpus": ("cpu", "cpus"),
    "cpuset-mems": ("cpu", "mems"),
    "pids-limit": ("pids", "limit"),
}


def run(args: Args, context: Context) -> int:
    """Change limits."""
    for option in RDT:
        if args.text(option):
            raise UsageError(f"--{option}: Intel RDT is not supported")
    for option in KERNEL_MEMORY:
        if args.text(option):
            log.warning(f"--{option}: without effect")

    path = args.text("resources") if args.text("resources") != "-" else "/dev/stdin"
    document = _document(path)
    for option, (section, name) in PLACES.items():
        if option in args.options:
            text = args.text(option)
            part = document.setdefault(section, {})
            if not isinstance(part, dict):
                raise UsageError(f"--resources {path}: {section} is not an object")
            part[name] = text if option.startswith("cpuset") else size(text, f"--{option}")
    try:
        resources = parse_resources(document)
    except InvalidConfig as error:
        raise error if not path else in_file(path, error, WHAT) from None
    update(args.positionals[0], resources, context.runtime())
    return 0


def _document(path: str) -> dict[str, Any]:
    if not path:
        return {}
    document = read(os.path.abspath(path), WHAT)
    if not isinstance(document, dict):
        raise UsageError(f"--resources {path}: not a JSON object")
    return document
