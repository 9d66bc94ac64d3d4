"""Who is killed for want of memory: what the kernel tells and counts, on control groups v1 and v2."""

import os
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail.host.linux.oom import OomWatch
from tests.support.leaks import Held

TOP = Path("/sys/fs/cgroup")
MEMORY, UNIFIED, V2 = TOP / "memory", TOP / "unified", (TOP / "cgroup.controllers").exists()
pytestmark = pytest.mark.linux
EATER = "echo 0 >$0/cgroup.procs; tail /dev/zero; exit 3"


@pytest.fixture
def group() -> Iterator[Path]:
    """A group that holds 8 MiB."""
    path = (TOP if V2 else MEMORY) / f"runjail-test-oom-{os.getpid()}"
    path.mkdir()
    (path / ("memory.max" if V2 else "memory.limit_in_bytes")).write_text(str(8 << 20), encoding="ascii")
    if V2 and (path / "memory.swap.max").exists():
        (path / "memory.swap.max").write_text("0", encoding="ascii")
    yield path
    path.rmdir()


def ready(watch: OomWatch, seconds: float) -> bool:
    """Whether there is news within some seconds."""
    poll = select.poll()
    poll.register(watch.descriptor, watch.events)
    return bool(poll.poll(seconds * 1000))


@pytest.mark.needs("cgroups")
def test_a_child_is_killed(group: Path) -> None:
    """Twice, and its parent lives."""
    watch = OomWatch(str(group / ("memory.events" if V2 else "memory.oom_control")))
    assert (ready(watch, 0), watch.kills()) == (False, 0)
    for count in (1, 2):
        done = subprocess.run(["sh", "-c", EATER, group], capture_output=True)
        assert done.returncode == 3
        assert ready(watch, 60)
        while ready(watch, 0.2):  # v2 counts several events, one after the other
            watch.acknowledge()
        assert watch.kills() == count
    watch.close()


@pytest.mark.needs("cgroups v1")
def test_a_group_that_is_removed(group: Path) -> None:
    """It tells once more, and there is nothing to be read."""
    watch = OomWatch(str(group / "memory.oom_control"))
    group.rmdir()
    assert ready(watch, 60)
    watch.acknowledge()
    assert (ready(watch, 0.1), watch.kills()) == (False, 0)
    watch.close()
    group.mkdir()


@pytest.mark.skipif(not os.access(UNIFIED / "cgroup.procs", os.W_OK), reason="needs a tree of cgroup v2")
def test_a_number_of_v2_changes() -> None:
    """Every such file tells in the same way, and memory.events is not in a tree that v1 has the memory of."""
    path = UNIFIED / f"runjail-test-oom-{os.getpid()}"
    path.mkdir()
    try:
        watch = OomWatch(str(path / "cgroup.events"))
        assert not ready(watch, 0)
        with subprocess.Popen(["sh", "-c", "echo 0 >$0/cgroup.procs; read x", path], stdin=subprocess.PIPE) as member:
            assert ready(watch, 60)
            watch.acknowledge()
            assert not ready(watch, 0.05)
            member.communicate(b"x\n")
        assert ready(watch, 60)
        watch.close()
    finally:
        path.rmdir()


def test_what_v2_counts(tmp_path: Path) -> None:
    file = tmp_path / "memory.events"
    file.write_text("low 0\nhigh 2\nmax 5\noom 4\noom_kill 3\noom_group_kill 0\n", encoding="ascii")
    watch = OomWatch(str(file))

    assert watch.kills() == 3
    watch.close()


def test_a_group_without_numbers(tmp_path: Path) -> None:
    before = Held()
    for name in ("memory.events", "memory.oom_control"):
        with pytest.raises(FileNotFoundError):
            OomWatch(str(tmp_path / name))

    assert before.more() == []
