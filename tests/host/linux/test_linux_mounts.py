"""The Linux host for real: what a container sees of its root, mounts and devices."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail import steps
from runjail.errors import HostError
from runjail.host.base import HostState
from tests.support.container.harness import Life, failed, tree
from tests.support.host.linux_change import change
from tests.support.leftovers import Leftovers

pytestmark = pytest.mark.linux


def add_mount(life: Life, destination: str, kind: str, source: "str | Path", *options: str) -> None:
    life.bundle.config["mounts"].append(
        {"destination": destination, "type": kind, "source": str(source), "options": list(options)}
    )


def test_nothing_of_the_host_is_mounted(life: Life) -> None:
    """The old root is gone, not hidden."""
    mounts = [line.split()[1] for line in life.says("cat /proc/self/mounts").splitlines()]

    assert mounts == ["/", "/proc", "/dev"]


def test_no_mount_reaches_the_host(life: Life, leftovers: Leftovers) -> None:
    """Also with a root that is marked shared, as systemd does."""
    life.bundle.config["linux"]["rootfsPropagation"] = "shared"
    life.sleep()

    assert leftovers.mounts(str(life.path)) == []


def test_devices(life: Life) -> None:
    """The usual six, the usual links, and what linux.devices adds."""
    life.bundle.config["linux"]["devices"] = [
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 7, "gid": 8},
        {"path": "/dev/sub/pipe", "type": "p", "fileMode": 0o600},
    ]
    said = life.says(
        "echo x > /dev/null; head -c 3 /dev/zero | wc -c; ls -l /dev/mine; cd /dev; ls; test -p sub/pipe; "
        "readlink fd; readlink stdin"
    )
    names = said.split()

    assert names[0] == "3"
    assert "crw-r-----" in said and " 7 " in said
    assert {
        "null",
        "zero",
        "full",
        "random",
        "urandom",
        "tty",
        "fd",
        "stdin",
        "stdout",
        "stderr",
        "mine",
        "sub",
    } <= set(names)
    assert said.endswith("/proc/self/fd\n/proc/self/fd/0\n")


def test_a_read_only_root(life: Life) -> None:
    """The image is not writable; volumes are; the host's view of it stays writable."""
    (life.path / "volume").mkdir()
    (life.bundle.rootfs / "data").mkdir()
    life.bundle.config["root"]["readonly"] = True
    add_mount(life, "/data", "bind", life.path / "volume", "rbind")
    said = life.says("(echo x > /file) 2>/dev/null || echo read-only; echo y > /data/file; touch /dev/x && echo dev")

    assert said == "read-only\ndev\n"
    assert (life.path / "volume" / "file").read_text() == "y\n"
    (life.bundle.rootfs / "still").touch()


def test_tmpfs(life: Life) -> None:
    """Options, size, and with tmpcopyup what it covers: owner and mode too."""
    (life.bundle.rootfs / "etc" / "deep").mkdir(mode=0o751)
    os.chown(life.bundle.rootfs / "etc" / "deep", 5, 6)
    add_mount(life, "/etc", "tmpfs", "tmpfs", "tmpcopyup", "size=256k", "nosuid", "noexec")
    add_mount(life, "/fresh/dir", "tmpfs", "tmpfs", "mode=1777", "size=64k")
    script = (
        "cat /etc/hosts; stat -c '%a %u %g' /etc/deep /fresh/dir; touch /etc/new; "
        "grep ' /etc ' /proc/mounts | cut -d' ' -f4; "
        "(dd if=/dev/zero of=/fresh/dir/x bs=64k count=2 2>/dev/null) || echo full"
    )
    lines = life.says(script).splitlines()

    assert lines[:3] == ["127.0.0.1 localhost", "751 5 6", "1777 0 0"]
    assert {"rw", "nosuid", "noexec", "size=256k"} <= set(lines[3].split(","))
    assert lines[4] == "full"
    assert not (life.bundle.rootfs / "etc" / "new").exists()
    assert not (life.bundle.rootfs / "fresh").exists()


@pytest.mark.parametrize("kind", ["bind", "proc", "sysfs"])
def test_only_a_tmpfs_is_filled(life: Life, kind: str) -> None:
    """A bind mount was: what the image has there was written into the host's directory. runc ignores the word."""
    volume = life.path / "volume"
    volume.mkdir()
    add_mount(life, "/etc", kind, volume, "tmpcopyup")
    result = life.runjail("create", "-b", life.bundle.write(), "c")

    place = f"mounts[{len(life.bundle.config['mounts']) - 1}].options[0]"
    failed(result, f"invalid config.json: {place}: 'tmpcopyup': only a tmpfs can begin with what the image has there")
    assert tree(volume) == []
    life.gone()


