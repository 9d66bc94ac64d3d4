"""A container's networks: attached before anything else of it is made, detached when it is deleted.

Before its first ADD an attachment is an undo note like any other (network.attachment). No plugin runs while the
container is locked. What keeps two of us from calling plugins for one container at once, which CNI forbids, is a lock
of its own, on a file beside the notes; the process that watches over a plugin has it as well, so whoever detaches waits
for a plugin that outlives the runjail that called it.
"""

from __future__ import annotations

import os

from runjail import locks, log
from runjail.container.container import NETWORKS
from runjail.errors import Busy, ContainerNotFound, NetworkError, WrongStatus, reason
from runjail.host import programs
from runjail.network.attachment import NOTE, Attachment, from_notes
from runjail.record import Record
from runjail.scope import scope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from runjail.container.container import Container, Runtime

    OnResults = Callable[[list[dict[str, Any]]], None]

PATIENCE = 180.0  # seconds for the plugins of somebody else


class Networks(Record):
    """What a container is to be attached to. namespace: as NetworkHost.make takes it; on_results: gets the results."""

    namespace: str
    attachments: tuple[Attachment, ...]
    on_results: OnResults


class _Turn:
    def __init__(self, container: Container) -> None:
        self._container = container

    def __enter__(self) -> None:
        try:
            self._lock = self._container.open(NETWORKS, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:  # the directory is gone
            raise ContainerNotFound(self._container.id) from None
        if not locks.lock_within(self._lock, PATIENCE):
            os.close(self._lock)
            raise Busy(f"plugins of container {self._container.id}'s networks still run")
        programs.HELD.add(self._lock)

    def __exit__(self, *_raised: object) -> None:
        programs.HELD.discard(self._lock)
        os.close(self._lock)


class _Shared:
    """What a root directory's containers are attached to does not change meanwhile, or nobody collects meanwhile.

    An attachment that is noted is known to who collects; one that is noted later is added once that is over.
    """

    def __init__(self, root: str, collect: bool = False) -> None:
        self._root, self._collect = root, collect

    def __enter__(self) -> None:
        self._lock = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if not locks.lock_within(self._lock, PATIENCE, shared=not self._collect):
            os.close(self._lock)
            raise Busy(f"somebody makes or collects networks of the containers in {self._root}")
        if self._collect:
            programs.HELD.add(self._lock)

    def __exit__(self, *_raised: object) -> None:
        programs.HELD.discard(self._lock)
        os.close(self._lock)


@scope
def collecting(runtimes: list[Runtime], network: str) -> Iterator[list[Attachment]]:
    """Yield all attachments to a network; nobody is attached anew until the context is left."""
    import contextlib

    with contextlib.ExitStack() as stack:
        for runtime in sorted(runtimes, key=lambda each: os.path.realpath(each.root)):
            if os.path.isdir(runtime.root):
                stack.enter_context(_Shared(runtime.root, collect=True))
        containers = [runtime.container(id) for runtime in runtimes for id in runtime.ids()]
        yield [found for container in containers for found in attached(container) if found.network == network]


def attach(container: Container, networks: Networks) -> None:
    """Make the network namespace and call the plugins; the container is locked before and afterwards.

    Raises NetworkError. What was done by then is noted.
    """
    container.host.networks().make(networks.namespace, container.host_state, container.note)
    with _Turn(container):
        with _Shared(os.path.dirname(container.path)):
            for attachment in networks.attachments:
                container.note(attachment.to_note())
        with container.unlocked():
            networks.on_results([_added(container, attachment) for attachment in networks.attachments])


def _added(container: Container, attachment: Attachment) -> dict[str, Any]:
    """Add one, and note the result: our turn keeps others from the notes."""
    result = attachment.add()
    log.debug(f"container {container.id}: network {attachment.network}: {result}")
    container.note(attachment.to_note(result))
    return result


def detach(container: Container) -> list[str]:
    """Call the plugins of what is noted, and drop these notes. Returns what went wrong; then they stay.

    The container is locked before and afterwards. Raises ContainerNotFound when somebody else has deleted it meanwhile.
    """
    failures: list[str] = []
    with container.unlocked(reload=False), _Turn(container):
        for attachment in from_notes(container.notes()):
            failures += attachment.delete(container.host.networks().has(attachment.namespace))
    if not failures:
        try:
            container.replace_notes([note for note in container.notes() if note["undo"] != NOTE])
        except OSError as error:  # a full disk: they are of no harm
            log.debug(f"container {container.id}: {reason(error)}")
    return failures


def check(container: Container) -> list[str]:
    """Ask the plugins whether all is as it was made. Returns the networks that nobody can ask about.

    Raises NetworkError with the first thing that is wrong, WrongStatus for a container that has no networks.
    """
    attachments = from_notes(container.notes())
    if not attachments:
        raise WrongStatus(f"container {container.id} is on no network")
    with _Turn(container):
        for attachment in attachments:
            if not container.host.networks().has(attachment.namespace):
                raise NetworkError(f"network {attachment.network}: the container's network namespace is gone")
        return [attachment.network for attachment in reversed(attachments) if not attachment.check()]


def attached(container: Container) -> list[Attachment]:
    """Return what a container is attached to, in order."""
    return from_notes(container.notes())[::-1]
