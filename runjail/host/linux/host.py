"""The Linux host: a container is a set of namespaces that live exactly as long as its init.

For development and CI, but real: pid, mount, uts, ipc, network and cgroup namespaces, pivot_root, control groups.
There is no persistent object like a jail, hence nothing to leak: when init dies, its mounts and namespaces are gone.
ctypes is imported by the verbs that need more than /proc and kill(2).
"""

from __future__ import annotations

import os

from runjail.errors import HostError, reason
from runjail.host.base import HostState, close_others, no_notes, performer, undoer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runjail.host.base import Groups, NetworkHost, Note, ShimHost, UndoLog
    from runjail.host.linux.change import Change, NewRoot
    from runjail.host.linux.seccomp_profile import PreparedFilter
    from runjail.spec.model import Process
    from runjail.steps import CreateNamespaces, Plan, Step

NAMESPACES = ("time", "cgroup", "ipc", "uts", "net", "pid", "mnt")  # mnt last: it changes what paths mean

# Who performs a step, by the name of its class, and who takes back what kind of undo note: module:function of this
# package. They are names, so that a verb imports only what its steps and notes need.
APPLY = {
    "Cgroup": "cgroup_settings:apply",
    "CreateNamespaces": "namespaces:create",
    "DeviceNodes": "nodes:make_nodes",
    "MaskPaths": "mask:mask_paths",
    "Mount": "mounts:mount",
    "NetDevices": "net_devices:move",
    "Scope": "scope:create",
    "SeccompFilter": "seccomp_profile:apply",
    "SecurityLabels": "security_labels:require",
    "Sysctls": "namespaces:write_sysctls",
}
UNDO = {
    "cgroup": "cgroup_users:take_back",
    "made": "mount_points:take_back",
    "netns": "network:remove",
    "program": "network_program:end",
    "scope": "scope:remove",
}


