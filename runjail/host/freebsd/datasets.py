"""ZFS datasets that a jail manages itself: zfs-jail(8). The kernel forgets them with the jail."""

from __future__ import annotations

from runjail.errors import HostError
from runjail.host import programs
from runjail.host.freebsd.processes import find_jail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.base import Note
    from runjail.host.freebsd.change import Change
    from runjail.steps import JailDataset

ZFS = "/sbin/zfs"


def attach(change: Change, step: JailDataset) -> None:
    """Give the dataset to the jail. Raises HostError when it is not there, not to be given, or given already.

    A dataset without `jailed` would stay mounted on the host, where the jail's set-user-id programs would be in force.
    """
    host_state = change.host_state
    what = f"give dataset {step.dataset} to jail {host_state.name}"
    jailed = programs.check([ZFS, "get", "-Hp", "-o", "value", "jailed", step.dataset]).stdout.decode().strip()
    if jailed != "on":
        raise HostError(f"{what}: its property jailed is {jailed}", f"zfs set jailed=on {step.dataset}")
    change.note(
        {
            "undo": "dataset",
            "dataset": step.dataset,
            "name": host_state.name,
            "root": host_state.root,
            "jid": host_state.jid,
            "boot": change.boot_id,
        }
    )
    result = programs.run([ZFS, "jail", str(host_state.jid), step.dataset])
    if result.status:
        raise HostError(f"{what}: {programs.first_line(result.stderr) or 'zfs says nothing'}")


def detach(change: Change, note: Note) -> None:
    """Take the dataset back from a jail that still lives; whether it had been given at all is not asked.

    The jail's end does the same, but later, where an uncollected zombie keeps it dying.
    """
    jid = find_jail(change.libc, note["name"], note["root"], note["jid"])
    if jid:
        programs.run([ZFS, "unjail", str(jid), note["dataset"]])
