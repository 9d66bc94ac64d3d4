"""What a containerd shim needs of Linux: mounts of a root file system, and who was killed for want of memory."""

import os
import re
import subprocess
import sys
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
def test_more_than_a_page_of_options(tmp_path: Path) -> None:
    """The kernel would leave out the rest."""
    with pytest.raises(HostError, match=f"mount options of 5002 bytes: mount.2. takes {PAGE}"):
        LinuxShim().mount("tmpfs", "tmpfs", ["size=1" + "0" * 4996], str(tmp_path))

    assert not os.path.ismount(tmp_path)


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


@pytest.fixture
def layers(tmp_path: Path) -> list[str]:
    """The options of an overlay of two layers, with root's files, whose ids are another namespace's."""
    for name in ("layers/1", "layers/2", "up", "work", "rootfs"):
        (tmp_path / name).mkdir(parents=True)
    for number in ("1", "2"):
        (tmp_path / "layers" / number / f"of{number}").touch()
    lower = f"lowerdir={tmp_path}/layers/2:{tmp_path}/layers/1"
    upper = [f"upperdir={tmp_path}/up", f"workdir={tmp_path}/work"]
    return ["index=off", lower, *upper, "uidmap=0:100000:65536", "gidmap=0:200000:65536"]


@pytest.mark.needs("linux", "overlay", "idmapped mounts")
def test_layers_that_a_user_namespace_owns(tmp_path: Path, layers: list[str]) -> None:
    """Snapshots of a pod with `hostUsers: false`: on the disk the layers stay root's, and as they were."""
    root, shim = tmp_path / "rootfs", LinuxShim()
    try:
        shim.mount("overlay", "overlay", layers, str(root))
        assert [(name, owner(root / name)) for name in ("of1", "of2")] == [
            ("of1", (100000, 200000)),
            ("of2", (100000, 200000)),
        ]
        assert mounts_on(root) == 1
        (root / "new").touch()
        (root / "of1").unlink()
    finally:
        os.chdir("/")
        shim.unmount(str(root))

    assert mounts_on(root) == 0
    assert list(root.iterdir()) == []
    assert owner(tmp_path / "layers/1/of1") == (0, 0)
    assert sorted(path.name for path in (tmp_path / "up").iterdir()) == ["new", "of1"]


@pytest.mark.needs("linux", "overlay", "idmapped mounts")
def test_many_layers_that_a_user_namespace_owns(tmp_path: Path, layers: list[str]) -> None:
    """More than mount(2) takes options for."""
    lower = [tmp_path / "layers" / f"{number:050}" for number in range(60)]
    for number, layer in enumerate(lower):
        layer.mkdir()
        (layer / f"file{number}").touch()
    layers[1] = f"lowerdir={':'.join(map(str, lower))}"
    root, shim = tmp_path / "rootfs", LinuxShim()
    try:
        shim.mount("overlay", "overlay", layers, str(root))
        assert {owner(root / f"file{number}") for number in range(60)} == {(100000, 200000)}
    finally:
        os.chdir("/")
        shim.unmount(str(root))


@pytest.mark.needs("linux", "idmapped mounts")
def test_a_copy_that_a_user_namespace_owns(tmp_path: Path, layers: list[str]) -> None:
    """The root of containerd's native snapshotter."""
    root, shim = tmp_path / "rootfs", LinuxShim()
    try:
        shim.mount("bind", f"{tmp_path}/layers/1", ["rbind", "rw", *layers[-2:]], str(root))
        assert owner(root / "of1") == (100000, 200000)
        assert mounts_on(root) == 1
    finally:
        shim.unmount(str(root))


