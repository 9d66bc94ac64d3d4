"""The newer mount interface of Linux, in which a mount is a descriptor before it is at a place."""

from __future__ import annotations

import _ctypes
import os

from runjail.host.linux.libc import _checked, _declare, _Long, _Pointer, _Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Numbers that libc may not know by name; the same on every machine since the kernel has them
OPEN_TREE, MOVE_MOUNT, FSOPEN, FSCONFIG, FSMOUNT, MOUNT_SETATTR = 428, 429, 430, 431, 432, 442
AT_FDCWD = 0x100000000 - 100  # -100 as an int
AT_EMPTY_PATH, AT_RECURSIVE = 0x1000, 0x8000
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, 0o2000000
FSOPEN_CLOEXEC = FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE = 0, 1, 6
MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH = 0x04, 0x40
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8
MOUNT_ATTR_RELATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME = 0, 0x10, 0x20
MOUNT_ATTR__ATIME = 0x70  # the mask of those three, which is cleared whole when one of them is set
MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_IDMAP, MOUNT_ATTR_NOSYMFOLLOW = 0x80, 0x100000, 0x200000


class _Wide(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "Q"


_open_tree = _declare("syscall", _Long, _Long, _Text, _Long)
_move_mount = _declare("syscall", _Long, _Long, _Text, _Long, _Text, _Long)
_mount_setattr = _declare("syscall", _Long, _Long, _Text, _Long, _Pointer, _Long)
_fsopen = _declare("syscall", _Long, _Text, _Long)
_fsconfig = _declare("syscall", _Long, _Long, _Long, _Text, _Text, _Long)
_fsmount = _declare("syscall", _Long, _Long, _Long, _Long)


def open_tree(directory: str, recursive: bool = False) -> int:
    """open_tree(2), Linux 5.2: return a descriptor of another mount of a directory, which is not attached anywhere.

    recursive: with what is mounted below it.
    """
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return _checked(_open_tree(OPEN_TREE, AT_FDCWD, os.fsencode(directory), flags))


def mount_setattr(
    tree: int, attributes: int, propagation: int, recursive: bool = False, clear: int = 0, namespace: int = 0
) -> None:
    """mount_setattr(2), Linux 5.12: add attributes to a mount, or also to all below it, and change its propagation.

    clear: the attributes that are taken away before. namespace: descriptor of the user namespace whose ids a mount gets
    with MOUNT_ATTR_IDMAP.
    """
    wanted = (_Wide * 4)(attributes, clear, propagation, namespace)  # struct mount_attr
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    _checked(_mount_setattr(MOUNT_SETATTR, tree, b"", flags, _ctypes.addressof(wanted), 32))


def move_mount(tree: int, directory: int, name: str = "") -> None:
    """move_mount(2), Linux 5.2: attach what open_tree or fsmount returned on a directory, or on a name in it.

    A link of that name is not followed.
    """
    flags = MOVE_MOUNT_F_EMPTY_PATH | (0 if name else MOVE_MOUNT_T_EMPTY_PATH)
    _checked(_move_mount(MOVE_MOUNT, tree, b"", directory, os.fsencode(name), flags))


def fsopen(fstype: str) -> int:
    """fsopen(2), Linux 5.2: return a descriptor in which a file system is prepared."""
    return _checked(_fsopen(FSOPEN, os.fsencode(fstype), FSOPEN_CLOEXEC))


def fsmount(context: int, options: Sequence[tuple[str, str]]) -> int:
    """fsconfig(2) and fsmount(2), Linux 5.2: return a mount of what was prepared, which is not attached anywhere."""
    for key, value in options:
        kind = FSCONFIG_SET_STRING if value else FSCONFIG_SET_FLAG
        _checked(_fsconfig(FSCONFIG, context, kind, os.fsencode(key), os.fsencode(value) if value else None, 0))
    _checked(_fsconfig(FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0))
    return _checked(_fsmount(FSMOUNT, context, FSMOUNT_CLOEXEC, 0))
