"""Overlays: what a layer holds of its own, how deep they may be, and what mounts that fail, stay or go leave."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail.errors import InUse, StorageError
from runjail.storage import overlay_mount
from runjail.storage.base import RootfsUse, Store
from runjail.storage.open import choose, open_store
from tests.support.storage.kinds import mounts
from tests.support.storage.layers import A, B, C, D, add, names

pytestmark = pytest.mark.needs("overlay")
TOP = Path(__file__).resolve().parents[2]


@pytest.fixture
def location(tmp_path: Path) -> Iterator[str]:
    """A store of overlays; what tests leave is unmounted."""
    yield f"overlay:{tmp_path}/store"
    for place in mounts(tmp_path):
        overlay_mount.unmount(place)


def diff(store: Store, chain: str) -> Path:
    """Return the directory of what a layer changes."""
    return next(Path(layer.name, "diff") for layer in store.layers() if layer.chain == chain)


def change(store: Store, chain: str, parent: str, *commands: str) -> None:
    """Make a layer with the shell."""
    draft = store.draft(chain, parent)
    assert draft
    with draft:
        subprocess.run(["sh", "-ec", "\n".join(commands)], cwd=draft.path, check=True)
        draft.commit()


def test_a_layer_holds_its_own_changes_only(store: Store) -> None:
    add(store, A, {"d/one": "1", "d/two": "2", "e/three": "3", "big": "b" * 100_000})
    change(store, B, A, "rm d/one", "rm -r e; mkdir e; echo new >e/new", "ln -s big link")
    own = diff(store, B)
    hidden = (own / "d/one").lstat()
    root = Path(store.create_rootfs("web", B))

    assert sorted(os.listdir(own)) == ["d", "e", "link"]
    assert os.listdir(own / "d") == ["one"]
    assert (stat.S_ISCHR(hidden.st_mode), hidden.st_rdev) == (True, 0)
    assert os.getxattr(own / "e", "trusted.overlay.opaque") == b"y"
    assert sorted(os.listdir(root)) == ["big", "d", "e", "link"]
    assert (os.listdir(root / "d"), os.listdir(root / "e")) == (["two"], ["new"])
    assert [(layer.size < 100, layer.total > 100_000) for layer in store.layers()] == [(False, True), (True, True)]


def test_links_and_attributes_of_lower_layers_are_kept(store: Store) -> None:
    capability = bytes.fromhex("0100000202000000000000000000000000000000")  # vfs_cap_data: cap_kill, effective
    add(store, A, {"bin/su": "program", "bin/ping": "p"})
    change(store, B, A, "ln bin/su bin/again", "chown 1001:1002 bin", "chmod 2750 bin")
    draft = store.draft(C, B)
    assert draft
    with draft:
        os.setxattr(f"{draft.path}/bin/ping", "security.capability", capability)
        os.setxattr(f"{draft.path}/bin/ping", "user.note", b"a\0b")
        draft.commit()
    add(store, D, {"other": "x"}, parent=C)
    at = Path(store.create_rootfs("web", D)) / "bin"

    assert (at / "su").stat().st_ino == (at / "again").stat().st_ino
    assert (at / "again").read_text() == "program"
    assert (at.stat().st_uid, at.stat().st_gid, at.stat().st_mode & 0o7777) == (1001, 1002, 0o2750)
    assert os.getxattr(at / "ping", "user.note") == b"a\0b"
    assert os.getxattr(at / "ping", "security.capability") == capability


def test_the_top_directory_is_the_highest_layers(store: Store) -> None:
    add(store, A)
    change(store, B, A, "chown 5:6 .", "chmod 0711 .", "touch -d @1000000 .")
    add(store, C, parent=B)
    found = os.stat(store.create_rootfs("web", C))

    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777, int(found.st_mtime)) == (5, 6, 0o711, 1000000)


@pytest.mark.parametrize("how", ["one by one", "all at once"])
def test_a_hundred_and_fifty_layers(store: Store, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Also with mount(2), for kernels before 6.7: its options are one page."""
    if how == "all at once":
        monkeypatch.setattr(overlay_mount, "_mount_each", lambda *_arguments: False)
    parent, here = None, os.getcwd()
    for number in range(150):
        chain = f"sha256:{number:064x}"
        add(store, chain, {f"f{number}": "x", "last": str(number)}, parent)
        parent = chain
    assert parent
    root = Path(store.create_rootfs("web", parent))

    assert len(os.listdir(root)) == 151
    assert (root / "last").read_text() == "149"
    assert os.getcwd() == here
    store.remove_root("web")


def test_more_layers_than_the_kernel_takes_is_one_clear_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay_mount, "MOST_LAYERS", 2)
    for chain, parent in ((A, None), (B, A), (C, B)):
        add(store, chain, {chain[-3:]: ""}, parent)
    before = names(store)
    with pytest.raises(StorageError, match="takes 2 layers, not 3"):
        store.create_rootfs("web", C)

    assert names(store) == before


