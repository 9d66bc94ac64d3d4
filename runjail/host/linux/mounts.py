"""Mounts of a Linux container, made by its init before pivot_root.

Every target is resolved by `rootfs` and mounted on through /proc/self/fd, so that no link in the image can lead a
mount astray.
"""

from __future__ import annotations

import errno
import os
import stat

from runjail import rootfs
from runjail.errors import HostError, reason
from runjail.host.linux import libc
from runjail.host.linux import root as linux_root
from runjail.host.linux.change import Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail import steps

FLAGS = {
    "ro": libc.MS_RDONLY,
    "nosuid": libc.MS_NOSUID,
    "nodev": libc.MS_NODEV,
    "noexec": libc.MS_NOEXEC,
    "sync": libc.MS_SYNCHRONOUS,
    "dirsync": libc.MS_DIRSYNC,
    "mand": libc.MS_MANDLOCK,
    "noatime": libc.MS_NOATIME,
    "nodiratime": libc.MS_NODIRATIME,
    "relatime": libc.MS_RELATIME,
    "strictatime": libc.MS_STRICTATIME,
    "nosymfollow": libc.MS_NOSYMFOLLOW,
    "acl": libc.MS_POSIXACL,
    "iversion": libc.MS_I_VERSION,
    "lazytime": libc.MS_LAZYTIME,
}
KEPT = libc.MS_RDONLY | libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC  # statvfs(3) shows them by the same bits
KERNELS = ("proc", "sysfs")  # whoever could move them from their places would see what is to be concealed in them
OWN_DEVICES = ("tmpfs", "devpts")  # a container that cannot make device files has in them what was made for it
PATH_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
CGROUPS = "/sys/fs/cgroup"
OF_CGROUPS = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
OWNERS = {"proc": "pid", "sysfs": "network", "mqueue": "ipc"}  # whose root alone may mount it
ATTEMPTS = 5  # at a mount point that goes away


def mount(change: Change, step: steps.Mount) -> None:
    """Perform one Mount step below the root. Raises HostError."""
    try:
        root = rootfs.open_root(change.host_state.root)
        try:
            for attempt in range(ATTEMPTS):
                try:
                    _mount_below(root, change, step)
                    break
                except FileNotFoundError:  # another container with this root took back the mount point that it had made
                    if attempt + 1 == ATTEMPTS or (step.fstype == "bind" and not os.path.lexists(step.source)):
                        raise
        finally:
            os.close(root)
    except OSError as error:
        from runjail.host.linux import rights

        what = f"{step.source} " if step.fstype == "bind" or step.source.startswith("/") else ""
        hint = rights.hint(error) if error.errno == errno.EPERM else _advice(step, error.errno)
        if hint and change.root.user and step.fstype in OWNERS:
            hint = f"in a user namespace {step.fstype} takes a new {OWNERS[step.fstype]} namespace, or a bind mount"
        told = step.told(_part(step, error.errno))
        raise HostError(f"{told}mounting {what}({step.fstype}) on {step.destination}: {reason(error)}", hint) from error


def _part(step: steps.Mount, number: int | None) -> str:
    """Return which part of an entry of mounts[] an error is about, "" where the kernel does not let us know."""
    if step.source.startswith("/") and not os.path.lexists(step.source):
        return "source"
    if number in (errno.ENOTDIR, errno.ENOENT, errno.ELOOP, errno.EROFS):
        return "destination"
    if number == errno.ENODEV:
        return "type"
    return "options" if number == errno.EINVAL and step.data else ""


def _advice(step: steps.Mount, number: int | None) -> str | None:
    """Return what mends a mount that the kernel did not take."""
    if number == errno.ENOENT and not os.path.lexists(step.source) and step.source.startswith("/"):
        return f"{step.source} has to be on the host"
    if number == errno.EINVAL and step.data:
        words = ", ".join(f"{key}={value}" if value else key for key, value in step.data)
        return f"of its options {step.fstype} has to know {words}"
    if number == errno.ENODEV:
        return f"the kernel has no file system {step.fstype}; /proc/filesystems shows those it has"
    return None


def _mount_below(root: int, change: Change, step: steps.Mount) -> None:
    tree = change.root.trees.get(id(step), -1)
    directory = step.fstype != "bind" or os.path.isdir(f"/proc/self/fd/{tree}" if tree >= 0 else step.source)
    place, made = change.root.points.find(root, step.destination, directory, change.note)
    try:
        if step.fstype in KERNELS and place.path != os.path.normpath(step.destination).strip("/"):
            what = f"mounting {step.fstype} on {step.destination}"
            raise HostError(f"{step.told('destination')}{what}: it is a symbolic link in the image")
        _mount_at(root, place, change, step, 0 if made else place.mode())
    finally:
        place.close()


