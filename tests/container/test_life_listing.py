"""What list, ps, events and state print, as scripts read it."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.support.container.harness import Life, failed
from tests.support.program import FREEBSD


def test_list_and_ps(life: Life, make_bundle: Any) -> None:
    """Tables for people, documents for programs."""
    life.start(id="one")
    other = Life(life.runjail, make_bundle("other"))
    other.create(id="two")
    documents = json.loads(life.runjail.ok("list", "--format", "json").stdout)
    table = life.runjail.ok("list").stdout.splitlines()
    pids = json.loads(life.runjail.ok("ps", "-f", "json", "one").stdout)

    assert [(found["id"], found["status"], found["owner"]) for found in documents] == [
        ("one", "running", "root"),
        ("two", "created", "root"),
    ]
    assert table[0].split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER", "IMAGE"]
    assert [line.split()[0] for line in table[1:]] == ["one", "two"]
    assert pids == [documents[0]["pid"]]
    heading, row = life.runjail.ok("ps", "one").stdout.splitlines()
    assert heading.split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert row.split()[1] == str(documents[0]["pid"])


@pytest.mark.needs("ps")
def test_options_of_ps(life: Life) -> None:
    """ps(1) says what is shown, as with runc, and we of whom: FreeBSD's shows only who has a terminal."""
    life.start("/bin/sleep", "600")
    pid = str(life.runjail.state("c")["pid"])

    heading, row = life.runjail.ok("ps", "c", "-A", "-o", "stat,pid,args").stdout.splitlines()

    assert (heading.split()[1], row.split()[1]) == ("PID", pid)
    assert row.endswith("/bin/sleep 600")
    for usual in (["-ef"], ["aux"], ["-o", "pid,args"]) if FREEBSD else (["-ef"], ["aux"]):
        _heading, *rows = life.runjail.ok("ps", "c", *usual).stdout.splitlines()
        assert [pid in row.split() for row in rows] == [True]
    for words, said in (
        (("-A", "-o", "args"), "ps: these options show no column PID, by which the container's processes are told"),
        (("--anything",), "ps: "),
    ):
        result = life.runjail("ps", "c", *words)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith(f"runjail: {said}")


def test_documents_that_scripts_search_as_text(life: Life) -> None:
    """Blanks and the order of keys are runc's: none in list, ps and events, one after a colon in state."""
    life.start()
    pid = life.runjail.state("c")["pid"]

    assert f'"id":"c","pid":{pid},"status":"running",' in life.runjail.ok("list", "-f", "json").stdout
    assert life.runjail.ok("events", "--stats", "c").stdout.startswith('{"type":"stats","id":"c","data":{')
    assert f'"id": "c", "pid": {pid}, "status": "running",' in life.runjail.ok("state", "c").stdout
    assert life.runjail.ok("ps", "-f", "json", "c").stdout == f"[{pid}]\n"


def test_an_empty_list(life: Life) -> None:
    assert json.loads(life.runjail.ok("list", "-f", "json").stdout) == []
    assert life.runjail.ok("list", "-q").stdout == ""


def test_events(life: Life) -> None:
    """One document, or one each interval until the container stops."""
    life.sleep()
    once = json.loads(life.runjail.ok("events", "--stats", "c").stdout)
    command = [life.runjail.program, "--root", str(life.runjail.root), "events", "--interval", "50ms", "c"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout
        events = [json.loads(watching.stdout.readline()) for _ in range(2)]
        life.runjail.ok("kill", "c", "KILL")
        watching.stdout.read()
        assert watching.wait(timeout=200) == 0

    assert (once["type"], once["id"]) == ("stats", "c")
    assert once["data"]["pids"]["current"] >= 1
    assert {"cpu", "memory", "pids"} <= once["data"].keys()
    assert [event["type"] for event in events] == ["stats", "stats"]
    failed(life.runjail("events", "--stats", "c"), "container with id c is not running")


ZOMBIE = """
import ctypes, json, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans become our zombies
program, bundle = sys.argv[1:3], sys.argv[3]
words = ["run", "-d", "-b", bundle, "--pid-file", f"{bundle}/pid", "c"]
subprocess.run([*program, *words], check=True, stdin=subprocess.DEVNULL)
pid = open(f"{bundle}/pid").read()  # which state no longer says once it has ended
while open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z":
    time.sleep(0.01)
print(json.loads(subprocess.run([*program, "state", "c"], check=True, capture_output=True).stdout)["status"])
print(subprocess.run([*program, "delete", "c"]).returncode)
"""


@pytest.mark.linux
def test_a_zombie_init_is_stopped(life: Life) -> None:
    """buildah deletes before it has collected its child; a zombie must not keep the container running."""
    program = [life.runjail.program, f"--root={life.runjail.root}"]
    bundle = life.bundle.write("/bin/sh", "-c", "sleep 0.2")
    result = subprocess.run(
        [sys.executable, "-c", ZOMBIE, *program, bundle], capture_output=True, text=True, timeout=200, check=False
    )

    assert result.stdout == "stopped\n0\n", result


def test_words_of_docker_and_podman(life: Life) -> None:
    """kill -s SIGNAL, and list -a, which has nothing more to show."""
    life.start("/bin/sleep", "600")
    assert life.runjail.ok("list", "-a", "-q").stdout == "c\n"
    life.runjail.ok("kill", "-s", "KILL", "c")
    life.runjail.wait("c")
