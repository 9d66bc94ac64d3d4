"""linux.seccomp: the profile's program, made by `create`, installed by all who become programs.

A program takes libseccomp tens of milliseconds, and most containers of a machine have the same profile. So programs
are kept below the state root, by a digest of the profile, the machine and the library's file, which takes no time to
look at; the digest of its content comes first in each file, so one that is damaged is made again.
"""

from __future__ import annotations

import _struct as struct  # the C half
import os
from _blake2 import blake2b

from runjail.errors import HostError, reason
from runjail.files import write_file
from runjail.host.linux import seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runjail.host.linux.change import Change
    from runjail.spec.model import Seccomp
    from runjail.steps import SeccompFilter

LIBRARY = "libseccomp.so.2"
FILE = "seccomp"  # in a container's state directory: flags and program
KEPT = "%seccomp"  # below the state root, where no id has such a character
MOST_KEPT = 32  # programs
HEAD = struct.Struct("<I")  # SECCOMP_FILTER_FLAG_ bits
DIGEST = 16  # bytes
LARGEST = 4096 * 8  # BPF_MAXINSNS instructions
HINT = "that takes no_new_privs (process.noNewPrivileges) or CAP_SYS_ADMIN"


def apply(change: Change, step: SeccompFilter) -> None:
    """Perform the step of `create`: make the container's program."""
    prepare(step.profile, change.host_state.state)


def prepare(profile: Seccomp, state: str) -> None:
    """Make the program, or take the one that was made before, and put it into the state directory. Raises HostError."""
    flags = 0
    for word in profile.flags:
        flags |= seccomp.FLAGS[word]
    if profile.listener:  # the kernel gives one thread a listener; we have no other
        flags = flags & ~seccomp.FLAGS["SECCOMP_FILTER_FLAG_TSYNC"] | seccomp.NEW_LISTENER
    program = _program(profile, f"{os.path.dirname(state)}/{KEPT}")
    write_file(f"{state}/{FILE}", HEAD.pack(flags) + program, 0o600, f"{state}/{FILE}.new")


class PreparedFilter:
    """A container's program with its flags, as a process of it is about to install it."""

    def __init__(self, prepared: bytes) -> None:
        self.prepared = prepared
        (self._flags,) = HEAD.unpack_from(prepared)
        self.has_listener = bool(self._flags & seccomp.NEW_LISTENER)

    def install(self, tell: Callable[[int], None]) -> None:
        """Put this process under the program, for good; `tell` gets the listening end. Raises HostError."""
        try:
            listening = seccomp.install(self.prepared[HEAD.size :], self._flags)
        except OSError as error:
            raise HostError(f"installing the seccomp filter: {reason(error)}", HINT) from error
        if self.has_listener:
            tell(listening)


def load(state: str) -> PreparedFilter | None:
    """Return what `prepare` put there; None where the container has no profile."""
    try:
        return PreparedFilter(_read(f"{state}/{FILE}"))
    except FileNotFoundError:
        return None


def _program(profile: Seccomp, kept: str) -> bytes:
    path = f"{kept}/{_digest(f'{_library()} {profile!r}'.encode()).hex()}"
    try:
        found = _read(path)
        if len(found) > DIGEST and _digest(found[DIGEST:]) == found[:DIGEST]:
            return found[DIGEST:]
    except OSError:
        pass  # no container had this profile yet, or the file cannot be read: it is made anew
    from runjail.host.linux import libseccomp

    program = libseccomp.compile_profile(profile)
    if len(program) > LARGEST:
        raise HostError(f"linux.seccomp: {len(program) // 8} instructions, of which the kernel takes {LARGEST // 8}")
    _keep(kept, path, _digest(program) + program)
    return program


def _library() -> str:
    """Return what tells the library's file from another one's, or its version where it is in no usual place.

    What it makes of a profile depends on the calls that it knows. Loading it to ask takes 0.3 ms, with its module.
    """
    machine = os.uname().machine
    for directory in (f"/usr/lib/{machine}-linux-gnu", "/usr/lib64", "/usr/lib"):
        try:
            found = os.stat(f"{directory}/{LIBRARY}")
            return f"{machine} {directory} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
        except OSError:
            continue
    from runjail.host.linux import libseccomp

    return f"{machine} {libseccomp.version()}"


def _keep(kept: str, path: str, content: bytes) -> None:
    """Keep a program for the next container; where that does not work, the next one makes it again."""
    try:
        os.makedirs(kept, 0o700, exist_ok=True)
        names = os.listdir(kept)
        if len(names) >= MOST_KEPT:
            for name in names:
                os.unlink(f"{kept}/{name}")
        write_file(path, content, 0o600, f"{path}.{os.getpid()}")
    except OSError:
        pass


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=DIGEST).digest()


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return os.read(descriptor, DIGEST + HEAD.size + LARGEST)
    finally:
        os.close(descriptor)
