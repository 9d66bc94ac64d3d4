"""Control groups of both kinds, on a tree of plain files: what is written where, and in which order."""

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import HostError
from runjail.host.base import HostState
from runjail.host.linux import cgroup_move, cgroup_settings, cgroups
from runjail.spec.model import Resources
from runjail.steps import Cgroup

pytestmark = pytest.mark.needs("linux", "trusted attributes")

Notes = list[dict[str, Any]]
V2 = "cgroup.procs memory.max memory.swap.max memory.low cpu.max cpu.weight cpuset.cpus cpuset.mems pids.max".split()
V1 = {
    "memory": "memory.limit_in_bytes memory.memsw.limit_in_bytes memory.soft_limit_in_bytes".split(),
    "cpu": "cpu.shares cpu.cfs_period_us cpu.cfs_quota_us".split(),
    "pids": ["pids.max"],
    "freezer": ["freezer.state"],
}


class Tree:
    """A hierarchy below `top` in which a new group gets its files at once, as in the kernel's.

    refuses: says whether the kernel would find a value invalid, given the file's path and the value.
    """

    def __init__(self, top: Path, unified: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top, self.unified = top, unified
        self.written: list[str] = []
        self.refuses: Callable[[Path, str], bool] = lambda _path, _value: False
        self.lacking: set[Path] = set()
        mkdir = os.mkdir

        def make(path: str, mode: int = 0o777) -> None:
            mkdir(path, mode)
            relative = os.path.relpath(path, top)
            for name in V2 if unified else ["cgroup.procs", *V1[relative.split("/")[0]]]:
                if Path(path) / name not in self.lacking:
                    (Path(path) / name).touch()

        def record(path: str, value: str) -> None:
            Path(path).stat()
            if self.refuses(Path(path), value):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            self.written.append(f"{os.path.relpath(path, top)}={value}")
            Path(path).write_text(value, encoding="ascii")

        monkeypatch.setattr(cgroups, "TOP", str(top))
        monkeypatch.setattr(cgroups, "write", record)
        monkeypatch.setattr(os, "mkdir", make)
        if unified:
            (top / "cgroup.controllers").write_text("cpuset cpu memory pids", encoding="ascii")
        else:
            for controller in V1:
                mkdir(top / controller)
                (top / controller / "cgroup.procs").touch()

    def apply(self, host_state: HostState, notes: Notes, **limits: Any) -> None:
        resources = Resources(**limits)
        cgroup_settings.create(Cgroup("a/web", resources), host_state, notes.append)

    def limits(self) -> list[str]:
        """Return the limits written since the last time this was asked."""
        found = [line for line in self.written if "procs" not in line and "subtree" not in line]
        self.written.clear()
        return found


@pytest.fixture
def host_state(tmp_path: Path) -> HostState:
    return HostState("web", "web", str(tmp_path), "", "")


@pytest.fixture
def v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    (tmp_path / "v2").mkdir()
    return Tree(tmp_path / "v2", True, monkeypatch)


@pytest.fixture
def v1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    (tmp_path / "v1").mkdir()
    return Tree(tmp_path / "v1", False, monkeypatch)


def test_limits_of_v2(v2: Tree, host_state: HostState) -> None:
    v2.apply(host_state, [], memory_limit=100, memory_swap=150, cpu_quota=50_000, pids_limit=0, cpus="0-1")

    assert v2.limits() == [
        "a/web/memory.max=100",
        "a/web/memory.swap.max=50",
        "a/web/cpu.max=50000 100000",
        "a/web/cpuset.cpus=0-1",
        "a/web/pids.max=1",
    ]


def test_limits_of_v1(v1: Tree, host_state: HostState) -> None:
    v1.apply(host_state, [], memory_limit=100, memory_swap=150, cpu_quota=50_000, pids_limit=0)

    assert v1.limits() == [
        "memory/a/web/memory.limit_in_bytes=100",
        "memory/a/web/memory.memsw.limit_in_bytes=150",
        "cpu/a/web/cpu.cfs_quota_us=50000",
        "pids/a/web/pids.max=1",
    ]


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"hugepages": (("2MB", 4),)}, "hugepageLimits: cannot be enforced: hugetlb.2MB."),
        ({"rdma": (("mlx5_1", 3, None),)}, "rdma: cannot be enforced: rdma.max"),
        ({"cpu_idle": 1}, "cpu: cannot be enforced: cpu.idle"),
    ],
)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_limit_without_a_file_is_refused(
    version: str, limits: dict[str, Any], said: str, request: pytest.FixtureRequest, host_state: HostState
) -> None:
    """As by runc: the container ran without the limit that it was to have, after a warning."""
    with pytest.raises(HostError, match=re.escape(f"linux.resources.{said}") + ".*no such file in this kernel's"):
        request.getfixturevalue(version).apply(host_state, [], **limits)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_no_limit_takes_no_file(
    version: str, request: pytest.FixtureRequest, host_state: HostState, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nor does a burst, which limits nothing: that is said."""
    tree = request.getfixturevalue(version)
    for name in ("a/web/memory.swap.max", "memory/a/web/memory.memsw.limit_in_bytes"):
        tree.lacking.add(tree.top / name)
    tree.apply(host_state, [], cpu_burst=5, memory_swap=-1)

    burst = "cpu.max.burst" if tree.unified else "cpu.cfs_burst_us"
    assert capfd.readouterr().err.rpartition("not enforced: ")[2].startswith(f"{burst} (no such file")


def test_others_in_a_group_are_warned_of(v1: Tree, host_state: HostState, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("memory", "pids"):
        (v1.top / name / "a/web").mkdir(parents=True)
        (v1.top / name / "a/web" / "cgroup.procs").write_text("5\n17\n", encoding="ascii")

    v1.apply(host_state, [], pids_limit=1)

    assert "container's cgroup is not empty: 2 process(es) found in a/web" in capfd.readouterr().err
    assert host_state.cgroup == "a/web"


def test_a_directory_where_nothing_is_mounted_is_no_hierarchy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host_state: HostState
) -> None:
    """cgroupfs-mount makes one for each controller before it mounts; a container's process was to join `hugetlb`."""
    for name in ("hugetlb", "devices"):
        (tmp_path / name).mkdir()
    v1 = Tree(tmp_path, False, monkeypatch)
    v1.apply(host_state, [], pids_limit=1)
    cgroups.join("a/web", 1)

    assert not os.listdir(tmp_path / "hugetlb")
    assert cgroups.directories("a") == [f"{v1.top}/{name}/a" for name in ("memory", "cpu", "pids", "freezer")]
    assert not cgroups.is_mounted("devices")


def test_where_nothing_is_mounted_there_is_no_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host_state: HostState, capfd: pytest.CaptureFixture[str]
) -> None:
    """One warning says what is not enforced; the container was said to be in a group that nobody had made."""
    from runjail.host.linux import check  # which calls Linux's libc

    monkeypatch.setattr(cgroups, "TOP", str(tmp_path))
    notes: Notes = []
    cgroup_settings.create(Cgroup("a/web", Resources(pids_limit=1)), host_state, notes.append)

    assert host_state.cgroup == "" and notes[0]["made"] == []
    lost = f"control groups cannot be written (none are mounted at {tmp_path}); not enforced: pids.max"
    assert capfd.readouterr().err.count(lost) == 1
    rows = check.control_groups()
    assert [row[1:3] for row in rows] == [
        (False, "not mounted"),
        (False, "not enforced: control groups are not mounted"),
    ]
    assert all(row[3].startswith(f"mount -t cgroup2 cgroup2 {tmp_path}") for row in rows)


