"""What the engine asks of an operating system. `freebsd` and `linux` answer; `cli` chooses one, once."""

from __future__ import annotations

import os
import sys
import time

from runjail.errors import HostError

ANSWER_SECONDS = 60.0  # the longest wait for a process that the container's own processes may stop
CONNECT_SECONDS = 10.0
MAX_DESCRIPTOR = 2**31 - 1  # os.closerange hands the range to close_range(2) or closefrom(2): its size costs nothing

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Protocol

    from runjail.host.networks import NetworkProgram
    from runjail.spec.model import Process
    from runjail.steps import Plan, Step

    Note = dict[str, Any]  # {"undo": kind, ...facts}: how to take a step back
    UndoLog = Callable[[Note], None]
    Groups = Sequence[tuple[str, str]]  # controllers of v1, "" for all of them, and a path below the container's group


class HostState:
    """One container as its host sees it: identities that later verbs need, kept in state.json.

    id: container id. name: jail name. state: the container's state directory. source, root: directories.
    jid: jail id (FreeBSD, 0 before the jail exists). pid, started: init and its start time, 0 and "" before it is
    forked. namespaces (Linux): type to inode of init's namespaces, known once init runs. cgroup: its path or "".
    keyring (Linux): whether its processes get session keyrings of their own. devices (Linux): allow and rules as
    steps.DevicePolicy has them, enforced: whether that is in force; else empty. scope (Linux): unit, of whose manager
    (user: ours or the system's) and invocation of the systemd unit that the container is; else empty.
    """

    FIELDS = tuple("id name state source root jid pid started namespaces cgroup keyring devices scope".split())
    LATER = ("keyring", "devices", "scope")  # fields that the state of a container of an earlier version lacks

    def __init__(self, id: str, name: str, state: str, source: str, root: str) -> None:
        self.id, self.name, self.state, self.source, self.root = id, name, state, source, root
        self.jid, self.pid, self.started = 0, 0, ""
        self.namespaces: dict[str, int] = {}
        self.cgroup = ""
        self.keyring = True
        self.devices: dict[str, Any] = {}
        self.scope: dict[str, Any] = {}

    def to_data(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return {name: getattr(self, name) for name in self.FIELDS}

    def lacks_policy(self) -> bool:
        """Say whether the container should have a policy for devices, and this machine let us set none (Linux)."""
        return self.devices.get("enforced") is False

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> HostState:
        """Rebuild a host state that to_data wrote; fields of LATER may be missing.

        Raises KeyError for another field that is missing, TypeError for one of another type.
        """
        host_state = cls("", "", "", "", "")
        for name in cls.FIELDS:
            if name in data or name not in cls.LATER:
                if type(data[name]) is not type(getattr(host_state, name)):
                    raise TypeError(name)
                setattr(host_state, name, data[name])
        return host_state


if TYPE_CHECKING:  # a start without this class is 20 us shorter

    class Host(Protocol):
        """One operating system.

        Every method raises HostError (or an OSError, which the caller words) when the kernel refuses. Methods marked
        *child* run in a forked child that never returns to Python code it did not load before.
        """

        os: str

        def boot_id(self) -> str:
            """Return a text that differs between two boots of this machine."""

        def start_time(self, pid: int) -> str:
            """Return the start time of a live process, "" when there is none or it is a zombie."""

        def is_dying(self, pid: int) -> bool:
            """Say whether a process was killed, or ends by itself, and is not gone yet."""

        def apply(self, step: Step, host_state: HostState, note: UndoLog) -> None:
            """Note the way back, then perform one step. Fills in what it learns (host_state.jid, host_state.cgroup)."""

        def undo(self, note: Note, host_state: HostState) -> None:
            """Take one noted change back; success when it is not there. Raises HostError when something stays."""

        def fork_init(self, host_state: HostState, plan: Plan, process: Process) -> int:
            """Fork the process that will become the container's init, `process`. Returns its pid, 0 in the child."""

        def record_namespaces(self, host_state: HostState) -> dict[str, int]:
            """Record in the host state what tells init's fellow processes from others, once init has its namespaces.

            Called by init when its pid is 0 in the host state, else by its creator. Returns what init has to hand out
            to who joins it before it is the program: descriptors by kind of namespace.
            """

        def join_by(self, host_state: HostState, ask: Callable[[], dict[str, int]]) -> None:
            """Before fork_joining: take init's namespaces and root from what it hands out, if there is no other way."""

        def enter_root(self, host_state: HostState, keep: list[int]) -> None:
            """*child* Enter the container for good: jail_attach or pivot_root.

            Closes every descriptor above 2 except `keep` and forbids tracing.
            """

        def fork_joining(self, host_state: HostState) -> int:
            """Fork a process that will join a running container. Returns its pid, 0 in the child."""

        def enter(self, host_state: HostState, keep: list[int], groups: Groups = ()) -> None:
            """*child* of fork_joining: enter the container, and groups below its own; keep as in enter_root."""

        def appear(self, tell: Callable[[int], None]) -> bool:
            """*child* Be seen by the container's processes, now that nothing of the host is left to be seen.

            Where that takes another process, tell(its pid) is called before ours ends, and it is that one to which True
            is returned: it waits until whoever forked us knows it. False: this process has been seen all along.
            """

        def set_oom_score(self, pid: int, score: int) -> None:
            """Set oom_score_adj of a child that has not entered the container yet."""

        def schedule(self, pid: int, process: Process) -> None:
            """Give a child that has appeared inside the scheduler and I/O priority that `process` asks for, if any."""

        def set_cpus(self, pid: int, cpus: tuple[int, ...], when: str) -> None:
            """Let a child run on these CPUs only. when: "initial" or "final", the field of execCPUAffinity."""

        def label_program(self, process: Process) -> None:
            """*child* Have the program run under its security labels, and take what only the host's rights can give.

            Before the container is entered.
            """

        def apply_credentials(self, process: Process) -> None:
            """*child* Take on limits, ids and privileges of `process`; after it nothing privileged works."""

        def on_listener(self, tell: Callable[[int], None]) -> None:
            """*child* Call `tell` with the listening end of our seccomp filter, when apply_credentials has made one."""

        def take_descriptor(self, pid: int, number: int) -> int:
            """Return a descriptor of our own for what another process has open. Raises OSError."""

        def restrict_calls(self) -> None:
            """*child* Give up system calls that the container's processes may not make; nothing but execve follows."""

        def open_console(self, process: Process, host_state: HostState) -> tuple[int, int]:
            """*child* Return (master, slave) of a new terminal, owned by the process's user and of its console size."""

        def kill(self, host_state: HostState, pid: int, started: str, signal: int) -> bool:
            """Signal one process of the container. False when it is gone or the pid belongs to somebody else now."""

        def kill_all(self, host_state: HostState, signal: int) -> None:
            """Signal every process of the container; nobody there is success."""

        def processes(self, host_state: HostState) -> list[int]:
            """Return the pids of all live processes of the container, sorted."""

        def freeze(self, host_state: HostState) -> None:
            """Stop every process of the container."""

        def thaw(self, host_state: HostState) -> None:
            """Let them run again."""

        def move_cgroup(self, path: str, host_state: HostState, note: UndoLog) -> None:
            """Move the container to the resource group `path`, limits and processes, noting the way back first."""

        def usage(self, host_state: HostState) -> dict[str, Any]:
            """Return runc's `stats` document for `events --stats`."""

        def check(self) -> list[tuple[str, bool, str, str]]:
            """Return rows for `runjail check`: what, whether it works, what was found, the command that mends it."""

        def networks(self) -> NetworkHost:
            """Return what networks of a container's own take here."""

        def shim(self) -> ShimHost:
            """Return this system's ShimHost."""

    class NetworkHost(Protocol):
        """Networks that live without processes, for CNI's plugins: only `lo` is in them before."""

        def name(self, directory: str) -> str:
            """Return what plugins will call that of a container, before it is there. directory: the container's."""

        def make(self, name: str, host_state: HostState, note: UndoLog) -> None:
            """Note the way back, then make a network."""

        def has(self, name: str) -> bool:
            """Say whether there is such a network."""

        def traffic(self, host_state: HostState) -> tuple[int, int] | None:
            """Return the bytes that a container has received and sent; None where its network is not its own."""

        def remove_bridge(self, name: str) -> bool:
            """Remove a bridge that plugins have made; one that is gone is success. False when it is in use."""

        def run(self, program: NetworkProgram, host_state: HostState, note: UndoLog) -> None:
            """Note the way back, and have a program run from now on to init's end; return once it is ready."""

    class ShimHost(Protocol):
        """What a containerd shim asks beyond `Host`; what the kernel refuses is a HostError or an OSError.

        state: where containerd keeps its sockets; modules: what of the system is imported where it is needed.
        """

        state: str
        modules: tuple[str, ...]

        def adopt_orphans(self) -> None:
            """Become the parent of every orphan below this process."""

        def die_with_parent(self) -> None:
            """Have this process killed when its parent ends."""

        def die_before(self, pid: int) -> None:
            """Have this process killed rather than another one when memory runs out."""

        def peer(self, connection: _socket.socket) -> int:
            """Return the user at the other end of a Unix socket, as of its connect(2) or listen(2)."""

        def mount(self, fstype: str, source: str, options: Sequence[str], root: str, below: str = "") -> None:
            """Mount a file system on a directory that no container controls, or below it, where one may."""

        def unmount(self, target: str) -> None:
            """Take away everything that is mounted on a directory or below it."""

        def ends_with_init(self, host_state: HostState) -> bool:
            """Say whether all processes of a container end with its init."""

        def oom_file(self, host_state: HostState) -> str:
            """Return where the kernel counts a container's processes that died for want of memory, "" nowhere."""

        def watch_ooms(self, path: str) -> OomWatch:
            """Watch such a file."""

        def oom_kills(self, host_state: HostState) -> int:
            """Return how many processes of the container were killed for want of memory, 0 where nobody counts."""

        def more_usage(self, host_state: HostState) -> dict[str, Any]:
            """Return what runc's stats document lacks, by these keys.

            `unified` (whether control groups are v2), `memory_events` (numbers of memory.events or memory.oom_control),
            `devices` (names of block devices by `MAJOR:MINOR`), `rdma` (entries, as messages.RDMA, or None). On v2 also
            `swap` (the current use, max and peak) and `hugetlb` (limits by size of page).
            """

    class OomWatch(Protocol):
        """A watched container. descriptor: ready for `events` (poll(2)) when `acknowledge` is to be called."""

        descriptor: int
        events: int

        def acknowledge(self) -> None:
            """Read the notification, so that poll(2) waits for the next one."""

        def kills(self) -> int:
            """Return how many of its processes died for want of memory."""

        def close(self) -> None:
            """Watch no more."""


def function_of(package: str, place: str) -> Callable[[Any, Any], None]:
    """Return the function that a table of a host names: `module:function` of its package."""
    module, _, name = place.partition(":")
    __import__(f"{package}.{module}")
    function: Callable[[Any, Any], None] = getattr(sys.modules[f"{package}.{module}"], name)
    return function


def performer(package: str, table: Mapping[str, str], step: Step) -> Callable[[Any, Any], None]:
    """Return the function that performs a step. table: of a host, by the names of steps. Raises HostError."""
    if (kind := type(step).__name__) not in table:
        raise HostError(f"the {package.rpartition('.')[2]} host has no {kind}")
    return function_of(package, table[kind])


def undoer(package: str, table: Mapping[str, str], note: Note) -> Callable[[Any, Any], None]:
    """Return the function that takes a noted change back. table: of a host, by kind. Raises HostError."""
    if (kind := note["undo"]) not in table:
        raise HostError(f"undoing {kind!r}: written by another runjail; this one does not know how")
    return function_of(package, table[kind])


def no_notes(note: Note) -> None:
    """Stand in for an undo log where a change is taken back. Raises HostError: nothing of that has to be noted."""
    raise HostError(f"taking back a change makes another one: {note}")


def close_others(keep: list[int]) -> None:
    """Close every descriptor above 2 except `keep`: whatever callers leaked into us must not reach a container."""
    low = 3
    for descriptor in sorted(set(keep)):
        if descriptor >= low:
            os.closerange(low, descriptor)
            low = descriptor + 1
    os.closerange(low, MAX_DESCRIPTOR)


def use_dev_null() -> None:
    """Make standard input, output and error /dev/null, for a process that nobody waits for."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    if null > 2:  # they may have been closed
        os.close(null)


def give_pipes(uid: int) -> None:
    """Let the program open /dev/stdout and the like, whoever it runs as: a pipe belongs to who made it, our caller."""
    for standard in (0, 1, 2):
        try:
            found = os.fstat(standard)
            if found.st_mode & 0o170000 == 0o010000 and found.st_uid != uid:
                os.fchown(standard, uid, -1)
        except OSError:  # closed, or of a kernel that has no owners for pipes, or ours to give in no user namespace
            pass


def in_user_namespace() -> bool:
    """Say whether our root is none of the host's: a namespace that has all ids is the first (user_namespaces(7))."""
    try:
        with open("/proc/self/uid_map", "rb") as table:
            return table.read().split() != [b"0", b"0", b"%d" % (2**32 - 1)]
    except OSError:  # FreeBSD
        return False


def forbid_imports() -> None:
    """Make every further import fail: inside a container it would load the container's files with our privileges."""
    sys.meta_path.clear()


class WorkingDirectory:
    """Stand in a directory, or an open one, during a `with`: for programs, and for names too long to spell out."""

    def __init__(self, directory: str | int) -> None:
        self._directory, self._before = directory, -1

    def __enter__(self) -> None:
        self._before = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.chdir(self._directory)
        except OSError:
            os.close(self._before)
            raise

    def __exit__(self, *_raised: object) -> None:
        os.fchdir(self._before)
        os.close(self._before)


def connect_named(path: str) -> _socket.socket:
    """Connect to the Unix socket that a caller names: an absolute path, or `@name` for an abstract one, as with Go.

    A path that is too long for sun_path is reached by its last component. Who listens, but has no room for one more, is
    asked again for CONNECT_SECONDS. Raises OSError.
    """
    import _socket

    directory, _, name = ("/", "", "\0" + path[1:]) if path.startswith("@") else path.rpartition("/")
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        with WorkingDirectory(directory or "/"):
            _connect(connection, name)
        connection.setblocking(True)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(connection: _socket.socket, name: str) -> None:
    """connect(2), again while there is no room for one more; other errors are final."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            connection.connect(name)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
