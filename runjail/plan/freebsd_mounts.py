"""mounts[] for FreeBSD: every entry becomes one nmount(2) below the container's root, in listed order.

Of the file systems only nullfs, procfs, linprocfs, fdescfs and zfs swallow options that they do not know; tmpfs and
devfs refuse them, and tmpfs takes a wrong size for "unlimited". So each word is checked here, and an unknown one is
an error with its address.
"""

from __future__ import annotations

from runjail import steps
from runjail.plan import mount_options
from runjail.plan.paths import absolute, destination
from runjail.sizes import read_number
from runjail.spec import model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_RULESET = 4  # devfsrules_jail of /etc/defaults/devfs.rules
TYPES: dict[str, dict[str, mount_options.Check]] = {
    "nullfs": {"cache": mount_options.bare, "nocache": mount_options.bare},
    "tmpfs": {
        "size": mount_options.size, "inodes": mount_options.size, "maxfilesize": mount_options.size,
        "mode": mount_options.octal, "uid": mount_options.number, "gid": mount_options.number,
        "nomtime": mount_options.bare, "nonc": mount_options.bare, "pgread": mount_options.bare,
    },
    "devfs": {},
    "fdescfs": {"linrdlnk": mount_options.bare, "rdlnk": mount_options.bare, "nodup": mount_options.bare},
    "procfs": {},
    "linprocfs": {},
    "linsysfs": {},
    "zfs": {},
}  # fmt: skip
INSTEAD = {"proc": "linprocfs (or procfs)", "sysfs": "linsysfs", "overlay": "nullfs", "ramfs": "tmpfs"}
RENAMED = {"nr_inodes": "inodes"}  # Linux words for the same thing
ZFS_NAMES = {"ro": "ro", "nosuid": "nosetuid", "noexec": "noexec", "noatime": "noatime"}


def translate(mounts: Sequence[model.Mount], bundle: str, problems: list[str]) -> tuple[steps.Mount, ...]:
    """Return the Mount steps for mounts[]; what cannot be done is added to problems with its JSON path."""
    translated = [_Entry(mount, f"mounts[{i}]", problems).step(bundle) for i, mount in enumerate(mounts)]
    return tuple(step for step in translated if step)


def kind(mount: model.Mount) -> str:
    """Return the file system type; an option that asks for a bind mount beats the type, as the specification says."""
    if mount.bind:
        return "nullfs"
    return mount.type


class _Entry:
    """One entry of mounts[] while its words are sorted."""

    def __init__(self, mount: model.Mount, where: str, problems: list[str]) -> None:
        self.mount, self.where, self.problems = mount, where, problems
        self.fstype = kind(mount)
        self.flags: list[str] = []
        self.data: dict[str, str] = {}
        self.rules: list[str] = []
        self.ruleset = DEFAULT_RULESET
        self.copy_up = self.recursive = False

    def step(self, bundle: str) -> steps.Mount | None:
        """Return the step, None when there are problems with it."""
        before = len(self.problems)
        place = destination(self.mount, self.where, self.problems)
        if self.fstype not in TYPES:
            self._refuse_type()
            return None
        for index, text in enumerate(self.mount.options):
            try:
                self._take(text)
            except ValueError as error:
                self.problems.append(f"{self.where}.options[{index}]: {text!r}: {error}")
        source = self._source(bundle)
        if len(self.problems) > before:
            return None
        if self.fstype == "zfs":
            # ZFS looks at named options only, never at flag bits, and has a word of its own for nosuid.
            self.data.update((ZFS_NAMES[flag], "") for flag in self.flags if flag in ZFS_NAMES)
        return steps.Mount(
            self.fstype,
            source,
            place,
            flags=tuple(self.flags),
            data=tuple(self.data.items()),
            ruleset=self.ruleset if self.fstype == "devfs" else None,
            rules=tuple(self.rules),
            copy_up=self.copy_up,
            recursive=self.recursive,
            entry=self.where,
        )

    def _refuse_type(self) -> None:
        instead = INSTEAD.get(self.fstype)
        hint = f"use {instead}" if instead else f"use one of {', '.join(TYPES)}"
        self.problems.append(f"{self.where}.type: FreeBSD cannot mount {self.fstype!r} in a container; {hint}")

    def _source(self, bundle: str) -> str:
        source = self.mount.source
        if self.fstype not in ("nullfs", "zfs"):
            return source or self.fstype
        if not source:
            self.problems.append(f"{self.where}.source: must name what to mount")
        if self.fstype == "nullfs":
            return absolute(source, bundle)
        if source.startswith("/"):
            self.problems.append(f"{self.where}.source: must be a dataset, not a path")
        return source

    def _take(self, text: str) -> None:
        """Sort one word. Raises ValueError when it means nothing here."""
        key, _, value = text.partition("=")
        key = RENAMED.get(key, key)
        if text in mount_options.RECURSIVE:  # flags go to the submounts of a bind anyway: each is a mount of ours
            text = key = text[1:]
        if text in model.BINDS:
            self.recursive = self.recursive or text == "rbind"
        elif (
            mount_options.switch(text, mount_options.FREEBSD_FLAGS, self.flags)
            or text in mount_options.LINUX_ONLY_IGNORED | mount_options.NEUTRAL
        ):
            pass
        elif key in TYPES[self.fstype]:
            self.data.pop(key, None)
            self.data[key] = TYPES[self.fstype][key](value)
        elif self.fstype == "tmpfs" and text in mount_options.COPY_UP:
            self.copy_up = text == "tmpcopyup"
        elif self.fstype == "devfs" and key in mount_options.DEVFS_KEYS and value:
            self._take_devfs(key, value)
        else:
            raise ValueError(f"not an option of {self.fstype}")

    def _take_devfs(self, key: str, value: str) -> None:
        if key == "ruleset":
            number = read_number(value, mount_options.LAST_RULESET)
            if number is None:
                raise ValueError(f"must be a ruleset number from 0 to {mount_options.LAST_RULESET}")
            self.ruleset = number
        else:
            from runjail.plan.freebsd_devfs import check_rule

            self.rules += check_rule(value)
