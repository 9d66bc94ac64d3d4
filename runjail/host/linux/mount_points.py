"""Mount points that a Linux container's root lacked: who makes them, and who takes them back.

A root in the bundle is left as it was found. One that is kept elsewhere, or mounted in the bundle, is its keeper's:
there they stay, as runc leaves them, and what podman or containerd export and commit has them.

Containers may share a root, and removing a directory takes away what other mount namespaces have mounted on it. So what
was made is marked, everyone who uses it notes it, and the last one removes it. Whoever makes a container holds a shared
lock on the root while it mounts; whoever removes holds it alone and then looks who lives there.
"""

from __future__ import annotations

import os

from runjail import locks, rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.base import Note, UndoLog

MARK = "trusted.runjail"  # extended attribute of what we made
LOCK_SECONDS = 0.5  # others hold it for a millisecond, a container on its root as long as it likes
ESCAPES = str.maketrans({" ": "\\040", "\t": "\\011", "\n": "\\012", "\\": "\\134"})  # as in proc_pid_mountinfo(5)


class Points:
    """The mount points of one container while it is made, by a process in its new mount namespace.

    root: its root directory, not a mount yet; bundle: the bundle's.
    """

    def __init__(self, root: str, bundle: str) -> None:
        inside = os.path.realpath(root).startswith(os.path.realpath(bundle) + "/")
        self._root = root if inside and _mount_of(root) == _mount_of(bundle) else ""

    def find(self, root: int, destination: str, directory: bool, note: UndoLog) -> tuple[rootfs.ResolvedPath, bool]:
        """Return the place of a mount and whether it was made now.

        root: the root, which is a mount by now. As long as it stays open nobody removes the place.
        """
        made: list[str] = []
        noted: list[str] = []
        if self._root:
            locks.lock_within(root, LOCK_SECONDS, shared=True)

        def making(path: str, parent: int) -> None:
            made.append(path)
            if self._root and _mount_id(parent) == _mount_id(root):  # not in a mount of ours, nor in a volume
                note({"undo": "made", "root": self._root, "path": path})
                noted.append(path)

        place = rootfs.mount_point(root, destination, directory, making)
        for path in noted:
            _mark(root, path)
        if self._root and not made and _marked(place.parent, place.name) and _mount_id(place.parent) == _mount_id(root):
            for path in _with_parents(place.path, directory):
                note({"undo": "made", "root": self._root, "path": path, "found": True})
        return place, bool(made)


def take_back(_change: object, note: Note) -> None:
    """Remove a mount point that was made, unless somebody else uses the root now: then that one's notes have it too."""

    def remove(root: int) -> None:
        if note.get("found") and not _marked(root, note["path"].rstrip("/")):  # the image's own, on the way to ours
            return
        if locks.lock_within(root, LOCK_SECONDS) and not _lived_in(root, os.path.realpath(note["root"])):
            rootfs.remove_made(root, note["path"])

    rootfs.with_root(note["root"], remove)


def _lived_in(root: int, path: str) -> bool:
    """Say whether some process has this root, or will have: it has mounted it in a namespace of its own already."""
    found = os.fstat(root)
    own = os.stat("/proc/self/ns/mnt").st_ino
    read: set[int] = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            namespace = os.stat(f"/proc/{pid}/ns/mnt").st_ino
            if namespace == own:
                continue
            if os.path.samestat(os.stat(f"/proc/{pid}/root"), found):
                return True
            if namespace not in read and _has_mounted(pid, path):
                return True
            read.add(namespace)
        except OSError:  # it ended
            continue
    return False


def _has_mounted(pid: str, path: str) -> bool:
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        return any(line.split(" ", 5)[4] == path.translate(ESCAPES) for line in table)


def _mount_of(path: str) -> int:
    directory = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return _mount_id(directory)
    finally:
        os.close(directory)


def _mount_id(descriptor: int) -> int:
    """Return the number of the mount that an open file is on: two mounts may show one file system."""
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="utf-8") as facts:  # ascii would be a module to load
        return next(int(line.split()[1]) for line in facts if line.startswith("mnt_id:"))


def _mark(root: int, path: str) -> None:
    place = rootfs.resolve(root, path)
    try:
        os.setxattr(f"/proc/self/fd/{place.parent}/{place.name}", MARK, b"", follow_symlinks=False)
    except OSError:  # without marks each container removes only what it made itself
        pass
    finally:
        place.close()


def _marked(directory: int, path: str) -> bool:
    try:
        os.getxattr(f"/proc/self/fd/{directory}/{path}", MARK, follow_symlinks=False)
    except OSError:
        return False
    return True


def _with_parents(path: str, directory: bool) -> list[str]:
    names = path.split("/")
    return ["/".join(names[:depth]) + "/" for depth in range(1, len(names))] + [path + "/" * directory]
