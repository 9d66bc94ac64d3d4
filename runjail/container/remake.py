"""run -d --restart: make a container again whose program has ended, with the networks that it has.

As with podman, what `create` made is taken back, poststop hooks included, and made again from config.json as it was;
root file system, network and addresses, published ports and kept output stay. While a hook runs the container is not
locked, and who deletes it then wins. A monitor that is killed here leaves what a killed `create` or `delete` leaves.
"""

from __future__ import annotations

from runjail import log, signals
from runjail.container import restart
from runjail.container.container import GATE, HALTED, PAUSED, Container
from runjail.container.create import Request, create_again
from runjail.container.delete import take_back
from runjail.container.exit_record import record_exit
from runjail.container.output_streams import with_streams
from runjail.container.start import start_made
from runjail.errors import ContainerNotFound, NotRunning, ProgramDenied, ProgramNotFound, RunjailError
from runjail.host.base import use_dev_null

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any

    from runjail.network.usermode import UserNetwork

NOT_MADE, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127  # podman's exit codes


def remake(container: Container, kept: bool, interactive: bool = False) -> dict[str, int] | None:
    """Make a container again and start it. Returns our ends of its output, None when it is not made.

    Then it has been deleted, somebody has asked that it be not, or it cannot be made: the reason is kept with its exit
    status. kept: whether its output is; interactive: as `with_streams` has it.
    """
    signals.catch()
    code = restart.restart_facts(container).get("code", NOT_MADE)
    try:
        _container, streams = with_streams(
            lambda *more: _make(container, *more), container.process().terminal, kept, interactive
        )
        use_dev_null()
        if container.has(HALTED):  # by who found no process yet to send a signal to
            raise NotRunning(container.id)
        start_made(container, lambda _error: _give_up(container))
    except ContainerNotFound:
        return None
    except _Halted:
        record_exit(container, code)
        return None
    except BaseException as error:  # a signal, too
        _give_up(container)
        if container.has(HALTED):
            record_exit(container, code)
        else:
            record_exit(container, _failure(error), str(error) or "interrupted")
        return None
    finally:
        use_dev_null()
    return streams


class _Halted(Exception):
    """Somebody has asked that it be not made again."""


def _make(container: Container, terminal: _socket.socket | None, prepare: Callable[[Container], None]) -> Container:
    with container:
        container.load()
        _require_wanted(container)
        facts = restart.restart_facts(container)
        take_back(container)
        _require_wanted(container)
        for name in (GATE, PAUSED):
            container.drop(name)
        restart.count(container)
        request = Request(
            container.id,
            container.state.bundle,
            facts["pidFile"],
            keyring=container.host_state.keyring,
            systemd=facts["systemd"],
            user_network=_user_network(facts),
        )
        create_again(container, request, terminal, prepare)
    return container


def _user_network(facts: dict[str, Any]) -> UserNetwork | None:
    if "network" not in facts:
        return None
    from runjail.network.usermode import from_data

    return from_data(facts["network"])


def _require_wanted(container: Container) -> None:
    if container.has(HALTED):
        raise _Halted


def _give_up(container: Container) -> None:
    """Take back what was begun; the container stays, and is stopped."""
    signals.hold()
    try:
        container.unlock()
        with container:
            container.load()
            take_back(container)
            container.state.creator = None
            container.save()
    except ContainerNotFound:
        pass
    except (RunjailError, OSError) as error:
        log.warning(f"container {container.id}: {error}")


def _failure(error: BaseException) -> int:
    if isinstance(error, ProgramNotFound):
        return NOT_FOUND
    return NOT_EXECUTABLE if isinstance(error, ProgramDenied) else NOT_MADE
