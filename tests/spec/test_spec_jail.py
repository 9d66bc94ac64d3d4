"""The freebsd section and the annotations end in one Jail, and never contradict each other in silence."""

from typing import Any

import pytest

from runjail.errors import InvalidConfig
from runjail.spec.annotations import FILE_SYSTEMS, PERMISSIONS
from runjail.spec.model import Jail
from runjail.spec.parse import parse
from runjail.spec.schema import JAIL
from tests.spec.bad_configs import CONFIG
from tests.spec.documents import CONFIGS

PREFIX = "org.freebsd."


def jail(section: dict[str, Any] | None = None, /, **annotations: str) -> Jail:
    """Return what a section and annotations (without `org.freebsd.`, `__` for a dot) make together."""
    said = {PREFIX + key.replace("__", "."): value for key, value in annotations.items()}
    return parse(CONFIG | {"freebsd": {"jail": section or {}}, "annotations": said}, "freebsd").freebsd.jail


def refused(section: dict[str, Any] | None = None, /, **annotations: str) -> str:
    """Return the text of the error."""
    with pytest.raises(InvalidConfig) as caught:
        jail(section, **annotations)
    return str(caught.value)


def test_whole_section() -> None:
    assert parse(CONFIGS["jail-freebsd"], "freebsd").freebsd.jail == Jail(
        parent="pods.web",
        host="new",
        ip4="new",
        ip4_addr=("10.1.2.3", "lo1|10.1.2.4/32"),
        ip6="new",
        ip6_addr=("fd10::11:12:13/64",),
        interface="lo1",
        sysvmsg="disable",
        sysvsem="inherit",
        sysvshm="new",
        enforce_statfs=1,
        allow=(
            ("chflags", True),
            ("mlock", True),
            ("quotas", False),
            ("raw_sockets", True),
            ("reserved_ports", False),
            ("set_hostname", False),
            ("socket_af", True),
            ("suser", True),
        ),
        allow_mount=("nullfs", "tmpfs"),
    )


def test_own_network_stack() -> None:
    found = parse(CONFIGS["vnet-freebsd"], "freebsd").freebsd.jail

    assert (found.vnet, found.vnet_interfaces) == ("new", ("epair0b", "em0.5"))


def test_nothing_said_is_nothing_decided() -> None:
    """The planner and the kernel choose; a permission that is absent is not a permission that is denied."""
    assert jail() == jail({"allow": None, "ip4Addr": []}) == Jail()


def test_every_permission_of_the_section_reaches_the_jail() -> None:
    words = [key for key in JAIL["properties"]["allow"]["properties"] if key != "mount"]
    for value in (True, False):
        assert [said for _, said in jail({"allow": dict.fromkeys(words, value)}).allow] == [value] * len(words)


def test_annotations_of_podman() -> None:
    assert parse(CONFIGS["podman-freebsd"], "freebsd").freebsd.jail == Jail(vnet="new", allow=(("raw_sockets", True),))
    assert parse(CONFIGS["podman-pod-freebsd"], "freebsd").freebsd.jail == Jail(
        parent="vnet-6f2c8f5e-0d59-4a7e-8f8e-1d7d1f8a7c11", sysvshm="new", sysvsem="inherit"
    )


@pytest.mark.parametrize("spelling", ["jail__ip6__addr", "jail__ip6__add"])
def test_addresses_in_annotations(spelling: str) -> None:
    """ocijail reads `ip6.add`; both are lists with commas."""
    found = jail(**{spelling: "fd00::1, fd00::2/64", "jail__ip4__addr": "em0|10.0.0.1/24"})

    assert (found.ip4_addr, found.ip6_addr) == (("em0|10.0.0.1/24",), ("fd00::1", "fd00::2/64"))


@pytest.mark.parametrize("name", sorted(PERMISSIONS - {"mount"}))
@pytest.mark.parametrize(("word", "value"), [("true", True), ("1", True), ("false", False), ("0", False)])
def test_permissions_in_annotations(name: str, word: str, value: bool) -> None:
    assert jail(**{f"jail__allow__{name}": word}).allow == ((name, value),)


@pytest.mark.parametrize("name", sorted(FILE_SYSTEMS))
def test_file_systems_in_annotations(name: str) -> None:
    """Mounting needs enforce_statfs below 2; annotations cannot set it, so the planner has to choose."""
    assert jail(**{f"jail__allow__mount__{name}": "1"}) == Jail(allow_mount=(name,))
    assert jail(**{f"jail__allow__mount__{name}": "0"}) == Jail()


def test_mounting_in_general() -> None:
    assert jail(jail__allow__mount="true") == Jail(allow=(("mount", True),))
    assert jail({"enforceStatfs": 0}, jail__allow__mount="true").enforce_statfs == 0
    assert "needs freebsd.jail.enforceStatfs 0 or 1" in refused({"enforceStatfs": 2}, jail__allow__mount="true")


