"""One container's directory: files, lock, undo notes; and Runtime, all those below one root.

    ROOT/ID/state.json    facts (written beside, then renamed; see state.py)
    ROOT/ID/config.json   the config as it was at create
    ROOT/ID/undo          notes, one JSON line each, written before the step they take back
    ROOT/ID/gate          socket on which a created container's init waits; gone once it was started
    ROOT/ID/paused        exists while paused
    ROOT/ID/stdout, stderr, monitor, exit    of `run -d` (container/monitor.py)
    ROOT/ID/restart, halted    of `run -d --restart` (container/restart.py)
    ROOT/ID/beside.PID    link to a half-written pid file beside the caller's (container/pid_file.py)

mkdir(2) reserves an id (container/reserve.py); flock(2) on the directory serialises verbs. Whoever holds the lock works
below the descriptor that is locked, and what is at the path is compared with it, so a directory of the same name that
somebody made meanwhile is never taken for this one. A directory without facts and notes that nobody has locked is
nobody's: its creator died before it did anything, or a boot took the files away (rc.d/cleanvar).

Nothing is synced to disk: a crash of a process loses nothing, and after a crash of the machine the jails and mounts are
gone anyway and status says so.
"""

from __future__ import annotations

import errno
import os

from runjail import jsonio
from runjail.container.state import State
from runjail.errors import Busy, ContainerNotFound, HostError, UsageError, reason
from runjail.host.base import HostState, in_user_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from runjail.host.base import Host, Note
    from runjail.nri.invoke import PluginChain
    from runjail.spec.model import Process
    from runjail.target import Target

GATE, PAUSED = "gate", "paused"
RESTART, HALTED = "restart", "halted"  # whether its monitor starts it again; and that nobody is to
NETWORKS = "networks"  # whoever calls plugins for the container has this file locked
ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-")
ID_LENGTH = 255
ID_RULE = "1 to 255 letters of ASCII, digits and _ + . - make an id, but not . or .."
LOCK_SECONDS = 30.0
FACTS_FILE, NOTES_FILE = "state.json", "undo"
NOTING = os.O_WRONLY | os.O_CREAT | os.O_APPEND


def check_id(container_id: str) -> str:
    """Return the id if it may be one: `[A-Za-z0-9_+.-]{1,255}`, not `.` or `..`. Raises UsageError."""
    known = ID_CHARACTERS.issuperset(container_id) and container_id not in (".", "..")
    if not known or not 1 <= len(container_id) <= ID_LENGTH:
        shown = container_id if container_id.isprintable() else ascii(container_id)[1:-1]
        raise UsageError(f"invalid container ID format: '{shown[:80]}'", ID_RULE)
    return container_id


