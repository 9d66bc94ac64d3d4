"""Faults from outside: full disks, broken files, another boot, reused pids, stopped neighbours."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runjail.container.state import FIELDS
from tests.support.container.harness import Life, is_alive, tree, until
from tests.support.leftovers import Leftovers
from tests.support.program import Runjail


def state_file(life: Life) -> Path:
    return life.runjail.root / "c" / "state.json"


def change_state(life: Life, change: Callable[[dict[str, Any]], object]) -> None:
    """Edit the facts on disk."""
    document = json.loads(state_file(life).read_text())
    change(document)
    state_file(life).write_text(json.dumps(document))


def deleted_by_force(life: Life, before: list[str], pid: int) -> None:
    """Check that delete --force leaves nothing."""
    result = life.runjail("delete", "--force", "c")

    assert result.returncode == 0, result
    assert not (life.runjail.root / "c").exists()
    assert tree(life.bundle.rootfs) == before
    until(lambda: not is_alive(pid))


DAMAGE: dict[str, bytes] = {
    "empty": b"",
    "cut off": b'{"ociVersion": "1.3.0", "bun',
    "no object": b"[]",
    "a number": b"7",
    "not UTF-8": b'{"a": "\xff"}',
    "nothing in it": b"{}",
    "empty box": b'{"box": {}}',
    "wrong types": json.dumps(dict.fromkeys(FIELDS, 1)).encode(),
    "zeros": bytes(4096),
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_facts(life: Life, damage: bytes) -> None:
    """Every verb says so in one line; list goes on; delete --force still ends the processes and undoes the notes."""
    life.bundle.config["mounts"].append({"destination": "/made", "type": "tmpfs", "source": "tmpfs"})
    before = tree(life.bundle.rootfs)
    life.start("/bin/sleep", "600")
    pid = life.runjail.state("c")["pid"]
    state_file(life).write_bytes(damage)
    for args in (["state", "c"], ["kill", "c"], ["start", "c"], ["delete", "c"], ["ps", "c"], ["pause", "c"]):
        result = life.runjail(*args)

        assert result.returncode == 1
        assert result.stderr.startswith("runjail: state of c is damaged: "), result
        assert "internal error" not in result.stderr
    assert [line.split()[2] for line in life.runjail.ok("list").stdout.splitlines()[1:]] == ["damaged"]

    deleted_by_force(life, before, pid)


@pytest.mark.parametrize("damage", ["garbage", "cgroup", "started", "boot", "unpaused"])
def test_damaged_facts_of_a_paused_container(life: Life, damage: str) -> None:
    """What is frozen does not die: the notes say what to thaw, also when the facts are well-formed and not true."""
    before = tree(life.bundle.rootfs)
    life.start("/bin/sleep", "600")
    pid = life.runjail.state("c")["pid"]
    life.runjail.ok("pause", "c")
    if damage == "garbage":
        state_file(life).write_bytes(b"")
    elif damage == "boot":
        change_state(life, lambda facts: facts.update(boot="another"))
    elif damage == "unpaused":
        (life.runjail.root / "c" / "paused").unlink()
    else:
        change_state(life, lambda facts: facts["box"].update({damage: ""}))
    deleted_by_force(life, before, pid)


def test_facts_that_are_a_directory_or_gone(life: Life) -> None:
    """Other damage than content."""
    before = tree(life.bundle.rootfs)
    life.start("/bin/sleep", "600")
    pid = life.runjail.state("c")["pid"]
    state_file(life).unlink()
    state_file(life).mkdir()
    assert life.runjail("state", "c").returncode == 1
    deleted_by_force(life, before, pid)
    life.create("/bin/sleep", "600")
    pid = life.runjail.state("c")["pid"]
    state_file(life).unlink()
    for verb in ("state", "delete", "start"):
        assert life.runjail(verb, "c").stderr.startswith("runjail: state of c is damaged: state.json is missing\n")
    assert "already exists" in life.runjail("create", "-b", str(life.path), "c").stderr
    deleted_by_force(life, before, pid)


def test_a_directory_without_anything(life: Life) -> None:
    """What a creator that died at once leaves: state says there is no container, create and delete can deal with it."""
    (life.runjail.root / "c").mkdir(parents=True)
    assert life.runjail("state", "c").returncode == 1
    assert life.runjail("delete", "c").returncode == 1
    life.runjail.ok("delete", "--force", "c")

    life.create()


@pytest.mark.parametrize(
    "garbage", [b'\n{"undo": "ma', b'\n{"undo": {"a": 1}', b"\n\xff\xfe", b"\n[]\n7\n{}", b"\n" + bytes(100)]
)
def test_a_note_that_was_cut_off(life: Life, garbage: bytes) -> None:
    """It belongs to a step that was never done; the others are undone, also those written after it."""
    life.bundle.config["mounts"].append({"destination": "/made", "type": "tmpfs", "source": "tmpfs"})
    before = tree(life.bundle.rootfs)
    life.start("/bin/sleep", "600")
    pid = life.runjail.state("c")["pid"]
    path = life.runjail.root / "c" / "undo"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(garbage + b"\n".join(lines) + garbage)

    deleted_by_force(life, before, pid)


def test_the_state_of_another_boot(life: Life) -> None:
    """After a reboot everything is stopped, whatever the pids say; deleting kills nobody."""
    life.start("/bin/sleep", "600")
    pid = life.runjail.state("c")["pid"]
    change_state(life, lambda facts: facts.update(boot="another"))
    try:
        assert life.runjail.state("c")["status"] == "stopped"
        assert life.runjail("kill", "c", "KILL").stderr == "runjail: container not running: c\n"
        life.runjail.ok("kill", "--all", "c", "KILL")
        assert is_alive(pid)
    finally:
        os.kill(pid, 9)
    until(lambda: not is_alive(pid))
    life.runjail.ok("delete", "c")


def test_a_reused_pid(life: Life) -> None:
    """A pid with another start time is somebody else: the container is stopped, and nobody is killed for it."""
    life.start("/bin/sh", "-c", "exit 0")
    life.runjail.wait("c")
    innocent = subprocess.Popen(["sleep", "60"])
    try:
        change_state(life, lambda facts: facts["box"].update(pid=innocent.pid))
        assert life.runjail.state("c")["status"] == "stopped"
        life.runjail.ok("kill", "--all", "c", "KILL")
        life.runjail.ok("delete", "--force", "c")
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


@pytest.mark.linux
def test_a_reused_namespace_number(life: Life, make_bundle: Any) -> None:
    """Linux gives the number of an ended namespace to the next one: another container's processes are not ours."""
    other = Life(life.runjail, make_bundle("other"))
    life.start("/bin/sh", "-c", "exit 0")
    life.runjail.wait("c")
    other.start("/bin/sleep", "600", id="other")
    facts = json.loads((life.runjail.root / "other" / "state.json").read_text())
    change_state(life, lambda mine: mine["box"].update(namespaces=facts["box"]["namespaces"]))
    life.runjail.ok("kill", "--all", "c", "KILL")
    life.runjail.ok("delete", "--force", "c")

    assert life.runjail.state("other")["status"] == "running"


