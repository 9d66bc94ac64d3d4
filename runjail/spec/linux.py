"""The linux section: resources for every host, the rest for the Linux development host.

Go clients write 0 for "no number given" in memory and cpu, so there 0 counts as silence, as runc has it.
"""

from __future__ import annotations

from runjail.spec.model import DeviceRule, IdMappings, Linux, LinuxDevice, Namespace
from runjail.spec.problems import any_of, quote
from runjail.spec.process import read_label
from runjail.spec.resources import read_resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.spec.model import Seccomp
    from runjail.spec.reader import Reader

NAMESPACES = ("pid", "network", "mount", "ipc", "uts", "cgroup", "time", "user")
PROPAGATION = ("private", "shared", "slave", "unbindable", "rprivate", "rshared", "rslave", "runbindable")

# Known properties that this host does not apply: a value other than nothing is an error (runtime-spec, create)
UNSUPPORTED = ("intelRdt",)
CLOCKS = ("monotonic", "boottime")
LONGEST_NAME = 15  # of an interface: IFNAMSIZ less one

# Beginnings of the kernel settings that belong to one namespace; any other would change the whole machine
SETTINGS = {
    "network": ("net.",),
    "ipc": ("kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue."),
    "uts": ("kernel.domainname",),
}
ID_MAPPINGS = ("uidMappings", "gidMappings")
NUMBERS = (("major", 4095), ("minor", 1048575))  # the widths of dev_t in mknod(2)


def read_linux(linux: Reader) -> Linux:
    """Read and check the whole section, for the Linux host."""
    for key in UNSUPPORTED:
        if linux.values.get(key):
            linux.refuse("is not supported", key)
    namespaces = _read_namespaces(linux)
    return Linux(
        namespaces=namespaces,
        cgroups_path=_read_cgroups_path(linux),
        resources=read_resources(linux.section("resources")),
        devices=tuple(_read_device(item) for item in linux.sections("devices")),
        device_rules=tuple(_read_rule(item) for item in linux.section("resources").sections("devices")),
        masked_paths=_read_paths(linux, "maskedPaths"),
        readonly_paths=_read_paths(linux, "readonlyPaths"),
        sysctl=_read_sysctl(linux, namespaces),
        rootfs_propagation=_read_propagation(linux),
        mount_label=read_label(linux, "mountLabel"),
        mappings=_read_mappings(linux, namespaces),
        seccomp=_read_seccomp(linux),
        time_offsets=_read_time_offsets(linux, namespaces),
        net_devices=_read_net_devices(linux.section("netDevices")),
    )


def _read_seccomp(linux: Reader) -> Seccomp | None:
    if not linux.has("seccomp"):
        return None
    from runjail.spec.seccomp import read_seccomp

    return read_seccomp(linux.section("seccomp"))


def _read_namespaces(linux: Reader) -> tuple[Namespace, ...] | None:
    if not linux.has("namespaces"):
        return None
    found: dict[str, Namespace] = {}
    for item in linux.sections("namespaces"):
        kind = item.text("type")
        if kind not in NAMESPACES and item.has("type"):
            item.refuse(f"must be {any_of(NAMESPACES)}, not {quote(kind)}", "type")
        elif kind in found:
            item.refuse(f"{kind} is listed twice", "type")
        path = item.absolute("path") if item.values.get("path") else ""
        found[kind] = Namespace(kind, path)
    return tuple(found.values())


def _read_mappings(linux: Reader, namespaces: tuple[Namespace, ...] | None) -> IdMappings | None:
    user = next((namespace for namespace in namespaces or () if namespace.type == "user"), None)
    mapped = [key for key in ID_MAPPINGS if linux.values.get(key)]
    if not user:
        for key in mapped:
            linux.refuse("needs a user namespace", key)
        return None
    if user.path and not mapped:
        return None
    from runjail.spec.id_mappings import read_mappings

    return read_mappings(linux, root=True)


def _read_cgroups_path(linux: Reader) -> str:
    path = linux.text("cgroupsPath")
    if ".." in path.split("/"):
        linux.refuse("must not lead upwards with ..", "cgroupsPath")
    return path


def _read_device(device: Reader) -> LinuxDevice:
    mode = device.number("fileMode")
    kind = device.text("type")
    numbers = []
    for key, most in NUMBERS:
        value = device.number(key) or 0
        if kind != "p" and not 0 <= value <= most:
            device.refuse(f"must be between 0 and {most}, not {value}", key)
        numbers.append(value)
    return LinuxDevice(
        path=device.absolute("path"),
        type=kind,
        major=numbers[0],
        minor=numbers[1],
        mode=None if mode is None else mode & 0o7777,
        uid=device.number("uid") or 0,
        gid=device.number("gid") or 0,
    )


