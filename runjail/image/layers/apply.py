"""Applying the entries of a layer below a directory.

See image-spec, layer.md. An existing directory keeps its children and takes new attributes. Anything else that is in
the way is removed, and what comes is made anew (O_EXCL): no existing file is ever written to or changed, because stores
share files between layers. Hard links therefore leave the attributes of their file alone. Owner, then extended
attributes, then mode, then times: each one can undo the one before. The times of directories come last of all. What an
entry has already is not set again: most have our own owner and get their mode with their name, and looking costs a
tenth of what two changes cost on a disk.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from runjail import attributes
from runjail.errors import Corrupt, ImageError, StorageError, reason
from runjail.image.layers import owners, tar
from runjail.image.layers.limits import Limits, Policy
from runjail.image.layers.tar import Entry, Reader
from runjail.image.layers.tree import Tree, join
from runjail.image.layers.whiteouts import Whiteouts
from runjail.rootfs import first_mode

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# What a system says about names and targets that no system can hold: the layer is wrong, not the host.
_IMPOSSIBLE = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
ORDINARY = "files of other users take root, or a user namespace that has them: podman unshare runjail ..."
_DEVICES = {tar.CHARACTER: stat.S_IFCHR, tar.BLOCK_DEVICE: stat.S_IFBLK}


def shown(name: bytes) -> str:
    """Return a name as text of one line, short enough for an error."""
    text = ascii(os.fsdecode(name))
    return text if len(text) <= 200 else text[:150] + "..." + text[-40:]


def cleaned(name: bytes, what: str = "name") -> bytes:
    """Return a name relative to the root, without `.` and needless slashes. Raises Corrupt for one with `..`."""
    parts = name.split(b"/")
    if b"" in parts or b"." in parts:
        parts = [part for part in parts if part not in (b"", b".")]
    if b".." in parts:
        raise Corrupt(f"a {what} with `..` in it")
    return b"/".join(parts)


class Applier:
    """Applies the entries of a reader below an open directory, which holds the layers below already."""

    def __init__(self, root: int, reader: Reader, limits: Limits, policy: Policy) -> None:
        self._reader, self._limits, self._policy = reader, limits, policy
        self._tree = Tree(root, limits.depth, self._made)
        self._whiteouts = Whiteouts(self._tree)
        self._left_out: set[bytes] = set()  # device nodes: links to them are left out too
        self._omitted: dict[str, tuple[int, bytes]] = {}  # what: how often, and where first
        self._ours = os.geteuid(), os.getegid()
        self.entries = 0

    def run(self) -> None:
        """Apply everything. Raises Corrupt, ImageError beyond the limits, StorageError when the system refuses."""
        path = b""
        try:
            for entry in self._reader:
                path = entry.name
                self._apply(entry)
            path = b""
            self._tree.restore()
        except Corrupt as error:
            raise Corrupt(f"{error} ({shown(path)})" if path else str(error)) from None
        except OSError as error:
            if error.errno in _IMPOSSIBLE:
                raise Corrupt(f"entry {shown(path)} cannot exist: {reason(error)}") from error
            hint = ORDINARY if error.errno == errno.EPERM and os.geteuid() else None
            raise StorageError(f"unpacking {shown(path)}: {reason(error)}", hint) from error
        finally:
            self._tree.close()
            # They refer back to this object: without the garbage collector (main turns it off) all would stay
            del self._tree, self._whiteouts, self._reader

    def warnings(self) -> tuple[str, ...]:
        """Return a line for each kind of thing that was left out."""
        return tuple(
            f"left out: {what} ({count}, the first at {shown(path)})" for what, (count, path) in self._omitted.items()
        )

    def _omit(self, what: str, path: bytes) -> None:
        count, first = self._omitted.get(what, (0, path))
        self._omitted[what] = count + 1, first

    def _count(self) -> None:
        self.entries += 1
        if self.entries > self._limits.entries:
            raise ImageError(f"a layer of more than {self._limits.entries} entries")

    def _made(self, real: bytes) -> None:
        """Take note of a directory that is made on the way to an entry."""
        self._count()
        parent, _, name = real.rpartition(b"/")
        self._whiteouts.mark(parent, name)
        self._whiteouts.made(real)

    def _apply(self, entry: Entry) -> None:
        self._count()
        if len(entry.name) > self._limits.path or len(entry.link) > self._limits.path:
            raise Corrupt(f"a name longer than {self._limits.path} bytes")
        path = cleaned(entry.name)
        if not path:
            self._root(entry)
        elif not self._whiteouts.apply(path):
            parent, _, name = path.rpartition(b"/")
            real = self._tree.resolve(parent, making=True)
            assert real is not None
            self._whiteouts.mark(real, name)
            _MAKERS[entry.kind](self, real, name, entry)

    def _root(self, entry: Entry) -> None:
        if entry.kind != tar.DIRECTORY:
            raise Corrupt("the root directory can only be a directory")
        self._directory_attributes(b"", entry, existed=True)

    def _fresh(self, real: bytes, name: bytes, make: Callable[[int], None]) -> None:
        """Call make with the open directory; what is in the way is removed first."""
        try:
            make(self._tree.directory(real))
        except FileExistsError:
            self._tree.remove(real, name)
            make(self._tree.directory(real))

    def _regular(self, real: bytes, name: bytes, entry: Entry) -> None:
        mode = self._first_mode(entry, 0o600)
        try:
            file = os.open(name, _NEW, mode, dir_fd=self._tree.directory(real))
        except FileExistsError:
            self._tree.remove(real, name)
            file = os.open(name, _NEW, mode, dir_fd=self._tree.directory(real))
        try:
            for offset, piece in self._reader.body():
                written = os.pwrite(file, piece, offset)
                while written < len(piece):
                    written += os.pwrite(file, piece[written:], offset + written)
            if entry.sparse is not None:
                os.ftruncate(file, entry.size)
            self._set_attributes(file, entry, os.fstat(file))
            os.utime(file, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(file)
        self._note_flags(join(real, name), entry)

    def _first_mode(self, entry: Entry, closed: int) -> int:
        return first_mode(entry.mode, closed, ours=(entry.uid, entry.gid) == self._ours)

    def _directory(self, real: bytes, name: bytes, entry: Entry) -> None:
        existed, mode = False, self._first_mode(entry, 0o700)
        try:
            os.mkdir(name, mode, dir_fd=self._tree.directory(real))
        except FileExistsError:
            found = os.stat(name, dir_fd=self._tree.directory(real), follow_symlinks=False)
            existed = stat.S_ISDIR(found.st_mode)
            if not existed:
                self._tree.remove(real, name)
                os.mkdir(name, mode, dir_fd=self._tree.directory(real))
        if not existed:
            self._whiteouts.made(join(real, name))
        self._directory_attributes(join(real, name), entry, existed=existed)

    def _directory_attributes(self, real: bytes, entry: Entry, *, existed: bool) -> None:
        if not existed:
            self._tree.mtimes[real] = entry.mtime
        directory = self._tree.directory(real)
        if existed:
            attributes.clear(directory)
        self._set_attributes(directory, entry, os.fstat(directory))
        self._tree.mtimes[real] = entry.mtime
        self._note_flags(real, entry)

    def _link(self, real: bytes, name: bytes, entry: Entry) -> None:
        """Link to a file of this layer or one below, to a symbolic link itself where the target is one."""
        parent, _, last = cleaned(entry.link, "hard link").rpartition(b"/")
        source = self._tree.resolve(parent, making=False)
        if source is None or not last:
            raise Corrupt(f"a hard link to {shown(entry.link)}, which does not exist")
        if (source, last) == (real, name):
            raise Corrupt("a hard link to itself")
        if join(source, last) in self._left_out:
            self._leave_out("device nodes", real, name)
            return
        directory = os.dup(self._tree.directory(source))
        try:
            mode = os.stat(last, dir_fd=directory, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                raise Corrupt(f"a hard link to {shown(entry.link)}, which is a directory")
            self._fresh(real, name, lambda into: _hard_link(directory, last, into, name))
        except FileNotFoundError:
            raise Corrupt(f"a hard link to {shown(entry.link)}, which does not exist") from None
        finally:
            os.close(directory)

    def _symlink(self, real: bytes, name: bytes, entry: Entry) -> None:
        if not entry.link:
            raise Corrupt("a symbolic link to nothing")
        self._fresh(real, name, lambda directory: os.symlink(entry.link, name, dir_fd=directory))
        self._node_attributes(real, name, entry)

    def _fifo(self, real: bytes, name: bytes, entry: Entry) -> None:
        self._fresh(real, name, lambda directory: os.mkfifo(name, 0o600, dir_fd=directory))
        self._node_attributes(real, name, entry)

    def _device(self, real: bytes, name: bytes, entry: Entry) -> None:
        if not self._policy.devices:
            self._leave_out("device nodes", real, name)
            return
        mode, device = _DEVICES[entry.kind] | 0o600, os.makedev(entry.major, entry.minor)
        self._fresh(real, name, lambda directory: os.mknod(name, mode, device, dir_fd=directory))
        self._node_attributes(real, name, entry)

    def _leave_out(self, what: str, real: bytes, name: bytes) -> None:
        """Leave an entry out. What layers below have in its place goes all the same."""
        self._left_out.add(join(real, name))
        self._omit(what, join(real, name))
        try:
            self._tree.remove(real, name)
        except FileNotFoundError:
            pass

    def _node_attributes(self, real: bytes, name: bytes, entry: Entry) -> None:
        """Give what cannot be opened its attributes: by name, in a directory that nobody else changes."""
        directory = self._tree.directory(real)
        if not owners.give(name, entry.uid, entry.gid, directory):
            self._omit("owners of links and special files that are no ids here", join(real, name))
        if entry.kind != tar.SYMLINK:
            os.chmod(name, entry.mode, dir_fd=directory)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=directory, follow_symlinks=False)
        if entry.xattrs:
            self._omit("extended attributes of links and special files", join(real, name))
        self._note_flags(join(real, name), entry)

    def _note_flags(self, path: bytes, entry: Entry) -> None:
        """Remember file flags for the end: a locked file could not get the hard links that follow."""
        self._tree.flags.pop(path, None)
        if entry.flags and self._policy.flags and (bits := attributes.parse_flags(entry.flags)):
            self._tree.flags[path] = bits

    def _set_attributes(self, file: int, entry: Entry, has: os.stat_result) -> None:
        """Give an open file its owner, extended attributes and mode."""
        moved = (has.st_uid, has.st_gid) != (entry.uid, entry.gid)
        owned = not moved or owners.give(file, entry.uid, entry.gid)
        self._set_xattrs(file, entry, owned=owned)
        if moved or entry.xattrs or stat.S_IMODE(has.st_mode) != entry.mode:
            os.fchmod(file, entry.mode)

    def _set_xattrs(self, file: int, entry: Entry, *, owned: bool) -> None:
        for name, value in entry.xattrs.items():
            if attributes.SYSTEM.carried(name) and not owners.is_believed(name):
                try:
                    attributes.SYSTEM.set(file, name, value)
                except OSError as error:
                    if error.errno not in attributes.UNSUPPORTED:
                        raise
                    self._omit("extended attributes, which the file system does not have", entry.name)
        if not owned:
            owners.keep(file, entry.uid, entry.gid)


def _hard_link(directory: int, name: bytes, into: int, as_name: bytes) -> None:
    os.link(name, as_name, src_dir_fd=directory, dst_dir_fd=into, follow_symlinks=False)


_MAKERS: dict[bytes, Callable[[Applier, bytes, bytes, Entry], None]] = {
    tar.REGULAR: Applier._regular,
    tar.DIRECTORY: Applier._directory,
    tar.LINK: Applier._link,
    tar.SYMLINK: Applier._symlink,
    tar.FIFO: Applier._fifo,
    tar.CHARACTER: Applier._device,
    tar.BLOCK_DEVICE: Applier._device,
}
