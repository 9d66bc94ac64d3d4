"""What containerd runs: `start` prints the address of a shim, `delete` cleans up after one, `-info` describes us.

The address is printed as a plain `unix://PATH`, which every containerd from 1.4 to 2.x understands.
"""

import _socket
import fcntl
import os
import time

from runjail import __version__, jsonio, log
from runjail.errors import RunjailError, UsageError, reason
from runjail.shim.flags import Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runjail.shim.machine import Engine
    from runjail.shim.wire import Message

GROUPS = ("io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id")
BACKLOG = 64
SUN_PATH = 103  # bytes of a socket's path on FreeBSD, and fewer than Linux has
NAME = "io.containerd.runjail.v1"
KILLED = 137


def main(argv: "Sequence[str]", engine: "Engine") -> int:
    """Run one command. Returns the exit code. Errors go to standard error, which containerd shows."""
    try:
        given = Given(argv[1:])
        if given.text("v") or given.text("version"):
            return _say(f"{os.path.basename(argv[0])} {__version__}\n".encode())
        if given.text("info"):
            return _say(info(engine))
        if given.verb == "start":
            return start(given, engine)
        if given.verb == "delete":
            return _say(delete(given, engine))
        raise UsageError(f"unknown command {given.verb[:80]!r}: start or delete")
    except RunjailError as error:
        log.error(str(error), error.hint)
    except OSError as error:
        log.error(f"shim: {reason(error)}" + (f": {error.filename}" if error.filename else ""))
    return 1


def _say(data: bytes) -> int:
    while data:
        data = data[os.write(1, data) :]
    return 0


# -- start


def start(given: Given, engine: "Engine") -> int:
    """Find the shim of this container's group or become it, and print its address."""
    given.complete(_standard_input())
    bundle = given.text("bundle") or os.getcwd()
    directory = given.text("sockets") or f"{engine.machine.state}/s"
    os.makedirs(directory, 0o711, exist_ok=True)
    path = f"{directory}/{_digest(given, _group(given.id, bundle, engine.share()))}"
    if len(os.fsencode(path)) > SUN_PATH:
        raise UsageError(f"the path of the shim's socket is longer than {SUN_PATH} bytes: {path}")
    pid, listener = os.getpid(), None
    with _Turn(directory):
        joined = join(path, given.id)
        if not joined:
            listener = _listen(path)
    if listener:
        pid = os.fork()
        if not pid:
            _become(listener, path, given, engine, bundle)
    _write(f"{bundle}/shim.pid", str(pid if listener else joined))
    _write(f"{bundle}/address", f"unix://{path}")
    return _say(f"unix://{path}".encode())


def _standard_input() -> bytes:
    data = b""
    if not os.isatty(0):
        while block := os.read(0, 65536):
            data += block
    return data


def _group(container_id: str, bundle: str, share: str) -> str:
    """Return what the containers of one shim have in common."""
    if share == "namespace":
        return "namespace"
    with open(f"{bundle}/config.json", "rb") as file:
        try:
            annotations = jsonio.loads(file.read()).get("annotations") or {}
        except (ValueError, AttributeError):  # `create` will say what is wrong with it
            annotations = {}
    return next((str(annotations[key]) for key in GROUPS if annotations.get(key)), container_id)


def _digest(given: Given, group: str) -> str:
    """Return the name of a shim's socket, as containerd's own shims choose theirs."""
    name = "/".join((given.address, given.namespace, group)).encode()
    try:  # the C half of hashlib, which had another name before 3.12
        from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        from _sha256 import sha256  # type: ignore[import-not-found,unused-ignore,no-redef]
    digest: str = sha256(name).hexdigest()
    return digest


