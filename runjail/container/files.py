"""Files that are replaced whole: those of a state directory, and the pid files that callers name.

A file is written beside its place and renamed there. What a killed writer leaves in a state directory goes with it; of
a pid file the state directory has a link to the half-written one, `beside.PID`, while it is being written, so that
`delete` finds that one as well.
"""

import os

from runjail.errors import HostError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.container.state import Container

BESIDE = "beside."


def write_file(path: str, content: bytes, mode: int, beside: str, directory: int | None = None) -> None:
    """Write a file so that readers see the old content or the new one, whole.

    beside: where it is written first; what is there is removed, and no link followed. Both paths may be relative to an
    open directory.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(beside, flags, mode, dir_fd=directory)
    except FileExistsError:  # of one who was killed
        os.unlink(beside, dir_fd=directory)
        descriptor = os.open(beside, flags, mode, dir_fd=directory)
    try:
        written = 0
        while written < len(content):
            written += os.write(descriptor, content[written:])
    except OSError:
        os.unlink(beside, dir_fd=directory)
        raise
    finally:
        os.close(descriptor)
    os.rename(beside, path, src_dir_fd=directory, dst_dir_fd=directory)


def write_pid(container: "Container", path: str, pid: int) -> None:
    """Write a pid file: the number and nothing else. Raises HostError with the path as the caller gave it."""
    own = os.getpid()
    directory, link = container.directory(), f"{BESIDE}{own}"
    at, link = (directory, link) if isinstance(directory, int) else (None, f"{directory}/{link}")
    try:
        try:
            os.symlink(f"{path}.{own}", link, dir_fd=at)
        except FileExistsError:  # of a writer that was killed and had our pid
            _remove(os.readlink(link, dir_fd=at))
            os.unlink(link, dir_fd=at)
            os.symlink(f"{path}.{own}", link, dir_fd=at)
        try:
            write_file(path, b"%d" % pid, 0o644, f"{path}.{own}")
        finally:
            os.unlink(link, dir_fd=at)
    except OSError as error:
        raise HostError(f"writing pid file {path}: {reason(error)}") from error


def clear_beside(directory: int) -> None:
    """Remove the half-written pid files that an open state directory knows of."""
    for name in os.listdir(directory):
        if name.startswith(BESIDE):
            _remove(os.readlink(name, dir_fd=directory))


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:  # it was renamed in time, or its directory is gone
        pass
