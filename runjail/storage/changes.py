"""What a container changed of its image's files: as paths, for every kind of store.

A container may be running and change its files while they are looked at: every directory is opened below the one above
it, and no link is followed.
"""

from __future__ import annotations

import errno
import os
import re
import stat

from runjail.errors import StorageError, reason
from runjail.rootfs import DIRECTORY
from runjail.storage.copy_tree import open_below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ADDED, CHANGED, DELETED = "A", "C", "D"  # docker's and podman's letters
Change = tuple[str, bytes]  # one of these, and a path below the root
DEEPEST = 400  # directories, a descriptor each
OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK)  # a link: ELOOP, or EMLINK on FreeBSD
_ESCAPE = re.compile(rb"\\(\d{4})")


def of_trees(before: str, after: str) -> list[Change]:
    """Compare a root with the tree that it was copied from, by what stat(2) says."""

    def find(top: int) -> Iterator[Change]:
        below = os.open(before, DIRECTORY)
        try:
            yield from _of_trees(below, top, b"", 0)
        finally:
            os.close(below)

    return _listed(find, after)


def of_overlay(lowers: list[str], upper: str) -> list[Change]:
    """Read the upper directory of an overlay. lowers: those below it, the highest first."""
    below = [os.fsencode(lower) for lower in lowers]
    return _listed(lambda top: _of_overlay(below, top, b"", 0), upper)


def of_zfs(lines: bytes, before: str, after: str) -> list[Change]:
    """Read what `zfs diff -FH` says of a file system at `after`, whose origin is mounted at `before`: zfs-diff(8).

    It tells one name of each file. Where a changed one has several, or had, the two trees are compared instead.
    """
    found = list(_places(lines, os.fsencode(after)))
    if _many_names(before, [names[0] for kind, names in found if kind != b"+"]):
        return of_trees(before, after)
    if _many_names(after, [names[-1] for kind, names in found if kind != b"-"]):
        return of_trees(before, after)
    return _sorted(_of_zfs(found, os.fsencode(after)), after)


def _listed(find: Callable[[int], Iterator[Change]], after: str) -> list[Change]:
    """Return what is found in an open directory, sorted by path. Raises StorageError."""
    try:
        top = os.open(after, DIRECTORY)
    except OSError as error:
        raise StorageError(f"cannot read {after}: {reason(error)}") from error
    try:
        return _sorted(find(top), after)
    finally:
        os.close(top)


def _sorted(found: Iterator[Change], where: str) -> list[Change]:
    try:
        return sorted(set(found), key=lambda change: change[1])
    except OSError as error:
        raise StorageError(f"cannot read {error.filename or where}: {reason(error)}") from error


def _inside(directory: int, name: bytes, depth: int) -> int:
    """Open a directory that was there a moment ago; -1 when it is gone by now, or something else."""
    if depth > DEEPEST:
        raise StorageError(f"more than {DEEPEST} levels of directories")
    try:
        return os.open(name, DIRECTORY, dir_fd=directory)
    except OSError as error:
        if error.errno in GONE:
            return -1
        raise


