"""Pid files that callers name, replaced whole.

While one is being written beside its place, the state directory has a link to it, `beside.PID`, so that `delete` finds
what a killed writer left.
"""

from __future__ import annotations

import os

from runjail.errors import HostError, reason
from runjail.files import write_file

BESIDE = "beside."


def write_pid(directory: int | str, path: str, pid: int) -> None:
    """Write a pid file: the number and nothing else. Raises HostError with the path as the caller gave it.

    directory: the container's state directory, open or by its path.
    """
    own = os.getpid()
    link = f"{BESIDE}{own}"
    at, link = (directory, link) if isinstance(directory, int) else (None, f"{directory}/{link}")
    try:
        try:
            os.symlink(f"{path}.{own}", link, dir_fd=at)
        except FileExistsError:  # of a writer that was killed and had our pid
            _remove(os.readlink(link, dir_fd=at))
            os.unlink(link, dir_fd=at)
            os.symlink(f"{path}.{own}", link, dir_fd=at)
        try:
            write_file(path, b"%d" % pid, 0o644, f"{path}.{own}")
        finally:
            os.unlink(link, dir_fd=at)
    except OSError as error:
        raise HostError(f"writing pid file {path}: {reason(error)}") from error


def clear_beside(directory: int) -> None:
    """Remove the half-written pid files that an open state directory knows of."""
    for name in os.listdir(directory):
        if name.startswith(BESIDE):
            _remove(os.readlink(name, dir_fd=directory))


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:  # it was renamed in time, or its directory is gone
        pass
