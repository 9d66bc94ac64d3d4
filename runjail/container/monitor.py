"""run -d: a small process of the container's own keeps what it writes, and its exit status.

There is no daemon. The monitor is the parent of init, so the kernel tells it the status. The container's output are
FIFOs in its state directory, open for reading and writing, so it survives the monitor's death: its writes go on until a
FIFO is full, and `runjail logs` starts another monitor for those. A terminal has no FIFO; its container gets a hang-up
then.

    ROOT/ID/stdout, stderr   the FIFOs
    ROOT/ID/monitor          who reads them, and where to: {"pid", "started", "log", "most", "input"}
    ROOT/ID/exit             how init ended: {"code", "finished"}
    ROOT/ID/attach, stdin    where clients attach, and what they type goes to (container/attached.py)

The monitor holds no lock but while it writes the last of these, and lives as long as anybody has a FIFO open.
"""

from __future__ import annotations

import _signal
import os
import select
import time

from runjail import jsonio, log, signals
from runjail.container.attached import INPUT_FIFO, SOCKET, Attached, listen
from runjail.container.container import HALTED, RESTART
from runjail.container.exit_record import read_facts, record_exit
from runjail.container.output_log import STREAMS, OutputLog
from runjail.container.output_streams import with_streams
from runjail.container.state import ProcessId
from runjail.container.status import alive
from runjail.errors import ContainerNotFound
from runjail.host.base import close_others, use_dev_null
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    from runjail.container.container import Container, Runtime
    from runjail.container.create import Request
    from runjail.container.restart import Policy
    from runjail.container.sync import SyncSocket

    Become = Callable[[str, Mapping[str, int]], None]  # (id, streams by name)

MONITOR = "monitor"
BLOCK = 1 << 16
LAST_BLOCKS = 64  # of a stream that are read before init's end is told: more than a pipe or terminal holds
HALT_SECONDS = 0.1  # how often one that waits looks whether it is to make the container again
LOOK_SECONDS = 0.5  # how often a monitor that is not init's parent looks whether that lives
_wakes: list[int] = []  # what a signal writes to, and what becomes readable then


class MonitorOptions(Record):
    """What a monitor does. path: of kept output, absolute, "" for nowhere; most: bytes of both files of it.

    restart: when the container is made again, None for never. interactive: whether who attaches may type.
    """

    path: str
    most: int
    restart: Policy | None = None
    interactive: bool = False


def run_detached(
    request: Request, document: object, runtime: Runtime, options: MonitorOptions, terminal: bool, become: Become
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
        _be_monitor(request, document, runtime, options, terminal, become, child_end)
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
    options: MonitorOptions,
    terminal: bool,
    become: Become,
    link: SyncSocket,
) -> NoReturn:
    """Make the container as a child of ours, tell who waits for it, and watch it."""
    try:
        os.setsid()
        signals.catch()
        if not log.descriptors():
            log.adopt(os.dup(2), "debug" if log.debugging() else "warning")
        container, streams = _make(request, document, runtime, options, terminal)
    except BaseException as error:
        link.report(error)
        os._exit(1)
    try:
        use_dev_null()
        link.send(started=True)
        link.close()
        become(container.id, streams)
        watch(container, streams, become)
    finally:  # a signal must not have us take back what our caller has by now
        os._exit(0)


def _make(
    request: Request, document: object, runtime: Runtime, options: MonitorOptions, terminal: bool
) -> tuple[Container, dict[str, int]]:
    from runjail.container.create import create
    from runjail.container.run import started

    def make(remote: _socket.socket | None, prepare: Callable[[Container], None]) -> Container:
        def noted(container: Container) -> None:
            _note(container, request, options)
            prepare(container)

        return create(request, runtime, remote, document, noted)

    container, streams = with_streams(make, terminal, bool(options.path), options.interactive)
    started(container)
    return container, streams


def _note(container: Container, request: Request, options: MonitorOptions) -> None:
    own = ProcessId.own(container.host)
    facts = {"pid": own.pid, "started": own.start_time, "log": options.path, "most": options.most}
    facts["input"] = options.interactive
    container.write(MONITOR, jsonio.dumps(facts).encode())
    if options.restart:
        from runjail.container.restart import write_policy

        write_policy(container, options.restart, request)


def monitored(container: Container) -> dict[str, object]:
    """Return what is known of a container's monitor, nothing for a container that never had one."""
    return read_facts(container, MONITOR)


def watch(container: Container, streams: Mapping[str, int], become: Become) -> None:
    """Write down what comes from the streams, and how init ended. Returns when both are over.

    A container that is made again (container/restart.py) is watched again, by a new process in our place (become).
    """
    os.chdir("/")
    try:
        container.hold()
    except ContainerNotFound:  # it was deleted already; what it has written comes all the same
        pass
    facts = monitored(container)
    path, most = str(facts.get("log") or ""), facts.get("most")
    output = OutputLog(path, most if isinstance(most, int) else 0) if path else None
    while (again := _Watch(container, output, streams).run()) is not None:
        become(container.id, again)
        streams = again


