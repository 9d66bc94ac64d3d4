"""What a containerd shim needs of FreeBSD, on a kernel of Python."""

import errno
import os
import re
from pathlib import Path

import pytest

from runjail.errors import HostError
from runjail.host.base import HostState
from runjail.host.freebsd import libc as c
from runjail.host.freebsd import lock
from runjail.host.freebsd.host import FreeBSDHost
from runjail.host.freebsd.shim import FreeBSDShim
from tests.support.host.fake_libc import FakeKernel, Refusal


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    monkeypatch.setattr(lock, "DIRECTORY", str(tmp_path))
    return FakeKernel()


@pytest.fixture
def shim(kernel: FakeKernel) -> FreeBSDShim:
    found = FreeBSDHost(kernel.libc()).shim()
    assert isinstance(found, FreeBSDShim)
    return found


def test_it_adopts_orphans_and_dies_with_its_parent(shim: FreeBSDShim, kernel: FakeKernel) -> None:
    """procctl(2): PROC_REAP_ACQUIRE takes no argument, PROC_PDEATHSIG_CTL a signal."""
    shim.adopt_orphans()
    shim.die_with_parent()

    assert kernel.calls == [("procctl", 2, None), ("procctl", 11, 9)]


@pytest.mark.parametrize("fstype", ["bind", "nullfs"])
def test_a_directory(shim: FreeBSDShim, kernel: FakeKernel, tmp_path: Path, fstype: str) -> None:
    shim.mount(fstype, "/snapshot", ["rbind", "ro", "noexec"], str(tmp_path))

    assert kernel.calls == [
        ("nmount", {"fstype": "nullfs", "fspath": ".", "from": "/snapshot"}, c.MNT_RDONLY | c.MNT_NOEXEC)
    ]
    assert kernel.paths() == [str(tmp_path)]


def test_a_dataset(shim: FreeBSDShim, kernel: FakeKernel, tmp_path: Path) -> None:
    """zfs ignores flags and knows nosuid by another name (observed)."""
    shim.mount("zfs", "tank/containerd/1", ["ro", "nosuid"], str(tmp_path))

    words = {"fstype": "zfs", "fspath": ".", "from": "tank/containerd/1", "ro": "", "nosetuid": ""}
    assert kernel.calls == [("nmount", words, 0)]


def test_below_a_root_that_leads_elsewhere(shim: FreeBSDShim, kernel: FakeKernel, tmp_path: Path) -> None:
    """Links of an image are followed inside it."""
    root = tmp_path / "rootfs"
    (root / "inside").mkdir(parents=True)
    (root / "data").symlink_to("/inside")
    shim.mount("nullfs", "/src", [], str(root), "/data/deep")

    assert kernel.paths() == [f"{root}/inside/deep"]
    assert os.getcwd() == "/"


def test_memory(shim: FreeBSDShim, kernel: FakeKernel, tmp_path: Path) -> None:
    shim.mount("tmpfs", "tmpfs", ["rw", "size=64m"], str(tmp_path))

    assert kernel.calls == [("nmount", {"fstype": "tmpfs", "fspath": ".", "size": "64m"}, 0)]


@pytest.mark.parametrize(
    ("fstype", "word"), [("bind", "uidmap=0:1:1"), ("bind", "rprivate"), ("nullfs", "x=y"), ("zfs", "gidmap=0:1:1")]
)
def test_options_that_the_kernel_would_not_look_at(
    shim: FreeBSDShim, kernel: FakeKernel, tmp_path: Path, fstype: str, word: str
) -> None:
    """nullfs and zfs swallow what they do not know."""
    with pytest.raises(HostError, match=re.escape(f"FreeBSD has no option '{word}' for it")):
        shim.mount(fstype, "/src", ["rw", word], str(tmp_path))

    assert kernel.calls == []


def test_options_of_nullfs(shim: FreeBSDShim, kernel: FakeKernel, tmp_path: Path) -> None:
    shim.mount("nullfs", "/src", ["nocache"], str(tmp_path))

    assert kernel.calls == [("nmount", {"fstype": "nullfs", "fspath": ".", "from": "/src", "nocache": ""}, 0)]


def test_a_mount_that_fails(shim: FreeBSDShim, kernel: FakeKernel, tmp_path: Path) -> None:
    kernel.refuse["nmount"] = Refusal(errno.ENOENT)
    with pytest.raises(HostError, match=r"mounting tank/nope \(zfs\) on .*: does not exist"):
        shim.mount("zfs", "tank/nope", [], str(tmp_path))


def test_everything_is_unmounted(shim: FreeBSDShim, kernel: FakeKernel, tmp_path: Path) -> None:
    """What is mounted on the directory and below, the innermost first; nothing there is fine."""
    kernel.add_mount(str(tmp_path))
    kernel.add_mount(f"{tmp_path}/dev")
    other = kernel.add_mount(f"{tmp_path}-other")
    shim.unmount(str(tmp_path))
    shim.unmount(str(tmp_path))

    assert kernel.paths() == [other.path]


def test_a_jail_outlives_its_first_process(shim: FreeBSDShim) -> None:
    host_state = HostState("web", "web", "/state", "/root", "/root")

    assert not shim.ends_with_init(host_state)
    assert shim.oom_file(host_state) == ""
    with pytest.raises(HostError, match="nothing to watch"):
        shim.watch_ooms("")
