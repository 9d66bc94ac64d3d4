"""The config.json that `runjail spec` writes."""

from __future__ import annotations

from typing import Any

from runjail.image.bundle.default_mounts import linux
from runjail.target import Target

CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]  # of `runc spec`


def example(target: Target) -> dict[str, Any]:
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
    if not target.jails:  # where root has what is listed here, and ps(1) reads /proc; in a jail all that jails may
        proc = {"destination": "/proc", "type": "linprocfs", "source": "proc", "options": ["nosuid", "noexec"]}
        document["mounts"].insert(0, proc)
        document["linux"] = linux("host")
        document["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES)
    return document
