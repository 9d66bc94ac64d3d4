"""logs: what a detached container wrote, as `run -d` kept it; and wait: how it ended."""

from __future__ import annotations

import time

from runjail.container.exit_record import recorded_exit
from runjail.container.monitor import is_watched, monitored, take_over
from runjail.container.output_log import Reader, stamp
from runjail.container.status import status
from runjail.errors import ContainerNotFound, HostError, UsageError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from runjail.container.container import Container, Runtime
    from runjail.container.monitor import Become
    from runjail.container.output_log import Entry

POLL = 0.1  # seconds
UNKNOWN = -1


def entries(
    container_id: str, runtime: Runtime, *, since: str, until: str, tail: int, follow: bool, become: Become
) -> Iterator[Entry]:
    """Yield what a container wrote: (time, stream, whether the line ends here, text).

    since, until: times as the log has them, "" for no limit. tail: how many of the last lines, -1 for all. follow: go
    on until the container has ended. Raises UsageError for a container whose output nobody keeps.
    """
    container = runtime.find(container_id)
    path = _path(container)
    take_over(container, become)
    reader = Reader(path)
    found = [entry for entry in _read(reader) if since <= entry[0] and (not until or entry[0] <= until)]
    yield from found if tail < 0 else _last(found, tail)
    while follow and not (until and stamp(time.time_ns()) > until):
        over = not is_watched(container)
        more = _read(reader)
        yield from (entry for entry in more if not until or entry[0] <= until)
        if over:
            return
        time.sleep(0 if more else POLL)


def _path(container: Container) -> str:
    facts = monitored(container)
    if facts and facts.get("log"):
        return str(facts["log"])
    why = f"the output of container {container.id} went to who started it"
    raise UsageError(why, "run -d --image keeps it, unless --log-driver says otherwise")


def _read(reader: Reader) -> list[Entry]:
    try:
        return reader.more()
    except OSError as error:
        raise HostError(f"reading {reader.path}: {reason(error)}") from error


def _last(found: list[Entry], count: int) -> list[Entry]:
    """Return the entries of the last `count` lines. Pieces of a line are one, also with other streams' between them."""
    kept: list[Entry] = []
    begun: set[str] = set()  # streams of which the line that is kept may begin further up
    for entry in reversed(found):
        _time, stream, ends, _text = entry
        if ends or stream not in begun:
            begun.discard(stream)
            if not count:
                if not begun:
                    break
                continue
            count -= 1
            begun.add(stream)
        kept.append(entry)
    return kept[::-1]


def exit_code(container_id: str, runtime: Runtime, interval: float = POLL) -> int:
    """Wait until a container has stopped and return its exit status, -1 when nobody kept it.

    Raises ContainerNotFound for one that is not there; one that is deleted while we wait has the status -1.
    """
    container = runtime.find(container_id)
    while True:
        over = status(container) == "stopped" and not is_watched(container)
        code = recorded_exit(container)
        if code is not None or over:
            return UNKNOWN if code is None else code
        time.sleep(interval)
        try:
            container.load()
        except ContainerNotFound:
            return UNKNOWN
