"""The features document: what the tables say that check and apply config.json.

See runtime-spec 1.3, features.md.
"""

from __future__ import annotations

from runjail.plan import freebsd_mounts, mount_options
from runjail.spec import model
from runjail.target import Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CGROUP = {
    "v1": True,
    "v2": True,
    "systemd": True,
    "systemdUser": True,
    "rdma": True,
}  # host/linux/cgroups.py, scope.py


def document(target: Target) -> dict[str, Any]:
    """Return what `runjail features` prints on a system."""
    from runjail.spec.schema import HOOK_KINDS

    features: dict[str, Any] = {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": list(HOOK_KINDS),
        "mountOptions": sorted(_freebsd_options() if target.jails else _linux_options()),
        "annotations": {},
        "potentiallyUnsafeConfigAnnotations": ["org.freebsd.", "org.runjail."],
    }
    return features if target.jails else features | {"linux": _linux()}


def _flags(known: frozenset[str]) -> frozenset[str]:
    """Return the words that set or clear one of these flags, also on all mounts below."""
    words = known | {word for word, flag in mount_options.CLEARS.items() if flag in known}
    return words | {word for word in mount_options.RECURSIVE if word[1:] in words}


def _freebsd_options() -> frozenset[str]:
    own = (key for keys in freebsd_mounts.TYPES.values() for key in keys)
    return _flags(mount_options.FREEBSD_FLAGS).union(
        model.BINDS, mount_options.NEUTRAL, mount_options.COPY_UP, mount_options.DEVFS_KEYS, own
    )


def _linux_options() -> frozenset[str]:
    return _flags(mount_options.LINUX_FLAGS).union(
        mount_options.PROPAGATION,
        model.BINDS,
        mount_options.NEUTRAL,
        mount_options.COPY_UP,
        mount_options.MAPPED,
    )


def _linux() -> dict[str, Any]:
    """Return what is of Linux; a capability is of the kernel's, and one that it lacks is warned of."""
    from runjail.spec import capabilities, scheduling, seccomp
    from runjail.spec.linux import NAMESPACES
    from runjail.spec.model import Linux, Process

    return {
        "apparmor": {"enabled": "apparmor_profile" in Process._fields},
        "selinux": {"enabled": "selinux_label" in Process._fields},
        "cgroup": CGROUP,
        "namespaces": list(NAMESPACES),
        "mountExtensions": {"idmap": {"enabled": bool(mount_options.MAPPED)}},
        "capabilities": [f"CAP_{name}" for name in capabilities.NAMES],
        "memoryPolicy": {"modes": list(scheduling.MEMORY_MODES), "flags": list(scheduling.MEMORY_FLAGS)},
        "netDevices": {"enabled": "net_devices" in Linux._fields},
        "intelRdt": {"enabled": "intel_rdt" in Linux._fields},
        "seccomp": {
            "enabled": True,
            "actions": list(seccomp.ACTIONS),
            "operators": list(seccomp.OPERATORS),
            "archs": list(seccomp.ARCHITECTURES),
            "knownFlags": list(seccomp.FLAGS),
            "supportedFlags": list(seccomp.FLAGS),
        },
    }
