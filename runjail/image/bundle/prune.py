"""Making room: what no name leads to and nothing uses.

A layer or root in use is never destroyed; the store refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runjail.errors import InUse
from runjail.image import digest as digests
from runjail.image import resolve
from runjail.image.bundle import owned
from runjail.image.bundle.verified import VerifiedLayers
from runjail.image.content.store import ContentStore, Lock
from runjail.storage.base import LayerInfo, Store


@dataclass(frozen=True)
class Pruned:
    """What was removed. half_made, layers: datasets or directories; roots: names; blobs: digests; freed: their bytes.

    busy: names, layers and roots without a bundle stayed because somebody unpacks or fetches an image just now.
    """

    half_made: tuple[str, ...]
    roots: tuple[str, ...]
    names: tuple[str, ...]
    layers: tuple[str, ...]
    blobs: tuple[str, ...]
    freed: int
    busy: bool = False


def prune(content: ContentStore, store: Store, used: Callable[[str, str], bool], *, names: bool = False) -> Pruned:
    """Remove what is half-made, what belongs to containers that are gone, and what no name leads to.

    used: (state directory, name of a bundle) to whether a container there was made of it. names: also take
    the names of images away that no container was made of.
    """
    half_made = store.sweep()
    roots = owned.orphans(store, used)
    untagged: list[str] = []
    removed: list[str] = []
    with Lock(f"{content.directory}/blobs", wait=False) as alone:  # the lease of whoever uses images
        if alone.held:
            roots += owned.lost_roots(store, used)
            untagged = _untag_unused(content, store) if names else []
            needed = _needed(content).values()
            removed = _remove_layers(store, {chain for chains, _diff_ids in needed for chain in chains})
            VerifiedLayers(content).forget({diff_id for _chains, diff_ids in needed for diff_id in diff_ids})
    blobs, freed = content.garbage_collect(partial=names)
    return Pruned(tuple(half_made), tuple(roots), tuple(untagged), tuple(removed), tuple(blobs), freed, not alone.held)


def _needed(content: ContentStore) -> dict[str, tuple[list[str], list[str]]]:
    """Return for each name the chainIDs and the diffIDs of its images."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for name, top in content.names().items():
        chains, diff_ids = found.setdefault(name, ([], []))
        for image in resolve.every(content.read, name, top):
            chains += digests.chain_ids(image.config.diff_ids)
            diff_ids += image.config.diff_ids
    return found


def _untag_unused(content: ContentStore, store: Store) -> list[str]:
    used = {root.chain for root in store.roots()}
    unused = [name for name, (chains, _diff_ids) in _needed(content).items() if not used.intersection(chains)]
    for name in unused:
        content.untag(name)
    return unused


def _remove_layers(store: Store, needed: set[str]) -> list[str]:
    """Remove layers from the highest down, until what is left is needed or used."""
    removed: list[str] = []
    pending = [layer for layer in store.layers() if layer.chain not in needed]
    while pending:
        blocked: list[LayerInfo] = []
        for layer in pending:
            try:
                store.remove_layer(layer)
                removed.append(layer.name)
            except InUse:
                blocked.append(layer)
        if len(blocked) == len(pending):
            break
        pending = blocked
    return removed
