"""The freebsd section, joined with the annotations that mean the same, checked together.

The kernel has rules between parameters, which are checked here.
"""

from __future__ import annotations

from runjail.spec.annotations import declare_annotations
from runjail.spec.jail_params import JailParams, file_system_fault
from runjail.spec.model import Device, FreeBSD
from runjail.spec.problems import quote
from runjail.spec.reader import Reader

# Words of freebsd.jail and the fields they fill, by how they are read
PLAIN = {
    "host": "host",
    "ip4": "ip4",
    "ip6": "ip6",
    "vnet": "vnet",
    "sysvmsg": "sysvmsg",
    "sysvsem": "sysvsem",
    "sysvshm": "sysvshm",
    "enforceStatfs": "enforce_statfs",
}
PERMISSIONS = {
    "setHostname": "set_hostname",
    "rawSockets": "raw_sockets",
    "chflags": "chflags",
    "quotas": "quotas",
    "socketAf": "socket_af",
    "mlock": "mlock",
    "reservedPorts": "reserved_ports",
    "suser": "suser",
}
OWN_STACK_EXCLUDES = ("ip4", "ip6", "ip4_addr", "ip6_addr", "interface")

# devfs(8) rules are words that match by pattern: blanks end the path, a star would unhide every device
PATTERN = frozenset("*?[]\\")


def read_freebsd(config: Reader) -> FreeBSD:
    """Read and check the freebsd section and the `org.freebsd.*` annotations of a whole config.json."""
    section = config.section("freebsd")
    params = JailParams(config.report)
    _declare_jail(section.section("jail"), params)
    declare_annotations(config.section("annotations"), params)
    if config.report.clean("freebsd", "jail") and config.report.clean("annotations"):
        _refuse_conflicts(config, params)
    return FreeBSD(devices=tuple(_read_device(item) for item in section.sections("devices")), jail=params.jail())


def _read_device(device: Reader) -> Device:
    path = device.text("path")
    if path.startswith("/"):
        device.refuse(f"must be relative to /dev, not {quote(path)}", "path")
    elif device.has("path") and not _names_device(path):
        device.refuse(f"must name one device below /dev, not {quote(path)}", "path")
    return Device(path, device.number("mode"))


def _names_device(path: str) -> bool:
    if not path.isascii() or not path.isprintable() or " " in path or not PATTERN.isdisjoint(path):
        return False
    return all(name not in ("", ".", "..") for name in path.split("/"))


def _declare_jail(jail: Reader, params: JailParams) -> None:
    for key, field in PLAIN.items():
        if jail.has(key):
            params.declare(field, jail.values[key], (*jail.path, key))
    params.declare_name("parent", jail.text("parent"), (*jail.path, "parent"))
    params.declare_name("interface", jail.text("interface"), (*jail.path, "interface"))
    for key, field in (("ip4Addr", "ip4_addr"), ("ip6Addr", "ip6_addr")):
        params.declare_addresses(field, _placed(jail, key), (*jail.path, key))
    params.declare_interfaces("vnet_interfaces", _placed(jail, "vnetInterfaces"), (*jail.path, "vnetInterfaces"))
    _declare_permissions(jail.section("allow"), params)


def _declare_permissions(allow: Reader, params: JailParams) -> None:
    for key, name in PERMISSIONS.items():
        if allow.has(key):
            params.declare(f"allow.{name}", allow.flag(key), (*allow.path, key))
    for index, name in allow.texts("mount"):
        if fault := file_system_fault(name):
            allow.refuse(fault, "mount", index)
        params.declare(f"allow.mount.{name}", True, (*allow.path, "mount"))


def _placed(section: Reader, key: str) -> list[tuple[tuple[str | int, ...], str]]:
    return [((*section.path, key, index), text) for index, text in section.texts(key)]


def _refuse_conflicts(config: Reader, params: JailParams) -> None:
    """Refuse what the kernel would refuse without a reason, or would silently resolve itself."""
    values, refuse = params.values, config.report.add
    if values.get("vnet") == "new":
        for field in OWN_STACK_EXCLUDES:
            if field in values:
                refuse(params.places[field], 'cannot be combined with vnet "new"')
    elif "vnet_interfaces" in values:
        refuse(params.places["vnet_interfaces"], 'needs vnet "new"')
    for family in ("ip4", "ip6"):
        if values.get(family) == "disable" and f"{family}_addr" in values:
            refuse(params.places[f"{family}_addr"], f'cannot be combined with {family} "disable"')
    if values.get("host") == "inherit":
        for key in ("hostname", "domainname"):
            if config.values.get(key):
                refuse((key,), 'cannot be set when freebsd.jail.host is "inherit"')
    _refuse_vain_mounts(config, params)


def _refuse_vain_mounts(config: Reader, params: JailParams) -> None:
    """With enforce_statfs 2 mounting inside fails; where nothing was said the planner chooses a value that works."""
    mounts = [field for field, allowed in params.values.items() if field.startswith("allow.mount") and allowed]
    mounts += ["datasets"] * ("datasets" in params.values)  # the jail mounts them itself
    if not mounts:
        return
    if params.values.get("allow.mount") is False:
        config.refuse("cannot be false while file systems are allowed", *params.places["allow.mount"])
    if params.values.get("enforce_statfs") == 2:
        config.refuse("needs freebsd.jail.enforceStatfs 0 or 1", *params.places[mounts[0]])
