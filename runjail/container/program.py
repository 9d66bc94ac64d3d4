"""The last steps of every process we start in a container: find the program, tidy up, become it.

Runs inside the container. Nothing here may import: an import now would load the container's files.
"""

from __future__ import annotations

import _signal
import errno
import os

from runjail import rootfs
from runjail.errors import HostError, ProgramDenied, ProgramNotFound, cause, reason
from runjail.host.base import give_pipes
from runjail.spec.model import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # execvp(3) without PATH
SHELL = b"/bin/sh"
LARGEST = 1 << 20  # bytes of a file of users


def lead() -> None:
    """Lead a session."""
    try:
        os.setsid()
    except PermissionError:  # we do; or our caller gave us a process group of our own, which does without a terminal
        pass


def settle(process: Process, make_cwd: bool) -> None:
    """Hand over the pipes we were given; make_cwd creates a missing working directory. Before ids change."""
    give_pipes(process.user.uid)
    if make_cwd:
        try:
            rootfs.make_directories(process.cwd)
        except OSError:  # a read-only root, or a file in the way: chdir says which
            pass


def take_on(process: Process, apply_credentials: Callable[[Process], None]) -> None:
    """Set umask, go to the working directory and take on the identity, in the order of other runtimes.

    Images rely on chdir(2) before the ids change. A directory that root may not enter, as on NFS and FUSE, is
    tried again as the user; the error is then that of the second try.
    """
    if process.user.umask is not None:
        os.umask(process.user.umask)
    try:
        os.chdir(process.cwd)
    except OSError:
        apply_credentials(process)
        _chdir(process.cwd)
        _require_inside(process.cwd)
    else:
        _require_inside(process.cwd)
        apply_credentials(process)


def _chdir(directory: str) -> None:
    try:
        os.chdir(directory)
    except OSError as error:
        raise HostError(f'chdir to cwd ("{directory}") set in config.json failed: {cause(error)}') from error


def _require_inside(directory: str) -> None:
    """Raise HostError when we are in a directory outside of our root: `/proc/self/fd/N` leads there (CVE-2024-21626).

    Linux has no path to it then (getcwd(2)); FreeBSD has the host's, which is nothing inside, or something else.
    """
    try:
        if os.path.samestat(os.stat(os.getcwd()), os.stat(".")):
            return
        why = "it is outside of the container"
    except OSError as error:
        why = f"it is outside of the container, or gone: {cause(error)}"
    raise HostError(f'chdir to cwd ("{directory}") set in config.json failed: {why}')


def find(process: Process) -> str:
    """Return the path of the program as a shell, or Go's LookPath, finds it: what cannot be executed is passed over.

    Raises ProgramNotFound or ProgramDenied. A script whose interpreter is missing is only found out by execve.
    """
    name = process.args[0]
    if "/" in name:
        return _executable(name)
    for directory in _variable(process.env, "PATH", DEFAULT_PATH).split(":") if name else ():
        try:
            return _executable(f"{directory or '.'}/{name}")
        except (ProgramDenied, ProgramNotFound):
            continue
    raise ProgramNotFound(name)


def _variable(env: tuple[str, ...], name: str, default: str) -> str:
    value = default
    for entry in env:
        if entry.startswith(name + "="):
            value = entry[len(name) + 1 :]
    return value


def _executable(path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise ProgramNotFound(path, f"stat {path}: {cause(error)}") from None
    except OSError as error:
        raise ProgramDenied(path, f"stat {path}: {cause(error)}") from None
    if mode & 0o170000 == 0o040000:
        raise ProgramDenied(path, "is a directory: permission denied")
    if not os.access(path, os.X_OK, effective_ids=True):
        raise ProgramDenied(path)
    return path


def environment(process: Process) -> dict[bytes, bytes]:
    """Return the environment: process.env, and HOME where that says nothing of it."""
    pairs = [entry.encode("utf-8", "surrogateescape").partition(b"=") for entry in process.env]
    result = {name: value for name, _, value in pairs}
    if not result.get(b"HOME"):
        result[b"HOME"] = _home(process.user.uid)
    return result


def listening(listen: int) -> dict[bytes, bytes]:
    """Return the variables with which systemd hands over `listen` sockets to this very process (sd_listen_fds(3))."""
    return {b"LISTEN_FDS": b"%d" % listen, b"LISTEN_PID": b"%d" % os.getpid()} if listen else {}


def _home(uid: int) -> bytes:
    """Return the home directory that the container's own /etc/passwd has for a user, "/" when it has none."""
    try:
        users = os.open("/etc/passwd", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            regular = os.fstat(users).st_mode & 0o170000 == 0o100000  # no FIFO or device, which could keep us waiting
            lines = os.read(users, LARGEST).split(b"\n") if regular else []
        finally:
            os.close(users)
    except OSError:  # this system does without
        return b"/"
    for fields in (line.split(b":") for line in lines if b"\0" not in line):
        if len(fields) == 7 and fields[2] == b"%d" % uid:
            return fields[5] or b"/"
    return b"/"


def reset_signals() -> None:
    """Set default actions and an empty mask: Python ignores SIGPIPE and SIGXFSZ, and our caller may ignore more."""
    for number in range(1, _signal.NSIG):
        try:
            if _signal.getsignal(number) is not _signal.SIG_DFL:
                _signal.signal(number, _signal.SIG_DFL)
        except (OSError, ValueError):  # KILL, STOP and the ones libc keeps for itself
            continue
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def execute(path: str, process: Process, env: dict[bytes, bytes]) -> None:
    """execve(2), with execvp's fallback to the shell for a text without a first line. Returns only by raising.

    Raises ProgramNotFound (also for a missing interpreter), ProgramDenied for whatever else execve refuses.
    """
    args = [argument.encode("utf-8", "surrogateescape") for argument in process.args]
    try:
        try:
            os.execve(path, args, env)
        except OSError as error:
            if error.errno != errno.ENOEXEC or not _is_text(path):
                raise
            os.execve(SHELL, [SHELL, os.fsencode(path), *args[1:]], env)
    except FileNotFoundError as error:
        raise ProgramNotFound(path, cause(error)) from None
    except (PermissionError, NotADirectoryError) as error:
        raise ProgramDenied(path, cause(error)) from None
    except OSError as error:
        hint = "it is a program of another processor or system" if error.errno == errno.ENOEXEC else None
        raise ProgramDenied(path, reason(error), hint) from error


def _is_text(path: str) -> bool:
    """Whether a shell would read the file as a script: no NUL at its start (XCU, Command Search and Execution)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # executable and not readable
        return False
    try:
        return b"\0" not in os.read(descriptor, 512)
    finally:
        os.close(descriptor)


def exit_code(error: BaseException) -> int:
    """Return what a shell would exit with for a program that could not be executed."""
    return 127 if isinstance(error, ProgramNotFound) else 126
