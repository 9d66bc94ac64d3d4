"""Mounts: where they land, what they may hide or show, and in which order."""

import errno
import os
import stat
from collections.abc import Callable

import pytest

from runjail import rootfs
from runjail.errors import HostError
from runjail.host.freebsd import libc as c
from runjail.host.freebsd import mounts
from runjail.host.freebsd.host import FreeBSDHost
from runjail.steps import Mount
from tests.support.host.fake_libc import FakeKernel, Refusal
from tests.support.host.machine import Machine, nmounts


def test_a_directory_is_mounted_on_as_dot_from_inside_it(machine: Machine, volume: str) -> None:
    """nmount(2) follows links in a path; the directory that was entered cannot be exchanged."""
    before = os.getcwd()

    machine.apply(Mount("nullfs", volume, "/data/sub", flags=("ro", "nosuid")))

    wanted = {"fstype": "nullfs", "fspath": ".", "from": volume}
    assert nmounts(machine) == [(wanted, c.MNT_RDONLY | c.MNT_NOSUID)]
    assert machine.kernel.paths() == [f"{machine.root}/data/sub"]
    assert os.getcwd() == before


def test_a_file_is_mounted_on_by_name_from_its_directory(machine: Machine) -> None:
    source = machine.base / "resolv.conf"
    source.write_text("nameserver ::1\n")

    machine.apply(Mount("nullfs", str(source), "/etc/resolv.conf"))

    assert nmounts(machine)[0][0] == {"fstype": "nullfs", "fspath": "resolv.conf", "from": str(source)}
    assert machine.kernel.paths() == [f"{machine.root}/etc/resolv.conf"]


def test_links_in_the_image_stay_inside_it(machine: Machine, volume: str) -> None:
    """HOST PATH WAS MOUNTED ON! would be the headline."""
    (machine.root / "data").symlink_to("/etc")

    machine.apply(Mount("nullfs", volume, "/data/x"))

    assert machine.kernel.paths() == [f"{machine.root}/etc/x"]


def test_mount_points_are_noted_before_they_are_made_and_removed_again(machine: Machine, volume: str) -> None:
    machine.apply(Mount("nullfs", volume, "/a/b"))
    machine.apply(Mount("nullfs", volume, "/a/b"))

    assert machine.kinds() == ["made", "made", "mounts", "mounts"]
    machine.undo()

    assert machine.kernel.paths() == []
    assert os.listdir(machine.root) == []


def test_each_note_takes_back_only_what_came_after_it(machine: Machine, volume: str) -> None:
    """A mount point made inside a volume can only be removed while the volume is still mounted."""
    foreign = machine.kernel.add_mount(f"{machine.root}/foreign")
    machine.apply(Mount("nullfs", volume, "/one"))
    machine.apply(Mount("nullfs", volume, "/two"))

    assert [len(note["keep"]) for note in machine.notes if note["undo"] == "mounts"] == [1, 2]
    machine.host.undo(machine.notes[-1], machine.host_state)
    assert machine.kernel.paths() == [foreign.path, f"{machine.root}/one"]

    machine.undo()
    assert machine.kernel.paths() == [foreign.path]


def test_an_existing_mount_point_is_left_as_it_was(machine: Machine, volume: str) -> None:
    (machine.root / "data").mkdir(mode=0o700)

    machine.apply(Mount("nullfs", volume, "/data"))
    machine.undo()

    assert machine.kinds() == ["mounts"]
    assert stat.S_IMODE(os.stat(machine.root / "data").st_mode) == 0o700


def test_a_missing_mount_point_that_must_not_be_made(machine: Machine, volume: str) -> None:
    with pytest.raises(HostError, match="on /data: the mount point does not exist"):
        machine.apply(Mount("nullfs", volume, "/data", create=False))


def test_the_root_itself_cannot_be_mounted_on(machine: Machine, volume: str) -> None:
    (machine.root / "up").mkdir()

    with pytest.raises(HostError, match=r"on /up/\.\.: nothing can be mounted on the root itself"):
        machine.apply(Mount("nullfs", volume, "/up/.."))


@pytest.mark.parametrize(
    ("source", "target", "text"),
    [
        ("directory", "file", "the source is a directory, the mount point is no directory"),
        ("file", "directory", "the source is a file, the mount point is no regular file"),
        ("file", "fifo", "the source is a file, the mount point is no regular file"),
        ("file", "linked", "the mount point is a file with 2 names, and may have only one"),
        ("fifo", "file", "its source is neither a directory nor a regular file"),
        ("/dev/null", "file", "its source is a device; show it with freebsd.devices"),
        ("missing", "file", "its source does not exist"),
    ],
)
def test_types_that_do_not_fit_are_explained(machine: Machine, source: str, target: str, text: str) -> None:
    """The kernel says "Invalid argument" to all of these."""
    for base in (machine.base, machine.root):
        (base / "directory").mkdir(exist_ok=True)
        (base / "file").write_text("")
        os.mkfifo(base / "fifo")
        (base / "linked").write_text("")
        os.link(base / "linked", base / "other-name")

    with pytest.raises(HostError, match=text) as caught:
        machine.apply(Mount("nullfs", os.path.join(machine.base, source), f"/{target}", entry="mounts[2]"))

    part = "destination" if "mount point" in text else "source"
    assert str(caught.value).startswith(f"mounts[2].{part}: mount {os.path.join(machine.base, source)} (nullfs) on ")
    assert nmounts(machine) == []


