"""What the interfaces of a jail's own network stack have moved, by netstat(1).

They are seen inside of that stack only. The columns are the same in all releases; of its JSON two have one key.
"""

from __future__ import annotations

from runjail import log
from runjail.errors import HostError, reason
from runjail.host import programs
from runjail.host.freebsd.processes import find_jail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.base import HostState
    from runjail.host.freebsd.libc import Libc

NETSTAT = "/usr/bin/netstat"
LINK, LOOPBACK = "<Link#", "lo0"
COLUMNS = tuple("RxPackets RxErrors RxDropped RxBytes TxPackets TxErrors TxBytes collisions TxDropped".split())
ORDER = tuple("RxBytes RxPackets RxErrors RxDropped TxBytes TxPackets TxErrors TxDropped".split())


def moved(libc: Libc, host_state: HostState) -> list[dict[str, str | int]] | None:
    """Return the counts of each interface but lo0, by runc's names. None: it has not a network stack of its own."""
    jid = find_jail(libc, host_state.name, host_state.root, host_state.jid)
    if not jid or not _has_own(libc, host_state.name):
        return None
    argv = [NETSTAT, "-j", str(jid), "-ibdnW", "-f", "link"]
    try:
        shown = programs.check(argv).stdout.decode("utf-8", "replace")
    except HostError as error:  # an installation without it, or a jail that has just gone
        log.debug(f"container {host_state.id}: {error}")
        return None
    rows = [line.split() for line in shown.splitlines() if LINK in line]
    return [_row(words) for words in rows if words[0].rstrip("*") != LOOPBACK]


def _has_own(libc: Libc, name: str) -> bool:
    """Whether a jail, or one of those that it is in, has a network stack of its own."""
    words = name.split(".")
    try:
        return any(libc.has_vnet(".".join(words[:length])) for length in range(len(words), 0, -1))
    except OSError as error:  # a kernel without them
        log.debug(f"jail {name}: {reason(error)}")
        return False


def _row(words: list[str]) -> dict[str, str | int]:
    """Return a line's name and counts. An address may be missing in the middle; a count that nobody keeps is `-`."""
    counts = dict(zip(COLUMNS, words[-len(COLUMNS) :], strict=True))
    return {"Name": words[0].rstrip("*"), **{key: int(counts[key]) if counts[key].isdigit() else 0 for key in ORDER}}
