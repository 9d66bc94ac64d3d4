"""clearcfs: take the CPU quota off latency-sensitive containers.

These are the containers with the annotation `qos.class: ls`. FreeBSD: the jail's pcpu rules are removed with rctl(8).
Linux: the quota of the control group is lifted. CPU weights and CPU sets stay.
"""

from __future__ import annotations

import os

from runjail.errors import HostError
from runjail.host import programs
from runjail.nri.messages import JAIL_NAME
from runjail.nri.plugins import skel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.nri.plugins.skel import Metadata, Request

RCTL = "/usr/bin/rctl"
TOP = "/sys/fs/cgroup"
ANNOTATION, CLASS = "qos.class", "ls"
NOTHING = ("No such process", "disabled")  # rctl(8)'s words for: no rule of the kind, and no rules at all


def invoke(request: Request) -> Metadata:
    """Lift the quota of a container that is created, or whose limits were changed."""
    labels = skel.annotations_of(request)
    if request["state"] not in ("create", "update") or labels.get(ANNOTATION) != CLASS or not request.get("pid"):
        return {}
    jail = labels.get(JAIL_NAME, "")
    cleared = _clear_jail(jail) if jail else _clear_group(skel.group(request))
    return {"cpu.quota": "none"} if cleared else {}


def _clear_jail(name: str) -> bool:
    argv = [RCTL, "-r", f"jail:{name}:pcpu"]
    result = programs.run(argv)
    stderr = programs.first_line(result.stderr)
    if result.status and not any(words in stderr for words in NOTHING):
        raise HostError(f"{programs.command(argv)} returned {result.status}: {stderr}")
    return not result.status


def _clear_group(group: str) -> bool:
    if not group:
        return False
    for path, value in (
        (f"{TOP}/{group}/cpu.max", "max"),
        (f"{TOP}/cpu/{group}/cpu.cfs_quota_us", "-1"),
    ):
        if os.path.exists(path):
            with open(path, "w", encoding="ascii") as file:
                file.write(value)
            return True
    if not any(os.path.isdir(f"{directory}/{group}") for directory in (TOP, *_hierarchies())):
        raise HostError(f"control group {group}: not found below {TOP}")
    return False  # nothing shares out CPUs there


def _hierarchies() -> list[str]:
    return [f"{TOP}/{name}" for name in os.listdir(TOP)] if os.path.isdir(TOP) else []


def main() -> None:
    """Answer one request."""
    skel.main("clearcfs", invoke)
