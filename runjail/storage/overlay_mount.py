"""Mounting overlayfs, and whether it works in a place.

See the kernel's Documentation/filesystems/overlayfs.rst. Layers are named one by one through fsopen(2) and fsconfig(2)
with `lowerdir+`, which Linux has since 6.7. mount(2) takes 4,095 bytes of options, too few for the paths of a hundred
layers. So before 6.7 the directories are opened, and the options name them by the numbers of their descriptors,
relative to /proc/self/fd.
"""

from __future__ import annotations

import _ctypes  # the C half: the other one would be a third of an interpreter's start in each run of an image
import errno
import os
import stat

from runjail import target
from runjail.errors import StorageError, reason
from runjail.host.base import in_user_namespace
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LINUX = target.this_system() is target.LINUX  # elsewhere the numbers of system calls below mean other calls
# What foreign settings of the kernel's module would change: layers are complete without any other, and no layer can
# name a place in another one.
FIXED = {"metacopy": "off", "redirect_dir": "nofollow", "index": "off"}
LONGEST = 255  # bytes of a value for fsconfig(2)
SPECIAL = "\\,:"  # what some kernel takes for a separator or an escape in a path
PATH_FD = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", 0)
MOST_LAYERS = 500  # OVL_MAX_STACK
CLONE_FS, CLONE_NEWNS = 0x200, 0x20000
MS_REC, MS_PRIVATE, UMOUNT_NOFOLLOW = 1 << 14, 1 << 18, 8
AT_FDCWD, MOVE_MOUNT_F_EMPTY_PATH = -100, 4
SET_FLAG, SET_STRING, CMD_CREATE = 0, 1, 6  # enum fsconfig_command, linux/mount.h
SYS_MOVE_MOUNT, SYS_FSOPEN, SYS_FSCONFIG, SYS_FSMOUNT = 429, 430, 431, 432  # the same on all machines
CANNOT = ": overlayfs cannot be mounted: "
UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.ENODEV, errno.EPERM)


class Overlay(Record):
    """What is mounted. lowers: directories, the highest first; none of them, upper and work are below a link.

    user: whiteouts and opaque directories are told by user.overlay.* instead of trusted.overlay.*, which only root
    outside of user namespaces may set. volatile: nobody needs the files after a power cut, so nothing waits for the
    disk. label: SELinux's, which all files have whatever the layers say, "" for their own.
    """

    lowers: tuple[str, ...]
    upper: str
    work: str
    user: bool = False
    volatile: bool = False
    label: str = ""

    def flags(self) -> list[str]:
        """Return the options without a value."""
        return [*(["userxattr"] if self.user else []), *(["volatile"] if self.volatile else [])]


def mount(overlay: Overlay, place: str) -> None:
    """Mount. Raises StorageError with what the kernel says."""
    if len(overlay.lowers) > MOST_LAYERS:
        why = f"overlayfs takes {MOST_LAYERS} layers, not {len(overlay.lowers)}"
        raise StorageError(why, "use a store of another kind")
    held: list[int] = []
    try:
        if not _mount_each(overlay, place, held):
            in_thread(lambda: _mount_numbered(overlay, place, held))
    except OSError as error:
        raise StorageError(f"{place}{CANNOT}{_cause(error)}") from error
    finally:
        for descriptor in held:
            os.close(descriptor)


def _cause(error: OSError) -> str:
    return str(error.strerror) if error.filename == "" else reason(error)


def _mount_each(overlay: Overlay, place: str, held: list[int]) -> bool:
    """Mount with one call for each layer. Whether this kernel can. Raises OSError."""
    try:
        if _takes_anything(held):
            return False
        context = _opened(held)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            return False
        raise
    try:
        _set(context, SET_STRING, "lowerdir+", _short(overlay.lowers[0], held))
    except OSError as error:
        if error.errno in UNKNOWN:
            return False
        raise
    try:
        _configure(context, overlay, held)
        tree = _call("syscall", SYS_FSMOUNT, context, 1, 0)
    except OSError as error:
        raise OSError(error.errno, _kernel_messages(context) or reason(error), "") from error
    held.append(tree)
    _call("syscall", SYS_MOVE_MOUNT, tree, b"", AT_FDCWD, os.fsencode(place), MOVE_MOUNT_F_EMPTY_PATH)
    return True


def _opened(held: list[int]) -> int:
    held.append(_call("syscall", SYS_FSOPEN, b"overlay", 1))
    return held[-1]


def _takes_anything(held: list[int]) -> bool:
    """Whether overlayfs is of the kind that keeps whatever it is given, and looks at it when it is mounted.

    So it is before Linux 6.5: there `lowerdir+` is refused so late that the reason could be any.
    """
    try:
        _set(_opened(held), SET_STRING, "no-such-option", "")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


def _configure(context: int, overlay: Overlay, held: list[int]) -> None:
    for lower in overlay.lowers[1:]:
        _set(context, SET_STRING, "lowerdir+", _short(lower, held))
    values = {"upperdir": _short(overlay.upper, held), "workdir": _short(overlay.work, held), "source": "runjail"}
    if overlay.label:
        values["context"] = overlay.label
    for name, value in {**values, **FIXED}.items():
        _set(context, SET_STRING, name, value)
    for name in overlay.flags():
        _set(context, SET_FLAG, name, None)
    _set(context, CMD_CREATE, None, None)


