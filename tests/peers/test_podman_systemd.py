"""podman as it comes, with systemd as its manager of control groups."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers import test_podman
from tests.support.peers.commands import eventually
from tests.support.peers.podman import Podman

pytestmark = [
    pytest.mark.peers("podman", "conmon"),
    pytest.mark.linux,
    pytest.mark.needs("systemd", "cgroups v2", "module jeepney"),
]

SLICE = "runjailtest.slice"
make_podman = test_podman.make_podman  # the fixture


@pytest.fixture
def podman(make_podman: Callable[..., Podman]) -> Podman:
    """podman with its usual manager, and containers in a slice of ours."""
    made = make_podman()
    made.command[made.command.index("cgroupfs")] = "systemd"
    made.options = [option for option in made.options if not option.startswith("--cgroup-parent")]
    made.options.append(f"--cgroup-parent={SLICE}")
    return made


def show(unit: str, *names: str) -> list[str]:
    """Return properties of a unit."""
    command = ["systemctl", "show", "--value", *(f"--property={name}" for name in names), unit]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line for line in said.splitlines() if line]


@pytest.mark.limit(1200)
def test_a_container_is_a_scope_with_podmans_limits(podman: Podman) -> None:
    """Of podman's name, below its slice; and it is gone with the container."""
    limits = "--memory 64m --pids-limit 20 --cpus 0.5"
    id = podman.detached("web", "sleep", "600", options=limits)
    unit = f"libpod-{id}.scope"

    assert sorted(show(unit, "ActiveState", "Slice", "MemoryMax", "TasksMax", "CPUQuotaPerSecUSec")) == sorted(
        ["active", SLICE, str(64 << 20), "20", "500ms"]
    )
    group = Path("/sys/fs/cgroup", SLICE, unit)
    assert (group / "pids.max").read_text() == "20\n"
    assert podman.ok("exec", "web", "cat", "/proc/self/cgroup").out.strip() in ("0::/", f"0::/{SLICE}/{unit}")
    assert "web" in podman.ok("ps", "--format", "{{.Names}}").out

    podman.ok("rm", "--force", "--time=0", "web")

    eventually(lambda: not group.exists(), "systemd removes the group")
    assert show(unit, "ActiveState") == ["inactive"]


@pytest.mark.limit(1200)
def test_stopping_the_scope_stops_the_container(podman: Podman) -> None:
    """podman hears of it from conmon, as of every other end."""
    id = podman.detached("web", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")

    subprocess.run(["systemctl", "stop", f"libpod-{id}.scope"], check=True, timeout=120)

    eventually(lambda: podman.inspect("web")["Status"] == "exited", "podman hears of the end", 60)
    assert podman.inspect("web")["ExitCode"] == 3
    assert podman.ok("start", "web").code == 0
