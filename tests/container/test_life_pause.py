"""pause and resume: what is stopped, what goes on, and when they are refused."""

import pytest

from tests.support.container.harness import Life, failed, is_alive, until


def test_pause_and_resume(life: Life) -> None:
    """A paused program does not run; every other verb says what it thinks of that."""
    result = life.start("/bin/sh", "-c", "while :; do echo tick; sleep 0.02; done")
    until(lambda: result.stdout)
    life.runjail.ok("pause", "c")
    assert life.runjail.state("c")["status"] == "paused"
    before = len(result.stdout)
    failed(life.runjail("pause", "c"), "cannot pause a container that is not running: paused")
    failed(life.runjail("start", "c"), "cannot start an already running container")
    failed(
        life.runjail("exec", "c", "/bin/true"),
        "cannot exec in a paused container (use --ignore-paused to override)",
        255,
    )
    assert len(result.stdout) <= before + len("tick\n")
    life.runjail.ok("resume", "c")
    assert life.runjail.state("c")["status"] == "running"
    after = len(result.stdout)
    until(lambda: len(result.stdout) > after + 20)

    failed(life.runjail("resume", "c"), "cannot resume a container that is not paused: running")


@pytest.mark.parametrize("how", [("kill", "c", "KILL"), ("kill", "--all", "c", "KILL"), ("delete", "--force", "c")])
def test_a_paused_container_can_be_killed(life: Life, how: tuple[str, ...]) -> None:
    """What is frozen would not die."""
    life.start()
    pid = life.runjail.state("c")["pid"]
    life.runjail.ok("pause", "c")
    life.runjail.ok(*how)
    until(lambda: not is_alive(pid))

    life.runjail.ok("delete", "-f", "c")


def test_pause_of_a_created_or_stopped_container_is_refused(life: Life) -> None:
    life.create()
    failed(life.runjail("pause", "c"), "cannot pause a container that is not running: created")
    life.runjail.ok("kill", "c", "KILL")
    life.runjail.wait("c")

    failed(life.runjail("pause", "c"), "cannot pause a container that is not running: stopped")