def _set(context: int, command: int, name: str | None, value: str | None) -> None:
    arguments = [None if text is None else os.fsencode(text) for text in (name, value)]
    _call("syscall", SYS_FSCONFIG, context, command, *arguments, 0)


def _kernel_messages(context: int) -> str:
    """Return what the kernel has to say about a mount that failed: lines that begin with `e `."""
    lines: list[str] = []
    while True:
        try:
            line = os.read(context, 1024).decode("utf-8", "replace").strip()
        except OSError:  # ENODATA: no more
            return "; ".join(lines)
        if line[:2] == "e ":
            lines.append(line[2:].removeprefix("overlay: "))


def _short(path: str, held: list[int]) -> str:
    """Return a path that every kernel takes as it is."""
    if len(os.fsencode(path)) <= LONGEST and not set(path) & set(SPECIAL):
        return path
    held.append(os.open(path, PATH_FD))
    return f"/proc/self/fd/{held[-1]}"


def _mount_numbered(overlay: Overlay, place: str, held: list[int]) -> None:
    """Mount with one call of mount(2). The thread's directory is changed. Raises OSError."""
    _call("unshare", CLONE_FS)
    os.chdir("/proc/self/fd")
    start = len(held)
    held += [os.open(path, PATH_FD) for path in (*overlay.lowers, overlay.upper, overlay.work)]
    *lowers, upper, work = map(str, held[start:])
    options = [f"lowerdir={':'.join(lowers)}", f"upperdir={upper}", f"workdir={work}", *overlay.flags()]
    options += [f"{name}={value}" for name, value in FIXED.items()]
    options += [f'context="{overlay.label}"'] if overlay.label else []  # quoted: a label has commas
    _mount("runjail", place, "overlay", 0, ",".join(options))


def _mount(source: str, place: str, kind: str | None, flags: int, options: str | None = None) -> None:
    texts = [None if text is None else os.fsencode(text) for text in (source, place, kind, options)]
    _call("mount", *texts[:3], flags, texts[3])


def unmount(place: str) -> bool:
    """Unmount whatever is mounted at a directory itself; nothing is success. Whether it is done: False when busy.

    Raises StorageError.
    """
    while True:
        try:
            _call("umount2", os.fsencode(place), UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return True
            if error.errno == errno.EBUSY:
                return False
            raise StorageError(f"{place}: cannot be unmounted: {reason(error)}") from error


def refusal(path: str) -> str:
    """Return why no store of overlays can be below a directory, "" when it can: it is tried, and leaves nothing.

    In a mount namespace of its own, so the mount ends with us whatever happens.
    """
    import shutil
    import tempfile

    if not LINUX:
        return "overlayfs is of Linux"
    try:
        place = tempfile.mkdtemp(prefix=".runjail-try-", dir=path)
    except OSError as error:
        return f"overlayfs cannot be tried in {path}: {reason(error)}"
    try:
        in_thread(lambda: _try(place))
    except (OSError, StorageError) as error:
        message = reason(error) if isinstance(error, OSError) else str(error)
        return f"overlayfs does not work in {path}: {message.rpartition(CANNOT)[2]}"
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return ""


def _try(place: str) -> None:
    """Mount, hide and replace something, and look what is left of it below. Raises OSError, StorageError."""
    for name in ("lower/gone", "lower/new/old", "upper", "work", "root"):
        os.makedirs(f"{place}/{name}")
    _call("unshare", CLONE_FS | CLONE_NEWNS)
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    user = in_user_namespace()
    mount(Overlay((f"{place}/lower",), f"{place}/upper", f"{place}/work", user), f"{place}/root")
    try:
        os.rmdir(f"{place}/root/gone")
        os.rmdir(f"{place}/root/new/old")
        os.rmdir(f"{place}/root/new")
        os.mkdir(f"{place}/root/new")
    finally:
        unmount(f"{place}/root")
    hidden = os.lstat(f"{place}/upper/gone")
    opaque = os.getxattr(f"{place}/upper/new", "user.overlay.opaque" if user else "trusted.overlay.opaque")
    if not stat.S_ISCHR(hidden.st_mode) or opaque != b"y":
        raise StorageError("what is removed does not stay so")


def in_thread(call: Callable[[], None]) -> None:
    """Call in a thread, whose namespace and current directory end with it; raises what the call raises."""
    import threading  # of what is above, each run of an image needs nothing

    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "l"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Int


class _Syscall(_ctypes.CFuncPtr):
    _flags_ = _Function._flags_
    _restype_ = _Long


def _call(name: str, *arguments: str | bytes | int | None) -> int:
    """Call a function of libc. Numbers are as wide as registers, which syscall(2) needs. Raises OSError."""
    wide = [_Long(value) if isinstance(value, int) else value for value in arguments]
    kind = _Syscall if name == "syscall" else _Function
    result: int = kind(_ctypes.dlsym(_ctypes.dlopen(None, 0), name))(*wide)  # type: ignore[arg-type]
    if result < 0:
        number = _ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
