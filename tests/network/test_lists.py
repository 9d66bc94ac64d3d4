"""Network lists as people write them, and what is wrong with others."""

import json
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import InvalidConfig, NetworkError, UsageError
from runjail.network import lists, ports
from tests.support.network.plugins import Cni

BRIDGE = {"type": "bridge"}


def document(**changes: Any) -> dict[str, Any]:
    found = {"cniVersion": "1.0.0", "name": "web", "plugins": [BRIDGE], **changes}
    return {key: value for key, value in found.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": None}, "name: must begin with a letter or digit"),
        ({"name": "../x"}, "name: must begin with a letter or digit"),
        ({"plugins": None}, "plugins: must be a list of at least one"),
        ({"plugins": []}, "plugins: must be a list of at least one"),
        ({"plugins": ["bridge"]}, "plugins[0]: must be an object"),
        ({"plugins": [BRIDGE, {"type": "../bridge"}]}, "plugins[1].type: must be the name of a file"),
        ({"plugins": [{"type": "bridge", "capabilities": []}]}, "plugins[0].capabilities: must be an object"),
        ({"cniVersion": None}, "cniVersion: must be one of 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0, not null"),
        ({"cniVersion": "0.2.0"}, 'not "0.2.0"'),
        ({"cniVersion": "2.0.0", "cniVersions": ["2.1.0"]}, 'not "2.0.0"'),
    ],
)
def test_what_is_wrong_with_a_list(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    (tmp_path / "a.conflist").write_text(json.dumps(document(**changes)))

    with pytest.raises(InvalidConfig) as raised:
        lists.parse(str(tmp_path / "a.conflist"))

    assert said in str(raised.value)
    assert f"invalid {tmp_path}/a.conflist: " in str(raised.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_what_is_no_list(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.conflist").write_text(text)

    with pytest.raises(InvalidConfig):
        lists.parse(str(tmp_path / "a.conflist"))


def test_a_configuration_alone_is_a_list_of_one(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text(json.dumps({"cniVersion": "0.3.1", "name": "old", "type": "bridge"}))

    found = lists.parse(str(tmp_path / "a.conf"))

    assert (found.name, found.version, [plugin["type"] for plugin in found.plugins]) == ("old", "0.3.1", ["bridge"])


def test_the_latest_version_that_both_know(tmp_path: Path) -> None:
    """CNI 1.1, cniVersions."""
    (tmp_path / "a.conflist").write_text(json.dumps(document(cniVersions=["0.4.0", "1.1.0", "9.0.0"])))

    assert lists.parse(str(tmp_path / "a.conflist")).version == "1.1.0"


def test_the_first_of_a_name_counts_and_what_is_broken_is_told(tmp_path: Path) -> None:
    """Files by name, directories in order; other endings and hidden files are nobody's."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    for place, text in {
        "one/20.conflist": json.dumps(document(disableCheck=True)),
        "one/10.conflist": "broken",
        "one/web.txt": "nothing",
        "one/.hidden.conf": "nothing",
        "two/00.json": json.dumps(document()),
        "two/01.conf": json.dumps(document(name="db")),
    }.items():
        (tmp_path / place).write_text(text)
    directories, warned = [str(tmp_path / name) for name in ("one", "none", "two")], list[str]()

    found = lists.load(directories, warned.append)

    assert [(each.name, each.checks) for each in found] == [("web", False), ("db", True)]
    assert ["10.conflist" in text for text in warned] == [True]
    with pytest.raises(NetworkError, match=r"there is no network mail, and not every list can be read: .*10\.conflist"):
        lists.find("mail", directories)


def test_a_name_that_is_not_there_is_told_with_those_that_are(cni: Cni) -> None:
    with pytest.raises(NetworkError, match=rf"there is no network mail in {cni.lists}") as raised:
        lists.find("mail", [str(cni.lists)])

    assert raised.value.hint == "there are web; runjail network create mail makes it, --network host goes without"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080:80", [(8080, 80, "tcp", "")]),
        ("8080:80/udp", [(8080, 80, "udp", "")]),
        ("127.0.0.1:8080:80", [(8080, 80, "tcp", "127.0.0.1")]),
        ("[::1]:8080:80/TCP", [(8080, 80, "tcp", "::1")]),
        ("5000-5001:6000-6001", [(5000, 6000, "tcp", ""), (5001, 6001, "tcp", "")]),
    ],
)
def test_ports(text: str, expected: list[tuple[int, int, str, str]]) -> None:
    found = ports.mappings([text])

    said = [(each["hostPort"], each["containerPort"], each["protocol"], each.get("hostIP", "")) for each in found]
    assert said == expected


@pytest.mark.needs("loopback")
@pytest.mark.parametrize("text", ["80", "127.0.0.1::80"])
def test_a_port_of_the_host_is_chosen(text: str) -> None:
    (found,) = ports.mappings([text])

    assert found["containerPort"] == 80
    assert 1024 <= found["hostPort"] <= 65535


@pytest.mark.needs("loopback")
def test_no_port_is_chosen_twice() -> None:
    found = ports.mappings(["1-300", "80"])

    assert len({each["hostPort"] for each in found}) == 301


@pytest.mark.parametrize("text", ["192.0.2.1::80", "192.0.2.1::1-3"])
def test_a_port_of_an_address_that_is_not_ours(text: str) -> None:
    with pytest.raises(UsageError, match=r"--publish: choosing a port of 192\.0\.2\.1: ") as raised:
        ports.mappings([text])

    assert raised.value.hint == "HOST:CONTAINER names one"


@pytest.mark.parametrize(
    "text", ["", "x", "0:80", "80:0", "65536", "1:2:3:4", "a:1:2", "80/icmp", "1-2:3", "3-1:3-1", "[::1:80:80", "-1:2"]
)
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(UsageError, match="--publish: "):
        ports.mappings([text])


def test_a_port_is_published_once() -> None:
    with pytest.raises(UsageError, match="port 80/tcp of the host is given twice"):
        ports.mappings(["80:80", "80:81"])

    assert len(ports.mappings(["80:80", "80:80/udp", "127.0.0.1:80:80"])) == 3
