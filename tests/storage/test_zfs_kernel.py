"""ZFS by FreeBSD's kernel itself: what it says is what zfs(8) says, and what it refuses zfs(8) is asked again."""

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runjail.errors import InUse, StorageError
from runjail.host import programs
from runjail.host.freebsd.structs import MountEntry
from runjail.storage import zfs_cli, zfs_kernel
from runjail.storage.store_lock import StoreDirectory
from runjail.storage.zfs import ZfsStore
from runjail.storage.zfs_open import open_at as open_zfs
from tests.support.storage.fake_zfs import FakeZfs
from tests.support.storage.layers import A, B, add
from tests.support.zfs_pool import zfs

REAL = [pytest.mark.freebsd, pytest.mark.needs("zfs")]
READ = (*sorted(zfs_kernel.KNOWN), "org.runjail:chain", "org.runjail:seal")


class Counting:
    """Runs programs, and notes the verb of each."""

    def __init__(self) -> None:
        self.verbs: list[str] = []

    def __call__(self, argv: tuple[str, ...], **named: Any) -> programs.Result:
        self.verbs.append(argv[1])
        return programs.run(argv, **named)

    def kernel(self) -> zfs_cli.Cli:
        cli = zfs_cli.find(self)
        assert cli
        found = zfs_kernel.before(cli)
        assert isinstance(found, zfs_kernel.Kernel)
        return found


def refusing(*_arguments: object) -> None:
    """Stands for any call of the library."""
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.fixture
def deaf(fake_zfs: FakeZfs) -> ZfsStore:
    """A store whose kernel refuses everything."""
    names = ("exists", "create", "clone", "snapshot", "destroy", "properties", "below", "has_bookmarks")
    library: Any = SimpleNamespace(**dict.fromkeys(names, refusing))
    system: Any = SimpleNamespace(mounts=refusing, nmount=refusing)
    kernel = zfs_kernel.Kernel(fake_zfs.cli(), library, system)
    return open_zfs("tank/store", default="", warn=pytest.fail, zfs=kernel)


def test_what_the_kernel_refuses_zfs_does(deaf: ZfsStore, fake_zfs: FakeZfs) -> None:
    add(deaf, A)
    add(deaf, B, parent=A)
    deaf.create_rootfs("web", B)
    assert [(layer.chain, layer.users) for layer in deaf.layers()] == [(A, ()), (B, ("web",))]
    with pytest.raises(InUse):
        deaf.remove_layer(deaf.layers()[1])
    deaf.remove_root("web")
    for layer in deaf.layers()[::-1]:
        deaf.remove_layer(layer)

    assert sorted(fake_zfs.sets) == ["tank", "tank/store", "tank/store/containers", "tank/store/layers"]


def test_what_zfs_refuses_too_is_said_in_its_words(deaf: ZfsStore, fake_zfs: FakeZfs) -> None:
    add(deaf, A)
    fake_zfs.failing["clone"] = ["cannot create 'x': out of space"]
    with pytest.raises(StorageError, match="out of space"):
        deaf.create_rootfs("web", A)


class Told:
    """A kernel that says this of a dataset, which is not mounted, and has been told to mount `places`."""

    def __init__(self, fake: FakeZfs, facts: dict[str, tuple[int, str]]) -> None:
        self.facts, self.places = {"mountpoint": ("/s", "tank/store"), **facts}, list[str]()
        library: Any = SimpleNamespace(properties=self.properties)
        self.kernel = zfs_kernel.Kernel(fake.cli(), library, self)  # type: ignore[arg-type]

    def properties(self, _name: str, keys: set[str]) -> dict[str, tuple[str | int, str]]:
        return {key: value for key, value in self.facts.items() if key in keys}

    def mounts(self) -> list[MountEntry]:
        return [MountEntry((1, 2), "zfs", "tank/store", "/s", 0)]

    def nmount(self, options: list[tuple[str, str]], _flags: int) -> None:
        self.places.append(dict(options)["fspath"])


NOBODY_FORBIDS = {"canmount": (2, "tank/store/a"), "jailed": (0, "tank"), "overlay": (1, "tank")}  # zfs.h's numbers


