"""A Spec as Linux namespaces, FreeBSD's words included."""

from typing import Any

import pytest

from runjail import steps
from runjail.plan.show_linux import write_list
from runjail.spec.model import (
    IdMappings,
    Jail,
    Linux,
    LinuxDevice,
    Mount,
    Namespace,
    Process,
    Resources,
    Root,
    Spec,
    User,
)
from tests.support.plan.specs import mount_of, plan_of, problems_of, spec_of

DEV = Mount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k"))


def step_of(spec: Spec, kind: type[Any]) -> Any:
    return next(step for step in plan_of(spec, "linux").steps if isinstance(step, kind))


def namespaces_of(*listed: Namespace, **fields: object) -> steps.CreateNamespaces:
    return step_of(spec_of(linux=Linux(namespaces=listed), **fields), steps.CreateNamespaces)


def test_only_the_control_group_is_made_outside() -> None:
    spec = spec_of(
        Mount("/dev", "devfs"),
        linux=Linux(resources=Resources(pids_limit=5), masked_paths=("/proc/kcore",), sysctl=(("kernel.sem", "1"),)),
    )
    planned = plan_of(spec, "linux").steps

    kinds = ["Cgroup", "CreateNamespaces", "Mount", "Mount", "DeviceNodes", "Sysctls", "MaskPaths"]
    assert [type(step).__name__ for step in planned] == kinds
    assert [step.inside for step in planned] == [False] + [True] * 6


def test_a_tmpfs_turns_read_only_when_everything_is_in_it() -> None:
    spec = spec_of(
        Mount("/dev", "tmpfs", "tmpfs", ("ro", "nosuid")),
        Mount("/dev/shm", "tmpfs"),
        Mount("/mnt", "bind", "/mnt", ("ro",)),
        linux=Linux(readonly_paths=("/proc/sys",)),
    )

    assert step_of(spec, steps.MaskPaths).readonly == ("/dev", "/proc/sys")
    assert isinstance(plan_of(spec, "linux").steps[-1], steps.MaskPaths)


def test_namespaces_when_the_document_names_none() -> None:
    made = step_of(spec_of(hostname="h", root=Root("r", readonly=True)), steps.CreateNamespaces)

    assert made == steps.CreateNamespaces(("pid", "mount", "ipc", "uts"), hostname="h", readonly=True, bundle="/b")


@pytest.mark.parametrize("jail", [Jail(vnet="new"), Jail(ip4="disable", ip6="disable")])
def test_a_vnet_is_a_network_namespace(jail: Jail) -> None:
    assert "network" in step_of(spec_of(jail=jail), steps.CreateNamespaces).new


def test_listed_namespaces_are_made_or_joined_and_mounts_are_always_our_own() -> None:
    made = namespaces_of(Namespace("network", "/run/n"), Namespace("pid"), Namespace("cgroup"))

    assert made.new == ("pid", "mount", "cgroup")
    assert made.join == (("network", "/run/n"),)


def test_a_mount_namespace_cannot_be_joined() -> None:
    spec = spec_of(linux=Linux(namespaces=(Namespace("mount", "/run/m"),)))

    assert problems_of(spec, "linux")[0].startswith("linux.namespaces: a mount namespace cannot be shared")


@pytest.mark.parametrize(
    ("field", "jail"),
    [
        ("parent", Jail(parent="pod")),
        ("interface", Jail(interface="em0")),
        ("ip4Addr", Jail(ip4_addr=("10.0.0.1",))),
        ("vnetInterfaces", Jail(vnet="new", vnet_interfaces=("epair0b",))),
    ],
)
def test_a_promise_about_the_network_that_linux_cannot_keep_is_an_error(field: str, jail: Jail) -> None:
    assert problems_of(spec_of(jail=jail), "linux") == (f"freebsd.jail.{field}: the Linux host cannot do this",)


def test_options_become_flags_propagation_and_data() -> None:
    made = mount_of("nosuid", "nodev", "rslave", "mode=755", "size=1m", "newinstance", type="tmpfs", os="linux")

    assert (made.flags, made.propagation) == (("nosuid", "nodev"), ("rslave",))
    assert made.data == (("mode", "755"), ("size", "1m"), ("newinstance", ""))
    assert made.inside


def test_a_bind_mount_has_no_options_of_a_file_system() -> None:
    (problem,) = problems_of(spec_of(Mount("/x", "bind", "/v", ("rbind", "bogus"))), "linux")

    assert problem == "mounts[0].options[1]: 'bogus': not an option of a bind mount"


@pytest.mark.parametrize(
    ("type", "linux"), [("procfs", "proc"), ("linprocfs", "proc"), ("linsysfs", "sysfs"), ("proc", "proc")]
)
def test_freebsd_file_systems_have_linux_counterparts(type: str, linux: str) -> None:
    assert mount_of(type=type, os="linux").fstype == linux


def test_devfs_becomes_a_tmpfs_with_terminals_and_fdescfs_a_link() -> None:
    spec = spec_of(Mount("/dev", "devfs", "devfs", ("ruleset=4", "rule=path shm unhide")), Mount("/dev/fd", "fdescfs"))
    mounts = [step for step in plan_of(spec, "linux").steps if isinstance(step, steps.Mount)]

    assert [(step.fstype, step.destination) for step in mounts] == [("tmpfs", "/dev"), ("devpts", "/dev/pts")]
    assert mounts[0].data == (("mode", "755"), ("size", "65536k"))
    assert ("/dev/fd", "/proc/self/fd") in step_of(spec, steps.DeviceNodes).links


