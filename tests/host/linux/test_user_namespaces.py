"""User namespaces of Linux containers, for real: who is who inside and outside, and what the namespace gives."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import Life, failed, tree
from tests.support.leftovers import Leftovers
from tests.support.program import Bundle, Runjail, base_config, own_words

pytestmark = [pytest.mark.linux, pytest.mark.needs("user namespaces")]

FIRST = 200000  # the host's user and group that are root inside
MAPPING = {"containerID": 0, "hostID": FIRST, "size": 65536}
MOUNTS: list[dict[str, Any]] = [
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "gid=5"]},
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
]


def give(path: Path) -> None:
    """Give a tree to the container's root."""
    for name in ("", *tree(path)):
        os.chown(path / name, FIRST, FIRST, follow_symlinks=False)


@pytest.fixture
def life(runjail: Runjail, place: Path, machine_rootfs: Path, leftovers: Leftovers) -> Life:
    """One bundle whose root directory is that of the user namespace."""
    bundle = place / "bundle"
    shutil.copytree(machine_rootfs, bundle / "rootfs", symlinks=True)
    give(bundle / "rootfs")
    config = base_config(leftovers)
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"] |= {"uidMappings": [MAPPING], "gidMappings": [MAPPING]}
    config["mounts"] += MOUNTS
    return Life(runjail, Bundle(bundle, config))


def may_raise_limits() -> bool:
    """Whether root may, which a container without CAP_SYS_RESOURCE does not let it."""
    found = re.search(r"CapEff:\t(\w+)", Path("/proc/self/status").read_text()) if sys.platform == "linux" else None
    return bool(found and int(found[1], 16) >> 24 & 1)


def allow(life: Life, *names: str) -> None:
    """Give the program these capabilities."""
    sets = {kind: list(names) for kind in ("bounding", "effective", "permitted")}
    life.bundle.config["process"]["capabilities"] = sets


def test_who_is_who(life: Life) -> None:
    """Root inside is somebody else outside, and what it makes is that one's."""
    said = life.says("id -u; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; touch /made; ls -n /made")
    lines = said.splitlines()

    assert lines[0] == "0"
    assert [line.split() for line in lines[1:3]] == [["0", str(FIRST), "65536"]] * 2
    assert lines[3] == "allow"
    assert lines[4].split()[2:4] == ["0", "0"]
    assert os.stat(life.bundle.rootfs / "made").st_uid == FIRST


def test_the_root_directory_is_left_as_it_was(life: Life) -> None:
    """Mount points that were made in it are removed by the host's root."""
    (life.bundle.rootfs / "sys").rmdir()
    life.bundle.write()
    before = tree(life.bundle.path)
    life.bundle.config["mounts"].append({"destination": "/run/x/y", "type": "tmpfs", "source": "tmpfs"})
    life.start("/bin/sleep", "600")

    assert (life.bundle.rootfs / "run/x/y").is_dir()
    life.runjail.ok("delete", "--force", "c")
    assert tree(life.bundle.path) == before


def test_other_namespaces_are_its_own(life: Life) -> None:
    """Its root may name the machine, raise interfaces and mount: those namespaces belong to it."""
    allow(life, "CAP_SYS_ADMIN", "CAP_NET_ADMIN")

    assert life.says(
        "hostname other && hostname; ifconfig lo 127.0.0.2 && echo up; mount -t tmpfs none /tmp && echo mounted"
    ).split() == ["other", "up", "mounted"]


def test_exec_is_in_it(life: Life) -> None:
    life.sleep()
    script = "id -u; for p in self 1; do readlink /proc/$p/ns/user; done; grep -h Cap /proc/self/status /proc/1/status"
    lines = life.runjail.ok("exec", "c", "/bin/sh", "-c", script).stdout.splitlines()

    assert lines[0] == "0"
    assert lines[1] == lines[2] != os.readlink("/proc/self/ns/user")
    assert lines[3:8] == lines[8:], lines


