"""config.json becomes a Spec: what each engine writes, and what each value means."""

from typing import Any

import pytest

from runjail.errors import InvalidConfig
from runjail.spec.model import Device, Hook, IdMappings, Linux, Resources, Rlimit, User
from runjail.spec.parse import parse
from runjail.spec.process import parse_process
from tests.support.spec.bad_configs import CONFIG
from tests.support.spec.documents import CONFIGS, problems, with_process

SYSTEMS = ("freebsd", "linux")


@pytest.mark.parametrize("os", SYSTEMS)
@pytest.mark.parametrize("name", sorted(set(CONFIGS) - {"containerd-freebsd"}))
def test_engines_are_understood_on_both_systems(name: str, os: str) -> None:
    spec = parse(CONFIGS[name], os)

    assert spec.process is not None
    assert spec.process.args == tuple(CONFIGS[name]["process"]["args"])
    assert len(spec.mounts) == len(CONFIGS[name]["mounts"] or ()) if "mounts" in CONFIGS[name] else not spec.mounts


def test_containerd_sends_linux_namespaces_to_freebsd() -> None:
    """Where they mean nothing; what does mean something is taken from the same section."""
    spec = parse(CONFIGS["containerd-freebsd"], "freebsd")

    limits = Resources(memory_limit=512 * 1024**2, cpu_quota=200000, cpu_period=100000, cpus="0,1", pids_limit=-1)
    assert spec.linux == Linux(resources=limits)
    assert spec.process is not None
    assert spec.process.capabilities is None
    assert spec.process.console_size == (40, 120)
    assert problems(CONFIGS["containerd-freebsd"], "linux") == tuple(
        f"linux.{kind}Mappings: is required: a user namespace takes both" for kind in ("gid", "uid")
    )


def test_go_null_means_nothing_was_said() -> None:
    nothing = parse(CONFIGS["go-nulls"], "linux")
    bare = {key: CONFIGS["go-nulls"][key] for key in ("ociVersion", "root")}
    bare["process"] = {"args": ["/bin/true"], "cwd": "/"}

    assert nothing == parse(bare, "linux")


@pytest.mark.parametrize("version", ["1.0.0", "1.0.2-dev", "1.2.1+dev", "1.3.0", "1.99.0", "1.0.0-rc5"])
def test_every_version_1_is_accepted(version: str) -> None:
    """Minor versions only add properties, and unknown properties are ignored."""
    assert parse(CONFIG | {"ociVersion": version}, "freebsd").oci_version == version


@pytest.mark.parametrize(
    "version", ["", "1", "1.0", "1.0.0.0", "v1.0.0", "1.x.0", "11.0.0", "1.\u0663.0", "1.-1.0", "-1.0.0"]
)
def test_other_versions_are_refused(version: str) -> None:
    (problem,) = problems(CONFIG | {"ociVersion": version})

    assert problem.startswith("ociVersion: must be version 1.x.y")


@pytest.mark.parametrize("os", SYSTEMS)
@pytest.mark.parametrize("absent", [{}, {"process": None}])
def test_process_may_come_later(os: str, absent: dict[str, None]) -> None:
    """The runtime specification requires it for start only."""
    document = {key: value for key, value in CONFIG.items() if key != "process"} | absent

    assert parse(document, os).process is None


def test_problems_of_all_kinds_come_together() -> None:
    """What has the wrong shape does not hide what has the wrong value, nor the other way round."""
    pytest.importorskip("jsonschema")
    document = CONFIG | {
        "process": {"args": [5, "\0"], "cwd": "tmp", "user": {"uid": "root", "gid": -1}, "rlimits": [{"type": "x"}]},
        "mounts": [{"destination": 1}, {"destination": "dev"}],
        "annotations": {"org.freebsd.jail.vnet": 5, "org.freebsd.jail.sysvshm": "shared"},
    }

    assert problems(document) == (
        'annotations["org.freebsd.jail.sysvshm"]: must be "disable", "new" or "inherit", not "shared"',
        'annotations["org.freebsd.jail.vnet"]: must be a string, not a number',
        "mounts[0].destination: must be a string, not a number",
        'mounts[1].destination: must be an absolute path, not "dev"',
        "process.args[0]: must be a string, not a number",
        "process.args[1]: must not contain a NUL character",
        'process.cwd: must be an absolute path, not "tmp"',
        "process.rlimits[0].hard: is required",
        "process.rlimits[0].soft: is required",
        'process.rlimits[0].type: "x" is not a limit of FreeBSD',
        "process.user.gid: must be between 0 and 4294967294, not -1",
        "process.user.uid: must be a whole number, not a string",
    )