def test_memory_never_exceeds_memory_and_swap(v1: Tree, host_state: HostState) -> None:
    """The kernel of v1 refuses any order in which it would, for an instant."""
    names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    memory, both = (f"memory/a/web/{name}" for name in names)

    def exceeds(path: Path, value: str) -> bool:
        """Compare what the two files would say; nothing and -1 are no limit."""
        said = [value if name == path.name else path.with_name(name).read_text(encoding="ascii") for name in names]
        limits = [int(text) if text not in ("", "-1") else 2**63 for text in said]
        return limits[0] > limits[1]

    v1.refuses = exceeds
    for limit, first, second in ((100, memory, both), (200, both, memory), (50, memory, both)):
        v1.apply(host_state, [], memory_limit=limit, memory_swap=limit)
        assert v1.limits() == [f"{first}={limit}", f"{second}={limit}"]
    v1.apply(host_state, [], memory_limit=100, memory_swap=-1)
    assert v1.limits() == [f"{both}=-1", f"{memory}=100"]
    v1.apply(host_state, [], memory_swap=150)
    v1.limits()
    v1.apply(host_state, [], memory_limit=-1)
    assert v1.limits() == [f"{both}=-1", f"{memory}=-1"]


def test_without_a_limit_of_memory_none_of_memory_and_swap_stays(v2: Tree, host_state: HostState) -> None:
    v2.apply(host_state, [], memory_limit=-1)

    assert v2.limits() == ["a/web/memory.max=max", "a/web/memory.swap.max=max"]