class LinuxHost:
    """`Host` for Linux. State that spans one child's life: what its root is still to become, and where it appears."""

    os = "linux"
    _root: NewRoot  # _have_root
    _tell: Callable[[int], None]  # on_listener

    def __init__(self) -> None:
        self._boot_id = ""
        self._lacks_policy = False
        self._user = False  # whether the container that we make has a user namespace
        self._of_user_namespace = 0  # the pid of an init that has one, while we join it
        self._has_cpus = False  # whether the process that we make was told which it runs on
        self._filter: PreparedFilter | None = None
        self._blind = False  # whether we shall not see what init is in once it is confined
        self._handles: dict[str, int] = {}  # what it has handed over instead

    def boot_id(self) -> str:
        """Return the kernel's boot id, which stays what it is as long as we run."""
        if not self._boot_id:
            self._boot_id = _read("/proc/sys/kernel/random/boot_id").strip()
        return self._boot_id

    def start_time(self, pid: int) -> str:
        """Return field 22 of /proc/PID/stat (proc(5)), "" for zombies and the dead."""
        try:
            fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in ("Z", "X", "x") else fields[19]

    def is_dying(self, pid: int) -> bool:
        """Look at the kernel's flags and the pending signals in /proc/PID/stat."""
        from runjail.host.linux.processes import is_dying

        return is_dying(pid)

    def apply(self, step: Step, host_state: HostState, note: UndoLog) -> None:
        """Perform one step; the container's mounts are its own and need no undo, what they leave on disk does."""
        performer(__package__, APPLY, step)(self._change(host_state, note), step)

    def undo(self, note: Note, host_state: HostState) -> None:
        """Take back one noted change; what is gone already is success."""
        undoer(__package__, UNDO, note)(self._change(host_state, no_notes), note)

    def _change(self, host_state: HostState, note: UndoLog) -> Change:
        from runjail.host.linux.change import Change

        self._have_root()
        return Change(host_state, note, self._root, self.processes)

    def _have_root(self) -> None:
        if not hasattr(self, "_root"):
            from runjail.host.linux.change import NewRoot

            self._root = NewRoot()

    def fork_init(self, host_state: HostState, plan: Plan, process: Process) -> int:
        """Fork pid 1 of a new pid namespace, which ours is entered again after for later children.

        In a pid namespace that has processes already the child appears only when it is confined.
        """
        from runjail import steps
        from runjail.host.linux import join, rights

        self._have_root()
        self._blind = os.geteuid() != 0 or not rights.holds("CAP_SYS_PTRACE")
        step = next(step for step in plan.steps if isinstance(step, steps.CreateNamespaces))
        if step.join:
            self._root.hosts = {kind: join.inode(kind) for kind, _ in step.join}
        if "user" in step.new or any(kind == "user" for kind, _ in step.join):
            from runjail.host.linux import user_namespace

            self._user = True
            inside = tuple(APPLY[type(step).__name__].partition(":")[0] for step in plan.steps if step.inside)
            entry = user_namespace.Entry(host_state, plan.steps, inside, step, process, self._root, self.label_program)
            return user_namespace.fork_init(entry, self.fork_joining)
        if not (mapped := [mount for mount in plan.steps if isinstance(mount, steps.Mount) and mount.mappings]):
            return self._fork_init(host_state, step)
        from runjail.host.linux import outside

        self._root.trees = outside.open_trees(mapped, step.propagation)
        if pid := self._fork_init(host_state, step):
            outside.close(self._root.trees)
        return pid

    def _fork_init(self, host_state: HostState, step: CreateNamespaces) -> int:
        from runjail.host.linux import join

        if "pid" not in step.new:
            return self.fork_joining(host_state)
        return join.fork_first(lambda: self.fork_joining(host_state))

    def record_namespaces(self, host_state: HostState) -> dict[str, int]:
        """Record the inodes of init's namespaces and of its root, and whether it has number 1: who belongs to it.

        Called by init itself, which has no pid yet, and again when it appeared in a pid namespace that it joined.
        """
        from runjail.host.linux import join

        join.record(host_state, self._user)
        return join.hand_out(host_state, self._root.pids) if self._blind and not host_state.pid else {}

    def join_by(self, host_state: HostState, ask: Callable[[], dict[str, int]]) -> None:
        """Ask where we may not trace init (ptrace(2), Ptrace access mode checking)."""
        from runjail.host.linux import join

        if join.is_hidden(host_state.pid):
            self._handles = join.checked(ask(), host_state)

    def enter_root(self, host_state: HostState, keep: list[int]) -> None:
        """Make host_state.root the root of this mount namespace and forget the old one."""
        from runjail.host.linux import join, libc, root

        self._lacks_policy = host_state.lacks_policy()
        join.hide()
        if self._root.pids >= 0:
            libc.setns(self._root.pids, libc.CLONE_NEWPID)  # for who we are when we appear
        root.enter(host_state.root, self._root.propagation)
        self._shut(host_state, keep)

    def fork_joining(self, host_state: HostState) -> int:
        """Fork with all loaded that the child needs where it cannot import any more."""
        from runjail import signals
        from runjail.host.linux import identity, join  # noqa: F401

        self._have_root()
        if host_state.cgroup:
            from runjail.host.linux import cgroups  # noqa: F401
        if "user" in host_state.namespaces:
            from runjail.host.linux import user_namespace  # noqa: F401 - for who enters it

            self._of_user_namespace = host_state.pid
        self._filter = None
        if os.path.exists(f"{host_state.state}/seccomp"):
            from runjail.host.linux import seccomp_profile

            self._filter = seccomp_profile.load(host_state.state)
        pid = signals.fork()
        while pid and self._handles:
            os.close(self._handles.popitem()[1])
        return pid

    def enter(self, host_state: HostState, keep: list[int], groups: Groups = ()) -> None:
        """Join init's namespaces; its root directory comes with the mount namespace."""
        from runjail.host.linux import join, libc

        self._lacks_policy = host_state.lacks_policy()
        join.hide()
        user = "user" in host_state.namespaces
        opened = join.open_others(host_state, (*NAMESPACES, "user") if user else NAMESPACES, self._handles)
        # Only now are the descriptors known to be of our init.
        if self.start_time(host_state.pid) != host_state.started:
            raise HostError("joining the container: its init is gone")
        if host_state.cgroup:
            from runjail.host.linux import cgroups

            cgroups.enter(host_state.cgroup, True, groups, host_state.pid)
        elif groups:
            raise HostError(f"--cgroup {groups[0][1]}: the container has no control group")
        if not self._has_cpus:
            join.free_cpus()
        for descriptor, flag in opened:
            if not user:
                libc.setns(descriptor, flag)
            if flag == libc.CLONE_NEWPID:  # so far for children only
                self._root.pids = descriptor
        if user:
            from runjail.host.linux import user_namespace

            self._root.user, self._root.groups = True, user_namespace.groups_allowed(host_state.pid)
            user_namespace.enter(opened)
        os.chdir("/")
        self._shut(host_state, keep)

    def appear(self, tell: Callable[[int], None]) -> bool:
        """Go on as a process in the pid namespace that was joined; see join.py."""
        from runjail.host.linux import join

        if self._root.pids < 0:
            return False
        join.appear(tell)
        return True

    def _shut(self, host_state: HostState, keep: list[int]) -> None:
        close_others(keep)
        if host_state.keyring:
            from runjail.host.linux import join

            join.forget_keys()

    def set_oom_score(self, pid: int, score: int) -> None:
        """Write it to our own /proc: the container's may be a fake."""
        from runjail.host.linux import cgroups

        try:
            cgroups.write(f"/proc/{pid}/oom_score_adj", str(score))
        except OSError as error:
            raise HostError(f"setting oom_score_adj to {score}: {reason(error)}") from error

    def schedule(self, pid: int, process: Process) -> None:
        """Set its scheduler and I/O priority."""
        if process.scheduler or process.io_priority:
            from runjail.host.linux import scheduling

            scheduling.schedule(pid, process)

    def set_cpus(self, pid: int, cpus: tuple[int, ...], when: str) -> None:
        """Set its CPU affinity."""
        from runjail.host.linux import scheduling

        scheduling.set_cpus(pid, cpus, when)

    def label_program(self, process: Process) -> None:
        """Write what is taken on at execve(2), if not before a user namespace was entered; load the rest's modules."""
        if process.personality or process.memory_policy:
            from runjail.host.linux import scheduling  # noqa: F401 - for apply_credentials
        self._has_cpus = any(process.exec_cpus)
        if self._root.user:
            return
        if self._of_user_namespace:
            from runjail.host.linux import user_namespace

            uid = user_namespace.host_user(process, self._of_user_namespace)
            user_namespace.take_along(process, uid, self._root)
        if process.apparmor_profile or process.selinux_label:
            from runjail.host.linux import security_labels

            security_labels.apply(process)

    def apply_credentials(self, process: Process) -> None:
        """Take on limits, ids and capabilities (setpriv(1)'s order: bounding set, ids, then the rest).

        Only now a root that is to be read-only is made so: its working directory could still be made.
        """
        from runjail.host.linux import identity

        if self._root.readonly:  # of an init, which has made mounts
            from runjail.host.linux import mounts

            mounts.restrict("/", mounts.FLAGS["ro"])
        if process.personality or process.memory_policy:
            from runjail.host.linux import scheduling

            scheduling.take_on(process)
        if self._filter and not process.no_new_privileges:  # takes CAP_SYS_ADMIN, which is about to go
            self._install_filter(self._filter)
        if self._lacks_policy and not self._root.user:  # a user namespace gives no right to make device files
            process = identity.without_mknod(process)
        identity.apply_credentials(process, self._root.groups)
        if self._filter and self._filter.has_listener:  # somebody has to pass that on, who is gone by the last moment
            self._install_filter(self._filter)

    def on_listener(self, tell: Callable[[int], None]) -> None:
        """Remember whom to tell."""
        self._tell = tell

    def take_descriptor(self, pid: int, number: int) -> int:
        """Take it by pidfd_getfd(2), as who may trace the process."""
        from runjail.host.linux import libc

        return libc.take_descriptor(pid, number)

    def restrict_calls(self) -> None:
        """Install the container's seccomp filter, unless apply_credentials has: with no_new_privs it comes last."""
        if self._filter:
            self._install_filter(self._filter)

    def _install_filter(self, ready: PreparedFilter) -> None:
        self._filter = None
        ready.install(self._tell)

    def open_console(self, process: Process, host_state: HostState) -> tuple[int, int]:
        """Open a terminal of the container's own devpts, or of the host's when it has none."""
        from runjail.host.linux import identity

        if host_state.pid and "user" in host_state.namespaces:  # of a container that is there already
            from runjail.host.linux import user_namespace

            uid = user_namespace.host_user(process, host_state.pid)
            process = process.replace(user=process.user.replace(uid=uid))
        return identity.open_console(process, host_state, self._handles.get("root", -1))

    def kill(self, host_state: HostState, pid: int, started: str, signal: int) -> bool:
        """Signal through a pidfd, whose owner is compared first: a reused pid is never hit."""
        from runjail.host.linux import processes

        return processes.kill(pid, started, signal, self.start_time)

    def kill_all(self, host_state: HostState, signal: int) -> None:
        """Signal everybody; after a KILL nobody is left."""
        from runjail.host.linux import processes

        processes.kill_all(host_state, signal, self.start_time)

    def processes(self, host_state: HostState) -> list[int]:
        """Return who shares init's pid namespace, or its mount namespace where the other is the host's or a pod's."""
        from runjail.host.linux import processes

        return processes.find(host_state, self.start_time)

    def freeze(self, host_state: HostState) -> None:
        """Freeze the control group, or stop every process."""
        from runjail.host.linux import processes

        processes.hold(host_state, True, self.start_time)

    def thaw(self, host_state: HostState) -> None:
        """Undo freeze."""
        from runjail.host.linux import processes

        processes.hold(host_state, False, self.start_time)

    def move_cgroup(self, path: str, host_state: HostState, note: UndoLog) -> None:
        """Make another control group with the same limits and move every process there."""
        from runjail.host.linux import cgroup_move

        cgroup_move.move(path, host_state, note, lambda: self.processes(host_state))

    def usage(self, host_state: HostState) -> dict[str, Any]:
        """Return runc's stats document from the control group, or from the processes where there is none."""
        from runjail.host.linux import usage

        return usage.stats(host_state.cgroup, self.processes(host_state))

    def networks(self) -> NetworkHost:
        """Return what makes network namespaces."""
        from runjail.host.linux.network import LinuxNetworks

        return LinuxNetworks()

    def shim(self) -> ShimHost:
        """Return the ShimHost of Linux."""
        from runjail.host.linux.shim import LinuxShim

        return LinuxShim()

    def check(self) -> list[tuple[str, bool, str, str]]:
        """Return what of this machine matters to containers."""
        from runjail.host.linux import check as linux_check

        return linux_check.check()


def _read(path: str) -> str:
    with open(path, "rb", 0) as file:
        return file.read(65536).decode("utf-8", "replace")
