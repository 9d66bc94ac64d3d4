"""Executes this program through a read-only mount of the host's Python.

So nobody in a container can write to it. /proc/PID/exe leads to the file that a process executes, whatever its root
directory. A container whose program is /proc/self/exe, or a script with that first line, and which brings a dynamic
loader of its own, runs that loader in the place of our Python and can open the interpreter for writing once nobody
executes it any more (CVE-2019-5736). The kernel looks at the mount through which the file was executed: a read-only one
gives EROFS, to processes inside too.

The start scripts that .ci/boot.py writes name a link in a directory of ours. The first verb that puts processes into
a container mounts the interpreter's own directory there and executes itself once more; whoever starts later comes
through the mount and finds nothing to do. The directory is mounted rather than the file, so that an upgrade of Python
is seen. Without such a script, each verb of that kind executes itself once more, through a mount that has no place.
Who may not mount, an ordinary user above all, is executed from a sealed copy in memory instead, where the file is his:
the root of his containers could write to it. Other people's Python is closed to them anyway.
FreeBSD has no links of this kind: what its procfs shows is text, which the kernel reads inside the jail.
"""

from __future__ import annotations

import os
import sys

from runjail.errors import reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

PLACE = "/libexec/runjail/bin"  # ends the name of a directory that .ci/boot.py made
EXECUTED = "/proc/self/exe"
AGAIN = "runjail"  # python -X: a second start, which must not lead to a third
LOCK_SECONDS = 5.0  # a lock is waited for; then two mounts are better than none
FOREIGN = 8  # mounts of others on our directory that we take away


def secure() -> str:
    """Go on when we are executed through a read-only mount, else start again through one. Returns why not, or "".

    To be called before anything is opened or changed that a second start would find.
    """
    try:
        if secured():
            return ""
        if AGAIN in sys._xoptions:
            return "the interpreter can be written from inside, although it was started anew to prevent that"
        if at_place():
            mount_at_place()
            execute(sys.executable)
        if own_library():
            return "the interpreter cannot be mounted elsewhere: it finds its library next to itself"
        real = os.path.realpath(EXECUTED)
        tree = view(os.path.dirname(real))
        execute(f"/proc/self/fd/{tree}/{os.path.basename(real)}")
    except OSError as error:
        return _from_memory(reason(error)) if ours_to_write() else ""


def ours_to_write() -> bool:
    """Whether a container's processes could write to the interpreter: who has no root has only his own ids inside."""
    if not os.geteuid():
        return True
    # Not by its path, which is none when somebody has just taken the mount away that we came through.
    return os.stat(EXECUTED).st_uid == os.geteuid() or os.access(EXECUTED, os.W_OK)


def _from_memory(why: str) -> str:
    """Start again from a copy that nobody can write to. Returns why not. why: why there is no mount."""
    exposed = f"the interpreter can be written from inside: mounting it read-only: {why}"
    if own_library():
        return f"{exposed}; it finds its library next to itself, so that it cannot be executed from a copy"
    from runjail.host.linux.sealed import copy_of

    try:
        execute(f"/proc/self/fd/{copy_of(EXECUTED)}")
    except OSError as error:
        return f"{exposed}; copying it to memory: {reason(error)}"


def secured() -> bool:
    """Whether this process is executed through a mount that was made for it and is not outdated, or from a copy."""
    if not os.statvfs(EXECUTED).f_flag & os.ST_RDONLY:
        return AGAIN in sys._xoptions and _sealed()
    if not at_place():
        return AGAIN in sys._xoptions
    return os.readlink(EXECUTED) == sys.executable and os.path.samefile(EXECUTED, meant())


def _sealed() -> bool:
    from runjail.host.linux.sealed import is_sealed

    return is_sealed(EXECUTED)


def at_place() -> bool:
    """Whether the interpreter is named by a start script of ours."""
    return os.path.dirname(sys.executable).endswith(PLACE)


def meant() -> str:
    """Return the interpreter's own path: what pyvenv.cfg says next to the place."""
    found: str = sys._base_executable  # type: ignore[attr-defined]
    return found


def own_library() -> bool:
    """Whether Python is in a library that the loader finds by the place of the executed file ($ORIGIN in ld.so(8))."""
    with open("/proc/self/maps", "rb") as mapped:
        if b"/libpython" not in mapped.read():
            return False
    with open(EXECUTED, "rb") as file:
        return b"$ORIGIN" in file.read()


def view(directory: str) -> int:
    """Return a descriptor of a read-only mount of a directory, which is at no place yet."""
    from runjail.host.linux import libc_mounts as libc
    from runjail.host.linux.libc import MS_PRIVATE

    tree = libc.open_tree(directory)
    try:
        libc.mount_setattr(tree, libc.MOUNT_ATTR_RDONLY, MS_PRIVATE)
    except BaseException:
        os.close(tree)
        raise
    return tree


def mount_at_place() -> None:
    """Mount the interpreter's directory on ours, unless somebody did meanwhile; what else is mounted there goes."""
    from runjail.host.linux.libc import MNT_DETACH, umount
    from runjail.host.linux.libc_mounts import AT_FDCWD, move_mount

    place = os.path.dirname(sys.executable)
    turn = _turn(os.path.dirname(place))
    try:
        for _ in range(FOREIGN):
            if os.path.islink(sys.executable):
                tree = view(os.path.dirname(os.path.realpath(sys.executable)))
                move_mount(tree, AT_FDCWD, place)
                os.close(tree)
                return
            if os.statvfs(sys.executable).f_flag & os.ST_RDONLY and os.path.samefile(sys.executable, meant()):
                return
            umount(place, MNT_DETACH)
    finally:
        os.close(turn)


def _turn(directory: str) -> int:
    """Lock a directory, which any user can; so nobody is waited for without end. Returns a descriptor to close."""
    from runjail.locks import lock_within

    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    lock_within(descriptor, LOCK_SECONDS)
    return descriptor


def execute(path: str) -> NoReturn:
    """Become the same command line, with another file as interpreter."""
    own, *rest = sys.orig_argv
    os.execv(path, [own, "-X", AGAIN, *rest])


def check() -> list[tuple[str, bool, str, str]]:
    """Return the row of `runjail check`: whether containers can be kept from writing to the interpreter."""
    name = "interpreter"
    real = os.path.realpath(EXECUTED)
    try:
        os.close(view(os.path.dirname(real)))
    except OSError as error:
        return [(name, *_without_mount(real, reason(error)))]
    if at_place():
        where = os.path.dirname(sys.executable)
        return [(name, True, f"read-only at {where}" if secured() else f"the first container mounts it at {where}", "")]
    if own_library():
        return [(name, False, "can be written from inside: its library is next to it", "make install")]
    return [(name, True, "read-only; create and exec start twice, without a script of make install", "")]


def _without_mount(real: str, why: str) -> tuple[bool, str, str]:
    """Return the rest of that row where the interpreter cannot be mounted. real: its path."""
    from runjail.host.linux.sealed import copy_of

    if not ours_to_write():
        return True, "belongs to somebody whom containers of this user do not have", ""
    remedy = "run as root on Linux 5.12 or later"
    if own_library():
        return False, f"can be written from inside: its library is next to it, and {why} to mount it", remedy
    try:
        os.close(copy_of(real))
    except OSError as error:
        return False, f"can be written from inside: {why} to mount it, and {reason(error)} to copy it", remedy
    return True, "executed from a copy in memory, which create and exec make each time", ""
