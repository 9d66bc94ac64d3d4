"""Devices: a container that may make device files, or that finds some in its image, opens the host's devices.

The devices are harmless: the kernel's log, a loop device without a disk, the console. On cgroup v1 as this machine has
it, on v2 alone, and where no control group can be written.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.attacks.apart import NO_GROUPS, ONLY_V2, Apart
from tests.support.program import Bundle, Runjail

pytestmark = pytest.mark.linux

DEVICES = {"log": ("c", 1, 11), "loop": ("b", 7, 7), "console": ("c", 5, 1), "control": ("c", 10, 237)}
ALONE = os.path.exists("/sys/fs/cgroup/cgroup.controllers")  # v2, as systemd mounts it
HOSTS = {"v1": "", "v2": "" if ALONE else ONLY_V2, "none": NO_GROUPS}
USUAL = "CHOWN DAC_OVERRIDE FOWNER MKNOD SYS_CHROOT SETUID SETGID KILL".split()  # of those that docker and podman give
# Reads nothing: opening is what must fail. 3 is /dev/zero, a device that every container may use.
OPEN = "(exec < {0}) 2>/dev/null && echo opened {0}; "
CONTROL = "rm -f /tmp/zero; mknod /tmp/zero c 1 5 2>/dev/null; head -c 1 /tmp/zero 2>/dev/null | wc -c; "


@pytest.fixture(
    params=[pytest.param(kind, marks=pytest.mark.needs(*([] if kind == "none" else ["cgroups"]))) for kind in HOSTS]
)
def host(request: pytest.FixtureRequest) -> str:
    kind = str(request.param)
    if kind == "v1" and not os.path.isdir("/sys/fs/cgroup/devices"):
        pytest.skip("needs control groups v1 with a devices controller")
    if kind == "v2" and not ALONE and not os.path.exists("/sys/fs/cgroup/unified/cgroup.procs"):
        pytest.skip("needs a hierarchy of cgroup v2, alone or beside those of v1")
    return kind


@pytest.fixture
def apart(runjail: Runjail, bundle: Bundle, tmp_path: Path) -> Iterator[Apart]:
    (tmp_path / "out").mkdir()
    attacker = Apart(runjail, bundle, tmp_path / "out")
    attacker.give(*USUAL, "SYSLOG")  # the log is refused without, device or not
    yield attacker
    runjail("delete", "-f", "c")


def attack(device: str, path: str = "/tmp/node") -> str:
    kind, major, minor = DEVICES[device]
    return f"mknod {path} {kind} {major} {minor} 2>/dev/null; {OPEN.format(path)}{CONTROL}cat /proc/self/status"


def outcome(said: str) -> tuple[bool, str, bool]:
    """Return whether the device was opened, how much the control read, and whether the attacker has CAP_MKNOD."""
    lines = said.splitlines()
    effective = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    read = next(line for line in lines if line.isdigit())
    return any(line.startswith("opened") for line in lines), read, bool(effective >> 27 & 1)


def expected(host: str) -> tuple[bool, str, bool]:
    """Device files are made and /dev/zero works; without control groups none is made, by nobody."""
    return (False, "1", True) if host != "none" else (False, "0", False)


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_file_made_inside_opens_nothing(apart: Apart, host: str, device: str) -> None:
    """CAP_MKNOD is a default of docker and podman, which count on the runtime's device rules."""
    apart.bundle.config["process"]["args"] = ["/bin/sh", "-c", attack(device)]

    assert outcome(apart.run(f"{HOSTS[host]}$RUNJAIL run -b $BUNDLE c")) == expected(host)


def test_a_process_that_joins_is_held_too(apart: Apart, host: str) -> None:
    """Also one that exec gives more capabilities than the container has."""
    (apart.bundle.path / "attack").write_text(attack("log"))
    said = apart.run(
        f"{HOSTS[host]}$RUNJAIL create -b $BUNDLE c; $RUNJAIL start c\n"
        '$RUNJAIL exec --cap CAP_MKNOD --cap CAP_SYSLOG c sh -c "$(cat $BUNDLE/attack)"; $RUNJAIL delete -f c'
    )

    assert outcome(said) == expected(host)


def test_an_update_takes_no_rule_away(apart: Apart, host: str) -> None:
    """New limits, or a document that says that everything is allowed, leave the device rules as they are.

    The limit is none, for which the hierarchy that plays v2 alone needs no controller.
    """
    (apart.bundle.path / "attack").write_text(attack("log"))
    (apart.bundle.path / "limits").write_text('{"pids": {"limit": -1}, "devices": [{"allow": true, "access": "rwm"}]}')
    said = apart.run(
        f"{HOSTS[host]}$RUNJAIL create -b $BUNDLE c; $RUNJAIL start c; $RUNJAIL update -r $BUNDLE/limits c\n"
        '$RUNJAIL exec c sh -c "$(cat $BUNDLE/attack)"; $RUNJAIL delete -f c'
    )

    assert outcome(said) == expected(host)


@pytest.mark.parametrize("where", ["image", "volume"])
def test_a_device_file_that_is_there_opens_nothing(apart: Apart, host: str, where: str) -> None:
    """An image, or a volume that another container wrote, brings its own device files."""
    volume = apart.bundle.path / "volume"
    volume.mkdir()
    for directory in (apart.bundle.rootfs, volume):
        os.mknod(directory / "node", 0o666 | stat.S_IFCHR, os.makedev(1, 11))
    apart.add_mount("/volume", volume, "rbind", "rprivate")
    place = "/node" if where == "image" else "/volume/node"
    apart.bundle.config["process"]["args"] = ["/bin/sh", "-c", attack("log", place)]

    assert outcome(apart.run(f"{HOSTS[host]}$RUNJAIL run -b $BUNDLE c")) == expected(host)


def test_rules_of_the_config_hold(apart: Apart, host: str) -> None:
    """A device that may only be read; what cannot be held to that is not started."""
    apart.bundle.config["linux"]["devices"] = [{"path": "/dev/log", "type": "c", "major": 1, "minor": 11}]
    apart.bundle.config["linux"]["resources"] = {
        "devices": [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"},
        ]
    }
    script = "(exec < /dev/log) 2>/dev/null && echo read; (echo x > /dev/log) 2>/dev/null && echo written; true"
    apart.bundle.config["process"]["args"] = ["/bin/sh", "-c", script]
    said = apart.run(f"{HOSTS[host]}$RUNJAIL run -b $BUNDLE c 2>&1 || true")

    if host == "none":
        assert "linux.resources.devices cannot be enforced" in said
    else:
        assert said == "read\n"


def test_the_same_image_runs_where_everything_is_allowed(apart: Apart, host: str) -> None:
    """The control of all of them: a privileged container opens what the others may not."""
    apart.bundle.config["linux"]["resources"] = {"devices": [{"allow": True, "access": "rwm"}]}
    apart.bundle.config["process"]["args"] = ["/bin/sh", "-c", attack("log")]

    assert outcome(apart.run(f"{HOSTS[host]}$RUNJAIL run -b $BUNDLE c")) == (True, "1", True)
