"""Every field of the freebsd section and every annotation about the jail, read back with jls(8)."""

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from runjail.errors import HostError
from runjail.host.freebsd.structs import SZOMB
from tests.support.container.harness import until
from tests.support.freebsd.real import Real, tool

if sys.platform.startswith("freebsd"):
    from runjail.host.freebsd import libc

pytestmark = pytest.mark.freebsd

SYSV = ("disable", "new", "inherit")
PERMISSIONS = {
    "setHostname": "set_hostname", "rawSockets": "raw_sockets", "chflags": "chflags", "quotas": "quotas",
    "socketAf": "socket_af", "mlock": "mlock", "reservedPorts": "reserved_ports", "suser": "suser",
}  # fmt: skip


def jail(**section: Any) -> dict[str, Any]:
    """Return a freebsd section with these fields of its jail."""
    return {"freebsd": {"jail": section}}


def note(**annotations: str) -> dict[str, Any]:
    """Return annotations, `__` for a dot, without what is the same for all."""
    return {"annotations": {f"org.freebsd.jail.{key.replace('__', '.')}": text for key, text in annotations.items()}}


def test_a_document_that_says_nothing(real: Real) -> None:
    """Names and network of the host, System V IPC of its own, and none of the permissions that the kernel withholds."""
    real.build()

    assert real.jls("path", "host", "ip4", "ip6", "enforce_statfs", "devfs_ruleset", "children.max", "securelevel") == (
        [os.path.realpath(real.root), "inherit", "inherit", "inherit", "2", "4", "0", "-1"]
    )
    assert real.jls("sysvmsg", "sysvsem", "sysvshm", "persist", "vnet") == ["new", "new", "new", "true", "inherit"]
    assert real.jls("allow.raw_sockets", "allow.chflags", "allow.mount", "allow.mlock") == ["false"] * 4


@pytest.mark.parametrize(
    ("config", "param", "value"),
    [
        (jail(host="new") | {"hostname": "web.example"}, "host.hostname", "web.example"),
        (jail(host="new") | {"domainname": "example"}, "host.domainname", "example"),
        ({"hostname": "says-it-all"}, "host", "new"),
        (jail(host="inherit"), "host.hostname", os.uname().nodename),
        (jail(ip4="new"), "ip4", "disable"),  # what the kernel calls no address at all
        (jail(ip4="inherit"), "ip4", "inherit"),
        (jail(ip4="disable"), "ip4", "disable"),
        (jail(ip6="new"), "ip6", "disable"),
        (jail(ip6="inherit"), "ip6", "inherit"),
        (jail(ip6="disable"), "ip6", "disable"),
        (jail(ip4Addr=["127.0.0.1"]), "ip4.addr", ["127.0.0.1"]),
        (jail(ip4Addr=["127.0.0.1", "10.0.2.15/24"]), "ip4.addr", ["127.0.0.1", "10.0.2.15"]),
        (jail(ip4Addr=["127.0.0.1"]), "ip6", "disable"),
        (jail(ip6Addr=["::1/128"]), "ip6.addr", ["::1"]),
        (jail(interface="lo0", ip4Addr=["10.77.77.3/32"]), "ip4.addr", ["10.77.77.3"]),
        (jail(ip4Addr=["lo0|10.77.77.4/32"]), "ip4.addr", ["10.77.77.4"]),
        (jail(vnet="new"), "vnet", "new"),
        (jail(vnet="inherit"), "vnet", "inherit"),
        (note(securelevel="2"), "securelevel", "2"),
        (note(osrelease="14.2-RELEASE-p1"), "osrelease", "14.2-RELEASE-p1"),
        (note(osreldate="1402000"), "osreldate", "1402000"),
        (note(children__max="3"), "children.max", "3"),
        (note(allow__read_msgbuf="true"), "allow.read_msgbuf", "true"),
        (note(allow__sysvipc="true"), "allow.sysvipc", "true"),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value),
)
def test_a_field_is_what_jls_says(real: Real, config: dict[str, Any], param: str, value: Any) -> None:
    real.build(**config)

    assert real.jls(param) == value


@pytest.mark.parametrize("value", SYSV)
def test_system_v(real: Real, value: str) -> None:
    real.build(**jail(sysvmsg=value, sysvsem=value, sysvshm=value))

    assert real.jls("sysvmsg", "sysvsem", "sysvshm") == [value] * 3


@pytest.mark.parametrize("value", [0, 1, 2])
def test_enforce_statfs(real: Real, value: int) -> None:
    real.build(**jail(enforceStatfs=value))

    assert real.jls("enforce_statfs") == str(value)


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("field", PERMISSIONS)
def test_permissions(real: Real, field: str, value: bool) -> None:
    real.build(**jail(allow={field: value}))

    assert real.jls(f"allow.{PERMISSIONS[field]}") == str(value).lower()


@pytest.mark.parametrize("fstype", ["tmpfs", "nullfs", "devfs", "procfs", "fdescfs", "zfs"])
def test_file_systems_it_may_mount(real: Real, fstype: str) -> None:
    """jail(8) loads the module; mounting needs a smaller enforce_statfs, which runjail chooses."""
    real.build(**jail(allow={"mount": [fstype]}))

    assert real.jls(f"allow.mount.{fstype}", "allow.mount", "enforce_statfs") == ["true", "true", "1"]


# Texts that the kernel keeps ------------------------------------------------------------------------------------------


@pytest.fixture
def labelled(real: Real) -> Real:
    """A container on a kernel that keeps texts with jails."""
    if b"4096" not in tool("sysctl", "-n", "security.jail.meta_maxbufsize").encode():
        pytest.skip("needs a kernel with the jail parameter meta")
    return real