@pytest.mark.parametrize(
    "forbids", [{"canmount": (0, "tank/store/a")}, {"jailed": (1, "tank")}, {"overlay": (0, "")}, {}]
)
def test_what_zfs_would_not_mount_the_kernel_is_not_asked_to(
    forbids: dict[str, tuple[int, str]], fake_zfs: FakeZfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runjail.storage.zfs_kernel.os.makedirs", lambda *_arguments, **_named: None)
    fake_zfs.failing["mount"] = ["cannot mount 'tank/store/a': it may not be"]
    told = Told(fake_zfs, {**NOBODY_FORBIDS, **forbids})
    if forbids:
        with pytest.raises(StorageError, match="it may not be"):
            told.kernel.mount("tank/store/a")
    else:
        told.kernel.mount("tank/store/a")

    assert told.places == ([] if forbids else ["/s/a"])


def test_whether_it_is_encrypted_is_asked_of_zfs(fake_zfs: FakeZfs) -> None:
    """Older kernels say "off" of each dataset."""
    fake_zfs.sets["tank/a"] = {"mounted": "no", "encryptionroot": "tank/a"}
    told = Told(fake_zfs, {"encryption": (0, "")})

    assert told.kernel.read(["tank/a"], ["encryption"]) == {"tank/a": {"encryption": "aes-256-gcm"}}


PLACES = [
    ("tank/s/layers/a", "tank/s", "/s/layers/a"),  # inherited from what is mounted
    ("tank/s/layers/a", "tank", "/s/layers/a"),  # from what is not, as is what is mounted between them
    ("tank/s/layers/a", "default", "/s/layers/a"),
    ("zroot/a", "zroot", "/a"),
    ("tank/on", "tank/on", "/mnt/elsewhere"),  # mounted: where it is
]
MOUNTED = {"tank/s": "/s", "tank/on": "/mnt/elsewhere", "zroot": "/"}


@pytest.mark.parametrize(("name", "source", "place"), PLACES)
def test_where_a_file_system_would_be_mounted(name: str, source: str, place: str) -> None:
    assert zfs_kernel._place(name, "/of its own", source, MOUNTED) == place


@pytest.mark.parametrize("source", ["default", "tank", "tank/off", "tank/off/own", "tank/of", "$recvd", ""])
def test_where_nothing_above_is_mounted_only_zfs_can_tell(source: str) -> None:
    for name in ("tank/off/own", "tank"):
        with pytest.raises(LookupError):
            zfs_kernel._place(name, "/of its own", source, MOUNTED)


# A real kernel --------------------------------------------------------------------------------------------------


def real(test: Callable[..., None]) -> Callable[..., None]:
    for mark in REAL:
        test = mark(test)
    return test


@real
def test_both_read_the_same(dataset: str, tmp_path: Path) -> None:
    """Mounted or not, cloned, with a mount point of their own or none; sizes as they are once all is written."""
    zfs("create", "-o", "org.runjail:chain=sha256:a b", f"{dataset}/on")
    zfs("snapshot", f"{dataset}/on@ready")
    zfs("clone", "-o", "canmount=noauto", f"{dataset}/on@ready", f"{dataset}/off")
    zfs("create", "-o", "canmount=off", f"{dataset}/above")
    zfs("create", f"{dataset}/above/below")
    zfs("create", "-o", "mountpoint=none", f"{dataset}/none")
    zfs("create", "-o", f"mountpoint={tmp_path}/own", f"{dataset}/own")
    zfs("create", "-V", "1m", f"{dataset}/volume")
    zfs("create", f"{dataset}/marked")
    zfs("snapshot", f"{dataset}/marked@a")
    zfs("bookmark", f"{dataset}/marked@a", f"{dataset}/marked#a")
    pool = dataset.partition("/")[0]
    os.sync()
    kernel, cli = Counting().kernel(), zfs_cli.find()
    assert cli

    for names in ([dataset], [f"{dataset}/on@ready"], [f"{dataset}/on", f"{dataset}/missing", pool]):
        for recursive in (False, True):
            found = kernel.read(names, READ, recursive=recursive)
            assert found == cli.read(names, READ, recursive=recursive)
            assert set(found) >= set(names) - {f"{dataset}/missing"}


@real
def test_many_properties(dataset: str) -> None:
    """More than what there is room for at first."""
    for number in range(12):
        zfs("set", f"org.runjail:p{number}={'x' * 8000}", dataset)
    kernel, cli = Counting().kernel(), zfs_cli.find()
    assert cli
    names = ["org.runjail:p0", "org.runjail:p11", "type"]

    assert kernel.read([dataset], names) == cli.read([dataset], names)


@real
def test_what_is_read_is_not_in_the_history_of_the_pool(dataset: str) -> None:
    """Channel programs would be, whole, and the history is a ring."""
    zfs("create", f"{dataset}/a")
    zfs("snapshot", f"{dataset}/a@ready")
    kernel, pool = Counting().kernel(), dataset.partition("/")[0]
    os.sync()
    before = history(pool)
    assert set(kernel.read([dataset], READ, recursive=True)) == {dataset, f"{dataset}/a", f"{dataset}/a@ready"}
    assert kernel.exists(f"{dataset}/a@ready")
    assert not kernel.exists(f"{dataset}/b")
    os.sync()

    assert history(pool) == before


def history(pool: str) -> bytes:
    """Return all that a pool remembers: commands, and what the kernel did."""
    return subprocess.run(["zpool", "history", "-i", pool], stdout=subprocess.PIPE, check=True).stdout


@real
def test_what_is_not_mounted_by_its_own_mount_point_is_left_to_zfs(dataset: str, tmp_path: Path) -> None:
    zfs("create", "-o", f"mountpoint={tmp_path}/own", "-o", "canmount=noauto", f"{dataset}/own")
    counting = Counting()
    kernel, cli = counting.kernel(), zfs_cli.find()
    assert cli
    assert kernel.read([f"{dataset}/own"], ["mountpoint"]) == cli.read([f"{dataset}/own"], ["mountpoint"])
    kernel.mount(f"{dataset}/own")
    assert os.path.ismount(tmp_path / "own")
    assert counting.verbs == ["get", "mount"]
    assert kernel.unmount(f"{dataset}/own")
    assert kernel.unmount(f"{dataset}/own"), "what is not mounted is success"

    assert counting.verbs == ["get", "mount"]


@real
def test_a_cached_image_runs_without_zfs(dataset: str) -> None:
    """Opening the store, looking for the layer, the root made and taken away; and the list of layers."""
    counting = Counting()
    add(open_zfs(dataset, default="", warn=pytest.fail), A, {"a": "a"})
    store = open_zfs(dataset, default="", warn=pytest.fail, zfs=counting.kernel())
    assert store.has_layer(A)
    root = store.create_rootfs("web", A)
    assert os.listdir(root) == ["a"]
    assert [(layer.chain, layer.users) for layer in store.layers()] == [(A, ("web",))]
    store.remove_root("web")

    assert counting.verbs == []
    assert not os.path.lexists(root), "zfs(8) removes mount points, too"
    assert [descriptor for descriptor in range(3, 64) if named(descriptor) == "/dev/zfs"] == []


def named(descriptor: int) -> str:
    """Return what a descriptor of this process is of."""
    try:
        os.fstat(descriptor)
    except OSError:
        return ""
    found, device = os.fstat(descriptor), os.stat("/dev/zfs")
    return "/dev/zfs" if found.st_rdev == device.st_rdev and found.st_dev == device.st_dev else ""


@real
def test_a_layer_takes_one_program(dataset: str) -> None:
    """The property that makes it read-only is set by zfs(8)."""
    counting = Counting()
    store = open_zfs(dataset, default="", warn=pytest.fail, zfs=counting.kernel())
    counting.verbs.clear()
    add(store, A, {"a": "a"})
    add(store, B, {"b": "b"}, parent=A)
    for layer in store.layers()[::-1]:
        store.remove_layer(layer)

    assert counting.verbs == ["set", "set"]
    assert isinstance(store._home, StoreDirectory)
    assert os.listdir(f"{store._home.path}/layers") == []
