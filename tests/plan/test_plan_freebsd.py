"""A Spec as a FreeBSD jail: parameters, order, network, devices."""

import pytest

from runjail import steps
from runjail.errors import InvalidConfig, UsageError
from runjail.plan.plan import check_allowed, make_plan
from runjail.plan.show import as_text
from runjail.spec.model import Device, Jail, Linux, Mount, Process, Resources, Root, Spec
from tests.support.plan.specs import params_of, plan_of, problems_of, spec_of

DEV = Mount("/dev", "devfs", "devfs", ("ruleset=4",))


def test_the_least_a_jail_gets() -> None:
    """Names of the host, network of the host, System V IPC of its own, nothing else of the host in sight."""
    assert params_of(spec_of()) == {
        "name": "web",
        "path": "/b/rootfs",
        "persist": None,
        "host": "inherit",
        "ip4": "inherit",
        "ip6": "inherit",
        "enforce_statfs": "2",
        "devfs_ruleset": "4",
        "sysvmsg": "new",
        "sysvsem": "new",
        "sysvshm": "new",
    }


def test_everything_in_the_order_in_which_it_is_needed() -> None:
    jail = Jail(vnet="new", vnet_interfaces=("epair0b",))
    resources = Resources(pids_limit=5, cpus="0-1")
    spec = spec_of(DEV, Mount("/dev/fd", "fdescfs"), root=Root("r", True), jail=jail, linux=Linux(resources=resources))

    assert [type(step).__name__ for step in plan_of(spec).steps] == (
        ["ReadonlyRoot", "Mount", "Mount", "CreateJail", "RctlRules", "Cpus", "MoveInterface", "Loopback"]
    )


def test_a_read_only_root_is_a_view_in_the_state_directory() -> None:
    plan = plan_of(spec_of(root=Root("rootfs", readonly=True)))

    assert plan.steps[0] == steps.ReadonlyRoot("/b/rootfs", "/s/rootfs")
    assert (plan.source, plan.root) == ("/b/rootfs", "/s/rootfs")
    assert params_of(spec_of(root=Root("rootfs", readonly=True)))["path"] == "/s/rootfs"


def test_the_working_directory_is_made_behind_a_read_only_root() -> None:
    """Nobody can make it in the view."""
    spec = spec_of(root=Root("rootfs", readonly=True), process=Process(("/bin/sh",), "/new/deep"))
    plan = plan_of(spec)

    assert plan.steps[0] == steps.ReadonlyRoot("/b/rootfs", "/s/rootfs", "/new/deep")
    assert "mkdir -p /s/rootfs /b/rootfs/new/deep\n" in as_text(plan, spec)


@pytest.mark.parametrize(
    ("path", "root"), [("rootfs", "/b/rootfs"), ("/r/", "/r"), ("./a//b/", "/b/a/b"), ("../r", "/r"), (".", "/b")]
)
def test_the_root_is_read_relative_to_the_bundle(path: str, root: str) -> None:
    assert plan_of(spec_of(root=Root(path))).root == root


def test_nothing_is_mounted_over_the_hosts_own_root() -> None:
    assert (
        "root.path: mounts in a container whose root is / would cover" in problems_of(spec_of(DEV, root=Root("/")))[0]
    )
    assert plan_of(spec_of(root=Root("/"))).root == "/"


def test_names_make_the_host_part_the_jails_own() -> None:
    params = list(params_of(spec_of(hostname="h", domainname="d.example")).items())

    assert params[3:6] == [("host", "new"), ("host.hostname", "h"), ("host.domainname", "d.example")]


def test_host_new_without_names_hides_those_of_the_host() -> None:
    assert params_of(spec_of(jail=Jail(host="new")))["host"] == "new"


def test_a_parent_makes_a_child_jail() -> None:
    plan = plan_of(spec_of(jail=Jail(parent="pod"), linux=Linux(resources=Resources(pids_limit=9))))

    assert plan.name == "pod.web"
    assert plan.steps[-1] == steps.RctlRules("pod.web", ("maxproc:deny=9",))
    assert params_of(spec_of(jail=Jail(parent="pod")))["name"] == "pod.web"


def test_a_parent_may_have_no_system_v_to_give() -> None:
    """15.1 refuses sysvmsg=new and =inherit below a jail whose own is disabled, podman's network jails for one."""
    params = params_of(spec_of(jail=Jail(parent="pod", sysvshm="inherit")))

    assert {name: value for name, value in params.items() if name.startswith("sysv")} == {"sysvshm": "inherit"}


def test_a_name_too_long_below_its_parent_is_refused() -> None:
    spec = spec_of(jail=Jail(parent="p" * 250))
    with pytest.raises(UsageError, match="256 bytes"):
        make_plan(spec, container_id="abcde", bundle="/b", state="/s", os="freebsd")