def test_a_read_only_tmpfs_is_filled_first(life: Life) -> None:
    """Device files, mount points below it and what it covers are there; then nobody writes."""
    device_files = next(mount for mount in life.bundle.config["mounts"] if mount["destination"] == "/dev")
    device_files["options"].append("ro")
    add_mount(life, "/dev/shm", "tmpfs", "tmpfs")
    (life.bundle.rootfs / "full").mkdir()
    (life.bundle.rootfs / "full" / "file").touch()
    add_mount(life, "/full", "tmpfs", "tmpfs", "ro", "noexec", "tmpcopyup")
    script = (
        "ls /full; echo x > /dev/null && echo x > /dev/shm/file && echo ok; "
        "for i in /dev /full; do (echo x > $i/new) 2>/dev/null || echo $i; done"
    )

    assert life.says(script) == "file\nok\n/dev\n/full\n"
    assert [{"ro", "noexec"} <= flags for flags in flags_of(life, "/full")] == [True]


def test_a_tmpfs_has_the_permissions_of_what_it_covers(life: Life) -> None:
    """As a tmpfs of FreeBSD has them, and as runc gives them; what config.json says counts more."""
    for name in ("bare", "said"):
        (life.bundle.rootfs / name).mkdir()
        (life.bundle.rootfs / name).chmod(0o712)
    add_mount(life, "/bare", "tmpfs", "tmpfs", "ro")
    add_mount(life, "/said", "tmpfs", "tmpfs", "mode=750")
    add_mount(life, "/made", "tmpfs", "tmpfs")

    assert life.says("stat -c %a /bare /said /made") == "712\n750\n1777\n"


@pytest.fixture
def nested(tmp_path: Path) -> Iterator[Path]:
    """A directory with another file system mounted in it."""
    top = tmp_path / "nested"
    (top / "inner").mkdir(parents=True)
    (top / "outer-file").write_text("outer\n")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(top / "inner")], check=True)
    (top / "inner" / "inner-file").write_text("inner\n")
    yield top
    subprocess.run(["umount", str(top / "inner")], check=True)


def test_binds(life: Life, nested: Path) -> None:
    """bind takes one file system, rbind all of them; files can be bound too; ro is what is asked for."""
    add_mount(life, "/one", "bind", nested, "bind")
    add_mount(life, "/all", "none", nested, "rbind", "ro")
    add_mount(life, "/etc/one-file", "bind", nested / "outer-file", "bind", "ro", "nosuid", "nodev")
    add_mount(life, "/new/two-file", "bind", nested / "outer-file", "bind")
    script = (
        "ls /one/inner; ls /all/inner; cat /etc/one-file; echo changed > /new/two-file; "
        "for i in /all/x /etc/one-file; do (echo x > $i) 2>/dev/null || echo read-only; done; "
        "grep ' /etc/one-file ' /proc/mounts | cut -d' ' -f4"
    )
    lines = life.says(script).splitlines()

    assert lines[:4] == ["inner-file", "outer", "read-only", "read-only"]
    assert {"ro", "nosuid", "nodev"} <= set(lines[4].split(","))
    assert (nested / "outer-file").read_text() == "changed\n"
    assert not (life.bundle.rootfs / "new").exists()
    assert not (life.bundle.rootfs / "etc" / "one-file").exists()


def test_flags_of_a_file_system(life: Life) -> None:
    """As runc gives them to mount(2); the kernel shows one of them."""
    add_mount(life, "/fresh", "tmpfs", "tmpfs", "lazytime", "iversion", "acl")
    (life.bundle.rootfs / "fresh").mkdir(exist_ok=True)

    assert "lazytime" in life.says("grep ' /fresh ' /proc/self/mounts").split()[3].split(",")


