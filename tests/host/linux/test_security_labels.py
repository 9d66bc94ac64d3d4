"""AppArmor and SELinux: applied where the kernel has them, else refused. A tree of files stands for /proc."""

import os
from pathlib import Path

import pytest

from runjail import rootfs
from runjail.errors import HostError
from runjail.host.base import HostState
from runjail.host.linux import security_labels
from runjail.spec.model import Linux, Mount, Process
from runjail.steps import SecurityLabels
from tests.support.container.harness import Life
from tests.support.host.linux_change import change
from tests.support.plan.specs import plan_of, spec_of

LABEL = "system_u:system_r:container_t:s0:c1,c2"
NO_APPARMOR = "apparmor: config provided but apparmor not supported"
NO_SELINUX = "selinux label is specified in config, but selinux is disabled or not supported"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel with both modules, as far as files show it."""
    (tmp_path / "attr/apparmor").mkdir(parents=True)
    for name in ("exec", "keycreate", "apparmor/exec"):
        (tmp_path / "attr" / name).touch()
    (tmp_path / "enabled").write_text("Y\n")
    (tmp_path / "enforce").write_text("1")
    monkeypatch.setattr(security_labels, "ATTRIBUTES", str(tmp_path / "attr"))
    monkeypatch.setattr(security_labels, "APPARMOR", str(tmp_path / "enabled"))
    monkeypatch.setattr(security_labels, "SELINUX", str(tmp_path / "enforce"))
    return tmp_path


def written(kernel: Path) -> dict[str, str]:
    """Return what was written to each attribute."""
    files = ("exec", "keycreate", "apparmor/exec")
    return {name: text for name in files if (text := (kernel / "attr" / name).read_text())}


@pytest.mark.parametrize(
    ("process", "expected"),
    [
        (Process(("x",), apparmor_profile="docker-default"), {"apparmor/exec": "exec docker-default"}),
        (Process(("x",), selinux_label=LABEL), {"exec": LABEL, "keycreate": LABEL}),
    ],
)
def test_what_is_written(kernel: Path, process: Process, expected: dict[str, str]) -> None:
    security_labels.apply(process)

    assert written(kernel) == expected


def test_before_linux_5_8_the_profile_goes_where_labels_go(kernel: Path) -> None:
    (kernel / "attr/apparmor/exec").unlink()
    security_labels.apply(Process(("x",), apparmor_profile="p"))

    assert (kernel / "attr/exec").read_text() == "exec p"


def test_a_profile_that_is_not_loaded(kernel: Path) -> None:
    for name in ("apparmor/exec", "exec"):
        (kernel / "attr" / name).unlink()
    with pytest.raises(HostError, match=r"apply the AppArmor profile lost: write .*: does not exist") as caught:
        security_labels.apply(Process(("x",), apparmor_profile="lost"))
    assert caught.value.hint == "is it loaded?"


@pytest.mark.parametrize(
    ("missing", "labels", "text", "asked"),
    [
        ("enabled", ("p", "", ""), NO_APPARMOR, "process.apparmorProfile"),
        ("enforce", ("", LABEL, ""), NO_SELINUX, "process.selinuxLabel"),
        ("enforce", ("", "", LABEL), NO_SELINUX, "linux.mountLabel"),
    ],
)
def test_a_kernel_without(kernel: Path, missing: str, labels: tuple[str, str, str], text: str, asked: str) -> None:
    """The text is runc's, the hint says where the document asks for it."""
    mine = change(HostState("c", "c", "", "", ""))
    security_labels.require(mine, SecurityLabels(*labels))
    (kernel / missing).unlink()
    with pytest.raises(HostError, match=text) as caught:
        security_labels.require(mine, SecurityLabels(*labels))
    assert caught.value.hint == f"leave {asked} out, or boot a kernel that has it"
    with pytest.raises(HostError, match=text):
        security_labels.apply(Process(("x",), apparmor_profile=labels[0], selinux_label=labels[1] or labels[2]))
    assert written(kernel) == {}


