"""attach: who is at the terminal, or the standard files, of a container of run -d."""

import os
import pty
import signal
import socket
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runjail.container.attached import frame
from tests.story.test_story_logs import detached, lives, monitor
from tests.support.peers.commands import eventually, finish, on_terminal, start
from tests.support.story.cli import Cli

pytestmark = [pytest.mark.needs("root"), pytest.mark.parametrize("location", ["dir"], indirect=True)]
TELLS = "(while :; do echo ready; sleep 0.1; done) & "  # attaching shows what comes from then on
READS = f"{TELLS} read line; kill $!; echo got $line; echo bad >&2; exit 7"
SIZE = "until test \"$(stty size)\" = '33 101'; do sleep 0.1; done; "
TRAPS = "trap 'echo heard; exit 42' TERM; while :; do echo ready; sleep 0.1; done"


@contextmanager
def attached(cli: Cli, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A client without a terminal, to which output comes by now."""
    with start(words(cli, *options), {}, stdin=True) as client:
        assert client.stdout and client.stderr
        if b"ready\n" not in iter(client.stdout.readline, b""):  # it has ended
            raise AssertionError(client.stderr.read())
        yield client


def words(cli: Cli, *options: str) -> list[str]:
    """Return the command of a client."""
    return [cli.runjail.program, "--root", str(cli.runjail.root), "attach", *options, "web"]


def told(lines: list[str]) -> list[str]:
    return [line for line in lines if line not in ("", "ready")]


def test_input_output_and_exit_status(cli: Cli, hello: str) -> None:
    """What is kept is what came, as if nobody had been attached."""
    detached(cli, READS, "-i")
    with attached(cli) as client:
        done = finish(client, "something\n")

    assert (done.code, told(done.lines), done.err) == (7, ["got something"], "bad\n")
    assert cli.ok("wait", "web") == "7\n"
    shown = cli("logs", "web")
    assert (told(shown.stdout.splitlines()), shown.stderr) == (["got something"], "bad\n")
    assert "container not running: web" in cli("attach", "web").stderr


def test_the_end_of_input_is_the_program_s(cli: Cli, hello: str) -> None:
    detached(cli, "wc -l; exit 3", "-i")
    with start(words(cli), {}, stdin=True) as client:
        done = finish(client, "one\ntwo\n")

    assert (done.code, done.out.strip()) == (3, "2")


def test_without_i_there_is_no_input(cli: Cli, hello: str) -> None:
    detached(cli, f"{TELLS} read line; echo none; exec sleep 600")
    with attached(cli) as client:
        client.send_signal(signal.SIGKILL)

    eventually(lambda: "none\n" in cli.ok("logs", "web"), "the program has read")


def test_a_terminal(cli: Cli, hello: str) -> None:
    """The keys detach; the next one has the same terminal with its own size."""
    detached(cli, f"{SIZE}{READS}", "-it")
    first = on_terminal(words(cli, "--detach-keys=ctrl-x,e"), {}, b"some\x18e", b"ready", (33, 101))
    second = on_terminal(words(cli), {}, b"thing\n", b"ready", (33, 101))

    assert first.code == 0
    assert (second.code, told(second.lines)[-2:]) == (7, ["got something", "bad"])
    assert cli.ok("wait", "web") == "7\n"


def test_a_client_that_is_asked_to_end_leaves_no_raw_terminal(cli: Cli, hello: str) -> None:
    detached(cli, f"{TELLS}exec sleep 600", "-it")
    master, slave = pty.openpty()
    try:
        before = termios.tcgetattr(slave)
        with subprocess.Popen(words(cli), stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
            assert client.stdout and b"ready" in client.stdout.readline()
            assert termios.tcgetattr(slave) != before
            client.send_signal(signal.SIGTERM)
        assert (client.returncode, termios.tcgetattr(slave)) == (143, before)
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("options", [(), ("--no-stdin",)])
def test_signals_are_passed_on(cli: Cli, hello: str, options: tuple[str, ...]) -> None:
    detached(cli, TRAPS)
    with attached(cli, *options) as client:
        client.send_signal(signal.SIGTERM)
        done = finish(client)

    assert (done.code, told(done.lines)) == (42, ["heard"])


def test_without_sig_proxy_the_client_ends(cli: Cli, hello: str) -> None:
    detached(cli, TRAPS)
    with attached(cli, "--sig-proxy=false") as client:
        client.send_signal(signal.SIGTERM)
        finish(client)

    assert '"running"' in cli.ok("state", "web")


def test_a_client_that_is_killed(cli: Cli, hello: str) -> None:
    """Input has not ended, and another one has been attached meanwhile."""
    detached(cli, READS, "-i")
    with attached(cli) as one, attached(cli) as other:
        one.kill()
        one.wait()
        done = finish(other, "something\n")

    assert (done.code, told(done.lines)) == (7, ["got something"])


@pytest.mark.parametrize("options", [(), ("-i",)], ids=["without -i", "input that nobody reads"])
def test_a_monitor_that_is_killed(cli: Cli, hello: str, options: tuple[str, ...]) -> None:
    """Who is attached hears of it; the next one has another monitor, to which nobody tells how init ends."""
    detached(cli, f"exec </dev/null; {TRAPS}", *options)
    before = monitor(cli)
    with attached(cli) as client:
        os.kill(before, signal.SIGKILL)
        done = finish(client)
    eventually(lambda: not lives(before), "the monitor is gone")

    assert done.code == 1
    assert "goes on without us" in done.err
    with attached(cli) as client:
        client.send_signal(signal.SIGTERM)
        done = finish(client)
    assert (done.code, told(done.lines)) == (1, ["heard"])
    assert "nobody knows how" in done.err


def test_a_client_that_reads_nothing(cli: Cli, hello: str) -> None:
    """It neither stops the container nor makes its monitor grow: it is dropped."""
    detached(cli, "read go; n=0; while test $n -lt 60; do head -c 100000 /dev/zero; n=$((n+1)); done; exit 5", "-i")
    with connected(cli) as idle:
        idle.sendall(frame(b"i", b"go\n"))
        assert cli.ok("wait", "web") == "5\n"


def test_nonsense_is_passed_over(cli: Cli, hello: str) -> None:
    detached(cli, READS, "-i")
    with connected(cli) as odd, attached(cli) as client:
        odd.sendall(frame(b"?", b"x" * 30000) + frame(b"w", b"short") + frame(b"w", struct.pack(">HH", 1, 1)) + b"i")
        odd.close()
        done = finish(client, "something\n")

    assert (done.code, told(done.lines)) == (7, ["got something"])


@contextmanager
def connected(cli: Cli) -> Iterator[socket.socket]:
    """A client of its own kind."""
    with socket.socket(socket.AF_UNIX) as made:
        before = os.getcwd()
        os.chdir(cli.runjail.root / "web")
        try:
            made.connect("attach")
        finally:
            os.chdir(before)
        yield made


def test_nobody_is_there_to_attach_to(cli: Cli, hello: str) -> None:
    detached(cli, TRAPS, "--log-driver", "passthrough")

    done = cli("attach", "web")
    assert done.returncode == 1
    assert "nobody has the output of container web" in done.stderr
    cli.ok("delete", "--force", "web")
    detached(cli, TRAPS, "--log-driver", "none")
    assert "attaching to container web: its output is kept nowhere" in cli("attach", "web").stderr


def test_a_program_that_is_started_again(cli: Cli, hello: str) -> None:
    """Whoever is attached gets the exit status of this time; then one attaches to the next."""
    detached(cli, READS, "-i", "--restart", "always")
    for line in ("one", "two"):
        with attached(cli) as client:
            done = finish(client, f"{line}\n")
        assert (done.code, told(done.lines)) == (7, [f"got {line}"])
