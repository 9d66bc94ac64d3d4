"""The monitor's side of `attach`: a socket in the container's directory, and who is attached at it.

    ROOT/ID/attach   the socket: as private as the directory
    ROOT/ID/stdin    the FIFO of a container that was started with -i and has no terminal

Frames have a letter and the length of what follows, two bytes, big-endian. A client sends `i`, input, `w`, the size of
its terminal (rows, columns, as unsigned 16 bits), and `e`, the end of input. The monitor sends `o` and `e`, output and
error, and `x`, how init ended, one byte.

Nobody is waited for: a client that does not read what comes is dropped once MOST bytes wait for it, and nobody is read
from while the program has not read what was typed.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import select
import struct
import termios
import time

from runjail.host.base import WorkingDirectory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.container.container import Container

SOCKET, INPUT_FIFO = "attach", "stdin"
HEAD = 3
BLOCK = 1 << 15  # a frame's length has 16 bits
MOST = 1 << 20  # bytes that wait for one client
CLIENTS = 16
ACCEPT_PAUSE = 1.0  # seconds until it is tried again to take somebody in, out of descriptors or memory
FLUSH_SECONDS = 2  # how long one that is slow has for the last of it
ENDS = select.POLLHUP | select.POLLERR | select.POLLNVAL


def frame(kind: bytes, content: bytes = b"") -> bytes:
    """Return one message; content: at most BLOCK bytes."""
    return kind + struct.pack(">H", len(content)) + content


def frames(data: bytearray) -> list[tuple[bytes, bytes]]:
    """Take the whole messages from the beginning of what came: (letter, content)."""
    found = []
    while len(data) >= HEAD:
        (length,) = struct.unpack_from(">H", data, 1)
        if len(data) < HEAD + length:
            break
        found.append((bytes(data[:1]), bytes(data[HEAD : HEAD + length])))
        del data[: HEAD + length]
    return found


def listen(container: Container) -> int:
    """Return a socket at which clients attach, in place of what has its name."""
    made = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    container.drop(SOCKET)
    with WorkingDirectory(container.directory()):
        made.bind(SOCKET)
    made.listen(CLIENTS)
    made.setblocking(False)
    return made.detach()


class _Client:
    def __init__(self, number: int) -> None:
        self.socket = _socket.socket(fileno=number)
        self.socket.setblocking(False)
        self.came, self.waits = bytearray(), bytearray()


class Attached:
    """Who is attached. `poll` is the monitor's; it hands over what that says of other descriptors than its own."""

    def __init__(self, poll: select.poll, listener: int, target: int, terminal: bool) -> None:
        """listener: at which they come, -1 for none; target: what takes input, -1 for nothing; terminal: is it one."""
        self._poll, self._target, self._terminal = poll, target, terminal
        self._listener = _socket.socket(fileno=listener) if listener >= 0 else None
        self._clients: dict[int, _Client] = {}
        self._typed = bytearray()  # what the program has not read
        self._end = False
        self._paused_until = 0.0  # of the monotonic clock; 0 while the listener is watched
        if self._listener:
            poll.register(self._listener.fileno(), select.POLLIN)
        if target >= 0:
            os.set_blocking(target, False)

    def handle(self, number: int, event: int) -> bool:
        """Do what is to be done for a descriptor. Returns whether it was one of ours, and no stream's."""
        if self._listener and number == self._listener.fileno():
            self._accept()
        elif number in self._clients:
            self._serve(number, event)
        elif number == self._target:
            self._type()
            return not self._terminal
        else:
            return False
        return True

    def _accept(self) -> None:
        assert self._listener
        try:
            number, _ = self._listener._accept()  # type: ignore[attr-defined]  # what socket.socket.accept calls
        except (BlockingIOError, ConnectionAbortedError):  # who came is gone again
            return
        except OSError:  # no room: the listener stays ready, so poll(2) would return at once for ever
            self._watch(self._listener.fileno(), 0)
            self._paused_until = time.monotonic() + ACCEPT_PAUSE
            return
        os.set_inheritable(number, False)
        if len(self._clients) >= CLIENTS:
            os.close(number)
            return
        self._clients[number] = _Client(number)
        self._register()

    def patience(self, seconds: float) -> float:
        """Return how long to poll: seconds, for ever when negative; less while nobody can be taken in."""
        if not self._paused_until or not self._listener:
            return seconds
        left = self._paused_until - time.monotonic()
        if left > 0:
            return left if seconds < 0 else min(seconds, left)
        self._paused_until = 0.0
        self._watch(self._listener.fileno(), select.POLLIN)
        return seconds

    def _serve(self, number: int, event: int) -> None:
        client = self._clients[number]
        try:
            if event & select.POLLOUT:
                self._flush(client)
            if event & select.POLLIN:
                self._read(client)
            elif event & ENDS:
                raise ConnectionResetError
        except BlockingIOError:
            pass
        except OSError:
            self._drop(number)
        self._register()

    @staticmethod
    def _flush(client: _Client) -> None:
        while client.waits:
            del client.waits[: client.socket.send(client.waits)]

    def _read(self, client: _Client) -> None:
        block = client.socket.recv(BLOCK)
        if not block:
            raise ConnectionResetError
        client.came += block
        for kind, content in frames(client.came):
            if kind == b"i":
                self._typed += content if self._target >= 0 and not self._end else b""
            elif kind == b"w" and len(content) == 4:
                self._resize(*struct.unpack(">HH", content))
            elif kind == b"e":
                self._end = self._end or not self._terminal
        self._type()

    def _resize(self, rows: int, columns: int) -> None:
        if self._terminal and self._target >= 0:
            fcntl.ioctl(self._target, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _type(self) -> None:
        """Hand what was typed to the program, as much as it takes now."""
        try:
            while self._typed and self._target >= 0:
                del self._typed[: os.write(self._target, self._typed[:4096])]
        except BlockingIOError:
            pass
        except OSError:  # the program has closed it
            self._typed.clear()
            self._end = not self._terminal
        if self._end and not self._typed and self._target >= 0:
            self._watch(self._target, 0)
            os.close(self._target)
            self._target = -1
        self._register()

    def _register(self) -> None:
        """Have the poll look for what can be done now."""
        full = len(self._typed) >= BLOCK
        for number, client in self._clients.items():
            self._watch(number, (0 if full else select.POLLIN) | (select.POLLOUT if client.waits else 0), keep=True)
        if self._target >= 0:
            own = select.POLLIN if self._terminal else 0
            self._watch(self._target, own | (select.POLLOUT if self._typed else 0))

    def _watch(self, number: int, events: int, keep: bool = False) -> None:
        try:
            if events or keep:
                self._poll.register(number, events)
            else:
                self._poll.unregister(number)
        except KeyError:  # it was not
            pass

    def _drop(self, number: int) -> None:
        self._watch(number, 0)
        self._clients.pop(number).socket.close()

    def show(self, stream: str, block: bytes) -> None:
        """Send output to everybody."""
        message = b"".join(
            frame(b"o" if stream == "stdout" else b"e", block[at : at + BLOCK]) for at in range(0, len(block), BLOCK)
        )
        for number, client in list(self._clients.items()):
            client.waits += message
            try:
                self._flush(client)
            except BlockingIOError:
                if len(client.waits) > MOST:
                    self._drop(number)
            except OSError:
                self._drop(number)
        self._register()

    def stream_ended(self, number: int) -> None:
        """Forget a terminal that was closed."""
        if number == self._target:
            self._target = -1

    def ended(self, code: int) -> None:
        """Tell everybody how init ended, also who has just come, and let them go. Nobody comes any more by then."""
        for _ in range(CLIENTS if self._listener else 0):
            self._accept()
        self._refuse()
        for number, client in list(self._clients.items()):
            client.waits += frame(b"x", bytes([code & 0xFF]))
            try:
                client.socket.settimeout(FLUSH_SECONDS)
                deadline = time.monotonic() + FLUSH_SECONDS
                while client.waits and time.monotonic() < deadline:
                    del client.waits[: client.socket.send(client.waits)]
            except OSError:
                pass
            self._drop(number)

    def _refuse(self) -> None:
        if self._listener:
            self._watch(self._listener.fileno(), 0)
            self._listener.close()
            self._listener = None

    def close(self) -> None:
        """Take no more clients, and close what input goes to but a terminal, which is a stream."""
        self._refuse()
        for number in list(self._clients):
            self._drop(number)
        if self._target >= 0 and not self._terminal:
            self._watch(self._target, 0)
            os.close(self._target)
        self._target = -1