@pytest.mark.parametrize("how", ["one by one", "all at once"])
@pytest.mark.parametrize("name", ["a,b:c\\d e", "x" * 200], ids=["separators", "long"])
def test_places_with_any_name(tmp_path: Path, name: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "all at once":
        monkeypatch.setattr(overlay_mount, "_mount_each", lambda *_arguments: False)
    store = open_store(f"overlay:{tmp_path}/{name}", default="")
    add(store, A, {"a": "1"})
    add(store, B, {"b": "2"}, A)
    root = Path(store.create_rootfs("web", B))

    assert sorted(os.listdir(root)) == ["a", "b"]
    store.remove_root("web")
    assert mounts(tmp_path) == []


def test_a_kernel_that_looks_at_options_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 6.5 overlayfs keeps every option, and refuses `lowerdir+` when all are there: Debian 12's does."""

    def set_late(_context: int, command: int, _name: str | None, _value: str | None) -> None:
        if command == overlay_mount.CMD_CREATE:
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(overlay_mount, "_set", set_late)

    assert overlay_mount.refusal(str(tmp_path)) == ""


def test_after_a_boot_mounts_are_gone_and_nothing_is_in_the_way(store: Store, tmp_path: Path) -> None:
    add(store, A, {"a": "1"})
    add(store, B, {"b": "1"}, A)
    before = names(store)
    store.create_rootfs("web", B)
    pid = os.fork()
    if not pid:
        store.draft(C, B)  # which nobody ends
        os._exit(0)
    os.waitpid(pid, 0)
    assert len(mounts(tmp_path)) == 2
    for place in mounts(tmp_path):
        overlay_mount.unmount(place)

    assert [root.name for root in store.roots()] == ["web"]
    store.remove_root("web")
    assert store.sweep() == [f"{tmp_path}/store/making/layer+{'c' * 64}"]
    assert names(store) == before
    assert Path(store.create_rootfs("web", B), "b").read_text() == "1"


def test_a_busy_root_stays_and_is_swept_when_it_is_free(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runjail.storage.busy.WAIT", 0.1)
    add(store, A, {"a": "1"})
    before = names(store)
    with open(store.create_rootfs("web", A) + "/a"):
        with pytest.raises(InUse, match="is busy"):
            store.remove_root("web")
        assert [root.name for root in store.roots()] == ["web"]
    assert store.sweep() == [f"{tmp_path}/store/containers/web"]
    assert (names(store), mounts(tmp_path)) == (before, [])


def test_what_others_mounted_in_a_root_is_not_theirs_to_lose(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runjail.storage.busy.WAIT", 0.1)
    add(store, A, {"d/a": "1"})
    root = store.create_rootfs("web", A)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/precious").write_text("")
    subprocess.run(["mount", "--bind", str(tmp_path / "mine"), f"{root}/d"], check=True)
    with pytest.raises(InUse):
        store.remove_root("web")
    subprocess.run(["umount", f"{root}/d"], check=True)
    store.remove_root("web")

    assert (tmp_path / "mine/precious").exists()


def test_overlays_on_an_overlay_fall_back_with_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container in a container: the kernel takes no upper directory on overlayfs."""
    monkeypatch.setattr("runjail.storage.zfs_cli.DIRECTORIES", ())
    for name in ("lower", "upper", "work", "root"):
        (tmp_path / name).mkdir()
    paths = [str(tmp_path / name) for name in ("lower", "upper", "work", "root")]
    overlay_mount.mount(overlay_mount.Overlay((paths[0],), *paths[1:3]), paths[3])
    try:
        location, why = choose(f"{paths[3]}/store")
        assert location == f"dir:{paths[3]}/store"
        assert why.startswith(f"there is no ZFS dataset; overlayfs does not work in {paths[3]}: "), why
        assert os.listdir(paths[3]) == []
        store = open_store(f"overlay:{paths[3]}/store", default="")
        add(store, A, {"a": "1"})
        before = names(store)
        with pytest.raises(StorageError, match="overlayfs cannot be mounted: "):
            store.create_rootfs("web", A)
        with pytest.raises(StorageError, match="overlayfs cannot be mounted: "):
            store.draft(B, A)
        assert names(store) == before
    finally:
        overlay_mount.unmount(paths[3])


INSIDE = """
import os, sys
from pathlib import Path
from runjail.errors import StorageError
from runjail.storage.open import choose, open_store
from tests.support.storage.layers import A, B, add

try:
    open_store(f"overlay:{sys.argv[1]}", default="")
except StorageError as error:
    print(error)
store = open_store(f"overlay:{sys.argv[2]}", default="")
add(store, A, {"d/a": "1", "e/b": "2"})
draft = store.draft(B, A)
os.unlink(f"{draft.path}/d/a")
os.unlink(f"{draft.path}/e/b"); os.rmdir(f"{draft.path}/e"); os.mkdir(f"{draft.path}/e")
draft.commit()
root = store.create_rootfs("web", B)
print(os.listdir(f"{root}/d"), os.listdir(f"{root}/e"))
print(os.getxattr(f"{store.layers()[1].name}/diff/e", "user.overlay.opaque"))
draft = store.draft("sha256:" + "e" * 64, None)
try:
    os.setxattr(draft.path, "user.overlay.opaque", b"y")
    print(os.getxattr(f"{draft.path}/../diff", "user.overlay.opaque"))
except OSError as error:
    print("no marks of a layer's own")
draft.abort()
store.remove_root("web")
print(store.sweep(), os.listdir(f"{sys.argv[2]}/trash"))
"""


@pytest.mark.needs("user namespaces")
def test_in_a_user_namespace(tmp_path: Path) -> None:
    """What is hidden is told by attributes that its root may set, and the store says so to whoever opens it later."""
    open_store(f"overlay:{tmp_path}/theirs", default="")
    command = ["unshare", "-Ur", "-m", sys.executable, "-c", INSIDE, f"{tmp_path}/theirs", f"{tmp_path}/ours"]
    done = subprocess.run(command, cwd=TOP, env={**os.environ, "PYTHONPATH": str(TOP)}, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    refused, listed, opaque, marks, left = done.stdout.splitlines()
    assert "outside of this user namespace" in refused
    assert (listed, opaque, left) == ("[] []", "b'y'", "[] []")
    assert marks == "no marks of a layer's own"
    later = open_store(f"overlay:{tmp_path}/ours", default="")
    root = later.create_rootfs("later", B)
    assert (os.listdir(f"{root}/d"), os.listdir(f"{root}/e")) == ([], [])
    later.remove_root("later")


@pytest.mark.parametrize("how", ["one by one", "all at once"])
def test_whatever_the_kernels_module_was_told_layers_are_complete(
    store: Store, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Only attributes in a layer, and a directory that says where it was, would need others that may be gone."""
    given: set[str] = set()
    mount, setting = overlay_mount._mount, overlay_mount._set

    def whole(source: str, place: str, kind: str | None, flags: int, options: str | None = None) -> None:
        given.update((options or "").split(","))
        mount(source, place, kind, flags, options)

    def one(context: int, command: int, name: str | None, value: str | None) -> None:
        given.add(f"{name}={value}")
        setting(context, command, name, value)

    add(store, A, {"d/file": "f" * 10_000})
    monkeypatch.setattr(overlay_mount, "_mount", whole)
    monkeypatch.setattr(overlay_mount, "_set", one)
    if how == "all at once":
        monkeypatch.setattr(overlay_mount, "_mount_each", lambda *_arguments: False)
    root = Path(store.create_rootfs("web", A))
    (root / "d/file").chmod(0o600)
    with pytest.raises(OSError, match="cross-device"):
        (root / "d").rename(root / "moved")

    assert {"metacopy=off", "redirect_dir=nofollow", "index=off"} <= given
    assert (root.parent / "upper/d/file").read_bytes() == b"f" * 10_000


@pytest.mark.parametrize("how", ["one by one", "all at once"])
def test_a_root_with_a_label_for_all_its_files(store: Store, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A kernel without SELinux refuses it, so here it is taken out on the way; nothing stays of a refused one."""
    label = "system_u:object_r:container_file_t:s0:c1,c2"
    given: list[str] = []
    mount, setting = overlay_mount._mount, overlay_mount._set

    def whole(source: str, place: str, kind: str | None, flags: int, options: str | None = None) -> None:
        given.append((options or "").rpartition(",context=")[2])
        mount(source, place, kind, flags, (options or "").removesuffix(f',context="{label}"'))

    def one(context: int, command: int, name: str | None, value: str | None) -> None:
        if name == "context":
            given.append(f'"{value}"')
        else:
            setting(context, command, name, value)

    add(store, A, {"d/file": "f"})
    if how == "all at once":
        monkeypatch.setattr(overlay_mount, "_mount_each", lambda *_arguments: False)
    if not os.path.exists("/sys/fs/selinux/enforce"):
        with pytest.raises(StorageError, match="overlayfs cannot be mounted"):
            store.create_rootfs("web", A, use=RootfsUse(label=label))
    assert (store.roots(), mounts(Path(store.bundles()).parent)) == ([], [])
    monkeypatch.setattr(overlay_mount, "_mount", whole)
    monkeypatch.setattr(overlay_mount, "_set", one)
    root = Path(store.create_rootfs("web", A, use=RootfsUse(label=label)))

    assert given == [f'"{label}"']
    assert (root / "d/file").read_text() == "f"
    store.remove_root("web")
