"""What containerd runs: `start` prints a shim's address, `delete` cleans up after one, `-info`."""

from __future__ import annotations

import os
import time

from runjail import __version__, log, protobuf
from runjail.errors import RunjailError, UsageError, reason
from runjail.shim import messages
from runjail.shim.bootstrap import FileLock, register_container, start
from runjail.shim.command_args import Args
from runjail.shim.runtime_options import state_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runjail.protobuf import Message
    from runjail.shim.engine import Engine

NAME = "io.containerd.runjail.v1"
KILLED = 137


def main(argv: Sequence[str], engine: Callable[[], Engine]) -> int:
    """Run one command. Returns the exit code. Errors go to standard error, which containerd shows."""
    try:
        given = Args(argv[1:])
        if given.text("v") or given.text("version"):
            return _print(f"{os.path.basename(argv[0])} {__version__}\n".encode())
        if given.text("info"):
            return _print(info(engine()))
        if given.verb == "start":
            return _print(start(given, engine()))
        if given.verb == "delete":
            return _print(delete(given, engine))
        raise UsageError(f"unknown command {given.verb[:80]!r}: start or delete")
    except RunjailError as error:
        log.error(str(error), error.hint)
    except OSError as error:
        log.error(f"shim: {reason(error)}" + (f": {error.filename}" if error.filename else ""))
    return 1


def _print(data: bytes) -> int:
    while data:
        data = data[os.write(1, data) :]
    return 0


def delete(given: Args, engine: Callable[[], Engine]) -> bytes:
    """Clean up a container whose shim is gone or was never used. Returns a DeleteResponse.

    The bundle may be gone as well; the working directory is never asked for, which fails on FreeBSD then. Versions
    before 2.0 also call this after each regular end: then there is nothing to do, and little is loaded for it.
    """
    bundle = given.text("bundle") or os.getcwd()
    root = state_root(bundle, given.namespace)
    pid = 0
    _leave(bundle, given.id)
    if os.path.isdir(f"{root}/{given.id}"):
        pid = _take_back(engine(), root, given.id)
    if _used(f"{bundle}/rootfs"):
        engine().shim_host.unmount(f"{bundle}/rootfs")
    seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
    ended = {"pid": pid, "exit_status": KILLED, "exited_at": {"seconds": seconds, "nanos": nanos}}
    return protobuf.encode(messages.ENDED, ended)


def _used(directory: str) -> bool:
    """Say whether something may be mounted on a directory: whatever is, it is not empty or a device of its own."""
    try:
        return os.path.ismount(directory) or bool(os.listdir(directory))
    except FileNotFoundError:
        return False


def _leave(bundle: str, container_id: str) -> None:
    """Tell a shim that still runs to forget the container; remove the socket of a dead one."""
    try:
        with open(f"{bundle}/address", encoding="utf-8") as file:
            path = file.read().removeprefix("unix://")
        if not os.path.exists(path):
            return
        with FileLock(os.path.dirname(path)):
            if not register_container(path, container_id, "Leave"):
                os.unlink(path)
    except OSError:  # `start` did not come that far, or all is gone already
        pass
    except UsageError as error:  # the container is taken back whatever its shim does
        log.warning(str(error))


def _take_back(engine: Engine, root: str, container_id: str) -> int:
    """Delete a container, whatever it does. Returns the pid that init had, 0 when it is not known."""
    from runjail.container.delete import delete as force

    store = engine.store(root)
    container = store.container(container_id)
    try:
        container.load()
    except RunjailError:  # there is none, or its facts are damaged
        pass
    force(container_id, True, store)
    return container.host_state.pid


def info(engine: Engine) -> bytes:
    """Return a RuntimeInfo."""
    from runjail import jsonio
    from runjail.plan.features import document
    from runjail.target import TARGETS

    features: Message = {
        "type_url": "types.containerd.io/opencontainers/runtime-spec/1/features/Features",
        "value": jsonio.dumps(document(TARGETS[engine.host.os])).encode(),
    }
    return protobuf.encode(messages.INFO, {"name": NAME, "version": {"version": __version__}, "features": features})
