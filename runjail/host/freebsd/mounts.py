"""Mounts below a container's root, made from the host with nmount(2).

nmount takes a path and follows links in it, and the tree below the root is not to be trusted. So the mount point is
found by `rootfs`, entered with fchdir(2), and mounted on as "."; a file is mounted on by its last name from its parent,
which leaves a moment for a swap, so the mount table is asked afterwards where the mount really is.
"""

from __future__ import annotations

import errno
import os
import stat

from runjail import rootfs
from runjail.errors import HostError, reason
from runjail.host.freebsd import libc as c
from runjail.host.freebsd import owners
from runjail.host.freebsd.lock import MachineLock
from runjail.host.freebsd.structs import MountEntry
from runjail.host.freebsd.unmount import fsids_below, is_below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.base import Note
    from runjail.host.freebsd.change import Change
    from runjail.steps import Mount, ReadonlyRoot

BITS = {
    "ro": c.MNT_RDONLY,
    "nosuid": c.MNT_NOSUID,
    "noexec": c.MNT_NOEXEC,
    "noatime": c.MNT_NOATIME,
    "nosymfollow": c.MNT_NOSYMFOLLOW,
    "sync": c.MNT_SYNC,
}
PROTECTING = c.MNT_RDONLY | c.MNT_NOSUID | c.MNT_NOEXEC
KEPT_BY = ("nullfs", "tmpfs", "zfs")  # the others show no flags in the mount table
CAUSES = {
    errno.ENOENT: "its source does not exist",
    errno.EDEADLK: "it would cover itself",
    errno.ENAMETOOLONG: "the path is too long",
    errno.ENOMEM: "the path is too long",  # what the kernel says when the mount point has more than 1023 bytes
    errno.EROFS: "the mount point does not exist and cannot be made, the file system is read-only",
    errno.EOPNOTSUPP: "the mount point does not exist and cannot be made there",
}
ATTEMPTS = 5  # at a mount point that others mount on
# devfs has no mkdir: what is mounted in it needs a directory that a driver made and a rule shows.
DEVFS_HINT = "in /dev: /dev/shm comes with kldload linux_common, and a directory must be shown by a devfs rule"
# A file that is mounted on cannot be mounted on again, and a directory is covered by whoever comes last.
SHARED_HINT = (
    "if another container uses this root directory: give each its own, such as a ZFS clone, or set root.readonly"
)
HINTS = {errno.EOPNOTSUPP: DEVFS_HINT, errno.EBUSY: SHARED_HINT, errno.EDEADLK: SHARED_HINT}


def mount(change: Change, step: Mount) -> None:
    """Perform one Mount step, with the submounts of its source when it is recursive. Raises HostError."""
    what = f"mount {step.source} ({step.fstype}) on {step.destination}"
    try:
        for attempt in range(ATTEMPTS):
            try:
                _Mounting(change, step).run()
                break
            except OSError as error:  # containers may share a root: another mounted there, or removed it, meanwhile
                if error.errno not in (errno.EBUSY, errno.ENOENT) or attempt + 1 == ATTEMPTS:
                    raise
        for inner in _submounts(change, step):
            mount(change, inner)
    except OSError as error:
        number = error.errno or 0
        text = CAUSES.get(number) or reason(error)
        raise HostError(f"{_told(step, text)}{what}: {text}", HINTS.get(number)) from error
    except HostError as error:
        raise HostError(f"{_told(step, str(error))}{what}: {error}", error.hint) from error


def _told(step: Mount, text: str) -> str:
    """Return how an error begins: with the part of an entry of mounts[] that it is about, as far as that is known."""
    if "mount point" in text:
        return step.told("destination")
    missing = step.source.startswith("/") and not os.path.lexists(step.source)
    return step.told("source" if missing or text.startswith("its source") else "")


def _submounts(change: Change, step: Mount) -> list[Mount]:
    """Return a step for each mount below the source of a recursive bind, outermost first; nullfs shows none of them."""
    if not step.recursive:
        return []
    source = os.path.realpath(step.source)
    own = [os.path.realpath(path) for path in (change.host_state.root, change.host_state.source)]
    inner = [mounted.path for mounted in change.libc.mounts() if is_below(mounted.path, source)]
    return [
        step.replace(
            source=path, destination=step.destination + path[len(source.rstrip("/")) :], recursive=False, entry=""
        )
        for path in inner
        if not any(path == root or is_below(path, root) for root in own)  # or it would contain itself
    ]


