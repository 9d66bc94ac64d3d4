"""A program that is a container's network, as a host is told of it (NetworkHost.run in base.py)."""

from __future__ import annotations

from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class NetworkProgram(Record):
    """How it is called. name: of the network, for people; directory: where it is to stand, open.

    argv: begins with a path. Descriptor 3 is the container's network namespace and 4 its user namespace; at 5 the
    program says that it is ready, and 6 is closed when it is to end. enters: whether root of that user namespace
    executes it. ask: returns what init hands over, as for Host.join_by.
    """

    name: str
    argv: tuple[str, ...]
    enters: bool
    directory: int
    ask: Callable[[], dict[str, int]]
