"""Copying, linking, measuring and removing trees, whatever is in them."""

import errno
import os
import stat
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail import attributes
from runjail.errors import InUse, StorageError
from runjail.rootfs import DIRECTORY
from runjail.storage import copy_tree, remove_tree
from runjail.storage.base import RootfsUse
from runjail.storage.directory import DirectoryStore
from runjail.storage.open import open_store
from tests.support.storage.facts import facts
from tests.support.storage.layers import A, B, add

ROOT = os.geteuid() == 0
DEEP = 1500  # more than Python's recursion limit, and than descriptors that one may open


@pytest.fixture
def rich(tmp_path: Path) -> Path:
    """A tree with one of everything."""
    top = tmp_path / "rich"
    (top / "bin").mkdir(parents=True)
    (top / "bin/su").write_bytes(os.urandom(3000))
    os.link(top / "bin/su", top / "bin/again")
    os.symlink("/etc/passwd", top / "absolute")
    os.symlink("missing", top / "dangling")
    os.mkfifo(top / "fifo")
    with open(top / "sparse", "wb") as file:
        file.seek(10 << 20)
        file.write(b"end")
        file.truncate(20 << 20)
    (top / "empty").write_bytes(b"")
    (top / os.fsdecode(b"\xff\xfe odd\n")).write_text("name")
    descriptor = os.open(top / "bin/su", os.O_RDONLY)
    try:
        attributes.SYSTEM.set(descriptor, b"user.note", b"a\0b")
    except OSError as error:
        assert error.errno in attributes.UNSUPPORTED
    os.close(descriptor)
    if ROOT:
        os.chown(top / "bin/su", 1001, 1002)
        os.chown(top / "absolute", 1003, 1004, follow_symlinks=False)
        os.chown(top / "bin", 7, 8)
        os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chmod(top / "bin/su", 0o4755)
    os.chmod(top / "bin", 0o1711)
    for path in (top / "bin/su", top / "bin", top / "fifo", top):
        os.utime(path, ns=(1_000_000_001, 1_234_567_890_123_456_789))
    return top


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


@pytest.fixture
def copier(rich: Path, target: Path) -> Iterator[copy_tree.Copier]:
    descriptors = [os.open(rich, DIRECTORY), os.open(target, DIRECTORY)]
    yield copy_tree.Copier(*descriptors)
    for descriptor in descriptors:
        os.close(descriptor)


def test_a_copy_is_the_same_in_every_respect(copier: copy_tree.Copier, rich: Path, target: Path) -> None:
    copier.copy()

    assert facts(target) == facts(rich)
    assert os.stat(target / "sparse").st_blocks * 512 < 1 << 20
    assert not {os.lstat(path).st_ino for path in target.rglob("*")} & {
        os.lstat(path).st_ino for path in rich.rglob("*")
    }


def test_copying_works_without_help_of_the_kernel(
    copier: copy_tree.Copier, rich: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No copy_file_range(2), no holes."""

    def refuse(*_arguments: int) -> int:
        raise OSError(errno.EINVAL, "no")

    monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    monkeypatch.setattr(os, "lseek", refuse)
    copier.copy()

    assert facts(target) == facts(rich)


def test_a_file_is_locked_once_it_has_all_its_names(
    copier: copy_tree.Copier, rich: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FreeBSD's link(2) refuses a file with a flag such as schg, which some files of its base system have."""
    locked, link = set(), os.link

    def flags(found: os.stat_result) -> int:
        return attributes.FLAGS[b"schg"] if stat.S_ISREG(found.st_mode) and found.st_nlink > 1 else 0

    def set_flags(directory: int, name: str, flags: int) -> None:
        assert flags == attributes.FLAGS[b"schg"]
        locked.add(os.stat(name, dir_fd=directory).st_ino)

    def refuse(name: str, *arguments: str, src_dir_fd: int, **more: int) -> None:
        if os.stat(name, dir_fd=src_dir_fd).st_ino in locked:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        link(name, *arguments, src_dir_fd=src_dir_fd, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(copy_tree, "_flags", flags)
    monkeypatch.setattr(attributes.SYSTEM, "set_flags", set_flags)
    monkeypatch.setattr(os, "link", refuse)
    copier.copy()

    assert facts(target) == facts(rich)
    assert locked == {(target / "bin/su").stat().st_ino}


def test_links_are_the_same_files(copier: copy_tree.Copier, rich: Path, target: Path) -> None:
    copier.link()

    assert facts(target) == facts(rich)
    files = [path for path in rich.rglob("*") if not stat.S_ISDIR(os.lstat(path).st_mode)]
    assert copier.linked == {os.lstat(path).st_ino for path in files}
    assert all(os.lstat(path).st_ino == os.lstat(target / path.relative_to(rich)).st_ino for path in files)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EMLINK, errno.EXDEV])