@pytest.mark.parametrize(
    "name", ["setaudit", "unprivileged_parent_tampering", "vmm", "mount.ext2fs", "mount.", "", "RAW_SOCKETS"]
)
def test_permissions_that_annotations_cannot_give(name: str) -> None:
    """Ignoring one would run another jail than the one asked for."""
    key = f"jail__allow__{name}"

    assert f'annotations["org.freebsd.jail.allow.{name}"]: is not a jail permission' in refused(**{key: "true"})


@pytest.mark.parametrize("key", ["jail__jid", "jail__osrelease", "jail__ip4", "other", "jail__", "jail"])
def test_other_annotations_are_nobodys_business(key: str) -> None:
    assert jail(**{key: "anything"}) == Jail()


@pytest.mark.parametrize(
    ("section", "annotations"),
    [
        ({"vnet": "new"}, {"jail__vnet": "new"}),
        ({"parent": "pod"}, {"parentJail": "pod"}),
        ({"ip4Addr": ["10.0.0.1", "10.0.0.2"]}, {"jail__ip4__addr": "10.0.0.1,10.0.0.2"}),
        ({"sysvshm": "new"}, {"jail__sysvshm": "new"}),
        ({"allow": {"mlock": False}}, {"jail__allow__mlock": "false"}),
        ({"enforceStatfs": 1, "allow": {"mount": ["zfs"]}}, {"jail__allow__mount__zfs": "true"}),
    ],
)
def test_saying_the_same_twice_is_fine(section: dict[str, Any], annotations: dict[str, str]) -> None:
    assert jail(section, **annotations) == jail(section)


@pytest.mark.parametrize(
    ("section", "annotations", "places"),
    [
        ({"vnet": "new"}, {"jail__vnet": "inherit"}, ("freebsd.jail.vnet", "jail.vnet")),
        ({"parent": "a"}, {"parentJail": "b"}, ("freebsd.jail.parent", "parentJail")),
        ({"ip4Addr": ["10.0.0.1"]}, {"jail__ip4__addr": "10.0.0.2"}, ("freebsd.jail.ip4Addr", "jail.ip4.addr")),
        ({"sysvshm": "new"}, {"jail__sysvshm": "disable"}, ("freebsd.jail.sysvshm", "jail.sysvshm")),
        ({"allow": {"mlock": True}}, {"jail__allow__mlock": "0"}, ("freebsd.jail.allow.mlock", "jail.allow.mlock")),
        (
            {"enforceStatfs": 1, "allow": {"mount": ["zfs"]}},
            {"jail__allow__mount__zfs": "0"},
            ("freebsd.jail.allow.mount", "jail.allow.mount.zfs"),
        ),
    ],
)
def test_contradictions_name_both_places(
    section: dict[str, Any], annotations: dict[str, str], places: tuple[str, str]
) -> None:
    error = refused(section, **annotations)

    assert f'annotations["{PREFIX}{places[1]}"]: says ' in error
    assert f", but {places[0]} says " in error


def test_inherited_stack_may_have_addresses() -> None:
    """Sharing the host's stack while seeing only some addresses is the usual FreeBSD arrangement."""
    assert jail({"vnet": "inherit", "ip4": "inherit", "ip4Addr": ["10.0.0.1"]}).ip4_addr == ("10.0.0.1",)


@pytest.mark.parametrize("name", ["web", "vnet-6f2c", "pods.web", "a%2Eb", "a_b+c", "1234"])
def test_names_of_parents(name: str) -> None:
    assert jail({"parent": name}).parent == name
    assert jail(parentJail=name).parent == name


@pytest.mark.parametrize(
    "name", ["-r", ".a", "a.", "a..b", "a b", "a:b", "a/b", "a*", "a,b", "a\n", "\u00e9", "x" * 256]
)
def test_names_that_no_parent_has(name: str) -> None:
    """Colons break rctl rules, commas split lists, a star is jail(8)'s "all"."""
    assert "must be the name of a jail" in refused({"parent": name})


@pytest.mark.parametrize(
    "address",
    ["10.0.0", "10.0.0.1 ", "10.0.0.1/", "10.0.0.1/-1", "10.0.0.1/a", "|10.0.0.1", "em0|", "", "10.0.0.1/24/8"],
)
def test_addresses_that_are_none(address: str) -> None:
    assert "freebsd.jail.ip4Addr[0]: must " in refused({"ip4Addr": [address]})


def test_a_wrong_part_does_not_cause_further_complaints() -> None:
    """Rules between fields say nothing while one of the fields is itself wrong."""
    pytest.importorskip("jsonschema")

    assert refused({"vnet": 5, "vnetInterfaces": ["em0"]}) == (
        'invalid config.json: freebsd.jail.vnet: must be "new" or "inherit", not 5'
    )