def test_jls_shows_which_container_it_is(labelled: Real) -> None:
    labelled.build()

    assert labelled.jls("meta.org.runjail.id") == labelled.name
    assert labelled.jls("meta.org.runjail.bundle") == str(labelled.base)


def test_texts_of_annotations(labelled: Real) -> None:
    labelled.build(**note(meta__note='it\'s "quoted" = $x', env__A="1", env__B=""))

    assert labelled.jls("meta.note") == 'it\'s "quoted" = $x'
    assert sorted(labelled.jls("env").split("\n")) == ["A=1", "B="]
    read = labelled.libc.sysctl
    assert "A=1" in labelled.inside(lambda: read("security.jail.env", 4096).decode())
    assert "note" not in labelled.inside(lambda: read("security.jail.env", 4096).decode()), "meta is hidden inside"


@pytest.mark.parametrize("size", [4000, 4096 - len("a=\n") - 1])
def test_the_longest_texts_are_kept(labelled: Real, size: int) -> None:
    """Ours are left out then, and the kernel does not choke: see the next one."""
    labelled.build(**note(env__a="x" * size))

    assert labelled.jls("env.a") == "x" * size


def test_longer_ones_are_refused_before_a_jail_is_left_for_ever(labelled: Real) -> None:
    before = tool("jls", "-d", "jid")
    with pytest.raises(HostError, match=r"env\.\*: more than 4096 bytes"):
        labelled.build(**note(env__a="x" * 4096))

    assert tool("jls", "-d", "jid") == before


# Parents and children -------------------------------------------------------------------------------------------------


@pytest.fixture
def parent(real: Real) -> Iterator[str]:
    """Return the name of a jail that containers can be made in."""
    name = f"{real.name}p"
    tool("jail", "-c", f"name={name}", "path=/", "persist", "children.max=0", "sysvshm=new")
    yield name
    real.undo()
    tool("jail", "-R", name)


def test_a_container_below_a_parent(real: Real, parent: str) -> None:
    """A parent's children.max counts only those that are made from inside it."""
    real.build(**jail(parent=parent))

    assert real.host_state.name == f"{parent}.{real.name}"
    assert real.jls("parent", "sysvshm") == [tool("jls", "-j", parent, "jid").strip(), "disable"]
    pid = real.sleeper()
    assert real.host.processes(real.host_state) == [pid]
    real.undo()
    os.waitpid(pid, 0)
    assert real.libc.jail(real.host_state.name) is None
    assert real.libc.jail(parent)


def test_a_parent_that_is_not_there(real: Real) -> None:
    with pytest.raises(HostError, match='jail "nosuch" not found'):
        real.build(**jail(parent="nosuch"))


@pytest.mark.parametrize(("most", "text"), [("0", "not permitted"), ("1", "limit exceeded")])
def test_children_made_inside_are_counted(real: Real, monkeypatch: pytest.MonkeyPatch, most: str, text: str) -> None:
    monkeypatch.setitem(libc.SIGNATURES, "jail_set", "PIi")
    real.build(**note(children__max=most))

    def make() -> object:
        made = []
        for name in ("a", "b"):
            try:
                params = [("name", name), ("path", "/"), ("persist", None)]
                made.append(bool(real.libc._call_pairs("jail_set", params, 1)))
            except OSError as error:
                return made, error.strerror
        return made

    said = real.inside(make).lower()

    assert said.startswith("([true]" if most == "1" else "([]")
    assert text in said
    assert real.jls("children.cur") == most


# Dying ----------------------------------------------------------------------------------------------------------------


def test_an_uncollected_zombie_keeps_the_jail_dying_and_the_name_free(real: Real) -> None:
    real.create()
    first, pid = real.host_state.jid, real.sleeper()
    real.undo()

    dying = real.libc.jail(first, dying=True)
    process = real.libc.process(pid)
    assert dying and process and process.state == SZOMB
    real.host_state.jid = 0
    real.create()
    assert real.host_state.jid != first
    os.waitpid(pid, 0)
    until(lambda: real.libc.jail(first, dying=True) is None)  # the kernel lets go of it in its own time


def test_an_open_file_that_was_passed_out_does_no_harm(real: Real) -> None:
    (real.root / "etc/held").write_text("x")
    real.create()
    reading, writing = os.pipe()
    first = real.host_state.jid
    real.inside(lambda: os.write(writing, b"in"), [writing])

    real.undo()

    assert os.read(reading, 2) == b"in"
    os.close(reading)
    os.close(writing)
    assert real.libc.jail(first) is None


def test_removal_by_descriptor_leaves_no_jail_behind(real: Real) -> None:
    """Entering by descriptor would: that is why the host does not."""
    before = tool("jls", "-d", "jid")
    for _ in range(5):
        real.create()
        real.undo()
        real.notes.clear()
        real.host_state.jid = 0

    assert tool("jls", "-d", "jid") == before


def test_a_descriptor_stands_for_one_jail(real: Real) -> None:
    real.create()
    descriptor = real.libc.jail_descriptor(real.host_state.jid)
    if descriptor < 0:
        pytest.skip("needs a kernel with jail descriptors")
    try:
        assert not os.get_inheritable(descriptor)
        found = real.libc.jail_behind(descriptor)
        assert found == real.libc.jail(real.host_state.jid)
        tool("jail", "-m", f"jid={real.host_state.jid}", f"name={real.name}x")
        renamed = real.libc.jail_behind(descriptor)
        assert renamed and renamed.name == f"{real.name}x"
        tool("jail", "-m", f"jid={real.host_state.jid}", f"name={real.name}")
        real.libc.jail_remove_jd(descriptor)
        assert real.libc.jail_behind(descriptor) is None
    finally:
        os.close(descriptor)
    with pytest.raises(OSError, match="not found"):
        real.libc.jail_descriptor(real.host_state.jid)
