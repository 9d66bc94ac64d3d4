"""SIGKILL at every step of a run on a network: delete gives everything back, whatever plugins are still doing."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.container import fault_injection
from tests.support.container.harness import until
from tests.support.container.victim import interpreter
from tests.support.network.plugins import Cni, wait_for
from tests.support.program import begin
from tests.support.story.cli import Cli

pytestmark = [
    pytest.mark.needs("root", "linux", "containers"),
    pytest.mark.parametrize("location", ["dir"], indirect=True),
    pytest.mark.limit(1800),
]
MOST = 1000


@pytest.fixture
def cni(tmp_path: Path, cli: Cli) -> Cni:
    """Two plugins and a network of them."""
    found = Cni(tmp_path / "cni")
    found.add("first", "second")
    found.write("web", {"type": "first"}, {"type": "second"})
    cli.env = found.env()
    return found


def words(cli: Cli, hello: str, *options: str) -> list[str]:
    """Return what follows the program's name."""
    return ["--store", cli.location, "run", *options, "--image", hello, "--network", "web", "web", "/bin/true"]


def nothing_is_left(cli: Cli, cni: Cni, what: str) -> None:
    """Delete by force, and look."""
    cli.ok("delete", "--force", "web")
    cli.ok("image", "prune")
    assert cni.taken() == [], what
    assert not (cli.runjail.root / "web").exists(), what
    assert str(cli.runjail.root) not in Path("/proc/self/mounts").read_text(), what


@pytest.mark.slow
def test_run_killed_at_every_step(cli: Cli, hello: str, cni: Cni) -> None:
    """From the first note on: what comes before belongs to images, whose tests kill it."""
    killer = [*interpreter(), str(fault_injection.__file__), "parent"]
    reached = False
    for number in range(1, MOST):
        command = [*killer, str(number), "--root", str(cli.runjail.root), *words(cli, hello)]
        with open(cni.base / "said", "wb") as said:  # no pipe: an init whose creator was killed has it open
            ended = subprocess.run(command, stdout=said, stderr=said, env=cli.env, timeout=300, check=False)
        reached = reached or (cli.runjail.root / "web" / "undo").exists()
        if reached or number % 10 == 0:
            nothing_is_left(cli, cni, f"killed before step {number}")
        if ended.returncode == 0:
            break
    else:
        pytest.fail("it never got through")
    assert reached
    assert {call[0] for call in cni.seen()} == {"ADD", "DEL"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_plugin_that_outlives_its_caller_is_waited_for(
    cli: Cli, hello: str, cni: Cni, number: signal.Signals
) -> None:
    """Else what it takes after DEL would be nobody's. A signal that can be heard ends the plugin instead."""
    cni.write("web", {"type": "first", "wait": ["ADD"]}, {"type": "second"})
    runner = subprocess.Popen([cli.runjail.program, "--root", str(cli.runjail.root), *words(cli, hello)], env=cli.env)
    wait_for(cni.base / "waiting")
    runner.send_signal(number)
    runner.wait()
    deleter = begin(cli.runjail, "delete", "--force", "web")
    if number == signal.SIGKILL:
        assert [call[0] for call in cni.seen()] == ["ADD"]
    (cni.base / "go").touch()

    assert deleter.wait(300) == 0
    nothing_is_left(cli, cni, "after the plugin")


def test_a_container_that_is_deleted_while_plugins_run_is_not_made(cli: Cli, hello: str, cni: Cni) -> None:
    """Who deletes waits for the plugin; the creator goes on by then, and its init must not outlive the container."""
    cni.write("web", {"type": "first", "wait": ["ADD"]}, {"type": "second"})
    command = [*words(cli, hello)[:-1], "/bin/sleep", "600"]
    runner = subprocess.Popen(
        [cli.runjail.program, "--root", str(cli.runjail.root), *command], env=cli.env, start_new_session=True
    )
    wait_for(cni.base / "waiting")
    deleter = begin(cli.runjail, "delete", "--force", "web")
    until(lambda: waits_for_turn(deleter.pid, cli.runjail.root / "web" / "networks"))
    (cni.base / "go").touch()

    assert deleter.wait(300) == 0
    assert runner.wait(300) != 0
    nothing_is_left(cli, cni, "after both")


def waits_for_turn(pid: int, path: Path) -> bool:
    """Whether a process has the file open on which those who call plugins take turns."""
    try:
        return any(os.path.realpath(link) == str(path) for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def test_the_container_is_not_locked_while_a_plugin_runs(cli: Cli, hello: str, cni: Cni) -> None:
    """A plugin, or anybody else, may ask for its state."""
    cni.write("web", {"type": "first", "wait": ["ADD", "DEL"]})
    runner = subprocess.Popen([cli.runjail.program, "--root", str(cli.runjail.root), *words(cli, hello)], env=cli.env)
    wait_for(cni.base / "waiting")

    assert cli.runjail.state("web")["status"] == "creating"
    (cni.base / "waiting").unlink()
    (cni.base / "go").touch()
    assert runner.wait(300) == 0
    assert cni.taken() == []


def test_a_plugin_that_fails_to_delete_is_asked_again(cli: Cli, hello: str, cni: Cni) -> None:
    """The namespace stays with the notes: the plugin may need it."""
    cni.write("web", {"type": "first"}, {"type": "second", "fail": ["DEL"]})
    cli.ok("run", "-d", "--image", hello, "--network", "web", "web", "/bin/sleep", "600")

    said = cli.refused("delete", "--force", "web")

    assert said == "network web: CNI plugin second: DEL: no room: try again"
    assert (cli.runjail.root / "web" / "netns").exists()
    assert [path.split("-")[0] for path in cni.taken()] == ["second"]
    text = (cli.runjail.root / "web" / "undo").read_text().replace('"fail": ["DEL"]', '"fail": []')
    (cli.runjail.root / "web" / "undo").write_text(text)
    nothing_is_left(cli, cni, "the second time")


def test_deleters_take_turns(cli: Cli, hello: str, cni: Cni) -> None:
    """CNI has no plugin called twice at once for one container."""
    cni.write("web", {"type": "first", "wait": ["DEL"]})
    cli.ok("run", "-d", "--image", hello, "--network", "web", "web", "/bin/sleep", "600")
    deleters = [begin(cli.runjail, "delete", "--force", "web") for _ in range(2)]
    wait_for(cni.base / "waiting")
    (cni.base / "go").touch()

    assert [deleter.wait(300) for deleter in deleters] == [0, 0]
    until(lambda: not (cli.runjail.root / "web").exists())
    assert cni.taken() == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--network", "mail"), "there is no network mail in "),
        (("--network", "web", "-p", "80:80"), "network web: no plugin of it publishes ports"),
        (("-p", "80:80"), "--publish: there is no network in "),
        (("--network", "host", "-p", "80:80"), "--publish is of no use with --network host"),
        (("--network", "web,host"), "--network: host and none stand alone, and a name stands once: web, host"),
        (("--network", "late"), "CNI plugin third is not in "),
    ],
)
def test_mistakes_are_told_before_anything_is_made(
    cli: Cli, cni: Cni, hello: str, options: tuple[str, ...], said: str
) -> None:
    cni.write("late", {"type": "third"})

    assert cli.refused("run", "--image", hello, *options, "web", "/bin/true").startswith(said)
    assert (cni.seen(), cli.runjail.root.exists() and cli.runjail.ids()) == ([], False)
