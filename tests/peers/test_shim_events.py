"""Events: what containerd hears of our shim is what it hears of runc's, in the same order; and in order under load."""

import os
from collections.abc import Callable

import pytest

from tests.support.peers.commands import eventually, finish, start
from tests.support.peers.shims import RUNTIME, Containerd

RUNC = "io.containerd.runc.v2"
WEB = f"web{os.getpid()}"  # the state directory of runc is the machine's
AT_ONCE = 16
TRIES = 10  # of runc
SMALL = "--memory-limit 33554432"  # a newer runc itself takes nine million
EAT = "PATH=/bin:/usr/bin; tail /dev/zero"
peers = pytest.mark.peers("containerd", "ctr", "runc", "containerd-shim-runc-v2")
pytestmark = [pytest.mark.linux, pytest.mark.peers("containerd", "ctr")]


@pytest.fixture(scope="module")
def daemon(containerd: Callable[..., Containerd]) -> Containerd:
    """One containerd for all tests here."""
    return containerd()


def events(ctr: Containerd, work: Callable[[Containerd], object], last: int = 1) -> list[tuple[str, str, str]]:
    """Return topic, container and process of all events until some containers are deleted."""
    with ctr.listening() as said:

        def told() -> list[tuple[str, str, str]]:
            return [event(line) for line in said().splitlines() if " /tasks/" in line]

        work(ctr)
        eventually(lambda: [each[::2] for each in told()].count(("delete", "")) >= last, "they are deleted")
        return told()


def event(line: str) -> tuple[str, str, str]:
    """Return topic, container and process of a line that `ctr events` prints; of init's end the process is ""."""
    topic, _, text = line.partition(" /tasks/")[2].partition(" ")
    fields = dict(item.split(":", 1) for item in text.strip(" {}\n").replace('"', "").split(",") if ":" in item)
    id = fields["container_id"]
    return topic, id, "" if fields.get("id", id) == id else fields["id"]


# Beside runc's ----------------------------------------------------------------------------------------------------


def life(ctr: Containerd) -> None:
    """Do all that is told of, and a checkpoint that is refused."""
    ctr.detached(WEB, "/bin/sleep", "600")
    ctr.exec(WEB, "/bin/true")
    ctr("task", "exec", "--exec-id", "nope", "--fifo-dir", str(ctr.directory / "fifo"), WEB, "/nope")
    ctr.ok("task", "pause", WEB)
    ctr.ok("task", "resume", WEB)
    assert ctr("task", "checkpoint", "--image-path", str(ctr.directory / "checkpoint"), WEB).code != 0
    ctr.ok("task", "kill", "--signal", "KILL", WEB)
    ctr.stopped(WEB)
    ctr.ok("task", "delete", WEB)


def children(ctr: Containerd) -> None:
    """Let two children of init be killed for want of memory, one after the other."""
    assert ctr.run(f"--rm {SMALL} {WEB}", "/bin/sh", "-c", f"{EAT}; sleep 0.5; {EAT}; exit 3").code == 3


def init(ctr: Containerd) -> None:
    """Let init itself be killed."""
    assert ctr.run(f"--rm {SMALL} {WEB}", "/bin/sh", "-c", EAT.replace("tail", "exec tail")).code == 137


def child_of_exec(ctr: Containerd) -> None:
    """Let a child of another process be killed, which ends well all the same."""
    ctr.ok(*ctr.words(f"-d {SMALL} {WEB}", "/bin/sleep", "600"))
    assert ctr.exec(WEB, "/bin/sh", "-c", f"{EAT}; exit 0").code == 0
    ctr.ok("task", "kill", "--signal", "KILL", WEB)
    ctr.stopped(WEB)
    ctr.ok("task", "delete", WEB)


def heard(ctr: Containerd, runtime: str, work: Callable[[Containerd], None]) -> list[tuple[str, str, str]]:
    """Return the events of one runtime's shim."""
    ctr.runtime = runtime
    try:
        return events(ctr, work)
    finally:
        ctr("container", "rm", WEB)


@peers
@pytest.mark.needs("cgroups v1")
@pytest.mark.parametrize("work", [life, children, init, child_of_exec])
def test_the_same_as_with_runc(ctr: Containerd, work: Callable[[Containerd], None]) -> None:
    """On a busy machine runc's shim loses an `oom` of init to its end now and then: ours has to say it each time."""
    ours = heard(ctr, RUNTIME, work)
    assert (work is life) != ("oom" in [topic for topic, _id, _process in ours])

    theirs = next((said for _ in range(TRIES) if (said := heard(ctr, RUNC, work)) == ours), None)
    assert theirs == ours, "runc's shim never says that"


# Under load -------------------------------------------------------------------------------------------------------


def test_the_order_of_many(ctr: Containerd) -> None:
    """Containers that end at once, and processes in them that do: of each, its events come in their order."""

    def work(ctr: Containerd) -> None:
        words = [ctr.words(f"--rm c{number}", "/bin/true") for number in range(AT_ONCE)]
        ctr.detached("long", "/bin/sleep", "600")
        words += [ctr.exec_words(f"--exec-id e{number} long", "/bin/true") for number in range(AT_ONCE)]
        for done in [finish(process) for process in [start([*ctr.command, *each], ctr.env) for each in words]]:
            assert done.code == 0, done
        ctr.remove("long")

    heard = events(ctr, work, AT_ONCE + 1)
    for number in range(AT_ONCE):
        topics = [topic for topic, id, _process in heard if id == f"c{number}"]
        assert topics == ["create", "start", "exit", "delete"], topics
    ours = [(topic, process) for topic, id, process in heard if id == "long"]
    ends = [process for topic, process in ours if topic == "exit"]
    assert sorted(ends) == sorted(["", *(f"e{number}" for number in range(AT_ONCE))])
    assert ends[-1] == ""
    assert [topic for topic, _process in ours].count("exec-started") == AT_ONCE


def test_ends_while_containerd_was_away(ctr: Containerd) -> None:
    """What ended meanwhile is told when it is back, once, with its status."""
    script = "while ! test -e /tmp/go; do sleep 0.05; done; rm /tmp/go; exit 5"
    ctr.ok(*ctr.words("-d web", "/bin/sh", "-c", f"PATH=/bin:/usr/bin; {script}"))
    ctr.end(9)
    (ctr.rootfs / "tmp" / "go").touch()
    eventually(lambda: not (ctr.rootfs / "tmp" / "go").exists(), "it ends")
    ctr.start()
    eventually(lambda: ctr.tasks().get("web", ("", "STOPPED"))[1] == "STOPPED", "it has ended")

    if "web" in ctr.tasks():  # containerd 1.7 removes tasks that it finds stopped when it begins, whatever the shim
        assert "exit code 5" in ctr.ok("task", "delete", "web").err
