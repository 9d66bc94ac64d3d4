"""attach: the client of a container that runs detached; container/attached.py is the other side."""

from __future__ import annotations

import _signal
import _socket
import fcntl
import os
import select
import struct
import termios
import time

from runjail import files, signals
from runjail.container.attached import BLOCK, SOCKET, frame, frames
from runjail.container.exit_record import recorded_exit
from runjail.container.foreground import handle
from runjail.container.monitor import is_watched, monitored, take_over
from runjail.container.status import status
from runjail.container.terminal import make_raw, restore
from runjail.errors import HostError, NotRunning, UsageError, reason
from runjail.host.base import connect_named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runjail.container.container import Container, Runtime
    from runjail.container.monitor import Become

CONNECT_SECONDS, POLL = 60.0, 0.05  # a program that is started again takes its time
DETACHED = 0  # our exit code when the keys were typed


class Keys:
    """Looks for the keys that detach in what is typed: what may be their beginning is held back until it is not."""

    def __init__(self, keys: bytes) -> None:
        self._keys, self._held = keys, b""

    def take(self, typed: bytes) -> tuple[bytes, bool]:
        """Return what of the typed is the program's, and whether it is time to go."""
        held = self._held + typed
        at = held.find(self._keys) if self._keys else -1
        if at >= 0:
            return held[:at], True
        keep = next((n for n in range(len(self._keys) - 1, 0, -1) if held.endswith(self._keys[:n])), 0)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep], False


def attach(
    container_id: str,
    runtime: Runtime,
    *,
    keys: bytes,
    typing: bool,
    signal: Callable[[int], None] | None,
    become: Become,
) -> int:
    """Show what a container writes from now on, and pass on what is typed. Returns its exit status, 0 after the keys.

    typing: whether our standard input is its own; signal: sends the container a signal that we get, None where ours are
    for us. Raises UsageError for a container that nobody watches, NotRunning.
    """
    container = runtime.find(container_id)
    connection = _connect(container, become)
    terminal = container.process().terminal
    if terminal and typing:
        signals.catch()  # or one that ends us would leave our terminal raw
    saved = make_raw() if terminal and typing else None
    try:
        return _Client(container, connection, Keys(keys), typing, terminal, signal).run()
    finally:
        restore(saved)
        connection.close()


def _connect(container: Container, become: Become) -> _socket.socket:
    """Connect to the monitor, which may be about to listen: it has just been made, or makes the container again."""
    if not monitored(container):
        why = f"nobody has the output of container {container.id}: it went to who started it"
        raise UsageError(why, "run -d --image has a container whose terminal or output one may attach to")
    if not (monitored(container).get("log") or container.process().terminal):
        raise HostError(f"attaching to container {container.id}: its output is kept nowhere")
    take_over(container, become)
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            return connect_named(f"{os.path.abspath(container.path)}/{SOCKET}")
        except OSError as error:
            now = status(container)
            if now == "stopped" and not is_watched(container):
                raise NotRunning(container.id) from error
            if not is_watched(container) or time.monotonic() > deadline:
                raise HostError(f"attaching to container {container.id}: {reason(error)}") from error
        time.sleep(POLL)
        container.load()


class _Client:
    def __init__(
        self,
        container: Container,
        connection: _socket.socket,
        keys: Keys,
        typing: bool,
        terminal: bool,
        signal: Callable[[int], None] | None,
    ) -> None:
        self._container, self._connection, self._keys, self._signal = container, connection, keys, signal
        self._terminal, self._came = terminal, bytearray()
        self._inputs = [connection.fileno(), *([0] if typing else [])]
        self._wake, wake = os.pipe()
        for number in (self._wake, wake):
            os.set_blocking(number, False)
        self._inputs.append(self._wake)
        if signal or terminal:
            _signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        if signal and not terminal:  # a terminal in raw mode has keys for them
            handle(lambda _number, _frame: None)
        if terminal and os.isatty(0):
            _signal.signal(_signal.SIGWINCH, lambda _number, _frame: None)
            self._tell_size()

    def run(self) -> int:
        """Copy until the container has ended, or the keys were typed."""
        while True:
            ready = select.select(self._inputs, [], [])[0]
            if self._wake in ready:
                self._signals(os.read(self._wake, 512))
            if self._connection.fileno() in ready and (code := self._receive()) is not None:
                return code
            if 0 in ready and self._type():
                return DETACHED

    def _signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number == _signal.SIGWINCH:
                self._tell_size()
            elif self._signal and not self._terminal:
                self._signal(number)

    def _tell_size(self) -> None:
        rows, columns = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))[:2]
        if rows and columns:
            self._send(frame(b"w", struct.pack(">HH", rows, columns)))

    def _send(self, message: bytes) -> None:
        """Send a message; whether the container is gone is found by who reads."""
        try:
            self._connection.sendall(message)
        except OSError:
            pass

    def _type(self) -> bool:
        """Pass on what was typed. Returns whether the keys that detach were."""
        try:
            block = os.read(0, BLOCK)
        except OSError:  # our terminal is gone
            block = b""
        if not block:
            self._inputs.remove(0)
            self._send(frame(b"e"))
            return False
        own, over = self._keys.take(block) if self._terminal else (block, False)
        if own:
            self._send(frame(b"i", own[:BLOCK]))
            if own[BLOCK:]:
                self._send(frame(b"i", own[BLOCK:]))
        return over

    def _receive(self) -> int | None:
        """Show what has come. Returns how the container has ended once that has."""
        try:
            block = self._connection.recv(BLOCK)
        except OSError:
            block = b""
        self._came += block
        for kind, content in frames(self._came):
            if kind == b"x":
                return content[0]
            files.write_all(2 if kind == b"e" else 1, content)
        return None if block else self._lost()

    def _lost(self) -> int:
        """Say how a container has ended whose monitor does not say it, if it has."""
        code = recorded_exit(self._container)
        if code is not None:
            return code
        if status(self._container) == "stopped":
            raise HostError(f"container {self._container.id} has ended, and nobody knows how")
        why = "its monitor has ended, or dropped us: what came was not read in time"
        raise HostError(f"container {self._container.id} goes on without us: {why}")
