"""What every store promises, whatever it is made of."""

import os
from pathlib import Path

import pytest

from runjail.errors import InUse, StorageError
from runjail.storage.base import LayerInfo, RootfsUse, Store
from runjail.storage.open import open_store
from runjail.storage.store_lock import StoreDirectory
from tests.support.storage.layers import A, B, C, add, names


def test_a_layer_exists_once_it_is_committed(store: Store) -> None:
    with store.draft(A, None) as draft:
        Path(draft.path, "a").write_text("a")
        assert not store.has_layer(A)
        assert store.layers() == []
        draft.commit()

    assert store.has_layer(A)
    assert [layer.chain for layer in store.layers()] == [A]


def test_a_committed_layer_is_not_made_again(store: Store) -> None:
    add(store, A)

    assert store.draft(A, None) is None
    assert store.draft(A, None) is None, "the first answer kept a lock"


@pytest.mark.parametrize("how", ["abort", "leave", "fail"])
def test_a_draft_that_is_given_up_leaves_nothing(store: Store, how: str) -> None:
    before = names(store)
    try:
        with store.draft(A, None) as draft:
            Path(draft.path, "a").write_text("a")
            if how == "abort":
                draft.abort()
            if how == "fail":
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass

    assert not store.has_layer(A)
    assert names(store) == before
    add(store, A)


def test_a_draft_is_committed_once(store: Store) -> None:
    with store.draft(A, None) as draft:
        draft.commit()
        with pytest.raises(StorageError, match="already"):
            draft.commit()
    assert store.has_layer(A)


def test_a_draft_shows_the_whole_tree_and_changes_only_its_own(store: Store) -> None:
    add(store, A, {"etc/one": "1", "etc/two": "2"})
    with store.draft(B, A) as draft:
        top = Path(draft.path)
        assert (top / "etc/one").read_text() == "1"
        (top / "etc/two").unlink()
        (top / "etc/two").write_text("new")
        (top / "etc/one").unlink()
        draft.commit()
    store.create_rootfs("a", A)
    store.create_rootfs("b", B)

    lower, upper = (Path(store.root(name).path) for name in "ab")
    assert sorted(os.listdir(lower / "etc")) == ["one", "two"]
    assert (lower / "etc/two").read_text() == "2"
    assert os.listdir(upper / "etc") == ["two"]
    assert (upper / "etc/two").read_text() == "new"


def test_layers_say_what_they_are(store: Store) -> None:
    add(store, A, {"big": "a" * 300_000})
    add(store, B, {"small": "b" * 100_000}, parent=A)
    store.create_rootfs("web", B)
    by_chain = {layer.chain: layer for layer in store.layers()}

    assert (by_chain[A].parent, by_chain[B].parent) == ("", A)
    assert (by_chain[A].users, by_chain[B].users) == ((), ("web",))
    assert 300_000 <= by_chain[A].size < 400_000 or store.kind == "zfs"
    assert by_chain[A].total <= by_chain[B].total
    assert by_chain[B].size < by_chain[B].total
    assert by_chain[B].total >= 400_000
    assert by_chain[A].created > 1_000_000_000
    assert by_chain[A].seal == ""


def test_a_layer_needs_its_parent(store: Store) -> None:
    before = names(store)
    with pytest.raises(StorageError, match="not in the store"):
        store.draft(B, A)

    assert names(store) == before


def test_layers_in_use_stay(store: Store) -> None:
    add(store, A)
    add(store, B, parent=A)
    store.create_rootfs("web", B)
    by_chain = {layer.chain: layer for layer in store.layers()}
    for chain in (A, B):
        with pytest.raises(InUse):
            store.remove_layer(by_chain[chain])
        assert store.has_layer(chain)
    store.remove_root("web")
    with pytest.raises(InUse):
        store.remove_layer(by_chain[A])
    store.remove_layer(by_chain[B])
    store.remove_layer(by_chain[A])
    store.remove_layer(by_chain[A])

    assert store.layers() == []


def test_a_layer_in_the_making_keeps_its_parent(store: Store) -> None:
    add(store, A)
    layer = store.layers()[0]
    with store.draft(B, A) as draft:
        with pytest.raises(InUse):
            store.remove_layer(layer)
        draft.commit()
    assert store.has_layer(A)


def test_a_root_is_a_writable_copy_of_its_layer(store: Store) -> None:
    add(store, A, {"etc/motd": "hello"})
    path = Path(store.create_rootfs("web", A, use=RootfsUse(properties={"image": "x:1", "note": "ä = b"})))
    (path / "etc/motd").write_text("changed")
    (path / "new").write_text("new")
    info = store.root("web")

    assert info is not None
    assert (info.name, info.chain, info.path) == ("web", A, str(path))
    assert info.properties == {"image": "x:1", "note": "ä = b"}
    assert [root.name for root in store.roots()] == ["web"]
    other = Path(store.create_rootfs("other", A))
    assert (other / "etc/motd").read_text() == "hello"


