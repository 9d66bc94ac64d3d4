"""Layers under native encryption, on a zfs(8) in memory: zfs-fuse has none. The calls are what OpenZFS 2.4 takes."""

import os
import shlex
from pathlib import Path

import pytest

from runjail.errors import StorageError
from runjail.storage.base import LayerKey
from tests.support.storage.fake_zfs import FakeZfs, opened
from tests.support.storage.layers import A, B, add

SEAL = LayerKey("c0ffee", bytes(range(32)))
WRONG = LayerKey("c0ffee", bytes(32))
ROOT = "tank/store/sealed/c0ffee"
LAYER = f"{ROOT}/{'a' * 64}"


def test_a_sealed_layer_is_made_by_these_commands(fake_zfs: FakeZfs) -> None:
    """Those of zfs-create(8), zfs-load-key(8), zfs-mount(8) and zfs-snapshot(8) of OpenZFS 2.4."""
    add(opened(fake_zfs), A, {"a": "a"}, seal=SEAL)

    get = "zfs get -Hp -o name,property,value"
    kept = "org.runjail:chain,org.runjail:seal,mounted"
    parent = "-o canmount=off -o atime=off -o com.sun:auto-snapshot=false"
    assert fake_zfs.calls == [
        f"zfs get -Hp -r -o name,property,value {kept} {LAYER}",
        f"{get} type {ROOT}",
        "zpool get -H -o value feature@encryption tank",
        f"zfs create {parent} tank/store/sealed",
        f"zfs create -o encryption=aes-256-gcm -o keyformat=raw -o keylocation=prompt {parent} {ROOT}",
        f"{get} keystatus {ROOT}",
        f"zfs load-key -n -L prompt {ROOT}",
        f"zfs create -o canmount=noauto -o org.runjail:chain={A} -o org.runjail:seal=c0ffee {LAYER}",
        f"{get} encryption {LAYER}",
        f"zfs mount {LAYER}",
        f"zfs unmount {LAYER}",
        f"zfs set readonly=on {LAYER}",
        f"zfs snapshot {LAYER}@ready",
        f"zfs unload-key {ROOT}",
    ]


def test_the_key_goes_to_standard_input_and_nowhere_else(fake_zfs: FakeZfs, tmp_path: Path) -> None:
    store = opened(fake_zfs)
    add(store, A, {"a": "a"}, seal=SEAL)
    store.create_rootfs("web", A, seal=SEAL)

    wanted = {shlex.split(call)[1] for call, given in zip(fake_zfs.calls, fake_zfs.inputs, strict=True) if given}
    assert wanted == {"create", "load-key"}
    assert set(fake_zfs.inputs) == {b"", SEAL.key}
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and SEAL.key in path.read_bytes()]
    assert SEAL.key.hex() not in f"{SEAL!r} {fake_zfs.calls}"


def test_a_root_has_the_key_while_it_exists(fake_zfs: FakeZfs) -> None:
    store = opened(fake_zfs)
    add(store, A, {"a": "a"}, seal=SEAL)
    assert fake_zfs.shown(ROOT)["keystatus"] == "unavailable"
    for name in ("one", "two"):
        store.create_rootfs(name, A, seal=SEAL)
    assert fake_zfs.shown("tank/store/containers/one")["encryption"] == "aes-256-gcm"
    store.remove_root("one")
    assert fake_zfs.shown(ROOT)["keystatus"] == "available", "another root needs it"
    store.remove_root("two")

    assert fake_zfs.shown(ROOT)["keystatus"] == "unavailable"
    assert store.layers()[0].seal == "c0ffee"


def test_sealed_and_open_layers_are_apart(fake_zfs: FakeZfs) -> None:
    store = opened(fake_zfs)
    add(store, A, {"a": "a"})

    assert not store.has_layer(A, SEAL)
    with pytest.raises(StorageError, match="not in the store"):
        store.draft(B, A, SEAL)
    add(store, A, {"a": "a"}, seal=SEAL)
    add(store, B, {"b": "b"}, parent=A, seal=SEAL)
    assert [(layer.chain, layer.seal, layer.parent) for layer in store.layers()] == [
        (A, "", ""), (A, "c0ffee", ""), (B, "c0ffee", A)]  # fmt: skip


