"""The steps of a plan: plain data, made by `plan`, performed by `host`, undone from notes on disk.

A host writes a note (a dict that JSON can hold, with the key `undo` naming what to take back) *before* it changes
anything, and may write a second one with facts it only learns afterwards. `delete` and every failure replay the
notes backwards; undoing something that is not there is success.

Steps with `inside = True` are performed by the container's own init, in its new namespaces (Linux only: a jail's
mounts are made from the host). Steps with `with_init = True` are performed by the creator when init waits to go in,
those with `between = True` by the creator too, while init waits where they stand among its own.
"""

from __future__ import annotations

from runjail.record import Record
from runjail.spec.model import IdMappings, Resources, Seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Property = tuple[str, str, object]  # name, D-Bus signature, value; an array is a tuple


class Step(Record):
    """Base of all steps. with_init: performed as soon as init is there, which waits for it. between: see above."""

    inside = False
    with_init = False
    between = False


class RctlRules(Step):
    """rctl(8) rules of one jail, which exists: subject `web` as planned, rules `maxproc:deny=20`.

    removed: rules to drop once the others are there, `maxproc:deny` or one of its amounts, `maxproc:deny=20`.
    """

    subject: str
    rules: tuple[str, ...]
    removed: tuple[str, ...] = ()


class DevicePolicy(Record):
    """Which device files the processes of a Linux container may open or make.

    allow: what happens to all that the rules do not name; the opposite happens to what they name. rules: (type c or b,
    major, minor, access), -1 for every number, access of the letters rwm in this order. contained: whether the policy
    forbids nothing that the container's own /dev has, so that who has no other device files needs no policy.
    """

    allow: bool
    rules: tuple[tuple[str, int, int, str], ...]
    contained: bool


class Cgroup(Step):
    """A Linux control group at `path` (relative to every hierarchy, no leading slash) with these limits.

    devices: None leaves the policy as it is. own: nobody asked for this name, so where a group of that name exists
    another name is taken, lest two containers share a group.
    """

    path: str
    resources: Resources
    devices: DevicePolicy | None = None
    own: bool = False


class Scope(Step):
    """A transient scope of systemd around init: its control group, its limits (Linux, `--systemd-cgroup`).

    unit: `libpod-ID.scope`. slice: the one it lies in, "" for its manager's own; path: of the slice's control group
    below its manager's, likewise. name: the container's in the unit's description. resources, devices: as of a Cgroup.
    properties: more of the unit's, as (name, D-Bus signature, value).
    """

    with_init = True
    unit: str
    slice: str
    path: str
    name: str
    resources: Resources
    devices: DevicePolicy | None = None
    properties: tuple[Property, ...] = ()


class ReadonlyRoot(Step):
    """A read-only view of the root directory `source`, shown at `target`, which becomes the container's root.

    directory: absolute in the container, "" for none; made in `source` when it is missing, for the view takes none.
    """

    source: str
    target: str
    directory: str = ""


class Mount(Step):
    """One mount below the container's root.

    fstype: the kernel's word (nullfs, tmpfs, devfs, bind, proc, ...). source: absolute path, dataset or word.
    destination: absolute in the container, not yet resolved. flags: mount flag words that the host knows (ro, nosuid,
    noexec, nodev, noatime, ...). data: file system options in order. propagation (Linux): rslave and so on, in order.
    recursive_flags (Linux): rro and the like, for the mount and what is mounted below it. label (Linux): SELinux's, of
    a file system that no option labels. mappings (Linux): what the ids of its files are for whoever uses the mount,
    or the path of a user namespace that has them; mapped_below: in what is mounted below it, too.
    ruleset: devfs ruleset to start from (0: every device), None when fstype is not devfs.
    rules: extra devfs rules, in rule words, e.g. `path shm unhide mode 1777`.
    copy_up: fill a tmpfs with what it covers. recursive: a bind that brings submounts along.
    create: make the mount point when it is missing. entry: its place in config.json, `mounts[3]`, "" for none: errors
    tell it, and steps that differ in nothing else are equal.
    """

    fstype: str
    source: str
    destination: str
    flags: tuple[str, ...] = ()
    data: tuple[tuple[str, str], ...] = ()
    propagation: tuple[str, ...] = ()
    recursive_flags: tuple[str, ...] = ()
    label: str = ""
    mappings: IdMappings | str | None = None
    mapped_below: bool = False
    ruleset: int | None = None
    rules: tuple[str, ...] = ()
    copy_up: bool = False
    recursive: bool = False
    create: bool = True
    inside: bool = False
    entry: str = ""

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self._fields if name != "entry")

    def told(self, part: str = "") -> str:
        """Return how errors begin about the mount, or about a part of its entry: `mounts[3].source: `."""
        return f"{self.entry}{part and f'.{part}'}: " if self.entry else ""