def _mount_at(root: int, place: rootfs.ResolvedPath, change: Change, step: steps.Mount, mode: int) -> None:
    """Mount on a place of the image's, whose st_mode is `mode`, or on one that we made, where `mode` is 0."""
    covered = place.open_directory() if step.copy_up else -1
    _mount_kind(place, change, step, mode)
    if step.copy_up:
        filled = place.open_directory()
        rootfs.copy_covered(root, covered, filled)
        os.close(filled)
        os.close(covered)
    if _flag_bits(step) and step.fstype in ("bind", "proc"):
        restrict_place(place, _flag_bits(step))
    strict = change.host_state.lacks_policy() and step.fstype not in OWN_DEVICES and stat.S_ISDIR(place.mode())
    if step.propagation or strict:
        descriptor = os.open(place.name, PATH_ONLY, dir_fd=place.parent)
        try:
            if strict:
                forbid_devices(f"/proc/self/fd/{descriptor}")
            for word in step.propagation:
                linux_root.propagate(f"/proc/self/fd/{descriptor}", word)
        finally:
            os.close(descriptor)
    if step.recursive_flags:
        _set_recursively(place, step.recursive_flags)


def _mount_kind(place: rootfs.ResolvedPath, change: Change, step: steps.Mount, mode: int) -> None:
    """Mount as the file system type demands."""
    host_state, pids = change.host_state, change.root.pids
    if step.fstype.startswith("cgroup"):
        _mount_cgroups(place, change, step, mode)
    elif id(step) in change.root.trees:
        from runjail.host.linux import libc_mounts

        libc_mounts.move_mount(change.root.trees[id(step)], place.parent, place.name)
    elif step.fstype == "bind":
        mount_on(place, step.source, None, libc.MS_BIND | (libc.MS_REC if step.recursive else 0))
    elif step.fstype == "proc" and pids >= 0:
        from runjail.host.linux import proc

        proc.mount_on(place, pids, host_state.root, step.data)
    else:
        data = [f"{key}={value}" if value else key for key, value in step.data]
        if step.fstype == "tmpfs" and mode:  # as on FreeBSD: who may do what stays as the image says
            data.insert(0, f"mode={stat.S_IMODE(mode):o}")  # of two modes the later counts
        flags = _flag_bits(step) & ~(libc.MS_RDONLY if step.fstype == "tmpfs" else 0)  # that is left to MaskPaths
        mount_on(place, step.source or step.fstype, step.fstype, flags, ",".join(data))
        if step.label:
            _label(place, step.label)


def _label(place: rootfs.ResolvedPath, label: str) -> None:
    """Label the root directory of what is mounted on a place: message queues take no option for it, as in runc."""
    descriptor = os.open(place.name, PATH_ONLY, dir_fd=place.parent)
    try:
        os.setxattr(f"/proc/self/fd/{descriptor}", "security.selinux", label.encode())
    finally:
        os.close(descriptor)


def _set_recursively(place: rootfs.ResolvedPath, words: tuple[str, ...]) -> None:
    """Set and clear attributes of the mount on a place and of all below it. Raises HostError before Linux 5.12."""
    from runjail.host.linux import libc_mounts

    wanted, clear = _attributes(words)
    descriptor = os.open(place.name, PATH_ONLY, dir_fd=place.parent)
    try:
        libc_mounts.mount_setattr(descriptor, wanted, 0, recursive=True, clear=clear)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            raise HostError(f"{', '.join(words)}: this kernel cannot do it", "it takes Linux 5.12") from error
        raise
    finally:
        os.close(descriptor)


