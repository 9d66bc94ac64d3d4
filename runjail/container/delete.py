"""delete: take a container back, completely (runtime-spec, Delete)."""

from __future__ import annotations

import os
import time

from runjail import log, signals
from runjail.container.container import NETWORKS, PAUSED, Container, Runtime
from runjail.container.status import alive, document, status
from runjail.errors import Busy, CleanupError, ContainerNotFound, HostError, RunjailError, WrongStatus, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.spec.model import Hook

SIGKILL = 9
DEATH_SECONDS = 10.0
FROZEN_SECONDS = 0.5  # for who was killed and does not die: it may be frozen although nothing says so
DYING_PAUSE = 0.005
HELD_SECONDS = 2.0  # `delete --force` waits for others before it kills what they may wait for


def delete(container_id: str, force: bool, runtime: Runtime) -> str:
    """Delete a stopped or created container, with `force` also a running one; force accepts an unknown id.

    Returns the path of its bundle, "" when that is not known.
    """
    return delete_made(runtime.container(container_id), force)


def delete_made(container: Container, force: bool) -> str:
    """Delete the very container that the caller holds: one that was made under its id since is left alone."""
    if force:
        _make_way(container)
    try:
        with container:
            if not container.exists():  # nobody's: its creator died before it did anything, or a boot took its files
                container.remove()
                raise ContainerNotFound(container.id)
            _load(container, force)
            now = _status(container)
            if not force and now not in ("stopped", "created"):
                text = f"cannot delete container {container.id} that is not stopped: {now}"
                raise WrongStatus(text, "runjail delete --force kills it first")
            destroy(container)
    except ContainerNotFound:
        if not force:
            raise
    return container.state.bundle


def _status(container: Container) -> str:
    """Return the status, for who was killed that after its end: `kill` does not wait for it, and scripts go on here."""
    end = time.monotonic() + DEATH_SECONDS
    while (now := status(container)) == "running" and container.host.is_dying(container.host_state.pid):
        if time.monotonic() > end:
            break
        time.sleep(DYING_PAUSE)
    return now


def delete_stale(container: Container) -> bool:
    """Delete a container of another boot, its poststop hooks included. False when it is of this one, or damaged."""
    try:
        container.load()
        if container.state.boot_id == container.host.boot_id():
            return False
        with container:
            container.load()
            if container.state.boot_id == container.host.boot_id():
                return False
            log.info(f"container {container.id} is from before the last boot and makes way")
            destroy(container)
    except ContainerNotFound:  # somebody else deleted it
        pass
    except HostError:
        return False
    return True


def _make_way(container: Container) -> None:
    """Kill a container that another runjail holds: it may wait for a process that somebody has stopped."""
    try:
        container.lock(HELD_SECONDS)
        container.unlock()
    except ContainerNotFound:
        pass
    except Busy:
        try:
            container.load()
            kill_everything(container)
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
    """Raise HostError unless facts and notes name the same init: damaged facts can still be well-formed JSON."""
    host_state, boot_id = container.host_state, container.state.boot_id
    inits = [note for note in container.notes() if note["undo"] == "init"]
    for note in inits[-1:]:  # one that appeared among the processes of others is another process than at first
        if (note["pid"], note["started"], note["boot"]) != (host_state.pid, host_state.started, boot_id):
            raise container.damaged("its notes name another init")


def _recover(container: Container) -> None:
    """Take from the notes what it takes to thaw and kill init, when the facts are damaged or gone."""
    for note in container.notes():
        if note["undo"] == "init":
            container.host_state.pid, container.host_state.started = note["pid"], note["started"]
            container.state.boot_id = note["boot"]
        elif note["undo"] == "cgroup":  # frozen, when the container was paused
            container.host_state.cgroup = note["path"]
        elif note["undo"] == "jail":  # where its processes are found
            host_state = container.host_state
            host_state.name, host_state.root, host_state.jid = note["name"], note["path"], note.get("jid", 0)


def roll_back(container: Container, error: BaseException) -> None:
    """Undo all of a container because of `error`. Raises CleanupError, with both causes, when something stays."""
    signals.hold()
    try:
        container.unlock()
        with container:
            destroy(container)
    except ContainerNotFound:  # deleted by somebody else, who undid everything
        pass
    except (RunjailError, OSError) as left:
        cause, more = (reason(each) if isinstance(each, OSError) else str(each) for each in (error, left))
        raise CleanupError(f"{cause}; undoing it failed: {more}", getattr(left, "hint", None)) from error