def test_words_of_devfs_are_those_of_its_tmpfs() -> None:
    """What the document says counts; what tmpfs does not know the kernel refuses."""
    made = mount_of("size=1m", "uid=5", "ruleset=4", type="devfs", os="linux")

    assert made.data == (("mode", "755"), ("size", "1m"), ("uid", "5"))


def test_terminals_are_not_mounted_twice() -> None:
    spec = spec_of(Mount("/dev", "devfs"), Mount("/dev/pts", "devpts"))
    mounts = [step.destination for step in plan_of(spec, "linux").steps if isinstance(step, steps.Mount)]

    assert mounts == ["/dev", "/dev/pts"]


@pytest.mark.parametrize("mount", [Mount("/x/dev", "devfs"), Mount("/dev", "devfs", "/dev", ("rbind",))])
def test_terminals_come_with_a_dev_of_our_own_only(mount: Mount) -> None:
    mounts = [step.destination for step in plan_of(spec_of(mount), "linux").steps if isinstance(step, steps.Mount)]

    assert mounts == [mount.destination]


def test_a_dataset_needs_freebsd() -> None:
    assert problems_of(spec_of(Mount("/x", "zfs", "pool/x")), "linux")[0].startswith("mounts[0].type: datasets")


def test_devices_of_the_document_add_to_the_usual_ones() -> None:
    devices = (LinuxDevice("/dev/fuse", "c", 10, 229, 0o600, 1, 2), LinuxDevice("/dev/tty", "c", 5, 0, 0o620))
    nodes = {node[0]: node for node in step_of(spec_of(DEV, linux=Linux(devices=devices)), steps.DeviceNodes).nodes}

    assert len(nodes) == 7
    assert nodes["/dev/null"] == ("/dev/null", "c", 1, 3, 0o666, 0, 0)
    assert nodes["/dev/fuse"] == ("/dev/fuse", "c", 10, 229, 0o600, 1, 2)
    assert nodes["/dev/tty"][4] == 0o620


@pytest.mark.parametrize("mounts", [(), (Mount("/dev", "bind", "/dev", ("rbind",)),)])
def test_nodes_are_made_in_a_dev_of_our_own_only(mounts: tuple[Mount, ...]) -> None:
    assert not any(isinstance(step, steps.DeviceNodes) for step in plan_of(spec_of(*mounts), "linux").steps)
    spec = spec_of(*mounts, linux=Linux(devices=(LinuxDevice("/dev/fuse", "c", 10, 229),)))
    assert problems_of(spec, "linux") == ("linux.devices: need a tmpfs on /dev to be made in",)


@pytest.mark.parametrize("path", ["/etc/x", "/dev/../x", "/dev/"])
def test_devices_lie_below_dev(path: str) -> None:
    spec = spec_of(DEV, linux=Linux(devices=(LinuxDevice(path, "c"),)))

    assert problems_of(spec, "linux") == ("linux.devices[0].path: must be a path below /dev",)


@pytest.mark.parametrize(
    ("key", "owner"),
    [("net.ipv4.ip_forward", "network"), ("kernel.shmmax", ""), ("kernel.domainname", ""), ("fs.mqueue.x", "")],
)
def test_kernel_settings_stay_in_namespaces_of_the_container(key: str, owner: str) -> None:
    """By default the network is the host's, everything else is the container's."""
    spec = spec_of(linux=Linux(sysctl=((key, "1"),)))
    if owner:
        assert problems_of(spec, "linux") == (f"linux.sysctl.{key}: needs a {owner} namespace of the container's own",)
    else:
        assert step_of(spec, steps.Sysctls).values == ((key, "1"),)


IDS = IdMappings(((0, 1000, 3),), ((0, 2000, 4),))


def test_a_user_namespace_is_first_and_ids_are_its_own() -> None:
    spec = spec_of(
        linux=Linux(namespaces=(Namespace("pid"), Namespace("user")), mappings=IDS), process=Process(("sh",))
    )
    made = step_of(spec, steps.CreateNamespaces)

    assert (made.new, made.mappings) == (("user", "pid", "mount"), IDS)
    assert "users 0-2 are 1000-1002, groups 0-3 are 2000-2003" in write_list(plan_of(spec, "linux"), spec)


def test_ids_that_a_user_namespace_does_not_have() -> None:
    user = User(3, 4, additional_gids=(3, 4))
    linux = Linux(namespaces=(Namespace("user"),), mappings=IDS)
    spec = spec_of(Mount("/x", "tmpfs", options=("uid=2", "gid=4")), linux=linux, process=Process(("sh",), user=user))

    assert problems_of(spec, "linux") == (
        "process.user.uid: 3 is not mapped by linux.uidMappings",
        "process.user.gid: 4 is not mapped by linux.gidMappings",
        "process.user.additionalGids[1]: 4 is not mapped by linux.gidMappings",
        "mounts[0].options[1]: 4 is not mapped by linux.gidMappings",
    )


@pytest.mark.parametrize(("size", "group"), [(5, False), (6, True)])
def test_terminals_have_a_group_where_it_is_one(size: int, group: bool) -> None:
    linux = Linux(namespaces=(Namespace("user"),), mappings=IdMappings(((0, 1, 1),), ((0, 1, size),)))
    planned = plan_of(spec_of(Mount("/dev", "devfs"), linux=linux), "linux").steps

    assert [(("gid", "5") in step.data) for step in planned if isinstance(step, steps.Mount)][1:] == [group]
