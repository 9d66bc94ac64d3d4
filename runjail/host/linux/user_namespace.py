"""The user namespace of a container: who goes in first and makes init there, and what comes along.

The other namespaces have to belong to it (user_namespaces(7)), so it is entered before they are made, and a process
that has left for it never comes back: our child enters, and forks init into a new pid namespace as another child of
ours. The order is that of runc's nsexec: what exists is joined as the host's root; then the user namespace is entered;
then what only its own root may join.

Whoever is in it has no rights to what is the host's: no import, no file of the state directory, no source of a bind
mount. What takes the host's rights is done before, or was opened before.
"""

from __future__ import annotations

import _socket
import os

from runjail import signals
from runjail.errors import HostError, reason
from runjail.host.base import forbid_imports, give_pipes
from runjail.host.linux import cgroups, identity, join, libc, mapped_ids, outside
from runjail.host.linux.rights import USER_NAMESPACES, ask
from runjail.record import Record
from runjail.spec.id_mappings import translate
from runjail.spec.model import IdMappings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from runjail.host.base import HostState
    from runjail.host.linux.change import NewRoot
    from runjail.spec.model import IdRange, Process
    from runjail.steps import CreateNamespaces, Step

MESSAGE = 4096  # bytes
FAILED = b"!"  # begins the message that is an error's text and hint
GROUPS = "/proc/{}/setgroups"  # "allow" or "deny" (user_namespaces(7))


class Entry(Record):
    """What init goes in with: the steps of its plan, which have `namespaces` among them.

    performers: modules that perform those inside. label: has the program run under its security labels.
    """

    host_state: HostState
    steps: tuple[Step, ...]
    performers: tuple[str, ...]
    namespaces: CreateNamespaces
    process: Process
    root: NewRoot
    label: Callable[[Process], None]


def fork_init(entry: Entry, fork: Callable[[HostState], int]) -> int:
    """Fork who enters, and return the pid of init, a child of ours as well; 0 in init.

    Raises HostError when the kernel refuses something; then nobody is left.
    """
    entry.root.trees = outside.open_trees(entry.steps, entry.namespaces.propagation)
    parent_end, child_end = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    pid = fork(entry.host_state)
    if not pid:
        parent_end.close()
        _go_in(entry, child_end)
        return 0
    child_end.close()
    try:
        return _accompany(entry.namespaces, pid, parent_end)
    except BaseException:
        signals.kill_child(pid)
        raise
    finally:
        parent_end.close()
        outside.close(entry.root.trees)


def _accompany(step: CreateNamespaces, pid: int, link: _socket.socket) -> int:
    """Write the mappings once our child is in its namespace, and return which process is init."""
    receive(link)
    if "user" in step.new:
        assert step.mappings, "the specification's reader has seen to it"
        mapped_ids.write(pid, step.mappings)
    elif step.mappings and step.mappings != mappings_of(pid):
        raise HostError("linux.uidMappings, linux.gidMappings: the user namespace to join has others")
    link.send(b"mapped")
    init = int(receive(link))
    if init != pid:
        os.waitpid(pid, 0)
    return init


def receive(link: _socket.socket, died: str = "the container's process died in its user namespace") -> bytes:
    """Return our child's next message. Raises the HostError that it reports, or one with this text when it died."""
    message: bytes = link.recv(MESSAGE)
    if not message:
        raise HostError(died)
    if message.startswith(FAILED):
        text, _, hint = message[1:].decode("utf-8", "replace").partition("\0")
        raise HostError(text, hint or None)
    return message


def mappings_of(pid: int) -> IdMappings:
    """Return the mappings of a process's user namespace, as ids of ours."""
    return IdMappings(*(_ranges(f"/proc/{pid}/{kind}_map") for kind in ("uid", "gid")))


def _ranges(path: str) -> tuple[IdRange, ...]:
    with open(path, encoding="utf-8") as table:
        rows = [[int(word) for word in line.split()] for line in table]
    return tuple((first, host, size) for first, host, size in rows)


def host_user(process: Process, pid: int) -> int:
    """Return which user of the host the program is in the user namespace of a process. Raises HostError for none."""
    found = translate(mappings_of(pid).uids, process.user.uid)
    if found is None:
        raise HostError(f"become user {process.user.uid}: no user of the container's user namespace")
    return found


def take_along(process: Process, uid: int | None, root: NewRoot) -> None:
    """Take what only the host's rights can give. uid: whose the pipes are that the program gets, None: unknown."""
    identity.raise_limits(process.rlimits)
    if uid is not None:
        give_pipes(uid)


# -- *child* --------------------------------------------------------------------------------------------------------


