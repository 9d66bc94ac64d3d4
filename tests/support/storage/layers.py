"""Small layers for tests, and what is in a store."""

import os
import subprocess
from pathlib import Path

from runjail.storage.base import LayerKey, Store

A, B, C, D = (f"sha256:{digit * 64}" for digit in "abcd")


def add(
    store: Store,
    chain: str,
    files: dict[str, str] | None = None,
    parent: str | None = None,
    seal: LayerKey | None = None,
) -> None:
    """Make a layer of these files and insist that it was not there."""
    draft = store.draft(chain, parent, seal)
    assert draft is not None
    with draft:
        for name, text in (files or {}).items():
            path = Path(draft.path, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        draft.commit()


def names(store: Store) -> list[str]:
    """Return all datasets of a ZFS store, or all directories of the other kind, locks included."""
    kind, _, place = store.location.partition(":")
    if kind != "zfs":
        found = sorted(f"{top}/{name}" for top, _dirs, files in os.walk(place) for name in ["", *files])
        return [path for path in found if "/locks" not in path or not path.endswith("/")]
    listed = subprocess.run(
        ["zfs", "list", "-H", "-r", "-t", "all", "-o", "name", place], capture_output=True, text=True
    )
    home = subprocess.run(["zfs", "list", "-H", "-o", "mountpoint", place], capture_output=True, text=True)
    locks = [f"{top}/{name}" for top, _dirs, files in os.walk(f"{home.stdout.strip()}/locks") for name in files]
    return sorted(listed.stdout.splitlines() + locks)
