"""The `org.freebsd.*` annotations that say what the freebsd section says.

Before runtime-spec 1.3 had a freebsd section, podman and buildah spoke to ocijail through these keys, and they still
do. A key is honoured where it stands in the table below; an unknown `allow` parameter is an error because ignoring it
would silently run a different jail than the one asked for; all other keys are nobody's business here.
"""

from runjail.spec.wording import any_of, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.spec.sayings import Sayings
    from runjail.spec.section import Section

PARENT = "org.freebsd.parentJail"
JAIL = "org.freebsd.jail."
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

# Kernel parameters below allow. that an annotation may set (jail(8), FreeBSD 15.1); those that loosen the host's own
# protection from the jail (setaudit, unprivileged_parent_tampering, vmm) need more trust than a label can have
PERMISSIONS = frozenset(
    "set_hostname raw_sockets chflags quotas socket_af mlock reserved_ports read_msgbuf sysvipc suser nfsd extattr "
    "adjtime settime routing unprivileged_proc_debug mount".split()
)
FILE_SYSTEMS = frozenset("devfs fdescfs fusefs nullfs p9fs procfs tmpfs zfs linprocfs linsysfs".split())
TRUTH = {"true": True, "1": True, "false": False, "0": False}


def say_annotations(annotations: "Section", said: "Sayings") -> None:
    """Add what the annotations say; values and contradictions are reported at `annotations["KEY"]`."""
    for key in sorted(annotations.values):
        if key.startswith("org.freebsd.") and annotations.has(key):
            _say_one(annotations, key, said)


def _say_one(annotations: "Section", key: str, said: "Sayings") -> None:
    value, path = annotations.text(key), (*annotations.path, key)
    if key == PARENT:
        said.say_name("parent", value, path)
    elif key in CHOICES:
        field, words = CHOICES[key]
        if value not in words:
            annotations.refuse(f"must be {any_of(words)}, not {shown(value)}", key)
        said.say(field, value, path)
    elif key in ADDRESSES:
        addresses = [(path, piece.strip()) for piece in value.split(",") if piece.strip()]
        said.say_addresses(ADDRESSES[key], addresses, path)
    elif key.startswith(ALLOW):
        _say_permission(annotations, key, said)


def _say_permission(annotations: "Section", key: str, said: "Sayings") -> None:
    name, value = key.removeprefix(ALLOW), annotations.text(key)
    if name not in PERMISSIONS and name.removeprefix("mount.") not in FILE_SYSTEMS:
        annotations.refuse("is not a jail permission that an annotation can give", key)
    elif value not in TRUTH:
        annotations.refuse(f'must be "true" or "false", not {shown(value)}', key)
    else:
        said.say(f"allow.{name}", TRUTH[value], (*annotations.path, key))