def _go_in(entry: Entry, link: _socket.socket) -> None:
    """Return as init, in the user namespace and in its pid namespace, or end."""
    try:
        step = entry.namespaces
        outside.load(entry.performers)
        entry.label(entry.process)
        uid = translate(step.mappings.uids, entry.process.user.uid) if step.mappings else None
        take_along(entry.process, uid, entry.root)
        if entry.host_state.cgroup:
            cgroups.enter(entry.host_state.cgroup)
        forbid_imports()
        _change_over(entry, link)
        if "pid" in step.new:
            ask("making namespaces (pid)", "unshare(2)", libc.unshare, libc.CLONE_NEWPID)
            join.appear(lambda pid: _send(link, b"%d" % pid))
        else:
            _send(link, b"%d" % os.getpid())
        link.close()
    except BaseException as error:
        fail(link, error)


def fail(link: _socket.socket, error: BaseException) -> NoReturn:
    """Tell our creator what went wrong, and end, whatever comes: its cleaning up is not for a copy of it."""
    try:
        text = reason(error) if isinstance(error, OSError) else str(error) or type(error).__name__
        hint = getattr(error, "hint", None) or ""
        _send(link, FAILED + f"{text}\0{hint}".encode(errors="backslashreplace"))  # paths need not be UTF-8
    finally:
        os._exit(1)


def _send(link: _socket.socket, text: bytes) -> None:
    link.send(text[:MESSAGE])


def _change_over(entry: Entry, link: _socket.socket) -> None:
    """Be root in the user namespace, and in what is to be joined."""
    step, opened = entry.namespaces, []
    for kind, path in step.join:
        descriptor = join.open_one(path, kind)
        if kind == "pid":  # last of all: whoever is in there sees us then
            entry.root.pids = descriptor
        else:
            opened.append((descriptor, join.flag(kind)))

    enter(opened, lambda: ask_for_ids(link))
    for descriptor, _ in opened:
        os.close(descriptor)
    entry.root.user, entry.root.groups = True, groups_allowed("self")


def ask_for_ids(link: _socket.socket) -> None:
    """Return once our creator has written the ids of the user namespace that we have entered, or end."""
    _send(link, b"made")
    if link.recv(MESSAGE) != b"mapped":
        os._exit(1)


def enter(opened: Sequence[tuple[int, int]], mapped: Callable[[], None] = lambda: None) -> None:
    """Join namespaces, each a descriptor and its CLONE_ flag, the user namespace among them or a new one; be its root.

    mapped: returns when the user namespace has its ids. Ours has no rights to what belongs to it when we are no root
    there; it has none to what belongs to ours. So what refuses us is joined after.
    """
    later, user, rootless = [], -1, os.geteuid() != 0
    for descriptor, flag in opened:
        if flag == libc.CLONE_NEWUSER:
            user = descriptor
            continue
        try:
            libc.setns(descriptor, flag)
        except PermissionError:
            later.append((descriptor, flag))
    if user >= 0:
        ask("joining the user namespace", "setns(2)", libc.setns, user, libc.CLONE_NEWUSER)
    else:
        _make()
    # Else the files in /proc of an ordinary user's process are not that user's. So far nobody is inside.
    dumpable = int(rootless and user < 0)
    libc.prctl(libc.PR_SET_DUMPABLE, dumpable)
    mapped()
    _become_root()
    libc.prctl(libc.PR_SET_DUMPABLE, dumpable)  # until the root is entered
    for descriptor, flag in later:
        ask("joining a namespace of the container", "setns(2)", libc.setns, descriptor, flag)


def _become_root() -> None:
    """Be user 0 of the namespace, whose are the files that we make."""
    try:
        if groups_allowed("self"):
            os.setgroups(())
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    except OSError as error:
        raise HostError(f"becoming root of the user namespace: {reason(error)}") from error


def _make() -> None:
    ask("making a user namespace", "unshare(2)", libc.unshare, libc.CLONE_NEWUSER, remedy=USER_NAMESPACES)


def require_way(root: str, step: CreateNamespaces) -> None:
    """See that the root directory can be reached from inside. Raises HostError with what it takes."""
    try:
        os.stat(f"{root}/.")
    except PermissionError as error:
        user = f"user {translate(step.mappings.uids, 0)} of the host, who is " if step.mappings else ""
        hint = f"{user}root in the user namespace, has to pass it and every directory above it: chmod a+x"
        raise HostError(f"entering the root directory {root}: {reason(error)}", hint) from error


def groups_allowed(pid: int | str) -> bool:
    """Say whether setgroups(2) works in the user namespace of a process; before Linux 3.19 it always does."""
    return cgroups.content(GROUPS.format(pid)).strip() != "deny"
