"""delete: take a container back, completely (runtime-spec, Delete)."""

from __future__ import annotations

import os
import time

from runjail import log, signals
from runjail.container.state import PAUSED, stored_hooks
from runjail.container.status import alive, document, status
from runjail.errors import Busy, CleanupError, ContainerNotFound, HostError, RunjailError, WrongStatus, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.container.state import Container, Runtime
    from runjail.host.base import Host
    from runjail.spec.model import Hook

SIGKILL = 9
DEATH_SECONDS = 10.0
FROZEN_SECONDS = 0.5  # for who was killed and does not die: it may be frozen although nothing says so
HELD_SECONDS = 2.0  # `delete --force` waits for others before it kills what they may wait for


def delete(container_id: str, force: bool, host: Host, runtime: Runtime) -> str:
    """Delete a stopped or created container, with `force` also a running one; force accepts an unknown id.

    Returns the path of its bundle, "" when that is not known.
    """
    return delete_made(runtime.container(container_id), force, host)


def delete_made(container: Container, force: bool, host: Host) -> str:
    """Do as delete does; of a container that the caller has locked before, no other that has its id by now."""
    if force:
        _make_way(container, host)
    try:
        with container:
            if not container.exists():  # nobody's: its creator died before it did anything, or a boot took its files
                container.remove()
                raise ContainerNotFound(container.id)
            _load(container, force)
            now = status(container, host) if container.data else "stopped"
            if not force and now not in ("stopped", "created"):
                raise WrongStatus(f"cannot delete container {container.id} that is not stopped: {now}")
            destroy(container, host)
    except ContainerNotFound:
        if not force:
            raise
    bundle = container.data.get("bundle", "")
    return bundle if isinstance(bundle, str) else ""


def delete_stale(container: Container, host: Host) -> bool:
    """Delete a container of another boot, its poststop hooks included. False when it is of this one, or damaged."""
    try:
        container.load()
        if container.data["boot"] == host.boot_id():
            return False
        with container:
            container.load()
            if container.data["boot"] == host.boot_id():
                return False
            log.info(f"container {container.id} is from before the last boot and makes way")
            destroy(container, host)
    except ContainerNotFound:  # somebody else deleted it
        pass
    except HostError:
        return False
    return True


def _make_way(container: Container, host: Host) -> None:
    """Kill a container that another runjail holds: it may wait for a process that somebody has stopped."""
    try:
        container.lock(HELD_SECONDS)
        container.unlock()
    except ContainerNotFound:
        pass
    except Busy:
        try:
            container.load()
            kill_everything(container, host)
        except RunjailError as error:  # it is being made or removed at this moment
            log.debug(f"container {container.id} is held by another runjail: {error}")


def _load(container: Container, force: bool) -> None:
    """Load the facts. With `force` a container is also deleted without them, by its notes alone."""
    try:
        container.load()
        if force:
            _compare(container)
    except HostError as error:
        if not force:
            raise
        log.warning(f"{error}; undoing what was noted")
        _recover(container)


def _compare(container: Container) -> None:
    """See that facts and notes name the same init: what is damaged may still be well-formed. Raises HostError."""
    host_state, boot = container.host_state, container.data["boot"]
    inits = [note for note in container.notes() if note["undo"] == "init"]
    for note in inits[-1:]:  # one that appeared among the processes of others is another process than at first
        if (note["pid"], note["started"], note["boot"]) != (host_state.pid, host_state.started, boot):
            raise container.damaged("its notes name another init")


def _recover(container: Container) -> None:
    """Take from the notes what it takes to thaw and kill init, when the facts are damaged or gone."""
    for note in container.notes():
        if note["undo"] == "init":
            container.host_state.pid, container.host_state.started = note["pid"], note["started"]
            container.data = {"boot": note["boot"], "creator": None, "hooks": {}}
        elif note["undo"] == "cgroup":  # frozen, when the container was paused
            container.host_state.cgroup = note["path"]
        elif note["undo"] == "jail":  # where its processes are found
            host_state = container.host_state
            host_state.name, host_state.root, host_state.jid = note["name"], note["path"], note.get("jid", 0)


