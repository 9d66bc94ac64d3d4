"""What `runjail check` says about a FreeBSD machine: each row with the exact command that mends it."""

from __future__ import annotations

import os

from runjail.errors import HostError
from runjail.host import programs
from runjail.host.freebsd import linux_abi
from runjail.host.freebsd.devfs import DEVFS
from runjail.host.freebsd.libc import Libc

Row = tuple[str, bool, str, str]
OLDEST = (14, 2)
NO_JAIL = 2**31 - 1
PATCHED = "15.1-RELEASE-p1"  # SA-26:38.jail: a reference count that jails could make run over


def check(libc: Libc) -> list[Row]:
    """Return rows of what, whether it works, what was found, the command that mends it ("" when all is well)."""
    root = os.geteuid() == 0
    return [
        _row("root", root, f"euid {os.geteuid()}", "su -m root -c 'runjail check'"),
        _release(os.uname().release),
        _switch(
            libc,
            "resource limits (racct)",
            "kern.racct.enable",
            "echo kern.racct.enable=1 >> /boot/loader.conf && shutdown -r now",
        ),
        _devfs(),
        _switch(libc, "own network stacks (vnet)", "kern.features.vimage", "build a kernel with options VIMAGE"),
        _module(libc, "ZFS", "vfs.zfs.version.spa", "sysrc zfs_enable=YES && service zfs start"),
        *_linux(libc),
        _labels(libc),
        _descriptors(libc),
    ]


def _row(what: str, works: bool, found: str, mend: str) -> Row:
    return (what, works, found, "" if works else mend)


def _release(release: str) -> Row:
    numbers = release.partition("-")[0].split(".")
    version = tuple(int(number) for number in numbers[:2] if number.isdigit())
    if version >= OLDEST and release in ("15.1-RELEASE", "15.0-RELEASE"):
        return ("FreeBSD", False, f"{release}, before the jail fix of {PATCHED}", "freebsd-update fetch install")
    return _row("FreeBSD", version >= OLDEST, release, "freebsd-update upgrade -r 15.1-RELEASE")


def _switch(libc: Libc, what: str, name: str, mend: str) -> Row:
    try:
        value = int.from_bytes(libc.sysctl(name), "little")
    except OSError:
        return (what, False, f"{name} is not in this kernel", mend)
    return _row(what, value == 1, f"{name}={value}", mend)


def _module(libc: Libc, what: str, name: str, mend: str) -> Row:
    """A module that is loaded shows in its variables; no program is needed to ask."""
    try:
        libc.sysctl(name, 256)
    except OSError:
        return (what, False, "module is not loaded", mend)
    return (what, True, "module is loaded", "")


def _linux(libc: Libc) -> list[Row]:
    if not linux_abi.runs_linux(libc):
        return [("Linux programs", False, "module linux64 is not loaded", linux_abi.START)]
    brand = linux_abi.fallback_brand(libc)
    mend = f"sysctl {linux_abi.BRAND}={linux_abi.LINUX}"
    unbranded = _row("Linux programs without a brand", brand == linux_abi.LINUX, f"{linux_abi.BRAND}={brand}", mend)
    return [("Linux programs", True, "module linux64 is loaded", ""), unbranded]


def _labels(libc: Libc) -> Row:
    """Jail metadata, for information: without it nothing is lost that `runjail list` does not show."""
    try:
        room = int.from_bytes(libc.sysctl("security.jail.meta_maxbufsize"), "little")
    except OSError:
        return ("container ids in jls", True, "this kernel has no jail parameter meta; see runjail list", "")
    return ("container ids in jls", True, f"jls -j NAME meta.org.runjail.id; {room} bytes a jail", "")


def _descriptors(libc: Libc) -> Row:
    try:
        libc.jail_descriptor(NO_JAIL)
    except OSError:  # it knows what a descriptor is, and that there is no such jail
        return ("removal by jail descriptor", True, "this kernel has them", "")
    return ("removal by jail descriptor", True, "this kernel has none; jails are removed by number", "")


def _devfs() -> Row:
    try:
        rules = programs.check([DEVFS, "rule", "-s", "4", "show"]).stdout.splitlines()
    except HostError as error:
        return ("devfs rules", False, str(error), "service devfs restart")
    return _row("devfs rules", bool(rules), f"ruleset 4 has {len(rules)} rules", "service devfs restart")
