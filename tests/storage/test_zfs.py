"""What only the ZFS store does: other people's datasets, pools that are busy, commands that fail."""

import os
import subprocess
from pathlib import Path

import pytest

from runjail.errors import InUse, StorageError
from runjail.host import programs
from runjail.storage import open as choose
from runjail.storage import zfs_cli
from runjail.storage.base import RootfsUse, Store
from runjail.storage.open import open_store
from runjail.storage.zfs_open import decide
from runjail.storage.zfs_open import open_at as open_zfs
from tests.support.storage.fake_zfs import FakeZfs, opened
from tests.support.storage.layers import A, B, add, names
from tests.support.zfs_pool import zfs

REAL = pytest.mark.needs("zfs")


@pytest.fixture
def real(dataset: str) -> Store:
    return open_store(f"zfs:{dataset}", default="")


@REAL
def test_a_missing_dataset_is_made_and_a_missing_pool_is_not(dataset: str) -> None:
    assert open_store(f"zfs:{dataset}/new", default="").location == f"zfs:{dataset}/new"
    with pytest.raises(StorageError, match="does not exist") as caught:
        open_store(f"zfs:{dataset}/no/such", default="")
    assert caught.value.hint == f"zfs create -p {dataset}/no"
    with pytest.raises(StorageError, match="does not exist") as caught:
        open_store("zfs:nosuchpool", default="")
    assert "zpool list" in str(caught.value.hint)


@REAL
def test_a_store_needs_a_mount_point(dataset: str, tmp_path: Path) -> None:
    zfs("create", "-o", "mountpoint=none", f"{dataset}/none")
    with pytest.raises(StorageError, match="no mount point") as caught:
        open_store(f"zfs:{dataset}/none", default="/var/db/runjail")
    assert caught.value.hint == f"zfs set mountpoint=/var/db/runjail {dataset}/none"

    open_store(f"zfs:{dataset}/none/store", default=str(tmp_path / "store"))
    assert os.path.isdir(tmp_path / "store/layers")


@REAL
def test_an_unmounted_store_is_mounted(dataset: str) -> None:
    add(open_store(f"zfs:{dataset}", default=""), A)
    zfs("unmount", dataset)

    assert open_store(f"zfs:{dataset}", default="").has_layer(A)


@REAL
def test_layers_are_read_only_and_unmounted(real: Store, dataset: str) -> None:
    add(real, A, {"a": "a"})
    found = zfs("get", "-H", "-o", "property,value", "readonly,mounted,canmount,atime", real.layers()[0].name)

    assert dict(line.split("\t") for line in found.splitlines()) == {
        "readonly": "on", "mounted": "no", "canmount": "noauto", "atime": "off"}  # fmt: skip


@REAL
def test_a_size_is_enforced(real: Store) -> None:
    add(real, A, {"a": "a" * 2_000_000})
    path = Path(real.create_rootfs("web", A, use=RootfsUse(size=1 << 20)))
    root = real.root("web")
    assert root
    assert root.quota == 1 << 20
    with pytest.raises(OSError, match="quota"), open(path / "big", "wb", buffering=0) as file:
        for _ in range(64):
            file.write(os.urandom(1 << 17))
            os.fsync(file.fileno())


@REAL
def test_what_others_made_stays(real: Store, dataset: str) -> None:
    """A dataset in our place, a snapshot of a root and one of a layer: sweep and remove leave them, and say so."""
    add(real, A)
    real.create_rootfs("web", A)
    zfs("create", f"{dataset}/containers/theirs")
    zfs("create", f"{dataset}/layers/{'b' * 64}")
    zfs("snapshot", f"{dataset}/containers/web@backup")
    before = names(real)

    assert real.sweep() == []
    assert [root.name for root in real.roots()] == ["web"]
    for call in (lambda: real.remove_root("theirs"), lambda: real.draft(B, None)):
        with pytest.raises(StorageError, match="not made by runjail"):
            call()
    assert names(real) == before
    with pytest.raises(InUse, match="web@backup"):
        real.remove_root("web")
    assert [name for name in names(real) if "/locks/" not in name] == before
    zfs("destroy", f"{dataset}/containers/web@backup")
    real.remove_root("web")


@REAL
def test_a_layer_with_a_snapshot_of_others_stays_a_layer(real: Store, dataset: str) -> None:
    add(real, A)
    layer = real.layers()[0]
    zfs("snapshot", f"{layer.name}@backup")
    with pytest.raises(InUse, match="@backup"):
        real.remove_layer(layer)

    assert real.has_layer(A)


