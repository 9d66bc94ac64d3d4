"""The words of mounts[].options, and what becomes of each.

A word sets or clears a mount flag, names a propagation, is a file system's own `key` or `key=value`, or belongs to the
other operating system. Of words that contradict each other the later one wins, as mount(8) has it.
"""

from __future__ import annotations

from runjail.sizes import read_number, read_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Check = Callable[[str], str]  # the value as the kernel wants it; raises ValueError with a short reason

FREEBSD_FLAGS = frozenset(("ro", "nosuid", "noexec", "noatime", "nosymfollow", "sync"))
BIND_FLAGS = FREEBSD_FLAGS | {"nodev", "dirsync", "mand", "nodiratime", "relatime", "strictatime"}
LINUX_FLAGS = BIND_FLAGS | {"acl", "iversion", "lazytime"}  # these of a file system, which a bind mount leaves as it is
CLEARS = {
    "rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec", "async": "sync", "nomand": "mand",
    "atime": "noatime", "diratime": "nodiratime", "norelatime": "relatime", "nostrictatime": "strictatime",
    "symfollow": "nosymfollow", "noacl": "acl", "noiversion": "iversion", "nolazytime": "lazytime",
}  # fmt: skip
# What mount_setattr(2) gives to a mount and all below it: `rro` is `ro` for the submounts too.
RECURSIVE = frozenset((
    "rro", "rrw", "rnosuid", "rsuid", "rnodev", "rdev", "rnoexec", "rexec", "rnoatime", "ratime", "rrelatime",
    "rnorelatime", "rstrictatime", "rnostrictatime", "rnodiratime", "rdiratime", "rnosymfollow", "rsymfollow",
))  # fmt: skip
PROPAGATION = frozenset(f"{deep}{word}" for deep in ("", "r") for word in ("private", "shared", "slave", "unbindable"))
MAPPED = frozenset(("idmap", "ridmap"))  # of bind mounts: ids of their own, for the mount or for all below it as well
COPY_UP = frozenset(("tmpcopyup", "notmpcopyup"))  # of tmpfs: begin with what the image has there
WORDS = LINUX_FLAGS | CLEARS.keys() | RECURSIVE | PROPAGATION | COPY_UP | {"defaults", "silent", "loud", "noswap"}
DEVFS_KEYS = frozenset(("ruleset", "rule"))
LAST_RULESET = 65535  # of devfs(8)
NEUTRAL = frozenset(("defaults", "silent", "loud"))
# Clients written for Linux send these to every host. FreeBSD has nothing they could change: devices outside devfs
# never work, access times are on or off, and mounts do not propagate.
LINUX_ONLY_IGNORED = PROPAGATION | frozenset((
    "nodev", "dev", "relatime", "norelatime", "strictatime", "nostrictatime", "nodiratime", "diratime", "lazytime",
    "nolazytime", "dirsync", "mand", "nomand", "iversion", "noiversion", "noswap",
))  # fmt: skip


def switch(word: str, known: Iterable[str], flags: list[str]) -> bool:
    """Set or clear the flag that `word` stands for. False when it stands for none of `known`."""
    flag = CLEARS.get(word, word)
    if flag not in known:
        return False
    if flag in flags:
        flags.remove(flag)
    if flag == word:
        flags.append(flag)
    return True


def add_recursive(word: str, flags: list[str]) -> None:
    """Remember a word of RECURSIVE; of two about the same attribute the later one counts."""
    about = CLEARS.get(word[1:], word[1:])
    flags[:] = [other for other in flags if CLEARS.get(other[1:], other[1:]) != about]
    flags.append(word)


def bare(value: str) -> str:
    """Check a word that takes no value."""
    if value:
        raise ValueError("takes no value")
    return ""


def size(value: str) -> str:
    """Check a number of bytes such as `65536k`: tmpfs reads everything else as "unlimited"."""
    expand(value)
    return value


def octal(value: str) -> str:
    """Check permission bits such as `1777`: tmpfs ignores what it cannot read."""
    if not value or value.strip("01234567") or int(value, 8) > 0o7777:
        raise ValueError("must be an octal mode such as 1777")
    return value


def number(value: str) -> str:
    """Check a plain decimal number below 2**32 - 1 (which the kernel reads as -1)."""
    if read_number(value, 2**32 - 2) is None:
        raise ValueError("must be a decimal number")
    return value


def expand(value: str) -> int:
    """Return the bytes meant by `64m`, `1G` or `4096`. Raises ValueError."""
    count = read_size(value)
    if count is None:
        raise ValueError("must be a number of bytes such as 65536, 64k, 512m or 1g")
    return count
