"""Talking to systemd over D-Bus, by jeepney.

That is pure Python, and loaded only where a scope is asked for. Three ways lead to a manager: the system bus; systemd's
own socket, without a bus between, where there is none (root only); and the bus of a user. The kernel says who we are
(SASL EXTERNAL without a claim), so it works in user namespaces too, where our own number is not what the other side
sees.
"""

from __future__ import annotations

import errno
import os
import sys
import time

from runjail.errors import HostError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from jeepney import Message

    Body = tuple[Any, ...]

SYSTEM = "unix:path=/run/dbus/system_bus_socket"
PRIVATE = "/run/systemd/private"
SYSTEMD = "org.freedesktop.systemd1"
MANAGER_PATH = "/org/freedesktop/systemd1"
MANAGER = f"{SYSTEMD}.Manager"
PROPERTIES = "org.freedesktop.DBus.Properties"
CALL_SECONDS = 30.0  # of waiting for an answer, and for a job: runc's
CONNECT_SECONDS = 5.0
CONNECT_ROUNDS = 50  # while the other side's queue is full
PAUSE = 0.1
READ_PAUSE = 0.0005
MAX_GREETING = 4096

NO_MODULE = "apt install python3-jeepney, or pip install 'runjail[systemd]'; without --systemd-cgroup it takes neither"
NO_SYSTEM_BUS = "apt install dbus, and see systemctl status dbus; without --systemd-cgroup it takes neither"
NO_USER_BUS = (
    "apt install dbus-user-session and log in anew, or set XDG_RUNTIME_DIR; without --systemd-cgroup it takes none"
)


class CallError(HostError):
    """systemd refused a call. name: the error's, as `org.freedesktop.systemd1.NoSuchUnit`."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class Connection:
    """A connection to a manager. Use it in a `with`."""

    def __init__(self, link: socket.socket, bus: bool) -> None:
        import jeepney

        self._jeepney, self._link, self._parser, self._serial = jeepney, link, jeepney.Parser(), 0
        self._ended: dict[str, str] = {}  # job to how it ended
        removed = jeepney.MatchRule(type="signal", interface=MANAGER, member="JobRemoved", path=MANAGER_PATH)
        try:
            for question in (jeepney.message_bus.Hello(), jeepney.message_bus.AddMatch(removed)) if bus else ():
                self._ask(question)
        except BaseException:
            link.close()
            raise

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._link.close()

    def call(self, member: str, signature: str = "", body: Body = (), path: str = MANAGER_PATH) -> Body:
        """Call a method of the manager, or `Get` of the object at `path`. Raises CallError, HostError."""
        interface = PROPERTIES if member == "Get" else MANAGER
        address = self._jeepney.DBusAddress(path, bus_name=SYSTEMD, interface=interface)
        return self._ask(self._jeepney.new_method_call(address, member, signature or None, body))

    def property(self, interface: str, name: str, path: str = MANAGER_PATH) -> Any:
        """Return the value of a property, without its signature."""
        return self.call("Get", "ss", (interface, name), path)[0][1]

    def run_job(self, member: str, signature: str, body: Body) -> str:
        """Call a method that queues a job, and return how it ended: `done`, `failed`, `timeout`, ...

        Raises CallError, and HostError when it takes too long.
        """
        job = self.call(member, signature, body)[0]
        end = time.monotonic() + CALL_SECONDS
        while job not in self._ended:
            self._receive(end)
        return self._ended.pop(job)

    def _ask(self, message: Message) -> Body:
        """Send a call and return the body of its answer; the ends of jobs that come before it are kept."""
        self._serial += 1
        try:
            self._link.sendall(message.serialise(self._serial))
        except OSError as error:
            raise HostError(f"asking systemd: {reason(error)}") from error
        end, fields = time.monotonic() + CALL_SECONDS, self._jeepney.HeaderFields
        while True:
            reply = self._receive(end)
            if reply.header.fields.get(fields.reply_serial) == self._serial:
                break
        body: Body = reply.body
        if reply.header.message_type is self._jeepney.MessageType.error:
            name = str(reply.header.fields.get(fields.error_name, ""))
            raise CallError(name, str(body[0]) if body else name)
        return body

    def _receive(self, end: float) -> Message:
        """Return the next message. Raises HostError at `end`, of the monotonic clock, or when systemd hangs up."""
        while not (message := self._parser.get_next_message()):
            try:
                self._link.settimeout(max(end - time.monotonic(), 0.001))
                data = self._link.recv(65536)
            except TimeoutError:
                hint = "systemctl list-jobs shows what it waits for"
                raise HostError(f"asking systemd: no answer after {CALL_SECONDS:g} s", hint) from None
            except OSError as error:
                raise HostError(f"asking systemd: {reason(error)}") from error
            if not data:
                raise HostError("asking systemd: it closed the connection")
            self._parser.add_data(data)
        if message.header.fields.get(self._jeepney.HeaderFields.member) == "JobRemoved":
            self._ended[message.body[1]] = message.body[3]
        return message


def connect(user: bool) -> Connection:
    """Connect to the system's manager, or to the manager of our user. Raises HostError with a remedy."""
    try:
        import jeepney  # noqa: F401
    except ImportError:
        raise HostError("asking systemd: the Python module jeepney is not installed", NO_MODULE) from None
    if user:
        return _through_bus(user_address(os.environ), "bus of this user", NO_USER_BUS)
    try:
        return _through_bus(SYSTEM, "system bus", NO_SYSTEM_BUS)
    except HostError:
        try:
            link = _dial(PRIVATE)
        except OSError:  # not root, or another init
            link = None
        if not link:
            raise
        return Connection(link, bus=False)


