"""Shims and containerd killed at bad moments: what runs goes on where it can, and all the rest is cleaned up."""

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.peers.commands import eventually, start
from tests.support.peers.shims import Containerd, alive, kill

pytestmark = [pytest.mark.peers("containerd", "ctr"), pytest.mark.linux]


@pytest.fixture(scope="module")
def daemon(containerd: Callable[..., Containerd]) -> Containerd:
    """One containerd for all tests here; those that kill it start it again."""
    made = containerd()
    made.import_image()
    return made


def gone(ctr: Containerd, id: str) -> None:
    """Wait until containerd has cleaned up after a container's shim; then the container can be removed."""
    eventually(lambda: id not in ctr.tasks(), "the task is gone")
    eventually(lambda: not ctr.bundle(id).exists(), "its bundle is gone")
    ctr.ok("container", "rm", id)
    assert not (ctr.state / id).exists()
    assert ctr.ours.mounts(str(ctr.directory)) == []


def hooked(ctr: Containerd, kind: str) -> list[str]:
    """Return the words that run a container with a hook that takes half a second; `hook` exists once it has begun."""
    if not (ctr.directory / "config.json").exists():
        ctr.detached("sample", "sleep", "600")
        (ctr.directory / "config.json").write_bytes((ctr.bundle("sample") / "config.json").read_bytes())
        ctr.remove("sample")
    config: dict[str, Any] = json.loads((ctr.directory / "config.json").read_bytes())
    mark = ctr.directory / "hook"
    mark.unlink(missing_ok=True)
    config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"echo x >{mark}; sleep 0.5"]}]}
    config["linux"]["cgroupsPath"] = f"/{ctr.ours.group}/web"
    path = ctr.directory / f"{kind}.json"
    path.write_text(json.dumps(config), encoding="ascii")
    words = ["run", "-d", "--runtime", ctr.runtime, "--fifo-dir", str(ctr.directory / "fifo")]
    return [*words, "--config", str(path), "web"]


# the shim ---------------------------------------------------------------------------------------------------------


def test_the_shim_of_a_running_container(ctr: Containerd) -> None:
    pid = ctr.detached("web", "sh", "-c", "sleep 605 & wait")
    kill(ctr.shim_pid("web"))
    gone(ctr, "web")

    assert not alive(pid)


def test_the_shim_of_a_container_with_an_image(ctr: Containerd) -> None:
    """The mounts of its root file system go too."""
    ctr.ok(*ctr.image_words("-d web", "sleep", "600"))
    kill(ctr.shim_pid("web"))
    gone(ctr, "web")


def test_the_shim_during_create(ctr: Containerd) -> None:
    with start([*ctr.command, *hooked(ctr, "createRuntime")], ctr.env) as creating:
        eventually((ctr.directory / "hook").exists, "the hook runs")
        kill(ctr.shim_pid("web"))
        assert creating.wait(120) != 0
        creating.communicate()
    ctr("task", "delete", "--force", "web")
    gone(ctr, "web")


def test_the_shim_during_exec(ctr: Containerd) -> None:
    ctr.detached("web", "sleep", "600")
    with start([*ctr.command, *ctr.exec_words("web", "sh", "-c", "echo begun; sleep 606")], ctr.env) as running:
        assert running.stdout and running.stdout.readline() == b"begun\n"
        kill(ctr.shim_pid("web"))
        assert running.wait(120) != 0
        running.communicate()
    gone(ctr, "web")


def test_the_shim_during_delete(ctr: Containerd) -> None:
    stopped_with_hook(ctr)
    with start([*ctr.command, "task", "delete", "web"], ctr.env) as deleting:
        eventually((ctr.directory / "hook").exists, "the hook runs")
        kill(ctr.shim_pid("web"))
        deleting.communicate(timeout=120)
    gone(ctr, "web")