def network_of(jail: Jail) -> dict[str, str | None]:
    return {key: value for key, value in params_of(spec_of(jail=jail)).items() if key[:2] in ("ip", "vn")}


@pytest.mark.parametrize(
    ("jail", "params"),
    [
        (Jail(), {"ip4": "inherit", "ip6": "inherit"}),
        (Jail(vnet="inherit"), {"ip4": "inherit", "ip6": "inherit"}),
        (Jail(vnet="new"), {"vnet": "new"}),
        (Jail(ip4="disable"), {"ip4": "disable"}),
        (Jail(ip4="inherit"), {"ip4": "inherit"}),
        (Jail(ip4_addr=("10.0.0.1", "lo1|10.0.0.2/24")), {"ip4.addr": "10.0.0.1,10.0.0.2"}),
        (Jail(ip4="new", ip4_addr=("10.0.0.1",)), {"ip4": "new", "ip4.addr": "10.0.0.1"}),
        (Jail(ip6_addr=("fd00::1/64",), ip4="inherit"), {"ip4": "inherit", "ip6.addr": "fd00::1"}),
    ],
)
def test_what_is_not_said_about_the_network_stays_off_once_anything_is(jail: Jail, params: dict[str, str]) -> None:
    assert network_of(jail) == params


def test_inherit_and_addresses_contradict_each_other() -> None:
    problems = problems_of(spec_of(jail=Jail(ip4="inherit", ip4_addr=("10.0.0.1",))))

    assert problems == ('freebsd.jail.ip4: "inherit" contradicts ip4Addr, of which the kernel takes only one',)


def test_addresses_are_put_on_interfaces_before_the_jail_exists() -> None:
    jail = Jail(interface="em0", ip4_addr=("10.0.0.1", "10.0.0.2/24", "lo1|10.0.0.3"), ip6_addr=("fd00::1",))

    assert plan_of(spec_of(jail=jail)).steps[:4] == (
        steps.AddressAlias("em0", "inet", "10.0.0.1/32"),
        steps.AddressAlias("em0", "inet", "10.0.0.2/24"),
        steps.AddressAlias("lo1", "inet", "10.0.0.3/32"),
        steps.AddressAlias("em0", "inet6", "fd00::1/128"),
    )


def test_addresses_without_an_interface_are_taken_as_they_are() -> None:
    assert len(plan_of(spec_of(jail=Jail(ip4_addr=("10.0.0.1/24",)))).steps) == 1


def test_a_network_stack_of_its_own_gets_its_interfaces_and_a_loopback() -> None:
    plan = plan_of(spec_of(jail=Jail(vnet="new", vnet_interfaces=("epair0b", "tap0"))))

    assert plan.steps[1:] == (steps.MoveInterface("epair0b"), steps.MoveInterface("tap0"), steps.Loopback())


def test_permissions_keep_the_kernels_default_unless_mentioned() -> None:
    jail = Jail(allow=(("raw_sockets", True), ("chflags", False)))
    said = [key for key in params_of(spec_of(jail=jail)) if key.startswith("allow")]

    assert said == ["allow.raw_sockets", "allow.nochflags"]


def test_mounting_inside_needs_to_see_the_mounts() -> None:
    params = params_of(spec_of(jail=Jail(allow_mount=("tmpfs", "devfs"))))

    assert [key for key in params if key.startswith("allow")] == [
        "allow.mount",
        "allow.mount.tmpfs",
        "allow.mount.devfs",
    ]
    assert params["enforce_statfs"] == "1"


@pytest.mark.parametrize("value", [0, 1, 2])
def test_enforce_statfs_and_system_v_are_taken_as_said(value: int) -> None:
    params = params_of(spec_of(jail=Jail(enforce_statfs=value, sysvshm="inherit", sysvmsg="disable")))

    assert (params["enforce_statfs"], params["sysvshm"], params["sysvmsg"]) == (str(value), "inherit", "disable")


@pytest.mark.parametrize(("options", "ruleset"), [(("ruleset=7",), "7"), ((), "4"), (("ruleset=0",), None)])
def test_a_devfs_mounted_inside_shows_no_more_than_ours(options: tuple[str, ...], ruleset: str | None) -> None:
    assert params_of(spec_of(Mount("/dev", "devfs", "devfs", options))).get("devfs_ruleset") == ruleset


def rules_of(*mounts: Mount, devices: tuple[Device, ...] = ()) -> tuple[str, ...]:
    plan = plan_of(spec_of(*mounts, devices=devices))
    return next(step.rules for step in plan.steps if isinstance(step, steps.Mount) and step.fstype == "devfs")


def test_device_modes_are_decimal_in_the_document_and_octal_in_rules() -> None:
    assert rules_of(DEV, devices=(Device("pf", 448), Device("bpf"))) == ("path pf unhide mode 700", "path bpf unhide")