def _attributes(words: tuple[str, ...]) -> tuple[int, int]:
    """Return the bits of mount_setattr(2) that mount options such as `rro` set and clear."""
    from runjail.host.linux import libc_mounts

    times = {"noatime": libc_mounts.MOUNT_ATTR_NOATIME, "strictatime": libc_mounts.MOUNT_ATTR_STRICTATIME}
    setting = {
        "ro": libc_mounts.MOUNT_ATTR_RDONLY,
        "nosuid": libc_mounts.MOUNT_ATTR_NOSUID,
        "nodev": libc_mounts.MOUNT_ATTR_NODEV,
        "noexec": libc_mounts.MOUNT_ATTR_NOEXEC,
        "nodiratime": libc_mounts.MOUNT_ATTR_NODIRATIME,
        "nosymfollow": libc_mounts.MOUNT_ATTR_NOSYMFOLLOW,
    }
    clearing = {"rw": "ro", **{flag.removeprefix("no"): flag for flag in setting if flag.startswith("no")}}
    wanted = clear = 0
    for word in (recursive[1:] for recursive in words):
        if word in setting:
            wanted |= setting[word]
        elif word in clearing:
            clear |= setting[clearing[word]]
        else:  # of the three kinds of access times one is in force; relatime is what is left without the others
            clear |= libc_mounts.MOUNT_ATTR__ATIME
            wanted |= times.get(word, libc_mounts.MOUNT_ATTR_RELATIME)
    return wanted, clear


def _flag_bits(step: steps.Mount) -> int:
    bits = 0
    for word in step.flags:
        bits |= FLAGS[word]
    return bits


def mount_on(
    place: rootfs.ResolvedPath, source: str | None, fstype: str | None, flags: int, data: str | None = None
) -> None:
    """mount(2) on a resolved place; opened anew each time, since each mount covers the one before."""
    descriptor = os.open(place.name, PATH_ONLY, dir_fd=place.parent)
    try:
        libc.mount(source, f"/proc/self/fd/{descriptor}", fstype, flags, data)
    finally:
        os.close(descriptor)


def restrict(target: str, flags: int) -> None:
    """Add flags to one mount, which keeps those that it has: the kernel would take away what is not named again."""
    kept = os.statvfs(target).f_flag & KEPT
    libc.mount(None, target, None, libc.MS_REMOUNT | libc.MS_BIND | kept | flags)


def forbid_devices(target: str) -> None:
    """Let device files do nothing on a mount and, since Linux 5.12, on all below it."""
    from runjail.host.linux.libc_mounts import MOUNT_ATTR_NODEV, mount_setattr

    descriptor = os.open(target, os.O_PATH | os.O_CLOEXEC)
    try:
        mount_setattr(descriptor, MOUNT_ATTR_NODEV, 0, recursive=True)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        restrict(target, libc.MS_NODEV)
    finally:
        os.close(descriptor)


def restrict_place(place: rootfs.ResolvedPath, flags: int) -> None:
    """Do as `restrict` does to the mount on a resolved place."""
    descriptor = os.open(place.name, PATH_ONLY, dir_fd=place.parent)
    try:
        restrict(f"/proc/self/fd/{descriptor}", flags)
    finally:
        os.close(descriptor)


def _mount_cgroups(place: rootfs.ResolvedPath, change: Change, step: steps.Mount, mode: int) -> None:
    """Show the container its own control group: one tree (v2), or a tmpfs with one mount a hierarchy (v1), as runc.

    The tmpfs can be written, its mounts only without `ro`: a container that could write there would raise its limits.
    """
    from runjail.host.linux import cgroups

    own, flags = change.host_state.cgroup, _flag_bits(step)
    if cgroups.unified():
        mount_on(place, f"{CGROUPS}/{own}", None, libc.MS_BIND)
        if flags:
            restrict_place(place, flags)
        return
    mount_on(place, "tmpfs", "tmpfs", OF_CGROUPS, "mode=755" + (f',context="{step.label}"' if step.label else ""))
    top = place.open_directory()
    try:
        os.fchmod(top, stat.S_IMODE(mode) or 0o755)  # as what it covers
        for name in cgroups.mounted() if own else []:
            os.mkdir(name, 0o755, dir_fd=top)
            group = rootfs.ResolvedPath(top, name, name)
            if not (change.root.cgroups and _mount_hierarchy(group, flags & libc.MS_RDONLY)):
                mount_on(group, f"{CGROUPS}/{name}/{own}", None, libc.MS_BIND)
                if flags:
                    restrict_place(group, flags)
            for part in name.split(",") if "," in name else ():
                os.symlink(name, part, dir_fd=top)
    finally:
        os.close(top)


def _mount_hierarchy(place: rootfs.ResolvedPath, flags: int) -> bool:
    """Mount a hierarchy of v1 in a cgroup namespace, whose root it shows. False where a user namespace may not."""
    source, words = ("systemd", "name=systemd") if place.name == "systemd" else ("cgroup", place.name)
    try:
        mount_on(place, source, "cgroup", OF_CGROUPS | flags, words)
    except PermissionError:
        return False
    return True
