"""The state directory: facts about each container, one directory an id.

    ROOT/ID/state.json    facts (written beside, then renamed)
    ROOT/ID/config.json   the config as it was at create
    ROOT/ID/undo          notes, one JSON line each, written before the step they take back
    ROOT/ID/gate          socket on which a created container's init waits; gone once it was started
    ROOT/ID/paused        exists while paused

mkdir(2) reserves an id; flock(2) on the directory serialises verbs. Nothing is synced to disk: a crash of a process
loses nothing, and after a crash of the machine the jails and mounts are gone anyway and status says so.
"""

import errno
import fcntl
import os
import time

from runjail import jsonio
from runjail.errors import Busy, ContainerExists, ContainerNotFound, HostError, UsageError, reason
from runjail.host.base import Box

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from runjail.host.base import Note
    from runjail.nri.chain import Chain
    from runjail.spec.model import Hook, Process

GATE = "gate"
ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-")
ID_LENGTH = 255
LOCK_SECONDS = 30.0
LOCK_POLL = 0.005
FACTS: "dict[str, tuple[type, ...]]" = {
    "ociVersion": (str,),
    "bundle": (str,),
    "created": (str,),
    "owner": (str,),
    "annotations": (dict,),
    "hooks": (dict,),
    "boot": (str,),
    "creator": (list, type(None)),
    "box": (dict,),
}


def check_id(container_id: str) -> str:
    """Return the id if it may be one: `[A-Za-z0-9_+.-]{1,255}`, not `.` or `..`. Raises UsageError."""
    if (
        not 1 <= len(container_id) <= ID_LENGTH
        or not ID_CHARACTERS.issuperset(container_id)
        or container_id in (".", "..")
    ):
        raise UsageError(f"invalid container ID format: {ascii(container_id)[:80]}")
    return container_id


