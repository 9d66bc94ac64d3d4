"""What a step needs of FreeBSD, and what taking one back needs: see APPLY and UNDO in host.py."""

from __future__ import annotations

from runjail.host.base import HostState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.base import UndoLog
    from runjail.host.freebsd.libc import Libc


class Change:
    """One change of the machine for one container.

    libc: the kernel. boot_id: what notes are valid for, Host.boot_id. note: writes an undo note; taking back writes
    none.
    """

    __slots__ = ("boot_id", "host_state", "libc", "note")

    def __init__(self, libc: Libc, host_state: HostState, boot_id: str, note: UndoLog) -> None:
        self.libc, self.host_state, self.boot_id, self.note = libc, host_state, boot_id, note
