"""Annotations that speak about the jail: the freebsd section's, and what it has no words for.

Before runtime-spec 1.3 had a freebsd section, podman and buildah spoke to ocijail through `org.freebsd.*`, and they
still do. A key is honoured where it stands in the tables below; an unknown `allow` parameter is an error because
ignoring it would silently run a different jail than the one asked for. Other keys of `org.freebsd.` are warned of
(unused.py), all others ignored.

Permissions beyond those of the specification weaken the wall between container and host. The document may ask for
them, and only the administrator can grant them: they are collected with their keys (`Jail.beyond`) for the planner.
"""

from __future__ import annotations

from runjail.sizes import read_number
from runjail.spec.jail_params import JailParams, dataset_fault
from runjail.spec.problems import any_of, quote
from runjail.spec.reader import Reader

PREFIX = "org.freebsd."
PARENT = PREFIX + "parentJail"
JAIL = PREFIX + "jail."
SYSV = ("disable", "new", "inherit")

CHOICES = {
    JAIL + "vnet": ("vnet", ("new", "inherit")),
    JAIL + "sysvmsg": ("sysvmsg", SYSV),
    JAIL + "sysvsem": ("sysvsem", SYSV),
    JAIL + "sysvshm": ("sysvshm", SYSV),
}
ADDRESSES = {
    JAIL + "ip4.addr": "ip4_addr",
    JAIL + "ip6.addr": "ip6_addr",
    JAIL + "ip6.add": "ip6_addr",  # how ocijail spells it
}
ALLOW = JAIL + "allow."
CHILDREN = JAIL + "children.max"
DATASET = "org.runjail.zfs.dataset"
IMAGE_OS = "org.opencontainers.image.os"  # image-spec, conversion.md: annotation of a container made from an image

# Kernel parameters below allow. that an annotation may set without being asked (jail(8), FreeBSD 15.1): those that
# the freebsd section has too, and sysvipc, which the specification's table names
PERMISSIONS = frozenset(
    "set_hostname raw_sockets chflags quotas socket_af mlock reserved_ports sysvipc suser mount".split()
)
FILE_SYSTEMS = frozenset("devfs fdescfs fusefs nullfs p9fs procfs tmpfs zfs linprocfs linsysfs".split())
TRUTH = {"true": True, "1": True, "false": False, "0": False}
# Parameters without a field in the freebsd section: numbers with their least and most, words with their length
NUMBERS = {"securelevel": (-1, 3), "osreldate": (1, 9_999_999), "linux.oss_version": (0, 2**31 - 1)}
WORDS = {"osrelease": 31, "linux.osname": 64, "linux.osrelease": 64}
MOST_CHILDREN = 999_999
LABELS = ("meta.", "env.")  # texts of our choice below a key of our choice: meta(8) in jail(8)
LABEL_KEY = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
PARAMETER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.")
WORD = LABEL_KEY | frozenset("+~")


def declare_annotations(annotations: Reader, params: JailParams) -> None:
    """Add what the annotations say; values and contradictions are reported at `annotations["KEY"]`."""
    for key in sorted(annotations.values):
        if not annotations.has(key):
            continue
        if key == DATASET:
            _declare_datasets(annotations, params)
        elif key == IMAGE_OS:
            params.declare("image_os", annotations.text(key), (*annotations.path, key))
        elif key.startswith(PREFIX):
            _declare_one(annotations, key, params)


def has_effect(key: str) -> bool:
    """Say whether an annotation of `org.freebsd.` is one that a jail is made by."""
    if key in (PARENT, CHILDREN) or key in CHOICES or key in ADDRESSES or key.startswith(ALLOW):
        return True
    name = key.removeprefix(JAIL)
    return key.startswith(JAIL) and (name in NUMBERS or name in WORDS or name.startswith(LABELS))


def _declare_one(annotations: Reader, key: str, params: JailParams) -> None:
    value, path = annotations.text(key), (*annotations.path, key)
    if key == PARENT:
        params.declare_name("parent", value, path)
    elif key in CHOICES:
        field, words = CHOICES[key]
        if value not in words:
            annotations.refuse(f"must be {any_of(words)}, not {quote(value)}", key)
        params.declare(field, value, path)
    elif key in ADDRESSES:
        addresses = [(path, piece.strip()) for piece in value.split(",") if piece.strip()]
        params.declare_addresses(ADDRESSES[key], addresses, path)
    elif key.startswith(ALLOW):
        _declare_permission(annotations, key, params)
    elif key == CHILDREN:
        if _declare_number(annotations, key, (0, MOST_CHILDREN), params) and value.strip("0"):
            params.require_grant(key, "children.max")
    elif key.startswith(JAIL):
        _declare_parameter(annotations, key, params)


def _declare_permission(annotations: Reader, key: str, params: JailParams) -> None:
    name, value = key.removeprefix(ALLOW), annotations.text(key)
    if not name or not PARAMETER.issuperset(name) or "" in name.split("."):
        annotations.refuse("is not the name of a jail permission", key)
    elif value not in TRUTH:
        annotations.refuse(f'must be "true" or "false", not {quote(value)}', key)
    else:
        params.declare(f"allow.{name}", TRUTH[value], (*annotations.path, key))
        mount, _, fstype = name.rpartition(".")
        free = name in PERMISSIONS or (mount == "mount" and fstype in FILE_SYSTEMS)
        if TRUTH[value] and not free:
            params.require_grant(key, f"allow.{name}")


def _declare_parameter(annotations: Reader, key: str, params: JailParams) -> None:
    """Note a parameter that the freebsd section has no field for."""
    name, value = key.removeprefix(JAIL), annotations.text(key)
    path = (*annotations.path, key)
    if name in NUMBERS:
        _declare_number(annotations, key, NUMBERS[name], params)
    elif name in WORDS:
        if not 0 < len(value) <= WORDS[name] or not WORD.issuperset(value):
            annotations.refuse(f"must be one word of at most {WORDS[name]} characters, not {quote(value)}", key)
        params.declare(f"param.{name}", value, path)
    elif name.startswith(LABELS):
        label = name.partition(".")[2]
        if not label or not LABEL_KEY.issuperset(label):
            annotations.refuse("must end in a key of letters, digits, _ . and -", key)
        elif not value.isprintable():
            annotations.refuse("must be one printable line", key)
        params.declare(f"param.{name}", value, path)


def _declare_number(annotations: Reader, key: str, bounds: tuple[int, int], params: JailParams) -> bool:
    """Note a whole number; tell whether it is one."""
    value, (least, most) = annotations.text(key), bounds
    number = read_number(value, most, least)
    if number is None:
        annotations.refuse(f"must be a number from {least} to {most}, not {quote(value)}", key)
        return False
    params.declare(f"param.{key.removeprefix(JAIL)}", str(number), (*annotations.path, key))
    return True


def _declare_datasets(annotations: Reader, params: JailParams) -> None:
    """Note ZFS datasets that the jail is to manage itself: names as in zfs(8), with commas."""
    names = tuple(name.strip() for name in annotations.text(DATASET).split(","))
    for name in names:
        if fault := dataset_fault(name) or ("is listed twice" if names.count(name) > 1 else None):
            annotations.refuse(fault, DATASET)
            return
    params.declare("datasets", names, (*annotations.path, DATASET))