def test_exec_before_the_start(life: Life) -> None:
    life.create("/bin/sleep", "600")

    assert life.runjail.ok("exec", "c", "/bin/cat", "/proc/self/uid_map").stdout.split()[1] == str(FIRST)


def test_exec_as_nobody_of_the_namespace(life: Life) -> None:
    """Refused before anybody enters."""
    life.sleep()
    result = life.runjail("exec", "-u", "70000", "c", "/bin/true")

    failed(result, "become user 70000: no user of the container's user namespace", 255)


def test_pipes_are_the_programs(life: Life) -> None:
    """It opens them by name, though they were made by the host's root."""
    user = {"uid": 1000, "gid": 1000}
    shell = [life.runjail.program, "--root", str(life.runjail.root)]
    bundle = life.bundle.write("/bin/sh", "-c", "echo said > /dev/stdout", user=user)
    ran = subprocess.run([*shell, "run", "-b", bundle, "c"], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, own_words(ran.stderr)) == (0, "said\n", "")

    life.bundle.config["process"]["user"] = {"uid": 0, "gid": 0}
    life.sleep()
    command = [*shell, "exec", "-u", "1000:1000", "c", "/bin/sh", "-c", "echo said > /dev/stdout"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, own_words(ran.stderr)) == (0, "said\n", "")


def test_the_terminal_is_the_programs(life: Life) -> None:
    life.sleep()
    said = life.runjail.ok("exec", "-t", "-u", "1000:1000", "c", "/bin/sh", "-c", "ls -ln $(tty); echo x > $(tty)")

    assert said.stdout.split()[2:4] == ["1000", "5"]


def test_a_volume_that_only_root_reaches(life: Life, place: Path) -> None:
    """Its source is opened by the host's root, as runc has it since 1.2; with what is mounted below it."""
    volume = place / "secret" / "volume"
    (volume / "below").mkdir(parents=True)
    (place / "secret").chmod(0o700)
    (volume / "file").write_text("content\n")
    options = {"/plain": ["bind", "ro"], "/whole": ["rbind", "rro"]}
    life.bundle.config["mounts"] += [
        {"destination": there, "type": "bind", "source": str(volume), "options": words}
        for there, words in options.items()
    ]
    script = "cat /plain/file /whole/file; (touch /whole/below/x || touch /plain/x) 2>/dev/null || ls -n /whole/file"
    said = life.says(script)

    assert said.startswith("content\ncontent\n")
    assert said.split()[4:6] == ["65534", "65534"]


def test_a_volume_that_is_not_there(life: Life) -> None:
    life.bundle.config["mounts"].append({"destination": "/x", "type": "bind", "source": "/nowhere", "options": []})
    result = life.runjail("create", "-b", life.bundle.write(), "c")

    last = len(life.bundle.config["mounts"]) - 1
    failed(result, f"mounts[{last}].source: mounting /nowhere (bind) on /x: does not exist")
    life.gone()


def test_mounts_inside_do_not_reach_the_host(life: Life, place: Path) -> None:
    """A volume is no peer of the host's mount, whatever the root's propagation."""
    volume = place / "volume"
    volume.mkdir()
    give(volume)
    life.bundle.config["mounts"].append(
        {"destination": "/vol", "type": "bind", "source": str(volume), "options": ["rbind", "rshared"]}
    )
    life.bundle.config["linux"]["rootfsPropagation"] = "shared"
    allow(life, "CAP_SYS_ADMIN")
    life.start("/bin/sh", "-c", "mkdir /vol/x && mount -t tmpfs none /vol/x && echo mounted > /vol/x/file; sleep 600")

    assert life.runjail.ok("exec", "c", "/bin/sh", "-c", "until cat /vol/x/file 2>/dev/null; do sleep 0.1; done").stdout
    assert os.listdir(volume / "x") == []