def destroy(container: Container) -> None:
    """Kill, undo, tell NRI plugins, run the poststop hooks, remove. The caller holds the lock.

    Raises CleanupError naming what stayed; the state directory stays with it, for another try.
    """
    signals.hold()  # an interrupted delete can be repeated, but half of it would stay until somebody does
    container.halt()
    kill_everything(container)
    try:
        failures = _detach(container)
        _undo(container, failures)
        _run_delete_hooks(container)
    except ContainerNotFound:  # somebody else deleted it while plugins or hooks ran
        return
    container.remove()


def take_back(container: Container) -> None:
    """Undo a stopped container but for its directory and its networks, for who makes it again. The caller has the lock.

    Raises CleanupError, and ContainerNotFound when somebody deleted it while hooks ran.
    """
    signals.hold()
    kill_everything(container)
    _undo(container, [], keep_networks=True)
    _run_delete_hooks(container)


def _detach(container: Container) -> list[str]:
    """Have plugins take back the container's networks, for which the lock is let go. Returns what went wrong.

    Meanwhile a creator whose plugins have answered goes on: its init is killed, too.
    """
    if not container.has(NETWORKS):
        return []
    from runjail.container import network

    failures = network.detach(container)
    _load(container, force=True)
    kill_everything(container)
    return failures


def _undo(container: Container, failures: list[str], keep_networks: bool = False) -> None:
    """Undo what was noted, the last first. Only what stays is noted for another try: the rest is others' by then.

    failures: of plugins that could not take back a network. Their notes stay, and the namespace that they need.
    """
    left, plugins = [], keep_networks or bool(failures)
    for note in reversed(container.notes()):
        try:
            if note["undo"] == "init":  # killed already; how a later try knows it
                left += [] if keep_networks else [note]
            elif note["undo"] == "network" or (plugins and note["undo"] == "netns"):
                left += [note] if plugins else []
            else:
                container.host.undo(note, container.host_state)
        except (RunjailError, OSError) as error:
            failures.append(f"undoing {note['undo']}: {reason(error)}" if isinstance(error, OSError) else str(error))
            left.append(note)
    if not failures and not keep_networks:
        return
    try:
        container.replace_notes(left[::-1])
    except OSError as error:  # a full disk: then all of it is tried again
        log.debug(f"container {container.id}: {reason(error)}")
        failures += [f"writing notes: {reason(error)}"] if keep_networks else []
    if failures:
        raise CleanupError("; ".join(dict.fromkeys(failures)), "runjail delete --force tries again")


def _run_delete_hooks(container: Container) -> None:
    """Tell NRI plugins, run the poststop hooks: foreign programs, for which the lock is let go.

    Raises ContainerNotFound when somebody else came and removed what was left.
    """
    listed, plugins = container.state.hooks_of("poststop"), container.state.nri_plugins
    if not (listed or plugins):
        return
    state = document(container, "stopped")
    container.state.hooks, container.state.nri_plugins = {}, []  # nobody else does it again while it is unlocked
    try:
        container.save()
    except OSError as error:  # a full disk: rather run them twice than not at all
        log.debug(f"container {container.id}: {reason(error)}")
    with container.unlocked(reload=False):  # where the disk is full, there may be no facts to read
        if plugins:
            from runjail.container import nri

            nri.notify_delete(plugins, container)
        if listed:
            _run_poststop(container, state, listed)


def _run_poststop(container: Container, state: dict[str, Any], listed: tuple[Hook, ...]) -> None:
    from runjail.container import hooks

    bundle = container.state.bundle
    hooks.run_all("poststop", listed, state, bundle if os.path.isdir(bundle) else "/", log.warning)


def kill_everything(container: Container) -> None:
    """Leave no process of the container alive. Raises HostError when init does not die."""
    if container.state.boot_id != container.host.boot_id():
        return
    if container.has(PAUSED):
        container.host.thaw(container.host_state)
    container.host.kill_all(container.host_state, SIGKILL)
    if not _dies(container, FROZEN_SECONDS):
        _thaw_all(container)
        container.host.kill_all(container.host_state, SIGKILL)
        if not _dies(container, DEATH_SECONDS):
            raise HostError(f"init (pid {container.host_state.pid}) does not die")


def _dies(container: Container, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while alive(container):
        _collect()
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    _collect()
    return True


def _thaw_all(container: Container) -> None:
    """Thaw every control group that was ever noted: the facts may have lost it, or somebody else has frozen it."""
    host_state, groups = container.host_state, [note["path"] for note in container.notes() if note["undo"] == "cgroup"]
    for group in dict.fromkeys([*groups, host_state.cgroup]):
        host_state.cgroup = group
        container.host.thaw(host_state)


def _collect() -> None:
    """Collect what we started inside and has ended: init, or one that an interrupt made us forget.

    As long as one of them waits to be collected, its pid namespace and that namespace's init do not end.
    """
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
