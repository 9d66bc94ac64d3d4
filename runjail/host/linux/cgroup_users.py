"""Who uses a control group: two containers, of one state root or of two, may name the same one.

Each container leaves a mark on its group, an extended attribute with a number of its own. Whoever finds the mark of
another when it goes leaves the group to that one. Marks go with the group; the kernel forgets both when it stops.
"""

from __future__ import annotations

import errno
import os
import time

from runjail.errors import HostError
from runjail.host.linux import cgroups as cgroup
from runjail.host.linux.change import Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.base import Note

ROUNDS = 200  # of waiting for the last process to be collected
PAUSE = 0.005  # seconds


def number() -> str:
    """Return a container's number, for its note."""
    return os.urandom(8).hex()


def make(directories: list[str], user: str) -> None:
    """Make a group in every hierarchy where it is missing, and use it. Raises OSError, also where there is none."""
    if not directories:
        raise OSError(errno.EOPNOTSUPP, f"none are mounted at {cgroup.TOP}")
    for directory in directories:
        for attempt in range(ROUNDS):
            cgroup.make(directory)
            try:
                cgroup.set_mark(directory, f"{cgroup.mark()}.{user}")
                break
            except FileNotFoundError:  # its last user went between our look and our mark
                if attempt == ROUNDS - 1:
                    raise


def take_back(_change: Change, note: Note) -> None:
    """Leave a group, and remove what create made once its last process is gone: the group, then unused parents.

    One that others use stays for them. Raises HostError when our own processes stay in it.
    """
    for directory in cgroup.directories(note["path"]):
        if _used_by_others(directory, note.get("user", "")):
            continue
        if directory in note["made"]:
            _remove(directory)
        elif _marked(directory):  # by a container that has gone before us
            _remove_empty(directory)
        _remove_marked(os.path.dirname(directory))
    for directory in reversed(note["made"]):
        if not directory.endswith("/" + note["path"]):
            _remove_unused(directory)


def _used_by_others(directory: str, user: str) -> bool:
    own = f"{cgroup.mark()}.{user}"
    try:
        marks = [name for name in os.listxattr(directory) if name.startswith(f"{cgroup.mark()}.")]
        if own in marks:
            os.removexattr(directory, own)
    except OSError:  # gone, or no marks on this kernel
        return False
    return any(name != own for name in marks)


def _marked(directory: str) -> bool:
    try:
        return os.getxattr(directory, cgroup.mark()) is not None
    except OSError:  # not marked: not ours
        return False


def _remove(directory: str) -> None:
    """Remove a group of our own with what is below it."""
    for _ in range(ROUNDS):
        try:
            _remove_below(directory)
            return
        except (FileNotFoundError, PermissionError):  # gone; or root's by now, where an ordinary user could make none
            return
        except OSError:  # busy until the last process has been reaped
            time.sleep(PAUSE)
    raise HostError(f"removing control group {directory}: it still has processes")


def _remove_below(directory: str) -> None:
    for entry in os.scandir(directory):
        if entry.is_dir(follow_symlinks=False):
            _remove_below(entry.path)
    os.rmdir(directory)


def _remove_empty(directory: str) -> None:
    """Remove a group that another container made, unless it has groups or processes that are not ours."""
    for _ in range(ROUNDS):
        if _remove_unused(directory) or any(entry.is_dir() for entry in os.scandir(directory)):
            return
        time.sleep(PAUSE)


def _remove_marked(directory: str) -> None:
    """Remove the groups above a container's that some container made, unless another one uses them."""
    while _marked(directory) and _remove_unused(directory):
        directory = os.path.dirname(directory)


def _remove_unused(directory: str) -> bool:
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError:  # others have groups in it by now
        return False
    return True