def test_a_period_that_only_fits_the_new_quota(v1: Tree, host_state: HostState) -> None:
    """Below a group with a quota of its own, the kernel refuses a share of the CPU above that for an instant."""
    v1.apply(host_state, [], cpu_quota=50_000)
    v1.limits()
    v1.refuses = lambda path, value: (
        path.name == "cpu.cfs_period_us" and int(path.with_name("cpu.cfs_quota_us").read_text()) > int(value)
    )
    v1.apply(host_state, [], cpu_quota=3000, cpu_period=10_000)

    assert v1.limits() == ["cpu/a/web/cpu.cfs_quota_us=3000", "cpu/a/web/cpu.cfs_period_us=10000"]
    with pytest.raises(HostError, match=r"setting cpu.cfs_period_us to 1000: invalid argument"):
        v1.apply(host_state, [], cpu_period=1000)


@pytest.mark.parametrize(
    ("kind", "file", "said"),
    [("v1", "freezer/a/web/freezer.state", "FROZEN\n"), ("v1", "freezer/a/web/freezer.state", "FREEZING\n"),
     ("v2", "a/web/cgroup.freeze", "1\n")],
)  # fmt: skip
def test_a_frozen_group_takes_nobody(
    kind: str, file: str, said: str, host_state: HostState, request: pytest.FixtureRequest
) -> None:
    """Who enters it stops there and then, and so would whoever waits for it."""
    tree: Tree = request.getfixturevalue(kind)
    os.makedirs((tree.top / file).parent)
    (tree.top / file).write_text(said, encoding="ascii")
    notes: Notes = []
    with pytest.raises(HostError, match=r"^container's cgroup unexpectedly frozen: a/web$"):
        tree.apply(host_state, notes, pids_limit=5)

    assert host_state.cgroup == "" and [note["undo"] for note in notes] == ["cgroup"]
    assert tree.limits() == []


def test_minus_one_takes_the_limit_of_processes_away(v1: Tree, host_state: HostState) -> None:
    v1.apply(host_state, [], pids_limit=-1)

    assert v1.limits() == ["pids/a/web/pids.max=max"]


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_a_move_takes_limits_and_processes_along(
    kind: str, host_state: HostState, request: pytest.FixtureRequest
) -> None:
    tree: Tree = request.getfixturevalue(kind)
    notes: Notes = []
    tree.apply(host_state, notes, memory_limit=100, pids_limit=7)
    tree.limits()
    rounds = [[10, 11], [10, 11, 12], [10, 11, 12]]

    cgroup_move.move("b/new", host_state, notes.append, lambda: rounds.pop(0))

    assert host_state.cgroup == "b/new"
    joined = [line for line in tree.written if "cgroup.procs" in line]
    assert {line.split("=")[1] for line in joined} == {"10", "11", "12"}
    assert all("b/new/cgroup.procs" in line for line in joined)
    memory = "b/new/memory.max" if kind == "v2" else "memory/b/new/memory.limit_in_bytes"
    pids = "b/new/pids.max" if kind == "v2" else "pids/b/new/pids.max"
    assert sorted(tree.limits()) == sorted([f"{memory}=100", f"{pids}=7"])
    assert notes[-1]["path"] == "b/new" and len(notes[-1]["made"]) == (2 if kind == "v2" else 2 * len(V1))


def test_a_group_that_exists_keeps_its_limits(v2: Tree, host_state: HostState) -> None:
    v2.apply(host_state, [], pids_limit=7)
    v2.limits()
    os.mkdir(v2.top / "qos")
    notes: Notes = []

    cgroup_move.move("qos", host_state, notes.append, list)

    assert v2.limits() == [] and [(note["path"], note["made"]) for note in notes] == [("qos", [])]