def test_hooks(life: Life, place: Path) -> None:
    """createContainer and startContainer run inside, the others on the host as its root."""
    (place / "said").mkdir(mode=0o777)
    (place / "said").chmod(0o777)
    kinds = ("createRuntime", "createContainer", "poststart")
    life.bundle.config["hooks"] = {
        kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"cat /proc/self/uid_map > {place}/said/{kind}"]}]
        for kind in kinds
    }
    inner = "mkdir -p /tmp/hook; cat /proc/self/uid_map > /tmp/hook/said"
    life.bundle.config["hooks"]["startContainer"] = [{"path": "/bin/sh", "args": ["sh", "-c", inner]}]
    life.sleep()
    first = {kind: (place / "said" / kind).read_text().split()[1] for kind in kinds}

    assert first == {"createRuntime": "0", "createContainer": str(FIRST), "poststart": "0"}
    assert (life.bundle.rootfs / "tmp/hook/said").read_text().split()[1] == str(FIRST)


@pytest.mark.skipif(not may_raise_limits(), reason="needs CAP_SYS_RESOURCE")
def test_limits_above_the_callers(life: Life) -> None:
    """The host's root may raise them, so they are raised before the namespace is entered."""
    command = ["prlimit", "--nofile=500:1000", life.runjail.program, "--root", str(life.runjail.root)]
    rlimits = [{"type": "RLIMIT_NOFILE", "soft": 1500, "hard": 2000}]
    bundle = life.bundle.write("/bin/sh", "-c", "ulimit -n; ulimit -Hn", rlimits=rlimits)
    ran = subprocess.run([*command, "run", "-b", bundle, "c"], capture_output=True, text=True, timeout=60, check=False)

    assert (ran.returncode, ran.stdout.split(), ran.stderr) == (0, ["1500", "2000"], "")


def test_a_namespace_that_is_there(life: Life) -> None:
    """Another container joins by path, with and without saying its ids; saying others is an error."""
    life.sleep()
    path = f"/proc/{life.runjail.state('c')['pid']}/ns/user"
    life.bundle.config["linux"]["namespaces"][-1]["path"] = path
    life.bundle.config["linux"]["cgroupsPath"] += "-d"  # two in one control group would be warned of
    script = "readlink /proc/self/ns/user; touch /made; ls -n /made"
    said = life.run(script, id="d")
    assert (said.returncode, said.stderr) == (0, ""), said
    assert said.stdout.split()[0] == os.readlink(path)
    assert os.stat(life.bundle.rootfs / "made").st_uid == FIRST

    saved = {key: life.bundle.config["linux"].pop(key) for key in ("uidMappings", "gidMappings")}
    assert life.run(script, id="d").stdout.split()[0] == os.readlink(path)

    life.bundle.config["linux"] |= saved | {"uidMappings": [MAPPING | {"hostID": 7}]}
    failed(life.run(script, id="d"), "linux.uidMappings, linux.gidMappings: the user namespace to join has others")
    life.gone("d")


def test_the_pid_namespace_of_another(life: Life) -> None:
    """As in a pod: init appears in it last, and /proc shows it."""
    life.sleep()
    pid = life.runjail.state("c")["pid"]
    for namespace in life.bundle.config["linux"]["namespaces"]:
        if namespace["type"] in ("user", "pid", "ipc", "network", "uts"):
            kind = {"network": "net"}.get(namespace["type"], namespace["type"])
            namespace["path"] = f"/proc/{pid}/ns/{kind}"
    del life.bundle.config["hostname"]
    life.bundle.config["linux"]["cgroupsPath"] += "-d"
    said = life.run("echo $$; cat /proc/1/cmdline | tr '\\0' ' '; hostname", id="d")

    assert (said.returncode, said.stderr) == (0, ""), said
    assert said.stdout.splitlines()[0] != "1"
    assert said.stdout.splitlines()[1:] == ["/bin/sleep 600 runjail-test"]


