"""The one room that resolves paths in a directory tree we do not trust.

A container image decides what lies below its root: any component may be a symbolic link to anywhere, and a process
that shares a volume may swap components while we look. So nothing here joins strings: every step opens one component
relative to a directory descriptor without following links, links are read and walked by us, and absolute links and
`..` start again at, or stop at, the root.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    BeforeMaking = Callable[[str, int], None]  # path relative to the root, and the open directory where it will be

MAX_LINKS = 40  # as many as the kernels follow (MAXSYMLINKS)
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

SPECIAL = 0o7000  # mode bits that mean something else with another owner


def first_mode(mode: int, closed: int, *, ours: bool) -> int:
    """Return the mode to make an entry with that gets its owner and mode afterwards.

    closed: what its owner must be allowed until then: an ordinary user gives attributes only to files that it may write
    to. ours: it is to have the owner that it has when we make it. Then it has its own mode from the start, unless a
    umask or ACL takes something away, and need not be changed; otherwise `closed`, the owner's bits alone.
    """
    return mode if ours and mode & (SPECIAL | closed) == closed else closed


def open_root(path: str) -> int:
    """Open the root directory itself. The path is the caller's own; only its last component may not be a link."""
    return os.open(path, DIRECTORY)


class ResolvedPath:
    """A resolved name below a root: `parent` is an open directory (close it with `close`), `name` its entry.

    name is "." when the path leads to the root itself. path is the resolved path relative to the root.
    """

    def __init__(self, parent: int, name: str, path: str) -> None:
        self.parent, self.name, self.path = parent, name, path

    def close(self) -> None:
        """Close the parent."""
        os.close(self.parent)

    def mode(self) -> int:
        """Return the entry's st_mode, 0 when there is none."""
        try:
            return os.stat(self.name, dir_fd=self.parent, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return 0

    def open_directory(self) -> int:
        """Open the entry, which must be a directory and not a link."""
        return os.open(self.name, DIRECTORY, dir_fd=self.parent)


def resolve(root: int, path: str, making: BeforeMaking | None = None) -> ResolvedPath:
    """Walk `path` below the open directory `root`.

    Symbolic links are followed inside the root, also as the last component; the last component may be missing.
    A missing directory on the way is FileNotFoundError, or is created with mode 0755 when `making` is given;
    `making` is called before each creation.
    Raises OSError (ELOOP after 40 links, ENOTDIR).
    """
    walk, pending, links = _Walk(root), _components(path), 0
    try:
        while pending:
            name = pending.pop(0)
            if name == "..":
                walk.up()
                continue
            mode = ResolvedPath(walk.here, name, "").mode()
            if stat.S_ISLNK(mode):
                links += 1
                if links > MAX_LINKS:
                    raise OSError(40, "Too many levels of symbolic links", path)
                target = os.readlink(name, dir_fd=walk.here)
                pending[:0] = _components(target)
                if target.startswith("/"):
                    walk.restart()
            elif not pending:
                return walk.entry(name)
            else:
                if not mode and making:
                    making("/".join([*walk.names, name]), walk.here)
                    _make_directory(name, walk.here)
                walk.down(name)
        return walk.entry(".")
    finally:
        walk.close()


class _Walk:
    """Where a walk has come to: the directories from the root on, open, and the names of those below the root."""

    def __init__(self, root: int) -> None:
        self._held, self.names = [os.dup(root)], list[str]()

    @property
    def here(self) -> int:
        """The directory that was reached."""
        return self._held[-1]

    def down(self, name: str) -> None:
        """Go on into a directory, which is no link."""
        self._held.append(os.open(name, DIRECTORY, dir_fd=self.here))
        self.names.append(name)

    def up(self) -> None:
        """Go back, never above the root."""
        if self.names:
            self.names.pop()
            os.close(self._held.pop())

    def restart(self) -> None:
        """Go back to the root."""
        while self.names:
            self.up()

    def entry(self, name: str) -> ResolvedPath:
        """Return an entry of the directory that was reached, or "." for that itself."""
        names = self.names if name == "." else [*self.names, name]
        return ResolvedPath(os.dup(self.here), name, "/".join(names))

    def close(self) -> None:
        """Let go of all."""
        for descriptor in self._held:
            os.close(descriptor)


def _components(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _make_directory(name: str, parent: int) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
        os.chmod(name, 0o755, dir_fd=parent)  # whatever umask our caller has
    except FileExistsError:
        pass


def mount_point(root: int, path: str, directory: bool, making: BeforeMaking) -> ResolvedPath:
    """Resolve `path` and make sure that a directory, or an empty file, is there to mount on.

    `making` is called before anything is created, as `resolve` does, with paths of directories ending in "/".
    """
    place = resolve(root, path, lambda made, parent: making(made + "/", parent))
    try:
        if not place.mode():
            making(place.path + "/" if directory else place.path, place.parent)
            if directory:
                _make_directory(place.name, place.parent)
            else:
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                os.close(os.open(place.name, flags, 0o644, dir_fd=place.parent))
    except FileExistsError:
        pass
    except OSError:
        place.close()
        raise
    return place


def remove_made(root: int, path: str, device: int | None = None) -> None:
    """Take back what mount_point made: an empty directory (path ends in "/") or an empty file.

    Anything else is somebody's by now and stays, also what is not on the file system `device` (st_dev). No link is
    followed; a path that is gone is success.
    """
    parent = os.dup(root)
    names = _components(path)
    try:
        for name in names[:-1]:
            deeper = os.open(name, DIRECTORY, dir_fd=parent)
            os.close(parent)
            parent = deeper
        if device not in (None, os.fstat(parent).st_dev):
            return
        if path.endswith("/"):
            os.rmdir(names[-1], dir_fd=parent)
        else:
            found = os.stat(names[-1], dir_fd=parent, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode) and not found.st_size:
                os.unlink(names[-1], dir_fd=parent)
    except OSError:  # gone, not empty, a mount point again, or replaced by a link: not ours to remove
        pass
    finally:
        os.close(parent)


def with_root(path: str, work: Callable[[int], None]) -> None:
    """Do something with a root directory open; one that is gone leaves nothing to do. Raises what `work` raises."""
    try:
        root = open_root(path)
    except OSError:
        return
    try:
        work(root)
    finally:
        os.close(root)


def make_directories(path: str) -> None:
    """Create `path` and its missing parents, mode 0755, below our own root: for use inside a container."""
    root = open_root("/")
    try:
        place = resolve(root, path, lambda *_made: None)
        if not place.mode():
            _make_directory(place.name, place.parent)
        place.close()
    finally:
        os.close(root)


def copy_covered(root: int, covered: int, target: int) -> None:
    """Copy what a mount covers into it, as far as it is of the root's own file system.

    What else is mounted there may be the kernel's: /proc has files that have no end, and others that wait for ever.
    """
    if os.fstat(covered).st_dev == os.fstat(root).st_dev:
        copy_tree(covered, target)


def copy_tree(source: int, target: int) -> None:
    """Copy directories, files and links from one open directory into another: owner, mode and times too.

    Devices, sockets and FIFOs are left out, and what is in other file systems. Nothing is followed. Both descriptors
    stay open.
    """
    device = os.fstat(source).st_dev
    for name in os.listdir(source):
        found = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        elif stat.S_ISDIR(found.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            inner, outer = os.open(name, DIRECTORY, dir_fd=source), os.open(name, DIRECTORY, dir_fd=target)
            try:
                if found.st_dev == device:
                    copy_tree(inner, outer)
            finally:
                os.close(inner)
                os.close(outer)
        elif stat.S_ISREG(found.st_mode):
            _copy_file(name, source, target)
        else:
            continue
        os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=target)
            os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=target)


def _copy_file(name: str, source: int, target: int) -> None:
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            while block := os.read(reading, 1 << 20):
                view = memoryview(block)
                while view:
                    view = view[os.write(writing, view) :]
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def empty_tree(top: int, path: str, but: str = "") -> None:
    """Delete what is in an open directory of our own, never crossing into another file system.

    A mount left below it is the container's data: it raises OSError (EBUSY, naming the place below `path`) before
    anything in it is touched. but: an entry that stays.
    """
    device = os.fstat(top).st_dev
    _refuse_mounts(top, device, path)
    _empty(top, device, path, but)


def _refuse_mounts(directory: int, device: int, path: str) -> None:
    for name in os.listdir(directory):
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        inner_path = f"{path}/{name}"
        if found.st_dev != device:
            raise OSError(16, "still a mount point", inner_path)
        if stat.S_ISDIR(found.st_mode):
            inner = os.open(name, DIRECTORY, dir_fd=directory)
            try:
                _refuse_mounts(inner, device, inner_path)
            finally:
                os.close(inner)


def _empty(directory: int, device: int, path: str, but: str = "") -> None:
    for name in os.listdir(directory):
        if name == but:
            continue
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if found.st_dev != device:
            raise OSError(16, "still a mount point", f"{path}/{name}")
        if stat.S_ISDIR(found.st_mode):
            inner = os.open(name, DIRECTORY, dir_fd=directory)
            try:
                _empty(inner, device, f"{path}/{name}")
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=directory)
        else:
            os.unlink(name, dir_fd=directory)
