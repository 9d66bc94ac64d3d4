"""run -d: a small process of the container's own keeps what it writes, and its exit status.

There is no daemon. The monitor is the parent of init, so the kernel tells it the status. The container's output are
FIFOs in its state directory, open for reading and writing, so it survives the monitor's death: its writes go on until a
FIFO is full, and `runjail logs` starts another monitor for those. A terminal has no FIFO; its container gets a hang-up
then.

    ROOT/ID/stdout, stderr   the FIFOs
    ROOT/ID/monitor          who reads them, and where to: {"pid", "started", "log", "most"}
    ROOT/ID/exit             how init ended: {"code", "finished"}

The monitor holds no lock but while it writes the last of these, and lives as long as anybody has a FIFO open.
"""

from __future__ import annotations

import _signal
import os
import select

from runjail import jsonio, log, signals
from runjail.container.exit_record import record_exit
from runjail.container.output_log import STREAMS, OutputLog
from runjail.container.state import ProcessId
from runjail.container.status import alive
from runjail.host.base import close_others, use_dev_null
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    from runjail.container.container import Container, Runtime
    from runjail.container.create import Request
    from runjail.container.sync import SyncSocket

    Become = Callable[[str, Mapping[str, int]], None]  # (id, streams by name)

MONITOR = "monitor"
BLOCK = 1 << 16
LOOK_SECONDS = 0.5  # how often a monitor that is not init's parent looks whether that lives


class Output(Record):
    """Where output is kept. path: absolute, "" for nowhere; most: bytes of both files."""

    path: str
    most: int


def run_detached(
    request: Request, document: object, runtime: Runtime, output: Output, terminal: bool, become: Become
) -> int:
    """Create and start a container whose output and exit status are kept. Returns 0 once it runs.

    terminal: its output is a terminal. become: executes the verb `monitor` in our place, or returns if it cannot.
    Raises what create and start do; then nothing is left.
    """
    from runjail.container.sync import pair

    parent_end, child_end = pair()
    pid = signals.fork()
    if not pid:
        parent_end.close()
        _be_monitor(request, document, runtime, output, terminal, become, child_end)
    child_end.close()
    try:
        parent_end.expect("started")
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):  # it has a session of its own and heard nothing
            os.kill(pid, _signal.SIGTERM)
        os.waitpid(pid, 0)
        raise
    finally:
        parent_end.close()
    return 0


def _be_monitor(
    request: Request,
    document: object,
    runtime: Runtime,
    output: Output,
    terminal: bool,
    become: Become,
    link: SyncSocket,
) -> NoReturn:
    """Make the container as a child of ours, tell who waits for it, and watch it."""
    streams: dict[str, int] = {}
    try:
        os.setsid()
        signals.catch()
        if not log.descriptors():
            log.adopt(os.dup(2), "debug" if log.debugging() else "warning")
        container = _make(request, document, runtime, output, terminal, streams)
    except BaseException as error:
        link.report(error)
        os._exit(1)
    try:
        use_dev_null()
        link.send(started=True)
        link.close()
        become(container.id, streams)
        watch(container, streams)
    finally:  # a signal must not have us take back what our caller has by now
        os._exit(0)


def _make(
    request: Request, document: object, runtime: Runtime, output: Output, terminal: bool, streams: dict[str, int]
) -> Container:
    from runjail.container.create import create
    from runjail.container.run import started

    if not terminal:
        container = create(
            request, runtime, document=document, prepare=lambda made: streams.update(_prepare(made, output))
        )
        started(container)
        return container
    import _socket

    from runjail.container import console

    local, remote = _socket.socketpair()
    container = create(request, runtime, remote, document, prepare=lambda made: _note(made, output))
    streams["stdout"] = console.receive(local)
    local.close()
    started(container)
    return container


