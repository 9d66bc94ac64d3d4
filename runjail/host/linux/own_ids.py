"""The ids of an ordinary user: the own one, and those that /etc/subuid and /etc/subgid lend to it.

Files of an image have owners, and only root of a user namespace that has their ids can give them those, or remove what
they have (user_namespaces(7), subuid(5)). So what an ordinary user does in a store of images is done by such a root.
"""

from __future__ import annotations

import _socket
import os

from runjail import errors, jsonio, signals
from runjail.errors import HostError, RunjailError
from runjail.host import reaper
from runjail.host.linux import mapped_ids, user_namespace
from runjail.spec.model import IdMappings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from runjail.spec.model import IdRange

LENT = {"uid": "/etc/subuid", "gid": "/etc/subgid"}
DIED = "the process in our own user namespace died"


def mappings() -> IdMappings:
    """Return the ids that our user can have in a user namespace, where it is 0 itself."""
    from runjail.host import programs

    own = os.geteuid(), os.getegid()
    lent = [_lent(path) for path in LENT.values()]
    if not all(lent) or not all(programs.which(f"new{kind}map") for kind in LENT):
        lent = [[], []]  # both or none: a group that cannot be set is no use
    return IdMappings(*(_ranges(id, ranges) for id, ranges in zip(own, lent, strict=True)))


def _lent(path: str) -> list[tuple[int, int]]:
    """Return the ranges that a file has for our user, by its name or number: the first id and how many."""
    import pwd

    try:
        names = {str(os.geteuid()), pwd.getpwuid(os.geteuid()).pw_name}
    except KeyError:  # whom newuidmap does not know either
        return []
    found = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, rest = line.strip().partition(":")
                first, _, count = rest.partition(":")
                if name in names and first.isdecimal() and count.isdecimal() and int(count):
                    found.append((int(first), int(count)))
    except OSError:  # nobody has any
        pass
    return found


def _ranges(own: int, lent: list[tuple[int, int]]) -> tuple[IdRange, ...]:
    made, inside = [(0, own, 1)], 1
    for first, count in lent:
        made.append((inside, first, count))
        inside += count
    return tuple(made)


def fork(ids: IdMappings) -> int:
    """Fork who is root in a new user namespace with these ids. Returns its pid, 0 in it.

    It has its own ways with signals, as every child of ours. Raises HostError where the kernel or newuidmap refuses.
    """
    parent_end, child_end = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    pid = signals.fork()
    if not pid:
        parent_end.close()
        _become_root(child_end)
        return 0
    child_end.close()
    try:
        user_namespace.receive(parent_end, DIED)
        mapped_ids.write(pid, ids)
        parent_end.send(b"mapped")
        user_namespace.receive(parent_end, DIED)
    except BaseException:
        signals.kill_child(pid)
        raise
    finally:
        parent_end.close()
    return pid


def _become_root(link: _socket.socket) -> None:
    try:
        user_namespace.enter((), lambda: user_namespace.ask_for_ids(link))
        link.send(b"root")
    except BaseException as error:
        user_namespace.fail(link, error)
    link.close()


def accompany(pid: int) -> int:
    """Wait for who was forked, and pass a signal on that asks us to end. Returns a shell's exit status."""
    while True:
        try:
            return signals.exit_status(os.waitpid(pid, 0)[1])
        except KeyboardInterrupt as error:
            os.kill(pid, getattr(error, "code", 130) - 128)


def call(ids: IdMappings, work: Callable[[], None]) -> None:
    """Have something done by root in a new user namespace with these ids. Raises what it raises, and HostError."""
    reading, writing = os.pipe()
    try:
        pid = fork(ids)
    except BaseException:
        os.close(reading)
        os.close(writing)
        raise
    if not pid:
        os.close(reading)
        _report(writing, work)
    os.close(writing)
    _raise(*reaper.answer(pid, reading))


def _report(descriptor: int, work: Callable[[], None]) -> NoReturn:
    """Work, and write down how it failed; then end."""
    signals.catch()
    outcome: list[object] = []
    try:
        work()
    except (RunjailError, OSError) as error:
        outcome = [*errors.described(error)]
    except KeyboardInterrupt as error:
        outcome = ["", "", getattr(error, "code", 130)]
    except Exception as error:
        outcome = ["HostError", f"internal error: {type(error).__name__}: {error}", "report what it was doing"]
    finally:
        try:
            os.write(descriptor, jsonio.dumps(outcome).encode())
        finally:
            os._exit(0)


def _raise(outcome: bytes, code: int) -> None:
    if not outcome:
        raise HostError(f"the process in our own user namespace ended with {code}")
    found = jsonio.loads(outcome)
    if not found:
        return
    name, text, more = found
    if not name:
        raise signals.Interrupted(int(more) - 128)
    raise errors.restored(name, text, more)
