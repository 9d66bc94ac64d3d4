"""run -d keeps what a container writes and how it ends: logs, wait, top, stats."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from runjail.container.output_log import entries
from tests.support.peers.commands import eventually, finish, start
from tests.support.peers.podman import BARE
from tests.support.story.teller import Teller

pytestmark = [pytest.mark.needs("root"), pytest.mark.parametrize("location", ["dir"], indirect=True)]

SCRIPT = "echo out; echo err >&2; printf part; sleep 0.3; echo ial; exit 7"
COUNT = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.02; done"


def detached(teller: Teller, script: str, *options: str, name: str = "web") -> None:
    teller.ok("run", "-d", "--image", "hello", *options, "--name", name, "/bin/sh", "-c", script)


def monitor(teller: Teller, name: str = "web") -> int:
    """Return the pid of a container's monitor."""
    found: int = json.loads((teller.runjail.root / name / "monitor").read_text())["pid"]
    return found


def lives(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(found.stdout.strip()) and not found.stdout.startswith("Z")


def test_output_and_exit_status_are_kept(teller: Teller, hello: str) -> None:
    detached(teller, SCRIPT)

    assert teller.ok("wait", "web") == "7\n"
    shown = teller("logs", "web")
    assert (shown.stdout, shown.stderr) == ("out\npartial\n", "err\n")
    assert teller.ok("logs", "-n", "9", "web") == "out\npartial\n"
    stamped = teller.ok("logs", "-t", "web").splitlines()
    assert [line.split(" ", 1)[1] for line in stamped] == ["out", "partial"]
    assert teller.ok("logs", "--since", "1h", "--until", "2000-01-01T00:00:00Z", "web") == ""
    assert teller.ok("wait", "web", "web") == "7\n7\n"
    (file,) = Path(teller.store.bundles()).glob("*/ctr.log")
    assert file.stat().st_mode & 0o777 == 0o600
    eventually(lambda: not lives(monitor(teller)), "the monitor ends with its container")


def test_who_follows_sees_all_of_it(teller: Teller, hello: str) -> None:
    detached(teller, "echo one; sleep 0.3; echo two")

    assert teller.ok("logs", "-f", "web") == "one\ntwo\n"


def test_a_signal_is_a_status(teller: Teller, hello: str) -> None:
    detached(teller, "sleep 600")
    teller.ok("kill", "web", "KILL")

    assert teller.ok("wait", "web") == "137\n"


def test_a_container_survives_its_monitor(teller: Teller, hello: str) -> None:
    """logs starts another one, which has all that was written meanwhile."""
    detached(teller, COUNT)
    eventually(lambda: "line 3\n" in teller.ok("logs", "web"), "output")
    before = monitor(teller)
    os.kill(before, signal.SIGKILL)
    eventually(lambda: not lives(before), "the monitor is gone")
    teller.ok("exec", "web", "/bin/sh", "-c", "sleep 0.3")

    teller.ok("logs", "web")
    after = monitor(teller)
    lines = teller.ok("logs", "web").splitlines()
    eventually(lambda: len(teller.ok("logs", "web").splitlines()) > len(lines), "more output")

    assert lines == [f"line {number + 1}" for number in range(len(lines))]
    assert after != before
    assert json.loads(teller.ok("state", "web"))["status"] == "running"
    teller.ok("delete", "-f", "web")
    eventually(lambda: not lives(after), "the monitor ends with its container")


def test_nobody_has_the_exit_status_when_the_monitor_died(teller: Teller, hello: str) -> None:
    detached(teller, "sleep 600")
    os.kill(monitor(teller), signal.SIGKILL)
    teller.ok("kill", "web", "KILL")

    result = teller("wait", "web")

    assert (result.returncode, result.stdout) == (0, "-1\n")
    assert "nobody has the exit status of web" in result.stderr


def test_what_fails_leaves_nothing(teller: Teller, hello: str) -> None:
    """The error is the one that `run` has without -d, and no monitor stays."""
    said = teller.refused("run", "-d", "--image", hello, "--name", "web", "/nonexistent")

    assert said == 'exec: "/nonexistent": stat /nonexistent: no such file or directory'
    assert teller.left() == {"roots": [], "bundles": [], "containers": []}
    listed = subprocess.run(["ps", "-axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert [line for line in listed.splitlines() if str(teller.runjail.root) in line] == []


def test_a_signal_while_it_is_made_takes_it_back(teller: Teller, hello: str, tmp_path: Path) -> None:
    """Whoever waits for the monitor passes it on."""
    bundle, begun = tmp_path / "bundle", tmp_path / "begun"
    teller.ok("image", "bundle", hello, str(bundle))
    config = json.loads((bundle / "config.json").read_text())
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"touch {begun}; exec sleep 600"]}
    (bundle / "config.json").write_text(json.dumps({**config, "hooks": {"createRuntime": [hook]}}))
    words = ["--root", str(teller.runjail.root), "run", "-d", "-b", str(bundle), "--log-driver", "k8s-file", "web"]
    process = subprocess.Popen([teller.runjail.program, *words], stderr=subprocess.PIPE)
    eventually(begun.exists, "the hook")

    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)

    assert process.returncode == 143
    assert teller.runjail.ids() == []
    (bundle / "config.json").unlink()
    teller.ok("image", "prune")


