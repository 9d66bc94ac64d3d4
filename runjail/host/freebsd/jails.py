"""Jails: create with jail(8), remove with jail_remove(2).

jail(8) loads the modules behind allow.mount.*, knows every parameter of its release and prints the jid; its argv form
reads no jail.conf. For removal it is of no use: it waits ten seconds and runs what jail.conf says of that name.
"""

from __future__ import annotations

import errno
import os
import time

from runjail import log
from runjail.errors import HostError, reason
from runjail.host import programs
from runjail.host.freebsd.libc import CPU_SETSIZE, Libc
from runjail.host.freebsd.lock import MachineLock
from runjail.host.freebsd.processes import find_jail
from runjail.host.freebsd.structs import SZOMB
from runjail.host.freebsd.unmount import fsids_below, unmount_below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runjail.host.base import Note
    from runjail.host.freebsd.change import Change
    from runjail.steps import Cpus, CreateJail

JAIL = "/usr/sbin/jail"
CREATE_SECONDS = 120.0  # a vnet takes the kernel a while, and so does loading modules
DYING_SECONDS = 2.0

HINTS = (
    ("unknown parameter: allow.mount.", "load the file system's module with kldload(8)"),
    ("unknown parameter: ", "this kernel has no such jail parameter; sysctl -d security.jail.param lists them"),
    ("IPv4 addresses clash", "an address can only be shared by jails that have no other"),
    ("prison limit exceeded", "raise children.max of the parent jail"),
    ("not allowed", "run as root, on the host or in a jail that may have children"),
)


class NameTaken(HostError):
    """Somebody has made a jail of this name since we looked."""


def create(change: Change, step: CreateJail) -> None:
    """Create the jail and learn its jid and its name.

    Names are the machine's, so another root's container, or a jail of somebody else, may have this one: then it gets
    the other one. Between the look and jail(8)'s end no other runjail makes a jail: what is noted is ours. Raises
    HostError with jail(8)'s words.
    """
    libc, host_state, note = change.libc, change.host_state, change.note
    path = os.path.realpath(host_state.root)
    facts: Note = {"undo": "jail", "path": path, "boot": change.boot_id}
    if path != "/" and any(key.startswith("allow.mount") for key, _ in step.params):
        facts["keep"] = fsids_below(libc.mounts(), path, change.boot_id, host_state.state)
    params = (*step.params, *_labels(libc, step))
    with MachineLock("jails", lent=True):
        host_state.name = _free_name(libc, step, host_state.id)
        facts["name"] = host_state.name
        note(facts)
        try:
            named = [(key, host_state.name if (key, value) == ("name", step.name) else value) for key, value in params]
            host_state.jid = run_jail(host_state.name, named)
        except NameTaken:  # by who does not know our lock: the note must not lead to that jail
            host_state.name = ""
            raise
        note(facts | {"jid": host_state.jid})


def _free_name(libc: Libc, step: CreateJail, container_id: str) -> str:
    """Return the planned name, or the other one where a jail has that. Raises HostError when both are taken."""
    taken = libc.jail(step.name)
    if not taken:
        return step.name
    if not step.other or libc.jail(step.other):
        raise HostError(f"create jail {step.name}: jail {taken.jid} has this name already")
    log.warning(f"container {container_id}: jail {taken.jid} is called {step.name}, this one is {step.other}")
    return step.other


def _labels(libc: Libc, step: CreateJail) -> tuple[tuple[str, str], ...]:
    """Return the labels that this kernel keeps beside what the jail is asked to have, all or none of them.

    The kernel's answer to too much is a jail that stays dying for ever, so nothing of the kind is tried. Raises
    HostError when what was asked for does not fit.
    """
    asked = [(key, value or "") for key, value in step.params]
    try:
        room = int.from_bytes(libc.sysctl("security.jail.meta_maxbufsize"), "little")
    except OSError:
        return ()  # FreeBSD 14
    for kind in ("meta.", "env."):
        if _length(asked, kind) > room:
            raise HostError(f"create jail {step.name}: {kind}*: more than {room} bytes (security.jail.meta_maxbufsize)")
    return step.labels if _length([*asked, *step.labels], "meta.") <= room else ()


def _length(params: Sequence[tuple[str, str]], kind: str) -> int:
    """Return the bytes of `KEY=VALUE` lines, and one for the end."""
    return 1 + sum(len(f"{key}={value}".encode()) + 1 - len(kind) for key, value in params if key.startswith(kind))


