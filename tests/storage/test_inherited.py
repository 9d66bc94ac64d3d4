"""Trees of a store have nothing of what the directory above it hands down: ACLs, a group, a set-group-ID bit."""

import os
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from runjail.storage.base import RootfsUse
from runjail.storage.open import open_store
from tests.support.storage.kinds import DIRECTORIES, mounts, overlay_mount
from tests.support.storage.layers import A, B, add
from tests.support.zfs_pool import Pool

NFS4 = "user:1234:rwx:fd:allow"  # setfacl(1): inherited by all that is made below

ACL = "system.posix_acl_default"
# acl(5) as its attribute has it: version 2, then (tag, rights, id) of owner, user 1234, group, mask and others
ENTRIES = ((0x01, 7, 0xFFFFFFFF), (0x02, 7, 1234), (0x04, 0, 0xFFFFFFFF), (0x10, 7, 0xFFFFFFFF), (0x20, 0, 0xFFFFFFFF))
VALUE = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in ENTRIES)


@pytest.fixture
def generous(tmp_path: Path) -> Path:
    """A directory that hands down all it can."""
    above = tmp_path / "above"
    above.mkdir()
    os.chown(above, -1, 1235)
    os.chmod(above, 0o2775)
    os.setxattr(above, ACL, VALUE)
    return above


def handed_down(tree: str) -> list[str]:
    """Return what in a tree has an ACL, a set-group-ID bit or a group that is not ours."""
    found = []
    for top, _directories, files in os.walk(tree):
        for path in (top, *(f"{top}/{name}" for name in files)):
            has = os.lstat(path)
            acls = [name for name in os.listxattr(path) if "acl" in name]
            if acls or has.st_mode & stat.S_ISGID or has.st_gid != os.getegid():
                found.append(path)
    return found


@pytest.mark.needs("root", "linux")
@pytest.mark.parametrize("kind", DIRECTORIES)
def test_layers_roots_and_volumes_inherit_nothing(generous: Path, kind: str) -> None:
    (generous / "control").mkdir()
    assert handed_down(f"{generous}/control")
    store = open_store(f"{kind}:{generous}/store", default="")
    try:
        add(store, A, {"etc/a": "a"})
        add(store, B, {"etc/b": "b"}, A)
        root = store.create_rootfs("web", B, use=RootfsUse())
        Path(root, "new").mkdir()
        volume = store.volumes().make("data")
        Path(volume, "file").touch()

        assert handed_down(root) == []
        assert [path for layer in store.layers() for path in handed_down(layer.name)] == []
        assert handed_down(volume) == []
        assert [stat.S_IMODE(os.stat(path).st_mode) for path in (root, volume)] == [0o755, 0o755]
    finally:
        for place in mounts(generous):
            overlay_mount.unmount(place)


@pytest.mark.freebsd
@pytest.mark.needs("root", "zpool")
def test_nfsv4_acls_of_a_dataset_are_not_handed_down(zpool: Pool, dataset: str) -> None:
    """A directory store in a dataset whose directory has an entry for all that is made below."""
    above = zpool.path(dataset)
    subprocess.run(["setfacl", "-a", "0", NFS4, str(above)], check=True)
    (above / "control").mkdir()
    assert "user:1234" in acl(above / "control")
    store = open_store(f"dir:{above}/store", default="")

    add(store, A, {"etc/a": "a"})
    root = Path(store.create_rootfs("web", A, use=RootfsUse()))
    (root / "new").mkdir()

    assert [path for path in (root, root / "etc", root / "etc/a", root / "new") if "1234" in acl(path)] == []


def acl(path: Path) -> str:
    return subprocess.run(["getfacl", "-n", str(path)], capture_output=True, text=True, check=True).stdout
