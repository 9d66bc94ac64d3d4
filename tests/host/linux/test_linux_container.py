"""The Linux host for real: a container's namespaces, settings of the kernel, limits and privileges."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import Life, failed, is_alive

pytestmark = pytest.mark.linux


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


def test_sysctl(life: Life) -> None:
    life.bundle.config["linux"]["sysctl"] = {
        "kernel.shmmax": "12345",
        "net.ipv4.ip_forward": "1",
        "kernel.msgmax": "4096",
    }

    assert life.says("cd /proc/sys; cat kernel/shmmax net/ipv4/ip_forward kernel/msgmax") == "12345\n1\n4096\n"


def test_names_of_sysctls_with_slashes(life: Life) -> None:
    """sysctl.d(5): the mark that comes first parts the names, the other one is a dot in one of them."""
    life.bundle.config["linux"]["sysctl"] = {
        "kernel/shmmax": "12345",
        "net/ipv4/conf/lo/log_martians": "1",
        "net.ipv4.conf.all.log_martians": "1",
        "net/ipv4/ip_forward": "1",
    }
    shown = "kernel/shmmax net/ipv4/conf/lo/log_martians net/ipv4/conf/all/log_martians net/ipv4/ip_forward"

    assert life.says(f"cd /proc/sys; cat {shown}").split() == ["12345", "1", "1", "1"]
    life.bundle.config["linux"]["sysctl"] = {"net.ipv4.conf.eth0/5.log_martians": "1"}
    result = life.runjail("create", "-b", life.bundle.write(), "c")
    assert "setting sysctl net.ipv4.conf.eth0/5.log_martians: does not exist" in result.stderr
    life.gone()


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.conf.eth0/5.rp_filter", "net/ipv4/conf/eth0.5/rp_filter"),
        ("net/ipv4/conf/eth0.5/rp_filter", "net/ipv4/conf/eth0.5/rp_filter"),
        ("kernel.shmmax", "kernel/shmmax"),
    ],
)
def test_where_a_sysctl_is(key: str, path: str) -> None:
    from runjail.host.linux import namespaces

    assert namespaces._sysctl_path(key) == path


def test_a_sysctl_that_cannot_be(life: Life) -> None:
    """Named in the error; nothing is left."""
    life.bundle.config["linux"]["sysctl"] = {"net.ipv4.nonsense": "1"}
    result = life.runjail("create", "-b", life.bundle.write(), "c")

    assert result.returncode == 1
    assert "setting sysctl net.ipv4.nonsense: does not exist" in result.stderr
    life.gone()


HOSTS = {
    "network": ("net", "net/ipv4/ip_forward"),
    "ipc": ("ipc", "kernel/shmmni"),
    "uts": ("uts", "kernel/domainname"),
}


@pytest.mark.parametrize("kind", HOSTS)
def test_a_sysctl_of_a_joined_namespace_that_is_the_hosts(life: Life, kind: str) -> None:
    """By its path the host's own looks like another's: the whole machine would be changed. Nothing is left."""
    name, key = HOSTS[kind]
    now = Path("/proc/sys", key).read_text().strip()
    namespaces = life.bundle.config["linux"]["namespaces"]
    namespaces[:] = [entry for entry in namespaces if entry["type"] != kind]
    namespaces.append({"type": kind, "path": f"/proc/{os.getpid()}/ns/{name}"})
    del life.bundle.config["hostname"]
    life.bundle.config["linux"]["sysctl"] = {key.replace("/", "."): now}
    result = life.runjail("create", "-b", life.bundle.write(), "c")

    failed(result, f"linux.sysctl: the {kind} namespace to join is the host's own")
    life.gone()


@pytest.mark.parametrize("kind", ["network", "ipc"])
def test_a_sysctl_of_another_containers_namespace(life: Life, kind: str) -> None:
    """Another container's may be set, as with runc; both see it."""
    name, key = HOSTS[kind]
    life.sleep()
    pid = life.runjail.state("c")["pid"]
    for entry in life.bundle.config["linux"]["namespaces"]:
        if entry["type"] == kind:
            entry["path"] = f"/proc/{pid}/ns/{name}"
    value = {"network": "1", "ipc": "4000"}[kind]
    life.bundle.config["linux"]["sysctl"] = {key.replace("/", "."): value}
    other = life.run(f"cat /proc/sys/{key}", id="d")

    assert (other.returncode, other.stdout.strip()) == (0, value), other
    assert life.runjail.ok("exec", "c", "/bin/cat", f"/proc/sys/{key}").stdout.strip() == value


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