@pytest.mark.linux
def test_a_reused_namespace_number_in_the_hosts_pid_namespace(life: Life, make_bundle: Any) -> None:
    """The same where only the mount namespace tells processes apart."""
    other = Life(life.runjail, make_bundle("other"))
    for each in (life, other):
        kept = [kind for kind in each.bundle.config["linux"]["namespaces"] if kind["type"] != "pid"]
        each.bundle.config["linux"]["namespaces"] = kept
        each.bundle.config["mounts"] = [mount for mount in each.bundle.config["mounts"] if mount["type"] != "proc"]
    life.start("/bin/sh", "-c", "exit 0")
    life.runjail.wait("c")
    other.start("/bin/sleep", "600", id="other")
    facts = json.loads((life.runjail.root / "other" / "state.json").read_text())
    own = json.loads(state_file(life).read_text())["box"]["namespaces"]["root"]
    change_state(life, lambda mine: mine["box"].update(namespaces={**facts["box"]["namespaces"], "root": own}))
    life.runjail.ok("kill", "--all", "c", "KILL")
    life.runjail.ok("delete", "--force", "c")

    assert life.runjail.state("other")["status"] == "running"


@pytest.mark.linux
def test_children_that_outlive_init_in_the_hosts_pid_namespace(life: Life) -> None:
    """There the kernel does not kill them with init: delete does, and kill --all reaches them."""
    config = life.bundle.config
    config["linux"]["namespaces"] = [kind for kind in config["linux"]["namespaces"] if kind["type"] != "pid"]
    config["mounts"] = [mount for mount in config["mounts"] if mount["type"] != "proc"]
    result = life.start("/bin/sh", "-c", "sleep 600 & echo $!; exit 0")
    life.runjail.wait("c")
    child = int(result.stdout)
    assert is_alive(child)
    life.runjail.ok("delete", "c")

    assert not is_alive(child)


