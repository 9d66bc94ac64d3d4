"""The features document and the example config.json: constants of this version."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
LINUX_OPTIONS = (
    "async atime bind defaults dev diratime dirsync exec mand noatime nodev nodiratime noexec nomand norelatime "
    "nostrictatime nosuid nosymfollow private ro rbind relatime rprivate rshared rslave runbindable rw shared slave "
    "strictatime suid sync tmpcopyup unbindable"
).split()
CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]  # of `runc spec`
FREEBSD_OPTIONS = (
    "bind exec linrdlnk noatime nodup noexec nosuid nosymfollow notmpcopyup nullfs rbind rdlnk ro rule ruleset rw suid "
    "tmpcopyup"
).split()


def document(os: str) -> dict[str, Any]:
    """Return what `runjail features` prints (runtime-spec 1.3, features.md)."""
    features: dict[str, Any] = {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": list(HOOKS),
        "mountOptions": FREEBSD_OPTIONS if os == "freebsd" else LINUX_OPTIONS,
        "annotations": {},
        "potentiallyUnsafeConfigAnnotations": ["org.freebsd.", "org.runjail."],
    }
    if os == "linux":
        cgroup = {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": False}
        features["linux"] = {"cgroup": cgroup, "seccomp": _seccomp()}
    return features


def _seccomp() -> dict[str, Any]:
    from runjail.spec import seccomp

    return {
        "enabled": True,
        "actions": list(seccomp.ACTIONS),
        "operators": list(seccomp.OPERATORS),
        "archs": list(seccomp.ARCHITECTURES),
        "knownFlags": list(seccomp.FLAGS),
        "supportedFlags": list(seccomp.FLAGS),
    }


def example(os: str) -> dict[str, Any]:
    """Return the config.json of `runjail spec`: a shell in a jail, also good for the Linux host."""
    document: dict[str, Any] = {
        "ociVersion": "1.3.0",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin", "TERM=xterm"],
            "cwd": "/",
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "runjail",
        "mounts": [
            {"destination": "/dev", "type": "devfs", "source": "devfs", "options": ["ruleset=4"]},
            {"destination": "/dev/fd", "type": "fdescfs", "source": "fdesc"},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=1777", "size=64m"]},
        ],
        "freebsd": {"jail": {"ip4": "inherit", "ip6": "inherit"}},
    }
    if os == "linux":  # where root has what is listed here; in a jail all that jails may
        document["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES)
    return document
