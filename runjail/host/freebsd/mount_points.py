"""Mount points that a container's root lacked: who takes them back, where containers share a root.

What another container still uses is left, and written down machine-wide; whoever goes later removes it once nobody
does. All of it happens under the lock `mounts`, so that nobody mounts between the look and the removal.
"""

from __future__ import annotations

import os

from runjail import files, jsonio, rootfs
from runjail.host.freebsd import lock, owners
from runjail.host.freebsd.lock import MachineLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.base import Note
    from runjail.host.freebsd.change import Change
    from runjail.host.freebsd.libc import Libc


def take_back(change: Change, note: Note) -> None:
    """Remove a mount point that was made for the container, if it is empty and nobody uses it."""
    with MachineLock("mounts"):
        if _identity(note["root"]) and not _remove(change, note):
            _write([*_read(), note | {"identity": _identity(note["root"])}])


def take_back_left(change: Change) -> None:
    """Remove what others made below the container's root and left to it, as far as nobody uses it any more."""
    if not os.path.exists(_path()):
        return
    roots = [os.path.realpath(root) for root in (change.host_state.root, change.host_state.source)]
    with MachineLock("mounts"):
        before = _read()
        there = [note for note in before if note["identity"] == _identity(note["root"])]
        left = [note for note in there if os.path.realpath(note["root"]) not in roots or not _remove(change, note)]
        if left != before:
            _write(left)


def _identity(root: str) -> list[int]:
    """Return what tells a root from another directory that gets its path later; of none nothing."""
    try:
        found = os.stat(root)
    except OSError:
        return []
    return [found.st_dev, found.st_ino]


def _remove(change: Change, note: Note) -> bool:
    """Remove a mount point unless somebody uses it. Returns whether nobody did."""
    root = os.path.realpath(note["root"])
    if _used(change.libc, root, f"{root}/{note['path'].strip('/')}", os.path.realpath(change.host_state.root)):
        return False
    rootfs.with_root(note["root"], lambda opened: rootfs.remove_made(opened, note["path"], note.get("device")))
    return True


def _used(libc: Libc, root: str, place: str, own: str) -> bool:
    """Whether something is mounted on a place or below it, or the root is shown elsewhere than at our own view.

    A view hides what is mounted in it: that has its mount points in the view's own names.
    """
    return any(
        mounted.path == place
        or mounted.path.startswith(place + "/")
        or (mounted.fstype == "nullfs" and mounted.source == root and mounted.path not in (root, own))
        for mounted in libc.mounts()
    )


def _path() -> str:
    return f"{lock.DIRECTORY}/{owners.DIRECTORY}/left"


def _read() -> list[Note]:
    """Return the notes about what was left, in the order in which it can be removed."""
    try:
        with open(_path(), encoding="utf-8", errors="surrogateescape") as file:
            notes: list[Note] = jsonio.loads(file.read())
    except (FileNotFoundError, ValueError):  # damaged: then what it named stays
        return []
    return notes


def _write(notes: list[Note]) -> None:
    if not notes:
        os.unlink(_path())
        return
    os.makedirs(os.path.dirname(_path()), 0o700, exist_ok=True)
    text = jsonio.dumps(notes).encode("utf-8", "surrogateescape")
    files.write_file(_path(), text, 0o600, f"{_path()}.new")
