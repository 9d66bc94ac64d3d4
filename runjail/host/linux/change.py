"""What a step needs of Linux, and what taking one back needs: see APPLY and UNDO in host.py."""

from __future__ import annotations

from runjail.host.base import HostState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runjail.host.base import UndoLog
    from runjail.host.linux.mount_points import Points


class NewRoot:
    """What one child's root is still to become when it is entered, and where the child appears then.

    points: mount points that were made in it. readonly, propagation: as steps.CreateNamespaces has them. pids:
    descriptor of a pid namespace to appear in, -1 for none. user: whether the child is in a user namespace of the
    container's; groups: whether it may set supplementary groups; cgroups: whether it has a cgroup namespace; hosts:
    inodes of our caller's namespaces, by the kinds that were joined; trees: what it brought along to be mounted,
    descriptors by the id() of their steps.
    """

    __slots__ = ("cgroups", "groups", "hosts", "pids", "points", "propagation", "readonly", "trees", "user")
    points: Points

    def __init__(self) -> None:
        self.readonly, self.propagation, self.pids, self.user, self.groups = False, "", -1, False, True
        self.cgroups = False
        self.hosts: dict[str, int] = {}
        self.trees: dict[int, int] = {}


class Change:
    """One change for one container.

    note: writes an undo note; taking back writes none. root: of the child that performs steps of its own. processes:
    returns who is in the container, Host.processes.
    """

    __slots__ = ("host_state", "note", "processes", "root")

    def __init__(
        self, host_state: HostState, note: UndoLog, root: NewRoot, processes: Callable[[HostState], list[int]]
    ) -> None:
        self.host_state, self.note, self.root, self.processes = host_state, note, root, processes