def test_recursive_options(life: Life, nested: Path) -> None:
    """`ro` is about the mount, `rro` also about what is mounted below it; of `rro` and `rrw` the later one counts."""
    words = {"/ro": ("ro",), "/rro": ("rro", "rnosuid", "rstrictatime"), "/rrw": ("rro", "rrw", "rnoexec", "rexec")}
    for place, options in words.items():
        add_mount(life, place, "bind", nested, "rbind", *options)
    script = "for i in /ro /rro /rrw; do for j in $i $i/inner; do (: > $j/x) 2>/dev/null && echo $j; done; done; "
    lines = life.says(script + "grep ' /rro' /proc/mounts | cut -d' ' -f2,4").splitlines()

    assert lines[:3] == ["/ro/inner", "/rrw", "/rrw/inner"]
    assert [line.split()[0] for line in lines[3:]] == ["/rro", "/rro/inner"]
    assert all({"ro", "nosuid"} <= set(line.split()[1].split(",")) and "relatime" not in line for line in lines[3:])


@pytest.mark.parametrize(
    ("option", "reaches_in", "reaches_out"),
    [("rprivate", False, False), ("rslave", True, False), ("rshared", True, True)],
)
def test_propagation(life: Life, tmp_path: Path, option: str, reaches_in: bool, reaches_out: bool) -> None:
    """Mounts made later, on either side."""
    volume = tmp_path / "volume"
    volume.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(volume)], check=True)
    try:
        subprocess.run(["mount", "--make-shared", str(volume)], check=True)
        (volume / "out").mkdir()
        (volume / "in").mkdir()
        add_mount(life, "/volume", "bind", volume, "rbind", option)
        life.bundle.config["linux"]["rootfsPropagation"] = (
            "rslave" if option == "rslave" else "rshared" if option == "rshared" else "rprivate"
        )
        sets = {key: ["CAP_SYS_ADMIN"] for key in ("bounding", "effective", "permitted")}
        life.start("/bin/sleep", "600", capabilities=sets)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(volume / "out")], check=True)
        (volume / "out" / "file").touch()
        seen = life.runjail.ok("exec", "c", "/bin/ls", "/volume/out").stdout
        life.runjail.ok("exec", "c", "/bin/sh", "-c", "mount -t tmpfs tmpfs /volume/in; touch /volume/in/file")

        assert bool(seen) == reaches_in
        assert (volume / "in" / "file").exists() == reaches_out
    finally:
        life.runjail("delete", "-f", "c")
        subprocess.run(["umount", "-R", str(volume)], check=True)


def test_concealed_paths(life: Life) -> None:
    """Masked files are empty, masked directories too, read-only paths cannot be written; missing ones do not matter."""
    (life.bundle.rootfs / "secret").mkdir()
    (life.bundle.rootfs / "secret" / "file").write_text("hidden")
    (life.bundle.rootfs / "key").write_text("hidden")
    life.bundle.config["linux"]["maskedPaths"] = ["/secret", "/key", "/proc/kcore", "/nonexistent"]
    life.bundle.config["linux"]["readonlyPaths"] = ["/proc/sys", "/etc", "/nonexistent/too"]
    script = (
        "ls /secret; cat /key; (echo x > /etc/new) 2>/dev/null || echo etc; "
        "(echo 1 > /proc/sys/vm/swappiness) 2>/dev/null || echo sys"
    )

    assert life.says(script) == "etc\nsys\n"
    assert (life.bundle.rootfs / "key").read_text() == "hidden"


def test_what_is_masked_twice_is_covered_once(life: Life) -> None:
    """As with newer runc: each of the two would be a mount."""
    (life.bundle.rootfs / "secret").mkdir()
    life.bundle.config["linux"]["maskedPaths"] = ["/secret", "/proc/kcore", "/secret"]

    assert life.says("grep -c ' /secret ' /proc/self/mountinfo") == "1\n"


def flags_of(life: Life, *places: str) -> list[set[str]]:
    """Return the mount flags of places in a container."""
    said = life.says("cat /proc/self/mountinfo").splitlines()
    found = {line.split()[4]: set(line.split()[5].split(",")) for line in said}
    return [found[place] for place in places]


def test_what_becomes_read_only_loses_no_other_flag(life: Life, tmp_path: Path) -> None:
    """A file system without set-user-id programs stays one where it is bound, concealed or made the root."""
    strict, volume = {"nosuid", "nodev", "noexec"}, str(tmp_path / "volume")
    os.mkdir(volume)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,nosuid,nodev,noexec", "tmpfs", volume], check=True)
    try:
        add_mount(life, "/volume", "bind", volume, "bind", "nosuid")
        proc = next(mount for mount in life.bundle.config["mounts"] if mount["destination"] == "/proc")
        proc["options"] = sorted(strict)
        life.bundle.config["linux"]["readonlyPaths"] = ["/proc/sys", "/volume"]
        bound, sys, all_of_proc = flags_of(life, "/volume", "/proc/sys", "/proc")
    finally:
        subprocess.run(["umount", volume], check=True)

    assert strict | {"ro"} <= bound
    assert strict | {"ro"} <= sys
    assert "ro" not in all_of_proc