def test_apparmor_that_is_switched_off(kernel: Path) -> None:
    (kernel / "enabled").write_text("N\n")
    with pytest.raises(HostError, match=NO_APPARMOR):
        security_labels.apply(Process(("x",), apparmor_profile="p"))


def test_the_label_of_mounts_goes_to_new_file_systems() -> None:
    mounts = tuple(Mount(f"/{type}", type, "/src", ()) for type in ("tmpfs", "bind", "proc", "sysfs", "devpts"))
    plan = plan_of(spec_of(*mounts).replace(linux=Linux(mount_label=LABEL)), "linux")
    labelled = {step.destination: dict(step.data).get("context") for step in plan.steps if hasattr(step, "data")}

    assert plan.steps[0] == SecurityLabels("", "", LABEL)
    assert labelled == {"/tmpfs": f'"{LABEL}"', "/bind": None, "/proc": None, "/sysfs": None, "/devpts": f'"{LABEL}"'}


@pytest.mark.linux
def test_message_queues_and_control_groups_get_the_label_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As runc: queues by an attribute, since their file system takes no option; the directory of v1's groups by one."""
    from runjail.host.linux import cgroups
    from runjail.host.linux import mounts as linux_mounts

    mounts = (Mount("/queues", "mqueue", "mqueue", ()), Mount("/groups", "cgroup", "cgroup", ()))
    plan = plan_of(spec_of(*mounts).replace(linux=Linux(mount_label=LABEL)), "linux")
    steps = {step.fstype: step for step in plan.steps if hasattr(step, "fstype")}
    done: list[object] = []
    monkeypatch.setattr(cgroups, "unified", lambda: False)
    monkeypatch.setattr(linux_mounts, "mount_on", lambda _place, *words: done.append(words[1:]))
    monkeypatch.setattr(os, "setxattr", lambda path, *words: done.append((os.readlink(path), *words)))
    (tmp_path / "queues").mkdir()
    (tmp_path / "groups").mkdir()
    top = rootfs.open_root(str(tmp_path))
    for kind, name in (("mqueue", "queues"), ("cgroup", "groups")):
        place = rootfs.resolve(top, f"/{name}")
        linux_mounts._mount_kind(place, change(HostState("c", "c", "", "", "")), steps[kind], 0)
        place.close()
    os.close(top)

    confined = linux_mounts.OF_CGROUPS
    queues = [("mqueue", 0, ""), (str(tmp_path / "queues"), "security.selinux", LABEL.encode())]
    assert done == [*queues, ("tmpfs", confined, f'mode=755,context="{LABEL}"')]


@pytest.mark.linux
@pytest.mark.parametrize(
    ("section", "key", "text"),
    [
        ("process", "apparmorProfile", NO_APPARMOR),
        ("process", "selinuxLabel", NO_SELINUX),
        ("linux", "mountLabel", NO_SELINUX),
    ],
)
def test_create_refuses_and_leaves_nothing(life: Life, section: str, key: str, text: str) -> None:
    if os.path.exists(security_labels.SELINUX) or os.path.exists(security_labels.APPARMOR):
        pytest.skip("this kernel has a security module")
    life.bundle.config[section][key] = "some-label"
    life.bundle.write()
    result = life.runjail("create", "-b", str(life.bundle.path), "c")

    assert (result.returncode, text in result.stderr) == (1, True), result.stderr
    assert life.runjail.ok("list", "-q").stdout == ""


@pytest.mark.linux
def test_exec_refuses_too(life: Life) -> None:
    """A container without labels, and a process with one."""
    if os.path.exists(security_labels.SELINUX):
        pytest.skip("this kernel has SELinux")
    life.sleep()
    document = life.bundle.path / "process.json"
    document.write_text('{"cwd": "/", "args": ["/bin/true"], "selinuxLabel": "x"}')
    result = life.runjail("exec", "-p", str(document), "c")

    assert (result.returncode, NO_SELINUX in result.stderr) == (255, True), result.stderr