def test_a_device_in_a_directory_needs_the_directory() -> None:
    assert rules_of(DEV, devices=(Device("a/b/c", 0o600),)) == (
        "path a unhide",
        "path a/b unhide",
        "path a/b/c unhide mode 600",
    )


def test_devices_need_a_devfs_to_be_seen_in() -> None:
    assert problems_of(spec_of(devices=(Device("pf"),))) == (
        "freebsd.devices: no devfs is mounted on /dev to show them in",
    )


def test_what_is_mounted_on_dev_shm_makes_it_visible() -> None:
    shm = Mount("/dev/shm", "tmpfs")

    assert rules_of(DEV, shm) == ("path shm unhide",)
    assert rules_of(DEV.replace(options=("ruleset=0",)), shm) == ()
    said = "path shm unhide mode 1777"
    assert rules_of(DEV.replace(options=(f"rule={said}",)), shm) == (said,)


def test_all_problems_are_told_at_once() -> None:
    spec = spec_of(
        Mount("/proc", "proc"),
        Mount("/", "tmpfs"),
        Mount("/t", "tmpfs", "", ("size=lots", "nosuid", "bogus")),
        devices=(Device("pf"),),
        annotations=(("org.runjail.rctl.bogus", "deny=1"),),
    )

    assert [problem.partition(": ")[0] for problem in problems_of(spec)] == [
        "annotations[org.runjail.rctl.bogus]",
        "mounts[0].type",
        "mounts[1].destination",
        "mounts[2].options[0]",
        "mounts[2].options[2]",
        "freebsd.devices",
    ]


# What only FreeBSD has ------------------------------------------------------------------------------------------------


def kinds_of(spec: Spec) -> list[str]:
    return [type(step).__name__ for step in plan_of(spec).steps]


def labels_of(spec: Spec, bundle: str = "/b") -> dict[str, str]:
    plan = make_plan(spec, container_id="web", bundle=bundle, state="/s", os="freebsd")
    return dict(next(step for step in plan.steps if isinstance(step, steps.CreateJail)).labels)


def test_a_jail_says_which_container_it_is() -> None:
    assert labels_of(spec_of()) == {"meta.org.runjail.id": "web", "meta.org.runjail.bundle": "/b"}
    assert labels_of(spec_of(), "/a\nb") == {"meta.org.runjail.id": "web"}, "a text is a line"


def test_parameters_of_annotations_come_last() -> None:
    given = (("env.A", "b"), ("securelevel", "2"))
    params = params_of(spec_of(jail=Jail(params=given)))

    assert list(params.items())[-2:] == list(given)


def test_a_dataset_of_its_own_comes_after_the_jail_and_can_be_mounted() -> None:
    spec = spec_of(jail=Jail(datasets=("tank/a", "tank/b")))
    params = params_of(spec)

    assert kinds_of(spec) == ["CreateJail", "JailDataset", "JailDataset"]
    assert (params["enforce_statfs"], params["allow.mount"], params["allow.mount.zfs"]) == ("1", None, None)
    assert params_of(spec_of(jail=Jail(datasets=("tank/a",), allow_mount=("zfs",)))) == params


@pytest.mark.parametrize("jail", [Jail(image_os="linux"), Jail(params=(("linux.osrelease", "6.1.0"),))])
def test_a_linux_container_looks_for_its_kernel_module_first(jail: Jail) -> None:
    assert kinds_of(spec_of(jail=jail)) == ["LinuxPrograms", "CreateJail"]
    assert "\nkldload -n linux64\n" in as_text(plan_of(spec_of(jail=jail)), spec_of(jail=jail))


def test_a_freebsd_container_does_not() -> None:
    assert kinds_of(spec_of(jail=Jail(image_os="freebsd"))) == ["CreateJail"]


def test_linux_has_no_datasets_to_give() -> None:
    spec = spec_of(jail=Jail(datasets=("tank/a",)))

    assert problems_of(spec, "linux") == ('annotations["org.runjail.zfs.dataset"]: the Linux host cannot do this',)


def test_what_is_not_granted_is_refused_with_the_place_where_it_would_be() -> None:
    jail = Jail(needs_grant=(("org.freebsd.jail.allow.settime", "allow.settime"), ("x", "children.max")))

    check_allowed(spec_of(jail=jail), "/etc/runjail.toml", ["children.max", "allow.settime"])
    with pytest.raises(InvalidConfig) as caught:
        check_allowed(spec_of(jail=jail), "/etc/runjail.toml", ["children.max"])
    [problem] = caught.value.problems
    assert problem == (
        'annotations["org.freebsd.jail.allow.settime"]: '
        'needs "allow.settime" in the list allow of [jail] in /etc/runjail.toml'
    )
