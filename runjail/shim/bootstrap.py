"""`start`: find the shim of a container's group, or become it, and tell its address.

The address is a plain `unix://PATH`, which every containerd from 1.4 to 2.x understands.
"""

from __future__ import annotations

import _socket
import os
import time

from runjail import files, jsonio, locks, log, protobuf
from runjail.errors import UnreadableFile, UsageError, reason
from runjail.host.base import close_others, use_dev_null
from runjail.shim import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.shim.command_args import Args
    from runjail.shim.engine import Engine
    from runjail.shim.loop import Loop
    from runjail.shim.ttrpc import Client

GROUPS = ("io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id")
ADDRESS = "address"  # in the bundle
BACKLOG = 64
ANSWER_SECONDS = 10.0  # for a shim that runs to answer
OTHERS_WRITE = 0o022
LARGEST = 4 << 20  # bytes of config.json, and of what containerd writes to us
SUN_PATH = 103  # bytes of a socket's path on FreeBSD, and fewer than Linux has


def start(given: Args, engine: Engine) -> bytes:
    """Find the shim of this container's group or become it. Returns its address. Raises UsageError or OSError."""
    given.complete(_standard_input())
    container_id = given.id  # a mistake is told before anything is made
    bundle = given.text("bundle") or os.getcwd()
    directory = given.text("sockets") or f"{engine.shim_host.state}/s"
    os.makedirs(directory, 0o711, exist_ok=True)
    path = f"{directory}/{_digest(given, _group(container_id, bundle, engine.share()))}"
    if len(os.fsencode(path)) > SUN_PATH:
        raise UsageError(f"the path of the shim's socket is longer than {SUN_PATH} bytes: {path}")
    pid, parent, listener = os.getpid(), os.getppid(), None
    with FileLock(directory):
        joined = register_container(path, container_id)
        if not joined:
            listener = _listen(path)
    if listener:
        pid = os.fork()
        if not pid:
            _become(listener, path, given, engine, bundle, parent)
    _write(f"{bundle}/shim.pid", str(pid if listener else joined))
    _write(f"{bundle}/{ADDRESS}", f"unix://{path}")
    return f"unix://{path}".encode()


def _standard_input() -> bytes:
    data = b""
    if not os.isatty(0):
        while len(data) <= LARGEST and (block := os.read(0, 65536)):
            data += block
    return data


def _group(container_id: str, bundle: str, share: str) -> str:
    """Return what the containers of one shim have in common."""
    if share == "namespace":
        return "namespace"
    try:
        annotations = jsonio.loads(files.read(f"{bundle}/config.json", LARGEST)).get("annotations") or {}
    except (UnreadableFile, ValueError, AttributeError):  # `create` will say what is wrong with it
        annotations = {}
    return next((str(annotations[key]) for key in GROUPS if annotations.get(key)), container_id)


def _digest(given: Args, group: str) -> str:
    """Return the name of a shim's socket, as containerd's own shims choose theirs."""
    name = "/".join((given.address, given.namespace, group)).encode()
    try:  # the C half of hashlib, which had another name before 3.12
        from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        from _sha256 import sha256  # type: ignore[import-not-found,unused-ignore,no-redef]
    digest: str = sha256(name).hexdigest()
    return digest


class FileLock:
    """One `start` or `delete` at a time decides about the sockets in a directory.

    Raises UsageError where another user could put a socket of his own, to be given containers, or a link.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def __enter__(self) -> None:
        self._lock = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        found = os.fstat(self._lock)
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & OTHERS_WRITE:
            os.close(self._lock)
            raise UsageError(f"directory of sockets {self._directory}: users other than root may write to it")
        locks.lock(self._lock)

    def __exit__(self, *_raised: object) -> None:
        os.close(self._lock)


def register_container(path: str, container_id: str, method: str = "Join") -> int:
    """Tell the shim that listens on a path of a container that is about to come (or, with "Leave", that is gone).

    Returns its pid, 0 when nobody answers there. Raises UsageError when somebody listens and does not answer: it has
    containers, perhaps, and its place cannot be taken.
    """
    if not os.path.exists(path):
        return 0
    from runjail.shim.loop import Loop

    answers: list[bytes] = []
    loop = Loop()

    def answered(_failure: object, payload: bytes) -> None:
        answers.append(payload)
        loop.ending = True

    caller = _call(loop, path)
    if not caller:
        return 0
    caller.call("runjail.shim.Group", method, protobuf.encode(messages.JOIN, {"id": container_id}), answered)
    loop.later(ANSWER_SECONDS, lambda: setattr(loop, "ending", True))
    loop.run()
    caller.close()
    if not answers:
        raise _silent(path)
    pid: int = protobuf.decode(messages.PID, answers[0])["pid"]  # 0 when the connection broke: it is just ending
    return pid


def _call(loop: Loop, path: str) -> Client | None:
    """Connect to a shim, None when nobody listens. Raises UsageError when it does not accept."""
    from runjail.shim.ttrpc import Client

    end = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < end:
        try:
            return Client(loop, path)
        except BlockingIOError:  # too many wait to be accepted
            time.sleep(0.01)
        except OSError:
            return None
    raise _silent(path)


def _silent(path: str) -> UsageError:
    return UsageError(f"the shim that listens at {path} does not answer for {ANSWER_SECONDS:g} s")


def _listen(path: str) -> _socket.socket:
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


def _become(listener: _socket.socket, path: str, given: Args, engine: Engine, bundle: str, containerd: int) -> None:
    """Be the shim, in the forked child: away from our caller's pipes, terminal and directory. Never returns."""
    try:
        os.setsid()
        use_dev_null()
        close_others([listener.fileno()])
        os.chdir("/")
        _open_log(bundle, given)
        if engine.exposed:
            log.debug(engine.exposed)
        try:
            engine.shim_host.die_before(containerd)  # which would leave us without anybody to report to
        except OSError as error:
            log.debug(f"memory that runs out may end containerd before us: {reason(error)}")
        from runjail import merged

        merged.load("shim")
        from runjail.shim import server  # the engine, while our parent prints where we are

        server.serve(listener, path, engine, given.events, given.namespace)
    finally:
        os._exit(0)


def _open_log(bundle: str, given: Args) -> None:
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
