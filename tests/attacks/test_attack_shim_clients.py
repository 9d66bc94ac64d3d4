"""Clients of the shim, and other users of the machine, who want it to spin, to fill its memory, or to serve them."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runjail import protobuf
from runjail.errors import HostError
from runjail.shim import messages
from runjail.shim.stdio import Stdio
from tests.support.shim.caller import Caller, eventually
from tests.support.shim.peer import Peer
from tests.support.shim.talk import TASK, Client, frame

INVALID = 3
NOBODY = 65534
GONE = ("ConnectionReset", "BrokenPipe")
pytestmark = pytest.mark.needs("root")


class Shim:
    """A shim that runs, without containers."""

    def __init__(self, caller: Caller, files: int = 0) -> None:
        caller.bundle("web")
        words = [
            "/bin/sh",
            "-c",
            f'ulimit -n {files or "$(ulimit -n)"}; exec "$@"',
            "sh",
            *caller.words("web", "start"),
        ]
        done = subprocess.run(words, input=caller.parameters("web"), capture_output=True, env=caller.env, check=True)
        self.path = done.stdout.decode().removeprefix("unix://")
        self.pid = caller.pid("web")
        self.clients: list[Client] = []
        self.connect()  # for as long as somebody is connected it does not end

    def connect(self) -> Client:
        """Return one more client."""
        self.clients.append(Client(self.path))
        return self.clients[-1]

    def seconds(self) -> float:
        """Return the processor time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def used(self, seconds: float) -> float:
        """Return the processor time that it uses in so many seconds."""
        before = self.seconds()
        time.sleep(seconds)
        return self.seconds() - before

    def megabytes(self) -> float:
        """Return what it has in memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize() / (1 << 20)


@pytest.fixture
def shim(caller: Caller) -> Iterator[Shim]:
    made = Shim(caller)
    yield made
    for client in made.clients:
        client.socket.close()


# Descriptors and memory -------------------------------------------------------------------------------------------


@pytest.mark.linux
@pytest.mark.parametrize("late", [True, False])
def test_no_descriptors_for_another_client(caller: Caller, late: bool) -> None:
    """Late: there are no more descriptors. Not late: no more connections are allowed with so few. The others wait."""
    shim = Shim(caller, 0 if late else 40)
    if late:
        have = len(os.listdir(f"/proc/{shim.pid}/fd"))
        resource.prlimit(shim.pid, resource.RLIMIT_NOFILE, (have + 4, have + 4))
    for _ in range(45):
        shim.connect()
    eventually(lambda: shim.used(2.0) < 0.05, "it spins")

    assert shim.clients[0].pid() == shim.pid  # who is connected is served
    for client in shim.clients:
        client.socket.close()
    assert shim.connect().pid() == shim.pid  # and whoever comes when there is room
    shim.clients[-1].socket.close()


@pytest.mark.linux
def test_a_client_that_never_reads(shim: Shim) -> None:
    """Its answers, which repeat what it asks, must not pile up."""
    client = shim.connect()
    before = shim.megabytes()
    sent = 0
    try:
        for _ in range(64):
            client.send("M" * (1 << 20), service="s")
            sent += 1
    except OSError:  # thrown out
        pass

    assert sent
    assert shim.clients[0].pid() == shim.pid
    assert shim.megabytes() - before < 30


@pytest.mark.linux
def test_a_message_of_many_parts(shim: Shim) -> None:
    """Two bytes each, of which a list of mounts would make hundreds."""
    client = shim.connect()
    before = shim.megabytes()
    client.send("Create", b"\x0a\x03web" + b"\x1a\x00" * 400_000)
    status = client.receive()["status"]

    assert status["code"] == INVALID, status
    assert shim.megabytes() - before < 40
    assert client.pid() == shim.pid


def test_answers_that_nobody_takes(peer: Peer) -> None:
    """However long each is: the connection ends before they fill the memory."""
    other = socket.socket(socket.AF_UNIX)
    other.connect(peer.path)
    for number in range(12):
        peer.request(2 * number + 1, "M")
    peer.turn()
    assert len(peer.answers) == 12
    for answer, _refuse in peer.answers:
        answer(bytes(3 << 20))

    assert len(peer.server.clients) == 1
    other.close()


def test_requests_that_are_never_answered(peer: Peer) -> None:
    """`Wait` may take for ever; a flood of them may not."""
    for number in range(3000):
        peer.request(2 * number + 1, "Wait")
        if number % 100 == 0:
            peer.turn()
    peer.turn()

    assert 500 <= len(peer.asked) < 2000
    assert peer.receive()[1]["status"]["code"] == 8


def test_half_of_a_message(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who begins one and goes no further is thrown out; who is idle between two is not."""
    half, idle = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    for each in (half, idle):
        each.connect(peer.path)
        each.settimeout(120)
    half.sendall(b"\0\0\1\0\0")
    peer.request(1, "M")
    peer.turn()
    assert peer.asked == [("s", "M", b"")]
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + 60)
    peer.turn()

    assert half.recv(1) == b""
    peer.socket.close()
    peer.socket = idle
    peer.request(1, "Later")
    peer.turn()
    assert peer.asked[-1][1] == "Later"
    half.close()


