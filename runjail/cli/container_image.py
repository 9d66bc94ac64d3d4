"""What verbs about a container of `run --image` share: its root in the store, its changes."""

from __future__ import annotations

import json
import os

from runjail.cli.args import Args
from runjail.cli.context import Context
from runjail.container.container import Container
from runjail.errors import UsageError
from runjail.image.bundle import owned
from runjail.storage.base import Store
from runjail.storage.open import open_store

Change = tuple[str, bytes]


class ContainerImage:
    """A container that was made of an image. Raises ContainerNotFound, UsageError for one of a bundle."""

    def __init__(self, args: Args, context: Context) -> None:
        self.container: Container = context.runtime().find(args.positionals[0])
        bundle = self.container.state.bundle
        self.location = owned.location(bundle)
        if not self.location:
            raise UsageError(f"container {self.container.id} was not made by run --image")
        self.name = os.path.basename(bundle)
        self.document = json.loads(self.container.config())

    @property
    def annotations(self) -> dict[str, str]:
        """Annotations of config.json, which name the image."""
        found: dict[str, str] = self.document.get("annotations") or {}
        return found

    def changes(self, store: Store | None = None) -> list[Change]:
        """Return what it changed, without what mounts have made. Raises StorageError."""
        found = (store or open_store(self.location, default="", make=False)).changes(self.name)
        places = {os.fsencode(os.path.normpath(mount["destination"])[1:]) for mount in self.document["mounts"]}
        return [(kind, path) for kind, path in found if path not in places]