@pytest.mark.parametrize("milliseconds", [0, 5, 10, 20, 40, 80])
def test_the_shim_at_any_time(ctr: Containerd, milliseconds: int) -> None:
    """Whatever it was doing, what stays can be removed."""
    with subprocess.Popen(
        [*ctr.command, *ctr.image_words("-d web", "sleep", "600")], env=ctr.env, stderr=subprocess.DEVNULL
    ) as running:
        eventually(lambda: (ctr.bundle("web") / "shim.pid").exists() or running.poll() is not None, "a shim")
        time.sleep(milliseconds / 1000)
        with contextlib.suppress(OSError, ValueError):
            kill(ctr.shim_pid("web"))
        running.wait(120)
    ctr("task", "delete", "--force", "web")
    gone(ctr, "web")


# containerd -------------------------------------------------------------------------------------------------------


def test_containerd_while_containers_run(ctr: Containerd) -> None:
    """They go on; what ended meanwhile has its exit status; exec, kill and delete work again."""
    pid = ctr.detached("web", "sleep", "600")
    ctr.ok(*ctr.words("-d job", "sh", "-c", "while ! test -e /tmp/go; do sleep 0.05; done; exit 5"))
    ctr.end(signal.SIGKILL)
    (ctr.rootfs / "tmp" / "go").touch()
    eventually(lambda: not processes(ctr, "/tmp/go"), "the job ends")
    (ctr.rootfs / "tmp" / "go").unlink()
    ctr.start()

    assert ctr.tasks()["web"] == (pid, "RUNNING")
    assert ctr.tasks()["job"][1] == "STOPPED"
    assert "exit code 5" in ctr.ok("task", "delete", "job").err
    assert ctr.exec("web", "sh", "-c", "echo back").out == "back\n"
    ctr.ok("task", "kill", "--signal", "KILL", "web")
    ctr.stopped("web")
    assert "exit code 137" in ctr.ok("task", "delete", "web").err
    eventually(lambda: not ctr.shims(), "the shims end")


def processes(ctr: Containerd, text: str) -> list[str]:
    """Return the containers' processes whose command line contains the text."""
    return [line for _pid, line in ctr.ours.processes() if text in line and "ctr" not in line]


def test_containerd_during_create(ctr: Containerd) -> None:
    """The container that nobody waits for any more is removed when containerd is back, and its shim ends."""
    with start([*ctr.command, *hooked(ctr, "createRuntime")], ctr.env) as creating:
        eventually((ctr.directory / "hook").exists, "the hook runs")
        ctr.end(signal.SIGKILL)
        creating.communicate(timeout=120)
    ctr.start()
    ctr("task", "delete", "--force", "web")  # containerd 2 may have done it
    gone(ctr, "web")
    eventually(lambda: not ctr.shims(), "its shim ends")


def test_both_while_containers_run(ctr: Containerd) -> None:
    pids = [ctr.detached("web", "sleep", "600")]
    ctr.ok(*ctr.image_words("-d other", "sleep", "600"))
    shims = [ctr.shim_pid("web"), ctr.shim_pid("other")]
    ctr.end(signal.SIGKILL)
    kill(*shims)
    ctr.start()
    ctr("task", "delete", "--force", "web")
    ctr("task", "delete", "--force", "other")
    eventually(lambda: not ctr.tasks(), "the tasks are gone")
    ctr.ok("container", "rm", "other")
    gone(ctr, "web")

    assert not any(map(alive, pids))


def test_both_during_create(ctr: Containerd) -> None:
    both_end_during(ctr, *hooked(ctr, "createRuntime"))


def test_both_during_delete(ctr: Containerd) -> None:
    stopped_with_hook(ctr)
    both_end_during(ctr, "task", "delete", "web")


def stopped_with_hook(ctr: Containerd) -> None:
    """Make a container whose program has ended, and whose hook is in the way of its deletion."""
    ctr.ok(*hooked(ctr, "poststop"))
    ctr.ok("task", "kill", "--signal", "KILL", "web")
    ctr.stopped("web")


def both_end_during(ctr: Containerd, *words: str) -> None:
    """Kill containerd and the shim while a hook of the container keeps this command waiting; then clean up."""
    with start([*ctr.command, *words], ctr.env) as running:
        eventually((ctr.directory / "hook").exists, "the hook runs")
        shim = ctr.shim_pid("web")
        ctr.end(signal.SIGKILL)
        kill(shim)
        running.communicate(timeout=120)
    ctr.start()
    ctr("task", "delete", "--force", "web")
    gone(ctr, "web")