def test_what_cannot_be_linked_is_copied(
    copier: copy_tree.Copier, rich: Path, target: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """File flags, or too many links already."""
    link = os.link

    def refuse(old: str, new: str, **named: int) -> None:
        if old == new and named["src_dir_fd"] != named["dst_dir_fd"]:
            raise OSError(number, "no")
        link(old, new, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", refuse)
    copier.link()

    assert facts(target) == facts(rich)
    assert copier.linked == set()


def test_files_are_measured_once(rich: Path) -> None:
    (rich / "sparse").unlink()
    top = os.open(rich, DIRECTORY)
    own, total = copy_tree.measure(top, set())
    shared = {os.stat(rich / "bin/su").st_ino}
    less, again = copy_tree.measure(top, shared)
    os.close(top)

    links = sum(len(os.readlink(path)) for path in rich.rglob("*") if path.is_symlink())
    assert own == total == again == 3000 + 4 + links
    assert less == total - 3000


def test_measuring_takes_no_memory_for_each_file(tmp_path: Path) -> None:
    """A million files were a set of 80 MB."""
    for number in range(3000):
        (tmp_path / f"d{number // 50}").mkdir(exist_ok=True)
        (tmp_path / f"d{number // 50}/f{number}").touch()
    top = os.open(tmp_path, DIRECTORY)
    tracemalloc.start()
    copy_tree.measure(top, set())
    _now, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    os.close(top)

    assert most < 150_000  # 280,000 with the set of all


def deep(top: Path) -> None:
    """Make a tree that is deeper than a path can be long."""
    descriptor = os.open(top, DIRECTORY)
    for _ in range(DEEP):
        os.mkdir("directory", dir_fd=descriptor)
        below = os.open("directory", DIRECTORY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)


def test_deep_trees_are_removed(tmp_path: Path) -> None:
    (tmp_path / "trash/item").mkdir(parents=True)
    deep(tmp_path / "trash/item")
    remove_tree.remove(str(tmp_path / "trash"), "item")

    assert os.listdir(tmp_path / "trash") == []


def test_deep_trees_are_copied(tmp_path: Path) -> None:
    store = DirectoryStore(str(tmp_path / "store"))
    with store.draft(A, None) as draft:  # type: ignore[union-attr]
        top = os.open(draft.path, DIRECTORY)
        for number in range(300):
            os.mkdir(f"d{number}", dir_fd=top)
            below = os.open(f"d{number}", DIRECTORY, dir_fd=top)
            os.close(top)
            top = below
        os.close(top)
        draft.commit()
    store.create_rootfs("web", A)
    store.remove_root("web")

    assert os.listdir(tmp_path / "store/trash") == []


def test_removing_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    item = tmp_path / "trash/item"
    item.mkdir(parents=True)
    os.symlink(outside, item / "link")
    os.symlink(outside / "kept", item / "file")
    os.link(outside / "kept", item / "hard")
    remove_tree.remove(str(tmp_path / "trash"), "item")

    assert os.listdir(tmp_path / "trash") == []
    assert (outside / "kept").read_text() == "kept"


def test_flags_are_cleared_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On FreeBSD a file with schg cannot be unlinked until chflags(2) has cleared it."""
    item = tmp_path / "trash/item"
    item.mkdir(parents=True)
    (item / "immutable").write_text("x")
    flagged, unlink = {"immutable"}, os.unlink

    def refuse(name: str, *, dir_fd: int) -> None:
        if name in flagged:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        unlink(name, dir_fd=dir_fd)

    class Flags(attributes.Linux):
        def set_flags(self, directory: int, name: bytes | str, flags: int) -> None:
            assert flags == 0
            flagged.discard(os.fsdecode(name))

    monkeypatch.setattr(os, "unlink", refuse)
    monkeypatch.setattr(attributes, "SYSTEM", Flags())
    remove_tree.remove(str(tmp_path / "trash"), "item")

    assert os.listdir(tmp_path / "trash") == []


@pytest.mark.linux
def test_a_root_with_mounts_stays_whole(tmp_path: Path) -> None:
    store = open_store(f"dir:{tmp_path}/sto re", default="")
    add(store, A, {"etc/motd": "hello", "a dir/x": "x"})
    path = Path(store.create_rootfs("web", A))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    subprocess.run(["mount", "--bind", str(outside), str(path / "a dir")], check=True)
    try:
        with pytest.raises(InUse, match="mounted at"):
            store.remove_root("web")
        assert (path / "etc/motd").read_text() == "hello"
    finally:
        subprocess.run(["umount", str(path / "a dir")], check=True)
    store.remove_root("web")

    assert (outside / "kept").read_text() == "kept"


@pytest.mark.linux
def test_mounts_are_found_without_a_table(tmp_path: Path) -> None:
    """As on FreeBSD: another file system has another device number."""
    (tmp_path / "a/b").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", str(tmp_path / "a/b")], check=True)
    try:
        with pytest.raises(InUse, match="a/b"):
            remove_tree.refuse_mounts(str(tmp_path), "/nonexistent")
    finally:
        subprocess.run(["umount", str(tmp_path / "a/b")], check=True)
    remove_tree.refuse_mounts(str(tmp_path), "/nonexistent")


def test_a_store_of_directories_warns_once_that_it_enforces_no_size(tmp_path: Path) -> None:
    said: list[str] = []
    store = open_store(f"dir:{tmp_path}/store", default="", warn=said.append)
    add(store, A)
    store.create_rootfs("one", A, use=RootfsUse(size=1 << 20))
    store.create_rootfs("two", A, use=RootfsUse(size=1 << 20))

    assert len(said) == 1
    assert [root.quota for root in store.roots()] == [0, 0]


def test_layers_share_files(tmp_path: Path) -> None:
    store = open_store(f"dir:{tmp_path}/store", default="")
    add(store, A, {"big": "x" * 10_000})
    add(store, B, {"new": "y"}, parent=A)

    assert {layer.chain: (layer.size, layer.total) for layer in store.layers()} == {A: (10_000, 10_000), B: (1, 10_001)}
    assert len({os.stat(path).st_ino for path in (tmp_path / "store/layers").glob("*/root/big")}) == 1


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(f"dir:{tmp_path}/store", default="")
    add(store, A, {"a": "a"})

    def refuse(*_arguments: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(copy_tree, "_copy_file", refuse)
        with pytest.raises(StorageError, match="no space left"):
            store.create_rootfs("web", A)
    assert store.roots() == []
    assert os.listdir(tmp_path / "store/making") == os.listdir(tmp_path / "store/trash") == []
    assert store.sweep() == []


def test_a_root_knows_its_size_without_a_second_look(tmp_path: Path) -> None:
    """Each file counts once, whatever names it has."""
    store = open_store(f"dir:{tmp_path}/store", default="")
    draft = store.draft(A, None)
    assert draft
    with draft:
        top = Path(draft.path)
        (top / "a").write_bytes(b"a" * 1000)
        os.link(top / "a", top / "b")
        with open(top / "holes", "wb") as file:
            file.truncate(5000)
        draft.commit()
    root = Path(store.create_rootfs("web", A))
    info = store.root("web")

    assert info
    assert info.size == 6000
    assert (root / "holes").read_bytes() == bytes(5000)


def test_who_copies_a_root_tells_how_much(tmp_path: Path) -> None:
    """As it goes, for a bar."""
    store, told = open_store(f"dir:{tmp_path}/store", default=""), list[tuple[int, int]]()
    add(store, A, {f"d{number}/file": "x" * 1000 for number in range(40)})
    store.create_rootfs("web", A, use=RootfsUse(report=lambda count, total: told.append((count, total))))

    assert len(told) > 1
    assert sum(count for count, _total in told) == 40_000
    assert {total for _count, total in told} == {40_000}


@pytest.mark.needs("mounts", "linux", "mkfs.btrfs")
def test_a_copy_shares_blocks_where_the_file_system_can(tmp_path: Path) -> None:
    """btrfs and xfs: a second root takes no room for the content of its files."""
    image, place = tmp_path / "image", tmp_path / "place"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["mkfs.btrfs", "-q", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    try:
        store = open_store(f"dir:{place}/store", default="")
        add(store, A, {"big": "x" * (40 << 20)})
        os.sync()
        before = os.statvfs(place).f_bfree
        root = store.create_rootfs("web", A)
        os.sync()
        taken = (before - os.statvfs(place).f_bfree) * os.statvfs(place).f_frsize
        assert Path(root, "big").stat().st_size == 40 << 20
        assert taken < 4 << 20
    finally:
        subprocess.run(["umount", str(place)], check=True)
