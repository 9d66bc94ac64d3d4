"""The freebsd section and the annotations end in one Jail, and never contradict each other in silence."""

from typing import Any

import pytest

from runjail.errors import InvalidConfig
from runjail.spec import annotations
from runjail.spec.annotations import FILE_SYSTEMS, PERMISSIONS
from runjail.spec.freebsd import read_freebsd
from runjail.spec.model import FreeBSD, Jail
from runjail.spec.parse import JAIL_PREFIXES, parse
from runjail.spec.reader import Reader, Report
from runjail.spec.schema import JAIL
from tests.support.spec.bad_configs import CONFIG
from tests.support.spec.documents import CONFIGS

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


@pytest.mark.parametrize("name", [name for name, config in CONFIGS.items() if "freebsd" not in config])
def test_who_says_nothing_of_a_jail_gets_what_readers_of_jails_say_of_nothing(name: str) -> None:
    """They are not loaded then; every annotation that they know begins as the parser thinks."""
    silent = {key: value for key, value in CONFIGS[name].items() if key != "annotations"}
    report = Report()

    assert parse(silent, name.rpartition("-")[2]).freebsd == read_freebsd(Reader(silent, (), report)) == FreeBSD()
    known = (annotations.PARENT, annotations.JAIL, annotations.DATASET, annotations.IMAGE_OS, *annotations.CHOICES)
    assert all(key.startswith(JAIL_PREFIXES) for key in known)


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


@pytest.mark.parametrize("name", ["setaudit", "settime", "read_msgbuf", "vmm", "mount.ext2fs", "tmpfs"])
def test_permissions_that_only_the_administrator_grants(name: str) -> None:
    key = f"jail__allow__{name.replace('.', '__')}"
    found = jail(**{key: "true"})

    assert found.needs_grant == ((f"org.freebsd.jail.allow.{name}", f"allow.{name}"),)
    assert jail(**{key: "false"}).needs_grant == (), "to be without it is nobody's favour"


@pytest.mark.parametrize("name", ["mount.", "", "RAW_SOCKETS", ".raw_sockets", "raw-sockets"])
def test_what_is_no_name_of_a_permission(name: str) -> None:
    """Ignoring one would run another jail than the one asked for."""
    key = f"jail__allow__{name}"

    assert f'annotations["org.freebsd.jail.allow.{name}"]: is not the name of a jail' in refused(**{key: "true"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("securelevel", "-1"), ("securelevel", "3"), ("osrelease", "14.2-RELEASE-p1"), ("osreldate", "1402000"),
        ("linux.osname", "Linux"), ("linux.osrelease", "6.1.0"), ("linux.oss_version", "198144"),
        ("meta.org.example.note", "a = b, 'c'"), ("env.A", ""),
    ],
)  # fmt: skip
def test_parameters_that_only_annotations_have(key: str, value: str) -> None:
    assert jail(**{f"jail__{key}": value}) == Jail(params=((key, value),))


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("securelevel", "4", 'must be a number from -1 to 3, not "4"'),
        ("securelevel", "", "must be a number from -1 to 3"),
        ("securelevel", "\N{ARABIC-INDIC DIGIT ONE}", "must be a number"),
        ("osreldate", "0", "must be a number from 1"),
        ("osrelease", "15 1", "must be one word of at most 31 characters"),
        ("osrelease", "1" * 32, "must be one word of at most 31 characters"),
        ("linux.osrelease", "", "must be one word of at most 64 characters"),
        ("children.max", "many", "must be a number from 0 to 999999"),
        ("meta.a", "two\nlines", "must be one printable line"),
        ("meta.", "x", "must end in a key"),
        ("env.a b", "x", "must end in a key"),
    ],
)
def test_parameters_with_values_that_cannot_be(key: str, value: str, why: str) -> None:
    assert f'annotations["org.freebsd.jail.{key}"]: {why}' in refused(**{f"jail__{key}": value})


def test_children_need_the_administrator() -> None:
    found = jail(jail__children__max="3")

    assert (found.params, found.needs_grant) == (
        (("children.max", "3"),),
        (("org.freebsd.jail.children.max", "children.max"),),
    )
    assert jail(jail__children__max="0").needs_grant == ()


def with_annotation(key: str, value: str) -> Jail:
    return parse(CONFIG | {"annotations": {key: value}}, "freebsd").freebsd.jail


def test_datasets_of_its_own() -> None:
    assert with_annotation("org.runjail.zfs.dataset", "tank/a, tank/b-1.x:y").datasets == ("tank/a", "tank/b-1.x:y")


@pytest.mark.parametrize(
    "name", ["", "/tank", "tank/", "tank//a", "tank/..", "a@b", "-r", "1tank", "tank/a b", "t" * 256]
)
def test_what_is_no_dataset(name: str) -> None:
    with pytest.raises(InvalidConfig, match="must be the name of a ZFS dataset"):
        with_annotation("org.runjail.zfs.dataset", name)


def test_a_dataset_twice_and_a_dataset_that_nobody_can_mount() -> None:
    with pytest.raises(InvalidConfig, match="is listed twice"):
        with_annotation("org.runjail.zfs.dataset", "tank/a,tank/a")
    document = CONFIG | {
        "freebsd": {"jail": {"enforceStatfs": 2}},
        "annotations": {"org.runjail.zfs.dataset": "tank/a"},
    }
    with pytest.raises(
        InvalidConfig, match=r'annotations\["org.runjail.zfs.dataset"\]: needs freebsd.jail.enforceStatfs'
    ):
        parse(document, "freebsd")


def test_the_system_of_the_image() -> None:
    assert with_annotation("org.opencontainers.image.os", "linux").image_os == "linux"


@pytest.mark.parametrize("key", ["jail__jid", "jail__ip4", "other", "jail__", "jail"])
def test_other_annotations_are_ignored_with_a_warning(key: str) -> None:
    """A `vnett` for `vnet` leaves the container in the host's network: whoever wrote it has to hear of that."""
    assert jail(**{key: "anything"}) == Jail()
    name = f"org.freebsd.{key.replace('__', '.')}"
    said = {name: "anything", "org.freebsd.jail.vnet": "new", "com.example.x": "y"}

    assert warned_of(said, "freebsd") == [f'annotations["{name}"]']
    assert warned_of(said, "linux") == []


def warned_of(annotations: dict[str, str], os: str) -> list[str]:
    unused = parse(CONFIG | {"annotations": annotations}, os).unused
    return [path for path in unused if path.startswith("annotations")]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("jail.vnet", "new"), ("jail.ip4.addr", "10.0.0.1"), ("jail.ip6.add", "fd00::1"), ("parentJail", "pod")),
        *(("jail.allow.mlock", "true"), ("jail.securelevel", "1"), ("jail.osrelease", "15"), ("jail.meta.a", "b")),
        *(("jail.children.max", "0"), ("jail.sysvshm", "new"), ("jail.linux.osname", "Linux")),
    ],
)
def test_what_has_an_effect_is_no_reason_to_warn(key: str, value: str) -> None:
    assert warned_of({f"org.freebsd.{key}": value}, "freebsd") == []


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
