"""What plugins are called with, and what becomes of those that fail, wait or leave somebody behind."""

import os
from pathlib import Path

import pytest

from runjail.errors import NetworkError
from runjail.network import attachment
from runjail.network.attachment import from_notes
from tests.support.container.harness import is_alive, until
from tests.support.network.plugins import Cni

PORTS = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]


def test_add_goes_through_the_chain(cni: Cni) -> None:
    """CNI 1.1, section 4: each plugin has the result of the one before, and what it asks for of the runtime's."""
    result = cni.attachment("web", ports=PORTS).add()

    (first, before, words), (second, after, _) = cni.seen()
    assert (first, second) == ("ADD", "ADD")
    assert before == {"type": "first", "cniVersion": "1.0.0", "name": "web"}
    assert after["runtimeConfig"] == {"portMappings": PORTS}
    assert (after["prevResult"]["by"], after["more"], "capabilities" in after) == (["first"], 1, False)
    assert result["by"] == ["first", "second"]
    assert words == {
        "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=web",
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "web-1",
        "CNI_IFNAME": "eth0",
        "CNI_NETNS": "/ns",
        "CNI_PATH": str(cni.bin),
    }
    assert attachment.addresses(result) == ["192.0.2.7"]
    assert attachment.gateways(result) == ["192.0.2.1"]
    assert attachment.resolver(result)["nameservers"] == ("192.0.2.53",)


@pytest.mark.parametrize(("version", "told"), [("0.3.1", False), ("0.4.0", True), ("1.0.0", True)])
def test_delete_goes_backwards_with_the_result(cni: Cni, version: str, told: bool) -> None:
    """From an undo note that knows the result; before 0.4.0 plugins were not told one."""
    cni.write("web", {"type": "first"}, {"type": "second"}, version=version)
    wanted = cni.attachment("web")
    notes = [wanted.to_note(), wanted.to_note(wanted.add())]

    (found,) = from_notes(notes)
    failures = found.delete(there=False)

    deleted = [call for call in cni.seen() if call[0] == "DEL"]
    assert failures == []
    assert [config["type"] for _, config, _ in deleted] == ["second", "first"]
    assert [config.get("prevResult", {}).get("by") == ["first", "second"] for _, config, _ in deleted] == [told] * 2
    assert {words["CNI_NETNS"] for _, _, words in deleted} == {""}
    assert cni.taken() == []


def test_a_plugin_that_is_not_there_is_told_before_anything_is_made(cni: Cni) -> None:
    cni.write("web", {"type": "first"}, {"type": "third"})

    with pytest.raises(NetworkError, match=f"CNI plugin third is not in {cni.bin}") as raised:
        cni.attachment("web").add()

    assert raised.value.hint == "install containernetworking-plugins, or use --network host"
    assert cni.seen() == []


def test_a_plugin_says_why_it_fails(cni: Cni) -> None:
    cni.write("web", {"type": "first"}, {"type": "second", "fail": ["ADD"]})

    with pytest.raises(NetworkError, match="network web: CNI plugin second: ADD: no room: try again"):
        cni.attachment("web").add()


def test_every_plugin_gets_its_turn_to_delete(cni: Cni) -> None:
    cni.write("web", {"type": "first"}, {"type": "second", "fail": ["DEL"]})
    wanted = cni.attachment("web")
    wanted.add()

    assert wanted.delete(there=True) == ["network web: CNI plugin second: DEL: no room: try again"]
    assert cni.taken() == ["second-web-1-eth0"]


@pytest.mark.parametrize(
    ("said", "why"),
    [("nothing", "is no JSON"), ("[]", "is no object"), ('{"ips": 1}', "ips that are no list")],
)
def test_an_answer_that_means_nothing(cni: Cni, said: str, why: str) -> None:
    cni.write("web", {"type": "first", "say": said})

    with pytest.raises(NetworkError, match=why):
        cni.attachment("web").add()


@pytest.mark.parametrize("content", ["", "no program"])
def test_what_cannot_be_executed(cni: Cni, content: str) -> None:
    (cni.bin / "first").write_text(content)
    (cni.bin / "first").chmod(0o644)

    with pytest.raises(NetworkError, match=f"CNI plugin first: ADD: {cni.bin}/first cannot be run: "):
        cni.attachment("web").add()


def test_whoever_a_late_plugin_has_started_is_ended(cni: Cni) -> None:
    """In a session of its own, too."""
    cni.write("web", {"type": "first", "escape": ["ADD"], "wait": ["ADD"]})

    with pytest.raises(NetworkError, match="CNI plugin first: ADD: no end after 3 s"):
        cni.attachment("web", timeout=3).add()

    escaped = Path(cni.base / "escaped")
    assert not escaped.exists() or until(lambda: not is_alive(int(escaped.read_text() or "0")))


def test_what_a_plugin_leaves_that_succeeded_goes_on(cni: Cni) -> None:
    """Such as the name server of dnsname."""
    cni.write("web", {"type": "first", "escape": ["ADD"]})

    cni.attachment("web").add()

    pid = int(until(lambda: (cni.base / "escaped").exists() and (cni.base / "escaped").read_text()))
    assert is_alive(pid)
    os.kill(pid, 9)


def test_check_asks_every_plugin(cni: Cni) -> None:
    wanted = cni.attachment("web")
    (found,) = from_notes([wanted.to_note(wanted.add())])

    assert found.check()
    assert [(command, config["prevResult"]["by"]) for command, config, _ in cni.seen()[2:]] == [
        ("CHECK", ["first", "second"])
    ] * 2


@pytest.mark.parametrize(
    ("kind", "family", "address", "passes"),
    [
        ("portmap", "ipv6", "192.0.2.7/24", True),
        ("portmap", "ipv6", "fd00::7/64", False),
        ("portmap", "ipv4", "192.0.2.7/24", False),
        ("first", "ipv6", "192.0.2.7/24", False),
    ],
)
def test_rules_of_a_family_that_the_container_has_not(
    cni: Cni, kind: str, family: str, address: str, passes: bool
) -> None:
    """portmap 1.1 misses those of IPv6 for a container that has only IPv4; it does so without us as well."""
    cni.add("portmap")
    why = f"could not check {family} dnat: chain CNI-DN-0 not found in iptables table nat"
    cni.write("web", {"type": kind, "fail": ["CHECK"], "why": why}, {"type": "second"})
    asked = cni.attachment("web").replace(result={"ips": [{"address": address}]})

    if passes:
        assert asked.check()
        assert [config["type"] for command, config, _ in cni.seen()] == [kind, "second"]
    else:
        with pytest.raises(NetworkError, match=f"could not check {family} dnat"):
            asked.check()


@pytest.mark.parametrize(("version", "more"), [("0.3.1", {}), ("1.0.0", {"disableCheck": True})])
def test_nobody_may_ask(cni: Cni, version: str, more: dict[str, bool]) -> None:
    cni.write("web", {"type": "first"}, version=version, **more)

    assert not cni.attachment("web").check()
    assert cni.seen() == []


def test_what_is_wrong_is_told_by_check(cni: Cni) -> None:
    cni.write("web", {"type": "first", "fail": ["CHECK"]})

    with pytest.raises(NetworkError, match="network web: CNI plugin first: CHECK: no room: try again"):
        cni.attachment("web").check()