class AddressAlias(Step):
    """An address put on a host interface for the jail: family inet or inet6, address with prefix length."""

    interface: str
    family: str
    address: str


class CreateJail(Step):
    """jail(8) -c: parameters in order; a value of None is a boolean parameter (`persist`, `allow.nochflags`).

    labels: more of them, `meta.KEY` with a text; they only inform, so a kernel that has none does without.
    other: its name where another jail has the first one, "" when it may have no other.
    """

    name: str
    params: tuple[tuple[str, str | None], ...]
    labels: tuple[tuple[str, str], ...] = ()
    other: str = ""


class LinuxPrograms(Step):
    """See that the kernel runs Linux programs. It changes nothing."""


class JailDataset(Step):
    """Let the jail manage a ZFS dataset whose property `jailed` is on: zfs-jail(8)."""

    dataset: str


class Cpus(Step):
    """cpuset(1) -l CPUS on the jail: a list such as `0-2,5`."""

    cpus: str


class Loopback(Step):
    """Bring lo0 up in a jail that has its own network stack: without it even 127.0.0.1 fails."""


class MoveInterface(Step):
    """Move a host interface into the jail's network stack."""

    interface: str


class CreateNamespaces(Step):
    """The Linux form of a jail. new: namespace types to create; join: (type, path) to enter.

    pid is entered by fork, the rest by the child itself. propagation: of the root mount ("" is private). bundle: its
    directory; a root in it is left as it was found. time_offsets: clock, seconds, nanoseconds. mappings: of a new user
    namespace, or what one to join has to have.
    """

    inside = True
    new: tuple[str, ...]
    join: tuple[tuple[str, str], ...] = ()
    hostname: str | None = None
    domainname: str | None = None
    propagation: str = ""
    readonly: bool = False
    bundle: str = ""
    time_offsets: tuple[tuple[str, int, int], ...] = ()
    mappings: IdMappings | None = None


class NetDevices(Step):
    """Interfaces of ours that go into init's network namespace (Linux): name here, name inside."""

    between = True
    devices: tuple[tuple[str, str], ...]


class DeviceNodes(Step):
    """Device nodes and symbolic links below a /dev that is ours (Linux).

    nodes: (path, type c|b|p, major, minor, mode, uid, gid). links: (path, target).
    """

    inside = True
    nodes: tuple[tuple[str, str, int, int, int, int, int], ...]
    links: tuple[tuple[str, str], ...] = ()


class MaskPaths(Step):
    """linux.maskedPaths and linux.readonlyPaths; a path that does not exist is skipped."""

    inside = True
    masked: tuple[str, ...] = ()
    readonly: tuple[str, ...] = ()


class SecurityLabels(Step):
    """What the kernel's security module has to be there for (Linux): an AppArmor profile, SELinux labels, "" for none.

    selinux: the program's; mounts: that of the container's file systems.
    """

    apparmor: str
    selinux: str
    mounts: str


class SeccompFilter(Step):
    """linux.seccomp: what every process of the container installs before it becomes the program."""

    profile: Seccomp


class Sysctls(Step):
    """linux.sysctl: namespaced kernel settings as (key, value).

    joined: kinds of the namespaces that some of them are of and that are joined. One that is the host's is refused.
    """

    inside = True
    values: tuple[tuple[str, str], ...]
    joined: tuple[str, ...] = ()


class Plan(Record):
    """All that create does to the system before hooks run, in order.

    name: the jail's full name (parent included). source: the bundle's root directory. root: what becomes the
    container's root (differs from source when a read-only view is made).
    """

    os: str
    name: str
    source: str
    root: str
    steps: tuple[Step, ...]