def _look(directory: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _names(directory: int) -> set[bytes]:
    return set(map(os.fsencode, os.listdir(directory)))


# Two trees --------------------------------------------------------------------------------------------------------


def _of_trees(before: int, after: int, above: bytes, depth: int) -> Iterator[Change]:
    """Yield how two open directories differ. before: -1 for one that was not there."""
    were, are = _names(before) if before >= 0 else set(), _names(after)
    yield from ((DELETED, above + name) for name in were - are)
    if before >= 0 and were != are and above:  # whatever its time says, which may be set back, or kept by FUSE
        yield CHANGED, above[:-1]
    for name in are:
        now, was = _look(after, name), _look(before, name) if before >= 0 else None
        if now is None:
            continue
        if was is None or stat.S_IFMT(was.st_mode) != stat.S_IFMT(now.st_mode):
            yield ADDED if was is None else CHANGED, above + name
            was = None
        elif _differ(was, now) or (stat.S_ISLNK(now.st_mode) and _target(before, name) != _target(after, name)):
            yield CHANGED, above + name
        if stat.S_ISDIR(now.st_mode):
            yield from _of_subtrees(before if was else -1, after, name, above + name + b"/", depth + 1)


def _of_subtrees(before: int, after: int, name: bytes, above: bytes, depth: int) -> Iterator[Change]:
    inner = _inside(after, name, depth)
    if inner < 0:
        return
    try:
        if os.fstat(inner).st_dev != os.fstat(after).st_dev:  # something is mounted there
            return
        outer = _inside(before, name, depth) if before >= 0 else -1
        try:
            yield from _of_trees(outer, inner, above, depth)
        finally:
            if outer >= 0:
                os.close(outer)
    finally:
        os.close(inner)


def _differ(was: os.stat_result, now: os.stat_result) -> bool:
    if (was.st_mode, was.st_uid, was.st_gid, was.st_rdev) != (now.st_mode, now.st_uid, now.st_gid, now.st_rdev):
        return True
    if stat.S_ISLNK(now.st_mode):
        return False
    return was.st_mtime_ns != now.st_mtime_ns or (stat.S_ISREG(now.st_mode) and was.st_size != now.st_size)


def _target(directory: int, name: bytes) -> bytes:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError:  # gone by now, or something else
        return b""


# An overlay's upper directory -------------------------------------------------------------------------------------


def _of_overlay(lowers: list[bytes], directory: int, above: bytes, depth: int) -> Iterator[Change]:
    for name in _names(directory):
        found, path = _look(directory, name), above + name
        if found is None:
            continue
        was = _lower(lowers, path)
        if _is_whiteout(found):
            if was:
                yield DELETED, path
            continue
        yield CHANGED if was else ADDED, path
        if not stat.S_ISDIR(found.st_mode):
            continue
        inner = _inside(directory, name, depth + 1)
        if inner < 0:
            continue
        try:
            if _is_opaque(inner):
                yield from ((DELETED, path + b"/" + gone) for gone in _children(lowers, path) - _names(inner))
            yield from _of_overlay(lowers, inner, path + b"/", depth + 1)
        finally:
            os.close(inner)


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _is_opaque(directory: int | bytes) -> bool:
    for name in OPAQUE:
        try:
            if os.getxattr(directory, name) == b"y":  # Linux has overlays and this function
                return True
        except OSError:
            continue
    return False


def _lower(lowers: list[bytes], path: bytes) -> bool:
    """Tell whether there is a path in the layers below, as an overlay of them shows it."""
    for lower in lowers:
        place, hides, is_directory = lower, False, True
        for name in path.split(b"/"):
            if not is_directory:  # a link or file, which hides what layers below it have there
                return False
            hides = hides or _is_opaque(place)
            place += b"/" + name
            try:
                found = os.lstat(place)
            except FileNotFoundError:
                break
            if _is_whiteout(found):
                return False
            is_directory = stat.S_ISDIR(found.st_mode)
        else:
            return True
        if hides:
            return False
    return False


def _children(lowers: list[bytes], path: bytes) -> set[bytes]:
    """Return the names in a directory of the layers below."""
    names: set[bytes] = set()
    for lower in lowers:
        try:
            names.update(map(os.fsencode, os.listdir(lower + b"/" + path)))
        except (FileNotFoundError, NotADirectoryError):
            continue
    return {name for name in names if _lower(lowers, path + b"/" + name)}


# ZFS --------------------------------------------------------------------------------------------------------------


def _places(lines: bytes, root: bytes) -> Iterator[tuple[bytes, list[bytes]]]:
    """Yield what was done and to which names below the root: two of what was renamed."""
    for line in lines.splitlines():
        kind, _type, *places = line.split(b"\t")
        if not places[-1].startswith(b"/"):  # by how much its number of names has changed: "(+1)"
            places.pop()
        paths = [_ESCAPE.sub(lambda code: bytes([int(code[1], 8)]), place) for place in places]
        if any(b"<xattrdir>" in path or not path.startswith(root + b"/") for path in paths):
            continue
        names = [path[len(root) + 1 :] for path in paths]
        if all(names):  # not the root itself
            yield kind, names


def _many_names(tree: str, paths: list[bytes]) -> bool:
    """Tell whether one of these is a file with several names."""
    top = os.open(tree, DIRECTORY)
    try:
        return any(_has_many_names(top, path) for path in paths)
    finally:
        os.close(top)


def _has_many_names(top: int, path: bytes) -> bool:
    above, _, name = path.rpartition(b"/")
    try:
        directory = open_below(top, os.fsdecode(above))
    except OSError:  # gone by now, or a link
        return False
    try:
        found = _look(directory, name)
        return found is not None and not stat.S_ISDIR(found.st_mode) and found.st_nlink > 1
    finally:
        os.close(directory)


def _of_zfs(found: list[tuple[bytes, list[bytes]]], root: bytes) -> Iterator[Change]:
    for kind, names in found:
        if kind == b"R":
            yield DELETED, names[0]
            yield from _whole(root, names[1])
        else:
            yield {b"+": ADDED, b"-": DELETED}.get(kind, CHANGED), names[0]


def _whole(root: bytes, name: bytes) -> Iterator[Change]:
    """Yield a renamed entry and, of a directory, all that is in it: zfs says that only of the directory."""
    yield ADDED, name
    top = os.open(root, DIRECTORY)
    try:
        directory = open_below(top, os.fsdecode(name))
    except OSError:  # no directory, or gone by now
        return
    finally:
        os.close(top)
    try:
        yield from _of_trees(-1, directory, name + b"/", name.count(b"/") + 1)
    finally:
        os.close(directory)
