"""Whose a mount is, where containers share a root directory.

A mount of one is then seen by all of them. Each mount is written down, machine-wide and until the next boot, with the
state directory of the container that it was made for. Who goes takes back its own; what others keep busy is left
without an owner, to the last one of that root. All of it happens under the lock `mounts`. What is about to be mounted
is written down before, so that the next one who has the lock knows whose it is if its maker was killed meanwhile.
"""

from __future__ import annotations

import os

from runjail import jsonio
from runjail.host.freebsd import lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runjail.host.freebsd.libc import Libc
    from runjail.host.freebsd.structs import MountEntry

NOBODY = ""
DIRECTORY = "runjail-mounts"


def token(state: str) -> str:
    """Return what a container is written down by: its state directory, which no later one can be taken for."""
    path = os.path.realpath(state)
    try:
        return f"{path}:{os.stat(path).st_ino}"
    except OSError:  # the container is gone, so the mount has no owner
        return f"{path}:"


def write(fsid: Sequence[int], boot: str, owner: str) -> None:
    """Write down whose a mount is."""
    path = _path(fsid, boot)
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(owner)


def intend(mounts: Sequence[MountEntry], path: str, boot: str, owner: str) -> None:
    """Write down for whom something will be mounted on a path. mounts: what is mounted now."""
    there = [list(mounted.fsid) for mounted in mounts if mounted.path == path]
    os.makedirs(f"{lock.DIRECTORY}/{DIRECTORY}", 0o700, exist_ok=True)
    with open(_intended(boot), "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(jsonio.dumps({"path": path, "there": there, "owner": owner}))


def done(boot: str) -> None:
    """It is mounted, and its owner written down."""
    os.unlink(_intended(boot))


def settle(libc: Libc, boot: str) -> None:
    """Write down whose a mount is whose maker was killed before it could."""
    try:
        with open(_intended(boot), encoding="utf-8", errors="surrogateescape") as file:
            meant = jsonio.loads(file.read())
        for mounted in libc.mounts():
            made = mounted.path == meant["path"] and list(mounted.fsid) not in meant["there"]
            if made and read(mounted.fsid, boot) is None:
                write(mounted.fsid, boot, meant["owner"])
    except FileNotFoundError:
        return
    except ValueError:  # killed while writing it: nothing was mounted
        pass
    done(boot)


def leave(fsid: Sequence[int], boot: str) -> None:
    """Let a mount belong to nobody, unless it is gone."""
    if os.path.exists(_path(fsid, boot)):
        write(fsid, boot, NOBODY)


def forget(fsid: Sequence[int], boot: str) -> None:
    """Forget a mount that is gone."""
    try:
        os.unlink(_path(fsid, boot))
    except FileNotFoundError:
        pass


def forget_gone(mounts: Sequence[MountEntry], boot: str) -> None:
    """Forget every mount that is gone: who unmounted it was killed before that was written down, or is no container.

    mounts: what is mounted now.
    """
    directory, start = os.path.split(_start(boot))
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return
    there = {_intended(boot), *(_path(mounted.fsid, boot) for mounted in mounts)}
    for name in names:
        if name.startswith(start) and f"{directory}/{name}" not in there:
            os.unlink(f"{directory}/{name}")


def read(fsid: Sequence[int], boot: str) -> str | None:
    """Return whose a mount is: NOBODY's when its owner left it or is gone, None when no container made it."""
    try:
        with open(_path(fsid, boot), encoding="utf-8", errors="surrogateescape") as file:
            owner = file.read()
    except FileNotFoundError:
        return None
    return owner if owner == token(owner.rpartition(":")[0]) else NOBODY


def _path(fsid: Sequence[int], boot: str) -> str:
    return f"{_start(boot)}{fsid[0]}.{fsid[1]}"


def _intended(boot: str) -> str:
    return f"{_start(boot)}mounting"


def _start(boot: str) -> str:
    """Return what all paths of one boot start with."""
    return f"{lock.DIRECTORY}/{DIRECTORY}/{boot.replace(' ', '-')}."


def choose(libc: Libc, found: Sequence[MountEntry], root: str, boot: str, owner: str) -> tuple[list[MountEntry], bool]:
    """Return which of the mounts below a root `owner` may take away, and whether no other container has this root.

    Its own; and, where it is alone, what belongs to nobody.
    """
    owners = {mounted.fsid: read(mounted.fsid, boot) for mounted in found}
    alone = all(other in (None, NOBODY, owner) for other in owners.values())
    alone = alone and not any(prison.path == root for prison in libc.jails())
    return [mounted for mounted in found if alone or owners[mounted.fsid] == owner], alone