def test_without_jsonschema_the_first_problem_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jsonschema", None)

    assert problems(CONFIG | {"root": 5, "mounts": 5}) == ("root: must be an object, not a number",)
    assert problems(with_process(cwd="x")) == ('process.cwd: must be an absolute path, not "x"',)


def test_many_problems_are_cut_short() -> None:
    pytest.importorskip("jsonschema")
    with pytest.raises(InvalidConfig) as caught:
        parse(CONFIG | {"mounts": [{}] * 25}, "freebsd")

    assert len(caught.value.problems) == 25
    assert str(caught.value).endswith("mounts[19].destination: is required; and 5 more")


# process -----------------------------------------------------------------------------------------------------------


def test_user() -> None:
    process = CONFIG["process"] | {"user": {"uid": 5, "gid": 2**32 - 2, "umask": 0o27, "additionalGids": [7, 0]}}

    assert parse_process(process, "freebsd").user == User(5, 2**32 - 2, 0o27, (7, 0))


def test_user_may_be_absent() -> None:
    """Hand-written bundles often leave it out; umask None means the caller's stays."""
    assert parse_process({"args": ["sh"], "cwd": "/"}, "freebsd").user == User(0, 0, None, ())


@pytest.mark.parametrize("os", SYSTEMS)
@pytest.mark.parametrize(
    ("value", "meaning"), [(0, 0), (1024, 1024), (2**63 - 1, 2**63 - 1), (2**63, -1), (2**64 - 1, -1)]
)
def test_huge_limits_are_infinite(os: str, value: int, meaning: int) -> None:
    """Go clients on FreeBSD write Linux's infinity, 2**64-1."""
    process = CONFIG["process"] | {"rlimits": [{"type": "RLIMIT_CORE", "soft": value, "hard": value}]}

    assert parse_process(process, os).rlimits == (Rlimit("RLIMIT_CORE", meaning, meaning),)


@pytest.mark.parametrize(
    ("os", "names"),
    [
        ("freebsd", "CPU FSIZE DATA STACK CORE RSS MEMLOCK NPROC NOFILE SBSIZE VMEM NPTS SWAP KQUEUES UMTXP PIPEBUF"),
        ("linux", "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME"),
    ],
)
def test_every_limit_of_the_system_is_known(os: str, names: str) -> None:
    limits = [{"type": f"RLIMIT_{name}", "soft": 1, "hard": 2} for name in names.split()]

    assert len(parse_process(CONFIG["process"] | {"rlimits": limits}, os).rlimits) == len(limits)


def test_soft_limit_below_an_infinite_hard_one() -> None:
    limits = [{"type": "RLIMIT_CORE", "soft": 0, "hard": 2**64 - 1}]

    assert parse_process(CONFIG["process"] | {"rlimits": limits}, "linux").rlimits == (Rlimit("RLIMIT_CORE", 0, -1),)


@pytest.mark.parametrize(
    ("terminal", "size", "meaning"),
    [
        (True, {"height": 25, "width": 80}, (25, 80)),
        (True, {"height": 0, "width": 0}, None),
        (False, {"height": 25, "width": 80}, None),
        (False, {"height": 2**40, "width": 0}, None),
        (True, None, None),
    ],
)
def test_console_size_counts_with_a_terminal_only(terminal: bool, size: Any, meaning: Any) -> None:
    process = CONFIG["process"] | {"terminal": terminal, "consoleSize": size}

    assert parse_process(process, "freebsd").console_size == meaning


def test_last_value_of_a_variable_counts() -> None:
    """Programs find the first, and engines append what the user said."""
    process = CONFIG["process"] | {"env": ["A=1", "B=", "A=2=3"]}

    assert parse_process(process, "freebsd").env == ("A=2=3", "B=")