def test_a_bundle_s_output_goes_where_ours_goes(teller: Teller, hello: str, tmp_path: Path) -> None:
    """As with runc; on request it is kept, beside the state."""
    bundle = tmp_path / "bundle"
    teller.ok("image", "bundle", hello, str(bundle))
    result = teller("run", "-d", "-b", str(bundle), "ours")
    teller.runjail.wait("ours")
    eventually(lambda: result.stdout == "Hello World!\n", "output")
    assert "went to who started it" in teller.refused("logs", "ours")

    teller.ok("run", "-d", "-b", str(bundle), "--log-driver", "k8s-file", "kept")
    assert teller.ok("logs", "-f", "kept") == "Hello World!\n"
    teller.ok("run", "-d", "-b", str(bundle), "--log-driver", "none", "quiet")
    assert teller.ok("wait", "quiet") == "0\n"
    assert "went to who started it" in teller.refused("logs", "quiet")
    for name in ("ours", "kept", "quiet"):
        teller.ok("delete", name)
    (bundle / "config.json").unlink()
    teller.ok("image", "prune")


def test_a_terminal_is_kept_too(teller: Teller, hello: str) -> None:
    detached(teller, "test -t 0 && test -t 1 && echo terminal; exit 3", "-t")

    assert teller.ok("wait", "web") == "3\n"
    assert teller.ok("logs", "web") == "terminal\n"


def test_a_foreground_run_that_is_kept_has_a_status(teller: Teller, hello: str) -> None:
    assert teller("run", "--keep", "--image", hello, "web", "/bin/sh", "-c", "exit 5").returncode == 5
    assert teller.ok("wait", "web") == "5\n"


def test_top_and_stats(teller: Teller, hello: str) -> None:
    detached(teller, "sleep 600; true")

    heading, *rows = teller.ok("top", "web").splitlines()
    assert heading.split() == ["USER", "PID", "PPID", "%CPU", "ELAPSED", "TTY", "TIME", "COMMAND"]
    assert any("sleep 600" in row for row in rows)
    assert len(teller.ok("top", "web", "pid,comm").splitlines()) == len(rows) + 1
    heading, row = teller.ok("stats", "--no-stream").splitlines()
    assert heading.startswith("ID   CPU %  MEM USAGE / LIMIT")
    assert row.startswith("web  ")
    (usage,) = json.loads(teller.ok("stats", "--no-stream", "-f", "json", "web"))
    assert set(usage) == set("id name cpu_time cpu_percent avg_cpu mem_usage mem_percent net_io block_io pids".split())
    assert int(usage["pids"]) == len(rows)
    teller.ok("kill", "web", "KILL")
    teller.runjail.wait("web")
    assert teller.refused("stats", "--no-stream", "web") == "container not running: web"
    assert teller.refused("top", "web") == "container not running: web"
    assert teller.ok("stats", "--no-stream").splitlines()[1:] == []


def test_conmon_keeps_the_same_lines(
    teller: Teller, hello: str, machine_rootfs: Path, tmp_path: Path, bare_podman: tuple[list[str], dict[str, str]]
) -> None:
    """But for the times, and the order of what came at the same time."""
    podman, env = bare_podman
    thin = [*BARE, "--log-driver=k8s-file"]
    words = ["run", "-d", "--name=web", *thin, f"--log-opt=path={tmp_path}/theirs", "--rootfs", str(machine_rootfs)]
    assert finish(start([*podman, *words, "/bin/sh", "-c", SCRIPT], env)).code == 0
    assert finish(start([*podman, "wait", "web"], env)).out == "7\n"
    finish(start([*podman, "rm", "-f", "web"], env))

    detached(teller, SCRIPT, "--log-opt", f"path={tmp_path}/ours")
    assert teller.ok("wait", "web") == "7\n"

    kept = [sorted(entry[1:] for entry in entries((tmp_path / name).read_bytes())) for name in ("theirs", "ours")]
    assert kept[0] == kept[1]
