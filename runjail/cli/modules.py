"""What `runjail check` says about Python modules that some verbs load, and how to get them."""

from __future__ import annotations

import sys
from importlib import import_module, metadata

from runjail.image.crypto.libcrypto import library as libcrypto
from runjail.image.layers import libzstd

USES = {  # module: what it is for, its package on FreeBSD, in Debian and on PyPI
    "click": ("help texts with colours and wrapping", "click", "python3-click", "click"),
    "cryptography": ("encrypted images", "cryptography", "python3-cryptography", "cryptography"),
    "isal": ("gzip layers at twice the speed", "isal", "python3-isal", "isal"),
    "jsonschema": ("every fault of a config.json at once", "jsonschema", "python3-jsonschema", "jsonschema"),
    "psutil": ("the table of runjail ps", "psutil", "python3-psutil", "psutil"),
    "urllib3": ("registries", "urllib3", "python3-urllib3", "urllib3"),
}
if sys.version_info < (3, 14):  # later ones have it themselves
    USES["backports.zstd"] = ("zstd layers", "backports.zstd", "", "backports.zstd")

ON_LINUX = {"jeepney": ("--systemd-cgroup", "jeepney", "python3-jeepney", "jeepney")}
INSTEAD = {"cryptography": libcrypto, "backports.zstd": libzstd}  # libraries of the system, by ctypes
OLDEST = {"urllib3": "2.2"}  # others are as old as in Debian 12 and good enough


def rows(os: str) -> list[tuple[str, bool, str, str]]:
    """Return a row of `runjail check` for each module: what, whether it is there, what it is for, how to get it."""
    uses = USES | (ON_LINUX if os == "linux" else {})
    return [_row(name, *uses[name], os) for name in sorted(uses)]


def _row(name: str, use: str, port: str, debian: str, wheel: str, os: str) -> tuple[str, bool, str, str]:
    try:
        import_module(name)
    except ImportError:
        if name in INSTEAD and (instead := INSTEAD[name].version()):
            return (f"module {name}", False, f"missing: {use} are left to {instead}", "")
        return (f"module {name}", False, f"missing: {use}", _remedy(port, debian, wheel, os))
    try:
        found = metadata.version(wheel)
    except metadata.PackageNotFoundError:  # a copy without its metadata works as well
        return (f"module {name}", True, use, "")
    if name in OLDEST and _parts(found) < _parts(OLDEST[name]):
        older = f"{found} is too old, {OLDEST[name]} is needed: {use}"
        return (f"module {name}", False, older, _remedy(port, "", f"'{wheel}>={OLDEST[name]}'", os))
    return (f"module {name}", True, f"{found}: {use}", "")


def _parts(version: str) -> list[int]:
    """Return the numbers of a version, as far as they are numbers."""
    parts = version.split(".")
    return [
        int(part) for part in parts[: next((at for at, part in enumerate(parts) if not part.isdigit()), len(parts))]
    ]


def _remedy(port: str, debian: str, wheel: str, os: str) -> str:
    if os == "freebsd":
        return f"pkg install py{sys.version_info.major}{sys.version_info.minor}-{port}"
    return f"apt-get install {debian}, or pip install {wheel}" if debian else f"pip install {wheel}"
