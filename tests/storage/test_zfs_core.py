"""libzfs_core through OpenZFS's pyzfs: which one is taken, what it is told, what its errors mean."""

import errno
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import InUse, StorageError
from runjail.storage import zfs_core
from runjail.storage.zfs_open import open_at as open_zfs
from tests.support.storage.fake_zfs import FakeZfs
from tests.support.storage.layers import A, B, add


class ZFSError(Exception):
    """As libzfs_core.exceptions has it: number and message, no arguments."""

    def __init__(self, number: int, message: str, errors: "tuple[ZFSError, ...]" = ()) -> None:
        self.errno, self.message, self.errors = number, message, errors


class FakeCore(types.ModuleType):
    """libzfs_core on top of the zfs(8) in memory; names and values have to be what nvlists take."""

    def __init__(self, zfs: FakeZfs) -> None:
        super().__init__("libzfs_core")
        self.zfs, self.calls = zfs, list[tuple[Any, ...]]()
        self.exceptions = types.SimpleNamespace(ZFSError=ZFSError)
        self.failing: list[ZFSError] = []

    def _do(self, verb: str, *words: str) -> None:
        if self.failing:
            raise self.failing.pop(0)
        result = self.zfs.run(("/sbin/zfs", verb, *words))
        self.zfs.calls.pop()
        if result.status:
            raise ZFSError(errno.EINVAL, result.stderr.decode())

    def lzc_exists(self, name: bytes) -> bool:
        self.calls.append(("exists", name))
        return name.decode() in self.zfs.sets

    def lzc_create(self, name: bytes, ds_type: str = "zfs", props: Any = None, key: bytes | None = None) -> None:
        self.calls.append(("create", name, ds_type, props))
        assert key is None
        self._do("create", *options(props), name.decode())

    def lzc_clone(self, name: bytes, origin: bytes, props: Any = None) -> None:
        self.calls.append(("clone", name, origin, props))
        self._do("clone", *options(props), origin.decode(), name.decode())

    def lzc_snapshot(self, snaps: list[bytes], props: Any = None) -> None:
        self.calls.append(("snapshot", snaps))
        for name in snaps:
            self._do("snapshot", name.decode())

    def lzc_destroy(self, name: bytes) -> None:
        self.calls.append(("destroy", name))
        assert self.zfs.sets[name.decode()]["mounted"] == "no", "libzfs_core does not unmount"
        self._do("destroy", name.decode())

    def lzc_destroy_snaps(self, snaps: list[bytes], defer: bool) -> None:
        self.calls.append(("destroy_snaps", snaps, defer))
        for name in snaps:
            self._do("destroy", name.decode())


def options(props: dict[bytes, Any]) -> list[str]:
    words = []
    for key, value in props.items():
        assert isinstance(key, bytes)
        assert isinstance(value, bytes if b":" in key else int)
        words += ["-o", f"{key.decode()}={value.decode() if isinstance(value, bytes) else value}"]
    return words


@pytest.fixture
def zfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeZfs:
    fake = FakeZfs(str(tmp_path / "tank"))
    monkeypatch.setattr("runjail.storage.zfs_datasets.os.path.ismount", fake.is_mounted)
    return fake


@pytest.fixture
def core(zfs: FakeZfs, monkeypatch: pytest.MonkeyPatch) -> FakeCore:
    module = FakeCore(zfs)
    monkeypatch.setitem(sys.modules, "libzfs_core", module)
    return module


def test_layers_are_made_and_removed_without_programs(zfs: FakeZfs, core: FakeCore) -> None:
    store = open_zfs("tank/store", default="", warn=pytest.fail, zfs=zfs.cli())
    zfs.calls.clear()
    add(store, A)
    add(store, B, parent=A)
    for layer in store.layers()[::-1]:
        store.remove_layer(layer)

    name = f"tank/store/layers/{'a' * 64}".encode()
    ours = {b"canmount": 2, b"org.runjail:chain": A.encode()}
    assert ("create", name, "zfs", ours) in core.calls
    assert ("snapshot", [name + b"@ready"]) in core.calls
    assert ("destroy_snaps", [name + b"@ready"], False) in core.calls
    assert ("destroy", name) in core.calls
    assert {call.split()[1] for call in zfs.calls} == {"get", "mount", "unmount", "set"}