class _Watch:
    def __init__(self, container: Container, output: OutputLog | None, streams: Mapping[str, int]) -> None:
        self._container, self._output = container, output
        self._streams = {number: name for name, number in streams.items() if name in STREAMS}
        self._poll = select.poll()
        self._attached = attached_at(self._poll, streams)
        for number in self._streams:
            os.set_blocking(number, False)
            self._poll.register(number, select.POLLIN)
        self._is_parent, self._ended = True, False
        self._begun, self._delay = time.monotonic(), -1.0
        self._wake = _wake_on_child()
        self._poll.register(self._wake, select.POLLIN)

    def run(self) -> dict[str, int] | None:
        """Watch a container to its end. Returns the streams of one that was made again by then."""
        while True:
            self._reap()
            if self._delay >= 0:
                return self._again()
            if self._ended and not self._streams:
                return None
            self._copy(-1 if self._is_parent else LOOK_SECONDS)

    def _copy(self, seconds: float) -> None:
        """Wait for what comes, for ever when seconds are negative."""
        seconds = self._attached.patience(seconds)
        for number, event in self._poll.poll(None if seconds < 0 else seconds * 1000):
            if number == self._wake:
                os.read(number, 512)
            elif not self._attached.handle(number, event) and number in self._streams:
                self._take(number)

    def _again(self) -> dict[str, int] | None:
        """Wait, make the container again, and close the streams that it had: their FIFOs are open again by then."""
        from runjail.container.remake import remake

        self._attached.close()
        deadline = self._begun + self._delay
        while (left := deadline - time.monotonic()) > 0 and self._container.has(RESTART):
            if self._container.has(HALTED):
                break
            self._copy(min(left, HALT_SECONDS))
        streams = remake(self._container, self._output is not None, monitored(self._container).get("input") is True)
        for number in self._streams:
            os.close(number)
        return streams

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
        if block:
            self._attached.show(self._streams[number], block)
        if not block:
            self._attached.stream_ended(number)
            self._poll.unregister(number)
            del self._streams[number]
            os.close(number)
        return bool(block)

    def _take_all(self) -> None:
        """Read what was written before now; who outlives init and writes on does not keep its end from being told."""
        for number in list(self._streams):
            for _ in range(LAST_BLOCKS):
                if not self._take(number):
                    break

    def _reap(self) -> None:
        """Collect init, and write down how it ended once all that it had written before is in the log."""
        if self._ended:
            return
        try:
            pid, status = os.waitpid(self._container.host_state.pid, os.WNOHANG)
        except ChildProcessError:
            self._is_parent, self._ended = False, not alive(self._container)
            if self._ended:
                self._take_all()
                self._attached.close()
            return
        if pid:
            self._ended = True
            self._take_all()
            code = signals.exit_status(status)
            self._settle(code)
            self._attached.ended(code)
            self._attached.close()

    def _settle(self, code: int) -> None:
        """Write down how init ended, or that the container is made again and when."""
        ran, self._begun = time.monotonic() - self._begun, time.monotonic()
        if self._container.has(RESTART):
            from runjail.container.restart import delay

            seconds = delay(self._container, code, ran)
            if seconds >= 0:
                self._delay = seconds
                return
        record_exit(self._container, code)


def attached_at(poll: select.poll, streams: Mapping[str, int]) -> Attached:
    """Return who is attached to a container, nobody yet. Its terminal, if it has one, is both output and input."""
    output = streams.get("stdout", -1)
    terminal = output >= 0 and "stderr" not in streams and os.isatty(output)
    target = output if terminal else streams.get(INPUT_FIFO, -1)
    return Attached(poll, streams.get(SOCKET, -1), target, terminal)


def _wake_on_child() -> int:
    """Return a descriptor that becomes readable whenever a child of ours ends: the same one at every call."""
    if _wakes:
        return _wakes[0]
    _wakes.extend(os.pipe())
    for number in _wakes:
        os.set_blocking(number, False)
    _signal.signal(_signal.SIGCHLD, lambda _number, _frame: None)
    _signal.set_wakeup_fd(_wakes[1])
    return _wakes[0]


def _lives(container: Container, facts: Mapping[str, object]) -> bool:
    pid, started = facts.get("pid"), facts.get("started")
    return isinstance(pid, int) and isinstance(started, str) and ProcessId(pid, started).lives(container.host)


def is_watched(container: Container) -> bool:
    """Say whether a container's monitor lives, and may still write."""
    return _lives(container, monitored(container))


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
        streams[SOCKET] = listen(container)
        try:
            streams[INPUT_FIFO] = container.open(INPUT_FIFO, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # ENOENT: there is none; ENXIO: nobody reads it any more
            pass
        use_dev_null()
        close_others(list(streams.values()))
        become(container.id, streams)
    finally:  # what fails here is not our caller's to go on with: the lock is its own
        os._exit(1)
