"""What plugins are told of a container: from its facts, its config.json and its host."""

from pathlib import Path
from typing import Any

import pytest

from runjail import jsonio
from runjail.container import nri as glue
from runjail.container import update
from runjail.container.container import Runtime
from runjail.container.reserve import reserve
from runjail.nri.messages import ContainerInfo
from runjail.spec.model import Resources
from runjail.spec.resources import parse_resources
from tests.support.container.fake_host import record

RESOURCES = {"cpu": {"quota": 5, "shares": 2}}


class Host:
    def __init__(self, os: str) -> None:
        self.os = os

    def move_cgroup(self, path: str, host_state: Any, _note: Any) -> None:
        host_state.cgroup = path


def runtime(tmp_path: Path, os: str) -> Runtime:
    host: Any = Host(os)
    return Runtime(host, str(tmp_path / "state"))


def container(tmp_path: Path, config: dict[str, Any], os: str = "linux", **changes: Any) -> Any:
    made = reserve(runtime(tmp_path, os), "a.b")
    (Path(made.path) / "config.json").write_text(jsonio.dumps(config), encoding="ascii")
    made.host_state.name, made.host_state.jid, made.host_state.pid = "a%2Eb", 7, 99
    record(made, annotations={"x": "y"}, **changes)
    made.unlock()
    return made


def test_a_jail(tmp_path: Path) -> None:
    """A Linux section means nothing to FreeBSD but its resources, and the path that plugins talk about."""
    linux = {"namespaces": [{"type": "pid"}], "cgroupsPath": "/x/y", "resources": RESOURCES}
    made = container(tmp_path, {"linux": linux}, "freebsd")

    assert glue.describe(made, "create") == ContainerInfo("a.b", 99, {"x": "y"}, RESOURCES, {}, "/x/y", "a%2Eb", 7)


def test_a_jail_without_a_linux_section(tmp_path: Path) -> None:
    subject = glue.describe(container(tmp_path, {}, "freebsd"), "delete")

    assert (subject.pid, subject.resources, subject.cgroups_path) == (0, None, "")


def test_namespaces_are_paths(tmp_path: Path) -> None:
    listed = [{"type": "mount"}, {"type": "network", "path": "/run/netns/x"}]
    made = container(tmp_path, {"linux": {"namespaces": listed}})

    told = glue.describe(made, "create").namespaces
    assert told == {"mount": "/proc/99/ns/mnt", "network": "/run/netns/x"}
    assert glue.describe(made, "delete").namespaces == {"mount": "", "network": "/run/netns/x"}


def test_namespaces_that_the_host_chose(tmp_path: Path) -> None:
    made = container(tmp_path, {})
    made.host_state.namespaces = {"root": 1, "pid": 2, "mnt": 3, "net": 4}

    told = glue.describe(made, "create").namespaces
    assert told == {"pid": "/proc/99/ns/pid", "mount": "/proc/99/ns/mnt", "network": "/proc/99/ns/net"}


@pytest.mark.parametrize(
    ("said", "real", "told"),
    [
        ("/a//b", "a/b", "/a//b"),
        ("/a/b", "moved/b", "/moved/b"),
        ("system.slice:runjail:web", "system.slice/runjail-web.scope", "/system.slice/runjail-web.scope"),
        ("", "runjail/web", "/runjail/web"),
        ("/a", "", "/a"),
    ],
)
def test_the_group_is_where_the_container_is(tmp_path: Path, said: str, real: str, told: str) -> None:
    made = container(tmp_path, {"linux": {"cgroupsPath": said}})
    made.host_state.cgroup = real

    assert glue.describe(made, "create").cgroups_path == told


