"""What a runtime's options in containerd's configuration ask for: a state root, systemd's scopes."""

from __future__ import annotations

import os

from runjail import protobuf
from runjail.errors import UsageError
from runjail.shim import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.protobuf import Message

ROOT_FILE = "runjail-root"  # in the bundle, when options name a directory: a `delete` without options finds it there


def state_root(bundle: str, namespace: str, options: Message | None = None) -> str:
    """Return the state directory for a bundle's container.

    It is the one that the options of the runtime name (containerd.runc.v1.Options, as Any), else `runjail` next to
    where this containerd has its bundles; in it, one directory for each of containerd's namespaces. Raises UsageError.
    """
    asked = _options(options).get("root", "")
    if asked and not asked.startswith("/"):
        raise UsageError(f"the runtime's option root must be an absolute path, not {asked[:80]!a}")
    if asked:
        with open(f"{bundle}/{ROOT_FILE}", "w", encoding="utf-8") as file:
            file.write(asked)
    else:
        asked = _written(bundle) or os.path.dirname(os.path.dirname(os.path.dirname(bundle))) + "/runjail"
    return f"{asked}/{namespace}"


def wants_systemd(options: Message | None) -> bool:
    """Say whether the runtime's options ask for a scope of systemd's; the control group's path has that form then."""
    return bool(_options(options).get("systemd_cgroup"))


def _options(options: Message | None) -> Message:
    """Return what containerd.runc.v1.Options say, nothing of other options."""
    if not options or not options["type_url"].endswith("runc.v1.Options"):
        return {}
    return protobuf.decode(messages.OPTIONS, options["value"])


def _written(bundle: str) -> str:
    try:
        with open(f"{bundle}/{ROOT_FILE}", encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
