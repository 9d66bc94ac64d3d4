"""What every child does last, on any host: resource limits and identity.

See runtime-spec config.md, "POSIX process".
"""

from __future__ import annotations

import os
import resource

from runjail import log
from runjail.errors import HostError, reason
from runjail.spec.model import Rlimit, User

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NOBODY_AT_ALL = 2**32 - 1  # setuid(2) and setgid(2) accept it and leave the process with id -1
ENDLESS = 2**63 - 1  # RLIM_INFINITY on FreeBSD; nothing above it fits the kernels' signed limits


def set_rlimits(rlimits: tuple[Rlimit, ...], numbers: Mapping[str, int]) -> None:
    """Set resource limits and check that none allows more than was asked for. A refusal is an error, as in runc.

    numbers: the limits this system has, by name (`RLIMIT_NOFILE`). A value of -1, or of 2**63-1 and more, is unlimited.
    FreeBSD lowers some to its own maximum, such as kern.maxfilesperproc, and says nothing (setrlimit(2)). That is
    accepted and logged, below warnings, which conmon would put among the program's own words: podman asks every
    container for more. Raises HostError naming the type: unknown here, refused, or raised.
    """
    for rlimit in rlimits:
        if rlimit.type not in numbers:
            raise HostError(f"set {rlimit.type}: this system has no such limit")
        wanted = limit(rlimit.soft), limit(rlimit.hard)
        try:
            resource.setrlimit(numbers[rlimit.type], wanted)
            got = resource.getrlimit(numbers[rlimit.type])
        except OSError as error:
            raise HostError(f"set {rlimit.type}: {reason(error)}") from error
        except ValueError as error:  # how Python words EINVAL and EPERM here
            hint = _remedy(numbers[rlimit.type], wanted)
            raise HostError(f"set {rlimit.type} to {_text(wanted)}: {error}", hint) from error
        if any(map(_exceeds, got, wanted)):
            raise HostError(f"set {rlimit.type} to {_text(wanted)}: the kernel made it {_text(got)}")
        if any(map(_exceeds, wanted, got)):
            log.info(f"{rlimit.type} is {_text(got)}: the kernel allows no more, {_text(wanted)} was asked for")


def _remedy(number: int, wanted: tuple[int, int]) -> str | None:
    most = resource.getrlimit(number)[1]
    if not _exceeds(wanted[1], most):
        return None
    return f"ask for {_text((most,))} at most, or give who calls runjail a higher one: prlimit(1), CAP_SYS_RESOURCE"


def limit(value: int) -> int:
    """Return a limit as setrlimit(2) takes it."""
    return resource.RLIM_INFINITY if value < 0 or value >= ENDLESS else value


def _exceeds(value: int, most: int) -> bool:
    unlimited = resource.RLIM_INFINITY  # -1 on Linux
    return most != unlimited and (value == unlimited or value > most)


def _text(limits: tuple[int, ...]) -> str:
    return ":".join("unlimited" if value == resource.RLIM_INFINITY else str(value) for value in limits)


def _set_groups(wanted: list[int], given: list[int]) -> None:
    """Set supplementary groups. given: as the kernel takes them. Who may not and has just these already is content."""
    try:
        os.setgroups(given)
    except PermissionError:  # in a jail without allow.suser, for example
        if set(os.getgroups()) != set(wanted):
            raise


def set_ids(user: User, effective_first: bool = False, groups: bool = True) -> None:
    """Become `user`: supplementary groups, group, user, in this order, for good.

    The primary group is one of the supplementary ones too: a set-group-ID program replaces the effective group, and
    what a file denies that group (mode 0604) it would give to others (CVE-2022-2989). effective_first is for FreeBSD:
    until 15.0 element 0 of setgroups(2) is the effective group alone; since then one that stands twice counts once.
    groups: False where no groups can be set, in the user namespace of who has no right to (user_namespaces(7)).
    Raises HostError; refuses 2**32-1, which the kernels take for "unchanged" or -1.
    """
    if NOBODY_AT_ALL in (user.uid, user.gid, *user.additional_gids):
        raise HostError(f"become user {user.uid}:{user.gid}: {NOBODY_AT_ALL} is no user and no group")
    listed = list(dict.fromkeys((user.gid, *user.additional_gids)))
    if not groups and user.additional_gids:
        raise HostError("process.user.additionalGids: this user namespace does not let groups be set")
    try:
        if groups:
            _set_groups(listed, [user.gid, *listed] if effective_first else listed)
        os.setgid(user.gid)
        os.setuid(user.uid)
    except OSError as error:
        raise HostError(f"become user {user.uid}:{user.gid}: {reason(error)}") from error
    except (ValueError, OverflowError) as error:  # more groups than the kernel takes, an id beyond 32 bits
        raise HostError(f"become user {user.uid}:{user.gid}: {error}") from error
