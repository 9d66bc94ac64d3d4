"""Requests as generators: each yields what it waits for, and returns its answer or raises.

Nothing in a handler performs input or output, so it reads from top to bottom and tests play everybody else.
"""

from __future__ import annotations

from runjail import errors, protobuf
from runjail.record import Record
from runjail.shim.task import Process
from runjail.shim.ttrpc import EXISTS, INTERNAL, INVALID, NOT_FOUND, PRECONDITION, UNKNOWN, StatusError
from runjail.shim.workers import Worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any, Protocol

    from runjail.protobuf import Message, Table
    from runjail.shim.ttrpc import Answer, Refuse
    from runjail.shim.workers import Done

    Flow = Generator["Awaited", Message, Message]
    Handler = Callable[[Message], Message | Flow]

    class Waiting(Protocol):
        """Who does what handlers wait for, and calls when it is done."""

        def launch(self, fork: Fork, done: Done) -> None:
            """Start a worker."""

        def when_exited(self, process: Process, call: Callable[[], None], wanted: Callable[[], bool] = ...) -> None:
            """Call once the end of a process is known to containerd."""

        def when_copied(self, process: Process, call: Callable[[], None]) -> None:
            """Call once the output of a process is written."""


CODES = (
    (errors.ContainerNotFound, NOT_FOUND),
    (errors.NotRunning, NOT_FOUND),
    (errors.ContainerExists, EXISTS),
    (errors.WrongStatus, PRECONDITION),
    (errors.UsageError, INVALID),
    (errors.InvalidConfig, INVALID),
)


class Awaited(Record):
    """What a handler waits for."""


class Fork(Awaited):
    """A worker's result. Its error is raised as StatusError, with the words that people know from other runtimes.

    verb: of the runtime, for those words. process: the one that the worker makes, whose descriptors it gets.
    """

    work: Callable[[Worker], None]
    verb: str = ""
    process: Process | None = None


class Settled(Awaited):
    """The end of what is under way with a process."""

    process: Process


class Exited(Awaited):
    """The end of a process, once it is known to containerd."""

    process: Process


class Copied(Awaited):
    """The end of whoever writes a process's output."""

    process: Process


class Call:
    """One request, from its handler's first step to its answer. wanted: says whether somebody waits for it still."""

    def __init__(
        self, waiting: Waiting, method: str, table: Table, answer: Answer, refuse: Refuse, wanted: Any
    ) -> None:
        self._waiting, self._method, self._table = waiting, method, table
        self._answer, self._refuse, self._wanted = answer, refuse, wanted

    def serve(self, handler: Handler, request: Message) -> None:
        """Answer a request, now or later."""
        self._flow = _flow(handler, request)
        self._advance(lambda: next(self._flow))

    def refuse(self, error: errors.RunjailError | StatusError) -> None:
        """Refuse it."""
        self._refuse(status_error(error))

    def _advance(self, step: Callable[[], Awaited]) -> None:
        try:
            awaited = step()
        except StopIteration as end:
            self._answer(protobuf.encode(self._table, end.value))
        except (errors.RunjailError, StatusError) as error:
            self.refuse(error)
        except (OSError, ValueError) as error:
            cause = errors.reason(error) if isinstance(error, OSError) else str(error)
            self.refuse(StatusError(UNKNOWN, f"{self._method}: {cause}"))
        except Exception as error:  # whoever asks hears of it, and the loop logs where it was
            self.refuse(StatusError(INTERNAL, f"{self._method}: internal error: {type(error).__name__}"))
            raise
        else:
            self._wait(awaited)

    def _wait(self, awaited: Any) -> None:
        """Go on when what the handler waits for is there."""
        if isinstance(awaited, Fork):
            self._waiting.launch(awaited, lambda error, result: self._worked(awaited.verb, error, result))
        elif isinstance(awaited, Settled):
            awaited.process.queue.append(self._resume)
        elif isinstance(awaited, Exited):
            self._waiting.when_exited(awaited.process, self._resume, self._wanted)
        else:
            self._waiting.when_copied(awaited.process, self._resume)

    def _resume(self) -> None:
        self._advance(lambda: self._flow.send({}))

    def _worked(self, verb: str, error: errors.RunjailError | None, result: Message) -> None:
        failure = status_error(error, verb) if error else None
        self._advance(lambda: self._flow.throw(failure) if failure else self._flow.send(result))


def _flow(handler: Handler, request: Message) -> Flow:
    """Make a generator of any handler, also of one that waits for nothing."""
    answer = handler(request)
    return answer if isinstance(answer, dict) else (yield from answer)


def status_error(error: errors.RunjailError | StatusError, verb: str = "") -> StatusError:
    """Return an error as containerd gets it. verb: of the runtime, to be named."""
    if isinstance(error, StatusError):
        return error
    code = next((code for kind, code in CODES if isinstance(error, kind)), UNKNOWN)
    return StatusError(code, (f"OCI runtime {verb} failed: " if verb else "") + str(error))
