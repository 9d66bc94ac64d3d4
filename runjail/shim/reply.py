"""Answers to requests, and which code of google.rpc an error of ours is to containerd."""

from runjail import errors
from runjail.shim import wire
from runjail.shim.ttrpc import EXISTS, INVALID, NOT_FOUND, PRECONDITION, UNKNOWN, Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.shim.ttrpc import Answer, Refuse
    from runjail.shim.wire import Table

CODES = (
    (errors.ContainerNotFound, NOT_FOUND),
    (errors.NotRunning, NOT_FOUND),
    (errors.ContainerExists, EXISTS),
    (errors.WrongStatus, PRECONDITION),
    (errors.UsageError, INVALID),
    (errors.InvalidConfig, INVALID),
)


class Reply:
    """How one request is answered: exactly one of give and fail is called, now or later."""

    def __init__(self, table: "Table", answer: "Answer", refuse: "Refuse") -> None:
        self._table, self._answer, self._refuse = table, answer, refuse

    def give(self, **message: "Any") -> None:
        """Answer."""
        self._answer(wire.encode(self._table, message))

    def fail(self, error: "errors.RunjailError | Failure", verb: str = "") -> None:
        """Refuse. verb: of the runtime, for errors that people know from other runtimes with these words."""
        if isinstance(error, Failure):
            self._refuse(error)
            return
        code = next((code for kind, code in CODES if isinstance(error, kind)), UNKNOWN)
        self._refuse(Failure(code, (f"OCI runtime {verb} failed: " if verb else "") + str(error)))