def default_root(target: Target) -> str:
    """Return where state lives when nobody says: below a non-empty XDG_RUNTIME_DIR for users other than root.

    Who is root only in a user namespace, as podman's callers without root are, is such a user.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    own = runtime and (os.geteuid() or (os.environ.get("USER") != "root" and in_user_namespace()))
    return f"{runtime}/runjail" if own else target.state_root


class Container:
    """One container's directory; `state` is what state.json says, until it is loaded that of a container without any.

    Another container with the id does not exist to a runtime that knows which one it has to be (Runtime.made).
    """

    def __init__(self, container_id: str, runtime: Runtime) -> None:
        self.id = container_id
        self.runtime = runtime
        self.host = runtime.host
        self.path = f"{runtime.root}/{container_id}"
        self.state = self.no_facts()
        self._notes = -1
        self._directory = -1  # stays open from the first lock on: the kernel gives its inode to no other

    # -- facts

    @property
    def host_state(self) -> HostState:
        """What the host has to know of the container."""
        return self.state.host

    def load(self) -> None:
        """Read state.json. Raises ContainerNotFound when there is none, HostError when it is damaged."""
        try:
            text = self.read(FACTS_FILE)
        except (FileNotFoundError, NotADirectoryError):
            if self.has(NOTES_FILE):
                raise self.damaged("state.json is missing") from None
            raise ContainerNotFound(self.id) from None
        except OSError as error:
            raise HostError(f"reading the state of {self.id}: {reason(error)}") from error
        try:
            state = State.from_document(jsonio.loads(text))
        except ValueError as error:
            raise self.damaged(str(error)) from None
        if self.runtime.made and state.created != self.runtime.made[1]:
            raise ContainerNotFound(self.id)
        self.state = state

    def no_facts(self) -> State:
        """Return the facts of one that was never created."""
        return State(HostState(self.id, "", self.path, "", ""))

    def damaged(self, how: str) -> HostError:
        """Return the error for facts that cannot be true."""
        return HostError(f"state of {self.id} is damaged: {how}", "runjail delete --force removes it")

    def save(self) -> None:
        """Write state.json beside its place and rename it there."""
        self.write(FACTS_FILE, jsonio.dumps(self.state.to_document()).encode())

    def identity(self) -> list[int | str]:
        """Return what tells this container, once locked, from a later one with its id: inode and time of creation."""
        return [os.fstat(self._directory).st_ino, self.state.created]

    def config(self) -> bytes:
        """Return config.json as create kept it."""
        return self.read("config.json")

    def process(self) -> Process:
        """Return the container's own process, of config.json as create kept it."""
        from runjail.spec.process import parse_process

        config = jsonio.loads(self.config())
        return parse_process(config["process"], self.host.os, config.get("linux"))

    # -- files

    def open(self, name: str, flags: int) -> int:
        """Open a file."""
        path, within = self._at(name)
        try:
            return os.open(path, flags | os.O_CLOEXEC, 0o600, dir_fd=within)
        except OSError as error:
            error.filename = f"{self.path}/{name}"
            raise

    def _at(self, name: str) -> tuple[str, int | None]:
        """Return where a file is: below the locked directory, or at its path where this process never locked it."""
        return (f"{self.path}/{name}", None) if self._directory < 0 else (name, self._directory)

    def read(self, name: str) -> bytes:
        """Return a file's content. Raises HostError for one of another user, who could have any hook run by us."""
        descriptor = self.open(name, os.O_RDONLY)
        try:
            owner, content = os.fstat(descriptor).st_uid, b""
            if owner not in (0, os.geteuid()):
                raise HostError(f"{self.path}/{name} belongs to user {owner}", "only root may write to --root")
            while block := os.read(descriptor, 1 << 16):
                content += block
            return content
        finally:
            os.close(descriptor)

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole; the caller holds the lock, so one name beside it serves all who write."""
        from runjail.files import write_file

        write_file(name, content, 0o600, f"{name}.new", self._directory, named=f"{self.path}/{name}")

    def has(self, name: str) -> bool:
        """Say whether a file is there."""
        path, within = self._at(name)
        try:
            os.stat(path, dir_fd=within)
        except OSError:
            return False
        return True

    def halt(self) -> None:
        """See that a monitor does not start the container again (container/restart.py), from this moment on."""
        if self.has(RESTART):
            os.close(self.open(HALTED, os.O_WRONLY | os.O_CREAT))

    def drop(self, name: str) -> None:
        """Remove a file; one that is gone already is success."""
        path, within = self._at(name)
        try:
            os.unlink(path, dir_fd=within)
        except FileNotFoundError:
            pass

    def exists(self) -> bool:
        """Say whether the directory is somebody's: it has facts, or notes of what is to be undone."""
        return self.has(FACTS_FILE) or self.has(NOTES_FILE)

    def directory(self) -> int | str:
        """Return what to change to for names that are too long to spell out: the descriptor, or the path."""
        return self.path if self._directory < 0 else self._directory

    # -- notes

    def note(self, note: Note) -> None:
        """Append one undo note. It begins a new line, so that one that was cut off (a full disk) spoils no other."""
        line = _line(note)
        descriptor = self._notes if self._notes >= 0 else self.open(NOTES_FILE, NOTING)
        try:
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            error.filename = f"{self.path}/{NOTES_FILE}"
            raise
        finally:
            if descriptor != self._notes:
                os.close(descriptor)

    def keep_notes(self) -> None:
        """Open the notes for a process that will not be able to: it is about to enter a user namespace."""
        self._notes = self.open(NOTES_FILE, NOTING)

    def replace_notes(self, notes: list[Note]) -> None:
        """Replace all notes by these."""
        self.write(NOTES_FILE, b"".join(map(_line, notes)))

    def notes(self) -> list[Note]:
        """Return the notes, oldest first; one that was cut off belongs to a step that was never done."""
        try:
            lines = self.read(NOTES_FILE).splitlines()
        except FileNotFoundError:
            return []
        return [note for note in map(_parsed, filter(None, lines)) if isinstance(note, dict) and "undo" in note]

    # -- the lock

    def lock(self, seconds: float = LOCK_SECONDS) -> None:
        """Take the container for this process.

        The directory stays open between two locks, so a container that was deleted meanwhile and created again under
        the same id is not taken for this one. Raises Busy after `seconds`, ContainerNotFound when it was deleted.
        """
        from runjail.locks import lock_within

        self.hold()
        if not lock_within(self._directory, seconds):
            raise Busy(f"another runjail works on container {self.id}")
        self.require_place()

    def hold(self) -> None:
        """Have the directory open from now on. Raises ContainerNotFound."""
        if self._directory < 0:
            try:
                self._directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError):
                raise ContainerNotFound(self.id) from None

    def locked(self) -> bool:
        """Lock the open directory if nobody else has."""
        from runjail.locks import try_lock

        return try_lock(self._directory)

    def require_place(self) -> None:
        """See that the locked directory is the one at the path. Raises ContainerNotFound, and lets go of it."""
        try:
            locked, made = os.fstat(self._directory), self.runtime.made
            there = os.path.samestat(locked, os.stat(self.path, follow_symlinks=False))
            if there and (not made or locked.st_ino == made[0]):
                return
        except FileNotFoundError:
            pass
        self.unlock()
        raise ContainerNotFound(self.id)

    def unlock(self) -> None:
        """Let others work on the container; done before anything foreign runs."""
        if self._directory >= 0:
            from runjail.locks import unlock

            unlock(self._directory)

    def unlocked(self, *, reload: bool = True) -> _Unlocked:
        """Let others work on the container during a `with`; afterwards it is locked, and read again (reload).

        For hooks and plugins, which may call runjail for this container. An exception leaves it unlocked: whoever takes
        everything back locks it again, and another one with the id must not replace the cause by "does not exist".
        """
        return _Unlocked(self, reload)

    def __enter__(self) -> Container:
        self.lock()
        return self

    def __exit__(self, *_error: object) -> None:
        self.unlock()

    def forget(self) -> None:
        """Close the directory. A forked child calls this: its copy of the lock would outlive us."""
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def remove(self) -> None:
        """Delete the directory, the facts last. Raises HostError when a mount is left in it.

        It stays open: a later lock finds that it is gone, whatever has its name by then.
        """
        self.clear(FACTS_FILE)
        self.clear()
        try:
            os.rmdir(self.path)
        except OSError as error:
            raise HostError(f"removing {self.path}: {reason(error)}") from error
        self.unlock()

    def clear(self, but: str = "") -> None:
        """Remove what is in the directory but one file, and the half-written pid files that it leads to."""
        from runjail import rootfs
        from runjail.container.pid_file import clear_beside

        try:
            if not os.listdir(self._directory):
                return
            clear_beside(self._directory)
            rootfs.empty_tree(self._directory, self.path, but)
        except OSError as error:
            raise HostError(f"removing {error.filename or self.path}: {reason(error)}") from error


