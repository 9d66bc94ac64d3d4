"""run -d --restart: whether a container is made again when its program has ended, and when.

    ROOT/ID/restart   {"policy", "retries", "count", "delay", "code", "finished", "waiting", "pidFile", "systemd"}
                      and "network", a usermode.UserNetwork, where a program is the network
    ROOT/ID/halted    exists once somebody has asked that it be not: by `kill` or `delete`

The monitor asks and makes it (container/remake.py); with it ends the policy, as there is no daemon. Policies and what
they mean are podman's, the time between two tries docker's.
"""

from __future__ import annotations

import time

from runjail import jsonio, log
from runjail.container.container import HALTED, RESTART, Container
from runjail.container.exit_record import EXIT, read_facts
from runjail.errors import RunjailError, UsageError
from runjail.record import Record, to_data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.container.create import Request

POLICIES = ("no", "always", "unless-stopped", "on-failure")
MOST_RETRIES = 2**31 - 1
FIRST_DELAY, LONGEST_DELAY = 0.1, 60.0  # seconds; twice as long each time
GOOD_RUN = 10.0  # seconds after which a program counts as started, and the next delay is the first again


class Policy(Record):
    """When a container is made again. name: of POLICIES but no; retries: at most so often, 0 for no limit."""

    name: str
    retries: int


def policy(text: str) -> Policy | None:
    """Return what `always`, `unless-stopped`, `on-failure` or `on-failure:N` says, None for `no`. Raises UsageError."""
    from runjail.sizes import read_number

    name, colon, retries = text.partition(":")
    number = read_number(retries, MOST_RETRIES) if colon else 0
    if name not in POLICIES or number is None or (colon and name != "on-failure"):
        raise UsageError(
            f"--restart: not a policy: {text[:40]!r}", "no, always, unless-stopped, on-failure or on-failure:N"
        )
    return None if name == "no" else Policy(name, number)


def write_policy(container: Container, policy: Policy, request: Request) -> None:
    """Write down a policy, and what of the request is in no other file; the caller holds the lock."""
    facts = {"policy": policy.name, "retries": policy.retries, "count": 0, "delay": 0.0, "waiting": False}
    network = {"network": to_data(request.user_network)} if request.user_network else {}
    _write(container, {**facts, "pidFile": request.pid_file, "systemd": request.systemd, **network})


def restart_facts(container: Container) -> dict[str, Any]:
    """Return what is known of a container's restarts, nothing for one that is never made again."""
    return read_facts(container, RESTART)


def delay(container: Container, code: int, ran: float) -> float:
    """Say after how many seconds a container whose program has ended is made again, -1 for never.

    code: how it ended; ran: for how many seconds. What is decided is written down.
    """
    try:
        with container:
            facts = restart_facts(container)
            if not facts or container.has(HALTED) or not _applies(facts, code):
                return -1
            before = facts["delay"] if ran < GOOD_RUN else 0.0
            seconds: float = min(before * 2 or FIRST_DELAY, LONGEST_DELAY)
            now = log.timestamp(time.time_ns())
            _write(container, {**facts, "delay": seconds, "code": code, "finished": now, "waiting": True})
            return seconds
    except (RunjailError, OSError) as error:  # it was deleted, or the disk is full
        log.debug(f"container {container.id} is not made again: {error}")
        return -1


def _applies(facts: dict[str, Any], code: int) -> bool:
    if facts["policy"] != "on-failure":
        return True
    return code != 0 and (not facts["retries"] or facts["count"] < facts["retries"])


def count(container: Container) -> None:
    """Write down that a container is being made again; the caller holds the lock."""
    facts = restart_facts(container)
    _write(container, {**facts, "count": facts["count"] + 1, "waiting": False})


def halt_between(container: Container, now: str) -> bool:
    """See that a container without a process is not made again. Returns whether it might have been. now: its status.

    Its program has just ended, or it waits, or is being made again.
    """
    if container.has(HALTED) or container.has(EXIT) or (now == "creating" and not restart_facts(container)["count"]):
        return False
    container.halt()
    return True


def _write(container: Container, facts: dict[str, Any]) -> None:
    container.write(RESTART, jsonio.dumps(facts).encode())
