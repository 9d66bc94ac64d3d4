"""The FreeBSD host: a container is a jail that persists, with all that is made around it.

Around it are mounts, limits and addresses. What a verb does not need is not imported: `state` loads this module,
processes and ctypes. Children that enter a jail run only what fork_init and fork_joining loaded: afterwards
/usr/local/lib is the container's.
"""

from __future__ import annotations

import errno
import os

from runjail.host.base import HostState, no_notes, performer, undoer
from runjail.host.freebsd import libc as libc_freebsd
from runjail.host.freebsd import processes
from runjail.host.freebsd.libc import Libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runjail.host.base import Groups, NetworkHost, Note, ShimHost, UndoLog
    from runjail.host.freebsd.change import Change
    from runjail.spec.model import Process
    from runjail.steps import Plan, Step

# Who performs a step, by the name of its class, and who takes back what kind of undo note: module:function of this
# package. They are names, so that a verb imports only what its steps and notes need.
APPLY = {
    "AddressAlias": "network:add_alias",
    "Cpus": "jails:set_cpus",
    "CreateJail": "jails:create",
    "JailDataset": "datasets:attach",
    "LinuxPrograms": "linux_abi:require",
    "Loopback": "network:raise_loopback",
    "Mount": "mounts:mount",
    "MoveInterface": "network:move_interface",
    "RctlRules": "rctl:limit",
    "ReadonlyRoot": "mounts:mount_readonly_root",
}
UNDO = {
    "alias": "network:remove_alias",
    "dataset": "datasets:detach",
    "interface": "network:return_interface",
    "jail": "jails:remove",
    "limits": "rctl:lift",
    "made": "mount_points:take_back",
    "netns": "vnet:remove",
    "mounts": "unmount:take_back",
    "ruleset": "devfs:remove_ruleset",
    "view": "unmount:remove_view",
}


