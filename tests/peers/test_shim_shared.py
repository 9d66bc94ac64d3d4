"""One shim for all containers of a namespace: what it costs, and that nobody suffers from another's end."""

import os
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.peers.commands import eventually, finish, start
from tests.support.peers.shims import RUNTIME, Containerd

pytestmark = [pytest.mark.peers("containerd", "ctr", "containerd-shim-runc-v2"), pytest.mark.linux]
SETTINGS = '[shim]\nshare = "namespace"\n'


@pytest.fixture(scope="module")
def daemon(containerd: Callable[..., Containerd]) -> Containerd:
    """One containerd whose containers share shims."""
    return containerd(settings=SETTINGS)


def memory(pid: int) -> int:
    """Return what a process would free if it ended, in kilobytes (proc(5), smaps_rollup: Pss)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def descriptors(pid: int) -> int:
    """Return how many files a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def parent(pid: int) -> int:
    """Return the parent of a process: of a container's init, its shim."""
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])


def run_many(ctr: Containerd, ids: list[str]) -> None:
    """Run containers in the background, ten at a time."""
    for at in range(0, len(ids), 10):
        words = [[*ctr.command, *ctr.words(f"-d {id}", "sleep", "600")] for id in ids[at : at + 10]]
        for done in [finish(process) for process in [start(each, ctr.env) for each in words]]:
            assert done.code == 0, done


def remove_many(ctr: Containerd, ids: list[str]) -> None:
    """Remove containers, ten at a time."""
    for at in range(0, len(ids), 10):
        names = ids[at : at + 10]
        for verb in (("task", "delete", "--force"), ("container", "rm")):
            for done in [finish(start([*ctr.command, *verb, id], ctr.env)) for id in names]:
                assert done.code == 0, done


def test_containers_share_a_shim(ctr: Containerd) -> None:
    """One ends, the other goes on; the shim ends with the last one."""
    ctr.detached("one", "sleep", "600")
    ctr.detached("two", "sleep", "600")
    assert ctr.shims() == [ctr.shim_pid("one")] == [ctr.shim_pid("two")]
    ctr.remove("one")
    assert ctr.exec("two", "echo", "here").out == "here\n"
    ctr.remove("two")
    eventually(lambda: not ctr.shims(), "the shim ends")


def test_another_namespace_has_another_shim(ctr: Containerd) -> None:
    other = ["--namespace", "other"]
    ctr.detached("one", "sleep", "600")
    ctr.ok(*other, *ctr.words("-d one", "sleep", "600"))
    try:
        assert len(ctr.shims()) == 2
    finally:
        ctr(*other, "task", "delete", "--force", "one")
        ctr.ok(*other, "container", "rm", "one")


def test_a_shared_shim_is_killed(ctr: Containerd) -> None:
    """All its containers end with it, and are cleaned up."""
    for id in ("one", "two", "three"):
        ctr.detached(id, "sleep", "600")
    os.kill(ctr.shim_pid("one"), 9)
    eventually(lambda: not ctr.tasks(), "the tasks are gone")
    ctr.detached("four", "sleep", "600")

    assert ctr.exec("four", "echo", "here").out == "here\n"


def test_a_failing_creation_leaves_the_shim_to_others(ctr: Containerd) -> None:
    ctr.detached("one", "sleep", "600")
    assert ctr.run("--rm two", "nope").code != 0

    assert ctr.exec("one", "echo", "here").out == "here\n"


def test_starts_and_ends_cross(ctr: Containerd) -> None:
    """A shim that is about to end takes no new container with it."""
    for _ in range(3):
        running = [start([*ctr.command, *ctr.words(f"--rm web{n}", "true")], ctr.env) for n in range(8)]
        ended = [finish(process) for process in running]
        assert [each for each in ended if each.code] == []


@pytest.mark.slow
@pytest.mark.needs("runc")
def test_a_hundred_containers(ctr: Containerd) -> None:
    """They need at most a fifth of the memory of containerd's own shims, and nothing of theirs stays open."""
    ctr.detached("first", "sleep", "600")
    shim = ctr.shim_pid("first")
    ctr.exec("first", "true")
    before = descriptors(shim), memory(shim)
    ids = [f"web{number}" for number in range(100)]
    run_many(ctr, ids)
    ours = memory(shim) / 101
    assert ctr.shims() == [shim]
    remove_many(ctr, ids)
    after = descriptors(shim), memory(shim)

    ctr.runtime = "io.containerd.runc.v2"
    try:
        theirs = [f"runc{number}" for number in range(5)]
        for id in theirs:
            ctr.ok(*ctr.words(f"-d {id}", "/bin/sleep", "600"))
        tasks = ctr.tasks()
        own = statistics.mean(memory(parent(tasks[id][0])) for id in theirs)
        remove_many(ctr, theirs)
    finally:
        ctr.runtime = "io.containerd.runjail.v1"
    print(f"memory per container: {ours:.0f} kB of a shared shim, {own:.0f} kB of io.containerd.runc.v2's own")
    print(f"descriptors and kB of the shim before: {before}, after: {after}")

    assert ours * 5 <= own
    assert after[0] <= before[0]
    assert after[1] < before[1] * 1.5


@pytest.mark.needs("runc")
def test_memory_that_runs_out_ends_the_shim_before_containerd(ctr: Containerd) -> None:
    """Both shims have a score one above containerd's, and what says nothing of it inherits theirs."""
    theirs, scores = score(ctr.process.pid), []
    for runtime in (RUNTIME, "io.containerd.runc.v2"):
        ctr.runtime = runtime
        try:
            init = ctr.detached("web", "/bin/sleep", "600")
        finally:
            ctr.runtime = RUNTIME
        scores.append((score(parent(init)), score(init)))
        ctr.remove("web")

    assert scores == [(theirs + 1, theirs + 1)] * 2


def score(pid: int) -> int:
    """Return a process's oom_score_adj."""
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text(encoding="ascii"))
