"""A policy for devices as a BPF program of cgroup v2 (BPF_PROG_TYPE_CGROUP_DEVICE).

The kernel asks it for every open(2) and mknod(2) of a device by a process of the group, with a bpf_cgroup_dev_ctx of
three numbers: what is wanted in the upper and the type in the lower 16 bits of the first, then major and minor. It
allows what makes the program return 1. https://docs.kernel.org/bpf/standardization/instruction-set.html
"""

from __future__ import annotations

import errno
import os
import struct

from runjail.host.linux import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Rule = Sequence[str | int]  # type, major, minor, access as in steps.DevicePolicy

LOAD, MOVE, AND, SHIFT_RIGHT = 0x61, 0xB7, 0x57, 0x77  # LDXMEM of a word, and of 64 bits with a number: MOV, AND, RSH
JUMP_IF_EQUAL, JUMP_UNLESS_EQUAL, EXIT = 0x15, 0x55, 0x95
RESULT, CONTEXT, WORK = 0, 1, 2  # registers
TYPES = {"b": 1, "c": 2}
ACCESS = {"m": 1, "r": 2, "w": 4}
EVERY_ACCESS = 7

PROG_LOAD, PROG_ATTACH, PROG_DETACH, PROG_GET_FD_BY_ID, PROG_QUERY = 5, 8, 9, 13, 16  # commands of bpf(2)
PROG_TYPE_CGROUP_DEVICE, CGROUP_DEVICE, ALLOW_MULTI = 15, 6, 2
LICENSE = b"BSD\0"
MOST = 64  # programs that a group can have


def assemble(allow: bool, rules: Sequence[Rule]) -> bytes:
    """Return the program of a policy, as steps.DevicePolicy has it.

    Where the policy forbids, one rule has to cover everything that is wanted; where it allows, one rule that meets any
    of it forbids all, as in cgroup v1.
    """
    code = [instruction for rule in rules for instruction in _test(rule, allow)]
    return b"".join([*code, *_answer(allow)])


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, number: int = 0) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | target, offset, number)


def _answer(allowed: bool) -> list[bytes]:
    return [_instruction(MOVE, RESULT, number=int(allowed)), _instruction(EXIT)]


def _test(rule: Rule, allow: bool) -> list[bytes]:
    """Return the instructions that answer for what one rule means, and go on after them for everything else.

    Each part is read from the context again: with nothing to remember from one rule to the next, the kernel's check of
    the program takes time in proportion to its length.
    """
    kind, major, minor, access = rule
    bits = sum(ACCESS[letter] for letter in str(access))
    mask = bits if allow else EVERY_ACCESS & ~bits
    parts = [([_read(0), _instruction(AND, WORK, number=0xFFFF)], JUMP_UNLESS_EQUAL, TYPES[str(kind)])]
    parts += [([_read(4)], JUMP_UNLESS_EQUAL, int(major))] * (major != -1)
    parts += [([_read(8)], JUMP_UNLESS_EQUAL, int(minor))] * (minor != -1)
    if bits != EVERY_ACCESS:
        wanted = [_read(0), _instruction(SHIFT_RIGHT, WORK, number=16), _instruction(AND, WORK, number=mask)]
        parts.append((wanted, JUMP_IF_EQUAL if allow else JUMP_UNLESS_EQUAL, 0))
    answer = _answer(not allow)
    size = sum(len(reading) + 1 for reading, _, _ in parts) + len(answer)
    code: list[bytes] = []
    for reading, jump, number in parts:
        code += reading
        code.append(_instruction(jump, WORK, offset=size - len(code) - 1, number=number))
    return code + answer


def _read(offset: int) -> bytes:
    return _instruction(LOAD, WORK, CONTEXT, offset)


def attach(directory: str, program: bytes) -> None:
    """Load a program and attach it to the group at `directory`, in place of those that it has. Raises OSError."""
    group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        loaded = load(program)
        try:
            before = _attached(group)
            libc.bpf(PROG_ATTACH, struct.pack("=IIII", group, loaded, CGROUP_DEVICE, ALLOW_MULTI))
            for number in before:
                _detach(group, number)
        finally:
            os.close(loaded)
    finally:
        os.close(group)


def load(program: bytes) -> int:
    """Return the descriptor of a program. Kernels before 5.11 count its memory as locked by this process."""
    code, license_text = libc.buffer(program), libc.buffer(LICENSE)
    attributes = struct.pack(
        "=IIQQ", PROG_TYPE_CGROUP_DEVICE, len(program) // 8, libc.address(code), libc.address(license_text)
    )
    try:
        return libc.bpf(PROG_LOAD, attributes)
    except PermissionError as error:
        import resource

        limits = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        except ValueError:  # without CAP_SYS_RESOURCE
            raise error from None
        try:
            return libc.bpf(PROG_LOAD, attributes)
        finally:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, limits)


def _attached(group: int) -> tuple[int, ...]:
    """Return the numbers of the programs that a group has itself."""
    numbers = libc.buffer(bytes(4 * MOST))
    layout = "=IIIIQI"
    answer = libc.bpf_answer(PROG_QUERY, struct.pack(layout, group, CGROUP_DEVICE, 0, 0, libc.address(numbers), MOST))
    count = struct.unpack_from(layout, answer)[5]
    return struct.unpack_from(f"={count}I", bytes(numbers))


def _detach(group: int, number: int) -> None:
    """Take one away. One that we may not look at, or that is gone, only adds to what is forbidden."""
    try:
        old = libc.bpf(PROG_GET_FD_BY_ID, struct.pack("=I", number))
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.ENOENT):
            raise
        return
    try:
        libc.bpf(PROG_DETACH, struct.pack("=III", group, old, CGROUP_DEVICE))
    finally:
        os.close(old)
