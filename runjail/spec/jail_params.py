"""What the freebsd section and the annotations say about the jail, each with the place that said it.

Both may speak about the same parameter; saying different things is an error that names both places. The rules for
single values (names, addresses) live here too, so that they hold wherever a value comes from.
"""

from __future__ import annotations

from runjail.sizes import read_number
from runjail.spec.model import Jail
from runjail.spec.problems import json_path, quote
from runjail.spec.reader import Report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from runjail.spec.problems import Path

ADDRESSES = 255  # per family: security.jail.jail_max_af_ips
LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
NAME = LETTERS | frozenset("_+-.%@~=")  # what our own jail names need and jail.conf, rctl rules and shells leave alone
INTERFACE = LETTERS | frozenset("_.-")
FILE_SYSTEM = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
DATASET = LETTERS | frozenset("_.:-")  # of one component; zfs(8) would also take a blank, which nothing else does


class JailParams:
    """Jail parameters by field name of `Jail`, or `allow.raw_sockets`, `allow.mount.tmpfs` for permissions."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.values: dict[str, Any] = {}
        self.places: dict[str, Path] = {}
        self.needs_grant: list[tuple[str, str]] = []

    def declare(self, field: str, value: object, path: Path) -> None:
        """Note one value. A later one that differs from the first is reported at its own place."""
        if field not in self.values:
            self.values[field], self.places[field] = value, path
        elif self.values[field] != value:
            earlier, other = self.values[field], self.places[field]
            self.report.add(path, f"says {_brief(value)}, but {json_path(other)} says {_brief(earlier)}")

    def require_grant(self, key: str, parameter: str) -> None:
        """Note that the annotation `key` asks for a parameter which only the administrator can grant."""
        self.needs_grant.append((key, parameter))

    def declare_name(self, field: str, name: str, path: Path) -> None:
        """Note a parent jail or an interface; an empty name says nothing."""
        if not name:
            return
        fault = parent_fault(name) if field == "parent" else interface_fault(name)
        if fault:
            self.report.add(path, fault)
        self.declare(field, name, path)

    def declare_interfaces(self, field: str, found: Sequence[tuple[Path, str]], path: Path) -> None:
        """Note a list of interfaces, each with its place."""
        seen: set[str] = set()
        for where, name in found:
            if fault := interface_fault(name) or ("is listed twice" if name in seen else None):
                self.report.add(where, fault)
            seen.add(name)
        if found:
            self.declare(field, tuple(name for _, name in found), path)

    def declare_addresses(self, field: str, found: Sequence[tuple[Path, str]], path: Path) -> None:
        """Note `ip4_addr` or `ip6_addr`: addresses as jail(8) takes them, each with its place."""
        seen: set[bytes] = set()
        for where, text in found:
            packed, fault = read_address(field, text)
            if fault or packed in seen:
                self.report.add(where, fault or "is listed twice")
            seen.add(packed)
        if len(found) > ADDRESSES:
            self.report.add(path, f"must hold at most {ADDRESSES} addresses, not {len(found)}")
        if found:
            self.declare(field, tuple(text for _, text in found), path)

    def jail(self) -> Jail:
        """Return everything that was declared."""
        named = {field: value for field, value in self.values.items() if field in Jail._fields}
        allow = sorted((key[6:], value) for key, value in self.values.items() if key.startswith("allow."))
        return Jail(
            **named,
            allow=tuple((name, value) for name, value in allow if not name.startswith("mount.")),
            allow_mount=tuple(name[6:] for name, value in allow if name.startswith("mount.") and value),
            params=tuple(sorted((key[6:], value) for key, value in self.values.items() if key.startswith("param."))),
            needs_grant=tuple(self.needs_grant),
        )


def parent_fault(name: str) -> str | None:
    """Say what is wrong with the name of a parent jail; dots separate its own parents."""
    if len(name) > 255 or name.startswith("-") or "" in name.split(".") or not NAME.issuperset(name):
        return f"must be the name of a jail, not {quote(name)}"
    return None


def interface_fault(name: str) -> str | None:
    """Say what is wrong with an interface name: IFNAMSIZ is 16, and ifconfig(8) takes a dash for an option."""
    if not 0 < len(name) <= 15 or name.startswith("-") or not INTERFACE.issuperset(name):
        return f"must be an interface name of at most 15 characters, not {quote(name)}"
    return None


def file_system_fault(name: str) -> str | None:
    """Say what is wrong with the name of a file system type."""
    if not name[:1].isalpha() or len(name) > 15 or not FILE_SYSTEM.issuperset(name):
        return f"must be a file system type such as tmpfs, not {quote(name)}"
    return None


def dataset_fault(name: str) -> str | None:
    """Say what is wrong with the name of a ZFS file system or volume: zfs(8), components of at most 255 bytes."""
    components = name.split("/")
    sound = all(component not in ("", ".", "..") and DATASET.issuperset(component) for component in components)
    if not sound or not components[0][0].isalpha() or len(name) > 255:
        return f"must be the name of a ZFS dataset, not {quote(name)}"
    return None


def read_address(field: str, text: str) -> tuple[bytes, str | None]:
    """Return the packed form of `[INTERFACE|]ADDRESS[/PREFIX]`, or b"" and what is wrong with it."""
    from _socket import AF_INET, AF_INET6, inet_pton

    four = field == "ip4_addr"
    interface, bar, rest = text.rpartition("|")
    address, slash, prefix = rest.partition("/")
    if bar and interface_fault(interface):
        return b"", f"must start with an interface name of at most 15 characters, not {quote(interface)}"
    bits = 32 if four else 128
    if slash and read_number(prefix, bits) is None:
        return b"", f"must have a prefix length of at most {bits}, not {quote(prefix)}"
    try:
        packed = inet_pton(AF_INET if four else AF_INET6, address)
    except (OSError, ValueError):
        return b"", f"must be a numeric {'IPv4' if four else 'IPv6'} address, not {quote(text)}"
    if packed == b"\xff\xff\xff\xff":
        return packed, "must not be the broadcast address"
    return packed, None


def _brief(value: object) -> str:
    return quote(",".join(value)) if isinstance(value, tuple) else quote(value)
