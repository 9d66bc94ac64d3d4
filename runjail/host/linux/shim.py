"""What a containerd shim needs of Linux beyond containers: reaping, and a root's mounts."""

from __future__ import annotations

import _signal
import errno
import os
import struct

from runjail.errors import HostError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Sequence
    from typing import Any

    from runjail.host.base import HostState
    from runjail.host.linux.oom import OomWatch

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
CLEARING = {"rw", "suid", "dev", "exec", "async", "atime", "diratime", "defaults", "nomand", "bind", "rbind"}
CLEARING |= {"norelatime", "nostrictatime"}
MODULES = tuple(  # of this host: shim/preload.py
    f"plan.{name}" for name in ("device_rules", "linux", "linux_cgroup", "systemd_scope", "user_namespace", "variants")
)
UCRED = struct.Struct("iII")  # pid, uid, gid
KILLABLE = 999  # the score next to those that are always killed first
MAPPED = ("uidmap=", "gidmap=")  # mount options for mapped_root, which few containers need loaded
PAGE = 4095  # bytes of options that mount(2) takes


class LinuxShim:
    """`ShimHost` for Linux."""

    state = "/run/containerd"
    modules = MODULES

    def adopt_orphans(self) -> None:
        """Become the parent of every orphan below us (prctl(2), PR_SET_CHILD_SUBREAPER)."""
        from runjail.host.linux import libc

        libc.prctl(PR_SET_CHILD_SUBREAPER, 1)

    def die_with_parent(self) -> None:
        """Be killed when our parent ends; our own children are not."""
        from runjail.host.linux import libc

        libc.prctl(PR_SET_PDEATHSIG, _signal.SIGKILL)

    def die_before(self, pid: int) -> None:
        """Have an oom_score_adj one above another process's, as runc's shim has above containerd's (proc(5))."""
        with open(f"/proc/{pid}/oom_score_adj", encoding="utf-8") as theirs:
            score = int(theirs.read())
        with open("/proc/self/oom_score_adj", "w", encoding="utf-8") as ours:
            ours.write(str(min(score + 1, KILLABLE)))

    def peer(self, connection: _socket.socket) -> int:
        """Return the user at the other end of a Unix socket: the second number of struct ucred (unix(7))."""
        import _socket

        user: int = UCRED.unpack(connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, UCRED.size))[1]
        return user

    def mount(self, fstype: str, source: str, options: Sequence[str], root: str, below: str = "") -> None:
        """Mount a file system on a directory of ours, or on one below it, where links of an image may be.

        Raises HostError. May change the working directory.
        """
        from runjail import rootfs
        from runjail.host.linux import libc
        from runjail.host.linux.mounts import mount_on

        try:
            if not below:
                _mount_kind(lambda *words: libc.mount(words[0], root, *words[1:]), fstype, source, options, root)
                return
            directory = rootfs.open_root(root)
            place = rootfs.mount_point(directory, below, True, lambda *_made: None)
            try:
                here = f"/proc/self/fd/{place.parent}/{place.name}"
                _mount_kind(lambda *words: mount_on(place, *words), fstype, source, options, here)
            finally:
                place.close()
                os.close(directory)
        except OSError as error:
            raise HostError(f"mounting {source} ({fstype}) on {root}{below}: {reason(error)}") from error

    def unmount(self, target: str) -> None:
        """Take away everything that is mounted on a directory or below; nothing there is success. Raises HostError."""
        from runjail.host.linux import libc

        for point in _mounted(os.path.realpath(target)):
            try:
                libc.umount(point, libc.MNT_DETACH)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOENT):  # gone together with the one it was mounted on
                    raise HostError(f"unmounting {point}: {reason(error)}") from error

    def ends_with_init(self, host_state: HostState) -> bool:
        """Say whether the container has process numbers of its own, which the kernel ends with its init."""
        own = host_state.namespaces.get("pid") != os.stat("/proc/self/ns/pid").st_ino
        return bool(host_state.namespaces) and own and bool(host_state.namespaces.get("first", 1))

    def oom_file(self, host_state: HostState) -> str:
        """Return where the kernel counts processes of the container that it kills for want of memory, "" nowhere."""
        from runjail.host.linux import oom

        return oom.file(host_state)

    def oom_kills(self, host_state: HostState) -> int:
        """Return what its control group counts, 0 without one."""
        from runjail.host.linux import oom

        return oom.kills(oom.file(host_state))

    def watch_ooms(self, path: str) -> OomWatch:
        """Watch such a file. Raises OSError."""
        from runjail.host.linux import oom

        return oom.OomWatch(path)

    def more_usage(self, host_state: HostState) -> dict[str, Any]:
        """Return what containerd's metrics have beyond runc's stats document."""
        from runjail.host.linux.more_usage import more_usage

        return more_usage(host_state)


def _mounted(directory: str) -> list[str]:
    """Return what is mounted on a directory and below it, the newest first (proc_pid_mounts(5))."""
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
        points = [line.split(" ", 2)[1] for line in file]
    for number in (9, 10, 32, 92):  # what is written as an octal escape, the backslash last
        points = [point.replace(f"\\{number:03o}", chr(number)) for point in points]
    return [point for point in reversed(points) if point == directory or point.startswith(directory + "/")]


def _mount_kind(on: Callable[..., None], fstype: str, source: str, options: Sequence[str], target: str) -> None:
    """Mount on a directory, with ids of its own where the options name some. on: mount(2) for that directory."""
    if any(word.startswith(MAPPED) for word in options):
        from runjail.host.linux import mapped_root

        mapped_root.mount(fstype, options, target, lambda words: _mount(on, fstype, source, words))
    else:
        _mount(on, fstype, source, options)


def _mount(on: Callable[..., None], fstype: str, source: str, options: Sequence[str]) -> None:
    """mount(2); on: makes the call for the place in question."""
    from runjail.host.linux import libc
    from runjail.host.linux.mounts import FLAGS

    flags, data = 0, []
    for word in options:
        if word in FLAGS:
            flags |= FLAGS[word]
        elif word not in CLEARING:
            data.append(word)
    words = {fstype, *options}
    if words & {"bind", "rbind"}:
        if data:  # the kernel would not look at them
            raise HostError(f"mounting {source} (bind): {data[0]!r} is not an option of a bind mount")
        on(source, None, libc.MS_BIND | (libc.MS_REC if "rbind" in words else 0))
        if flags:
            on(None, None, libc.MS_REMOUNT | libc.MS_BIND | flags)
    else:
        text = _shortened(data)
        if (size := len(os.fsencode(text))) > PAGE:
            raise HostError(f"mount options of {size} bytes: mount(2) takes {PAGE}")
        on(source, fstype, flags, text)


def _shortened(data: list[str]) -> str:
    """Return mount options; overlay's many layers are named from their common directory where they are too long."""
    text = ",".join(data)
    lower = next((word for word in data if word.startswith("lowerdir=")), "")
    if len(os.fsencode(text)) <= PAGE or not lower:
        return text
    layers = lower.removeprefix("lowerdir=").split(":")
    common = os.path.commonpath(layers)
    os.chdir(common)
    shorter = ":".join(os.path.relpath(layer, common) for layer in layers)
    return text.replace(lower, f"lowerdir={shorter}")