class _Mounting:
    """One mount(2) in the making."""

    def __init__(self, change: Change, step: Mount) -> None:
        self.change, self.step = change, step
        self.libc, self.host_state, self.boot, self.note = change.libc, change.host_state, change.boot_id, change.note
        self.root = os.path.realpath(self.host_state.root)
        self.known: set[tuple[int, int]] = set()
        self.source, self.directory = step.source, True
        if step.fstype == "nullfs":
            self.source, self.directory = _bind_source(step.source)
        self.flags = sum(BITS[flag] for flag in dict.fromkeys(step.flags) if flag in BITS)

    def run(self) -> None:
        """Find the mount point, and mount on it."""
        data = dict(self.step.data)
        ruleset = self._ruleset()
        if ruleset:
            data["ruleset"] = str(ruleset)
        options = [(key, value or None) for key, value in data.items()]
        place = self._find_place()
        try:
            self._check_place(place)
            self._mount_on(place, options)
        finally:
            place.close()

    def _ruleset(self) -> int:
        if self.step.fstype != "devfs":
            return 0
        from runjail.host.freebsd import devfs

        return devfs.choose_ruleset(self.change, self.step)

    # -- the mount point

    def _find_place(self) -> rootfs.ResolvedPath:
        """Return the mount point below the root, made if it has to be.

        The root may be a read-only view: then it is made in the directory behind the view, unless it lies in
        something that is mounted already.
        """
        root = rootfs.open_root(self.host_state.root)
        try:
            place = self._existing(root)
            if place:
                return place
            try:
                return self._make(root, self.host_state.root)
            except OSError as error:
                if error.errno != errno.EROFS or self.host_state.source == self.host_state.root:
                    raise
            source = rootfs.open_root(self.host_state.source)
            try:
                self._make(source, self.host_state.source).close()
            finally:
                os.close(source)
            return self._existing(root) or self._make(root, self.host_state.root)
        finally:
            os.close(root)

    def _existing(self, root: int) -> rootfs.ResolvedPath | None:
        try:
            place = rootfs.resolve(root, self.step.destination)
        except FileNotFoundError:
            return None
        if place.mode():
            return place
        place.close()
        return None

    def _make(self, root: int, path: str) -> rootfs.ResolvedPath:
        if not self.step.create:
            raise HostError("the mount point does not exist")
        own = os.fstat(root).st_dev

        def making(made: str, parent: int) -> None:
            facts: Note = {"undo": "made", "root": path, "path": made}
            device = os.fstat(parent).st_dev
            if device != own:  # in a volume or a tmpfs; when that is gone, what is there by this name is the image's
                facts |= {"device": device, "boot": self.boot}
            self.note(facts)

        return rootfs.mount_point(root, self.step.destination, self.directory, making)

    def _check_place(self, place: rootfs.ResolvedPath) -> None:
        """Refuse what nmount would answer with "Invalid argument"."""
        if place.name == ".":
            raise HostError("nothing can be mounted on the root itself")
        found = os.stat(place.name, dir_fd=place.parent, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode) != self.directory:
            kinds = ("a directory", "no directory") if self.directory else ("a file", "no regular file")
            raise HostError(f"the source is {kinds[0]}, the mount point is {kinds[1]}")
        if not self.directory and not stat.S_ISREG(found.st_mode):
            raise HostError("the source is a file, the mount point is no regular file")
        if not self.directory and found.st_nlink != 1:
            raise HostError(f"the mount point is a file with {found.st_nlink} names, and may have only one")

    # -- the mount

    def _mount_on(self, place: rootfs.ResolvedPath, data: list[tuple[str, str | None]]) -> None:
        """Mount, and fill what is to be filled."""
        before = _working_directory()
        covered = place.open_directory() if self.directory else -1
        try:
            os.fchdir(covered if self.directory else place.parent)
            with MachineLock("mounts"):  # what appears meanwhile is then ours, and not another runjail's
                self._mount_here("." if self.directory else place.name, place, data)
            if self.step.copy_up:
                self._fill(covered, data)
        finally:
            # Away from the new mount: whoever has it as working directory keeps it busy.
            _return_to(before)
            if covered >= 0:
                os.close(covered)

    def _mount_here(self, fspath: str, place: rootfs.ResolvedPath, data: list[tuple[str, str | None]]) -> None:
        """Note the way back, mount, look where the mount went, write down whose it is."""
        owners.settle(self.libc, self.boot)
        mounts = self.libc.mounts()
        self.known = {mounted.fsid for mounted in mounts}
        keep = fsids_below(mounts, self.root, self.boot, self.host_state.state)
        self.note({"undo": "mounts", "below": self.root, "keep": keep, "boot": self.boot})
        owner = owners.token(self.host_state.state)
        owners.intend(mounts, f"{self.root.rstrip('/')}/{place.path}", self.boot, owner)
        self._nmount(fspath, data)
        mounted = self.libc.statfs(fspath)
        self._check_mounted(mounted, place)
        owners.write(mounted.fsid, self.boot, owner)
        owners.done(self.boot)

    def _nmount(self, fspath: str, data: list[tuple[str, str | None]], update: int = 0) -> None:
        options: list[tuple[str, str | None]] = [("fstype", self.step.fstype), ("fspath", fspath)]
        if self.step.fstype in ("nullfs", "zfs"):
            options.append(("from", self.source))
        writable = self.step.copy_up and not update
        flags = self.flags & ~c.MNT_RDONLY if writable else self.flags
        self.libc.nmount([*options, *data], flags | update)

    def _check_mounted(self, mounted: MountEntry, place: rootfs.ResolvedPath) -> None:
        """See that the mount is where it should be and as protected as asked; if not, it goes."""
        expected = f"{self.root.rstrip('/')}/{place.path}"
        wanted = self.flags & PROTECTING if self.step.fstype in KEPT_BY else 0
        if self.step.copy_up:
            wanted &= ~c.MNT_RDONLY
        if mounted.fstype == self.step.fstype and mounted.path == expected:
            if mounted.flags & wanted == wanted:
                return
            missing = [flag for flag in self.step.flags if BITS.get(flag, 0) & wanted & ~mounted.flags]
            raise HostError(f"the kernel ignored {', '.join(missing)}")
        os.chdir("/")
        for stray in [mounted] if self.directory else self.libc.mounts():
            if stray.fsid not in self.known and (self.directory or stray.source == self.source):
                self.libc.unmount(stray.fsid, force=True)
        raise HostError(f"the mount point moved away while it was mounted: not at {expected}", SHARED_HINT)

    def _fill(self, covered: int, data: list[tuple[str, str | None]]) -> None:
        """Copy what the mount covers into it; only then may it become read-only."""
        inside, root = os.open(".", rootfs.DIRECTORY), rootfs.open_root(self.root)
        try:
            rootfs.copy_covered(root, covered, inside)
        finally:
            os.close(inside)
            os.close(root)
        if self.flags & c.MNT_RDONLY:
            self._nmount(".", data, c.MNT_UPDATE)


