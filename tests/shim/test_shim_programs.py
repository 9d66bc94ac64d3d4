"""The program itself, without containerd: how shims are found, shared and left."""

import os
import subprocess
from pathlib import Path

import pytest

from runjail import jsonio, protobuf
from runjail.shim import messages
from runjail.shim.bootstrap import FileLock, register_container
from tests.support.imports import merged, over_budget
from tests.support.shim.caller import SHIM, Caller, eventually


def test_an_address_that_answers(caller: Caller) -> None:
    """It is a plain one, for every version; whoever has it can connect at once."""
    bundle = caller.bundle("web")
    address = caller.start("web")

    assert address.startswith(f"unix://{caller.sockets}/")
    assert (bundle / "address").read_text(encoding="ascii") == address
    assert register_container(address.removeprefix("unix://"), "web") == caller.pid("web")
    assert os.stat(address.removeprefix("unix://")).st_mode & 0o777 == 0o600


def test_containers_of_a_pod_share_a_shim(caller: Caller) -> None:
    for id in ("one", "two"):
        caller.bundle(id, **{"io.kubernetes.cri.sandbox-id": "pod"})
    caller.bundle("alone")
    addresses = [caller.start(id) for id in ("one", "two", "alone")]

    assert addresses[0] == addresses[1] != addresses[2]
    assert caller.pid("one") == caller.pid("two") != caller.pid("alone")


def test_starts_at_the_same_time(caller: Caller) -> None:
    """One of them becomes the shim, the others find it."""
    ids = [f"c{number}" for number in range(6)]
    for id in ids:
        caller.bundle(id, **{"io.containerd.runc.v2.group": "pod"})
    running = [
        subprocess.Popen(
            caller.words(id, "start"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={}
        )
        for id in ids
    ]
    said = [process.communicate(caller.parameters(id), 30) for process, id in zip(running, ids, strict=True)]

    assert len(set(said)) == 1, said
    assert len({caller.pid(id) for id in ids}) == 1


def test_one_start_at_a_time(caller: Caller) -> None:
    """Whoever decides about sockets has the directory for itself."""
    caller.bundle("web")
    caller.sockets.mkdir(exist_ok=True)
    with FileLock(str(caller.sockets)):
        waiting = subprocess.Popen(
            caller.words("web", "start"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=caller.env
        )
        assert waiting.stdin
        waiting.stdin.write(caller.parameters("web"))
        waiting.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.5)
    with waiting:
        assert waiting.stdout and waiting.stdout.read().startswith(b"unix://")


def test_a_shim_that_was_killed_is_replaced(caller: Caller) -> None:
    caller.bundle("web")
    address = caller.start("web")
    first = caller.pid("web")
    os.kill(first, 9)
    eventually(lambda: not register_container(address.removeprefix("unix://"), "web"), "it dies")

    assert caller.start("web") == address
    assert caller.pid("web") != first


def test_delete_ends_a_shim_that_nobody_used(caller: Caller) -> None:
    caller.bundle("web")
    path = caller.start("web").removeprefix("unix://")

    ended = caller.delete("web")
    assert (ended["pid"], ended["exit_status"]) == (0, 137)
    eventually(lambda: not os.path.exists(path), "the shim ends")


def test_delete_without_a_bundle(caller: Caller) -> None:
    assert caller.delete("never")["exit_status"] == 137


def test_delete_removes_the_socket_of_the_dead(caller: Caller) -> None:
    caller.bundle("web")
    path = caller.start("web").removeprefix("unix://")
    os.kill(caller.pid("web"), 9)
    eventually(lambda: not register_container(path, "web"), "it dies")
    caller.delete("web")

    assert not os.path.exists(path)


def test_little_is_loaded(caller: Caller) -> None:
    """containerd before 2.0 calls `delete` after every container: that is as quick as a verb."""
    python = SHIM.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("#!").split()
    command = [*python, "-X", "importtime", *caller.words("never", "delete")]
    said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=caller.env, check=True).stderr
    names = {line.split("|")[2].strip() for line in said.decode().splitlines()} - {"imported package"}

    assert "runjail.shim.command_line" in names
    assert {name for name in names if name.startswith("runjail")} == set(merged("linux", "shim-delete"))
    assert over_budget(names) == set()
    assert not names & {"runjail.container", "runjail.host.linux.host", "runjail.host.freebsd.host", "runjail.cli.main"}


def test_descriptions() -> None:
    """-v is for people, -info for containerd 2."""
    version = subprocess.run([SHIM, "-v"], capture_output=True, check=True, text=True).stdout
    told = subprocess.run([SHIM, "-info"], capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout
    info = protobuf.decode(messages.INFO, told)

    assert version.startswith("containerd-shim-runjail-v1 ")
    assert info["name"] == "io.containerd.runjail.v1"
    assert jsonio.loads(info["features"]["value"])["ociVersionMax"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-nope", "start"], "unknown flag '-nope'"),
        (["-namespace", "default", "-id", "a/b", "start"], "invalid container ID format"),
        (["-id", "web", "stop"], "unknown command 'stop'"),
    ],
)
def test_mistakes(words: list[str], said: str, tmp_path: Path) -> None:
    """One line on standard error, which containerd shows."""
    done = subprocess.run([SHIM, *words], capture_output=True, stdin=subprocess.DEVNULL, cwd=tmp_path, env={})

    assert done.returncode == 1
    assert said in done.stderr.decode()
    assert done.stdout == b""
