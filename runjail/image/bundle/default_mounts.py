"""The file systems and limits that a container made of an image starts with."""

from __future__ import annotations

import os

from runjail.target import TARGETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Mounts = Sequence[dict[str, Any]]

RESOLVER = "/etc/resolv.conf"
DAD = "net/ipv6/conf/default/accept_dad"  # whether an address is first looked for elsewhere (RFC 4862, 5.4)
# Docker's default set: what programs in images expect of root, and no more.
CAPABILITIES = [
    f"CAP_{name}"
    for name in (
        "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT "
        "KILL AUDIT_WRITE"
    ).split()
]
CONFINED: dict[str, Any] = {
    "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
    "noNewPrivileges": False,  # sudo and su of images work, within the capabilities above
}
# What of /proc and /sys speaks about the whole machine (runc's and docker's lists).
MASKED = (
    "/proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug /proc/scsi "
    "/proc/timer_list /proc/timer_stats /sys/devices/virtual/powercap /sys/firmware"
).split()
READONLY = "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger".split()


def mounts(system: str, host: str) -> Mounts:
    """Return the mounts of an image for `system` on a host, parents first. Both are names of TARGETS."""
    if TARGETS[system].jails:
        return (_mount("/dev", "devfs", "ruleset=4"), _mount("/dev/fd", "fdescfs"))
    return _LINUX_ON_FREEBSD if TARGETS[host].jails else _LINUX


def volume(path: str) -> dict[str, Any]:
    """Return a writable place in a root that is not: with what the image has there, gone with the container."""
    return _mount(path, "tmpfs", "nosuid", "mode=0755", "tmpcopyup")


def is_kernels(path: str) -> bool:
    """Whether a volume would lie where the kernel's own file systems are: what they show is not to be covered."""
    return path.split("/")[1] in ("dev", "proc", "sys")


def resolver(host: str) -> Mounts:
    """Return what shows the host's name servers, nothing when it has none."""
    source = os.path.realpath(RESOLVER)
    return (file(RESOLVER, source, host, "ro"),) if os.path.isfile(source) else ()


def file(place: str, source: str, host: str, *more: str) -> dict[str, Any]:
    """Return the mount of one file of the host. more: further options."""
    kind, own = ("nullfs", ()) if TARGETS[host].jails else ("bind", ("bind",))
    return {"destination": place, "type": kind, "source": source, "options": [*more, "nosuid", "noexec", *own]}


def linux(network: str) -> dict[str, Any]:
    """Return the linux section. network: "host", "none", "private" for what a program fills, or a namespace's path."""
    kept: list[dict[str, str]] = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]
    if network != "host":
        kept.append({"type": "network"} if network in ("none", "private") else {"type": "network", "path": network})
    found: dict[str, Any] = {"namespaces": kept, "maskedPaths": MASKED, "readonlyPaths": READONLY}
    if network == "private" and os.path.exists(f"/proc/sys/{DAD}"):
        found["sysctl"] = {DAD.replace("/", "."): "0"}  # or IPv6 would be there two seconds later, unlike podman's
    return found


def _mount(destination: str, kind: str, *options: str, source: str = "") -> dict[str, Any]:
    mount: dict[str, Any] = {"destination": destination, "type": kind, "source": source or kind}
    return mount | ({"options": list(options)} if options else {})


_LINUX_ON_FREEBSD = (
    _mount("/proc", "linprocfs", "nosuid", "noexec"),
    _mount("/sys", "linsysfs", "nosuid", "noexec"),
    _mount("/dev", "devfs", "ruleset=4", "rule=path shm unhide mode 1777"),
    _mount("/dev/fd", "fdescfs", "linrdlnk"),
    _mount("/dev/shm", "tmpfs", "nosuid", "noexec", "mode=1777", "size=64m"),
)
_LINUX = (
    _mount("/proc", "proc", "nosuid", "noexec", "nodev"),
    _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
    _mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
    _mount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k", source="shm"),
    _mount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
    _mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
    _mount("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
)
