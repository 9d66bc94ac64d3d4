"""What a program in a container sees of it: report.sh runs inside and says so."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.container.harness import Life, until
from tests.support.freebsd.real import tool
from tests.support.program import Bundle, Result, Runjail

pytestmark = pytest.mark.freebsd

REPORT = Path(__file__).with_name("report.sh").read_text(encoding="utf-8")


def read(result: Result) -> dict[str, str]:
    """Return what the report said."""
    assert result.returncode == 0, result
    return dict(line.split("=", 1) for line in result.stdout.replace("\r", "").splitlines() if "=" in line)


def report(life: Life, **process: object) -> dict[str, str]:
    return read(life.run(REPORT, **process))


def test_root_sees_root(life: Life) -> None:
    said = report(life)

    assert (said["uid"], said["gid"], said["cwd"], said["umask"]) == ("0", "0", "/", "0022")
    assert said["fds"] == "", "nothing that leaked into us reaches a container"
    assert said["hostname"] == "runjail-test"
    assert said["tty"] == ""


def test_ids_and_groups(life: Life) -> None:
    said = report(life, user={"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o27})

    assert (said["uid"], said["gid"], said["umask"]) == ("1000", "1001", "0027")
    assert set(said["groups"].split()) | {"1001"} == {"1001", "5", "6"}, "before FreeBSD 15 the group is one of them"


def test_a_jail_without_a_superuser(life: Life) -> None:
    """Root inside is nobody special, and cannot even set groups: it has had its own alone since before."""
    life.bundle.config["freebsd"] = {"jail": {"allow": {"suser": False}}}
    said = report(life)

    assert (said["uid"], said["gid"], said["groups"].split()) == ("0", "0", ["0"])


def test_limits_of_the_process(life: Life) -> None:
    limits = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
    said = report(life, rlimits=limits)

    assert (said["nofile"], said["core"]) == ("100 200", "0 0")


def test_directory_and_environment(life: Life) -> None:
    said = report(life, cwd="/tmp", env=["PATH=/bin:/usr/bin", "A=b"])

    assert said["cwd"] == "/tmp"
    assert set(said["environment"].split()) == {"PATH", "A", "HOME", "PWD"}


@pytest.mark.parametrize(("value", "more"), [(2, False), (1, True), (0, True)])
def test_mounts_that_it_sees(life: Life, value: int, more: bool) -> None:
    """enforce_statfs 2: only the file system of its root; 1: those below the root, and 0: the host's whole table."""
    life.bundle.config["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    life.bundle.config["freebsd"] = {"jail": {"enforceStatfs": value}}
    said = report(life)["mounts"].split()

    assert any(place.endswith("/tmp") for place in said) is more
    assert (str(life.bundle.rootfs / "tmp") in said) is (value == 0)


def test_devices_that_it_sees(life: Life) -> None:
    life.bundle.config["freebsd"] = {"devices": [{"path": "full", "mode": 0o600}]}
    said = report(life)["devices"].split()

    assert {"/dev/null", "/dev/zero", "/dev/full"} <= set(said)
    assert not {"/dev/mem", "/dev/kmem", "/dev/vtbd0", "/dev/console"} & set(said)


def test_three_at_the_same_time(runjail: Runjail, make_bundle: Callable[[str], Bundle]) -> None:
    """Jails, rulesets and mounts of their own, and nothing left of any."""
    before = tool("devfs", "rule", "showsets")
    programs = []
    for name in ("a", "b", "c"):
        bundle = make_bundle(name)
        bundle.config["freebsd"] = {"devices": [{"path": "full"}]}
        path = bundle.write("/bin/sh", "-c", "[ -c /dev/full ] && hostname")
        command = [runjail.program, "--root", str(runjail.root), "run", "-b", path, name]
        programs.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))

    assert [program.communicate(timeout=200)[0] for program in programs] == ["runjail-test\n"] * 3
    assert tool("devfs", "rule", "showsets") == before
    assert runjail.ids() == []


def test_a_container_shows_in_jls_as_long_as_it_lives(life: Life) -> None:
    life.sleep()
    assert tool("jls", "-j", "c", "name").strip() == "c"
    if "meta" in tool("sysctl", "-aN", "security.jail.param"):
        assert tool("jls", "-j", "c", "meta.org.runjail.bundle").strip() == str(life.path)

    life.runjail.ok("delete", "--force", "c")

    assert "c" not in tool("jls", "name").split()


def test_an_orphan_is_collected_by_whoever_collects(life: Life) -> None:
    """A jail has no init: orphans go to the caller's reaper, and keep the container running as long as init lives."""
    life.start("/bin/sh", "-c", "(sleep 600 & echo $! > /tmp/pid); sleep 600")
    pid = int(until(lambda: (life.bundle.rootfs / "tmp/pid").exists() and (life.bundle.rootfs / "tmp/pid").read_text()))

    assert str(pid) in life.runjail.ok("ps", "-f", "json", "c").stdout
    life.runjail.ok("delete", "--force", "c")
    with pytest.raises(ProcessLookupError):
        until(lambda: os.kill(pid, 0))


def test_a_raised_securelevel_holds_inside(life: Life) -> None:
    """And ends with the container: the host's is another one."""
    before = tool("sysctl", "-n", "kern.securelevel")
    life.bundle.config["annotations"] = {"org.freebsd.jail.securelevel": "2"}
    life.sleep()

    assert tool("jls", "-j", "c", "securelevel").strip() == "2"
    assert tool("sysctl", "-n", "kern.securelevel") == before


def test_a_linux_container_without_the_module_is_refused_with_the_command(life: Life) -> None:
    life.bundle.config["annotations"] = {"org.opencontainers.image.os": "linux"}
    result = life.run("true")
    if "linux64elf" in tool("kldstat", "-v"):
        assert result.returncode == 0
        return
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "runjail: run Linux programs: the kernel module linux64 is not loaded",
        "hint: sysrc linux_enable=YES && service linux start",
    ]
    assert life.runjail.ids() == []
