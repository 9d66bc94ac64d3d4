"""Print the +MANIFEST of the FreeBSD package (pkg-create(8)), as JSON, which UCL is a superset of.

usage: freebsd_manifest.py [FLAVOUR], of its Python: py311; without one, this interpreter's.
"""

import json
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
# Modules that are ports of FreeBSD's: origin by port name. None is loaded by create, start, state, kill and delete.
MODULES = {
    "click": "devel/py-click",
    "jsonschema": "devel/py-jsonschema",
    "psutil": "sysutils/py-psutil",
    "urllib3": "net/py-urllib3",
    "cryptography": "security/py-cryptography",
}
MESSAGE = """\
runjail check says what this machine lacks, each with the command that mends it. For limits, /boot/loader.conf needs
kern.racct.enable=1, and a boot. runjail(8), runjail-image(8), -network and -volume are the manual pages.
"""


def manifest(flavour: str) -> dict[str, object]:
    """Return the manifest. flavour: py311; versions of dependencies are the oldest that work, here any."""
    init = (TOP / "runjail" / "__init__.py").read_text(encoding="utf-8")
    (version,) = re.findall(r'^__version__ = "([^"]+)"$', init, re.MULTILINE)
    digits = flavour.removeprefix("py")
    dependencies = {f"python{digits}": {"origin": f"lang/python{digits}", "version": "0"}}
    for name, origin in MODULES.items():
        dependencies[f"{flavour}-{name}"] = {"origin": origin, "version": "0"}
    return {
        "name": "runjail",
        "version": version,
        "origin": "sysutils/runjail",
        "comment": "OCI container runtime that runs containers as jails",
        "desc": "Creates, starts and deletes OCI containers as FreeBSD jails, for podman, buildah and containerd.",
        # pkg-create(8) wants both; the project has neither a port nor a page of its own
        "maintainer": "ports@FreeBSD.org",
        "www": "https://opencontainers.org/",
        "prefix": "/usr/local",
        "categories": ["sysutils"],
        "licenselogic": "single",
        "licenses": ["BSD2CLAUSE"],
        "deps": dependencies,
        "messages": [{"type": "install", "message": MESSAGE}],
    }


if __name__ == "__main__":
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    print(json.dumps(manifest(asked or f"py{sys.version_info.major}{sys.version_info.minor}"), indent=2))
