"""Who has a volume: the containers whose bundles in the store mount it."""

from __future__ import annotations

import os

from runjail import jsonio
from runjail.storage.base import Store


def users(path: str, store: Store) -> list[str]:
    """Return the bundles that mount a directory: of containers below any --root, as long as they exist."""
    bundles = store.bundles()
    return [name for name in sorted(os.listdir(bundles)) if path in _sources(f"{bundles}/{name}/config.json")]


def _sources(path: str) -> list[str]:
    """Return what a config.json mounts; nothing of one that is being made or removed."""
    try:
        with open(path, "rb") as file:
            document = jsonio.loads(file.read())
        return [mount.get("source") for mount in document["mounts"]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []
