"""seccomp(2): installing a filter, and one for a process of ours that does one thing only."""

from __future__ import annotations

import _ctypes
import _struct as struct  # the C half

from runjail.host.linux import libc

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
SECCOMP_SET_MODE_FILTER = 1
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
NEW_LISTENER = 8
FILTER_SIZE = 8  # bytes of a struct sock_filter

# What Python needs between two lines of ours, by the two tables of system calls that there are
# read, write, close, brk, mmap, munmap, rt_sigaction, rt_sigprocmask, rt_sigreturn, sendmsg, futex, exit_group, pipe2
_X86_64 = (0, 1, 3, 12, 9, 11, 13, 14, 15, 46, 202, 231, 293)
_GENERIC = (63, 64, 57, 214, 222, 215, 134, 135, 139, 211, 98, 94, 59)
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "riscv64": 0xC00000F3}  # AUDIT_ARCH_ of linux/audit.h

LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
NUMBER, ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
ALLOW, KILL_PROCESS = 0x7FFF0000, 0x80000000


class _Word(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "L"


def allow_only(calls: tuple[int, ...]) -> None:
    """Let this process and its children make no system calls but these and those that Python needs to go on.

    Needs no_new_privs or CAP_SYS_ADMIN. A machine whose numbers we do not know gets no filter.
    """
    machine = libc.MACHINE
    if machine not in _ARCHITECTURES:
        return
    allowed = (*calls, *(_X86_64 if machine == "x86_64" else _GENERIC))
    rows = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 0, len(allowed) + 1, _ARCHITECTURES[machine]), (LOAD, 0, 0, NUMBER)]
    rows += [(EQUAL, len(allowed) - index, 0, call) for index, call in enumerate(allowed)]
    rows += [(RETURN, 0, 0, KILL_PROCESS), (RETURN, 0, 0, ALLOW)]
    install(b"".join(struct.pack("HBBI", *row) for row in rows))


def install(filters: bytes, flags: int = 0) -> int:
    """Install a program of struct sock_filter. flags: SECCOMP_FILTER_FLAG_ bits. Raises OSError.

    Returns the listening end with NEW_LISTENER, else 0.
    """
    array = libc.buffer(filters)
    # struct sock_fprog: a short, padded, and a pointer
    program = (_Word * 2)(len(filters) // FILTER_SIZE, libc.address(array))
    if flags:
        return libc.seccomp(SECCOMP_SET_MODE_FILTER, flags, libc.address(program))
    return libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, libc.address(program))
