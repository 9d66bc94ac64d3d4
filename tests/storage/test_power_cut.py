"""What a directory store holds after a power cut: a layer that counts has all its bytes.

ext4 can be shut down as by a power cut: what is in its journal stays, all else is lost. It commits its journal, with
names and sizes, long before it writes the bytes of new files, whenever anybody on that file system syncs something.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from runjail.errors import StorageError
from runjail.storage import directory_layout, durable
from runjail.storage.open import open_store
from tests.support.storage.layers import A, B, add

TOP = Path(__file__).resolve().parents[2]
CUT = """
import fcntl, os, struct, subprocess, sys
from pathlib import Path
from runjail.storage.open import open_store
from tests.support.storage.layers import A, B, add

image, place = sys.argv[1:]
mount, umount = ["mount", "-o", "loop", image, place], ["umount", place]
subprocess.run(mount, check=True)
try:
    store = open_store(f"dir:{place}/store", default="")
    add(store, A, {f"d/{number}": "a" * 5000 for number in range(20)})
    add(store, B, {"e": "b" * 5000}, parent=A)
    store.create_rootfs("web", B)
    somebody = os.open(f"{place}/somebody", os.O_WRONLY | os.O_CREAT)
    os.write(somebody, b"else")
    os.fsync(somebody)
    os.close(somebody)
    top = os.open(place, os.O_RDONLY)
    fcntl.ioctl(top, 0x8004587D, struct.pack("I", 2))  # EXT4_IOC_SHUTDOWN, without flushing the journal
    os.close(top)
finally:
    subprocess.run(umount, check=True)
subprocess.run(mount, check=True)
try:
    assert Path(f"{place}/somebody").read_bytes() == b"else"
    store = open_store(f"dir:{place}/store", default="")
    sizes = {}
    for layer in store.layers():
        for file in Path(layer.name).rglob("*"):
            if file.is_file() and file.name != "layer.json":
                sizes[file.stat().st_size] = sizes.get(file.stat().st_size, 0) + 1
    print(sorted(layer.chain[7] for layer in store.layers()), sizes)
    store.sweep()
    print(store.draft(A, None), store.draft(B, A), [root.name for root in store.roots()])
    store.create_rootfs("web2" if store.root("web") else "web", B)
finally:
    subprocess.run(umount, check=True)
"""


@pytest.mark.needs("mounts", "linux", "mkfs.ext4")
def test_a_power_cut_after_a_layer(tmp_path: Path) -> None:
    """Its files are whole, those of the layer above too; a container's root is gone or whole, and in nobody's way."""
    image, place = tmp_path / "image", tmp_path / "place"
    place.mkdir()
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    script = ["unshare", "-m", "--propagation", "private", sys.executable, "-c", CUT, str(image), str(place)]
    done = subprocess.run(script, cwd=TOP, env={**os.environ, "PYTHONPATH": str(TOP)}, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    layers, drafts = done.stdout.splitlines()
    assert layers == "['a', 'b'] {5000: 41}"
    assert drafts.startswith("None None")


def test_without_a_call_for_a_whole_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FreeBSD: sync(2) starts everything, then each file and directory is waited for; nothing else is opened."""
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/file").write_text("x")
    (tmp_path / "d/e/file").write_text("y")
    (tmp_path / "d/link").symlink_to("/nonexistent")
    os.mkfifo(tmp_path / "d/fifo")
    done: list[int] = []
    monkeypatch.setattr(os, "sync", lambda: done.append(0))
    monkeypatch.setattr(os, "fsync", lambda file: done.append(os.fstat(file).st_ino))
    durable.sync_tree(str(tmp_path), SimpleNamespace())

    waited = [path for path in (tmp_path, *tmp_path.rglob("*")) if path.name not in ("link", "fifo")]
    assert done[0] == 0
    assert sorted(done[1:]) == sorted(path.stat().st_ino for path in waited)


def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may not be on the disk is no layer."""

    class Failing:
        def syncfs(self, _file: int) -> int:
            ctypes.set_errno(5)
            return -1

    with pytest.raises(OSError) as caught:
        durable.sync_tree(str(tmp_path), Failing())
    assert caught.value.errno == 5

    def fail(path: str) -> None:
        raise OSError(5, "Input/output error", path)

    monkeypatch.setattr(directory_layout, "sync_tree", fail)
    store = open_store(f"dir:{tmp_path}/store", default="")
    with pytest.raises(StorageError, match="cannot be completed"):
        add(store, A, {"a": "a"})
    assert store.layers() == []
    assert os.listdir(tmp_path / "store/making") == os.listdir(tmp_path / "store/trash") == []


@pytest.mark.parametrize("left", ["", "{", "[1]", None])
def test_what_releases_that_did_not_sync_left(tmp_path: Path, left: str | None) -> None:
    """A layer or root without its facts is none: the layer is made again, the root is removed."""
    store = open_store(f"dir:{tmp_path}/store", default="")
    add(store, A, {"a": "a"})
    add(store, B, {"b": "b"}, parent=A)
    store.create_rootfs("web", A)
    for document in (
        tmp_path / "store/layers" / ("a" * 64) / "layer.json",
        tmp_path / "store/containers/web/root.json",
    ):
        if left is None:
            document.unlink()
        else:
            document.write_text(left)

    assert [layer.chain for layer in store.layers()] == [B]
    assert store.roots() == []
    assert store.sweep() == [f"{tmp_path}/store/containers/web"]
    assert not (tmp_path / "store/containers/web").exists()
    with pytest.raises(StorageError, match="not in the store"):
        store.create_rootfs("web", A)
    add(store, A, {"a": "a"})
    assert Path(store.create_rootfs("web", A), "a").read_text() == "a"
