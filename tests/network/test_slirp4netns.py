"""How slirp4netns is called for podman's options, what is refused, and how it is told of ports."""

import json
import socket
import threading
from typing import Any

import pytest

from runjail.errors import NetworkError, UsageError
from runjail.host import programs
from runjail.network import forwards, slirp4netns, usermode
from runjail.record import to_data

PORT = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is there, whatever this machine has."""
    monkeypatch.setattr(programs, "which", lambda name: f"/usr/bin/{name}")


def test_it_is_called_as_podman_does() -> None:
    """What podman 4.3 without root does."""
    found = slirp4netns.network("", [PORT], user=True)

    assert set(found.argv) >= {
        *("/usr/bin/slirp4netns", "-c", "--disable-host-loopback", "--mtu=65520", "--enable-sandbox"),
        *("--enable-seccomp", "--enable-ipv6", "--netns-type=path"),
    }
    assert found.argv[-2:] == ("/proc/self/fd/3", "tap0")
    assert (found.address, found.server, found.enters) == ("10.0.2.100", "10.0.2.3", True)
    assert not slirp4netns.network("", [], user=False).enters


def test_options() -> None:
    options = "cidr=10.9.0.0/24,mtu=1500,allow_host_loopback=true,enable_ipv6=false,outbound_addr=192.0.2.7"
    found = slirp4netns.network(options, [], user=True)

    assert {"--cidr=10.9.0.0/24", "--mtu=1500", "--outbound-addr=192.0.2.7"} <= set(found.argv)
    assert not {"--disable-host-loopback", "--enable-ipv6"} & set(found.argv)
    assert (found.address, found.server) == ("10.9.0.100", "10.9.0.3")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("more=1", "not an option, or given twice: 'more=1'"),
        ("mtu", "not an option, or given twice: 'mtu'"),
        ("mtu=1500,mtu=1501", "not an option, or given twice: 'mtu=1501'"),
        ("mtu=9", "mtu: not 68 to 65520: '9'"),
        ("cidr=10.0.0.0/26", "cidr: not a network of 128 addresses or more: '10.0.0.0/26'"),
        ("cidr=10.0.0.1/24", "cidr: not a network of 128 addresses or more: '10.0.0.1/24'"),
        ("enable_ipv6=yes", "enable_ipv6: not true or false: 'yes'"),
        ("outbound_addr=::1", "outbound_addr: no IPv4 address and no interface: '::1'"),
        ("outbound_addr6=--api-socket", "outbound_addr6: no IPv6 address and no interface: '--api-socket'"),
        ("port_handler=rootlesskit", "port_handler=rootlesskit: slirp4netns publishes ports itself"),
    ],
)
def test_what_is_refused(options: str, complaint: str) -> None:
    with pytest.raises(UsageError) as refused:
        slirp4netns.network(options, [], user=True)

    assert str(refused.value) == f"--network slirp4netns: {complaint}"


@pytest.mark.parametrize("more", [{"protocol": "sctp"}, {"hostIP": "::1"}])
def test_ports_that_it_has_not(more: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="tcp and udp at addresses of IPv4"):
        slirp4netns.network("", [{**PORT, **more}], user=True)


def test_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "which", lambda _name: None)
    with pytest.raises(NetworkError, match="--network slirp4netns: the program is not installed") as refused:
        slirp4netns.network("", [], user=True)

    assert "slirp4netns" in str(refused.value.hint)


def test_a_record_is_what_it_was_after_json() -> None:
    """As the policy of restarts has it on disk."""
    found = slirp4netns.network("", [PORT], user=True)

    assert usermode.from_data(json.loads(json.dumps(to_data(found)))) == found


def answered(answer: bytes) -> dict[str, Any]:
    """Return what is asked of a program that gives this answer."""
    ours, theirs = socket.socketpair()
    asked: list[bytes] = []

    def serve() -> None:
        while block := theirs.recv(4096):
            asked.append(block)
        theirs.sendall(answer)
        theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        forwards.publish(ours, {**PORT, "hostIP": "127.0.0.1"}, "10.0.2.100")
    finally:
        ours.close()
        thread.join()
    found: dict[str, Any] = json.loads(b"".join(asked))
    return found


def test_a_port_is_published() -> None:
    said = answered(b'{"return":{"id":1}}')

    assert said["execute"] == "add_hostfwd"
    assert said["arguments"] == {
        "proto": "tcp",
        "host_addr": "127.0.0.1",
        "host_port": 8080,
        "guest_addr": "10.0.2.100",
        "guest_port": 80,
    }


@pytest.mark.parametrize("answer", [b'{"error":{"desc":"failed"}}', b"", b"[]", b"no json"])
def test_a_port_that_cannot_be_had(answer: bytes) -> None:
    with pytest.raises(
        NetworkError, match=r"slirp4netns cannot have port 127\.0\.0\.1:8080/tcp of the host"
    ) as refused:
        answered(answer)

    assert "ip_unprivileged_port_start" in str(refused.value.hint)
