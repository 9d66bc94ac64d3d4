"""ENOSYS for system calls that are newer than a seccomp profile.

A profile that forbids what it does not name answers EPERM to calls that came after it was written. C libraries try new
calls and go on without them on ENOSYS, but take EPERM at its word, so programs break that would work. As with runc,
calls with numbers above every number that the profile knows get ENOSYS, before the profile is asked.
"""

from __future__ import annotations

import _struct as struct  # the C half

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runjail.spec.model import Seccomp

    Row = tuple[int, int | str, int | str, int]  # struct sock_filter; a text is a place, see _resolved

ERRNO, ENOSYS = 0x00050000, 38
LOAD, EQUAL, GREATER, AT_LEAST, JUMP, RETURN = 0x20, 0x15, 0x25, 0x35, 0x05, 0x06  # BPF codes
NUMBER, ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
AUDIT_X86_64, TOKEN_X32, X32_BIT = 0xC000003E, 0x4000003E, 0x40000000
PERMITTING = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")


def prelude(resolve: Callable[[int, bytes], int], profile: Seccomp, architectures: list[int]) -> bytes:
    """Return instructions that go before the program.

    Empty where the profile permits by default or answers ENOSYS itself. architectures: AUDIT_ARCH_ numbers. resolve:
    returns the number of a call that an architecture has, less than 1 where it has none of that name.
    """
    own = profile.default == "SCMP_ACT_ERRNO" and profile.default_errno == ENOSYS
    if own or profile.default in PERMITTING:
        return b""
    names = [name.encode() for rule in profile.rules for name in rule.names]
    rows: list[Row] = [(LOAD, 0, 0, ARCHITECTURE)]
    for architecture in architectures:
        last = max((resolve(architecture, name) for name in names), default=-1)
        if architecture != TOKEN_X32 and last > 0:  # x32 has x86_64's architecture
            rows += _block(architecture, last)
    answer = len(rows) + 1
    rows += [(JUMP, 0, 0, 1), (RETURN, 0, 0, ERRNO | ENOSYS)]
    return b"".join(struct.pack("@HBBI", *_resolved(row, at, answer)) for at, row in enumerate(rows))


def _block(architecture: int, last: int) -> list[Row]:
    """Look at calls of one architecture: to `answer` with those above `last`, `past` to the program with the others."""
    rows: list[Row] = [(LOAD, 0, 0, NUMBER)]
    if architecture == AUDIT_X86_64:
        rows.append((AT_LEAST, "past", 0, X32_BIT))
    rows.append((GREATER, "answer", "past", last))
    return [(EQUAL, 0, len(rows), architecture), *rows]


def _resolved(row: Row, at: int, answer: int) -> tuple[int, int, int, int]:
    """Turn places into distances from the instruction after this one."""
    places = {"answer": answer - at - 1, "past": answer - at}
    code, true, false, value = row
    return (
        code,
        places[true] if isinstance(true, str) else true,
        places[false] if isinstance(false, str) else false,
        value,
    )