# Other users ------------------------------------------------------------------------------------------------------


def as_nobody(script: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a Python script as another user."""
    command = [sys.executable, "-IS", "-c", script, *words]
    return subprocess.run(command, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True, cwd="/")


CONNECT = """
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.settimeout(120)
try:
    client.connect(sys.argv[1])
    client.sendall(bytes.fromhex(sys.argv[2]))
    print("served" if client.recv(1) else "closed")
except OSError as error:
    print(type(error).__name__)
"""


def request() -> str:
    """Return the bytes of a request, in hexadecimal."""
    payload = protobuf.encode(messages.ID, {"id": "web"})
    data = protobuf.encode(messages.REQUEST, {"service": TASK, "method": "Connect", "payload": payload})
    return frame(1, data).hex()


def test_another_user_cannot_connect(shim: Shim) -> None:
    """Neither by the socket's permissions, nor where somebody has changed these."""
    assert shim.clients[0].pid() == shim.pid
    assert as_nobody(CONNECT, shim.path, request()).stdout == "PermissionError\n"
    os.chmod(shim.path, 0o666)

    assert as_nobody(CONNECT, shim.path, request()).stdout in ("closed\n", *map("{}Error\n".format, GONE))


def test_a_directory_of_sockets_that_others_may_write(caller: Caller) -> None:
    """There another user could listen in the place of a shim, and be given the containers of a pod."""
    caller.bundle("web")
    caller.sockets.mkdir()
    caller.sockets.chmod(0o777)
    try:
        done = subprocess.run(
            caller.words("web", "start"), input=caller.parameters("web"), capture_output=True, env={}, timeout=200
        )
    finally:
        caller.sockets.chmod(0o711)

    assert done.returncode == 1, done
    assert b"users other than root may write to it" in done.stderr
    assert caller.start("web")  # as it is now it will do


@pytest.mark.parametrize("verb", ["start", "delete"])
def test_a_shim_that_was_stopped(shim: Shim, caller: Caller, verb: str) -> None:
    """It keeps neither `start`, which waits with the turn of all others, nor `delete`; its place is kept."""
    os.kill(shim.pid, signal.SIGSTOP)
    try:
        done = subprocess.run(
            caller.words("web", verb), input=caller.parameters("web"), capture_output=True, env={}, timeout=200
        )
        assert done.returncode == (1 if verb == "start" else 0), done
        assert b"does not answer for" in done.stderr
        assert os.path.exists(shim.path)
    finally:
        os.kill(shim.pid, signal.SIGCONT)

    if verb == "start":
        assert shim.clients[0].pid() == shim.pid
    else:  # what was asked of it is heard late: it has no containers, and containerd keeps a bundle until it ends
        eventually(lambda: not os.path.exists(shim.path), "it ends")
        assert shim.clients[0].socket.recv(1) == b""


# What containerd names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_link_in_the_place_of_a_fifo(tmp_path: Path, which: int) -> None:
    """Somebody who owns the directory of the FIFOs has output of the container appended to a file of root's."""
    victim = tmp_path / "victim"
    victim.write_text("as it was", encoding="ascii")
    names = [str(tmp_path / name) for name in ("in", "out", "err")]
    for name in names:
        os.mkfifo(name)
    Stdio(*names, terminal=False).close()  # without the link all is well
    os.unlink(names[which])
    os.symlink(victim, names[which])
    try:
        streams = Stdio(*names, terminal=False)
    except HostError:
        pass
    else:
        os.write(streams.given[which], b"overwritten")
        streams.close()
        raise AssertionError("a link was followed")

    assert victim.read_text(encoding="ascii") == "as it was"


def test_a_fifo_that_is_another_the_next_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second end is opened of a FIFO that nobody reads: that must not keep the shim for ever."""
    names = [str(tmp_path / name) for name in ("in", "out", "err")]
    for name in names:
        os.mkfifo(name)
    real: Callable[..., int] = os.open
    swapped: list[str] = []

    def swapping(path: Any, *more: Any, **named: Any) -> int:
        found = real(path, *more, **named)
        if path == names[1] and not swapped:
            swapped.append(path)
            os.unlink(path)
            os.mkfifo(path)
        return found

    def too_late(_number: int, _frame: object) -> None:
        raise AssertionError("it waits for a reader")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(10)
    monkeypatch.setattr(os, "open", swapping)
    try:
        with pytest.raises(HostError, match="opening"):
            Stdio(*names, terminal=False)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert swapped