@pytest.mark.linux
def test_a_full_disk(life: Life, leftovers: Leftovers) -> None:
    """The state directory has room for less and less: create fails with one error and leaves nothing, or works."""
    root = life.runjail.root
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(root)], check=True)
    before = tree(life.bundle.rootfs)
    life.bundle.config["mounts"].append({"destination": "/made", "type": "tmpfs", "source": "tmpfs"})
    life.bundle.config["hooks"] = {"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", "exit 0"]}]}
    bundle = life.bundle.write("/bin/sleep", "600")
    worked = []
    try:
        for pages in range(16):
            filler = root / ".filler"
            filler.write_bytes(b"x" * (65536 - pages * 4096))
            result = life.runjail("create", "-b", bundle, "c")
            worked.append(result.returncode == 0)
            if result.returncode:
                assert "no space left on device" in result.stderr, result
                assert len(result.stderr.splitlines()) == 1, result
                assert not (root / "c").exists(), result
            else:
                life.runjail("start", "c")
            life.runjail.ok("delete", "--force", "c")
            assert not (root / "c").exists()
            assert tree(life.bundle.rootfs) == before
            filler.unlink()
        assert worked == sorted(worked)
        assert {True, False} <= set(worked)
    finally:
        leftovers.unmount([str(root)])


def test_a_state_directory_that_cannot_be(life: Life, tmp_path: Path) -> None:
    """--root below a file, or a file itself."""
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        for args in (["create", "-b", life.bundle.write(), "c"], ["state", "c"], ["delete", "c"]):
            result = life.runjail("--root", str(root), *args, root=False)

            assert result.returncode == 1
            assert result.stderr.startswith("runjail: ")
            assert "internal error" not in result.stderr and "already exists" not in result.stderr, result
        assert life.runjail("--root", str(root), "delete", "-f", "c", root=False).returncode == 0


def test_init_killed_while_it_is_parked(life: Life) -> None:
    """start says so, delete needs no force."""
    life.bundle.config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "exit 0"]}]}
    life.create("/bin/sleep", "600")
    pid = life.runjail.state("c")["pid"]
    os.kill(pid, 9)
    until(lambda: not is_alive(pid))
    result = life.runjail("start", "c")

    assert (result.returncode, result.stderr) == (1, "runjail: cannot start a container that has stopped\n")
    life.runjail.ok("delete", "c")


def test_init_stopped_while_it_is_parked(life: Life) -> None:
    """A start that gets no answer waits, does not harm, and can be killed; delete --force works meanwhile or after."""
    life.create("/bin/sleep", "600")
    os.kill(life.runjail.state("c")["pid"], signal.SIGSTOP)
    command = [life.runjail.program, "--root", str(life.runjail.root), "start", "c"]
    start = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.3)
    start.kill()
    start.wait()

    life.runjail.ok("delete", "--force", "c")


def test_the_root_directory_is_gone(life: Life, tmp_path: Path) -> None:
    """Engines unmount or remove the image before they call delete."""
    life.start("/bin/sh", "-c", "exit 0")
    life.runjail.wait("c")
    life.path.rename(tmp_path / "elsewhere")

    life.runjail.ok("delete", "c")


def test_the_bundle_is_gone_for_poststop_hooks(life: Life, tmp_path: Path) -> None:
    """They run in / then."""
    life.bundle.config["hooks"] = {"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f"pwd > {tmp_path}/where"]}]}
    life.start("/bin/sh", "-c", "exit 0")
    life.runjail.wait("c")
    life.path.rename(tmp_path / "elsewhere")
    life.runjail.ok("delete", "c")

    assert (tmp_path / "where").read_text() == "/\n"


def test_a_caller_that_closes_its_end_of_our_error(runjail: Runjail) -> None:
    """podman closes the stderr pipe early: the exit code stays what it is."""
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [runjail.program, "--root", str(runjail.root), "state", "nobody"], stderr=writing, stdin=subprocess.DEVNULL
    )
    os.close(writing)

    assert process.wait(120) == 1


def test_a_caller_that_closes_its_end_of_our_output(life: Life) -> None:
    """`list | head -1` is no error worth a word."""
    life.create()
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [life.runjail.program, "--root", str(life.runjail.root), "list"], stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)

    assert process.communicate(timeout=120)[1] == b""
