"""Telling containerd what happens: one event after the other, kept while it is away.

They go over its ttRPC socket.
"""

from __future__ import annotations

import time

from runjail import log, protobuf
from runjail.shim import messages
from runjail.shim.loop import Loop
from runjail.shim.ttrpc import Client, StatusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.protobuf import Message

SERVICE = "containerd.services.events.ttrpc.v1.Events"
MOST = 1000  # events that wait for a containerd that is away; the oldest go first
PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0)  # seconds between tries to reach it; the last one again and again


def timestamp(nanoseconds: int) -> Message:
    """Return a time since the epoch as google.protobuf.Timestamp."""
    seconds, nanos = divmod(nanoseconds, 1_000_000_000)
    return {"seconds": seconds, "nanos": nanos}


class Publisher:
    """Sends events in their order: the next one when the one before was taken."""

    def __init__(self, loop: Loop, address: str, namespace: str) -> None:
        self._loop, self._address, self._namespace = loop, address.removeprefix("unix://"), namespace
        self._waiting: list[bytes] = []
        self._caller: Client | None = None
        self._sending = False
        self._failures = 0

    @property
    def idle(self) -> bool:
        """Whether everything was sent."""
        return not self._waiting

    def publish(self, topic: str, event: Message) -> None:
        """Send one of messages.EVENTS, now or as soon as containerd is there."""
        name, table = messages.EVENTS[topic]
        envelope = {
            "timestamp": timestamp(time.time_ns()),
            "namespace": self._namespace,
            "topic": topic,
            "event": {"type_url": f"containerd.events.{name}", "value": protobuf.encode(table, event)},
        }
        self._waiting.append(protobuf.encode(messages.FORWARD, {"envelope": envelope}))
        if len(self._waiting) > MOST:
            del self._waiting[1 if self._sending else 0]
        if not self._sending:
            self._send()

    def _send(self) -> None:
        if not self._waiting:
            self._sending = False
            return
        self._sending = True
        try:
            if not self._caller or not self._caller.open:
                self._caller = Client(self._loop, self._address)
            self._caller.call(SERVICE, "Forward", self._waiting[0], self._sent, self._namespace)
        except OSError:
            self._try_again()

    def _sent(self, failure: StatusError | None, _payload: bytes) -> None:
        if failure and self._caller and not self._caller.open:
            self._try_again()
            return
        if failure:  # containerd has it and does not want it: no other try will change that
            log.warning(f"shim: an event was refused: {failure}")
        self._failures = 0
        del self._waiting[0]
        self._send()

    def _try_again(self) -> None:
        pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
        self._failures += 1
        self._loop.later(pause, self._send)