@pytest.mark.parametrize("loaded", [False, True])
def test_another_key_opens_nothing(fake_zfs: FakeZfs, loaded: bool) -> None:
    store = opened(fake_zfs)
    add(store, A, {"a": "a"}, seal=SEAL)
    if loaded:
        store.create_rootfs("mine", A, seal=SEAL)
    before = sorted(fake_zfs.sets)
    for call in (lambda: store.create_rootfs("web", A, seal=WRONG), lambda: store.draft(B, A, WRONG)):
        with pytest.raises(StorageError, match="Incorrect key"):
            call()

    assert sorted(fake_zfs.sets) == before
    assert os.listdir(Path(fake_zfs.home, "store/locks/root")) == []


def test_a_key_that_another_process_loaded_is_checked(fake_zfs: FakeZfs) -> None:
    store = opened(fake_zfs)
    add(store, A, {"a": "a"}, seal=SEAL)
    fake_zfs.failing["load-key"] = [f"Key load error: Key already loaded for '{ROOT}'."]
    with pytest.raises(StorageError, match="Incorrect key"):
        store.create_rootfs("web", A, seal=WRONG)


@pytest.mark.parametrize(
    ("state", "hint"), [("disabled", "zpool set feature@encryption=enabled tank"), ("", "OpenZFS")]
)
def test_pools_that_cannot_encrypt_are_refused(fake_zfs: FakeZfs, state: str, hint: str) -> None:
    store = opened(fake_zfs)
    fake_zfs.encryption = state
    before = sorted(fake_zfs.sets)
    with pytest.raises(StorageError, match="cannot encrypt") as caught:
        store.draft(A, None, SEAL)

    assert hint in str(caught.value.hint)
    assert sorted(fake_zfs.sets) == before


def test_what_should_be_encrypted_and_is_not_is_refused(fake_zfs: FakeZfs) -> None:
    """OpenZFS clones an open snapshot below an encryption root without a word, and the clone is open."""
    store = opened(fake_zfs)
    add(store, A, {"a": "a"}, seal=SEAL)
    del fake_zfs.sets[LAYER + "@ready"]["encryptionroot"]
    with pytest.raises(StorageError, match="not encrypted"):
        store.create_rootfs("web", A, seal=SEAL)
    with pytest.raises(StorageError, match="not encrypted"):
        store.draft(B, A, SEAL)

    assert store.roots() == []
    assert store.sweep() == []
    assert f"{ROOT}/{'b' * 64}" not in fake_zfs.sets


@pytest.mark.parametrize("how", ["remove_layer", "sweep"])
def test_a_seal_goes_with_its_last_layer(fake_zfs: FakeZfs, how: str) -> None:
    store = opened(fake_zfs)
    add(store, A, {"a": "a"}, seal=SEAL)
    if how == "remove_layer":
        store.remove_layer(store.layers()[0])
    else:
        del fake_zfs.sets[LAYER + "@ready"]
        assert store.sweep() == [LAYER]

    assert ROOT not in fake_zfs.sets
    assert store.layers() == []


def test_sweep_forgets_keys(fake_zfs: FakeZfs) -> None:
    store = opened(fake_zfs)
    add(store, A, {"a": "a"}, seal=SEAL)
    fake_zfs.sets[ROOT]["loaded"] = "yes"
    assert store.sweep() == []

    assert fake_zfs.shown(ROOT)["keystatus"] == "unavailable"


@pytest.mark.parametrize("seal", [LayerKey("c0ffee", b"short"), LayerKey("../x", bytes(32)), LayerKey("", bytes(32))])
def test_other_seals_are_refused(fake_zfs: FakeZfs, seal: LayerKey) -> None:
    store = opened(fake_zfs)
    with pytest.raises(StorageError):
        store.draft(A, None, seal)

    assert fake_zfs.calls == []


def test_directories_seal_nothing(tmp_path: Path) -> None:
    """What is decrypted would be at rest there."""
    from runjail.storage.directory import DirectoryStore

    store = DirectoryStore(str(tmp_path / "store"))
    for call in (lambda: store.draft(A, None, SEAL), lambda: store.create_rootfs("web", A, seal=SEAL)):
        with pytest.raises(StorageError, match="cannot encrypt"):
            call()

    assert os.listdir(tmp_path / "store/layers") == []