def test_capabilities_and_oom_score_are_for_linux() -> None:
    said = CONFIG["process"] | {"capabilities": {"bounding": ["CAP_KILL"], "ambient": None}, "oomScoreAdj": -5}

    linux, freebsd = parse_process(said, "linux"), parse_process(said, "freebsd")

    assert linux.capabilities is not None
    assert (linux.capabilities.bounding, linux.capabilities.ambient, linux.oom_score_adj) == (("CAP_KILL",), (), -5)
    assert (freebsd.capabilities, freebsd.oom_score_adj) == (None, None)


def test_security_labels() -> None:
    """They are Linux's; a container on FreeBSD has none."""
    document = with_process(apparmorProfile="docker-default", selinuxLabel="system_u:object_r:x:s0")
    for os, labels in (("linux", ("docker-default", "system_u:object_r:x:s0")), ("freebsd", ("", ""))):
        process = parse(document, os).process
        assert process
        assert (process.apparmor_profile, process.selinux_label) == labels
    for key in ("apparmorProfile", "selinuxLabel"):
        (problem,) = problems(with_process(**{key: "a\nb"}), "linux")
        assert problem == f'process.{key}: must not have control characters: "a\\nb"'


# mounts, hooks, names ----------------------------------------------------------------------------------------------


def test_linux_bundles_may_have_relative_destinations() -> None:
    """Deprecated, but to be read as relative to the root."""
    document = CONFIG | {"mounts": [{"destination": "proc"}, {"destination": "../x"}]}

    assert [mount.destination for mount in parse(document, "linux").mounts] == ["/proc", "/../x"]


def test_dots_in_destinations_are_kept() -> None:
    """They are resolved below the root where mounts are made, never by joining strings."""
    document = CONFIG | {"mounts": [{"destination": "/a/../../b", "options": ["ro", "", "size=64k"]}]}
    (mount,) = parse(document, "freebsd").mounts

    assert (mount.destination, mount.options) == ("/a/../../b", ("ro", "size=64k"))


def test_hooks() -> None:
    hooks = {
        "prestart": [{"path": "/a"}, {"path": "/b"}],
        "createRuntime": [{"path": "/c", "args": ["c", "-x"], "env": ["A=b"], "timeout": 86400}],
        "createContainer": [{"path": "/d", "args": [], "timeout": None}],
        "startContainer": [{"path": "/e"}],
        "poststart": None,
        "poststop": [{"path": "/f"}],
    }
    found = parse(CONFIG | {"hooks": hooks}, "freebsd").hooks

    assert found.prestart == (Hook("/a"), Hook("/b"))
    assert found.create_runtime == (Hook("/c", ("c", "-x"), ("A=b",), 86400),)
    assert found.create_container == (Hook("/d"),)
    assert found.start_container == (Hook("/e"),)
    assert found.poststart == ()
    assert found.poststop == (Hook("/f"),)


def test_empty_names_say_nothing() -> None:
    spec = parse(CONFIG | {"hostname": "", "domainname": "example.org"}, "freebsd")

    assert (spec.hostname, spec.domainname) == (None, "example.org")


def test_annotations_are_kept_in_order() -> None:
    """`state` gives them back; keys may be anything but empty."""
    said = {"b": "", "a/ ü": "\n", "org.freebsd.other": "x"}

    assert parse(CONFIG | {"annotations": said}, "freebsd").annotations == tuple(said.items())


# freebsd and linux -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(CONFIGS) - {"containerd-freebsd"}))
def test_freebsd_section_is_the_same_on_linux(name: str) -> None:
    """The Linux host takes from it what Linux has too, and has to see what it cannot do."""
    assert parse(CONFIGS[name], "linux").freebsd == parse(CONFIGS[name], "freebsd").freebsd


def test_devices() -> None:
    devices = [{"path": "pf", "mode": 448}, {"path": "usb/0.1.0"}, {"path": "null", "mode": 0}]

    found = parse(CONFIG | {"freebsd": {"devices": devices}}, "freebsd").freebsd.devices

    assert found == (Device("pf", 0o700), Device("usb/0.1.0", None), Device("null", 0))


@pytest.mark.parametrize("path", ["", ".", "..", "a/../b", "a//b", "a/", "a\tb", "da[0]", "da?", "a\\b", "\u00e9"])
def test_devices_name_one_entry_below_dev(path: str) -> None:
    (problem,) = problems(CONFIG | {"freebsd": {"devices": [{"path": path}]}})

    assert problem.startswith("freebsd.devices[0].path: must name one device below /dev")


