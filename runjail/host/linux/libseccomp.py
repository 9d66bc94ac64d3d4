"""libseccomp(3): a profile of config.json as a BPF program.

It is loaded only for containers that have a profile. The library knows the numbers of system calls on every
architecture, and how to compare 64-bit arguments with 32-bit instructions. Through `_ctypes`, as `libc.py`.
"""

from __future__ import annotations

import _ctypes
import _struct as struct  # the C half
import os

from runjail.errors import HostError
from runjail.host.linux import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.spec.model import Seccomp, SeccompRule

LIBRARY = "libseccomp.so.2"
HINT = "install libseccomp (Debian: libseccomp2), or leave linux.seccomp out"

# enum values and SCMP_ACT_ macros of seccomp.h; ERRNO and TRACE carry a number in their low 16 bits
ACTIONS = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
NUMBERED = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
OPERATORS = {f"SCMP_CMP_{word}": number for number, word in enumerate("NE LT LE EQ GE GT MASKED_EQ".split(), start=1)}
EPERM, EEXIST, EDOM = 1, 17, 33
UNKNOWN = -1  # __NR_SCMP_ERROR
COMPARE = struct.Struct("@IIQQ")  # struct scmp_arg_cmp


class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _Unsigned(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "I"


class _Name(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "z"


class _Pointer(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "P"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL
    _restype_ = _Int


class _Maker(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL
    _restype_ = _Pointer


class Library:
    """The functions of libseccomp that are used here. Raises HostError where it is not installed."""

    def __init__(self) -> None:
        try:
            handle = _ctypes.dlopen(LIBRARY, 0)
        except OSError as error:
            raise HostError(f"linux.seccomp: {LIBRARY} is not installed", HINT) from error

        def declare(name: str, kind: type, *arguments: type) -> Any:
            function = kind(_ctypes.dlsym(handle, name))
            function.argtypes = arguments
            return function

        self.version = declare("seccomp_version", _Maker)
        self.init = declare("seccomp_init", _Maker, _Unsigned)
        self.release = declare("seccomp_release", _Function, _Pointer)
        self.arch_from_name = declare("seccomp_arch_resolve_name", _Function, _Name)
        self.arch_native = declare("seccomp_arch_native", _Function)
        self.arch_add = declare("seccomp_arch_add", _Function, _Pointer, _Unsigned)
        self.resolve = declare("seccomp_syscall_resolve_name", _Function, _Name)
        self.resolve_for = declare("seccomp_syscall_resolve_name_arch", _Function, _Unsigned, _Name)
        self.rule_add = declare("seccomp_rule_add_array", _Function, _Pointer, _Unsigned, _Int, _Unsigned, _Pointer)
        self.export = declare("seccomp_export_bpf", _Function, _Pointer, _Int)


def version() -> str:
    """Return the library's version: what it makes of a profile depends on the calls that it knows."""
    numbers = (_Unsigned * 3).from_address(Library().version())  # struct scmp_version
    return ".".join(str(number) for number in numbers)


def compile_profile(profile: Seccomp) -> bytes:
    """Return the profile as instructions of BPF (struct sock_filter).

    Names that no architecture of the profile has, or this library does not know, are left out, as by runc.
    Raises HostError.
    """
    from runjail.host.linux import newer_calls

    library = Library()
    default = _action(profile.default, profile.default_errno)
    context = library.init(default)
    if not context:
        raise HostError(f"linux.seccomp.defaultAction: libseccomp does not take {profile.default}")
    try:
        architectures = _add_architectures(library, context, profile.architectures)
        for index, rule in enumerate(profile.rules):
            _add_rule(library, context, rule, default, f"linux.seccomp.syscalls[{index}]")
        program = _export(library, context)
    finally:
        library.release(context)
    return newer_calls.prelude(library.resolve_for, profile, architectures) + program


def _action(word: str, number: int | None) -> int:
    base = ACTIONS[word]
    return base | (EPERM if number is None else number) if word in NUMBERED else base


def takes_architecture(library: Library, name: str) -> bool:
    """Say whether a profile can have SCMP_ARCH_NAME: the library knows it, and it has this machine's order of bytes."""
    number, context = architecture(library, name), library.init(ACTIONS["SCMP_ACT_ALLOW"])
    try:
        return number != 0 and library.arch_add(context, number) in (0, -EEXIST)
    finally:
        library.release(context)


def architecture(library: Library, name: str) -> int:
    """Return the AUDIT_ARCH_ number of SCMP_ARCH_NAME, 0 where this library does not know it."""
    number: int = library.arch_from_name(name.removeprefix("SCMP_ARCH_").lower().encode())
    return number & 0xFFFFFFFF


def _add_architectures(library: Library, context: Any, names: tuple[str, ...]) -> list[int]:
    """Add the architectures to the native one, which is always there. Returns all of them as AUDIT_ARCH_ numbers."""
    found = [library.arch_native() & 0xFFFFFFFF]
    for index, name in enumerate(names):
        number = architecture(library, name)
        if not number:
            raise HostError(f"linux.seccomp.architectures[{index}]: this libseccomp does not know {name}")
        if number not in found:
            _check(library.arch_add(context, number), f"linux.seccomp.architectures[{index}]: {name}")
            found.append(number)
    return found


def _add_rule(library: Library, context: Any, rule: SeccompRule, default: int, place: str) -> None:
    action = _action(rule.action, rule.errno)
    if action == default:  # says nothing new; libseccomp refuses such rules
        return
    for name in rule.names:
        call = library.resolve(name.encode())
        if call == UNKNOWN:
            continue
        for group in _groups(rule.args):
            packed = b"".join(COMPARE.pack(index, OPERATORS[op], value, second) for index, value, second, op in group)
            memory = libc.buffer(packed) if packed else None
            address = libc.address(memory) if memory is not None else None
            result = library.rule_add(context, action, call, len(group), address)
            if result not in (-EEXIST, -EDOM):  # said twice; of an architecture that does not have the call
                _check(result, f"{place}: {name}")


def _groups(args: tuple[tuple[int, int, int, str], ...]) -> list[tuple[tuple[int, int, int, str], ...]]:
    """Return what belongs into one rule: conditions hold together, but those on one argument are alternatives."""
    indexes = [index for index, _, _, _ in args]
    if len(set(indexes)) == len(indexes):
        return [args]
    return [(condition,) for condition in args]


def _export(library: Library, context: Any) -> bytes:
    descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        _check(library.export(context, descriptor), "linux.seccomp: exporting")
        size = os.fstat(descriptor).st_size
        return os.pread(descriptor, size, 0)
    finally:
        os.close(descriptor)


def _check(result: int, doing: str) -> None:
    if result < 0:
        raise HostError(f"{doing}: {os.strerror(-result)}")