def default_root(os_name: str) -> str:
    """Return where state lives when nobody says: below a non-empty XDG_RUNTIME_DIR for users other than root."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.geteuid() and runtime:
        return f"{runtime}/runjail"
    return "/var/run/runjail" if os_name == "freebsd" else "/run/runjail"


def no_plugins() -> "Chain | None":
    """Say that no NRI plugins are configured."""
    return None


class Container:
    """One container's directory. `data` holds state.json's facts, `box` the host's part of them.

    plugins: returns the NRI plugins that are configured, None for none. Raises InvalidConfig.
    """

    def __init__(self, container_id: str, path: str, plugins: "Callable[[], Chain | None]" = no_plugins) -> None:
        self.id = container_id
        self.path = path
        self.plugins = plugins
        self.data: dict[str, Any] = {}
        self.box = Box(container_id, "", path, "", "")
        self._directory = -1

    # -- facts

    def load(self) -> None:
        """Read state.json. Raises ContainerNotFound when there is none, HostError when it is damaged."""
        try:
            text = read_file(f"{self.path}/state.json")
        except (FileNotFoundError, NotADirectoryError):
            raise ContainerNotFound(self.id) from None
        except OSError as error:
            raise HostError(f"reading the state of {self.id}: {reason(error)}") from error
        try:
            data = jsonio.loads(text)
            wrong = [name for name, kind in FACTS.items() if not isinstance(data[name], kind)]
            box = Box.from_data(data["box"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(str(error)) from None
        if wrong or not isinstance(box.pid, int):
            raise self._damaged(", ".join(wrong or ["pid"]))
        self.data, self.box = data, box

    def _damaged(self, how: str) -> HostError:
        return HostError(f"state of {self.id} is damaged: {how}", "runjail delete --force removes it")

    def save(self) -> None:
        """Write state.json beside its place and rename it there."""
        self.data["box"] = self.box.to_data()
        write_file(f"{self.path}/state.json", jsonio.dumps(self.data).encode(), 0o600)

    def config(self) -> bytes:
        """Return config.json as create kept it."""
        return read_file(f"{self.path}/config.json")

    # -- notes

    def note(self, note: "Note") -> None:
        """Append one undo note. It begins a new line, so that one that was cut off (a full disk) spoils no other."""
        line = b"\n" + jsonio.dumps(note).encode()
        descriptor = os.open(f"{self.path}/undo", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{self.path}/undo")
        finally:
            os.close(descriptor)

    def notes(self) -> "list[Note]":
        """Return the notes, oldest first; one that was cut off belongs to a step that was never done."""
        try:
            lines = read_file(f"{self.path}/undo").splitlines()
        except FileNotFoundError:
            return []
        return [note for note in map(_parsed, filter(None, lines)) if isinstance(note, dict) and "undo" in note]

    # -- the lock

    def lock(self, seconds: float = LOCK_SECONDS) -> None:
        """Take the container for this process.

        The directory stays open between two locks, so a container that was deleted meanwhile and created again under
        the same id is not taken for ours. Raises Busy after `seconds`, ContainerNotFound when ours was deleted.
        """
        if self._directory < 0:
            self._directory = self._open()
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Busy(f"another runjail works on container {self.id}") from None
                time.sleep(LOCK_POLL)
        if not self._still_there():
            self.unlock()
            raise ContainerNotFound(self.id)

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise ContainerNotFound(self.id) from None

    def _still_there(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._directory), os.stat(self.path, follow_symlinks=False))
        except FileNotFoundError:
            return False

    def unlock(self) -> None:
        """Let others work on the container; done before anything foreign runs."""
        if self._directory >= 0:
            fcntl.flock(self._directory, fcntl.LOCK_UN)

    def __enter__(self) -> "Container":
        self.lock()
        return self

    def __exit__(self, *_error: object) -> None:
        self.unlock()

    def forget(self) -> None:
        """Close the directory. A forked child calls this: its copy of our lock would outlive us."""
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def remove(self) -> None:
        """Delete the directory, lock and all. Raises HostError when a mount is left in it."""
        from runjail import rootfs

        try:
            rootfs.remove_tree(self.path)
        except OSError as error:
            raise HostError(f"removing {error.filename or self.path}: {reason(error)}") from error
        self.forget()


def nothing_granted() -> "tuple[str, Sequence[str]]":
    """Say that there are no settings."""
    return "runjail.toml", ()


class Store:
    """All containers below one root directory; `plugins` as each container has it.

    granted: returns the path of the settings and the permissions that they grant to annotations. Raises InvalidConfig.
    """

    def __init__(
        self,
        root: str,
        plugins: "Callable[[], Chain | None]" = no_plugins,
        granted: "Callable[[], tuple[str, Sequence[str]]]" = nothing_granted,
    ) -> None:
        self.root, self.plugins, self.granted = root, plugins, granted

    def container(self, container_id: str) -> Container:
        """Return a handle on an id, whether or not it exists. Raises UsageError for an id that cannot be one."""
        return Container(check_id(container_id), f"{self.root}/{container_id}", self.plugins)

    def find(self, container_id: str) -> Container:
        """Return an existing container with its facts. Raises ContainerNotFound."""
        container = self.container(container_id)
        container.load()
        return container

    def reserve(self, container_id: str) -> Container:
        """Make the directory of a new container and lock it. Raises ContainerExists."""
        container = self.container(container_id)
        while True:
            try:
                if not os.path.isdir(self.root):
                    os.makedirs(self.root, 0o700, exist_ok=True)
                os.mkdir(container.path, 0o700)
            except FileExistsError as error:
                if error.filename == self.root:
                    raise HostError(f"making {self.root}: it is not a directory") from None
                raise ContainerExists(container_id) from None
            except OSError as error:
                raise HostError(f"making {container.path}: {reason(error)}") from error
            try:
                container.lock()
                return container
            except ContainerNotFound:  # a `delete --force` took it before our lock
                container.forget()

    def ids(self) -> "Iterator[str]":
        """Yield the ids of all directories, sorted."""
        try:
            names = sorted(os.listdir(self.root))
        except FileNotFoundError:
            return
        for name in names:
            if ID_CHARACTERS.issuperset(name) and os.path.isdir(f"{self.root}/{name}"):
                yield name


def _parsed(line: bytes) -> object:
    try:
        return jsonio.loads(line)
    except ValueError:
        return None


def read_file(path: str) -> bytes:
    """Return a file's content."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = b""
        while block := os.read(descriptor, 1 << 16):
            content += block
        return content
    finally:
        os.close(descriptor)


def write_file(path: str, content: bytes, mode: int) -> None:
    """Write a file so that readers see the old content or the new one, whole."""
    beside = f"{path}.{os.getpid()}"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        written = 0
        while written < len(content):
            written += os.write(descriptor, content[written:])
    except OSError:
        os.unlink(beside)
        raise
    finally:
        os.close(descriptor)
    os.rename(beside, path)


def write_pid(path: str, pid: int) -> None:
    """Write a pid file: the number and nothing else. Raises HostError with the path as the caller gave it."""
    try:
        write_file(path, b"%d" % pid, 0o644)
    except OSError as error:
        raise HostError(f"writing pid file {path}: {reason(error)}") from error


def stored_hooks(container: Container, kind: str) -> "tuple[Hook, ...]":
    """Return the hooks of one kind as create stored them, without parsing config.json again."""
    listed = container.data["hooks"].get(kind)
    if not listed:
        return ()
    from runjail.spec.model import Hook

    return tuple(Hook(hook["path"], tuple(hook["args"]), tuple(hook["env"]), hook["timeout"]) for hook in listed)


def stored_process(container: Container, os_name: str) -> "Process":
    """Return the container's own process, of config.json as create kept it."""
    from runjail.spec.parse import parse_process

    return parse_process(jsonio.loads(container.config())["process"], os_name)