def test_every_resource_that_update_may_change_is_told(tmp_path: Path) -> None:
    """What is told after an update is what config.json would say: it reads back as the same values."""
    rate = {"major": 8, "minor": 16, "rate": 7}
    declared = {
        "hugepageLimits": [{"pageSize": "2MB", "limit": 1}, {"pageSize": "1GB", "limit": 2}],
        "blockIO": {"weight": 10, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 5}]},
        "network": {"classID": 3},
    }
    changed = {
        "memory": {"limit": 5 << 20, "reservation": 4, "swap": 6 << 20, "swappiness": 7, "disableOOMKiller": True}
        | {"checkBeforeUpdate": True},
        "cpu": {"shares": 2, "quota": 3, "period": 4000, "cpus": "0", "mems": "0", "idle": 1, "burst": 5}
        | {"realtimePeriod": 6, "realtimeRuntime": 7},
        "pids": {"limit": 8},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 9}],
        "blockIO": {"leafWeight": 11, "throttleReadBpsDevice": [rate], "throttleWriteBpsDevice": [rate]}
        | {"throttleReadIOPSDevice": [rate], "throttleWriteIOPSDevice": [rate]}
        | {"weightDevice": [{"major": 8, "minor": 0, "weight": 12, "leafWeight": 13}]},
        "network": {"classID": 14, "priorities": [{"name": "eth0", "priority": 15}]},
        "rdma": {"mlx5_1": {"hcaHandles": 16}},
        "unified": {"memory.high": "17"},
    }
    made = container(tmp_path, {"linux": {"resources": declared}})
    update._remember(made.state, parse_resources({"unified": {"memory.high": "1", "memory.low": "2"}}))
    update._remember(made.state, parse_resources(changed))

    told = glue.describe(made, "update").resources
    assert told
    assert told["hugepageLimits"] == [{"pageSize": "2MB", "limit": 9}, {"pageSize": "1GB", "limit": 2}]
    assert told["unified"] == {"memory.high": "17", "memory.low": "2"}
    assert told["blockIO"]["weight"] == 10
    assert told["blockIO"]["throttleReadBpsDevice"] == [{"major": 8, "minor": 0, "rate": 5}, rate]
    read, asked = parse_resources(told), parse_resources(changed)
    for name in Resources._fields:
        theirs, ours = getattr(asked, name), getattr(read, name)
        assert theirs not in (None, (), False), f"{name} is not tried"
        assert set(theirs) <= set(ours) if isinstance(theirs, tuple) else theirs == ours, name


def test_updates_are_laid_over_the_resources(tmp_path: Path) -> None:
    updates = {"cpu_quota": 9, "pids_limit": 4, "cpus": "0-1"}
    made = container(tmp_path, {"linux": {"resources": RESOURCES}}, updates=updates)

    told = glue.describe(made, "update").resources
    assert told == {"cpu": {"quota": 9, "shares": 2, "cpus": "0-1"}, "pids": {"limit": 4}}
    assert RESOURCES == {"cpu": {"quota": 5, "shares": 2}}


def test_a_move_is_remembered_and_told(tmp_path: Path) -> None:
    """On FreeBSD that is all there is to a group."""
    made = container(tmp_path, {"linux": {"cgroupsPath": "/old"}}, "freebsd")

    class Mover:
        def ours(self, _annotations: object) -> Any:
            return self

        def run(self, _state: str, subject: ContainerInfo, root: str, move: Any) -> None:
            assert (subject.cgroups_path, root) == ("/old", str(tmp_path / "state"))
            move("qos/new")

    mover: Any = Mover()
    glue.run(mover, "create", made)

    assert made.host_state.cgroup == "qos/new" == runtime(tmp_path, "freebsd").find("a.b").host_state.cgroup
    assert glue.describe(made, "update").cgroups_path == "/qos/new"


def test_a_damaged_copy_of_the_config_does_not_stop_delete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(glue.log, "warning", said.append)
    made = container(tmp_path, {})
    made.runtime.plugins = lambda: glue
    for damage in ("{", None):
        if damage:
            (Path(made.path) / "config.json").write_text(damage, encoding="ascii")
        else:
            (Path(made.path) / "config.json").unlink()
        glue.notify_delete(["x"], made)

    assert len(said) == 2 and said[1] == "NRI plugins of container a.b: does not exist"
