"""What config.json says without effect on a system: it is told, so that nobody relies on it.

Nothing of this can make a container weaker than it would be without: FreeBSD isolates by jails, whatever the Linux
section says. What cannot be left out without harm is refused elsewhere.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from runjail.spec.model import Mount
    from runjail.target import Target

WINDOWS = ("process.commandLine", "process.user.username")
MEMORY = ("kernel", "kernelTCP", "useHierarchy")  # not recommended by the specification
ON_LINUX = (
    *WINDOWS,
    *(f"linux.resources.memory.{key}" for key in MEMORY),
    *(f"freebsd.jail.{key}" for key in ("host", "sysvmsg", "sysvsem", "sysvshm", "enforceStatfs", "allow")),
    "freebsd.devices",
)
ON_FREEBSD = (
    *WINDOWS,
    *(f"process.{key}" for key in ("capabilities", "oomScoreAdj", "apparmorProfile", "selinuxLabel")),
    *(f"linux.resources.memory.{key}" for key in ("reservation", "swappiness", "disableOOMKiller", *MEMORY)),
    "linux.resources.memory.checkBeforeUpdate",
    *(f"linux.resources.cpu.{key}" for key in ("shares", "burst", "realtimeRuntime", "realtimePeriod", "mems", "idle")),
    *(f"linux.resources.{key}" for key in ("devices", "blockIO", "hugepageLimits", "network", "rdma", "unified")),
    *(f"linux.{key}" for key in ("namespaces", "uidMappings", "gidMappings", "timeOffsets", "devices", "netDevices")),
    *(f"linux.{key}" for key in ("cgroupsPath", "rootfsPropagation", "seccomp", "sysctl", "maskedPaths")),
    *(f"linux.{key}" for key in ("readonlyPaths", "mountLabel", "intelRdt", "memoryPolicy", "personality")),
)
PERIOD, QUOTA = ("linux.resources.cpu.period", "linux.resources.cpu.quota")  # on FreeBSD one rule says both
OF_SUPERBLOCKS = ("sync", "dirsync", "mand")  # mount(2): a bind mount leaves them as its file system has them
# `ruleset` is none of them: /dev is like what the usual ones leave
FREEBSD_WORDS = ("cache", "nocache", "nomtime", "nonc", "pgread", "maxfilesize", "rule")
LINUX_WORDS = (
    "dirsync", "mand", "iversion", "lazytime", "noswap", "relatime", "rrelatime", "nodiratime", "rnodiratime",
    "shared", "rshared", "slave", "rslave", "unbindable", "runbindable",
)  # fmt: skip
CLEARED_BY = {
    "sync": "async", "mand": "nomand", "iversion": "noiversion", "lazytime": "nolazytime", "relatime": "norelatime",
    "rrelatime": "rnorelatime", "nodiratime": "diratime", "rnodiratime": "rdiratime",
}  # fmt: skip
LISTENER = ("linux.seccomp.listenerPath", "linux.seccomp.listenerMetadata")


def find_unused(document: dict[str, Any], target: Target, listened: bool) -> tuple[str, ...]:
    """Return the JSON paths of what a document says without effect; null, nothing, false and 0 say nothing.

    listened: whether somebody may listen to the seccomp filter.
    """
    paths = ON_FREEBSD if target.jails else ON_LINUX if listened else (*ON_LINUX, *LISTENER)
    if target.jails and not _has_value(document, QUOTA):
        paths = (*paths, PERIOD)
    unknown = _unknown_annotations(document.get("annotations")) if target.jails else []
    return (*(path for path in paths if _has_value(document, path)), *unknown)


def unused_options(mounts: Sequence[Mount], target: Target) -> tuple[str, ...]:
    """Return the JSON paths of the words of mounts[].options that change nothing, each with its word."""
    found = []
    for i, mount in enumerate(mounts):
        words = LINUX_WORDS if target.jails else _unused_words(mount)
        for j, text in enumerate(mount.options):
            word = text.partition("=")[0]
            if word in words and CLEARED_BY.get(word) not in mount.options[j:]:
                found.append(f"mounts[{i}].options[{j}] ({word})")
    return tuple(found)


def _unused_words(mount: Mount) -> tuple[str, ...]:
    """Return the words without effect on an entry that Linux mounts."""
    foreign = FREEBSD_WORDS if mount.type in ("devfs", "nullfs", "tmpfs") else ()
    return (*foreign, *OF_SUPERBLOCKS) if mount.bind else foreign


def unused_of_process(document: object) -> tuple[str, ...]:
    """Return the names of what a document of `exec --process` says without effect on FreeBSD."""
    paths = (path.partition(".") for path in ON_FREEBSD)
    return tuple(name for room, _, name in paths if room == "process" and _has_value(document, name))


def _unknown_annotations(annotations: object) -> list[str]:
    if not annotations or not isinstance(annotations, dict):
        return []
    from runjail.spec.annotations import PREFIX, has_effect
    from runjail.spec.problems import json_path

    return [json_path(("annotations", key)) for key in annotations if key.startswith(PREFIX) and not has_effect(key)]


def _has_value(document: object, path: str) -> bool:
    for key in path.split("."):
        document = document.get(key) if isinstance(document, dict) else None
    return bool(document)
