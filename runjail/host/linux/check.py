"""What `runjail check` says about Linux: a row for each privilege, tried in a process of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from runjail.errors import HostError, reason
from runjail.host import interpreter
from runjail.host.linux import cgroups, devices, libc, libseccomp, rights, systemd

Row = tuple[str, bool, str, str]
NAMESPACES = {
    "pid": libc.CLONE_NEWPID,
    "mount": libc.CLONE_NEWNS,
    "uts": libc.CLONE_NEWUTS,
    "ipc": libc.CLONE_NEWIPC,
    "network": libc.CLONE_NEWNET,
    "cgroup": libc.CLONE_NEWCGROUP,
}
ENFORCING = ("memory", "cpu", "cpuset", "pids")
NULL = (0o20666, 1, 3)  # mode and number of /dev/null


def check() -> list[Row]:
    """Return rows of what, whether it works, what was found, what mends it ("" where nothing has to be mended)."""
    root = os.geteuid() == 0
    return [
        ("root", root, f"euid {os.geteuid()}", "" if root else "run as root"),
        *_namespaces(),
        *_mounts(),
        *interpreter.check(),
        *control_groups(),
        systemd.check(),
        devices.check(),
        _user_namespaces(),
        _seccomp(),
        _security_modules(),
        _zfs(),
        ("product", True, "Linux is for development and CI; FreeBSD 14.2 or later is the product", ""),
    ]


def control_groups() -> list[Row]:
    """Return the rows about control groups and the limits they enforce."""
    tops = cgroups.directories("")
    writable = bool(tops) and all(os.access(directory, os.W_OK) for directory in tops)
    found, remedy = ("writable", "") if writable else _not_writable(tops)
    version = "v2, " if cgroups.unified() else "v1, " if tops else ""
    if cgroups.unified():
        there = cgroups.content(f"{cgroups.TOP}/cgroup.controllers").split()
    else:
        there = [name for name in ENFORCING if cgroups.is_mounted(name)]
    lacking = [name for name in ENFORCING if name not in there]
    limits = f"no controller for {', '.join(lacking)}" if lacking else f"{', '.join(ENFORCING)} can be limited"
    return [
        ("control groups", writable, version + found, remedy),
        (
            "resource limits",
            writable and not lacking,
            limits if writable else f"not enforced: control groups are {found}",
            remedy or ("enable these cgroup controllers in the kernel" if lacking else ""),
        ),
    ]


def _not_writable(tops: list[str]) -> tuple[str, str]:
    """Return why no control group can be made, and what mends it."""
    if not tops:
        return "not mounted", f"mount -t cgroup2 cgroup2 {cgroups.TOP}; in a container it takes docker run --privileged"
    if os.statvfs(tops[0]).f_flag & os.ST_RDONLY:
        return "read-only", f"mount -o remount,rw {cgroups.TOP}"
    return "root's alone", "run as root; what systemd delegates is used with --systemd-cgroup"


def _namespaces() -> list[Row]:
    """One row for all kinds that work, one for each that does not."""
    refusals = {kind: attempt(libc.unshare, flag) for kind, flag in NAMESPACES.items()}
    rows = [
        (f"namespaces: {kind}", False, f"unshare(2): {reason(error)}", rights.hint(error) or "")
        for kind, error in refusals.items()
        if error
    ]
    if len(rows) == len(NAMESPACES):
        return [("namespaces", *rows[0][1:])]
    return [("namespaces", not rows, " ".join(kind for kind, error in refusals.items() if not error), ""), *rows]


def _mounts() -> list[Row]:
    """Mounts, and device nodes on one of them: there they harm nobody."""
    mounts = _tried("mounts", _mount, "mount(2) works in a namespace of its own")
    if not mounts[1]:
        return [mounts, ("devices", False, "not tried without mounts", mounts[3])]
    return [mounts, _tried("devices", _device, "device nodes can be made and opened", "CAP_MKNOD")]


def _tried(what: str, action: Callable[[], None], found: str, capability: str = "CAP_SYS_ADMIN") -> Row:
    error = attempt(action)
    if error is None:
        return (what, True, found, "")
    return (what, False, reason(error), rights.hint(error, capability) or "see the kernel's log")


def _mount() -> None:
    libc.unshare(libc.CLONE_NEWNS)
    libc.mount(None, "/", None, libc.MS_REC | libc.MS_PRIVATE)
    libc.mount("tmpfs", "/dev", "tmpfs")


def _device() -> None:
    _mount()
    mode, major, minor = NULL
    os.mknod("/dev/null", mode, os.makedev(major, minor))
    os.close(os.open("/dev/null", os.O_RDWR))  # a device cgroup refuses only this


def _user_namespaces() -> Row:
    """For root's information: only containers whose config.json asks for one need it; those of others always do."""
    error = attempt(libc.unshare, libc.CLONE_NEWUSER)
    if error is None:
        return ("user namespaces", True, "can be made", "")
    found = f"unshare(2): {reason(error)}"
    if os.geteuid():
        return ("user namespaces", False, found, rights.USER_NAMESPACES)
    return ("user namespaces", False, f"{found}; {rights.USER_NAMESPACES}", "")


def _seccomp() -> Row:
    actions = cgroups.content("/proc/sys/kernel/seccomp/actions_avail").split()
    if not actions:
        return ("seccomp", False, "this kernel has no filters", "")
    try:
        return ("seccomp", True, f"libseccomp {libseccomp.version()}", "")
    except HostError as error:
        return ("seccomp", False, "profiles are refused: libseccomp is not installed", error.hint or "")


def _security_modules() -> Row:
    names = cgroups.content("/sys/kernel/security/lsm")
    return ("security modules", True, names or "not known: securityfs is not mounted", "")


def _zfs() -> Row:
    """For information: without it images are kept in directories."""
    if not shutil.which("zfs"):
        return ("ZFS", False, "zfs(8) is missing; images are kept in directories", "")
    there = os.path.exists("/dev/zfs")
    return ("ZFS", there, "/dev/zfs is there" if there else "the module is not loaded; zfs-fuse may serve it", "")


def attempt(action: Callable[..., None], *arguments: object) -> OSError | None:
    """Do something in a child process, so that it has no effect here. Returns how it failed, None when it worked."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        number = 0
        try:
            action(*arguments)
        except OSError as error:
            number = error.errno or 0
        finally:
            try:
                os.write(writing, b"%d" % number)
            finally:
                os._exit(0)
    os.close(writing)
    try:
        number = int(os.read(reading, 16))
    finally:
        os.close(reading)
        os.waitpid(pid, 0)
    return OSError(number, os.strerror(number)) if number else None
