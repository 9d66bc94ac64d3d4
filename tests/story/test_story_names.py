"""What a container of an image knows of names, and options of podman's run as they are seen inside."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.support.peers.commands import finish, start
from tests.support.story.cli import Cli

pytestmark = [pytest.mark.needs("root"), pytest.mark.parametrize("location", ["dir"], indirect=True)]

SHOW = "cat /etc/hosts; echo --; cat /etc/hostname; echo --; cat /etc/resolv.conf"


def test_localhost_and_the_own_names_resolve(cli: Cli, hello: str) -> None:
    said = cli.ok("run", "--image", hello, "-h", "inside", "web", "/bin/sh", "-c", SHOW)

    hosts, hostname, _resolver = said.split("--\n")
    names = {name: line.split()[0] for line in hosts.splitlines() for name in line.split()[1:]}
    assert (names["inside"], names["web"]) == ("127.0.0.1", "127.0.0.1")
    assert "localhost" in names
    assert hostname == "inside\n"


def test_names_that_are_asked_for(cli: Cli, hello: str, tmp_path: Path) -> None:
    """The files are the container's: what it writes there is gone with it, and nobody else's."""
    (tmp_path / "hostname").write_text("mine\n")
    words = (
        "--add-host",
        "db:192.0.2.7",
        "--dns",
        "192.0.2.53",
        "--dns-search",
        "a.example",
        "--dns-option",
        "ndots:2",
    )
    volume = ("-v", f"{tmp_path}/hostname:/etc/hostname")

    said = cli.ok("run", "--image", hello, *words, *volume, "web", "/bin/sh", "-c", f"echo x >>/etc/hosts; {SHOW}")

    hosts, hostname, resolver = said.split("--\n")
    assert hosts.startswith("192.0.2.7\tdb\n")
    assert hosts.endswith("\nx\n")
    assert hostname == "mine\n"
    assert resolver == "search a.example\nnameserver 192.0.2.53\noptions ndots:2\n"
    assert "x\n" not in Path("/etc/hosts").read_text()


@pytest.mark.parametrize(
    "words", [("--name", "web", "sh"), ("web", "sh"), ("web", "--", "sh"), ("--name=web", "--", "sh")]
)
def test_a_command_follows_the_id_or_the_name(cli: Cli, hello: str, words: tuple[str, ...]) -> None:
    assert cli.ok("run", "--image", hello, *words, "-c", "echo $0 $1; cat /etc/hostname", "a", "-d") == "a -d\nweb\n"


def test_a_name_alone_runs_the_image_s_program(cli: Cli, hello: str) -> None:
    assert cli.ok("run", "--image", hello, "--name", "web") == "Hello World!\n"


def test_the_id_file_lives_as_long_as_the_container(cli: Cli, hello: str, tmp_path: Path) -> None:
    file = tmp_path / "id"
    start = ("run", "--image", hello, "-d", "--cidfile", str(file), "--name")
    cli.ok(*start, "web", "sleep", "600")
    assert file.read_text() == "web"

    assert "is there already" in cli.refused(*start, "other", "sleep", "600")
    assert file.read_text() == "web"
    cli.ok("delete", "-f", "web")
    assert not file.exists()
    assert "cannot write" in cli.refused("run", "--image", hello, "--cidfile", f"{tmp_path}/no/id", "web")
    assert "exec" in cli("run", "--image", hello, "--cidfile", str(file), "web", "/nonexistent").stderr
    assert not file.exists()


def test_an_id_file_that_is_another_s_by_now_stays(cli: Cli, hello: str, tmp_path: Path) -> None:
    file = tmp_path / "id"
    cli.ok("run", "--image", hello, "-d", "--cidfile", str(file), "--name", "web", "sleep", "600")
    file.write_text("another")

    cli.ok("delete", "-f", "web")

    assert file.read_text() == "another"


def test_mounts_of_both_kinds(cli: Cli, hello: str, tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    (tmp_path / "a,b" / "word").write_text("seen\n")
    words = (
        "--mount",
        f'type=bind,"src={tmp_path}/a,b",dst=/data,readonly',
        "--mount",
        "type=tmpfs,dst=/t,tmpfs-size=1m",
    )
    script = "cat /data/word; touch /data/x 2>/dev/null || echo refused; touch /t/x && echo kept"

    assert cli.ok("run", "--image", hello, *words, "web", "/bin/sh", "-c", script) == "seen\nrefused\nkept\n"


@pytest.mark.linux
def test_security_and_devices_from_inside(cli: Cli, hello: str, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    words = (
        "--security-opt",
        f"seccomp={profile}",
        "--security-opt",
        "no-new-privileges",
        "--device",
        "/dev/zero:/dev/z:r",
    )
    script = "grep NoNew /proc/self/status; mkdir /x 2>&1; head -c 2 /dev/z | wc -c"

    said = cli.ok("run", "--image", hello, *words, "web", "/bin/sh", "-c", script)

    assert said.splitlines()[0].split() == ["NoNewPrivs:", "1"]
    assert "not supported" in said
    assert said.splitlines()[-1].strip() == "2"


@pytest.mark.linux
@pytest.mark.needs("catatonit")
def test_orphans_are_collected_by_init(cli: Cli, hello: str) -> None:
    said = cli.ok("run", "--image", hello, "--init", "web", "/bin/sh", "-c", "tr '\\0' ' ' </proc/1/cmdline")

    assert said.startswith("/run/podman-init -- /bin/sh -c")


@pytest.mark.freebsd
def test_there_is_no_init_in_a_jail(cli: Cli, hello: str) -> None:
    assert cli.refused("run", "--image", hello, "--init", "web") == "--init: only Linux has this"


@pytest.mark.linux
@pytest.mark.needs("podman", "runc")
def test_podman_makes_the_same_files(
    cli: Cli, hello: str, machine_rootfs: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Beside podman, without the name that it gives the host, and the end of the line that it leaves out."""
    run = tempfile.mkdtemp(prefix="podman-", dir="/tmp")  # podman takes at most 50 characters
    request.addfinalizer(lambda: shutil.rmtree(run))
    places = [f"--root={tmp_path}/s", f"--runroot={run}", f"--tmpdir={tmp_path}/t", "--storage-driver=vfs"]
    settings = tmp_path / "containers.conf"
    settings.write_text('[containers]\ndefault_ulimits=[]\n[engine]\nlock_type="file"\n')
    thin = ["--security-opt=apparmor=unconfined", "--security-opt=label=disable", "--systemd=false"]
    limits = ["--ulimit=nofile=1000:1000", "--ulimit=nproc=1000:1000"]
    command = ["podman", *places, "--cgroup-manager=cgroupfs", "--events-backend=none", "--runtime=runc", "run", "--rm"]
    words = ["--network=none", "--hostname=inside", "--add-host=db:192.0.2.7"]
    env = {"PATH": cli.env.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "CONTAINERS_CONF": str(settings)}

    show = ["--rootfs", str(machine_rootfs), "/bin/sh", "-c", "cat /etc/hosts"]
    theirs = finish(start([*command, *thin, *limits, *words, "--name=web", *show], env))
    ours = cli.ok("run", "--image", hello, *words, "--name=web", "/bin/sh", "-c", "cat /etc/hosts")

    assert theirs.code == 0, theirs
    expected = [line for line in theirs.out.splitlines() if "host.containers.internal" not in line]
    assert ours.splitlines() == expected
