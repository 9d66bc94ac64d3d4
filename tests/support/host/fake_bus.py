"""A systemd on a Unix socket, for tests: it introduces itself as a bus does, keeps units, and runs jobs at once."""

import socket
import threading
import time
from pathlib import Path
from typing import Any

from jeepney import DBusAddress, HeaderFields, Message, MessageType, Parser, new_error, new_method_return, new_signal

from runjail.host.linux.dbus import MANAGER, MANAGER_PATH, SYSTEMD

JOB = "/org/freedesktop/systemd1/job/7"


class FakeSystemd:
    """units: name to properties as they were given; calls: (member, body) in order. What it is told to answer:

    refusal: (name, text) of the error that the next StartTransientUnit or SetUnitProperties gets. ended: how jobs end.
    deaf: whether it answers nothing. challenge: whether it asks twice who we are, as dbus-daemon does. pause: seconds
    before it looks at the end of the introduction; read: what it finds then.
    """

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.units: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.refusal: tuple[str, str] | None = None
        self.ended, self.deaf, self.challenge = "done", False, True
        self.pause, self.read = 0.0, list[bytes]()
        self.version = "252.39-1~deb12u1"
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(self.path)
        self._server.listen()
        self._serial = 1
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """Stop listening; who is connected is let go."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(5)

    def members(self) -> list[str]:
        """Return what was called, without the bus's own methods and properties."""
        return [member for member, _ in self.calls if member not in ("Hello", "AddMatch", "Get")]

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._server.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(link,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, link: socket.socket) -> None:
        with link, link.makefile("rb") as file:
            assert file.readline() == b"\0AUTH EXTERNAL\r\n"
            if self.challenge:
                link.sendall(b"DATA\r\n")
                assert file.readline() == b"DATA\r\n"
            link.sendall(b"OK 1234deadbeef\r\n")
            if self.pause:
                time.sleep(self.pause)
                self.read.append(link.recv(65536))
            else:
                assert file.readline() == b"BEGIN\r\n"
            parser = Parser()
            while data := file.read1(65536):
                parser.add_data(data)
                while message := parser.get_next_message():
                    self._answer(link, message)

    def _send(self, link: socket.socket, message: Message) -> None:
        self._serial += 1
        link.sendall(message.serialise(self._serial))

    def _answer(self, link: socket.socket, message: Message) -> None:
        member, body = message.header.fields[HeaderFields.member], message.body
        self.calls.append((member, body))
        if member == "Hello":
            self._send(link, new_method_return(message, "s", (":1.5",)))
        elif self.deaf:
            pass
        elif member in ("StartTransientUnit", "SetUnitProperties") and self.refusal:
            self._refuse(link, message, *self.refusal)
        elif member == "StartTransientUnit":
            self._start(link, message, body)
        elif member == "Get":
            value = self._property(message.header.fields[HeaderFields.path], body[1])
            self._send(link, new_method_return(message, "v", (value,)))
        elif member == "AddMatch":
            self._send(link, new_method_return(message))
        elif body[0] not in self.units:
            self._refuse(link, message, f"{SYSTEMD}.NoSuchUnit", "Unit not loaded.")
        else:
            self._change(link, message, member, body)

    def _start(self, link: socket.socket, message: Message, body: Any) -> None:
        if body[0] in self.units:
            self._refuse(link, message, f"{SYSTEMD}.UnitExists", "Unit was already loaded.")
            return
        self.units[body[0]] = {name: value for name, (_, value) in body[2]} | {"ActiveState": "active"}
        self._job(link, message, body[0])

    def _change(self, link: socket.socket, message: Message, member: str, body: Any) -> None:
        if member == "StopUnit":
            del self.units[body[0]]
            self._job(link, message, body[0])
            return
        if member == "SetUnitProperties":
            self.units[body[0]] |= {name: value for name, (_, value) in body[2]}
        if member == "ResetFailedUnit" and self.units[body[0]]["ActiveState"] == "failed":
            del self.units[body[0]]
        answer = ("o", (f"{MANAGER_PATH}/unit/{body[0].encode().hex()}",)) if member == "GetUnit" else (None, ())
        self._send(link, new_method_return(message, *answer))

    def _refuse(self, link: socket.socket, message: Message, name: str, text: str) -> None:
        self.refusal = None
        self._send(link, new_error(message, name, "s", (text,)))

    def _property(self, path: str, name: str) -> tuple[str, Any]:
        if name == "Version":
            return ("s", self.version)
        if name == "ControlGroup":
            return ("s", "/user.slice/user-1000.slice/user@1000.service")
        unit = self.units[bytes.fromhex(path.rpartition("/")[2]).decode()]
        return ("ay", b"\x12\x34") if name == "InvocationID" else ("s", unit[name])

    def _job(self, link: socket.socket, message: Message, unit: str) -> None:
        self._send(link, new_method_return(message, "o", (JOB,)))
        emitter = DBusAddress(MANAGER_PATH, interface=MANAGER)
        for number, job in ((6, JOB[:-1] + "6"), (7, JOB)):  # of somebody else first
            signal = new_signal(
                emitter, "JobRemoved", "uoss", (number, job, unit, self.ended if number == 7 else "failed")
            )
            assert signal.header.message_type is MessageType.signal
            self._send(link, signal)