class _Turn:
    """One `start` at a time decides who listens."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def __enter__(self) -> None:
        self._lock = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __exit__(self, *_raised: object) -> None:
        os.close(self._lock)


def join(path: str, container_id: str, method: str = "Join") -> int:
    """Tell the shim that listens on a path of a container that is about to come (or, with "Leave", that is gone).

    Returns its pid, 0 when nobody answers there.
    """
    if not os.path.exists(path):
        return 0
    from runjail.shim import messages, wire
    from runjail.shim.loop import Loop
    from runjail.shim.ttrpc import Caller

    answers: list[bytes] = []
    loop = Loop()

    def answered(_failure: object, payload: bytes) -> None:
        answers.append(payload)
        loop.ending = True

    try:
        caller = Caller(loop, path)
    except OSError:
        return 0
    caller.call("runjail.shim.Group", method, wire.encode(messages.JOIN, {"id": container_id}), answered)
    loop.run()
    caller.close()
    pid: int = wire.decode(messages.PID, answers[0])["pid"]  # 0 when the connection broke: it is just ending
    return pid


def _listen(path: str) -> "_socket.socket":
    """Listen in place of a shim that was killed."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.listen(BACKLOG)
    return listener


def _become(listener: "_socket.socket", path: str, given: Given, engine: "Engine", bundle: str) -> None:
    """Be the shim, in the forked child: away from our caller's pipes, terminal and directory. Never returns."""
    try:
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        os.closerange(null, listener.fileno())
        os.chdir("/")
        _open_log(bundle, given)
        from runjail.shim import server  # the engine, while our parent prints where we are

        server.serve(listener, path, engine, given.events, given.namespace)
    finally:
        os._exit(0)


def _open_log(bundle: str, given: Given) -> None:
    """Log to the FIFO that containerd reads; never wait for it."""
    try:
        descriptor = os.open(f"{bundle}/log", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    log.adopt(descriptor, "debug" if given.text("debug") else "warning")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


# -- delete and -info


def delete(given: Given, engine: "Engine") -> bytes:
    """Clean up a container whose shim is gone or was never used. Returns a DeleteResponse.

    The bundle may be gone as well; the working directory is never asked for, which fails on FreeBSD then. Versions
    before 2.0 also call this after each regular end: then there is nothing to do, and little is loaded for it.
    """
    from runjail.shim import messages, wire
    from runjail.shim.root import state_root

    bundle = given.text("bundle") or os.getcwd()
    root = state_root(bundle, given.namespace)
    pid = 0
    _leave(bundle, given.id)
    if os.path.isdir(f"{root}/{given.id}"):
        pid = _take_back(engine, root, given.id)
    if os.path.isdir(f"{bundle}/rootfs"):
        engine.machine.unmount(f"{bundle}/rootfs")
    seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
    ended = {"pid": pid, "exit_status": KILLED, "exited_at": {"seconds": seconds, "nanos": nanos}}
    return wire.encode(messages.ENDED, ended)


def _leave(bundle: str, container_id: str) -> None:
    """Tell a shim that still runs that the container is not its business any more; remove the socket of a dead one."""
    try:
        with open(f"{bundle}/address", encoding="utf-8") as file:
            path = file.read().removeprefix("unix://")
        with _Turn(os.path.dirname(path)):
            if not join(path, container_id, "Leave") and os.path.exists(path):
                os.unlink(path)
    except OSError:  # `start` did not come that far, or all is gone already
        pass


def _take_back(engine: "Engine", root: str, container_id: str) -> int:
    """Delete a container, whatever it does. Returns the pid that init had, 0 when it is not known."""
    from runjail.lifecycle.delete import delete as force

    store = engine.store(root)
    container = store.container(container_id)
    try:
        container.load()
    except RunjailError:  # there is none, or its facts are damaged
        pass
    force(container_id, True, engine.host, store)
    return container.box.pid


def info(engine: "Engine") -> bytes:
    """Return a RuntimeInfo."""
    from runjail.lifecycle.features import document
    from runjail.shim import messages, wire

    features: Message = {
        "type_url": "types.containerd.io/opencontainers/runtime-spec/1/features/Features",
        "value": jsonio.dumps(document(engine.host.os)).encode(),
    }
    return wire.encode(messages.INFO, {"name": NAME, "version": {"version": __version__}, "features": features})
