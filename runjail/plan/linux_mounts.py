"""mounts[] for Linux: every entry becomes one mount(2) by the container's init, in listed order.

FreeBSD's types are understood too, so that one bundle can be tried on both systems. Words that are no flags go to the
file system, which refuses what it does not know.
"""

from __future__ import annotations

from runjail import steps
from runjail.plan import mount_options
from runjail.plan.paths import absolute, destination, normalised
from runjail.spec import model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

FREEBSD_TYPES = {"nullfs": "bind", "devfs": "tmpfs", "procfs": "proc", "linprocfs": "proc", "linsysfs": "sysfs"}
FREEBSD_KEYS = {
    "devfs": mount_options.DEVFS_KEYS,
    "nullfs": ("cache", "nocache"),
    "tmpfs": ("nomtime", "nonc", "pgread", "maxfilesize"),
}
FDESCFS = "fdescfs"  # /dev/fd on Linux is a link that every /dev has: nothing to mount
DEVICES = (("mode", "755"), ("size", "65536k"))  # of the tmpfs that stands for devfs
TERMINALS = steps.Mount(
    "devpts",
    "devpts",
    "/dev/pts",
    flags=("nosuid", "noexec"),
    data=(("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")),
    inside=True,
)


def translate(
    mounts: Sequence[model.Mount], bundle: str, problems: list[str], mappings: model.IdMappings | str | None = None
) -> tuple[steps.Mount, ...]:
    """Return the Mount steps for mounts[]; what cannot be done is added to problems with its JSON path.

    mappings: of the container's user namespace, or its path; an idmapped mount without others has them.
    """
    made: list[steps.Mount] = []
    for i, mount in enumerate(mounts):
        entry = _Entry(mount, f"mounts[{i}]", problems)
        step = entry.step(bundle)
        if step and (mount.mappings or mount_options.MAPPED.intersection(mount.options)):
            step = entry.mapped(step, mappings)
        if step:
            made.append(step)
        own = step and mount.type == "devfs" and step.fstype == "tmpfs" and normalised(step.destination) == "/dev"
        if own and not any(normalised(other.destination) == TERMINALS.destination for other in mounts):
            made.append(TERMINALS)
    return tuple(made)


def without_peers(step: steps.Mount) -> steps.Mount:
    """Return the step, a bind mount that says nothing of propagation as one whose mounts do not reach the host.

    Below a shared root a bind mount is a peer of its source. That is right where it was asked for (`rshared`).
    """
    silent = step.fstype == "bind" and not step.propagation
    return step.replace(propagation=("rslave",)) if silent else step


def labelled(step: steps.Mount, label: str) -> steps.Mount:
    """Return the step with the SELinux label of all that is in the file system, which only new ones can be given."""
    if step.fstype == "mqueue" or step.fstype.startswith("cgroup"):
        return step.replace(label=label)
    own = step.fstype not in ("bind", "proc", "sysfs")
    return step.replace(data=(*step.data, ("context", f'"{label}"'))) if own else step


def device_directory(mounts: Sequence[steps.Mount]) -> bool:
    """Tell whether /dev is a fresh directory of the container's own."""
    found = [step.fstype for step in mounts if normalised(step.destination) == "/dev"]
    return found[-1:] == ["tmpfs"]


class _Entry:
    """One entry of mounts[] while its words are sorted."""

    def __init__(self, mount: model.Mount, where: str, problems: list[str]) -> None:
        self.mount, self.where, self.problems = mount, where, problems
        self.bind = mount.bind
        self.flags: list[str] = []
        self.recursive_flags: list[str] = []
        self.data: dict[str, str] = {}
        self.propagation: list[str] = []
        self.copy_up = False

    def step(self, bundle: str) -> steps.Mount | None:
        """Return the step, None when nothing has to be mounted or there are problems."""
        mount = self.mount
        place = destination(mount, self.where, self.problems)
        if mount.type == "zfs" and not self.bind:
            self.problems.append(f"{self.where}.type: datasets are mounted by the FreeBSD host only")
        if mount.type == FDESCFS and not self.bind:
            return None
        for index, text in enumerate(mount.options):
            try:
                self._take(text)
            except ValueError as error:
                self.problems.append(f"{self.where}.options[{index}]: {text!r}: {error}")
        if self.bind and not mount.source:
            self.problems.append(f"{self.where}.source: must name what to mount")
        if mount.type == "devfs" and not self.bind:
            self.flags = [*(flag for flag in self.flags if flag != "nodev"), "nosuid"]
            self.data = {**dict(DEVICES), **self.data}
        fstype = "bind" if self.bind else FREEBSD_TYPES.get(mount.type, mount.type)
        return steps.Mount(
            fstype,
            absolute(mount.source, bundle) if self.bind else mount.source or fstype,
            place,
            flags=tuple(dict.fromkeys(self.flags)),
            recursive_flags=tuple(self.recursive_flags),
            data=tuple(self.data.items()),
            propagation=tuple(self.propagation),
            copy_up=self.copy_up,
            recursive="rbind" in mount.options,
            inside=True,
            entry=self.where,
        )

    def mapped(self, step: steps.Mount, mappings: model.IdMappings | str | None) -> steps.Mount:
        """Return the step of a mount with ids of its own, or with those of the container's user namespace."""
        own = self.mount.mappings or mappings
        if not self.bind:
            self.problems.append(f"{self.where}: only a bind mount can have ids of its own")
        elif not own:
            self.problems.append(f"{self.where}: idmap needs uidMappings and gidMappings, here or in the linux section")
        return step.replace(mappings=own or None, mapped_below="ridmap" in self.mount.options)

    def _take(self, text: str) -> None:
        """Sort one word. Raises ValueError when it means nothing here."""
        key, _, value = text.partition("=")
        own = model.BINDS | mount_options.NEUTRAL | mount_options.MAPPED
        ignored = text in own or key in FREEBSD_KEYS.get(self.mount.type, ())
        flags = mount_options.BIND_FLAGS if self.bind else mount_options.LINUX_FLAGS
        if text == "remount":
            raise ValueError("changes no earlier mount: the entry that makes the mount has to have these options")
        if text in mount_options.PROPAGATION:
            self.propagation.append(text)  # in this order: slave and then shared is both
        elif text in mount_options.COPY_UP:
            if self.bind or self.mount.type != "tmpfs":
                raise ValueError("only a tmpfs can begin with what the image has there")
            self.copy_up = text == "tmpcopyup"
        elif text in mount_options.RECURSIVE:
            mount_options.add_recursive(text, self.recursive_flags)
        elif ignored or mount_options.switch(text, flags, self.flags):
            pass
        elif self.bind:
            raise ValueError("not an option of a bind mount")
        else:
            key = "nr_inodes" if key == "inodes" and self.mount.type == "tmpfs" else key
            self.data.pop(key, None)
            self.data[key] = value