def _bind_source(path: str) -> tuple[str, bool]:
    """Return the real path of what to bind, and whether it is a directory."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
        return os.path.realpath(path), stat.S_ISDIR(mode)
    if stat.S_ISCHR(mode):
        raise HostError("its source is a device; show it with freebsd.devices or a rule of the devfs on /dev")
    raise HostError("its source is neither a directory nor a regular file, and nullfs takes nothing else")


def _working_directory() -> int:
    try:
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # it was removed
        return -1


def _return_to(directory: int) -> None:
    if directory >= 0:
        os.fchdir(directory)
        os.close(directory)
    else:
        os.chdir("/")


# -- a read-only root


def mount_readonly_root(change: Change, step: ReadonlyRoot) -> None:
    """Show the root directory read-only at `target`, a directory of ours. nullfs cannot be made read-only later."""
    libc, note = change.libc, change.note
    what = f"mount {step.source} read-only on {step.target}"
    if step.directory:
        _make_directory(change, step)
    note({"undo": "view", "target": step.target})
    try:
        os.mkdir(step.target, 0o700)
        source = os.path.realpath(step.source)
        with MachineLock("mounts"):  # who removes mount points of this root sees the view, or has removed them
            libc.nmount([("fstype", "nullfs"), ("fspath", step.target), ("from", source)], c.MNT_RDONLY)
        if not libc.statfs(step.target).flags & c.MNT_RDONLY:
            raise HostError(f"{what}: the kernel ignored ro")
    except OSError as error:
        raise HostError(f"{what}: {CAUSES.get(error.errno or 0) or reason(error)}") from error


def _make_directory(change: Change, step: ReadonlyRoot) -> None:
    """Make the working directory where the image lacks it; what prevents that is for chdir(2) to say."""
    try:
        root = rootfs.open_root(step.source)
        try:
            noting = {"undo": "made", "root": step.source}
            rootfs.mount_point(
                root, step.directory, True, lambda made, _parent: change.note(noting | {"path": made})
            ).close()
        finally:
            os.close(root)
    except OSError:
        pass
