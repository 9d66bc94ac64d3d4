"""Locks that end with their holder, and the directories that every store has.

A lock is flock(2) on a file. The file comes into being locked and goes with its last holder, so a file that is there
and that nobody holds tells of a holder that died. The programs that a holder started go on for a while when it is
killed: they inherit its locks, so that nobody looks at what they are changing.

A file system that is full has no room for such a file, and who wants to make room must not need any. So whoever creates
a lock shares a lock on the directory of all locks meanwhile, and who makes room and cannot create one takes that alone:
nobody can create a lock then.
"""

from __future__ import annotations

import errno
import os
from _thread import allocate_lock

from runjail import locks
from runjail.errors import StorageError, StoreNotFound, reason
from runjail.host import programs
from runjail.storage import layout_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

_NONE: Mapping[str, str] = {}
FULL = (errno.ENOSPC, errno.EDQUOT)
PATIENCE = 60.0  # seconds: who makes room while another waits for a lock that it has would wait for that one for ever


class InheritedLocks:
    """While this is entered, in any thread, programs that are started keep all locks that we hold then."""

    held: set[int] = set()
    _running = 0
    _change = allocate_lock()

    def __enter__(self) -> None:
        with self._change:
            InheritedLocks._running += 1
            for descriptor in self.held:
                os.set_inheritable(descriptor, True)
            programs.HELD.update(self.held)

    def __exit__(self, *_raised: object) -> None:
        with self._change:
            InheritedLocks._running -= 1
            if not self._running:
                for descriptor in self.held:
                    os.set_inheritable(descriptor, False)
                programs.HELD.difference_update(self.held)

    @classmethod
    def add(cls, descriptor: int) -> None:
        """Count a lock."""
        with cls._change:
            cls.held.add(descriptor)

    @classmethod
    def remove(cls, descriptor: int) -> None:
        """Count a lock no more, before it is closed."""
        with cls._change:
            cls.held.discard(descriptor)
            programs.HELD.discard(descriptor)