@pytest.mark.parametrize(("kind", "fstype"), [("network", "sysfs"), ("pid", "proc"), ("ipc", "mqueue")])
def test_a_file_system_of_the_hosts_namespace(life: Life, kind: str, fstype: str) -> None:
    """Refused by the kernel; the hint says what it takes, and nothing stays."""
    linux = life.bundle.config["linux"]
    linux["namespaces"] = [namespace for namespace in linux["namespaces"] if namespace["type"] != kind]
    result = life.runjail("create", "-b", life.bundle.write(), "c")

    assert result.returncode == 1
    hint = f"hint: in a user namespace {fstype} takes a new {kind} namespace, or a bind mount"
    assert result.stderr.splitlines()[1:] == [hint]
    life.gone()


def test_a_root_directory_that_nobody_reaches(life: Life, place: Path) -> None:
    """Who is root inside has to pass the directories above it; the hint says so."""
    place.chmod(0o700)
    result = life.runjail("create", "-b", life.bundle.write(), "c")
    place.chmod(0o755)

    failed(result, f"entering the root directory {life.bundle.rootfs}: access refused")
    assert f"hint: user {FIRST} of the host, who is root in the user namespace, has to pass it" in result.stderr
    life.gone()


@pytest.mark.skipif(not os.path.exists("/proc/self/timens_offsets"), reason="needs time namespaces: Linux 5.6")
def test_clocks_of_its_own(life: Life) -> None:
    """Its offsets are written by who may not trace anybody yet; exec has the same clocks."""
    life.bundle.config["linux"]["namespaces"].append({"type": "time"})
    life.bundle.config["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000000}}
    life.sleep()

    assert float(life.runjail.ok("exec", "c", "/bin/cat", "/proc/uptime").stdout.split()[0]) > 1e9


QUESTIONS = """id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; grep Cap /proc/self/status
stat -c '%a %u %g %n' /* /dev/* | grep -v mqueue; cut -d' ' -f5 /proc/self/mountinfo | sort; hostname; umask
"""


@pytest.mark.needs("runc")
@pytest.mark.parametrize("change", ["whole", "two ranges", "a user", "no gid 5"])
def test_what_is_seen_inside_is_what_runc_shows(life: Life, change: str) -> None:
    linux, process = life.bundle.config["linux"], life.bundle.config["process"]
    if change == "two ranges":
        linux["uidMappings"] = [
            {"containerID": 1, "hostID": 300000, "size": 10},
            {"containerID": 0, "hostID": FIRST, "size": 1},
        ]
    elif change == "a user":
        process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [7], "umask": 0o27}
    elif change == "no gid 5":
        linux["gidMappings"] = [MAPPING | {"size": 3}]
        life.bundle.config["mounts"][2]["options"] = ["newinstance"]
    ours = life.says(QUESTIONS)
    root = ["--root", str(life.path / "runc")]
    bundle = life.bundle.write("/bin/sh", "-c", QUESTIONS)
    theirs = subprocess.run(
        ["runc", *root, "run", "-b", bundle, f"runc-{os.getpid()}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert theirs.returncode == 0, theirs
    assert ours.splitlines() == theirs.stdout.splitlines()


def test_what_each_process_takes_on_inside(life: Life) -> None:
    """Nothing can be loaded any more where that is done."""
    life.bundle.config["linux"] |= {"personality": {"domain": "LINUX"}, "memoryPolicy": {"mode": "MPOL_DEFAULT"}}
    assert life.says("echo on") == "on\n"
    life.start("/bin/sleep", "600", scheduler={"policy": "SCHED_BATCH", "nice": 7})

    assert os.sched_getscheduler(life.runjail.state("c")["pid"]) == os.SCHED_BATCH
    assert life.runjail.ok("exec", "c", "/bin/echo", "on").stdout == "on\n"
