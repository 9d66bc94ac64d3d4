"""Layers under native encryption, on an OpenZFS that has it: what test_encryption.py has on one in memory."""

import os
import subprocess
from pathlib import Path

import pytest

from runjail.errors import InUse, StorageError
from runjail.storage.base import LayerInfo, LayerKey, Store
from runjail.storage.open import open_store
from tests.support.storage.layers import A, B, add, names
from tests.support.zfs_pool import Pool, zfs

pytestmark = pytest.mark.needs("zfs")
SEAL = LayerKey("ab12cd34", bytes(range(32)))
WRONG = LayerKey("ab12cd34", bytes(32))


@pytest.fixture
def store(zpool: Pool, dataset: str) -> Store:
    """An empty store in a pool that can encrypt."""
    asked = ["zpool", "get", "-H", "-o", "value", "feature@encryption", zpool.name]
    if subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() not in ("enabled", "active"):
        pytest.skip("this ZFS cannot encrypt")
    return open_store(f"zfs:{dataset}/store", default="")


@pytest.fixture
def root(store: Store) -> str:
    """The dataset of the seal."""
    return f"{store.location.removeprefix('zfs:')}/sealed/{SEAL.name}"


def value(dataset: str, name: str) -> str:
    """Return one property."""
    return zfs("get", "-H", "-o", "value", name, dataset).strip()


def written(path: Path) -> bytes:
    """Return what is in a sparse file, without its holes."""
    found, position, end = b"", 0, path.stat().st_size
    with open(path, "rb") as file:
        while position < end:
            try:
                start = os.lseek(file.fileno(), position, os.SEEK_DATA)
            except OSError:  # ENXIO: a hole up to the end
                break
            position = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found += os.pread(file.fileno(), position - start, start)
    return found


def layer(store: Store, chain: str) -> LayerInfo:
    """Return one committed layer."""
    return next(layer for layer in store.layers() if layer.chain == chain)


def test_a_container_of_a_sealed_image(store: Store, root: str) -> None:
    """The whole life: layers, a clone with the key, no key without a clone, and nothing at the end."""
    before = names(store)
    add(store, A, {"a": "a"}, seal=SEAL)
    add(store, B, {"b": "b"}, parent=A, seal=SEAL)
    assert value(root, "keystatus") == "unavailable"
    assert [(layer.chain, layer.seal, layer.parent) for layer in store.layers()] == [
        (A, SEAL.name, ""), (B, SEAL.name, A)]  # fmt: skip

    path = Path(store.create_rootfs("web", B, seal=SEAL))
    assert ((path / "a").read_text(), (path / "b").read_text()) == ("a", "b")
    (path / "c").write_text("c")
    made = store.root("web")
    assert made
    assert (value(made.dataset, "encryption"), value(made.dataset, "encryptionroot")) == ("aes-256-gcm", root)
    assert store.sweep() == []
    assert value(root, "keystatus") == "available", "in use"

    store.remove_root("web")
    assert value(root, "keystatus") == "unavailable"
    with pytest.raises(InUse):
        store.remove_layer(layer(store, A))
    for chain in (B, A):
        store.remove_layer(layer(store, chain))
    assert [name for name in names(store) if name not in before] == [os.path.dirname(root)]


def test_the_key_stays_for_the_other_container(store: Store, root: str) -> None:
    add(store, A, {"a": "a"}, seal=SEAL)
    paths = [Path(store.create_rootfs(name, A, seal=SEAL)) for name in ("one", "two")]
    store.remove_root("one")
    (paths[1] / "b").write_text("b")

    assert value(root, "keystatus") == "available"


@pytest.mark.parametrize("loaded", [False, True])
def test_another_key_is_refused(store: Store, loaded: bool) -> None:
    add(store, A, {"a": "a"}, seal=SEAL)
    if loaded:
        store.create_rootfs("mine", A, seal=SEAL)
    before = names(store)
    for call in (lambda: store.create_rootfs("web", A, seal=WRONG), lambda: store.draft(B, A, WRONG)):
        with pytest.raises(StorageError, match="Incorrect key"):
            call()

    assert names(store) == before


def test_an_open_layer_does_not_pass_for_a_sealed_one(store: Store, root: str) -> None:
    """ZFS clones an open snapshot below an encryption root, and the clone is open."""
    add(store, A, {"a": "a"}, seal=SEAL)
    zfs("destroy", "-r", layer(store, A).name)
    add(store, A, {"a": "open"})
    zfs("clone", "-o", f"org.runjail:chain={A}", "-o", f"org.runjail:seal={SEAL.name}",
        "-o", "canmount=noauto", f"{layer(store, A).name}@ready", f"{root}/{'a' * 64}")  # fmt: skip
    zfs("snapshot", f"{root}/{'a' * 64}@ready")
    with pytest.raises(StorageError, match="not encrypted"):
        store.create_rootfs("web", A, seal=SEAL)

    assert store.roots() == []


def test_sweep_forgets_the_key_and_what_is_half_made(store: Store, root: str) -> None:
    """As after the death of who had it loaded."""
    add(store, A, {"a": "a"}, seal=SEAL)
    subprocess.run(["zfs", "load-key", "-L", "prompt", root], input=SEAL.key, check=True, capture_output=True)
    assert value(root, "keystatus") == "available"
    assert store.sweep() == []
    assert value(root, "keystatus") == "unavailable"

    zfs("destroy", f"{layer(store, A).name}@ready")
    assert store.sweep() == [f"{root}/{'a' * 64}"]
    assert root not in names(store)


def test_what_is_sealed_is_not_on_the_disk(store: Store, zpool: Pool) -> None:
    """Neither the files' bytes nor the key; those of an open layer are."""
    secret, public = os.urandom(64).hex(), os.urandom(64).hex()
    add(store, A, {"a": secret}, seal=SEAL)
    add(store, A, {"a": public})
    subprocess.run(["sync"], check=True)
    subprocess.run(["zpool", "sync", zpool.name], check=False, capture_output=True)
    disk = written(zpool.disk)

    assert public.encode() in disk
    assert secret.encode() not in disk
    assert SEAL.key not in disk
