"""Where the state of a shim's containers is."""

from __future__ import annotations

import os

from runjail import protobuf
from runjail.errors import UsageError
from runjail.shim import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.protobuf import Message

FILE = "runjail-root"  # in the bundle, where the runtime's options name a directory: for the `delete` after us


def state_root(bundle: str, namespace: str, options: Message | None = None) -> str:
    """Return the state directory for a bundle's container.

    It is the one that the options of the runtime name (containerd.runc.v1.Options, as Any), else `runjail` next to
    where this containerd has its bundles; in it, one directory for each of containerd's namespaces. Raises UsageError.
    """
    asked = ""
    if options and options["type_url"].endswith("runc.v1.Options"):
        asked = protobuf.decode(messages.OPTIONS, options["value"])["root"]
    if asked and not asked.startswith("/"):
        raise UsageError(f"the runtime's option root must be an absolute path, not {asked[:80]!a}")
    if asked:
        with open(f"{bundle}/{FILE}", "w", encoding="utf-8") as file:
            file.write(asked)
    else:
        asked = _written(bundle) or os.path.dirname(os.path.dirname(os.path.dirname(bundle))) + "/runjail"
    return f"{asked}/{namespace}"


def _written(bundle: str) -> str:
    try:
        with open(f"{bundle}/{FILE}", encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