class Lock:
    """A lock that is held. abandoned: its last holder died with it. Use `release`, or `with`."""

    def __init__(self, path: str, descriptor: int, abandoned: bool) -> None:
        self._path, self._descriptor, self.abandoned = path, descriptor, abandoned
        InheritedLocks.add(descriptor)

    def release(self) -> None:
        """Let go; the last holder takes the file away."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        InheritedLocks.remove(descriptor)
        try:
            # A shared lock becomes an exclusive one if nobody else has it; only the holder of that may unlink.
            if locks.try_lock(descriptor):
                if _is_at(self._path, descriptor):
                    _unlink(self._path)
                locks.unlock(descriptor)  # whoever inherited it
        finally:
            os.close(descriptor)

    def leave(self) -> None:
        """Let go but leave the lock file, as a dying holder does: work was not finished, a sweep is to try again."""
        if self._descriptor >= 0:
            InheritedLocks.remove(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.release()


class StoreDirectory:
    """The directories of a store: content, bundles, and locks by kind. All have mode 0700.

    location: how the store is called. make: make it where there is none. known: see layout_file. facts: what a driver
    wants to know of a store again that it makes now. Raises StoreNotFound, StorageError.
    """

    def __init__(
        self,
        path: str,
        location: str = "",
        *,
        make: bool = True,
        known: bool = False,
        facts: Mapping[str, str] = _NONE,
    ) -> None:
        self.path = path
        if not make and not _is_home(path):
            raise StoreNotFound(location)
        driver = location.partition(":")[0]
        layout_file.refuse_other(path, driver, known=known)
        self.directory()
        self._locks = self.directory("locks")
        beside = os.path.join(self._locks, f"new-{os.getpid()}-{os.urandom(6).hex()}")
        layout_file.write(path, beside, {"driver": driver, "location": location, **facts})
        layout_file.refuse_other(path, driver, known=known)  # of somebody who made one just now
        self.facts = layout_file.read(path)

    def directory(self, *names: str) -> str:
        """Return a directory of the store, itself without names, made when missing. Raises StorageError."""
        path = os.path.join(self.path, *names)
        try:
            os.makedirs(path, 0o700, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{path}: cannot be made: {reason(error)}") from error
        return path

    def lock(self, kind: str, name: str, *, shared: bool = False, removing: bool = False) -> Lock:
        """Wait for a lock. removing: it is had on a full file system, too. Raises StorageError when that refuses."""
        taken = self._acquire(kind, name, shared=shared, removing=removing)
        assert taken, "it is waited for"
        return taken

    def try_lock(self, kind: str, name: str) -> Lock | None:
        """Take a lock exclusively, to remove something; None when somebody has it."""
        return self._acquire(kind, name, wait=False, removing=True)

    def locks(self, kind: str) -> list[str]:
        """Return the names of the locks of this kind that somebody holds, or held when he died."""
        try:
            return sorted(os.listdir(os.path.join(self._locks, kind)))
        except FileNotFoundError:  # nobody has needed one yet
            return []

    def _acquire(
        self, kind: str, name: str, *, shared: bool = False, wait: bool = True, removing: bool = False
    ) -> Lock | None:
        path = os.path.join(self._locks, kind, name)
        try:
            while True:
                descriptor = _open(path)
                if descriptor < 0:
                    if (descriptor := self._new(path, shared, removing)) >= 0:
                        return Lock(path, descriptor, False)
                    continue
                try:
                    if wait:
                        locks.lock(descriptor, shared)
                    elif not locks.try_lock(descriptor, shared):
                        os.close(descriptor)
                        return None
                    if _is_at(path, descriptor):
                        return Lock(path, descriptor, True)
                except BaseException:
                    os.close(descriptor)
                    raise
                os.close(descriptor)  # its holder took it away while we waited
        except OSError as error:
            raise StorageError(f"{path}: cannot be locked: {reason(error)}") from error

    def _new(self, path: str, shared: bool, removing: bool) -> int:
        """Have a lock that nobody has; -1 when somebody was faster."""
        gate = self._gate(shared=True)
        try:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            return self._create(path, shared)
        except OSError as error:
            if error.errno not in FULL or not removing:
                raise
        finally:
            os.close(gate)
        gate = self._gate(shared=False)
        if os.path.lexists(path):
            os.close(gate)
            return -1
        return gate

    def _gate(self, *, shared: bool) -> int:
        """Lock the directory of all locks, alone to keep others from creating any."""
        descriptor = os.open(self._locks, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if locks.lock_within(descriptor, PATIENCE, shared):
                return descriptor
            raise StorageError(f"{self._locks}: another process has been making room for {PATIENCE:.0f} s")
        except BaseException:
            os.close(descriptor)
            raise

    def _create(self, path: str, shared: bool) -> int:
        """Create a lock that is held from the first instant it can be seen; -1 when somebody was faster."""
        beside = os.path.join(self._locks, f"new-{os.getpid()}-{os.urandom(6).hex()}")
        descriptor = -1
        try:
            descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            locks.lock(descriptor, shared)  # of a file that nobody else knows
            os.link(beside, path)
        except (FileExistsError, FileNotFoundError):  # somebody was faster; or took it for a dead one's, see below
            if descriptor < 0:
                raise
            os.close(descriptor)
            return -1
        except BaseException:
            if descriptor >= 0:
                os.close(descriptor)
            raise
        finally:
            _unlink(beside)
        return descriptor

    def sweep_locks(self, *kinds: str) -> None:
        """Remove lock files of these kinds that nobody holds, and those of processes that died before naming theirs."""
        for kind in kinds:
            for name in self.locks(kind):
                if lock := self.try_lock(kind, name):
                    lock.release()
        for name in os.listdir(self._locks):
            path = os.path.join(self._locks, name)
            if name.startswith("new-") and (descriptor := _open(path)) >= 0:
                Lock(path, descriptor, True).release()


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return -1


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _is_at(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _is_home(path: str) -> bool:
    """Whether a directory is a store's, or an empty one that somebody made to become one."""
    try:
        names = os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {reason(error)}") from error
    return not names or "locks" in names