def _prepare(container: Container, output: Output) -> dict[str, int]:
    """Make our output what init is to inherit. Returns the other ends."""
    _note(container, output)
    use_dev_null()
    streams = {}
    for number, name in enumerate(STREAMS if output.path else (), 1):
        os.mkfifo(f"{container.path}/{name}", 0o600)
        file = container.open(name, os.O_RDWR | os.O_NONBLOCK)
        streams[name] = container.open(name, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(file, True)
        os.dup2(file, number)
        os.close(file)
    return streams


def _note(container: Container, output: Output) -> None:
    own = ProcessId.own(container.host)
    facts = {"pid": own.pid, "started": own.start_time, "log": output.path, "most": output.most}
    container.write(MONITOR, jsonio.dumps(facts).encode())


def monitored(container: Container) -> dict[str, object] | None:
    """Return what is known of a container's monitor, None for a container that never had one."""
    try:
        found = jsonio.loads(container.read(MONITOR))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def watch(container: Container, streams: Mapping[str, int]) -> None:
    """Write down what comes from the streams, and how init ended. Returns when both are over."""
    os.chdir("/")
    facts = monitored(container) or {}
    path, most = str(facts.get("log") or ""), facts.get("most")
    output = OutputLog(path, most if isinstance(most, int) else 0) if path else None
    _Watch(container, output, streams).run()


class _Watch:
    def __init__(self, container: Container, output: OutputLog | None, streams: Mapping[str, int]) -> None:
        self._container, self._output = container, output
        self._streams = {number: name for name, number in streams.items()}
        self._poll = select.poll()
        for number in self._streams:
            os.set_blocking(number, False)
            self._poll.register(number, select.POLLIN)
        self._is_parent, self._ended = True, False
        self._wake = _wake_on_child()
        self._poll.register(self._wake, select.POLLIN)

    def run(self) -> None:
        while not self._ended or self._streams:
            self._reap()
            if self._ended and not self._streams:
                return
            for number, _event in self._poll.poll(None if self._is_parent else LOOK_SECONDS * 1000):
                if number == self._wake:
                    os.read(number, 512)
                else:
                    self._take(number)

    def _take(self, number: int) -> bool:
        """Read once from a stream. Returns whether there may be more at once."""
        try:
            block = os.read(number, BLOCK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last process of a terminal is gone
            block = b""
        if block and self._output:
            self._output.write(self._streams[number], block)
        if not block:
            self._poll.unregister(number)
            del self._streams[number]
            os.close(number)
        return bool(block)

    def _reap(self) -> None:
        """Collect init, and write down how it ended once all that it had written before is in the log."""
        if self._ended:
            return
        try:
            pid, status = os.waitpid(self._container.host_state.pid, os.WNOHANG)
        except ChildProcessError:
            self._is_parent, self._ended = False, not alive(self._container)
            return
        if pid:
            self._ended = True
            for number in list(self._streams):
                while number in self._streams and self._take(number):
                    pass
            record_exit(self._container, signals.exit_status(status))


def _wake_on_child() -> int:
    """Return a descriptor that becomes readable whenever a child of ours ends."""
    reading, writing = os.pipe()
    for number in (reading, writing):
        os.set_blocking(number, False)
    _signal.signal(_signal.SIGCHLD, lambda _number, _frame: None)
    _signal.set_wakeup_fd(writing)
    return reading


def _lives(container: Container, facts: Mapping[str, object]) -> bool:
    pid, started = facts.get("pid"), facts.get("started")
    return isinstance(pid, int) and isinstance(started, str) and ProcessId(pid, started).lives(container.host)


def is_watched(container: Container) -> bool:
    """Say whether a container's monitor lives, and may still write."""
    return _lives(container, monitored(container) or {})


def take_over(container: Container, become: Become) -> bool:
    """Watch the FIFOs of a container whose monitor died, as a process of its own. Returns whether there was need to.

    Of two that try at once the second finds the first: it is written down under the container's lock.
    """
    with container:
        container.load()
        facts = monitored(container)
        names = [name for name in STREAMS if container.has(name)]
        if not facts or not facts.get("log") or not names or not alive(container) or _lives(container, facts):
            return False
        pid = signals.fork()
        if not pid:
            _follow(container, names, become)
        container.write(
            MONITOR, jsonio.dumps({**facts, "pid": pid, "started": container.host.start_time(pid)}).encode()
        )
    return True


def _follow(container: Container, names: list[str], become: Become) -> NoReturn:
    """Be the next monitor, in a session of our own and with none of our caller's files."""
    try:
        os.setsid()
        streams = {name: container.open(name, os.O_RDONLY | os.O_NONBLOCK) for name in names}
        use_dev_null()
        close_others(list(streams.values()))
        become(container.id, streams)
    finally:  # what fails here is not our caller's to go on with: the lock is its own
        os._exit(1)
