"""What a shim asks of the operating system, next to `Host`: host/linux/shim.py and host/freebsd/shim.py answer."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from runjail.container.container import Runtime
    from runjail.host.base import Host, HostState

    class Machine(Protocol):
        """One operating system. Everything that the kernel refuses is a HostError or an OSError.

        state: where containerd keeps its sockets; modules: what of the system is imported where it is needed.
        """

        state: str
        modules: tuple[str, ...]

        def adopt_orphans(self) -> None:
            """Become the parent of every orphan below this process."""

        def die_with_parent(self) -> None:
            """Have this process killed when its parent ends."""

        def peer(self, connection: _socket.socket) -> int:
            """Return the user at the other end of a Unix socket, as of its connect(2) or listen(2)."""

        def mount(self, fstype: str, source: str, options: Sequence[str], root: str, below: str = "") -> None:
            """Mount a file system on a directory that no container controls, or below it, where one may."""

        def unmount(self, target: str) -> None:
            """Take away everything that is mounted on a directory or below it."""

        def ends_with_init(self, host_state: HostState) -> bool:
            """Say whether nobody of a container outlives its init."""

        def oom_file(self, host_state: HostState) -> str:
            """Return where the kernel counts a container's processes that died for want of memory, "" nowhere."""

        def watch_ooms(self, path: str) -> OomWatch:
            """Watch such a file."""

        def more_usage(self, host_state: HostState) -> dict[str, Any]:
            """Return what runc's stats document lacks.

            unified: whether control groups are v2. memory_events: numbers of memory.events or memory.oom_control.
            devices: names of block devices by `MAJOR:MINOR`. rdma: entries, as messages.RDMA, or None. On v2: swap, the
            current use, max and peak; hugetlb: limits by size of page.
            """

    class OomWatch(Protocol):
        """A watched container. descriptor: ready for `events` (poll(2)) when `hear` is to be called."""

        descriptor: int
        events: int

        def hear(self) -> None:
            """Take the news."""

        def kills(self) -> int:
            """Return how many of its processes died for want of memory."""

        def close(self) -> None:
            """Watch no more."""


class Engine:
    """What starts and ends containers.

    store: opens the state directory of a root; exposed: why containers can write to our interpreter, "" when not.
    """

    def __init__(
        self,
        host: Host,
        machine: Machine,
        store: Callable[[str], Runtime],
        share: Callable[[], str],
        exposed: str = "",
    ) -> None:
        self.host, self.machine, self.store, self.share, self.exposed = host, machine, store, share, exposed