@pytest.mark.needs("linux", "overlay", "idmapped mounts")
@pytest.mark.parametrize("kind", ["bind", "overlay"])
def test_a_mount_below_the_root_that_a_user_namespace_owns(tmp_path: Path, layers: list[str], kind: str) -> None:
    """containerd's Mount.Target: the words were read for the root alone."""
    root, shim = tmp_path / "rootfs", LinuxShim()
    (root / "data").mkdir()
    options = layers if kind == "overlay" else ["rbind", "ro", *layers[-2:]]
    try:
        shim.mount(kind, f"{tmp_path}/layers/1", options, str(root), "/data/deep")
        assert owner(root / "data/deep/of1") == (100000, 200000)
        assert mounts_on(root / "data/deep") == 1
        assert os.statvfs(root / "data/deep").f_flag & os.ST_RDONLY == (kind == "bind")
    finally:
        os.chdir("/")
        shim.unmount(str(root))
    assert owner(tmp_path / "layers/1/of1") == (0, 0)


@pytest.mark.linux
@pytest.mark.parametrize("word", ["rprivate", "size=5", "X-containerd.mkdir=/x"])
def test_options_that_a_bind_has_not(tmp_path: Path, word: str) -> None:
    """The kernel would not look at them."""
    with pytest.raises(HostError, match=re.escape(f"mounting / (bind): '{word}' is not an option of a bind mount")):
        LinuxShim().mount("bind", "/", ["rbind", word, "ro"], str(tmp_path))

    assert mounts_on(tmp_path) == 0


@pytest.mark.needs("linux", "overlay", "idmapped mounts")
@pytest.mark.parametrize(
    ("number", "word", "said"),
    [
        (-1, "gidmap=0:1", "mount option gidmap=0:1: not INSIDE:OUTSIDE:NUMBER"),
        (-1, "gidmap=0:-1:5", "mount option gidmap=0:-1:5: not"),
        (-1, "volatile", "mount option gidmap=: not INSIDE:OUTSIDE:NUMBER"),
        (1, "volatile", "it has no lowerdir"),
        (1, "lowerdir=/proc", "giving /proc the ids of a user namespace: invalid argument"),
    ],
)
def test_owners_that_cannot_be_given(tmp_path: Path, layers: list[str], number: int, word: str, said: str) -> None:
    root, shim = tmp_path / "rootfs", LinuxShim()
    layers[number] = word
    with pytest.raises(HostError, match=re.escape(said)):
        shim.mount("overlay", "overlay", layers, str(root))

    assert mounts_on(root) == 0


@pytest.mark.needs("linux", "overlay", "idmapped mounts")
def test_a_root_that_cannot_be_mounted_over_its_layers(tmp_path: Path, layers: list[str]) -> None:
    """What stays on the root until the shim unmounts it can be changed by nobody: somebody may empty the bundle."""
    root, shim = tmp_path / "rootfs", LinuxShim()
    layers[2] = "upperdir=/nope"
    with pytest.raises(HostError, match="mounting overlay"):
        shim.mount("overlay", "overlay", layers, str(root))
    with pytest.raises(OSError, match="Read-only"):
        (root / "1" / "of1").unlink()
    os.chdir("/")
    shim.unmount(str(root))

    assert mounts_on(root) == 0


def owner(path: Path) -> tuple[int, int]:
    """Return whose a file is."""
    found = path.stat()
    return found.st_uid, found.st_gid


def mounts_on(directory: Path) -> int:
    """Return how many mounts a directory has, one on the other."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [line.split()[1] for line in lines].count(str(directory))


@pytest.mark.needs("linux")
def test_killed_before_another() -> None:
    """The score is one above the other's, and never that of what is killed first of all."""
    for theirs, ours in ((300, 301), (1000, 999)):
        assert in_a_child(theirs) == ours


def in_a_child(theirs: int) -> int:
    """Return the score of a process whose parent has this one and is to outlive it."""
    code = (
        "import os; from pathlib import Path; from runjail.host.linux.shim import LinuxShim\n"
        f"score = Path('/proc/self/oom_score_adj'); score.write_text('{theirs}'); pid = os.fork()\n"
        "pid or (LinuxShim().die_before(os.getppid()), print(score.read_text(), flush=True), os._exit(0))\n"
        "os.waitpid(pid, 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


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
