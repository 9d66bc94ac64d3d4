"""The command lines of containerd's versions."""

import pytest

from runjail import protobuf
from runjail.errors import UsageError
from runjail.shim import messages
from runjail.shim.command_args import Args

START = "-namespace k8s.io -address /run/c.sock -publish-binary /usr/bin/containerd -id web start".split()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes from the environment of the tests."""
    for name in ("TTRPC_ADDRESS", "GRPC_ADDRESS", "NAMESPACE"):
        monkeypatch.delenv(name, raising=False)


def bootstrap(**fields: str) -> bytes:
    """Return BootstrapParams."""
    return protobuf.encode(messages.BOOTSTRAP, {"instance_id": "web", "namespace": "k8s.io", **fields})


def test_flags_of_every_version() -> None:
    given = Args(START)

    assert (given.verb, given.id, given.namespace, given.address) == ("start", "web", "k8s.io", "/run/c.sock")
    assert given.events == "/run/c.sock.ttrpc"


@pytest.mark.parametrize("words", [["--id=web", "-debug", "start"], ["-id=web", "start"], ["--id", "web", "start"]])
def test_the_flag_syntax_of_go(words: list[str]) -> None:
    assert Args(words).id == "web"


def test_addresses_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTRPC_ADDRESS", "/run/t.sock")
    monkeypatch.setenv("GRPC_ADDRESS", "/run/g.sock")
    monkeypatch.setenv("NAMESPACE", "other")
    given = Args(["-id", "web", "start"])

    assert (given.events, given.address, given.namespace) == ("/run/t.sock", "/run/g.sock", "other")


def test_parameters_on_standard_input() -> None:
    """containerd 2.3 may leave the flags out."""
    given = Args(["start"])
    given.complete(bootstrap(containerd_grpc_address="/g", containerd_ttrpc_address="/t", socket_dir="/run/sockets"))

    assert (given.id, given.namespace, given.address, given.events) == ("web", "k8s.io", "/g", "/t")
    assert given.text("sockets") == "/run/sockets"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\xff\xff",
        protobuf.encode(messages.ANY, {"type_url": "containerd.runc.v1.Options", "value": b"\x3a\x02/r"}),
        bootstrap(instance_id="somebody else's", containerd_grpc_address="/wrong"),
    ],
    ids=["nothing", "garbage", "options of older versions", "another container's"],
)
def test_other_things_on_standard_input(said: bytes) -> None:
    given = Args(START)
    given.complete(said)

    assert (given.id, given.address, given.text("sockets")) == ("web", "/run/c.sock", "")


@pytest.mark.parametrize("words", [["-nope"], ["-id"]])
def test_bad_flags(words: list[str]) -> None:
    with pytest.raises(UsageError):
        Args(words)


@pytest.mark.parametrize("id", ["", "..", "a/b", "x" * 300])
def test_ids_that_would_leave_their_directory(id: str) -> None:
    with pytest.raises(UsageError):
        assert Args([f"-id={id}", "start"]).id


@pytest.mark.parametrize("namespace", ["", "..", "a/b"])
def test_namespaces_that_would_leave_their_directory(namespace: str) -> None:
    with pytest.raises(UsageError):
        assert Args([f"-namespace={namespace}", "start"]).namespace
