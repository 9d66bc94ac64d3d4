"""proc for a pid namespace that has processes already, as containers of a pod share one.

A mount of proc shows the pid namespace of the process that opens the file system (fsopen(2)). Init itself must not be
in there before it has given up all that is the host's, so a process that has nothing opens it: no descriptor, an empty
root directory, no environment, no privilege but the one to mount, and no system call with which to use it otherwise.
"""

from __future__ import annotations

import _socket
import os
import struct

from runjail import signals
from runjail.errors import HostError
from runjail.host.base import ANSWER_SECONDS, close_others
from runjail.host.linux import join, libc, seccomp
from runjail.host.linux import libc_mounts as mounts
from runjail.host.linux.root import propagate_all, switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from runjail import rootfs

CAP_SYS_ADMIN = 21
RIGHTS = struct.Struct("i")


def mount_on(place: rootfs.ResolvedPath, pids: int, root: str, options: Sequence[tuple[str, str]]) -> None:
    """Mount proc for the pid namespace of a descriptor on a resolved place. root: any directory."""
    context = _prepare(pids, root)
    try:
        tree = mounts.fsmount(context, [("source", "proc"), *options])
    finally:
        os.close(context)
    try:
        mounts.move_mount(tree, place.parent, place.name)
    finally:
        os.close(tree)


def _prepare(pids: int, root: str) -> int:
    """Return what fsopen gives to a process in the pid namespace. Raises HostError when none comes."""
    parent_end, child_end = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    children = [os.fork()]
    if not children[0]:
        _send_one(child_end, pids, root)
    child_end.close()
    parent_end.settimeout(ANSWER_SECONDS)
    context = -1
    try:
        while context < 0 or len(children) < 2:
            number, ancillary, _, _ = parent_end.recvmsg(16, _socket.CMSG_SPACE(RIGHTS.size))
            for _level, _kind, rights in ancillary:
                (context,) = RIGHTS.unpack(rights[: RIGHTS.size])
                os.set_inheritable(context, False)
            if not number:
                raise HostError("the process that was to prepare it died")
            if not ancillary:
                children.append(int(number))  # who appeared in there
        return context
    except TimeoutError:
        raise HostError("the process that was to prepare it was stopped from inside") from None
    finally:
        parent_end.close()
        for pid in children:
            signals.kill_child(pid)


def _send_one(connection: _socket.socket, pids: int, root: str) -> NoReturn:
    """*child* Give up everything, appear in the pid namespace, send the descriptor."""
    try:
        join.hide()
        _leave(root)
        libc.setns(pids, libc.CLONE_NEWPID)
        close_others([connection.fileno()])
        os.closerange(0, 3)
        libc.capset(1 << CAP_SYS_ADMIN, 1 << CAP_SYS_ADMIN, 0)
        libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
        seccomp.allow_only((mounts.FSOPEN, libc.SYS_CLONE))
        join.appear(lambda pid: _send_pid(connection, b"%d" % pid))
        rights = RIGHTS.pack(mounts.fsopen("proc"))
        connection.sendmsg([b"0"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    finally:
        os._exit(1)


def _send_pid(connection: _socket.socket, text: bytes) -> None:
    connection.sendmsg([text])


def _leave(root: str) -> None:
    """Stand in an empty file system, in a mount namespace of our own that has nothing else."""
    libc.unshare(libc.CLONE_NEWNS)
    propagate_all("rprivate")
    libc.mount("none", root, "tmpfs", libc.MS_RDONLY | libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC)
    switch(root)