@REAL
def test_a_busy_root_stays_until_it_is_free(real: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runjail.storage.busy.WAIT", 0.3)
    add(real, A, {"a": "a"})
    path = real.create_rootfs("web", A)
    with open(f"{path}/a", "rb"):
        with pytest.raises(InUse, match="busy"):
            real.remove_root("web")
        assert real.root("web")
        assert real.sweep() == [], "in use, whoever wanted it removed"
        assert os.path.exists(f"{path}/a")
    real.remove_root("web")

    assert real.roots() == []


@REAL
def test_names_have_an_end(real: Store, dataset: str) -> None:
    """ZFS takes 255 bytes in all."""
    add(real, A)
    room = 255 - len(f"{dataset}/containers/")
    real.create_rootfs("x" * room, A)
    for call in (lambda name: real.create_rootfs(name, A), real.remove_root, real.root):
        with pytest.raises(StorageError, match="too long"):
            call("x" * (room + 1))
    assert real.sweep() == []
    assert [root.name for root in real.roots()] == ["x" * room]


@REAL
def test_what_could_not_be_removed_is_swept_later(real: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runjail.storage.busy.WAIT", 0.1)
    add(real, A, {"a": "a"})
    path = real.create_rootfs("web", A)
    with open(f"{path}/a", "rb"), pytest.raises(InUse):
        real.remove_root("web")

    assert real.sweep() == [f"{real.location.removeprefix('zfs:')}/containers/web"]
    assert real.roots() == []


@REAL
def test_a_root_can_be_remade_after_a_reboot(real: Store, dataset: str) -> None:
    """Its dataset is not mounted then."""
    add(real, A, {"a": "a"})
    real.create_rootfs("web", A)
    zfs("unmount", f"{dataset}/containers/web")
    real.remove_root("web")

    assert os.path.isdir(real.create_rootfs("web", A))


@REAL
def test_all_layers_take_one_command(real: Store, dataset: str) -> None:
    for number in range(4):
        add(real, f"sha256:{number:064x}", parent=f"sha256:{number - 1:064x}" if number else None)
    calls = []

    def counting(argv: tuple[str, ...], **named: object) -> programs.Result:
        calls.append(argv[1])
        return programs.run(argv, **named)  # type: ignore[arg-type]

    found = zfs_cli.find(counting)
    store = open_zfs(dataset, default="", warn=pytest.fail, zfs=found)
    assert calls == ["get"]
    assert len(store.layers()) == 4
    assert calls == ["get", "get"]


@pytest.mark.parametrize(("eager", "mounting"), [(True, []), (False, ["mount"])], ids=["zfs-fuse", "OpenZFS"])
def test_a_layer_and_a_root_take_few_commands(fake_zfs: FakeZfs, eager: bool, mounting: list[str]) -> None:
    """Each waits for zfs-fuse, which is most of what an image of many layers costs there."""
    store = opened(fake_zfs)
    add(store, A)
    fake_zfs.eager = eager
    fake_zfs.calls.clear()
    add(store, B, parent=A)
    assert [call.split()[1] for call in fake_zfs.calls] == ["get", "clone", *mounting, "unmount", "set", "snapshot"]
    fake_zfs.calls.clear()
    store.create_rootfs("web", B)
    store.remove_root("web")

    wanted = ["get", "clone", *mounting, "get", "unmount", "destroy"]
    assert [call.split()[1] for call in fake_zfs.calls] == wanted


# A zfs(8) that fails ---------------------------------------------------------------------------------------------


FAILING = [
    ("create", "cannot create 'x': out of space"),
    ("mount", "cannot mount 'x': no such device"),
    ("unmount", "cannot unmount 'x': I/O error"),
    ("set", "cannot set property for 'x': permission denied"),
    ("snapshot", "cannot create snapshot 'x': out of space"),
]


@pytest.mark.parametrize(("verb", "message"), FAILING)
def test_a_layer_that_fails_leaves_nothing(fake_zfs: FakeZfs, verb: str, message: str) -> None:
    store = opened(fake_zfs)
    before = sorted(fake_zfs.sets)
    fake_zfs.failing[verb] = [message]
    with pytest.raises(StorageError) as caught:
        add(store, A)

    assert message.partition(": ")[2].replace("permission denied", "access refused") in str(caught.value)
    assert sorted(fake_zfs.sets) == before
    assert names_of_locks(fake_zfs) == []
    add(store, A)


@pytest.mark.parametrize(("verb", "message"), [("clone", "out of space"), ("mount", "no such device")])
def test_a_root_that_fails_leaves_nothing(fake_zfs: FakeZfs, verb: str, message: str) -> None:
    store = opened(fake_zfs)
    add(store, A)
    before = sorted(fake_zfs.sets)
    fake_zfs.failing[verb] = [f"cannot {verb} 'x': {message}"]
    with pytest.raises(StorageError, match=message):
        store.create_rootfs("web", A)

    assert sorted(fake_zfs.sets) == before
    assert names_of_locks(fake_zfs) == []


def names_of_locks(fake_zfs: FakeZfs) -> list[str]:
    return [name for _top, _dirs, files in os.walk(f"{fake_zfs.home}/store/locks") for name in files]


@pytest.mark.parametrize(
    "message",
    ["cannot unmount '/x': pool or dataset is busy", "umount: /x: target is busy.\ncannot unmount '/x': umount failed"],
)
def test_busy_is_tried_again(fake_zfs: FakeZfs, message: str) -> None:
    """The words of FreeBSD and of zfs-fuse."""
    store = opened(fake_zfs)
    add(store, A)
    store.create_rootfs("web", A)
    fake_zfs.failing["unmount"] = [message] * 3
    fake_zfs.failing["destroy"] = ["cannot destroy 'x': dataset is busy"] * 2
    store.remove_root("web")

    assert store.roots() == []


def test_an_undo_that_fails_is_done_by_sweep(fake_zfs: FakeZfs) -> None:
    store = opened(fake_zfs)
    add(store, A)
    fake_zfs.failing = {"mount": ["cannot mount 'x': no"], "destroy": ["cannot destroy 'x': I/O error"]}
    with pytest.raises(StorageError):
        store.create_rootfs("web", A)
    assert "tank/store/containers/web" in fake_zfs.sets

    assert store.sweep() == ["tank/store/containers/web"]
    assert names_of_locks(fake_zfs) == []


def test_no_error_reads_like_a_missing_program(fake_zfs: FakeZfs) -> None:
    """podman would take these words for a verdict on the container's program."""
    store = opened(fake_zfs)
    for said in (
        "internal error: Permission denied",
        "cannot create 'x': permission denied",
        "connect: No such file or directory",
    ):
        fake_zfs.failing["get"] = [said]
        with pytest.raises(StorageError) as caught:
            store.layers()
        text = str(caught.value).lower()
        assert not any(words in text for words in ("permission denied", "no such file", "not permitted"))


def test_a_daemon_that_is_not_there(fake_zfs: FakeZfs) -> None:
    store = opened(fake_zfs)
    fake_zfs.failing["get"] = ["connect: No such file or directory"]
    with pytest.raises(StorageError) as caught:
        store.layers()
    assert caught.value.hint == "the daemon of ZFS is not running: start zfs-fuse"


def test_commands_never_destroy_more_than_one_thing(fake_zfs: FakeZfs) -> None:
    store = opened(fake_zfs)
    add(store, A)
    add(store, B, parent=A)
    store.create_rootfs("web", B)
    store.remove_root("web")
    for layer in store.layers()[::-1]:
        store.remove_layer(layer)

    destroyed = [call for call in fake_zfs.calls if call.startswith("zfs destroy")]
    assert len(destroyed) == 5
    assert all(len(call.split()) == 3 for call in destroyed), "an option is in it"
    assert not [call for call in fake_zfs.calls if " -f" in call]


@pytest.mark.parametrize("name", ["", "-r", "tank/../x", "tank//x", "tank/x@y", "tank/x y\n", "tank/%", "t" * 200])
def test_other_datasets_are_refused(fake_zfs: FakeZfs, name: str) -> None:
    fake_zfs.calls.clear()
    with pytest.raises(StorageError):
        open_zfs(name, default="", warn=pytest.fail, zfs=fake_zfs.cli())

    assert fake_zfs.calls == []


def test_a_volume_is_no_store(fake_zfs: FakeZfs) -> None:
    fake_zfs.sets["tank/store"] = {"type": "volume", "mounted": "-"}
    with pytest.raises(StorageError, match="is a volume"):
        opened(fake_zfs)


# Where a store is ------------------------------------------------------------------------------------------------


def test_without_zfs_a_zfs_store_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zfs_cli, "DIRECTORIES", ())
    with pytest.raises(StorageError, match="no zfs") as caught:
        open_store("zfs:tank", default="/nonexistent")
    assert "dir:" in str(caught.value.hint)


def test_auto_prefers_zfs(tmp_path: Path) -> None:
    default, elsewhere = str(tmp_path / "db/runjail"), ("zroot", "/nonexistent", True)
    here = ("zroot/ROOT/default", str(tmp_path), True)

    assert decide([], default) == ("", "there is no ZFS dataset")
    assert decide([elsewhere], default) == ("", "it is on no ZFS")
    assert decide([elsewhere, here], default)[0] == "zfs:zroot/runjail"
    assert decide([elsewhere, ("tank/runjail", "/x", False)], default)[0] == "zfs:tank/runjail"
    assert decide([("tank/a/runjail", "/x", True)], default)[0] == ""
    assert decide([elsewhere, here], default, "dir")[0] == "", "a store is there already"


@REAL
def test_auto_finds_a_dataset(zpool: object, dataset: str, tmp_path: Path) -> None:
    pool = dataset.partition("/")[0]
    zfs("create", f"{pool}/runjail")
    try:
        assert choose.choose(str(tmp_path / "store"))[0] == f"zfs:{pool}/runjail"
    finally:
        zfs("destroy", f"{pool}/runjail")
    assert not choose.choose(str(tmp_path / "store"))[0].startswith("zfs:")


@REAL
def test_pools_that_cannot_encrypt_are_refused_for_real(real: Store) -> None:
    from runjail.storage.base import LayerKey

    if subprocess.run(["zfs", "get", "encryption"], capture_output=True, check=False).returncode == 0:
        pytest.skip("this ZFS can encrypt")
    before = names(real)
    with pytest.raises(StorageError, match="cannot encrypt"):
        real.draft(A, None, LayerKey("c0ffee", bytes(32)))

    assert names(real) == before
