"""Containers of an ordinary user, for real: a whole life with one id, and what is refused with a remedy."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.container.harness import Life, failed
from tests.support.container.ordinary import OWN, end, ordinary_life
from tests.support.leftovers import Leftovers
from tests.support.needs import ORDINARY
from tests.support.program import Runjail

pytestmark = [pytest.mark.linux, pytest.mark.needs("ordinary user")]


@pytest.fixture
def life(runjail: Runjail, place: Path, machine_rootfs: Path, leftovers: Leftovers) -> Iterator[Life]:
    """One bundle that belongs to an ordinary user."""
    made = ordinary_life(runjail, place, machine_rootfs, leftovers)
    yield made
    end(made)


def test_a_whole_life(life: Life) -> None:
    """Every verb, with a state directory of its own; nothing is left there."""
    runjail = life.runjail
    life.create("/bin/sleep", "600")
    assert runjail.state("c")["status"] == "created"
    assert len(runjail.ok("ps", "c").stdout.splitlines()) == 2  # a head, and init
    runjail.ok("start", "c")
    said = runjail.ok("exec", "c", "/bin/sh", "-c", "id -u; cat /proc/self/uid_map /proc/self/setgroups").stdout
    assert said.split() == ["0", "0", str(ORDINARY), "1", "deny"]
    assert "sleep" in runjail.ok("ps", "c").stdout
    runjail.ok("pause", "c")
    runjail.ok("resume", "c")
    assert runjail.ids() == ["c"]
    runjail.ok("kill", "c", "KILL")
    runjail.wait("c")
    runjail.ok("delete", "c")
    assert os.listdir(runjail.root) == []


def test_files_are_the_users(life: Life) -> None:
    assert life.says("touch /made; stat -c '%u %g' /made; stat -c %u /dev/null").split() == ["0", "0", "65534"]
    assert (life.bundle.rootfs / "made").stat().st_uid == ORDINARY


def test_hooks_and_the_terminal(life: Life, place: Path) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat >/dev/null; id -u >> {place}/run/said"]}
    life.bundle.config["hooks"] = {kind: [hook] for kind in ("createRuntime", "createContainer", "poststop")}
    life.sleep()
    assert life.runjail.ok("exec", "-t", "c", "/bin/stat", "-Lc", "%u", "/proc/self/fd/0").stdout.strip() == "0"
    life.runjail.ok("delete", "--force", "c")

    assert (place / "run/said").read_text().split() == [str(ORDINARY), "0", str(ORDINARY)]


def test_without_a_user_namespace(life: Life) -> None:
    """Refused by the kernel; the hint has both remedies, and nothing stays."""
    linux = life.bundle.config["linux"]
    linux["namespaces"].pop()
    del linux["uidMappings"], linux["gidMappings"]
    result = life.runjail("create", "-b", life.bundle.write(), "c")

    failed(result, "making a pid namespace: unshare(2): not allowed")
    assert "run it as root, or with a user namespace in config.json" in result.stderr
    life.gone()


def test_limits_that_nobody_sets(life: Life) -> None:
    """As with runc, which cannot "set memory limit: container could not join or create cgroup"; nothing stays."""
    life.bundle.config["linux"]["resources"] = {"memory": {"limit": 32 << 20}, "pids": {"limit": 7}}
    refused = life.runjail("create", "-b", life.bundle.write(), "c")

    assert refused.returncode == 1
    assert (
        "pids.max: control groups cannot be written (" in refused.stderr and "hint: leave limits out" in refused.stderr
    )
    life.gone()
    del life.bundle.config["linux"]["resources"]
    life.sleep()
    updated = life.runjail("update", "--pids-limit", "5", "c")
    assert updated.returncode == 1 and "pids.max: control groups cannot be written (" in updated.stderr


def test_ids_that_nobody_gave(life: Life) -> None:
    """newuidmap, or its absence, is named; nothing stays."""
    more = [*OWN, {"containerID": 1, "hostID": 300000, "size": 10}]
    life.bundle.config["linux"]["uidMappings"] = more
    result = life.runjail("create", "-b", life.bundle.write(), "c")

    assert result.returncode == 1
    assert result.stderr.startswith("runjail: uidMappings: ")
    assert "newuidmap" in result.stderr or "/etc/subuid" in result.stderr
    life.gone()


def test_supplementary_groups(life: Life) -> None:
    """With one group they cannot be set (user_namespaces(7)), so asking for some is an error."""
    life.bundle.config["process"]["user"]["additionalGids"] = [0]
    result = life.run("true")

    failed(result, "process.user.additionalGids: this user namespace does not let groups be set")


def test_no_directory_for_what_runs(life: Life) -> None:
    result = life.runjail("create", "-b", life.bundle.write(), "c", env={})

    assert result.returncode == 1
    assert "hint: who is not root has its own with XDG_RUNTIME_DIR or --root" in result.stderr


@pytest.mark.needs("runc")
def test_what_is_seen_inside_is_what_runc_shows(life: Life, place: Path) -> None:
    questions = """id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups
grep Cap /proc/self/status; stat -c '%a %u %g %n' /* /dev/*; cut -d' ' -f5 /proc/self/mountinfo | sort; umask"""
    ours = life.says(questions)
    bundle = life.bundle.write("/bin/sh", "-c", questions)
    theirs = subprocess.run(
        ["runc", "--root", str(place / "run/runc"), "run", "-b", bundle, f"runc-{os.getpid()}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False, env={"PATH": os.defpath},
        user=ORDINARY, group=ORDINARY, extra_groups=[],
    )  # fmt: skip

    assert theirs.returncode == 0, theirs
    assert ours.splitlines() == theirs.stdout.splitlines()
