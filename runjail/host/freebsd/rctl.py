"""Resource limits and usage of jails: rctl_add_rule(2) and its siblings, rctl(8) for the words.

Rules belong to the jail's name, which is ours only while our jail exists; they outlive the jail unless removed.
"""

from __future__ import annotations

import errno

from runjail.errors import HostError, reason
from runjail.host.base import HostState
from runjail.host.freebsd.libc import Libc
from runjail.host.freebsd.processes import members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.host.base import Note
    from runjail.host.freebsd.change import Change
    from runjail.steps import RctlRules

OFF_HINT = "put kern.racct.enable=1 into /boot/loader.conf and reboot"
PAGE = 4096


def limit(change: Change, step: RctlRules) -> None:
    """Add rules to the jail, then drop others: a limit that is changed is in force all the time.

    Raises HostError naming the rule, with a hint while the kernel does no accounting.
    """
    libc, subject, jid = change.libc, change.host_state.name, change.host_state.jid
    change.note({"undo": "limits", "subject": subject, "jid": jid, "rules": list(step.rules), "boot": change.boot_id})
    for rule in step.rules:
        text = f"jail:{subject}:{rule}"
        try:
            libc.rctl_add_rule(text)
        except OSError as error:
            raise _refused(f"limit resources with {text}", error) from error
    for rule in step.removed:
        _remove(libc, f"jail:{subject}:{rule}")


def lift(change: Change, note: Note) -> None:
    """Remove the rules that were noted, and no others of that name or with other amounts.

    They hang on the name. Once another jail has it, they are that one's: its runjail may have set the same.
    """
    libc = change.libc
    prison = libc.jail(note["subject"])
    if prison and prison.jid != note.get("jid", prison.jid):
        return
    for rule in note["rules"]:
        _remove(libc, f"jail:{note['subject']}:{rule}")


def _remove(libc: Libc, text: str) -> None:
    try:
        libc.rctl_remove_rule(text)
    except OSError as error:
        if error.errno not in (errno.ESRCH, errno.ENOSYS):  # no such rule; no rules at all
            raise _refused(f"remove the limit {text}", error) from error


def _refused(what: str, error: OSError) -> HostError:
    if error.errno == errno.ENOSYS:
        return HostError(f"{what}: the kernel does not account for resources", OFF_HINT)
    return HostError(f"{what}: {reason(error)}")


def usage(libc: Libc, host_state: HostState) -> dict[str, Any]:
    """Return runc's stats document: CPU time in nanoseconds, sizes in bytes.

    Without accounting the numbers are those of the processes that live now.
    """
    from runjail.host.freebsd import interfaces

    processes = members(libc, host_state)
    rules: dict[str, int] = {}
    try:
        used = libc.rctl_get_racct(f"jail:{host_state.name}")
        rules = libc.rctl_get_rules(f"jail:{host_state.name}")
        total = used.get("cputime", 0) * 1000000000
        memory, swap = used.get("memoryuse", 0), used.get("swapuse", 0)
    except OSError:
        used = {}
        total = sum(proc.runtime for proc in processes) * 1000
        memory, swap = sum(proc.resident for proc in processes) * PAGE, 0
    return {
        "cpu": {"usage": {"total": total, "percpu": [], "kernel": 0, "user": total}, "throttling": {}},
        "cpuset": {},
        "memory": {
            "usage": {"usage": memory, "limit": _amount(rules, "memoryuse")},
            "swap": {"usage": swap, "limit": _amount(rules, "swapuse")},
            "kernel": {},
            "kernelTCP": {},
            "raw": used,
        },
        "pids": {"current": len(processes), "limit": _amount(rules, "maxproc")},
        "blkio": {},
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": interfaces.moved(libc, host_state),
    }


def _amount(rules: dict[str, int], resource: str) -> int:
    """Return the tightest limit on a resource, 0 when there is none."""
    amounts = [amount for rule, amount in rules.items() if rule.split(":")[2:3] == [resource]]
    return min(amounts, default=0)
