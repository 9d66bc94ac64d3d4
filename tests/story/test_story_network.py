"""Networks by CNI with the real plugins, in a network namespace of the test's own: nothing of the machine changes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.container.harness import until
from tests.support.network.plugins import PLUGINS, Cni, Namespace, namespace
from tests.support.story.cli import Cli

pytestmark = [
    pytest.mark.needs("root", "linux", "cni"),
    pytest.mark.parametrize("location", ["dir"], indirect=True),
    pytest.mark.limit(600),
]
SERVE = "echo served >/index.html; exec httpd -f -p 80 -h /"


@pytest.fixture
def place() -> Iterator[Namespace]:
    """The network of this test."""
    with namespace() as found:
        yield found


@pytest.fixture
def told(cli: Cli, place: Namespace, tmp_path: Path, hello: str) -> Iterator[Cli]:
    """The program in that network, with a bridge `web`."""
    script = tmp_path / "program"
    script.write_text(f'#!/bin/sh\nexec {" ".join(place.command)} {cli.runjail.program} "$@"\n')
    script.chmod(0o755)
    cni = Cni(tmp_path / "cni")
    program, cli.runjail.program, cli.env = cli.runjail.program, str(script), cni.env(PLUGINS)
    cli.ok("network", "create", "web")
    cni.keep_addresses("web", tmp_path / "addresses")
    yield cli
    for name in cli.runjail.ids() if cli.runjail.root.is_dir() else []:  # as long as there is the namespace
        cli.ok("delete", "--force", name)
    cli.runjail.program = program


def clean(place: Namespace, tmp_path: Path) -> bool:
    """Whether no interface, rule or address of a container is left."""
    kept = tmp_path / "addresses" / "web"
    addresses = [path.name for path in kept.iterdir() if path.name[0].isdigit()] if kept.exists() else []
    return (place.interfaces(), place.rules(), addresses) == (["cni-web", "lo"], "", [])


def test_two_containers_talk_and_a_port_answers(told: Cli, hello: str, place: Namespace, tmp_path: Path) -> None:
    told.ok("run", "-d", "--image", hello, "--network", "web", "-p", "8080:80", "one", "/bin/sh", "-c", SERVE)
    hosts = told.ok("exec", "one", "/bin/cat", "/etc/hosts").splitlines()
    own = next(line.split()[0] for line in hosts if line.endswith("\tone"))
    fetch = ["busybox", "wget", "-q", "-O", "-"]

    said = until(lambda: place.run("sh", "-c", f"{' '.join(fetch)} http://127.0.0.1:8080/index.html || true"))
    inside = told.ok(
        "run", "--image", hello, "--network", "web", "two", "/bin/wget", "-qO-", f"http://{own}/index.html"
    )

    assert (said, inside) == ("served\n", "served\n")
    assert "10.89.0.1\thost.containers.internal" in hosts
    show = "{{.NetworkSettings.IPAddress}} {{json .NetworkSettings.Ports}}"
    assert told.ok("inspect", "-f", show, "one") == f'{own} {{"80/tcp":[{{"HostIp":"","HostPort":"8080"}}]}}\n'
    received = json.loads(told.ok("stats", "--no-stream", "--format", "json", "one"))[0]["net_io"]
    assert received != "-- / --" and not received.startswith("0B")
    assert told.refused("network", "rm", "web") == "network web is in use by one"
    told.ok("delete", "--force", "one")
    assert clean(place, tmp_path)
    assert told.ok("network", "rm", "web") == "web\n"
    assert place.interfaces() == ["lo"]


def test_another_container_by_its_name(told: Cli, hello: str) -> None:
    """Who is told it knows it; nobody else's names are written into a container."""
    told.ok("run", "-d", "--image", hello, "--network", "web", "one", "/bin/sh", "-c", SERVE)
    address = told.ok("inspect", "--format", "{{.NetworkSettings.IPAddress}}", "one").strip()
    told.ok("run", "-d", "--image", hello, "--network", "web", "plain", "/bin/sleep", "600")
    script = "until wget -qO- http://one/index.html 2>/dev/null; do sleep 0.1; done"
    words = ("--network", "web", "--add-host", f"one:{address}", "two", "/bin/sh", "-c", script)

    assert told.ok("run", "--image", hello, *words) == "served\n"
    names = [word for line in told.ok("exec", "plain", "/bin/cat", "/etc/hosts").splitlines() for word in line.split()]
    assert "plain" in names
    assert not {"one", "two"} & set(names)


def test_plugins_check_what_they_have_made(told: Cli, hello: str, place: Namespace) -> None:
    told.ok("run", "-d", "--image", hello, "--network", "web", "-p", "8080:80", "one", "/bin/sleep", "600")
    told.ok("network", "check", "one")

    place.run("ip", "link", "set", "cni-web", "down")
    place.run("ip", "link", "del", "cni-web")

    assert told.refused("network", "check", "one").startswith("network web: CNI plugin bridge: CHECK: ")


def test_a_container_that_cannot_be_made_leaves_nothing(
    told: Cli, hello: str, place: Namespace, tmp_path: Path
) -> None:
    words = ("run", "--image", hello, "--network", "web", "-p", "8080:80", "one", "/no/such")

    assert 'exec: "/no/such"' in told.refused(*words, code=127)
    assert clean(place, tmp_path)


def test_what_is_gone_is_no_hindrance(told: Cli, hello: str, place: Namespace, tmp_path: Path) -> None:
    """Whoever has removed the list, the rules or the namespace."""
    told.ok("run", "-d", "--image", hello, "--network", "web", "-p", "8080:80", "one", "/bin/sleep", "600")
    for path in (tmp_path / "cni" / "net.d").iterdir():
        path.unlink()
    place.run("iptables", "-t", "nat", "-F")
    place.run("umount", "-l", str(told.runjail.root / "one" / "netns"))

    told.ok("delete", "--force", "one")

    assert clean(place, tmp_path)


def test_networks_are_seen_by_nobody_else(told: Cli, hello: str, place: Namespace) -> None:
    """A container on a network has its own `lo`, and none of the test's ports."""
    show = "cat /proc/net/dev"

    said = told.ok("run", "--image", hello, "--network", "web", "one", "/bin/sh", "-c", show)

    assert sorted(line.partition(":")[0].strip() for line in said.splitlines()[2:]) == ["eth0", "lo"]


def test_a_container_that_is_started_again_keeps_its_network(
    told: Cli, hello: str, place: Namespace, tmp_path: Path
) -> None:
    """As with podman: its address, name and published port are what they were, and nothing is left in the end."""
    script = f"echo x >>/count; grep -w one /etc/hosts; test $(cat /count | wc -l) -gt 1 || exit 1; {SERVE}"
    words = ("run", "-d", "--restart", "on-failure", "--image", hello, "--network", "web", "-p", "8080:80", "one")
    told.ok(*words, "/bin/sh", "-c", script)

    fetch = "busybox wget -q -O - http://127.0.0.1:8080/index.html || true"
    assert until(lambda: place.run("sh", "-c", fetch)) == "served\n"

    first, second = (line for line in told.ok("logs", "one").splitlines() if line.endswith("\tone"))
    assert first == second
    assert told.ok("inspect", "-f", "{{.RestartCount}} {{.NetworkSettings.IPAddress}}", "one") == (
        f"1 {first.split()[0]}\n"
    )
    told.ok("delete", "--force", "one")
    assert clean(place, tmp_path)
