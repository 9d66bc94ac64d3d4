"""Mounts of each type with their options, mount points that lead elsewhere, and which devices are shown."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import HostError, InvalidConfig, RunjailError
from runjail.host.freebsd import libc as c
from runjail.steps import Mount
from tests.support.freebsd.real import Real, tool

pytestmark = pytest.mark.freebsd


def entry(type: str, *options: str, source: str = "", destination: str = "/tmp") -> dict[str, Any]:
    """Return one of mounts[]."""
    return {"type": type, "source": source or type, "destination": destination, "options": list(options)}


# Types ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mount", "fstype", "flags"),
    [
        (entry("tmpfs"), "tmpfs", 0),
        (entry("tmpfs", "ro", "nosuid", "noexec"), "tmpfs", c.MNT_RDONLY | c.MNT_NOSUID | c.MNT_NOEXEC),
        (entry("tmpfs", "noatime", "nosymfollow", "rprivate", "nodev"), "tmpfs", c.MNT_NOATIME | c.MNT_NOSYMFOLLOW),
        (entry("bind", "bind", source="/etc"), "nullfs", 0),
        (entry("nullfs", "ro", "nosuid", source="/etc"), "nullfs", c.MNT_RDONLY | c.MNT_NOSUID),
        (entry("bind", "bind", "ro", source="/etc/passwd", destination="/etc/passwd"), "nullfs", c.MNT_RDONLY),
        (entry("devfs", destination="/dev"), "devfs", 0),
        (entry("procfs", destination="/proc"), "procfs", 0),
        (entry("linprocfs", "nosuid", "noexec", destination="/proc"), "linprocfs", 0),
        (entry("linsysfs", destination="/sys"), "linsysfs", 0),
        (entry("fdescfs", "linrdlnk", destination="/var"), "fdescfs", 0),
    ],
    ids=lambda value: f"{value['type']}-{'-'.join(value['options'])}" if isinstance(value, dict) else None,
)
def test_a_mount_is_of_its_type_and_as_protected_as_asked(
    real: Real, mount: dict[str, Any], fstype: str, flags: int
) -> None:
    real.build(mounts=[mount])
    place = f"{os.path.realpath(real.root)}{mount['destination']}"
    found = next(mounted for mounted in real.libc.mounts() if mounted.path == place)

    mask = c.MNT_RDONLY | c.MNT_NOSUID | c.MNT_NOEXEC | c.MNT_NOATIME | c.MNT_NOSYMFOLLOW
    assert found.fstype == fstype
    if fstype in ("tmpfs", "nullfs"):  # the others do not show flags
        assert found.flags & mask == flags


@pytest.mark.parametrize(("size", "blocks"), [("64k", 16), ("1m", 256)])
def test_a_tmpfs_has_its_size(real: Real, size: str, blocks: int) -> None:
    real.build(mounts=[entry("tmpfs", f"size={size}")])
    found = os.statvfs(real.root / "tmp")

    assert found.f_blocks * found.f_frsize == blocks * 4096


@pytest.mark.parametrize(
    ("options", "mode", "ids"),
    [
        ([], 0o755, (0, 0)), (["mode=1777"], 0o1777, (0, 0)), (["mode=0700", "uid=1000", "gid=5"], 0o700, (1000, 5)),
    ],
)  # fmt: skip
def test_a_tmpfs_belongs_to_whom_it_should(real: Real, options: list[str], mode: int, ids: tuple[int, int]) -> None:
    real.build(mounts=[entry("tmpfs", *options)])
    found = os.stat(real.root / "tmp")

    assert (found.st_mode & 0o7777, (found.st_uid, found.st_gid)) == (mode, ids)


def test_a_volume_keeps_its_owners(real: Real) -> None:
    """There is no id mapping in a jail: the ids inside are those of the host, and a document that maps is refused."""
    volume = real.base / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    bind = entry("bind", "bind", source=str(volume), destination="/data")
    real.build(mounts=[bind])

    def write() -> object:
        os.setuid(1234)
        Path("/data/file").write_text("")
        return os.stat("/data/file").st_uid

    assert real.inside(write) == "1234"
    assert (volume / "file").stat().st_uid == 1234
    real.undo()
    real.notes.clear()
    mapping = [{"containerID": 0, "hostID": 1000, "size": 1}]
    with pytest.raises(InvalidConfig, match=r"mounts\[0\].uidMappings"):
        real.build(mounts=[bind | {"uidMappings": mapping, "gidMappings": mapping}])


# Mount points ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("links", "destination", "lands"),
    [
        ({"a": "/tmp"}, "/a", "tmp"),
        ({"a": "../../../../tmp"}, "/a", "tmp"),
        ({"a": "b", "b": "/var"}, "/a/log", "var/log"),
        ({"a": "/tmp/../run"}, "/a", "run"),
        ({"var/up": ".."}, "/var/up/tmp", "tmp"),
        ({"a": "/nowhere"}, "/a/deep", "nowhere/deep"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_links_are_followed_below_the_root_only(
    real: Real, links: dict[str, str], destination: str, lands: str
) -> None:
    before = [mounted.path for mounted in real.libc.mounts()]
    for name, target in links.items():
        (real.root / name).symlink_to(target)

    real.build(mounts=[entry("tmpfs", destination=destination)])

    assert real.mounts() == [lands]
    assert [mounted.path for mounted in real.libc.mounts()][:-1] == before


@pytest.mark.parametrize(("first", "second"), [("a", "a"), ("b", "a")])
def test_links_in_a_circle_are_an_error(real: Real, first: str, second: str) -> None:
    (real.root / "a").symlink_to(first)
    (real.root / "b").symlink_to(second)

    with pytest.raises(RunjailError):
        real.build(mounts=[entry("tmpfs", destination="/a")])
    assert real.mounts() == []


def test_a_directory_that_is_swapped_for_a_link_all_the_time(real: Real) -> None:
    """The mount is made on what was found, by descriptor, wherever its name leads by then."""
    outside = real.base / "outside"
    outside.mkdir()
    script = f'while :; do mkdir a; rmdir a; ln -s "{outside}" a; rm -f a; done 2>/dev/null'
    swapper = subprocess.Popen(["/bin/sh", "-c", script], cwd=real.root)
    try:
        for _ in range(30):
            try:
                real.apply(Mount("tmpfs", "tmpfs", "/a"))
            except HostError:
                pass
            assert not os.path.ismount(outside), "HOST PATH WAS MOUNTED ON!"
            while real.notes:
                real.host.undo(real.notes.pop(), real.host_state)
    finally:
        swapper.kill()
        swapper.wait()


# Devices --------------------------------------------------------------------------------------------------------------

DEV = entry("devfs", destination="/dev")
DANGEROUS = {"mem", "kmem", "io", "vtbd0", "devctl", "pci"}


def nodes(real: Real) -> set[str]:
    return set(os.listdir(real.root / "dev"))


def test_the_usual_devices_and_no_others(real: Real) -> None:
    real.build(mounts=[DEV])

    assert {"null", "zero", "random", "urandom", "fd", "stdin"} <= nodes(real)
    assert not nodes(real) & (DANGEROUS | {"full", "console"})


@pytest.mark.parametrize("mode", [None, 0o600, 0o444])
def test_a_device_of_the_document(real: Real, mode: int | None) -> None:
    device = {"path": "full"} | ({"mode": mode} if mode is not None else {})
    real.build(mounts=[DEV], freebsd={"devices": [device]})

    assert os.stat(real.root / "dev/full").st_mode & 0o777 == (0o666 if mode is None else mode)
    assert not nodes(real) & DANGEROUS
    assert os.stat("/dev/full").st_mode & 0o777 == 0o666, "the host's own is as it was"


def test_a_device_in_a_directory(real: Real) -> None:
    directory = next((name for name in ("geom.ctl", "pts") if os.path.isdir(f"/dev/{name}")), "fd")
    inner = sorted(os.listdir(f"/dev/{directory}"))[0]
    real.build(mounts=[DEV], freebsd={"devices": [{"path": f"{directory}/{inner}"}]})

    assert inner in os.listdir(real.root / "dev" / directory)


def test_a_device_that_this_machine_lacks_shows_nothing(real: Real) -> None:
    real.build(mounts=[DEV], freebsd={"devices": [{"path": "nonesuch0"}]})

    assert "nonesuch0" not in nodes(real)


def test_every_device_when_it_is_asked_for(real: Real) -> None:
    real.build(mounts=[entry("devfs", "ruleset=0", destination="/dev")])

    assert {"mem", "kmem"} <= nodes(real)


def test_a_loaded_ruleset_that_hides_nothing_is_what_it_is(real: Real) -> None:
    """An empty one and one that was never loaded are the same to the kernel, and show every disk."""
    tool("devfs", "rule", "-s", "888", "add", "path", "null", "unhide")
    try:
        tool("devfs", "rule", "-s", "888", "del", "100")
        with pytest.raises(HostError, match="devfs ruleset 888 is not loaded"):
            real.build(mounts=[entry("devfs", "ruleset=888", destination="/dev")])
    finally:
        tool("devfs", "rule", "-s", "888", "delset")
    assert real.mounts() == []


def test_a_devfs_that_the_jail_mounts_itself_has_the_same_rules(real: Real) -> None:
    real.build(mounts=[DEV], freebsd={"jail": {"allow": {"mount": ["devfs"]}}})

    def mount() -> object:
        real.libc.nmount([("fstype", "devfs"), ("fspath", "/tmp")], 0)
        return sorted(os.listdir("/tmp"))

    shown = real.inside(mount)
    assert "null" in shown
    assert not any(f"'{name}'" in shown for name in DANGEROUS)
    real.undo()
    assert real.mounts() == []


def test_two_private_rulesets_have_two_numbers(real: Real) -> None:
    """And each of them shows what it should."""
    rules = ("path full unhide",)
    real.apply(Mount("devfs", "devfs", "/dev", ruleset=4, rules=rules))
    real.apply(Mount("devfs", "devfs", "/tmp", ruleset=4, rules=("path bpf unhide",)))

    numbers = [note["number"] for note in real.notes if note["undo"] == "ruleset"]
    assert len(set(numbers)) == 2
    assert "full" in nodes(real)
    assert "full" not in os.listdir(real.root / "tmp")
