"""Device nodes and links below a /dev that is the container's own."""

from __future__ import annotations

import os
import stat

from runjail import rootfs, steps
from runjail.errors import HostError, reason
from runjail.host.linux import libc
from runjail.host.linux.change import Change
from runjail.host.linux.mounts import mount_on, restrict_place

KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def make_nodes(change: Change, step: steps.DeviceNodes) -> None:
    """Create device nodes and links; what is already there stays."""
    root = rootfs.open_root(change.host_state.root)
    try:
        for node in step.nodes:
            _make_node(root, *node)
        for path, target in step.links:
            _make_link(root, path, target)
    except OSError as error:
        raise HostError(f"making devices below /dev: {reason(error)}") from error
    finally:
        os.close(root)


def _make_node(root: int, path: str, kind: str, major: int, minor: int, mode: int, uid: int, gid: int) -> None:
    place = rootfs.resolve(root, path, lambda *_made: None)
    try:
        if not place.mode():
            try:
                os.mknod(place.name, KINDS[kind] | mode, os.makedev(major, minor), dir_fd=place.parent)
            except PermissionError:
                _bind_node(place, path, KINDS[kind], os.makedev(major, minor))
                return
            os.chown(place.name, uid, gid, dir_fd=place.parent, follow_symlinks=False)
            os.chmod(place.name, mode, dir_fd=place.parent)
    finally:
        place.close()


def _bind_node(place: rootfs.ResolvedPath, path: str, kind: int, device: int) -> None:
    """Show the host's own node: read-only, so that its mode and owner cannot be changed; the device still works."""
    found = os.stat(path, follow_symlinks=False)
    if stat.S_IFMT(found.st_mode) != kind or found.st_rdev != device:
        raise HostError(f"making {path}: not allowed, and the host has another device there")
    os.close(os.open(place.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=place.parent))
    mount_on(place, path, None, libc.MS_BIND)
    restrict_place(place, libc.MS_RDONLY | libc.MS_NOSUID | libc.MS_NOEXEC)


def _make_link(root: int, path: str, target: str) -> None:
    directory, _, name = path.rpartition("/")
    place = rootfs.resolve(root, directory, lambda *_made: None)
    try:
        parent = place.open_directory()
        try:
            os.symlink(target, name, dir_fd=parent)
        except FileExistsError:
            pass
        finally:
            os.close(parent)
    finally:
        place.close()