def _read_rule(rule: Reader) -> DeviceRule:
    access = rule.text("access")
    if (not access or access.strip("rwm")) and rule.report.clean(*rule.path, "access"):
        rule.refuse(f"must be made of the letters r, w and m, not {quote(access)}", "access")
    numbers = []
    for key, most in NUMBERS:
        value = rule.number(key)
        value = -1 if value is None else value
        if not -1 <= value <= most:
            rule.refuse(f"must be between 0 and {most}, or -1 for every one, not {value}", key)
        numbers.append(value)
    return DeviceRule(rule.flag("allow"), rule.text("type") or "a", numbers[0], numbers[1], access)


def _read_paths(linux: Reader, key: str) -> tuple[str, ...]:
    paths = []
    for index, path in linux.texts(key):
        if not path.startswith("/"):
            linux.refuse(f"must be an absolute path, not {quote(path)}", key, index)
        paths.append(path)
    return tuple(dict.fromkeys(paths))  # one that is listed twice is covered once


def _read_sysctl(linux: Reader, namespaces: tuple[Namespace, ...] | None) -> tuple[tuple[str, str], ...]:
    settings = linux.section("sysctl")
    own = None if namespaces is None else {namespace.type for namespace in namespaces}
    found = []
    for key in settings.values:
        if not settings.has(key):
            continue
        owner = setting_owner(key)
        if owner is None:
            settings.refuse("is not a setting that a container can have of its own", key)
        elif own is not None and owner not in own:
            settings.refuse(f"needs a {owner} namespace", key)
        found.append((key, settings.text(key)))
    return tuple(found)


def setting_owner(key: str) -> str | None:
    """Return the namespace a kernel setting belongs to; a key that could leave /proc/sys belongs to none."""
    plain = all(character.isalnum() or character in "._-/" for character in key) and key.isascii()
    dotted = key.replace("/", ".")  # sysctl(8) takes both marks, see host/linux/namespaces.py
    if not plain or "" in dotted.split("."):
        return None
    for owner, settings in SETTINGS.items():
        if dotted.startswith(settings):
            return owner
    return None


def _read_time_offsets(linux: Reader, namespaces: tuple[Namespace, ...] | None) -> tuple[tuple[str, int, int], ...]:
    """Return by how much clocks are ahead in the container's time namespace (time_namespaces(7))."""
    if not linux.has("timeOffsets"):
        return ()
    own = [namespace for namespace in namespaces or () if namespace.type == "time"]
    if not own:
        linux.refuse("needs a time namespace", "timeOffsets")
    elif own[0].path:
        linux.refuse("cannot be set in a time namespace that is joined by its path", "timeOffsets")
    offsets = linux.section("timeOffsets")
    found = []
    for clock in offsets.values:
        offset = offsets.section(clock)
        if clock not in CLOCKS:
            offsets.refuse(f"is no clock of a time namespace: {any_of(CLOCKS)}", clock)
        nanoseconds = offset.number("nanosecs") or 0
        if nanoseconds >= 10**9:
            offset.refuse(f"must be less than a second, not {nanoseconds}", "nanosecs")
        found.append((clock, offset.number("secs") or 0, nanoseconds))
    return tuple(found)


def _read_net_devices(devices: Reader) -> tuple[tuple[str, str], ...]:
    """Return interfaces to be moved, and what they are called inside; `eth%d` lets the kernel choose a number."""
    found: dict[str, str] = {}
    for name in devices.values:
        device = devices.section(name)
        inside = device.text("name") or name
        if not _names_interface(name):
            devices.refuse("is no name of an interface", name)
        if not _names_interface(inside):
            device.refuse(f"must be the name of an interface, not {quote(inside)}", "name")
        elif inside in found.values() and "%" not in inside:
            device.refuse(f"{inside} is the name of another one", "name")
        found[name] = inside
    return tuple(found.items())


def _names_interface(name: str) -> bool:
    """Tell whether the kernel takes a name (dev_valid_name), or a template of one."""
    plain = name.isprintable() and not set(name) & set("/: ") and "%" not in name.replace("%d", "", 1)
    return plain and name not in ("", ".", "..") and len(name.encode("utf-8", "replace")) <= LONGEST_NAME


def _read_propagation(linux: Reader) -> str:
    word = linux.text("rootfsPropagation")
    if word and word not in PROPAGATION:
        linux.refuse(f"must be {any_of(PROPAGATION[:4])}, not {quote(word)}", "rootfsPropagation")
    return word
