"""run -d --restart: a container whose program has ended is made again, as with podman."""

import fcntl
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runjail.container.restart import FIRST_DELAY, LONGEST_DELAY
from tests.support.container.harness import is_alive
from tests.support.peers.commands import eventually
from tests.support.story.cli import Cli

pytestmark = [pytest.mark.needs("root"), pytest.mark.parametrize("location", ["dir"], indirect=True)]

WITHOUT = "a program that is started again would be without"
COUNT = "echo x >> /count; cat /count | wc -l; "


def run(cli: Cli, policy: str, script: str, *options: str) -> None:
    cli.ok("run", "-d", "--restart", policy, *options, "--image", "hello", "--name", "web", "/bin/sh", "-c", script)


def shown(cli: Cli) -> Any:
    return json.loads(cli.ok("inspect", "web"))[0]


def facts(cli: Cli, name: str) -> Any:
    return json.loads((cli.runjail.root / "web" / name).read_text())


def status(cli: Cli) -> Any:
    return json.loads(cli.ok("state", "web"))["status"]


def until_waiting(cli: Cli) -> None:
    """Wait until a program has ended, and is started again in 50 seconds: time enough to look at what is meanwhile."""

    def waits() -> bool:
        directory = os.open(cli.runjail.root / "web", os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            found = facts(cli, "restart")
            if found["waiting"] and found["delay"] == 50:
                return True
            (cli.runjail.root / "web" / "restart").write_text(json.dumps({**found, "delay": 25.0}))
            return False
        finally:
            os.close(directory)

    eventually(waits, "a pause")


def test_as_often_as_it_was_said(cli: Cli, hello: str) -> None:
    """The root file system and the output stay, and the last exit status is the one that counts."""
    run(cli, "on-failure:2", f"{COUNT} exit 3")

    assert cli.ok("wait", "web") == "3\n"
    assert [line.strip() for line in cli.ok("logs", "web").splitlines()] == ["1", "2", "3"]
    found = shown(cli)
    assert (found["RestartCount"], found["State"]["ExitCode"], found["State"]["Status"]) == (2, 3, "exited")
    assert found["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert found["State"]["Error"] == ""
    eventually(lambda: not is_alive(facts(cli, "monitor")["pid"]), "the monitor ends with its container")


def test_a_success_is_no_failure(cli: Cli, hello: str) -> None:
    run(cli, "on-failure", f'{COUNT} test "$(cat /count | wc -l)" -ge 2')

    assert cli.ok("wait", "web") == "0\n"
    assert shown(cli)["RestartCount"] == 1


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_whatever_the_status(cli: Cli, hello: str, policy: str) -> None:
    """Whoever follows the output sees all of it, by one monitor; it does not grow."""
    run(cli, policy, f"{COUNT} test $(cat /count | wc -l) -lt 4 || exec sleep 600")
    before, notes = facts(cli, "monitor")["pid"], cli.runjail.root / "web" / "undo"
    begun = len(notes.read_text().splitlines())

    eventually(lambda: "4" in cli.ok("logs", "web") and status(cli) == "running", "three restarts")

    assert facts(cli, "monitor")["pid"] == before
    assert len(notes.read_text().splitlines()) <= begun
    assert shown(cli)["RestartCount"] == 3
    assert cli.ok("exec", "web", "/bin/cat", "/count") == "x\n" * 4
    cli.ok("kill", "web")
    cli.ok("kill", "--all", "web", "KILL")
    assert cli.ok("wait", "web") in ("143\n", "137\n")


@pytest.mark.parametrize("word", ["TERM", "KILL", "INT", "USR1"])
def test_who_ends_it_does_not_want_it_again(cli: Cli, hello: str, word: str) -> None:
    """USR1 is the container's own signal to end."""
    run(cli, "always", "trap 'exit 9' TERM INT USR1; echo ready; while :; do sleep 0.05; done", "--stop-signal", "USR1")
    eventually(lambda: cli.ok("logs", "web"), "its trap")
    cli.ok("kill", "web", word)

    assert cli.ok("wait", "web") == ("137\n" if word == "KILL" else "9\n")
    assert shown(cli)["RestartCount"] == 0


def test_another_signal_is_no_wish_to_end(cli: Cli, hello: str) -> None:
    run(cli, "always", f"trap 'exit 1' HUP; {COUNT} while :; do sleep 0.05; done")
    eventually(lambda: "1" in cli.ok("logs", "web"), "output")

    cli.ok("kill", "web", "HUP")

    eventually(lambda: "2" in cli.ok("logs", "web"), "a restart")


def test_a_pause_can_be_ended(cli: Cli, hello: str) -> None:
    """While it waits the container is stopped; kill and delete end that."""
    run(cli, "always", "exit 5")
    until_waiting(cli)
    found = shown(cli)["State"]
    assert (status(cli), found["Status"], found["Restarting"], found["ExitCode"]) == (
        "stopped",
        "restarting",
        True,
        5,
    )

    cli.ok("kill", "web")

    assert cli.ok("wait", "web") == "5\n"
    assert shown(cli)["State"]["Status"] == "exited"
    assert cli.refused("kill", "web") == "container not running: web"


def test_a_program_that_has_just_ended_is_not_started_again(cli: Cli, hello: str) -> None:
    """Its monitor has not seen its end yet when somebody has it ended."""
    run(cli, "always", "exec sleep 600")
    monitor, pid = facts(cli, "monitor")["pid"], json.loads(cli.ok("state", "web"))["pid"]
    os.kill(monitor, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: status(cli) == "stopped", "its end")

    cli.ok("kill", "web")
    os.kill(monitor, signal.SIGCONT)

    assert cli.ok("wait", "web") == "137\n"
    assert shown(cli)["RestartCount"] == 0


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_waiting_container_can_be_deleted(cli: Cli, hello: str, force: tuple[str, ...]) -> None:
    run(cli, "always", "exit 5")
    until_waiting(cli)
    monitor = facts(cli, "monitor")["pid"]

    cli.ok("delete", *force, "web")

    eventually(lambda: not is_alive(monitor), "the monitor ends with its container")
    assert cli.left() == {"roots": [], "bundles": [], "containers": []}


@pytest.fixture
def bundle(cli: Cli, hello: str, tmp_path: Path) -> Iterator[Path]:
    """A bundle to have hooks in."""
    found = tmp_path / "bundle"
    cli.ok("image", "bundle", hello, str(found))
    yield found
    cli.runjail("delete", "--force", "web")
    (found / "config.json").unlink()
    cli.ok("image", "prune")


def write(bundle: Path, script: str, hooks: dict[str, str]) -> None:
    """Say what a bundle runs, and the scripts of its hooks."""
    path = bundle / "config.json"
    config = json.loads(path.read_text())
    config["process"]["args"] = ["/bin/sh", "-c", script]
    listed = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", each]}] for kind, each in hooks.items()}
    path.write_text(json.dumps({**config, "hooks": listed}))


def test_hooks_run_each_time(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    """As podman has them run: what create made is taken back in between, and state says so to hooks."""
    said = tmp_path / "said"
    hook = f'grep -o \'"status": *"[a-z]*"\' >> {said}'
    write(bundle, "sleep 0.2; exit 1", dict.fromkeys(("createRuntime", "poststart", "poststop"), hook))

    cli.ok("run", "-d", "--restart", "on-failure:1", "-b", str(bundle), "web")

    assert cli.ok("wait", "web") == "1\n"
    found = [line.split('"')[3] for line in said.read_text().splitlines()]
    assert found == ["creating", "running", "stopped", "creating", "running"]
    cli.ok("delete", "web")
    assert said.read_text().splitlines()[-1].split('"')[3] == "stopped"


def test_who_ends_it_while_it_is_made_again_does_not_want_it_again(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    """Whether init is there already or not; the exit status is that of the program's last run."""
    begun, again, over = (tmp_path / name for name in ("begun", "again", "over"))
    second = f"touch {again}; while ! test -e {over}; do sleep 0.05; done"
    write(bundle, "exit 7", {"createRuntime": f"test -e {begun} && {{ {second}; }} || touch {begun}"})
    cli.ok("run", "-d", "--restart", "always", "-b", str(bundle), "web")
    eventually(again.exists, "the second time, when init is known")
    assert status(cli) == "creating"
    state = cli.runjail.root / "web" / "state.json"
    known = state.read_text()
    document = json.loads(known)
    (host,) = (value for value in document.values() if isinstance(value, dict) and "pid" in value)
    host["pid"] = 0
    state.write_text(json.dumps(document))

    cli.ok("kill", "web")
    state.write_text(known)
    over.touch()

    assert cli.ok("wait", "web") == "7\n"
    found = shown(cli)
    assert (found["State"]["Status"], found["State"]["Error"]) == ("exited", "")
    assert [line for line in (cli.runjail.root / "web" / "undo").read_text().splitlines() if line] == []
    cli.ok("delete", "web")


def test_one_that_cannot_be_made_again_says_why(cli: Cli, hello: str, tmp_path: Path) -> None:
    """It stays, stopped, with the reason, and nothing of it but its directory."""
    pid_file = tmp_path / "pid"
    run(cli, "always", "rm /bin/sh; exit 4", "--pid-file", str(pid_file))

    assert cli.ok("wait", "web") == "127\n"
    found = shown(cli)["State"]
    assert (found["Status"], found["ExitCode"]) == ("exited", 127)
    assert found["Error"] == 'exec: "/bin/sh": stat /bin/sh: no such file or directory'
    notes = (cli.runjail.root / "web" / "undo").read_text()
    assert [line for line in notes.splitlines() if line] == []
    assert cli.ok("delete", "web") == ""


def test_a_killed_monitor_leaves_what_delete_removes(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    """In the middle of making it again, while a hook runs: that is the host's, and goes on, as it does with runc."""
    begun = tmp_path / "begun"
    hook = f"test -e {begun} && {{ echo $$ > {begun}; exec sleep 600; }}; touch {begun}"
    write(bundle, "exit 1", {"createRuntime": hook})
    cli.ok("run", "-d", "--restart", "always", "-b", str(bundle), "web")
    eventually(lambda: begun.read_text().strip(), "the second time")
    assert status(cli) == "creating"

    os.kill(facts(cli, "monitor")["pid"], signal.SIGKILL)

    eventually(lambda: status(cli) == "stopped", "nobody makes it")
    assert shown(cli)["State"]["Restarting"] is False
    cli.ok("delete", "--force", "web")
    assert cli.runjail.ids() == []
    os.kill(int(begun.read_text()), signal.SIGKILL)  # and with it ends the process that watches over it


def test_a_hook_that_fails_leaves_a_stopped_container(cli: Cli, bundle: Path) -> None:
    """What `start` would undo as a whole stays when it is started again: the output is all there is to find out by."""
    write(bundle, "echo out; exit 1", {"startContainer": "test ! -e /begun && touch /begun"})
    cli.ok("run", "-d", "--restart", "always", "-b", str(bundle), "web")

    assert cli.ok("wait", "web") == "125\n"
    assert "hook" in shown(cli)["State"]["Error"]
    assert status(cli) == "stopped"
    assert cli.ok("logs", "web") == "out\n"
    cli.ok("delete", "web")


def test_pauses_grow(cli: Cli, hello: str) -> None:
    run(cli, "always", "exit 5")
    seen: set[float] = set()
    eventually(lambda: seen.add(facts(cli, "restart")["delay"]) or max(seen) > 1, "longer pauses")

    assert seen <= {0.0, *(FIRST_DELAY * 2**each for each in range(10))}
    assert LONGEST_DELAY == 60


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("-d", "--restart", "often"), "--restart: not a policy: 'often'"),
        (("-d", "--restart", "always:3"), "--restart: not a policy: 'always:3'"),
        (("-d", "--restart", "on-failure:-1"), "--restart: not a policy: 'on-failure:-1'"),
        (
            ("--restart", "always"),
            "--restart needs --detach: in the foreground a container is deleted when its program ends",
        ),
        (
            ("-d", "--restart", "always", "--log-driver", "passthrough"),
            "--restart excludes --console-socket and --log-driver passthrough: both end with the caller",
        ),
        pytest.param(
            ("-d", "--restart", "always", "--pidfd-socket", "/nowhere"),
            f"--restart excludes --preserve-fds, LISTEN_FDS and --pidfd-socket: {WITHOUT}",
            marks=pytest.mark.linux,
        ),
    ],
)
def test_mistakes(cli: Cli, words: tuple[str, ...], text: str) -> None:
    assert cli.refused("run", *words, "--image", "hello", "--name", "web") == text