def user_address(environ: os._Environ[str] | dict[str, str]) -> str:
    """Return the address of our user's bus. Raises HostError where nothing says what it is."""
    if address := environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return address
    directory = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    if os.path.exists(f"{directory}/bus"):
        return f"unix:path={directory}/bus"
    raise HostError(
        "finding the bus of this user: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR/bus", NO_USER_BUS
    )


def _through_bus(address: str, what: str, hint: str) -> Connection:
    """Try each address of a list (D-Bus specification, Server Addresses); only Unix sockets."""
    failure: object = "no address of a Unix socket"
    for one in address.split(";"):
        try:
            if name := _socket_name(one):
                return Connection(_dial(name), bus=True)
        except OSError as error:
            failure = reason(error)
    raise HostError(f"connecting to the {what} ({address}): {failure}", hint)


def _socket_name(address: str) -> str:
    from urllib.parse import unquote  # here: it costs a shim, which loads all of its host, 1.6 MB

    kind, _, text = address.partition(":")
    given = dict(pair.split("=", 1) for pair in text.split(",") if "=" in pair)
    if kind != "unix":
        return ""
    return (
        unquote(given["path"]) if "path" in given else f"\0{unquote(given['abstract'])}" if "abstract" in given else ""
    )


def _dial(name: str) -> socket.socket:
    """Connect and authenticate. Raises OSError."""
    import socket

    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.settimeout(CONNECT_SECONDS)
        _connect(link, name)
        link.sendall(b"\0AUTH EXTERNAL\r\n")
        answer = _line(link)
        if answer.startswith(b"DATA"):
            link.sendall(b"DATA\r\n")
            answer = _line(link)
        if not answer.startswith(b"OK"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        link.sendall(b"BEGIN\r\n")
        _wait_until_read(link)
    except BaseException:
        link.close()
        raise
    return link


def _connect(link: socket.socket, name: str) -> None:
    for attempt in range(CONNECT_ROUNDS):
        try:
            return link.connect(name)
        except BlockingIOError:  # EAGAIN: its queue is full
            if attempt == CONNECT_ROUNDS - 1:
                raise
            time.sleep(PAUSE)
    return None


def _wait_until_read(link: socket.socket) -> None:
    """Wait until the other side has read all that was sent (unix(7), SIOCOUTQ).

    systemd, at its own socket, overlooks a message that it reads together with the last line of the authentication,
    until another one comes.
    """
    import fcntl
    import termios

    end = time.monotonic() + CONNECT_SECONDS
    while int.from_bytes(fcntl.ioctl(link, termios.TIOCOUTQ, bytes(4)), sys.byteorder) and time.monotonic() < end:
        time.sleep(READ_PAUSE)


def _line(link: socket.socket) -> bytes:
    """Read one line of the authentication, byte by byte: what follows it belongs to the stream of messages."""
    given = b""
    while not given.endswith(b"\r\n") and len(given) < MAX_GREETING:
        byte = link.recv(1)
        if not byte:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        given += byte
    return given