@pytest.mark.linux
def test_check_names_what_cannot_be_limited(v1: Tree) -> None:
    from runjail.host.linux import check  # which calls Linux's libc

    groups, limits = check.control_groups()

    assert groups[0] == "control groups" and limits[0] == "resource limits"
    assert limits[1:3] == (False, "no controller for cpuset") and limits[3]


def test_a_container_that_was_made_before_there_were_groups_of_more_kinds(
    v1: Tree, host_state: HostState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """exec joins those that it has; one that limits something has to be there."""
    v1.apply(host_state, [], memory_limit=100)
    for directory in v1.top.glob("*/a/web"):
        (directory / "tasks").touch()
    monkeypatch.setitem(V1, "blkio", [])
    (v1.top / "blkio").mkdir()

    cgroups.enter(host_state.cgroup)
    cgroups.join(host_state.cgroup, 1)
    shutil.rmtree(v1.top / "memory" / "a" / "web")
    for refused in (lambda: cgroups.enter(host_state.cgroup), lambda: cgroups.join(host_state.cgroup, 1)):
        with pytest.raises(HostError, match=r"joining control group .*/memory/a/web: does not exist"):
            refused()


def entered(tree: Tree) -> list[str]:
    """Return the groups that took a process, without what the fake kernel had there."""
    return sorted(str(path.parent.relative_to(tree.top)) for path in tree.top.glob("**/tasks") if path.read_text())


def test_groups_below_the_containers(v1: Tree, host_state: HostState) -> None:
    """exec --cgroup: some controllers, or all of them; what is not named stays at the container's own."""
    v1.apply(host_state, [], memory_limit=100)
    for directory in v1.top.glob("*/a/web"):
        (directory / "below").mkdir()
        (directory / "tasks").touch()
        (directory / "below" / "tasks").touch()

    cgroups.enter(host_state.cgroup, groups=(("memory", "below"), ("cpu", "")))
    assert entered(v1) == ["cpu/a/web", "freezer/a/web", "memory/a/web/below", "pids/a/web"]

    for path in v1.top.glob("**/tasks"):
        path.write_text("")
    cgroups.enter(host_state.cgroup, groups=(("", "below"),))
    assert {Path(path).name for path in entered(v1)} == {"below"}
    with pytest.raises(HostError, match=r"^--cgroup: unknown controller whaaat$"):
        cgroups.enter(host_state.cgroup, groups=(("whaaat", ""),))


@pytest.mark.parametrize(
    ("where", "groups", "follows"),
    [
        ("/a/web/init.scope", (), True),
        ("/a/web/init.scope", (("", ""),), False),
        ("/a/web", (), False),
        ("/elsewhere", (), False),
    ],
)
def test_a_group_of_v2_that_passes_controllers_on_takes_nobody(
    v2: Tree, host_state: HostState, monkeypatch: pytest.MonkeyPatch, where: str, groups: Any, follows: bool
) -> None:
    """systemd in a container moves itself below; what joins later goes where init is, as with runc."""
    v2.apply(host_state, [], memory_limit=100)
    written: list[str] = []

    def busy(path: str, text: str) -> None:
        if path.endswith("/a/web/cgroup.procs"):
            raise OSError(errno.EBUSY, "Device or resource busy", path)
        written.append(path)

    read = cgroups.content
    monkeypatch.setattr(cgroups, "content", lambda path: f"0::{where}\n" if path == "/proc/7/cgroup" else read(path))
    monkeypatch.setattr(cgroups, "write", busy)
    if follows:
        cgroups.enter(host_state.cgroup, True, groups, 7)
    else:
        with pytest.raises(HostError, match=r"joining control group .*/a/web: device or resource busy"):
            cgroups.enter(host_state.cgroup, True, groups, 7)

    assert written == ([f"{v2.top}/a/web/init.scope/cgroup.procs"] if follows else [])


def test_an_ordinary_users_init_does_not_stay_outside(
    v1: Tree, host_state: HostState, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It would have no limits; what joins a container later may, and says so."""
    v1.apply(host_state, [], memory_limit=100)

    def refuse(path: str, text: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(cgroups, "write", refuse)
    monkeypatch.setattr(cgroups, "ordinary", lambda: True)
    with pytest.raises(HostError, match=r"joining control group .*/a/web: access refused"):
        cgroups.enter(host_state.cgroup)
    cgroups.enter(host_state.cgroup, optional=True)
    assert "is not in control group" in capfd.readouterr().err
