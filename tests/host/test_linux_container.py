"""The Linux host for real: what a container sees of its root, mounts, devices, kernel settings and privileges."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runjail import steps
from runjail.errors import HostError
from runjail.host.base import Box
from tests.conftest import Bundle, Runjail
from tests.demo.leftovers import Leftovers
from tests.lifecycle.life import Life, is_alive, tree

pytestmark = pytest.mark.linux


@pytest.fixture
def life(runjail: Runjail, bundle: Bundle) -> Life:
    return Life(runjail, bundle)


def add_mount(life: Life, destination: str, kind: str, source: "str | Path", *options: str) -> None:
    life.bundle.config["mounts"].append(
        {"destination": destination, "type": kind, "source": str(source), "options": list(options)}
    )


def namespaces(life: Life, *kinds: str, **paths: str) -> None:
    """Say which namespaces are new, and which are joined by path."""
    listed: list[dict[str, str]] = [{"type": kind} for kind in kinds]
    life.bundle.config["linux"]["namespaces"] = [
        *listed,
        *({"type": kind, "path": path} for kind, path in paths.items()),
    ]


def test_it_is_alone(life: Life) -> None:
    """Pid 1, its own names, no network but lo, and the image as its root."""
    life.bundle.config["domainname"] = "example.org"
    said = life.says(
        "echo $$; hostname; cat /proc/sys/kernel/domainname; ls -d /proc/[0-9]* | wc -l; cat /proc/net/dev | grep -c :"
    )
    pid, name, domain, processes, interfaces = said.split()

    assert (pid, name, domain, interfaces) == ("1", "runjail-test", "example.org", "1")
    assert int(processes) < 5
    assert "busybox" in life.says("ls /bin/busybox")


def test_a_network_of_its_own_has_loopback(life: Life) -> None:
    """Programs that talk to 127.0.0.1 find somebody there."""
    assert "127.0.0.1" in life.says("ifconfig lo")
    assert "0% packet loss" in life.says("ping -c 1 -W 2 127.0.0.1")


def test_no_descriptor_but_three(life: Life) -> None:
    """/proc/self/fd of the program; ls adds the directory that it reads."""
    assert life.says("ls /proc/self/fd").split() == ["0", "1", "2", "3"]
    life.sleep()
    assert life.runjail.ok("exec", "c", "/bin/ls", "/proc/self/fd").stdout.split() == ["0", "1", "2", "3"]


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
        life.sleep()
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


def test_sysctl(life: Life) -> None:
    life.bundle.config["linux"]["sysctl"] = {
        "kernel.shmmax": "12345",
        "net.ipv4.ip_forward": "1",
        "kernel.msgmax": "4096",
    }

    assert life.says("cd /proc/sys; cat kernel/shmmax net/ipv4/ip_forward kernel/msgmax") == "12345\n1\n4096\n"


def test_a_sysctl_that_cannot_be(life: Life) -> None:
    """Named in the error; nothing is left."""
    life.bundle.config["linux"]["sysctl"] = {"net.ipv4.nonsense": "1"}
    result = life.runjail("create", "-b", life.bundle.write(), "c")

    assert result.returncode == 1
    assert "setting sysctl net.ipv4.nonsense: does not exist" in result.stderr
    life.gone()


CAPABILITIES = {"CAP_CHOWN": 0, "CAP_KILL": 5, "CAP_NET_BIND_SERVICE": 10}


def status(text: str, *fields: str) -> list[str]:
    found = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return [found[field].strip() for field in fields]


@pytest.mark.parametrize("uid", [0, 1000])
def test_capabilities(life: Life, uid: int) -> None:
    """All five sets are as asked for; a user keeps them through ambient ones."""
    mask = f"{sum(1 << bit for bit in CAPABILITIES.values()):016x}"
    sets = {key: list(CAPABILITIES) for key in ("bounding", "effective", "permitted", "inheritable", "ambient")}
    said = life.says("cat /proc/self/status", user={"uid": uid, "gid": uid}, capabilities=sets)

    assert status(said, "CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb") == [mask] * 5


def test_a_capability_that_linux_does_not_have(life: Life) -> None:
    """Nobody can be granted it; that is worth a warning, once."""
    sets = {"bounding": ["CAP_KILL", "CAP_FLY"], "permitted": ["CAP_KILL", "CAP_FLY"]}
    result = life.run("cat /proc/self/status", capabilities=sets)

    assert status(result.stdout, "CapBnd", "CapPrm") == [f"{1 << 5:016x}"] * 2
    assert result.stderr.count("not granted: unknown capabilities CAP_FLY") == 1


def test_capabilities_that_cannot_be(life: Life) -> None:
    """Nothing can be in effect that is not permitted."""
    sets = {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"]}
    result = life.run("true", capabilities=sets)

    assert (result.returncode, result.stderr) == (1, "runjail: setting capabilities: not allowed\n")
    life.gone()


def test_no_capabilities(life: Life) -> None:
    """An empty object drops everything, and a user other than root has none anyway."""
    nothing = "0" * 16
    said = life.says("cat /proc/self/status", capabilities={})
    user = life.says("cat /proc/self/status", user={"uid": 1000, "gid": 1000})

    assert status(said, "CapBnd", "CapEff", "CapPrm") == [nothing] * 3
    assert status(user, "CapEff", "CapPrm") == [nothing] * 2


def test_a_program_that_only_a_capability_lets_a_user_run(life: Life) -> None:
    """Whether a program may be executed is asked for the user with all that it can."""
    (life.bundle.rootfs / "bin" / "cat").chmod(0o700)
    kinds = ("bounding", "effective", "permitted", "inheritable", "ambient")
    life.bundle.write("/bin/cat", "/proc/self/status", user={"uid": 1000, "gid": 1000})
    assert life.runjail("run", "-b", str(life.path), "c").stderr == "runjail: exec `/bin/cat`: Permission denied\n"
    life.bundle.write(capabilities={kind: ["CAP_DAC_OVERRIDE"] for kind in kinds})

    assert status(life.runjail.ok("run", "-b", str(life.path), "c").stdout, "CapEff") == [f"{1 << 1:016x}"]


def test_exec_with_one_more_capability(life: Life) -> None:
    """root has all that it may have; who is not keeps what config.json lets it inherit."""
    life.start("/bin/sleep", "600", capabilities={"bounding": ["CAP_KILL"], "inheritable": ["CAP_KILL"]})
    user = life.runjail.ok("exec", "--cap", "CAP_KILL", "-u", "1000", "c", "/bin/cat", "/proc/self/status").stdout
    root = life.runjail.ok("exec", "-c", "CAP_CHOWN", "c", "/bin/cat", "/proc/self/status").stdout

    assert status(user, "CapEff", "CapPrm") == [f"{1 << 5:016x}"] * 2
    assert status(root, "CapBnd", "CapEff", "CapPrm") == [f"{1 << 0 | 1 << 5:016x}"] * 3


def test_no_new_privileges_and_oom_score(life: Life) -> None:
    said = life.says(
        "cat /proc/self/status; echo score:$(cat /proc/self/oom_score_adj)", noNewPrivileges=True, oomScoreAdj=500
    )

    assert status(said, "NoNewPrivs", "score") == ["1", "500"]


def test_limits_of_the_control_group(life: Life) -> None:
    """They are set at create, changed by update, and reach the processes."""
    life.bundle.config["linux"]["resources"] = {
        "memory": {"limit": 64 << 20}, "pids": {"limit": 30}, "cpu": {"shares": 512, "quota": 50000, "period": 100000}
    }  # fmt: skip
    created = life.create("/bin/sleep", "600")
    if "control groups cannot be written" in created.stderr:
        pytest.skip("control groups are read-only here")
    life.runjail.ok("start", "c")
    stats = json.loads(life.runjail.ok("events", "--stats", "c").stdout)["data"]
    assert (stats["memory"]["usage"]["limit"], stats["pids"]["limit"], stats["pids"]["current"]) == (64 << 20, 30, 1)
    life.runjail.ok("update", "--memory", "128m", "--pids-limit", "40", "c")
    stats = json.loads(life.runjail.ok("events", "--stats", "c").stdout)["data"]
    assert (stats["memory"]["usage"]["limit"], stats["pids"]["limit"]) == (128 << 20, 40)
    result = life.runjail("exec", "c", "/bin/sh", "-c", "i=0; while test $i -lt 60; do sleep 5 & i=$((i+1)); done")
    assert "fork" in result.stderr


def test_first_limits_for_a_running_container(life: Life) -> None:
    """update makes a control group where there was none, and puts everybody into it; delete removes it."""
    del life.bundle.config["linux"]["cgroupsPath"]
    life.start("/bin/sh", "-c", "sleep 600 & wait")
    result = life.runjail.ok("update", "--pids-limit", "20", "c")
    if result.stderr:
        pytest.skip("control groups are read-only here")
    pid = life.runjail.state("c")["pid"]
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        groups = file.read()
    assert "runjail/c" in groups
    life.runjail.ok("delete", "-f", "c")

    assert not [path for path, _names, _files in os.walk("/sys/fs/cgroup") if path.endswith("runjail/c")]


def test_a_limit_that_the_kernel_refuses(life: Life) -> None:
    life.bundle.config["linux"]["resources"] = {"cpu": {"cpus": "4000-5000"}}
    result = life.runjail("create", "-b", life.bundle.write(), "c")
    if "control groups cannot be written" in result.stderr:
        pytest.skip("control groups are read-only here")

    assert result.returncode == 1
    assert "cpuset.cpus" in result.stderr
    life.gone()


def test_joining_namespaces(life: Life, make_bundle: Any) -> None:
    """As pods do: the second container shares network, ipc, uts and pids of the first."""
    other = Life(life.runjail, make_bundle("other"))
    life.sleep()
    pid = life.runjail.state("c")["pid"]
    kinds = {"network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid"}
    namespaces(other, "mount", **{kind: f"/proc/{pid}/ns/{name}" for kind, name in kinds.items()})
    del other.bundle.config["hostname"]
    other.start("/bin/sleep", "600", id="second")
    second = other.runjail.state("second")["pid"]
    for name in kinds.values():
        assert os.readlink(f"/proc/{second}/ns/{name}") == os.readlink(f"/proc/{pid}/ns/{name}")
    assert os.readlink(f"/proc/{second}/ns/mnt") != os.readlink(f"/proc/{pid}/ns/mnt")
    assert life.runjail.ok("exec", "second", "/bin/hostname").stdout == "runjail-test\n"
    life.runjail.ok("delete", "-f", "second")

    assert life.runjail.state("c")["status"] == "running"


def test_a_namespace_that_is_not_there(life: Life) -> None:
    namespaces(life, "mount", "pid", "uts", network="/proc/1/ns/nonsense")
    result = life.runjail("create", "-b", life.bundle.write(), "c")

    assert result.returncode == 1
    assert "joining the network namespace /proc/1/ns/nonsense: does not exist" in result.stderr
    life.gone()


def test_the_hosts_namespaces(life: Life) -> None:
    """Without pid and network namespaces of its own; exec, ps, kill --all and delete still tell who is who."""
    namespaces(life, "mount", "uts", "ipc")
    life.bundle.config["mounts"] = [mount for mount in life.bundle.config["mounts"] if mount["type"] != "proc"]
    life.start("/bin/sh", "-c", "sleep 600 & sleep 600 & wait")
    assert life.runjail.ok("exec", "c", "/bin/echo", "inside").stdout == "inside\n"
    pids = json.loads(life.runjail.ok("ps", "-f", "json", "c").stdout)
    assert len(pids) == 3
    life.runjail.ok("kill", "--all", "c", "KILL")
    life.runjail.wait("c")
    life.runjail.ok("delete", "c")

    assert not any(is_alive(pid) for pid in pids)


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


def test_the_runtime_cannot_be_reached_from_inside(life: Life) -> None:
    """CVE-2019-5736: what joins a container is not dumpable, so its executable cannot be opened there."""
    life.bundle.config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "exit 0"]}]}
    life.create("/bin/sleep", "600")
    pid = life.runjail.state("c")["pid"]
    owner = os.stat(f"/proc/{pid}/exe", follow_symlinks=False).st_uid
    said = life.runjail("exec", "-u", "1000:1000", "c", "/bin/sh", "-c", "readlink /proc/1/exe")

    assert owner == 0
    assert said.stdout == ""


def test_a_working_directory_outside_is_impossible(life: Life) -> None:
    """CVE-2024-21626: no descriptor leads out, so /proc/self/fd/N as cwd fails."""
    for number in (3, 5, 7, 8):
        result = life.runjail("run", "-b", life.bundle.write("/bin/pwd", cwd=f"/proc/self/fd/{number}"), "c")
        assert result.returncode != 0 or not result.stdout.startswith(str(life.path.parent)), result


def test_the_image_is_unchanged(life: Life) -> None:
    """Every mount point that had to be made is taken back."""
    before = tree(life.bundle.rootfs)
    add_mount(life, "/a/b/c", "tmpfs", "tmpfs")
    add_mount(life, "/a/b/file", "bind", "/etc/hosts", "bind")
    add_mount(life, "/run/x/y", "bind", "/etc", "rbind", "ro")
    life.sleep()
    life.runjail.ok("delete", "-f", "c")

    assert tree(life.bundle.rootfs) == before


def test_check_and_version_work_anywhere(runjail: Runjail) -> None:
    """check says what it found; Linux is not the product, so its exit code is 1."""
    rows = json.loads(runjail("check", "-f", "json").stdout)

    assert {"root", "namespaces"} <= {row["what"] for row in rows}
    assert all(row["works"] or row["remedy"] or row["what"] for row in rows)


@pytest.mark.parametrize(("failures", "works"), [(0, True), (4, True), (5, False)])
def test_a_mount_point_that_goes_away_is_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failures: int, works: bool
) -> None:
    """Containers may share a root; one that is deleted takes back the mount points that it made."""
    from runjail.host import linux_mounts  # its system calls are looked up as it is imported

    tries: list[int] = []

    def vanishing(*_arguments: object) -> None:
        tries.append(1)
        if len(tries) <= failures:
            raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(linux_mounts, "_mount_below", vanishing)
    step = steps.Mount("bind", str(tmp_path), "/data")
    if works:
        linux_mounts.mount(step, Box("c", "c", "", "", str(tmp_path)), lambda _note: None)
    else:
        with pytest.raises(HostError, match="on /data: does not exist"):
            linux_mounts.mount(step, Box("c", "c", "", "", str(tmp_path)), lambda _note: None)

    assert len(tries) == min(failures + 1, linux_mounts.ATTEMPTS)