@pytest.mark.parametrize(
    ("number", "text", "hint"),
    [
        (errno.EDEADLK, "it would cover itself", mounts.SHARED_HINT),
        (errno.ENOMEM, "the path is too long", None),
        (errno.EPERM, "not allowed", None),
        (errno.EBUSY, os.strerror(errno.EBUSY).lower(), mounts.SHARED_HINT),
    ],
)
def test_refusals_name_source_and_destination(
    machine: Machine, volume: str, number: int, text: str, hint: str | None
) -> None:
    machine.kernel.refuse["nmount"] = Refusal(number)

    with pytest.raises(HostError) as caught:
        machine.apply(Mount("nullfs", volume, "/data"))

    assert (str(caught.value), caught.value.hint) == (f"mount {volume} (nullfs) on /data: {text}", hint)


@pytest.mark.parametrize(("busy", "works"), [(1, True), (4, True), (5, False)])
def test_a_mount_point_that_another_mounts_on_is_opened_again(
    machine: Machine, volume: str, monkeypatch: pytest.MonkeyPatch, busy: int, works: bool
) -> None:
    """Containers may share a root, and the directory that was opened lies below the other's mount then."""
    mount, left = mounts._Mounting._nmount, [errno.EBUSY] * busy

    def crowded(*args: object) -> None:
        if left:
            raise OSError(left.pop(), "Device busy")
        mount(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(mounts._Mounting, "_nmount", crowded)
    if works:
        machine.apply(Mount("nullfs", volume, "/data"))
    else:
        with pytest.raises(HostError, match="on /data: "):
            machine.apply(Mount("nullfs", volume, "/data"))

    assert machine.kernel.paths() == ([f"{machine.root}/data"] if works else [])


def test_options_are_words_and_bits(machine: Machine) -> None:
    machine.apply(Mount("tmpfs", "tmpfs", "/tmp", flags=("noexec", "noatime"), data=(("size", "1m"), ("nonc", ""))))

    wanted = {"fstype": "tmpfs", "fspath": ".", "size": "1m", "nonc": ""}
    assert nmounts(machine) == [(wanted, c.MNT_NOEXEC | c.MNT_NOATIME)]


def test_zfs_gets_its_options_as_words(machine: Machine) -> None:
    """It ignores flag bits, and calls nosuid nosetuid."""
    data = (("ro", ""), ("nosetuid", ""))

    machine.apply(Mount("zfs", "tank/data", "/data", flags=("ro", "nosuid"), data=data))

    assert nmounts(machine)[0][0] == {"fstype": "zfs", "fspath": ".", "from": "tank/data", "ro": "", "nosetuid": ""}
    assert machine.kernel.mounts[-1].flags == c.MNT_RDONLY | c.MNT_NOSUID


@pytest.mark.parametrize("fstype", ["zfs", "tmpfs", "nullfs"])
def test_protection_that_the_kernel_forgot_is_an_error(machine: Machine, volume: str, fstype: str) -> None:
    """A setuid-root program on a file system mounted nosuid ran as root: ZFS had said yes to the word."""
    machine.kernel.ignored_flags = c.MNT_NOSUID
    data = (("nosetuid", ""), ("noexec", "")) if fstype == "zfs" else ()

    with pytest.raises(HostError, match=r"the kernel ignored nosuid$"):
        machine.apply(Mount(fstype, volume, "/data", flags=("nosuid", "noexec"), data=data))

    machine.undo()
    assert machine.kernel.paths() == []


def test_devfs_shows_no_flags_and_that_is_no_error(machine: Machine) -> None:
    machine.apply(Mount("devfs", "devfs", "/dev", flags=("nosuid",), ruleset=4))

    assert nmounts(machine) == [({"fstype": "devfs", "fspath": ".", "ruleset": "4"}, c.MNT_NOSUID)]


@pytest.mark.parametrize("fstype", ["nullfs", "tmpfs"])
def test_a_mount_that_landed_elsewhere_is_taken_away(machine: Machine, volume: str, fstype: str) -> None:
    """Somebody who shares a volume renamed a directory at the right moment."""
    machine.kernel.moved = "/host/etc"

    with pytest.raises(HostError, match="moved away while it was mounted"):
        machine.apply(Mount(fstype, volume, "/data"))

    assert machine.kernel.paths() == []


def test_a_file_that_was_swapped_for_a_link_is_found_where_the_link_led(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link is gone again when we look: only the mount table tells where the mount went."""
    source = machine.base / "source"
    source.write_text("")
    machine.kernel.add_mount("/other", source="/else")
    real = FakeKernel._nmount

    def follow(kernel: FakeKernel, vector: int, count: int, flags: int) -> None:
        kernel.moved = "/etc/passwd"
        real(kernel, vector, count, flags)
        kernel.moved = ""
        kernel.add_mount("/meanwhile", source="/else")

    monkeypatch.setattr(FakeKernel, "_nmount", follow)
    machine.host = FreeBSDHost(machine.kernel.libc())

    with pytest.raises(HostError, match="moved away"):
        machine.apply(Mount("nullfs", str(source), "/etc/file"))

    assert machine.kernel.paths() == ["/other", "/meanwhile"]


def test_somebody_else_s_mount_is_not_taken_away(machine: Machine, volume: str) -> None:
    machine.kernel.moved = "/dev"
    machine.kernel.add_mount = lambda *arguments: machine.kernel.mounts[1]  # type: ignore[method-assign, assignment]

    with pytest.raises(HostError, match="moved away"):
        machine.apply(Mount("nullfs", volume, "/data"))

    assert [mount.path for mount in machine.kernel.mounts] == ["/", "/dev"]


def test_a_removed_working_directory_does_not_matter(
    machine: Machine, volume: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """containerd may delete the bundle while its shim's children still stand in it."""
    monkeypatch.chdir(machine.base)
    gone = machine.base / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    monkeypatch.setattr(mounts, "_working_directory", lambda: -1)

    machine.apply(Mount("nullfs", volume, "/data"))

    assert os.getcwd() == "/"


def test_an_unreadable_working_directory_is_left_for_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise FileNotFoundError(2, "gone")

    monkeypatch.setattr(os, "open", refuse)

    assert mounts._working_directory() == -1


def test_a_missing_directory_in_devfs_is_explained(
    machine: Machine, volume: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """devfs has no mkdir, and /dev/shm exists only while linux_common is loaded."""

    def refuse(root: int, path: str, directory: bool, making: Callable[[str], None]) -> rootfs.ResolvedPath:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(rootfs, "mount_point", refuse)

    with pytest.raises(HostError, match="cannot be made there") as caught:
        machine.apply(Mount("tmpfs", "tmpfs", "/dev/shm"))
    assert "kldload linux_common" in str(caught.value.hint)


# Recursive binds ----------------------------------------------------------------------------------------------------


def test_a_recursive_bind_brings_the_mounts_below_its_source(machine: Machine, volume: str) -> None:
    """nullfs shows the empty directories that they cover."""
    os.makedirs(f"{volume}/inner/deep")
    machine.kernel.add_mount(f"{volume}/inner", "tmpfs", "tmpfs")
    machine.kernel.add_mount(f"{volume}/inner/deep", "tmpfs", "tmpfs")
    machine.kernel.add_mount(f"{volume}-not", "tmpfs", "tmpfs")
    os.makedirs(machine.root / "data/inner/deep")  # what the bind shows there

    machine.apply(Mount("nullfs", volume, "/data", flags=("ro",), recursive=True))

    assert machine.kernel.paths()[3:] == [f"{machine.root}/data{path}" for path in ("", "/inner", "/inner/deep")]
    assert {flags for _, flags in nmounts(machine)} == {c.MNT_RDONLY}
    machine.undo()
    assert len(machine.kernel.paths()) == 3


def test_a_plain_bind_does_not(machine: Machine, volume: str) -> None:
    machine.kernel.add_mount(f"{volume}/inner", "tmpfs", "tmpfs")

    machine.apply(Mount("nullfs", volume, "/data"))

    assert len(machine.kernel.paths()) == 2


def test_a_recursive_bind_of_what_holds_the_container_does_not_contain_itself(machine: Machine) -> None:
    machine.kernel.add_mount(str(machine.root), "zfs", "tank/root")
    machine.kernel.add_mount(f"{machine.root}/dev", "devfs", "devfs")

    machine.apply(Mount("nullfs", str(machine.base), "/host", recursive=True))

    assert machine.kernel.paths()[2:] == [f"{machine.root}/host"]


# tmpcopyup ----------------------------------------------------------------------------------------------------------


def test_copy_up_fills_the_mount_with_what_it_covers(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake kernel mounts nothing real, so the copy is watched, not its result."""
    copied: list[tuple[bool, bool]] = []
    monkeypatch.setattr(
        rootfs,
        "copy_tree",
        lambda source, target: copied.append((os.fstat(source).st_ino == os.fstat(target).st_ino, source != target)),
    )
    (machine.root / "var").mkdir()

    machine.apply(Mount("tmpfs", "tmpfs", "/var", flags=("nosuid",), copy_up=True))

    assert copied == [(True, True)]
    assert [flags for _, flags in nmounts(machine)] == [c.MNT_NOSUID]


def test_copy_up_into_a_read_only_tmpfs_locks_it_afterwards(machine: Machine) -> None:
    (machine.root / "var").mkdir()

    machine.apply(Mount("tmpfs", "tmpfs", "/var", flags=("ro", "nosuid"), data=(("size", "1m"),), copy_up=True))

    flags = [flags for _, flags in nmounts(machine)]
    assert flags == [c.MNT_NOSUID, c.MNT_NOSUID | c.MNT_RDONLY | c.MNT_UPDATE]
    assert nmounts(machine)[1][0]["size"] == "1m"
