"""The arguments that containerd gives a shim: flags, variables of the environment, and standard input."""

from __future__ import annotations

import os

from runjail import protobuf
from runjail.errors import UsageError
from runjail.shim import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_ID = 255
FLAGS = {  # name: whether it takes a value
    **dict.fromkeys(("namespace", "address", "publish-binary", "id", "socket", "debug-socket", "bundle"), True),
    **dict.fromkeys(("debug", "v", "version", "info"), False),
}


class Args:
    """The command line, completed from the environment and from what came on standard input."""

    def __init__(self, words: Sequence[str]) -> None:
        """Parse Go's flag syntax: `-x v`, `-x=v`, `--x`. Raises UsageError."""
        self.flags: dict[str, str] = {}
        self.verb = ""
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if not word.startswith("-"):
                self.verb = self.verb or word
                continue
            name, equals, value = word.lstrip("-").partition("=")
            if name not in FLAGS:
                raise UsageError(f"unknown flag {word[:80]!r}")
            if FLAGS[name] and not equals:
                if not rest:
                    raise UsageError(f"flag -{name} needs a value")
                value = rest.pop(0)
            self.flags[name] = value if FLAGS[name] or equals else "true"

    def text(self, name: str, variable: str = "") -> str:
        """Return a flag's value, or the variable's that newer versions of containerd set."""
        return self.flags.get(name, "") or os.environ.get(variable, "")

    def complete(self, stdin: bytes) -> None:
        """Take what is missing from containerd.runtime.bootstrap.v1.BootstrapParams (2.3).

        Older versions send options instead, or nothing: what does not name our container is not for us.
        """
        try:
            params = protobuf.decode(messages.BOOTSTRAP, stdin)
        except ValueError:
            return
        flags = {"id": params["instance_id"], "namespace": params["namespace"]}
        if not all(flags.values()) or any(self.flags.get(name, value) != value for name, value in flags.items()):
            return
        flags |= {"address": params["containerd_grpc_address"], "events": params["containerd_ttrpc_address"]}
        flags["sockets"] = params["socket_dir"]
        self.flags = {**{name: value for name, value in flags.items() if value}, **self.flags}

    @property
    def id(self) -> str:
        """The container, which becomes part of paths. Raises UsageError for what cannot be one."""
        found = self.text("id")
        if not found or "/" in found or found in (".", "..") or len(found) > LONGEST_ID:  # the store knows all rules
            raise UsageError(f"invalid container ID format: {ascii(found)[:80]}")
        return found

    @property
    def namespace(self) -> str:
        """The namespace of containerd's, which becomes part of paths. Raises UsageError."""
        found = self.text("namespace", "NAMESPACE")
        if not found or "/" in found or found.startswith("."):
            raise UsageError(f"not a namespace: {found[:80]!r}")
        return found

    @property
    def address(self) -> str:
        """The socket of containerd's."""
        return self.text("address", "GRPC_ADDRESS")

    @property
    def events(self) -> str:
        """Where containerd takes events."""
        return os.environ.get("TTRPC_ADDRESS") or self.text("events") or f"{self.address}.ttrpc"
