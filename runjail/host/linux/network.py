"""A container's network namespace that exists before its init: CNI plugins fill it.

A file on which the namespace is mounted keeps it, as ip-netns(8) does it. So it is there when plugins take back what
they have made, whoever has died by then.
"""

from __future__ import annotations

import errno
import os

from runjail.errors import HostError, reason
from runjail.host.linux import libc, namespaces
from runjail.host.linux.net_devices import OWN_NAMESPACE
from runjail.host.linux.netlink import RouteSocket
from runjail.host.linux.rights import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.base import HostState, Note, UndoLog
    from runjail.host.linux.change import Change
    from runjail.host.networks import NetworkProgram


class LinuxNetworks:
    """`NetworkHost` for Linux."""

    def name(self, directory: str) -> str:
        """Return the path of a file on which a namespace will be mounted."""
        return f"{directory}/netns"

    def make(self, name: str, host_state: HostState, note: UndoLog) -> None:
        """Make a network namespace with `lo` up, and mount it on a new file. Raises HostError."""
        note({"undo": "netns", "path": name})
        try:
            os.close(os.open(name, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400))
        except OSError as error:
            raise HostError(f"making {name}: {reason(error)}") from error
        own = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            ask("making a network namespace", "unshare(2)", libc.unshare, libc.CLONE_NEWNET)
            try:
                namespaces.raise_loopback()
                ask("keeping the network namespace", "mount(2)", libc.mount, OWN_NAMESPACE, name, "", libc.MS_BIND)
            finally:
                libc.setns(own, libc.CLONE_NEWNET)
        finally:
            os.close(own)

    def has(self, name: str) -> bool:
        """Say whether a namespace is mounted there."""
        return is_there(name)

    def traffic(self, host_state: HostState) -> tuple[int, int] | None:
        """Return the sums of its interfaces but `lo`: proc_pid_net(5), /proc/PID/net/dev."""
        if host_state.namespaces.get("net") in (None, os.stat(OWN_NAMESPACE).st_ino):
            return None
        try:
            with open(f"/proc/{host_state.pid}/net/dev", encoding="utf-8", errors="replace") as file:
                rows = [line.partition(":") for line in list(file)[2:]]
        except OSError:  # it has ended
            return None
        counts = [rest.split() for name, _, rest in rows if name.strip() != "lo"]
        return sum(int(words[0]) for words in counts), sum(int(words[8]) for words in counts)

    def remove_bridge(self, name: str) -> bool:
        """Remove a bridge unless somebody is at it; what is no bridge stays. Raises HostError."""
        link, ports = RouteSocket(), 0
        try:
            index, ports = link.bridges().get(name, (0, 0))
            if index and not ports:
                link.remove(index)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise HostError(f"removing the bridge {name}: {reason(error)}") from error
        finally:
            link.close()
        return not ports

    def run(self, program: NetworkProgram, host_state: HostState, note: UndoLog) -> None:
        """Have a process of ours watch over it."""
        from runjail.host.linux import network_program

        network_program.run(program, host_state, note)


def is_there(path: str) -> bool:
    """Say whether a namespace is mounted on the file: it is on the kernel's file system of namespaces then."""
    try:
        return os.stat(path).st_dev == os.stat(OWN_NAMESPACE).st_dev
    except OSError:
        return False


def remove(_change: Change, note: Note) -> None:
    """Unmount the namespace, which ends with the last process in it, and remove the file."""
    path = note["path"]
    try:
        while is_there(path):
            libc.umount(path, libc.MNT_DETACH)
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise HostError(f"removing the network namespace {path}: {reason(error)}") from error
