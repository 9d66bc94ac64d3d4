"""Keeping the descendants of a process on Linux.

By prctl(2) PR_SET_CHILD_SUBREAPER; proc(5) says who they are.
"""

from __future__ import annotations

import _signal
import os

from runjail.host.linux import libc

PR_SET_CHILD_SUBREAPER = 36


class LinuxReaper:
    """`Kernel` for Linux."""

    def adopt(self) -> None:
        """Become the parent of every orphan below us. Raises OSError."""
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1)

    def kill_children(self) -> None:
        """Kill our children: theirs become ours then.

        By /proc, whose numbers may be those of another pid namespace than ours (a hook that init runs): so not kill(2).
        No number is used again before we have collected its process.
        """
        for number in _children():
            try:
                process = os.open(f"/proc/{number}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                _signal.pidfd_send_signal(process, _signal.SIGKILL)
            except ProcessLookupError:
                pass
            finally:
                os.close(process)


def _children() -> list[str]:
    try:
        descriptor = os.open("/proc/thread-self/children", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return [name for name in os.listdir("/proc") if name.isdigit() and _parent(name) == os.readlink("/proc/self")]
    try:
        return os.read(descriptor, 1 << 16).decode("ascii").split()
    finally:
        os.close(descriptor)


def _parent(number: str) -> str:
    """Return field 4 of /proc/PID/stat, "" for who is gone."""
    try:
        descriptor = os.open(f"/proc/{number}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 4096).decode("utf-8", "replace").rpartition(")")[2].split()[1]
    except OSError:
        return ""
    finally:
        os.close(descriptor)