def test_a_read_only_root_loses_no_other_flag(life: Life) -> None:
    """Its file system's flags are the administrator's."""
    root = str(life.bundle.rootfs)
    life.bundle.config["root"]["readonly"] = True
    subprocess.run(["mount", "--bind", root, root], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,nosuid,nodev", root], check=True)
        flags = flags_of(life, "/")[0]
    finally:
        subprocess.run(["umount", root], check=True)

    assert {"ro", "nosuid", "nodev"} <= flags


LINKS = {"dev": "/host", "data": "/../../host", "etc/link": "../../../../host", "proc": "/host"}


@pytest.mark.parametrize("name", LINKS)
def test_links_in_the_image_lead_no_mount_astray(life: Life, tmp_path: Path, name: str) -> None:
    """An image may make any mount point a link: mounts, nodes and working directory stay inside."""
    host = tmp_path / "host"
    host.mkdir()
    (host / "precious").write_text("as it was")
    path = life.bundle.rootfs / name
    if path.is_dir():
        path.rmdir()
    path.symlink_to(LINKS[name].replace("/host", str(host)) if LINKS[name].startswith("/host") else LINKS[name])
    add_mount(life, f"/{name}/deep", "tmpfs", "tmpfs")
    add_mount(life, f"/{name}/file", "bind", life.path / "config.json", "bind")
    life.runjail("create", "-b", life.bundle.write("/bin/sleep", "600", cwd=f"/{name}/cwd"), "c")
    life.runjail("start", "c")
    life.runjail.ok("delete", "--force", "c")

    assert sorted(os.listdir(host)) == ["precious"], "HOST PATH WAS CHANGED"
    assert (host / "precious").read_text() == "as it was"


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_the_kernels_file_systems_are_not_mounted_through_links(life: Life, name: str) -> None:
    """CVE-2019-19921: the link's target may be in a volume, where another container moves it before it is concealed."""
    add_mount(life, "/sys", "sysfs", "sysfs", "ro")
    if (life.bundle.rootfs / name).is_dir():
        (life.bundle.rootfs / name).rmdir()
    (life.bundle.rootfs / name).symlink_to("/elsewhere")
    result = life.runjail("create", "-b", life.bundle.write(), "c")

    assert result.returncode == 1
    assert f" on /{name}: it is a symbolic link in the image" in result.stderr
    assert not (life.bundle.rootfs / "elsewhere").exists()
    life.gone()


def test_the_image_is_unchanged(life: Life) -> None:
    """Every mount point that had to be made is taken back."""
    before = tree(life.bundle.rootfs)
    add_mount(life, "/a/b/c", "tmpfs", "tmpfs")
    add_mount(life, "/a/b/file", "bind", "/etc/hosts", "bind")
    add_mount(life, "/run/x/y", "bind", "/etc", "rbind", "ro")
    life.sleep()
    life.runjail.ok("delete", "-f", "c")

    assert tree(life.bundle.rootfs) == before


@pytest.mark.parametrize(("failures", "works"), [(0, True), (4, True), (5, False)])
def test_a_mount_point_that_goes_away_is_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failures: int, works: bool
) -> None:
    """Containers may share a root; one that is deleted takes back the mount points that it made."""
    from runjail.host.linux import mount_points  # its system calls are looked up as it is imported
    from runjail.host.linux import mounts as linux_mounts

    tries: list[int] = []

    def vanishing(*_arguments: object) -> None:
        tries.append(1)
        if len(tries) <= failures:
            raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(linux_mounts, "_mount_below", vanishing)
    step = steps.Mount("bind", str(tmp_path), "/data")
    mounting = change(HostState("c", "c", "", "", str(tmp_path)))
    mounting.root.points = mount_points.Points("/proc", "/")
    if works:
        linux_mounts.mount(mounting, step)
    else:
        with pytest.raises(HostError, match="on /data: does not exist"):
            linux_mounts.mount(mounting, step)

    assert len(tries) == min(failures + 1, linux_mounts.ATTEMPTS)
