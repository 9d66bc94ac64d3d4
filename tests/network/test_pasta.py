"""How pasta is called for podman's words, and what of its own command line it is not given."""

import itertools

import pytest

from runjail.errors import UsageError
from runjail.host import programs
from runjail.network import pasta

TCP = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
UDP = {"hostPort": 5353, "containerPort": 53, "protocol": "udp", "hostIP": "127.0.0.1"}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is there, whatever this machine has."""
    monkeypatch.setattr(programs, "which", lambda name: f"/usr/bin/{name}")


def words(options: str, *ports: dict[str, object]) -> list[str]:
    """Return how it is called."""
    return list(pasta.network(options, ports, user=True).argv)


def pairs(found: list[str]) -> set[tuple[str, str]]:
    """Return each word with the one after it."""
    return set(itertools.pairwise(found))


def test_nothing_is_forwarded_unless_it_is_published() -> None:
    """Of itself pasta forwards all ports, in both directions."""
    found = words("")

    assert {("-t", "none"), ("-u", "none"), ("-T", "none"), ("-U", "none")} <= pairs(found)
    assert {"--config-net", "--foreground", "--quiet", "--no-map-gw"} <= set(found)
    assert {("--pid", "/proc/self/fd/5"), ("--userns", "/proc/self/fd/4"), ("--netns", "/proc/self/fd/3")} <= pairs(
        found
    )
    assert pasta.network("", [], user=True).server == "169.254.1.1"


def test_ports() -> None:
    found = words("", TCP, UDP)

    assert {("-t", "8080:80"), ("-u", "127.0.0.1/5353:53"), ("-T", "none"), ("-U", "none")} <= pairs(found)
    assert not {("-t", "none"), ("-u", "none")} & pairs(found)


def test_what_is_said_is_not_said_again() -> None:
    found = words("--map-gw,-t,auto,--udp-ports=53,-T,none,--dns-forward,192.0.2.53,-a,192.0.2.9")

    assert "--no-map-gw" not in found and "--map-gw" not in found
    assert [found.count(word) for word in ("-t", "--udp-ports", "-T", "-U", "--dns-forward")] == [1] * 5
    assert "-u" not in found
    network = pasta.network("--dns-forward,192.0.2.53,-a,192.0.2.9", [], user=True)
    assert (network.server, network.address) == ("192.0.2.53", "192.0.2.9")


@pytest.mark.parametrize(
    "options",
    [
        "--netns,/proc/1/ns/net",
        "-P,/etc/passwd",
        "--pcap,/tmp/x",
        "-l,/tmp/x",
        "--runas,0",
        "-fP",
        "1",
        "sh",
        "-t",
        "-4=1",
    ],
)
def test_what_it_is_not_given(options: str) -> None:
    """Where it writes, whose network it is, a command, and what lacks a value."""
    with pytest.raises(UsageError, match="--network pasta: not an option that can be given, or without value: "):
        words(options)


def test_it_is_for_who_is_not_root() -> None:
    """podman's rule."""
    with pytest.raises(UsageError, match="--network pasta is for who is not root"):
        pasta.network("", [], user=False)


def test_sctp() -> None:
    with pytest.raises(UsageError, match="pasta publishes ports of tcp and udp, not sctp"):
        words("", {**TCP, "protocol": "sctp"})