def test_a_container_does_not_wait_for_its_import(zfs: FakeZfs, core: FakeCore) -> None:
    store = open_zfs("tank/store", default="", warn=pytest.fail, zfs=zfs.cli())
    add(store, A)
    again = open_zfs("tank/store", default="", warn=pytest.fail, zfs=zfs.cli())
    core.calls.clear()
    again.create_rootfs("web", A)
    again.remove_root("web")

    assert core.calls == []


def test_busy_is_tried_again_and_cloned_is_in_use(zfs: FakeZfs, core: FakeCore) -> None:
    store = open_zfs("tank/store", default="", warn=pytest.fail, zfs=zfs.cli())
    add(store, A)
    layer = store.layers()[0]
    core.failing = [ZFSError(errno.EEXIST, "several", (ZFSError(errno.EEXIST, "Snapshot is cloned"),))]
    with pytest.raises(InUse, match="Snapshot is cloned"):
        store.remove_layer(layer)
    assert store.has_layer(A)
    core.failing = [ZFSError(errno.EBUSY, "Dataset is busy")] * 2
    store.remove_layer(layer)
    core.failing = [ZFSError(errno.ENOSPC, "No space left")]
    with pytest.raises(StorageError, match="No space left"):
        store.draft(A, None)

    assert store.layers() == []
    assert store.sweep() == []


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EIO])
def test_what_is_gone_is_destroyed(zfs: FakeZfs, core: FakeCore, number: int) -> None:
    found = zfs_core.load(zfs.cli(), "tank", pytest.fail)
    zfs.sets["tank/x"] = {"mounted": "no"}
    core.failing = [ZFSError(number, "said")]
    if number == errno.ENOENT:
        assert found.destroy("tank/x")
    else:
        with pytest.raises(StorageError, match="said"):
            found.destroy("tank/x")


def test_sizes_and_switches_are_numbers() -> None:
    given = {
        "quota": "1024",
        "canmount": "noauto",
        "atime": "off",
        "readonly": "on",
        "sync": "disabled",
        "org.runjail:x": "1",
    }

    assert zfs_core._numbers(given) == {
        b"quota": 1024, b"canmount": 2, b"atime": 0, b"readonly": 1, b"sync": 2, b"org.runjail:x": b"1"}  # fmt: skip


@pytest.mark.parametrize("destroy", [False, True])
def test_the_old_pyzfs_is_refused(zfs: FakeZfs, monkeypatch: pytest.MonkeyPatch, destroy: bool) -> None:
    """PyPI's 0.2.3 has no lzc_destroy; its lzc_create knows no key, and kills the interpreter."""

    def lzc_create(name: bytes, ds_type: str = "zfs", props: Any = None) -> None:
        raise AssertionError("this would be the end")

    old: Any = types.ModuleType("libzfs_core")
    old.lzc_create = lzc_create
    if destroy:
        old.lzc_destroy = old.lzc_exists = lambda name: True
    monkeypatch.setitem(sys.modules, "libzfs_core", old)
    said: list[str] = []
    cli = zfs.cli()

    assert zfs_core.load(cli, "tank", said.append) is cli
    assert len(said) == 1
    assert "pyzfs" in said[0]


def test_a_store_warns_once(zfs: FakeZfs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libzfs_core", types.ModuleType("libzfs_core"))
    said: list[str] = []
    store = open_zfs("tank/store", default="", warn=said.append, zfs=zfs.cli())
    add(store, A)
    add(store, B, parent=A)

    assert len(said) == 1


def test_without_it_zfs_does_it_all(zfs: FakeZfs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libzfs_core", None)
    cli = zfs.cli()

    assert zfs_core.load(cli, "tank", pytest.fail) is cli


@pytest.mark.parametrize("fault", ["other", "broken"])
def test_another_zfs_is_not_used(zfs: FakeZfs, core: FakeCore, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """A library that does not see what zfs(8) sees, or sees nothing at all."""

    def answer(_name: bytes) -> bool:
        if fault == "broken":
            raise ZFSError(errno.ENXIO, "Failed to initialize libzfs_core")
        return False

    monkeypatch.setattr(core, "lzc_exists", answer)
    cli = zfs.cli()

    assert zfs_core.load(cli, "tank", pytest.fail) is cli
