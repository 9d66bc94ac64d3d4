"""What a Linux container is not to see or to change: linux.maskedPaths and linux.readonlyPaths.

What covers a masked path is a file or directory of ours that is empty and on a read-only file system. The host's
/dev/null would do as well, but for one thing: who may change its mode inside changes the host's.
"""

from __future__ import annotations

import os
import stat

from runjail import rootfs, steps
from runjail.errors import HostError, reason
from runjail.host.linux import libc
from runjail.host.linux.change import Change
from runjail.host.linux.mounts import PATH_ONLY, mount_on, restrict_place

PROTECTED = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC


def mask_paths(change: Change, step: steps.MaskPaths) -> None:
    """Cover masked paths with nothing and make others read-only; what does not exist needs neither."""
    root = rootfs.open_root(change.host_state.root)
    try:
        if step.masked:
            _mask(root, step.masked, change.host_state.root)
        for path in step.readonly:
            _make_readonly(root, path)
    finally:
        os.close(root)


def _mask(root: int, paths: tuple[str, ...], where: str) -> None:
    """Cover each path, with the root's own mount as the place to keep what covers them meanwhile.

    The root is a mount of this namespace alone, so that nobody else ever sees that; `root` was opened below it.
    """
    libc.mount("tmpfs", where, "tmpfs", PROTECTED, "mode=755,nr_inodes=3,size=4k")
    try:
        top = rootfs.open_root(where)
        try:
            os.mkdir("directory", 0o755, dir_fd=top)
            os.close(os.open("file", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=top))
            empty = f"/proc/self/fd/{top}"
            libc.mount(None, empty, None, libc.MS_REMOUNT | libc.MS_RDONLY | PROTECTED)
            for path in paths:
                _cover(root, path, empty)
        finally:
            os.close(top)
    finally:
        libc.umount(where, libc.MNT_DETACH)


def _cover(root: int, path: str, empty: str) -> None:
    place = _existing(root, path)
    if not place:
        return
    try:
        mount_on(place, f"{empty}/{'directory' if stat.S_ISDIR(place.mode()) else 'file'}", None, libc.MS_BIND)
    except OSError as error:
        raise HostError(f"masking {path}: {reason(error)}") from error
    finally:
        place.close()


def _make_readonly(root: int, path: str) -> None:
    place = _existing(root, path)
    if not place:
        return
    try:
        descriptor = os.open(place.name, PATH_ONLY, dir_fd=place.parent)
        try:
            if os.fstat(descriptor).st_dev == os.fstat(place.parent).st_dev:  # no mount yet that could be read-only
                name = f"/proc/self/fd/{descriptor}"
                libc.mount(name, name, None, libc.MS_BIND | libc.MS_REC)
        finally:
            os.close(descriptor)
        restrict_place(place, libc.MS_RDONLY)
    except OSError as error:
        raise HostError(f"making {path} read-only: {reason(error)}") from error
    finally:
        place.close()


def _existing(root: int, path: str) -> rootfs.ResolvedPath | None:
    try:
        place = rootfs.resolve(root, path)
    except OSError:
        return None
    if not place.mode():
        place.close()
        return None
    return place