class FreeBSDHost:
    """`Host` for FreeBSD 14.2 and later. libc: another kernel to talk to, for tests."""

    os = "freebsd"

    def __init__(self, libc: Libc | None = None) -> None:
        self._libc = libc or libc_freebsd.load()
        self._boot = ""

    def boot_id(self) -> str:
        """Return when the kernel started its own processes: the clock may be set, this stays."""
        self._boot = self._boot or processes.boot_id(self._libc)
        return self._boot

    def start_time(self, pid: int) -> str:
        """Return the microseconds of uptime at which a process was forked, "" for zombies and the dead."""
        return processes.start_time(self._libc, pid)

    def is_dying(self, pid: int) -> bool:
        """Look at ki_flag, ki_flag2 and ki_siglist of struct kinfo_proc."""
        process = self._libc.process(pid)
        return process is None or process.dying

    # -- steps

    def apply(self, step: Step, host_state: HostState, note: UndoLog) -> None:
        """Perform one step. Every undo that would hit somebody else's object after a reboot notes the boot."""
        from runjail.host.program_lock import InheritedLock

        with InheritedLock(host_state.state):
            performer(__package__, APPLY, step)(self._change(host_state, note), step)

    def undo(self, note: Note, host_state: HostState) -> None:
        """Take back one noted change; what is gone already is success.

        Waits for programs of a killed creator first: the jail that one of them is about to make must not escape.
        """
        from runjail.host.program_lock import wait_for_programs

        wait_for_programs(host_state.state)
        if "boot" in note and note["boot"] != self.boot_id():
            return  # mounts, jails and rulesets end with the kernel; what has their numbers now is not ours
        undoer(__package__, UNDO, note)(self._change(host_state, no_notes), note)

    def _change(self, host_state: HostState, note: UndoLog) -> Change:
        from runjail.host.freebsd.change import Change

        return Change(self._libc, host_state, self.boot_id(), note)

    # -- processes

    def fork_init(self, host_state: HostState, plan: Plan, process: Process) -> int:
        """Fork. A jail has no pid namespace, so there is nothing to prepare but imports."""
        return self.fork_joining(host_state)

    def record_namespaces(self, host_state: HostState) -> dict[str, int]:
        """The jail says whose processes are whose: there is nothing to record, and nothing to hand out."""
        return {}

    def join_by(self, host_state: HostState, ask: Callable[[], dict[str, int]]) -> None:
        """Do nothing: a jail is joined by its number."""

    def fork_joining(self, host_state: HostState) -> int:
        """Fork a process that can enter the jail later."""
        from runjail import signals
        from runjail.host.freebsd import attach  # noqa: F401  the child must not look for it inside the jail

        return signals.fork()

    def enter_root(self, host_state: HostState, keep: list[int]) -> None:
        """Enter the jail for good (jail_attach(2)); see attach.py."""
        from runjail.host.freebsd import attach

        attach.enter_root(self._libc, host_state, keep)

    def enter(self, host_state: HostState, keep: list[int], groups: Groups = ()) -> None:
        """Enter the jail, as init did. There are no groups: the command line refuses them."""
        self.enter_root(host_state, keep)

    def appear(self, tell: Callable[[int], None]) -> bool:
        """Go on: a process in a jail is seen once it is attached, and has nothing of the host left by then."""
        return False

    def set_oom_score(self, pid: int, score: int) -> None:
        """FreeBSD has no such scores."""

    def schedule(self, pid: int, process: Process) -> None:
        """Set its scheduler; there are no I/O priorities."""
        if process.scheduler:
            from runjail.host.freebsd import scheduling

            scheduling.schedule(self._libc, pid, process.scheduler)

    def set_cpus(self, pid: int, cpus: tuple[int, ...], when: str) -> None:
        """Set the CPUs of one process by cpuset(1)."""
        from runjail.host.freebsd import scheduling

        scheduling.set_cpus(self._libc, pid, cpus, when)

    def label_program(self, process: Process) -> None:
        """Do nothing: these labels are modules' of Linux."""

    def apply_credentials(self, process: Process) -> None:
        """Take on limits, ids and the promise to gain no privileges."""
        from runjail.host.freebsd import attach

        attach.apply_credentials(self._libc, process)

    def on_listener(self, tell: Callable[[int], None]) -> None:
        """Do nothing: there are no filters of system calls."""

    def take_descriptor(self, pid: int, number: int) -> int:
        """Refuse: there are no seccomp listeners, the only descriptors that are taken."""
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    def restrict_calls(self) -> None:
        """Do nothing: what a jail may not do, the kernel refuses it by itself."""

    def open_console(self, process: Process, host_state: HostState) -> tuple[int, int]:
        """Return a terminal of the host: inside, only the session that it controls sees it."""
        from runjail.host.freebsd import attach

        return attach.open_console(self._libc, process)

    def kill(self, host_state: HostState, pid: int, started: str, signal: int) -> bool:
        """Signal one process, unless it is gone or its number belongs to another one by now."""
        return processes.kill(self._libc, pid, started, signal)

    def kill_all(self, host_state: HostState, signal: int) -> None:
        """Signal everybody inside, child jails included, from a process that is inside too."""
        processes.kill_all(self._libc, host_state, signal)

    def processes(self, host_state: HostState) -> list[int]:
        """Return who is in the jail or its children, and init even before it enters."""
        return sorted(proc.pid for proc in processes.members(self._libc, host_state))

    def freeze(self, host_state: HostState) -> None:
        """Stop everybody with SIGSTOP; FreeBSD has no freezer."""
        processes.freeze(self._libc, host_state)

    def thaw(self, host_state: HostState) -> None:
        """Continue everybody."""
        processes.kill_all(self._libc, host_state, processes.SIGCONT)

    def move_cgroup(self, path: str, host_state: HostState, note: UndoLog) -> None:
        """Remember the path: rctl knows no groups but the jail itself."""
        host_state.cgroup = path

    def usage(self, host_state: HostState) -> dict[str, Any]:
        """Return runc's stats document from resource accounting, or from the process table where that is off."""
        from runjail.host.freebsd import rctl

        return rctl.usage(self._libc, host_state)

    def networks(self) -> NetworkHost:
        """Return what makes network stacks."""
        from runjail.host.freebsd.vnet import FreeBSDNetworks

        return FreeBSDNetworks(self._libc, self.boot_id())

    def shim(self) -> ShimHost:
        """Return the ShimHost of FreeBSD."""
        from runjail.host.freebsd.shim import FreeBSDShim

        return FreeBSDShim(self._libc)

    def check(self) -> list[tuple[str, bool, str, str]]:
        """Return what of this machine matters to containers."""
        from runjail.host.freebsd import check as freebsd_check

        return freebsd_check.check(self._libc)