def run_jail(name: str, given: Sequence[tuple[str, str | None]]) -> int:
    """Create a jail with these parameters and return its jid. Raises HostError, NameTaken."""
    params = [key if value is None else f"{key}={value}" for key, value in given]
    if not any(key == "name" for key, _ in given):
        params.insert(0, f"name={name}")
    argv = [JAIL, "-q", "-i", "-c", *params]
    try:
        result = programs.run(argv, timeout=CREATE_SECONDS)
    except OSError as error:
        raise HostError(f"create jail {name}: {JAIL} cannot be run: {reason(error)}") from error
    if result.timed_out:
        raise HostError(f"create jail {name}: no end after {CREATE_SECONDS:g} s")
    message = programs.first_line(result.stderr).removeprefix("jail: ")
    jid = result.stdout.strip()
    if message.endswith(" already exists"):  # it quotes the jid
        raise NameTaken(f"create jail {name}: a jail of this name exists already")
    if result.status or not jid.isdigit():
        hint = next((hint for cause, hint in HINTS if cause in message), None)
        silent = f"{programs.command(argv)} says nothing and ends with status {result.status}"
        raise HostError(f"create jail {name}: {message or silent}", hint)
    return int(jid)


def remove(change: Change, note: Note) -> None:
    """Remove the jail with all its processes and children, then what it mounted itself where it was allowed to.

    Only a jail of the noted name and root is touched, and of the noted jid, or else the host state's, where that is
    known: a container of another root may have both by now. Waits a while for the kernel to kill who was inside.
    """
    libc, host_state = change.libc, change.host_state
    if "jid" not in note and note["name"] != host_state.name:
        return
    known = note.get("jid", host_state.jid)
    jid = find_jail(libc, note["name"], note["path"], known)
    if jid:
        try:
            _remove_only(libc, jid, note)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):  # those two: gone meanwhile
                raise HostError(f"remove jail {note['name']}: {reason(error)}") from error
    _wait_for_deaths(libc, note["name"], jid or known)
    if "keep" in note:
        unmount_below(libc, note["path"], note["keep"], note["boot"], host_state.state)


def _remove_only(libc: Libc, jid: int, note: Note) -> None:
    """Remove this jail and no other that gets its number meanwhile, which a descriptor makes sure where there are any.

    Entering by descriptor would leave the jail dying for ever (15.1), so the rest of the host goes by numbers.
    """
    descriptor = libc.jail_descriptor(jid)
    if descriptor < 0:
        libc.jail_remove(jid)
        return
    try:
        prison = libc.jail_behind(descriptor)
        if prison and (prison.name, prison.path) == (note["name"], os.path.realpath(note["path"])):
            libc.jail_remove_jd(descriptor)
    finally:
        os.close(descriptor)


def _wait_for_deaths(libc: Libc, name: str, jid: int) -> None:
    """Wait until nobody lives in a dying jail: jail_remove(2) kills, but does not wait.

    Zombies are not waited for. They keep the jail dying until our caller collects them, which may be after we end, and
    hold nothing but its root directory.
    """
    deadline, pause = time.monotonic() + DYING_SECONDS, 0.0005
    while jid and time.monotonic() < deadline:
        prison = libc.jail(jid, dying=True)
        if not prison or prison.name != name:
            return
        if not any(proc.jid == jid and proc.state != SZOMB for proc in libc.processes()):
            return
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def set_cpus(change: Change, step: Cpus) -> None:
    """Restrict the jail to a list of CPUs such as `0-2,5`. It ends with the jail: there is nothing to undo."""
    libc, host_state = change.libc, change.host_state
    try:
        cpus = _parse_cpus(step.cpus)
        if not cpus or max(cpus) >= CPU_SETSIZE:
            raise OSError(errno.EINVAL, "no such CPU")
        libc.set_jail_cpus(host_state.jid, cpus)
    except (OSError, ValueError) as error:
        numbers = (errno.EINVAL, errno.EDEADLK)
        why = "this machine does not have all of them" if getattr(error, "errno", 0) in numbers else str(error)
        raise HostError(f"restrict jail {host_state.name} to CPUs {step.cpus}: {why}") from error


def _parse_cpus(text: str) -> list[int]:
    cpus: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return cpus
