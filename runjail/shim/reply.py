"""Answers to requests, and which code of google.rpc an error of ours is to containerd."""

from __future__ import annotations

from runjail import errors, protobuf
from runjail.shim.ttrpc import EXISTS, INVALID, NOT_FOUND, PRECONDITION, UNKNOWN, StatusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runjail.protobuf import Table
    from runjail.shim.ttrpc import Answer, Refuse

CODES = (
    (errors.ContainerNotFound, NOT_FOUND),
    (errors.NotRunning, NOT_FOUND),
    (errors.ContainerExists, EXISTS),
    (errors.WrongStatus, PRECONDITION),
    (errors.UsageError, INVALID),
    (errors.InvalidConfig, INVALID),
)


class Reply:
    """How one request is answered: by respond or refuse, now or later; of several the first counts.

    wanted: says whether somebody waits for it still.
    """

    def __init__(self, table: Table, answer: Answer, refuse: Refuse, wanted: Callable[[], bool]) -> None:
        self._table, self._answer, self._refuse, self.wanted = table, answer, refuse, wanted
        self._done = False

    def respond(self, **message: Any) -> None:
        """Answer."""
        data = protobuf.encode(self._table, message)
        if not self._done:
            self._done = True
            self._answer(data)

    def refuse(self, error: errors.RunjailError | StatusError, verb: str = "") -> None:
        """Refuse. verb: of the runtime, for errors that people know from other runtimes with these words."""
        if not isinstance(error, StatusError):
            code = next((code for kind, code in CODES if isinstance(error, kind)), UNKNOWN)
            error = StatusError(code, (f"OCI runtime {verb} failed: " if verb else "") + str(error))
        if not self._done:
            self._done = True
            self._refuse(error)
