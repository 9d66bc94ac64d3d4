"""A change of the Linux host for tests that call one step's function."""

from typing import TYPE_CHECKING

from runjail.host.base import HostState, no_notes
from runjail.host.linux.change import Change, NewRoot

if TYPE_CHECKING:
    from runjail.host.base import UndoLog


def change(host_state: HostState, note: "UndoLog" = no_notes) -> Change:
    """Return a change for a container that has no process."""
    return Change(host_state, note, NewRoot(), lambda _container: [])
