"""The namespaces of init: those that exist are joined, the others made, and what is set in them."""

from __future__ import annotations

import _socket
import fcntl
import sys

from runjail.errors import HostError, reason
from runjail.host.linux import cgroups, join, libc, mount_points, mounts, root
from runjail.host.linux.change import Change
from runjail.host.linux.rights import ask
from runjail.steps import CreateNamespaces, Sysctls

SIOCSIFFLAGS = 0x8914
IFF_UP = 1
LOOPBACK = b"lo".ljust(16, b"\0")  # struct ifreq: the name, then a union of 24 bytes
UNION = 24


def create(change: Change, step: CreateNamespaces) -> None:
    """Put this process into the container's control group and namespaces, and make its root a mount in them.

    The pid namespace is another's doing: a new one is made by fork_init, one to join is entered when we appear. So is a
    user namespace, to which all others belong (user_namespace.py).
    """
    host_state, new_root = change.host_state, change.root
    if not new_root.user:  # else user_namespace.py has done so
        _join(change, step)
    else:
        from runjail.host.linux import user_namespace

        user_namespace.require_way(host_state.root, step)
    join.free_cpus()
    new = 0
    for kind in step.new:
        new |= join.flag(kind) if kind not in ("pid", "user") else 0
    ask(f"making namespaces ({', '.join(step.new)})", "unshare(2)", libc.unshare, new)
    if "time" in step.new:
        if new_root.user:  # our files in /proc are the host's root's until we are dumpable; so far nobody is inside
            libc.prctl(libc.PR_SET_DUMPABLE, 1)
        _enter_time(step.time_offsets)
        if new_root.user:
            libc.prctl(libc.PR_SET_DUMPABLE, 0)
    if "network" in step.new:
        raise_loopback()
    new_root.points = mount_points.Points(host_state.source, step.bundle)
    ask("making the root a mount", "mount(2)", root.bind, host_state.root, step.propagation)
    if host_state.lacks_policy():
        ask("forbidding device files", "mount_setattr(2)", mounts.forbid_devices, host_state.root)
    new_root.readonly, new_root.propagation = step.readonly, step.propagation
    new_root.cgroups = "cgroup" in step.new or any(kind == "cgroup" for kind, _ in step.join)
    if step.hostname is not None:
        ask("setting the host name", "sethostname(2)", _socket.sethostname, step.hostname)
    if step.domainname is not None:
        ask("setting the domain name", "setdomainname(2)", libc.setdomainname, step.domainname)


def _join(change: Change, step: CreateNamespaces) -> None:
    if change.host_state.cgroup:
        cgroups.enter(change.host_state.cgroup)
    for kind, path in step.join:
        if kind == "pid":  # last of all: whoever is in there sees us then
            change.root.pids = join.open_one(path, kind)
        else:
            join.enter(path, kind)


def _sysctl_path(key: str) -> str:
    """Return where a setting is: the first of `.` and `/` parts the names, the other one stands for a dot in one.

    sysctl.d(5): `net.ipv4.conf.eth0/5.rp_filter` and `net/ipv4/conf/eth0.5/rp_filter` are the same.
    """
    first = min((key.find(mark) for mark in "./" if mark in key), default=-1)
    return key if key[first : first + 1] == "/" else key.translate(str.maketrans("./", "/."))


def _enter_time(offsets: tuple[tuple[str, int, int], ...]) -> None:
    """Set the clocks of the time namespace that was made for children, and be in it: time_namespaces(7)."""
    for clock, seconds, nanoseconds in offsets:
        try:
            cgroups.write("/proc/self/timens_offsets", f"{clock} {seconds} {nanoseconds}\n")
        except OSError as error:
            raise HostError(f"setting timeOffsets.{clock} to {seconds} s: {reason(error)}") from error
    join.enter("/proc/self/ns/time_for_children", "time")


def raise_loopback() -> None:
    """Bring `lo` up in our network namespace; the kernel gives it 127.0.0.1 and ::1 then."""
    door = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        fcntl.ioctl(door, SIOCSIFFLAGS, LOOPBACK + IFF_UP.to_bytes(2, sys.byteorder).ljust(UNION, b"\0"))
    except OSError as error:
        raise HostError(f"bringing up lo: {reason(error)}") from error
    finally:
        door.close()


def write_sysctls(change: Change, step: Sysctls) -> None:
    """Set kernel parameters of the namespaces, sysctl(8). Raises HostError with the key.

    Another container's namespace may be joined and set; the host's own may not, it would be the machine that changes.
    """
    for kind in step.joined:
        if join.inode(kind) == change.root.hosts[kind]:
            raise HostError(f"linux.sysctl: the {kind} namespace to join is the host's own", "leave out its settings")
    for key, value in step.values:
        try:
            cgroups.write(f"/proc/sys/{_sysctl_path(key)}", value)
        except OSError as error:
            raise HostError(f"setting sysctl {key}: {reason(error)}") from error
