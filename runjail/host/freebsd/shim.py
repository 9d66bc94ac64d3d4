"""What a containerd shim needs of FreeBSD beyond jails: reaping, and a root's mounts."""

from __future__ import annotations

import _signal
import os
import struct

from runjail import rootfs
from runjail.errors import HostError, reason
from runjail.host.base import HostState
from runjail.host.freebsd import libc as libc_freebsd
from runjail.host.freebsd.libc import Libc
from runjail.host.freebsd.mounts import BITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Sequence
    from typing import Any, NoReturn

PROC_REAP_ACQUIRE, PROC_PDEATHSIG_CTL = 2, 11
SOL_LOCAL, LOCAL_PEERCRED = 0, 1
XUCRED, XUCRED_SIZE = struct.Struct("II"), 88  # version and uid; groups and more follow
MODULES = (  # of this host: shim/preload.py
    "host.program_lock",
    *(f"plan.{name}" for name in ("freebsd", "freebsd_devfs", "freebsd_mounts", "freebsd_network", "freebsd_rctl")),
)
CLEARING = {"rw", "bind", "rbind", "suid", "exec", "atime"}
WITH_SOURCE = ("nullfs", "zfs", "unionfs")
NULLFS_KEYS = ("cache", "nocache")  # mount_nullfs(8); it is silent about any other word
MAPPED = ("uidmap", "gidmap")  # of Linux: the files have other ids than on the disk


class FreeBSDShim:
    """`ShimHost` for FreeBSD. libc: another kernel, for tests."""

    state = "/var/run/containerd"
    modules = MODULES

    def __init__(self, libc: Libc | None = None) -> None:
        self._libc = libc or libc_freebsd.load()

    def adopt_orphans(self) -> None:
        """Become the parent of every orphan below us, inside jails too (procctl(2), PROC_REAP_ACQUIRE)."""
        self._libc.procctl(PROC_REAP_ACQUIRE, None)

    def die_with_parent(self) -> None:
        """Be killed when our parent ends; our own children are not."""
        self._libc.procctl(PROC_PDEATHSIG_CTL, _signal.SIGKILL)

    def die_before(self, pid: int) -> None:
        """Do nothing: protection from being killed for memory is not inherited (protect(1))."""

    def peer(self, connection: _socket.socket) -> int:
        """Return the user at the other end of a Unix socket: the second number of struct xucred (unix(4))."""
        user: int = XUCRED.unpack_from(connection.getsockopt(SOL_LOCAL, LOCAL_PEERCRED, XUCRED_SIZE))[1]
        return user

    def mount(self, fstype: str, source: str, options: Sequence[str], root: str, below: str = "") -> None:
        """Mount a file system on a directory of ours, or on one below it, where links of an image may be.

        A bind mount is a nullfs here. Raises HostError. Changes the working directory.
        """
        fstype = "nullfs" if fstype in ("bind", "rbind", "none", "") else fstype
        flags, words = 0, [word for word in options if word not in CLEARING]
        pairs: list[tuple[str, str | None]] = [("fstype", fstype), ("fspath", ".")]
        if fstype in WITH_SOURCE:
            pairs.append(("from", source))
        for word in words:
            key, _, value = word.partition("=")
            if key in MAPPED or (fstype == "nullfs" and word not in (*BITS, *NULLFS_KEYS)):
                raise HostError(f"mounting {source} ({fstype}) on {root}{below}: FreeBSD has no option {word!r} for it")
            if word in BITS and fstype != "zfs":
                flags |= BITS[word]
            else:  # zfs takes no flags but names, and has one of its own
                pairs.append(("nosetuid" if word == "nosuid" else key, value or None))
        try:
            _enter(root, below)
            self._libc.nmount(pairs, flags)
        except OSError as error:
            raise HostError(f"mounting {source} ({fstype}) on {root}{below}: {reason(error)}") from error
        finally:
            os.chdir("/")

    def unmount(self, target: str) -> None:
        """Take away everything that is mounted on a directory or below; nothing there is success. Raises HostError."""
        from runjail.host.freebsd import unmount as freebsd_unmount

        freebsd_unmount.clear(self._libc, os.path.realpath(target))

    def ends_with_init(self, host_state: HostState) -> bool:
        """Return False: a jail lives on without its first process."""
        return False

    def oom_file(self, host_state: HostState) -> str:
        """Return "": rctl(8) kills without keeping count."""
        return ""

    def oom_kills(self, host_state: HostState) -> int:
        """Return 0: rctl(8) kills without keeping count."""
        return 0

    def watch_ooms(self, path: str) -> NoReturn:
        """Do nothing: oom_file names none."""
        raise HostError(f"nothing to watch: {path}")

    def more_usage(self, host_state: HostState) -> dict[str, Any]:
        """Return what containerd's metrics have beyond runc's stats document: rctl(8) has no more."""
        return {"unified": False, "memory_events": {}, "devices": {}, "rdma": None}


def _enter(root: str, below: str) -> None:
    """Stand in the directory to mount on: nmount(2) would follow links in its path."""
    directory = rootfs.open_root(root)
    place = rootfs.mount_point(directory, below, True, lambda *_made: None) if below else None
    found = place.open_directory() if place else directory
    os.fchdir(found)
    for descriptor in {found, directory, place.parent if place else directory}:
        os.close(descriptor)
