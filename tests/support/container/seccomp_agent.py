"""A program that decides about system calls with SCMP_ACT_NOTIFY, as seccomp agents of the field do it."""

import array
import fcntl
import json
import os
import select
import socket
import struct
import threading
from pathlib import Path
from typing import Any

NOTIFICATION, ANSWER = struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI")  # struct seccomp_notif and seccomp_notif_resp
RECEIVE, SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_
CONTINUE = 1
ENOMEDIUM = 123


class Agent:
    """Listens at a path. states: the container process states that came, each with one descriptor.

    answer: errno for every call that is asked about, 0 to let it happen.
    """

    def __init__(self, path: Path, answer: int = ENOMEDIUM) -> None:
        self.path, self.answer = path, answer
        self.states: list[dict[str, Any]] = []
        self.calls: list[int] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._ended, self._end = os.pipe()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """Hear nothing any more."""
        os.write(self._end, b"x")
        for thread in self._threads:
            thread.join(20)
        self._socket.close()
        for descriptor in (self._ended, self._end):
            os.close(descriptor)

    def _accept(self) -> None:
        while self._socket in select.select([self._socket, self._ended], [], [])[0]:
            connection, _ = self._socket.accept()
            data, ancillary, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(64))
            connection.close()  # runc's end stays open, so no end is waited for: a state comes in one piece
            descriptors = array.array("i")
            for _level, _kind, content in ancillary:
                descriptors.frombytes(content)
            self.states.append(json.loads(data) | {"descriptors": len(descriptors)})
            self._threads.append(threading.Thread(target=self._answer, args=(descriptors[0],)))
            self._threads[-1].start()

    def _answer(self, listening: int) -> None:
        poll = select.poll()
        poll.register(listening, select.POLLIN)
        poll.register(self._ended, select.POLLIN)
        while True:
            events = dict(poll.poll())
            if self._ended in events or events.get(listening, 0) & select.POLLHUP:
                break
            asked = bytearray(NOTIFICATION.size)
            try:
                fcntl.ioctl(listening, RECEIVE, asked)
                number, *_ = fields = NOTIFICATION.unpack(asked)
                self.calls.append(fields[3])
                flags = 0 if self.answer else CONTINUE
                fcntl.ioctl(listening, SEND, bytearray(ANSWER.pack(number, 0, -self.answer, flags)))
            except OSError:  # whoever asked is gone
                continue
        os.close(listening)
