"""Bundles that belong to the store: made for `run --image`, taken back by delete or prune.

A bundle and the root that it shows have one name. The root's properties say for which state directory they are, so
whoever prunes can ask (`container`, through `cli`) whether the container there was made of this bundle: the same id may
be another container's by then, and a boot may have left an empty directory. Until the container exists, its maker holds
a lock on the bundle's directory; the lock ends with the maker, so what a crash leaves behind is known as such.
"""

from __future__ import annotations

import os

from runjail import jsonio, locks, log
from runjail.errors import ImageError, StorageError, UsageError, reason
from runjail.image.bundle import id_file
from runjail.image.content.store import Lock
from runjail.scope import scope
from runjail.storage import open as stores
from runjail.storage.base import RootfsInfo, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, Self

    Used = Callable[[str, str], bool]  # (state directory, name of a bundle): a container there was made of it

MARK = "image.json"  # in a bundle: which store it belongs to
CONTAINER = "container"  # property of a root: the state directory of its container
BUNDLE = "bundle"  # property of a root that a bundle elsewhere shows: where that is


class OwnedBundle:
    """A bundle and its container, as a context: leaving it takes everything back unless the container exists by then.

    container: the state directory. used: says whether a container there was made of this bundle. cidfile: a file that
    gets the container's id, "" for none; it goes with the bundle. apart: does what takes the rights to all files of a
    root.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        container: str,
        used: Used,
        cidfile: str = "",
        apart: Callable[[Callable[[], None]], None] = lambda work: work(),
    ) -> None:
        self.store, self.name, self.container, self.used, self.cidfile = store, name, container, used, cidfile
        self.apart, self.path = apart, f"{store.bundles()}/{name}"

    def __enter__(self) -> Self:
        self._lock = -1
        try:
            with Lock(self.store.bundles()):  # whoever prunes sees no directory that is not locked yet
                os.mkdir(self.path, 0o700)
                self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                locks.lock(self._lock)
            mark = {"store": self.store.location, CONTAINER: self.container}
            write(f"{self.path}/{MARK}", mark | ({id_file.KEY: self.cidfile} if self.cidfile else {}))
            if self.cidfile:
                id_file.write(self.cidfile, os.path.basename(self.container))
        except BaseException as error:  # a signal, too
            if not isinstance(error, FileExistsError):
                _try_to_remove(self.path)
            if self._lock >= 0:
                os.close(self._lock)
            if isinstance(error, OSError):
                raise StorageError(f"cannot make the bundle {self.path}: {reason(error)}") from error
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            self._take_back()
        except KeyboardInterrupt:  # the first signal, which is the last: half a bundle would be left
            self._take_back()
            raise
        finally:
            os.close(self._lock)

    def _take_back(self) -> None:
        if not self.used(self.container, self.name):
            self.apart(lambda: roll_back(self.store, self.path))

    def properties(self) -> dict[str, str]:
        """Return what the root has to say."""
        return {CONTAINER: self.container}


def write(path: str, document: Mapping[str, Any]) -> None:
    """Write a document that nobody else may read: environments hold secrets."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(file, "wb") as stream:
        stream.write(jsonio.dumps(dict(document), tight=True).encode())


@scope
def empty_directory(path: str) -> Iterator[None]:
    """Have a directory, new or empty, to ourselves; a new one goes again when what is in the context fails.

    Raises UsageError for one with anything in it, ImageError.
    """
    made = not os.path.lexists(path)
    try:
        os.makedirs(path, 0o700, exist_ok=True)
    except OSError as error:
        raise ImageError(f"cannot make the bundle {path}: {reason(error)}") from error
    with Lock(path):
        if os.listdir(path):
            raise UsageError(f"{path}: not an empty directory")
        try:
            yield
        except BaseException:
            if made:
                os.rmdir(path)
            raise


def location(path: str) -> str:
    """Return to which store a bundle says that it belongs, "" for one that says nothing of the kind."""
    try:
        file = os.open(f"{path}/{MARK}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(file, "rb") as stream:
            found = jsonio.loads(stream.read(1 << 16)) if os.fstat(file).st_uid == os.geteuid() else {}
    except (OSError, ValueError):
        return ""
    value = found.get("store") if isinstance(found, dict) else None
    return value if isinstance(value, str) and stores.is_location(value) else ""


def belongs(store: Store, path: str) -> bool:
    """Whether a bundle lies where only the store makes any: what a bundle says of itself is no reason to remove it."""
    return os.path.realpath(os.path.dirname(path)) == os.path.realpath(store.bundles())


def roll_back(store: Store, path: str) -> None:
    """Remove a bundle of the store, and its root first. What is gone already is success. Raises InUse, StorageError."""
    store.remove_root(os.path.basename(path))
    id_file.remove(f"{path}/{MARK}", CONTAINER)
    while os.path.lexists(path):
        try:
            _remove(path)
        except FileNotFoundError:  # somebody removes it as well
            continue
        except OSError as error:
            raise StorageError(f"cannot remove the bundle {path}: {reason(error)}") from error


def _remove(path: str) -> None:
    """Remove a bundle: two files, and whatever somebody has put beside them. Raises OSError."""
    try:
        for name in os.listdir(path):
            os.unlink(f"{path}/{name}")
        os.rmdir(path)
    except (IsADirectoryError, PermissionError):
        import shutil  # which loads all kinds of archives

        shutil.rmtree(path)


def _try_to_remove(path: str) -> None:
    try:
        _remove(path)
    except OSError:  # what stays is taken back by prune
        pass


def orphans(store: Store, used: Used) -> list[str]:
    """Take back every bundle whose container is gone, and its root. Returns their names."""
    found = []
    bundles = store.bundles()
    for name in sorted(os.listdir(bundles)):
        with Lock(bundles):
            abandoned = _abandoned(f"{bundles}/{name}", used)
        if abandoned and _attempt(roll_back, store, f"{bundles}/{name}"):
            found.append(name)
    return found


def lost_roots(store: Store, used: Used) -> list[str]:
    """Remove roots whose bundle is gone. Returns their names. Nobody may be making a bundle meanwhile."""
    bundles = store.bundles()
    lost = [root.name for root in store.roots() if _unused(root, bundles, used)]
    return [name for name in lost if _attempt(store.remove_root, name)]


def _attempt(remove: Callable[..., None], *what: Any) -> bool:
    """Remove something, and go on without it when it is in use or cannot be removed."""
    try:
        remove(*what)
    except StorageError as error:
        log.warning(f"{what[-1]} stays: {error}")
        return False
    return True


def _abandoned(path: str, used: Used) -> bool:
    """Whether nobody makes this bundle any more, and no container uses it."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # gone meanwhile, or nothing of ours
        return False
    try:
        if not locks.try_lock(lock):
            return False
        with open(f"{path}/{MARK}", "rb") as file:
            container = jsonio.loads(file.read(1 << 16)).get(CONTAINER)
        return isinstance(container, str) and not used(container, os.path.basename(path))
    except (FileNotFoundError, ValueError, AttributeError):  # its maker died before it had said anything
        return True
    finally:
        os.close(lock)


def _unused(root: RootfsInfo, bundles: str, used: Used) -> bool:
    """Whether a root's bundle is gone: of the store's ones together with the container, of others the config.json."""
    if CONTAINER in root.properties:
        return not os.path.lexists(f"{bundles}/{root.name}") and not used(root.properties[CONTAINER], root.name)
    bundle = root.properties.get(BUNDLE)
    return bundle is not None and not os.path.lexists(f"{bundle}/config.json")