def test_a_capability_that_cannot_be_ambient(life: Life) -> None:
    """The kernel wants it permitted and inheritable. Callers send such ones each time, so only who asks hears of it."""
    both = {kind: ["CAP_KILL", "CAP_CHOWN"] for kind in ("bounding", "permitted", "ambient")}
    script = ("/bin/cat", "/proc/self/status")
    bundle = life.bundle.write(*script, capabilities={**both, "inheritable": ["CAP_KILL"]})
    result = life.runjail("--log-level", "info", "run", "-b", bundle, "c")

    assert life.runjail("run", "-b", bundle, "c").stderr == ""
    assert status(result.stdout, "CapAmb") == [f"{1 << 5:016x}"]
    assert result.stderr.count("can't raise ambient capability CAP_CHOWN: not permitted and inheritable") == 1


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
    life.bundle.write("/bin/cat", "/proc/self/status", user={"uid": 1000, "gid": 1000}, capabilities={})
    assert life.runjail("run", "-b", str(life.path), "c").stderr == 'runjail: exec: "/bin/cat": permission denied\n'
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


@pytest.mark.needs("cgroups")
def test_limits_of_the_control_group(life: Life) -> None:
    """They are set at create, changed by update, and reach the processes."""
    life.bundle.config["linux"]["resources"] = {
        "memory": {"limit": 64 << 20}, "pids": {"limit": 30}, "cpu": {"shares": 512, "quota": 50000, "period": 100000}
    }  # fmt: skip
    life.start("/bin/sleep", "600")
    stats = json.loads(life.runjail.ok("events", "--stats", "c").stdout)["data"]
    assert (stats["memory"]["usage"]["limit"], stats["pids"]["limit"], stats["pids"]["current"]) == (64 << 20, 30, 1)
    life.runjail.ok("update", "--memory", "128m", "--pids-limit", "40", "c")
    stats = json.loads(life.runjail.ok("events", "--stats", "c").stdout)["data"]
    assert (stats["memory"]["usage"]["limit"], stats["pids"]["limit"]) == (128 << 20, 40)
    result = life.runjail("exec", "c", "/bin/sh", "-c", "i=0; while test $i -lt 60; do sleep 5 & i=$((i+1)); done")
    assert "fork" in result.stderr


@pytest.mark.needs("cgroups")
def test_first_limits_for_a_running_container(life: Life) -> None:
    """update makes a control group where there was none, and puts everybody into it; delete removes it."""
    del life.bundle.config["linux"]["cgroupsPath"]
    id = f"c{os.getpid()}"  # nobody else's group on this machine
    life.start("/bin/sh", "-c", "sleep 600 & wait", id=id)
    life.runjail.ok("update", "--pids-limit", "20", id)
    pid = life.runjail.state(id)["pid"]
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        groups = file.read()
    assert f"runjail/{id}\n" in groups
    life.runjail.ok("delete", "-f", id)

    assert not [path for path, _names, _files in os.walk("/sys/fs/cgroup") if path.endswith(f"runjail/{id}")]


@pytest.mark.needs("cgroups")
def test_a_limit_that_the_kernel_refuses(life: Life) -> None:
    life.bundle.config["linux"]["resources"] = {"cpu": {"cpus": "4000-5000"}}
    result = life.runjail("create", "-b", life.bundle.write(), "c")

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