@pytest.mark.parametrize("name", ["a", "A+b.c_d-e", ".hidden", "1234", "x" * 64])
def test_roots_have_container_ids(store: Store, name: str) -> None:
    add(store, A)
    path = store.create_rootfs(name, A)

    assert os.path.isdir(path)
    assert [root.name for root in store.roots()] == [name]
    store.remove_root(name)
    assert not os.path.exists(path)
    assert store.root(name) is None


def test_a_root_is_made_once(store: Store) -> None:
    add(store, A, {"a": "1"})
    path = Path(store.create_rootfs("web", A))
    (path / "mine").write_text("kept")
    with pytest.raises(StorageError, match="exists already"):
        store.create_rootfs("web", A)
    assert store.sweep() == []

    assert (path / "mine").read_text() == "kept"


def abandon(store: Store, name: str) -> None:
    """Die while something is done to this root."""
    pid = os.fork()
    if not pid:
        store._home.lock("root", name)  # type: ignore[attr-defined]
        os._exit(0)
    os.waitpid(pid, 0)


def test_a_root_whose_maker_died_is_made_again(store: Store) -> None:
    add(store, A, {"a": "1"})
    path = Path(store.create_rootfs("web", A))
    (path / "half").write_text("")
    abandon(store, "web")
    store.create_rootfs("web", A)

    assert os.listdir(path) == ["a"]
    assert store.sweep() == []


def test_a_root_whose_maker_died_is_swept(store: Store) -> None:
    add(store, A, {"a": "1"})
    path = store.create_rootfs("web", A)
    abandon(store, "web")

    assert len(store.sweep()) == 1
    assert not os.path.exists(f"{path}/a")
    assert store.roots() == []


def test_a_root_that_was_finished_meanwhile_is_not_swept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock was there when sweep looked and has gone since, in peace."""
    add(store, A, {"a": "1"})
    path = store.create_rootfs("web", A)
    monkeypatch.setattr(StoreDirectory, "locks", lambda _home, kind: ["web"] if kind == "root" else [])

    assert store.sweep() == []
    assert os.path.exists(f"{path}/a")


def test_a_root_needs_its_layer(store: Store) -> None:
    before = names(store)
    with pytest.raises(StorageError, match="not in the store"):
        store.create_rootfs("web", A)

    assert names(store) == before
    assert store.roots() == []
    assert store.root("web") is None


def test_removing_twice_is_success(store: Store) -> None:
    add(store, A)
    store.create_rootfs("web", A)
    store.remove_root("web")
    store.remove_root("web")
    store.remove_root("never")

    assert store.roots() == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "a b", "ä", "x" * 256, "a@b", "a\n"])
def test_other_names_are_refused(store: Store, name: str) -> None:
    add(store, A)
    before = names(store)
    for call in (lambda: store.create_rootfs(name, A), lambda: store.remove_root(name), lambda: store.root(name)):
        with pytest.raises(StorageError):
            call()

    assert names(store) == before


@pytest.mark.parametrize("chain", ["", "sha256:", "sha256:" + "A" * 64, "md5:" + "a" * 32, "a" * 64, "sha256:../../x"])
def test_other_chains_are_refused(store: Store, chain: str) -> None:
    before = names(store)
    for call in (
        lambda: store.draft(chain, None),
        lambda: store.has_layer(chain),
        lambda: store.create_rootfs("a", chain),
    ):
        with pytest.raises(StorageError, match="not a chain ID"):
            call()
    with pytest.raises(StorageError):
        store.remove_layer(LayerInfo(chain, "", 0, 0, "", 0, (), ""))

    assert names(store) == before


def test_sha512_chains_work(store: Store) -> None:
    chain = "sha512:" + "c" * 128
    add(store, chain)

    assert [layer.chain for layer in store.layers()] == [chain]


@pytest.mark.parametrize(
    "wrong", [{"name": "x"}, {"Big": "x"}, {"": "x"}, {"a": "b\nc"}, {"a": "b\tc"}, {"a": "x" * 5000}]
)
def test_other_properties_are_refused(store: Store, wrong: dict[str, str]) -> None:
    add(store, A)
    with pytest.raises(StorageError):
        store.create_rootfs("web", A, use=RootfsUse(properties=wrong))

    assert store.roots() == []


def test_content_and_bundles_are_private(store: Store) -> None:
    for path in (store.content(), store.bundles()):
        assert os.path.isdir(path)
        assert os.stat(path).st_mode & 0o777 == 0o700


def test_a_store_opens_again(store: Store, location: str) -> None:
    add(store, A, {"a": "1"})
    again = open_store(location, default="/nonexistent")

    assert again.has_layer(A)
    assert (again.kind, again.location) == (store.kind, location)
    assert again.draft(A, None) is None


def test_many_layers_are_read_at_once(store: Store) -> None:
    parent = None
    for chain in (A, B, C):
        add(store, chain, {chain[-3:]: "x"}, parent=parent)
        parent = chain

    assert {layer.chain: layer.parent for layer in store.layers()} == {A: "", B: A, C: B}
