"""What a containerd shim needs of Linux: mounts of a root file system, and who was killed for want of memory."""

import os
from pathlib import Path

import pytest

from runjail.errors import HostError
from runjail.host.base import HostState
from runjail.host.linux import cgroups
from runjail.host.linux.shim import PAGE, LinuxShim, _shortened


def test_many_layers_are_named_from_their_common_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mount(2) takes one page of options; overlay finds short names from the working directory."""
    monkeypatch.chdir(tmp_path)
    layers = [tmp_path / "snapshots" / f"{number:040d}" / "fs" for number in range(80)]
    for layer in layers:
        layer.mkdir(parents=True)
    words = ["lowerdir=" + ":".join(map(str, layers)), f"upperdir={tmp_path}/up", f"workdir={tmp_path}/work"]
    assert len(",".join(words)) > PAGE
    short = _shortened(words)

    assert len(short) <= PAGE
    assert all(os.path.samefile(name, layer) for name, layer in zip(lower(short), layers, strict=True))
    assert short.endswith(f"upperdir={tmp_path}/up,workdir={tmp_path}/work")


def lower(text: str) -> list[str]:
    """Return the layers that options name."""
    return text.split(",", maxsplit=1)[0].removeprefix("lowerdir=").split(":")


def test_few_layers_stay_as_they_are() -> None:
    assert _shortened(["lowerdir=/a:/b", "index=off"]) == "lowerdir=/a:/b,index=off"


@pytest.mark.linux
def test_binds_and_their_flags(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    shim = LinuxShim()
    shim.mount("bind", str(source), ["rbind", "ro"], str(target))
    try:
        with pytest.raises(OSError, match="Read-only"):
            (target / "file").touch()
    finally:
        shim.unmount(str(target))
        shim.unmount(str(target))
    (target / "file").touch()

    assert not (source / "file").exists()


@pytest.mark.linux
def test_all_mounts_are_taken_away(tmp_path: Path) -> None:
    """Several on the same place, one below, whatever their names; others stay."""
    root, other = tmp_path / "a b\\040", tmp_path / "a b\\040c"
    for directory in (root, other):
        directory.mkdir()
    shim = LinuxShim()
    for _ in range(2):
        shim.mount("tmpfs", "tmpfs", ["size=64k"], str(root))
    shim.mount("tmpfs", "tmpfs", [], str(root), "/below")
    shim.mount("tmpfs", "tmpfs", [], str(other))
    try:
        shim.unmount(str(root))
        assert not os.path.ismount(root)
        assert os.path.ismount(other)
    finally:
        shim.unmount(str(root))
        shim.unmount(str(other))
    assert not os.path.ismount(other)


@pytest.mark.linux
def test_below_a_root_that_leads_elsewhere(tmp_path: Path) -> None:
    """Links of an image are followed inside it; a read-only one is read-only there."""
    source, root = tmp_path / "source", tmp_path / "rootfs"
    source.mkdir()
    (root / "inside").mkdir(parents=True)
    (root / "data").symlink_to("/inside")
    shim = LinuxShim()
    shim.mount("bind", str(source), ["rbind", "ro"], str(root), "/data/deep")
    try:
        assert os.path.samefile(root / "inside" / "deep", source)
        with pytest.raises(OSError, match="Read-only"):
            (root / "inside" / "deep" / "file").touch()
    finally:
        shim.unmount(str(root))
    assert not os.path.samefile(root / "inside" / "deep", source)


@pytest.mark.linux
def test_a_mount_that_fails(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"mounting /nope \(bind\) on .*: does not exist"):
        LinuxShim().mount("bind", "/nope", ["rbind"], str(tmp_path))
    LinuxShim().unmount(str(tmp_path / "nope"))


@pytest.mark.parametrize(("unified", "file"), [(True, "web/memory.events"), (False, "memory/web/memory.oom_control")])
def test_where_kills_are_counted(monkeypatch: pytest.MonkeyPatch, unified: bool, file: str) -> None:
    monkeypatch.setattr(cgroups, "TOP", "/groups")
    monkeypatch.setattr(cgroups, "unified", lambda: unified)
    host_state = HostState("web", "web", "/state", "/root", "/root")
    assert LinuxShim().oom_file(host_state) == ""
    host_state.cgroup = "web"

    assert LinuxShim().oom_file(host_state) == f"/groups/{file}"