class _Unlocked:
    def __init__(self, container: Container, reload: bool) -> None:
        self._container, self._reload = container, reload

    def __enter__(self) -> None:
        self._container.unlock()

    def __exit__(self, kind: object, *_error: object) -> None:
        if kind is None:
            self._container.lock()
            if self._reload:
                self._container.load()


def no_plugins() -> PluginChain | None:
    """Stand in where no NRI plugins are configured."""
    return None


def no_allowed_params() -> tuple[str, Sequence[str]]:
    """Stand in where no runjail.toml is read: no path, and nothing is allowed beyond the specification."""
    return "runjail.toml", ()


class Runtime:
    """All containers below one root directory, on one host.

    plugins: returns the NRI plugins that are configured, None for none. allowed_params: returns the path of the
    settings and the permissions that they grant to annotations. Both raise InvalidConfig. made: the identity of the one
    container that it is to find, where that is known.
    """

    def __init__(
        self,
        host: Host,
        root: str,
        plugins: Callable[[], PluginChain | None] = no_plugins,
        allowed_params: Callable[[], tuple[str, Sequence[str]]] = no_allowed_params,
        made: Sequence[int | str] = (),
    ) -> None:
        self.host, self.root, self.plugins, self.allowed_params, self.made = host, root, plugins, allowed_params, made

    def container(self, container_id: str) -> Container:
        """Return a handle on an id, whether or not it exists. Raises UsageError for an id that cannot be one."""
        return Container(check_id(container_id), self)

    def find(self, container_id: str) -> Container:
        """Return an existing container with its facts. Raises ContainerNotFound."""
        container = self.container(container_id)
        container.load()
        return container

    def ids(self) -> Iterator[str]:
        """Yield the ids of all containers, sorted."""
        try:
            names = sorted(os.listdir(self.root))
        except FileNotFoundError:
            return
        for name in names:
            if ID_CHARACTERS.issuperset(name) and Container(name, self).exists():
                yield name


def _line(note: Note) -> bytes:
    return b"\n" + jsonio.dumps(note).encode()


def _parsed(line: bytes) -> object:
    try:
        return jsonio.loads(line)
    except ValueError:
        return None
