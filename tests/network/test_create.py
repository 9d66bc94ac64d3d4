"""`network create`: a plain list file, with addresses that nobody else has."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from runjail import locks
from runjail.errors import NetworkError, RunjailError, UsageError
from runjail.network import create as module
from runjail.network.create import Bridge, create, remove
from runjail.network.lists import parse
from tests.support.network.plugins import Cni

KINDS = ("bridge", "host-local", "portmap", "firewall")


@pytest.fixture
def places(cni: Cni, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Where lists and plugins are; this machine has no routes."""
    cni.add(*KINDS)
    monkeypatch.setattr(module, "ROUTES", str(tmp_path / "routes"))
    monkeypatch.setattr(module, "DATA", str(tmp_path / "data"))
    return {"directories": [str(tmp_path / "made"), str(cni.lists)], "bins": [str(cni.bin)], "timeout": 60}


def bridge(name: str = "db", *subnets: str, gateways: tuple[str, ...] = (), internal: bool = False) -> Bridge:
    return Bridge(name, subnets, gateways, internal)


def test_a_list_that_can_be_read_again(places: dict[str, Any]) -> None:
    path = create(bridge(), **places)

    found = parse(path)
    assert (found.name, found.version, [plugin["type"] for plugin in found.plugins]) == (
        "db", "1.0.0", ["bridge", "portmap", "firewall"],
    )  # fmt: skip
    assert found.can("portMappings")
    assert [str(subnet) for subnet in module.used(found)] == ["10.89.0.0/24"]
    assert found.plugins[0]["bridge"] == "cni-db"


def test_addresses_that_are_free(places: dict[str, Any], tmp_path: Path, cni: Cni) -> None:
    """Not those of other lists, nor what this machine has a route to."""
    cni.write("old", {"type": "bridge", "bridge": "cni-mail", "ipam": {"type": "host-local", "subnet": "10.89.0.0/24"}})
    lines = [
        "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT",
        "eth0 00000000 0 0 0 0 0 00000000 0 0 0",
    ]
    lines += ["br0 0001590A 0 0 0 0 0 00FFFFFF 0 0 0"]
    (tmp_path / "routes").write_text("\n".join(lines) + "\n")

    made = [parse(create(bridge(name), **places)) for name in ("mail", "a-name-that-is-long")]

    assert [str(subnet) for each in made for subnet in module.used(each)] == ["10.89.2.0/24", "10.89.3.0/24"]
    assert [each.plugins[0]["bridge"] for each in made] == ["cni-0", "cni-1"]


def test_what_is_asked_for(places: dict[str, Any]) -> None:
    wanted = bridge("db", "192.0.2.0/24", "2001:db8::/64", gateways=("192.0.2.9",), internal=True)

    (first,) = parse(create(wanted, **places)).plugins

    assert first["ipam"]["ranges"] == [
        [{"subnet": "192.0.2.0/24", "gateway": "192.0.2.9"}],
        [{"subnet": "2001:db8::/64", "gateway": "2001:db8::1"}],
    ]
    assert (first["ipMasq"], "routes" in first["ipam"]) == (False, False)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (bridge("../x"), "not a name for a network: '../x'"),
        (bridge("host"), "not a name for a network: 'host'"),
        (bridge("web"), "there is a network web already"),
        (bridge("db", "x"), "--subnet: not a network: 'x'"),
        (bridge("db", "192.0.2.0/31"), "--subnet: 192.0.2.0/31 has no addresses for containers"),
        (bridge("db", "192.0.2.0/24", gateways=("10.0.0.1",)), "--gateway: 10.0.0.1 is not in 192.0.2.0/24"),
        (bridge("db", "192.0.2.0/24", gateways=("x",)), "--gateway: not an address: 'x'"),
        (bridge("db", gateways=("10.89.0.1", "10.89.0.2")), "--gateway: more than there are subnets"),
    ],
)
def test_what_cannot_be(places: dict[str, Any], wanted: Bridge, said: str, tmp_path: Path) -> None:
    """It is said where the plugins are not installed, too."""
    for bins in (places["bins"], [str(tmp_path / "none")]):
        with pytest.raises(RunjailError) as raised:
            create(wanted, **places | {"bins": bins})

        assert str(raised.value) == said
    assert not (tmp_path / "made").exists()


def test_subnets_of_others_are_taken(places: dict[str, Any]) -> None:
    create(bridge("db", "192.0.2.0/24"), **places)

    with pytest.raises(NetworkError, match=r"--subnet: 192.0.2.128/25 overlaps 192.0.2.0/24 of another network"):
        create(bridge("mail", "192.0.2.128/25"), **places)
    with pytest.raises(UsageError):
        create(bridge("mail", "192.0.2.1/24"), **places)


def test_two_at_once_have_addresses_of_their_own(places: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the second one writes is decided while the first one can write nothing."""
    create(bridge(), **places)
    made, locked, write = places["directories"][0], list[bool](), module.write_file

    def watched(*told: Any) -> None:
        other = os.open(made, os.O_RDONLY)
        locked.append(not locks.try_lock(other))
        os.close(other)
        write(*told)

    monkeypatch.setattr(module, "write_file", watched)
    create(bridge("mail"), **places)

    assert locked == [True]


def test_a_list_that_cannot_be_written_leaves_nothing(
    places: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_told: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("runjail.files.write_all", full)

    with pytest.raises(NetworkError, match=r"writing .*/made/db.conflist: "):
        create(bridge(), **places)

    assert list((tmp_path / "made").iterdir()) == []


def test_a_file_that_is_no_list_is_not_replaced(places: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "db.conflist").write_text("broken")

    with pytest.raises(NetworkError, match="there is a network db already"):
        create(bridge(), **places)

    assert (tmp_path / "made" / "db.conflist").read_text() == "broken"


def test_plugins_that_are_not_there(places: dict[str, Any], cni: Cni) -> None:
    (cni.bin / "portmap").unlink()

    with pytest.raises(NetworkError, match="CNI plugin portmap is not in"):
        create(bridge(), **places)


def test_plugins_of_before_1_0(places: dict[str, Any], cni: Cni) -> None:
    path = cni.bin / "portmap"
    path.write_text(path.read_text().replace('["0.4.0", "1.0.0"]', '["0.4.0"]'))

    assert parse(create(bridge(), **places)).version == "0.4.0"


@pytest.mark.parametrize("busy", [True, False])
def test_a_network_goes_with_its_bridge(places: dict[str, Any], busy: bool, tmp_path: Path) -> None:
    path = create(bridge(), **places)
    kept = tmp_path / "data" / "db"
    kept.mkdir(parents=True)
    (kept / "last_reserved_ip.0").touch()
    asked: list[str] = []

    left = remove(parse(path), lambda name: asked.append(name) or not busy)

    assert (asked, left, Path(path).exists(), kept.exists()) == (["cni-db"], ["cni-db"] if busy else [], False, busy)


def test_a_bridge_of_others_stays(places: dict[str, Any], cni: Cni) -> None:
    path = cni.write("old", {"type": "bridge", "bridge": "br0"})

    assert remove(parse(str(path)), lambda name: pytest.fail(name)) == []
    assert not path.exists()