def roll_back(container: Container, host: Host, error: BaseException) -> None:
    """Undo all of a container because of `error`. Raises LeftBehind, with both causes, when something stays."""
    signals.hold()
    try:
        container.unlock()
        with container:
            destroy(container, host)
    except ContainerNotFound:  # deleted by somebody else, who undid everything
        pass
    except (RunjailError, OSError) as left:
        cause, more = (reason(each) if isinstance(each, OSError) else str(each) for each in (error, left))
        raise CleanupError(f"{cause}; undoing it failed: {more}", getattr(left, "hint", None)) from error


def destroy(container: Container, host: Host) -> None:
    """Kill, undo, tell NRI plugins, run the poststop hooks, remove. The caller holds the lock.

    Raises LeftBehind naming what stayed; the state directory stays with it, for another try.
    """
    signals.hold()  # it can be done again, but why not finish
    kill_everything(container, host)
    _undo(container, host)
    listed = stored_hooks(container, "poststop") if container.data else ()
    if listed or container.data.get("nri"):
        try:
            _run_delete_hooks(container, host, listed)
        except ContainerNotFound:  # somebody else came and removed what was left
            return
    container.remove()


def _undo(container: Container, host: Host) -> None:
    """Undo what was noted, the last first. Only what stays is noted for another try: the rest is others' by then."""
    failures, left = [], []
    for note in reversed(container.notes()):
        try:
            if note["undo"] == "init":  # killed already; how a later try knows it
                left.append(note)
            else:
                host.undo(note, container.host_state)
        except (RunjailError, OSError) as error:
            failures.append(f"undoing {note['undo']}: {reason(error)}" if isinstance(error, OSError) else str(error))
            left.append(note)
    if not failures:
        return
    try:
        container.renote(left[::-1])
    except OSError as error:  # a full disk: then all of it is tried again
        log.debug(f"container {container.id}: {reason(error)}")
    raise CleanupError("; ".join(dict.fromkeys(failures)), "runjail delete --force tries again")


def _run_delete_hooks(container: Container, host: Host, listed: tuple[Hook, ...]) -> None:
    """Tell NRI plugins, run the poststop hooks: foreign programs, for which the lock is let go."""
    state, told = document(container, host, "stopped"), container.data.get("nri")
    container.data["hooks"], container.data["nri"] = {}, []  # nobody else does it again while we are unlocked
    try:
        container.save()
    except OSError as error:  # a full disk: rather run them twice than not at all
        log.debug(f"container {container.id}: {reason(error)}")
    container.unlock()
    if told:
        from runjail.container import nri

        nri.notify_delete(told, container, host)
    if listed:
        _run_poststop(container, state, listed)
    container.lock()


def _run_poststop(container: Container, state: dict[str, Any], listed: tuple[Hook, ...]) -> None:
    from runjail.container import hooks

    bundle = container.data["bundle"]
    hooks.run_all("poststop", listed, state, bundle if os.path.isdir(bundle) else "/", log.warning)


def kill_everything(container: Container, host: Host) -> None:
    """Leave no process of the container alive. Raises HostError when init does not die."""
    if not container.data or container.data["boot"] != host.boot_id():
        return
    if container.has(PAUSED):
        host.thaw(container.host_state)
    host.kill_all(container.host_state, SIGKILL)
    if not _dies(container, host, FROZEN_SECONDS):
        _thaw_all(container, host)
        host.kill_all(container.host_state, SIGKILL)
        if not _dies(container, host, DEATH_SECONDS):
            raise HostError(f"init (pid {container.host_state.pid}) does not die")


def _dies(container: Container, host: Host, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while alive(container, host):
        _collect()
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    _collect()
    return True


def _thaw_all(container: Container, host: Host) -> None:
    """Thaw every control group that was ever noted: the facts may have lost it, or somebody else has frozen it."""
    host_state, groups = container.host_state, [note["path"] for note in container.notes() if note["undo"] == "cgroup"]
    for group in dict.fromkeys([*groups, host_state.cgroup]):
        host_state.cgroup = group
        host.thaw(host_state)


def _collect() -> None:
    """Collect what we started inside and has ended: init, or one that an interrupt made us forget.

    As long as one of them waits to be collected, its pid namespace and that namespace's init do not end.
    """
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