def test_podman_device_modes_carry_the_file_type() -> None:
    spec = parse(CONFIGS["podman-privileged-linux"], "linux")

    assert [(device.path, device.type, device.mode) for device in spec.linux.devices] == [
        ("/dev/fuse", "c", 0o600),
        ("/dev/loop0", "b", 0o600),
        ("/dev/full", "c", 0o666),
    ]
    assert spec.linux.rootfs_propagation == "rslave"


def test_pipes_have_no_device_number() -> None:
    document = CONFIG | {"linux": {"devices": [{"path": "/dev/p", "type": "p", "major": -1}]}}

    assert parse(document, "linux").linux.devices[0].mode is None


def test_namespaces() -> None:
    said = [{"type": "pid"}, {"type": "network", "path": "/run/netns/a"}, {"type": "ipc", "path": ""}]
    found = parse(CONFIG | {"linux": {"namespaces": said}}, "linux").linux.namespaces

    assert found is not None
    assert [(namespace.type, namespace.path) for namespace in found] == [
        ("pid", ""),
        ("network", "/run/netns/a"),
        ("ipc", ""),
    ]


@pytest.mark.parametrize(("said", "meaning"), [({}, None), ({"namespaces": None}, None), ({"namespaces": []}, ())])
def test_no_namespaces_and_an_empty_list_differ(said: dict[str, Any], meaning: object) -> None:
    """The host chooses in one case; the other asks for none at all."""
    assert parse(CONFIG | {"linux": said}, "linux").linux.namespaces == meaning


@pytest.mark.parametrize(
    "key", ["net.ipv4.conf.eth0/1.rp_filter", "kernel.msgmax", "kernel.shm_rmid_forced", "fs.mqueue.msg_max"]
)
def test_settings_of_own_namespaces(key: str) -> None:
    document = CONFIG | {"linux": {"sysctl": {key: "1"}}}

    assert parse(document, "linux").linux.sysctl == ((key, "1"),)


@pytest.mark.parametrize(
    "key", ["", "net", "net..x", "netx.y", "kernel.hostname", "vm.swappiness", "net.a b", "net.\u00e9"]
)
def test_other_settings_belong_to_the_host(key: str) -> None:
    (problem,) = problems(CONFIG | {"linux": {"sysctl": {key: "1"}}}, "linux")

    assert problem.endswith("is not a setting that a container can have of its own")


@pytest.mark.parametrize("key", ["intelRdt"])
def test_linux_properties_that_nothing_applies(key: str) -> None:
    """A known property that cannot be applied is an error; an empty one asks for nothing."""
    assert problems(CONFIG | {"linux": {key: {"closID": "x"}}}, "linux") == (f"linux.{key}: is not supported",)
    parse(CONFIG | {"linux": {key: {}}}, "linux")
    parse(CONFIG | {"linux": {key: {"closID": "x"}}}, "freebsd")


def test_ids_of_a_user_namespace() -> None:
    """Both lists as they are; on FreeBSD they mean nothing. One to join may be left to say them."""
    ids = [{"containerID": 0, "hostID": 1000, "size": 1}, {"containerID": 1, "hostID": 100000, "size": 9}]
    linux: dict[str, Any] = {"namespaces": [{"type": "user"}], "uidMappings": ids, "gidMappings": ids[:1]}

    mappings = IdMappings(((0, 1000, 1), (1, 100000, 9)), ((0, 1000, 1),))
    assert parse(CONFIG | {"linux": linux}, "linux").linux.mappings == mappings
    assert parse(CONFIG | {"linux": linux}, "freebsd").linux == Linux()
    joined = [{"type": "user", "path": "/proc/1/ns/user"}]
    assert parse(CONFIG | {"linux": {"namespaces": joined}}, "linux").linux.mappings is None
    assert parse(CONFIG | {"linux": linux | {"namespaces": joined}}, "linux").linux.mappings == mappings
    assert parse(CONFIG | {"linux": {"uidMappings": []}}, "linux").linux.mappings is None


def test_the_label_of_mounts() -> None:
    assert parse(CONFIG | {"linux": {"mountLabel": "u:r:t:s0:c1,c2"}}, "linux").linux.mount_label == "u:r:t:s0:c1,c2"
