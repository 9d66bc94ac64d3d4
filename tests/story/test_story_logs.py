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
from tests.support.story.cli import Cli

pytestmark = [pytest.mark.needs("root"), pytest.mark.parametrize("location", ["dir"], indirect=True)]

SCRIPT = "echo out; echo err >&2; printf part; sleep 0.3; echo ial; exit 7"
COUNT = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.02; done"


def detached(cli: Cli, script: str, *options: str, name: str = "web") -> None:
    cli.ok("run", "-d", "--image", "hello", *options, "--name", name, "/bin/sh", "-c", script)


def monitor(cli: Cli, name: str = "web") -> int:
    """Return the pid of a container's monitor."""
    found: int = json.loads((cli.runjail.root / name / "monitor").read_text())["pid"]
    return found


def lives(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(found.stdout.strip()) and not found.stdout.startswith("Z")


def test_output_and_exit_status_are_kept(cli: Cli, hello: str) -> None:
    detached(cli, SCRIPT)

    assert cli.ok("wait", "web") == "7\n"
    shown = cli("logs", "web")
    assert (shown.stdout, shown.stderr) == ("out\npartial\n", "err\n")
    assert cli.ok("logs", "-n", "9", "web") == "out\npartial\n"
    stamped = cli.ok("logs", "-t", "web").splitlines()
    assert [line.split(" ", 1)[1] for line in stamped] == ["out", "partial"]
    assert cli.ok("logs", "--since", "1h", "--until", "2000-01-01T00:00:00Z", "web") == ""
    assert cli.ok("wait", "web", "web") == "7\n7\n"
    (file,) = Path(cli.store.bundles()).glob("*/ctr.log")
    assert file.stat().st_mode & 0o777 == 0o600
    eventually(lambda: not lives(monitor(cli)), "the monitor ends with its container")


def test_who_follows_sees_all_of_it(cli: Cli, hello: str) -> None:
    detached(cli, "echo one; sleep 0.3; echo two")

    assert cli.ok("logs", "-f", "web") == "one\ntwo\n"


def test_a_signal_is_a_status(cli: Cli, hello: str) -> None:
    detached(cli, "sleep 600")
    cli.ok("kill", "web", "KILL")

    assert cli.ok("wait", "web") == "137\n"


def test_a_container_survives_its_monitor(cli: Cli, hello: str) -> None:
    """logs starts another one, which has all that was written meanwhile."""
    detached(cli, COUNT)
    eventually(lambda: "line 3\n" in cli.ok("logs", "web"), "output")
    before = monitor(cli)
    os.kill(before, signal.SIGKILL)
    eventually(lambda: not lives(before), "the monitor is gone")
    cli.ok("exec", "web", "/bin/sh", "-c", "sleep 0.3")

    cli.ok("logs", "web")
    after = monitor(cli)
    lines = cli.ok("logs", "web").splitlines()
    eventually(lambda: len(cli.ok("logs", "web").splitlines()) > len(lines), "more output")

    assert lines == [f"line {number + 1}" for number in range(len(lines))]
    assert after != before
    assert json.loads(cli.ok("state", "web"))["status"] == "running"
    cli.ok("delete", "-f", "web")
    eventually(lambda: not lives(after), "the monitor ends with its container")


def test_nobody_has_the_exit_status_when_the_monitor_died(cli: Cli, hello: str) -> None:
    detached(cli, "sleep 600")
    os.kill(monitor(cli), signal.SIGKILL)
    cli.ok("kill", "web", "KILL")

    result = cli("wait", "web")

    assert (result.returncode, result.stdout) == (0, "-1\n")
    assert "nobody has the exit status of web" in result.stderr


def test_what_fails_leaves_nothing(cli: Cli, hello: str) -> None:
    """The error is the one that `run` has without -d, and no monitor stays."""
    said = cli.refused("run", "-d", "--image", hello, "--name", "web", "/nonexistent", code=127)

    assert said == 'exec: "/nonexistent": stat /nonexistent: no such file or directory'
    assert cli.left() == {"roots": [], "bundles": [], "containers": []}
    listed = subprocess.run(["ps", "-axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert [line for line in listed.splitlines() if str(cli.runjail.root) in line] == []


def test_a_signal_while_it_is_made_takes_it_back(cli: Cli, hello: str, tmp_path: Path) -> None:
    """Whoever waits for the monitor passes it on."""
    bundle, begun = tmp_path / "bundle", tmp_path / "begun"
    cli.ok("image", "bundle", hello, str(bundle))
    config = json.loads((bundle / "config.json").read_text())
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"touch {begun}; exec sleep 600"]}
    (bundle / "config.json").write_text(json.dumps({**config, "hooks": {"createRuntime": [hook]}}))
    words = ["--root", str(cli.runjail.root), "run", "-d", "-b", str(bundle), "--log-driver", "k8s-file", "web"]
    process = subprocess.Popen([cli.runjail.program, *words], stderr=subprocess.PIPE)
    eventually(begun.exists, "the hook")

    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)

    assert process.returncode == 143
    assert cli.runjail.ids() == []
    (bundle / "config.json").unlink()
    cli.ok("image", "prune")


def test_a_bundle_s_output_goes_where_ours_goes(cli: Cli, hello: str, tmp_path: Path) -> None:
    """As with runc; on request it is kept, beside the state."""
    bundle = tmp_path / "bundle"
    cli.ok("image", "bundle", hello, str(bundle))
    result = cli("run", "-d", "-b", str(bundle), "ours")
    cli.runjail.wait("ours")
    eventually(lambda: result.stdout == "Hello World!\n", "output")
    assert "went to who started it" in cli.refused("logs", "ours")
    cli.ok("delete", "ours")  # until then it has its mounts in this root on FreeBSD

    cli.ok("run", "-d", "-b", str(bundle), "--log-driver", "k8s-file", "kept")
    assert cli.ok("logs", "-f", "kept") == "Hello World!\n"
    cli.ok("delete", "kept")
    cli.ok("run", "-d", "-b", str(bundle), "--log-driver", "none", "quiet")
    assert cli.ok("wait", "quiet") == "0\n"
    assert "went to who started it" in cli.refused("logs", "quiet")
    cli.ok("delete", "quiet")
    (bundle / "config.json").unlink()
    cli.ok("image", "prune")


def test_a_terminal_is_kept_too(cli: Cli, hello: str) -> None:
    detached(cli, "test -t 0 && test -t 1 && echo terminal; exit 3", "-t")

    assert cli.ok("wait", "web") == "3\n"
    assert cli.ok("logs", "web") == "terminal\n"


def test_a_foreground_run_that_is_kept_has_a_status(cli: Cli, hello: str) -> None:
    assert cli("run", "--keep", "--image", hello, "web", "/bin/sh", "-c", "exit 5").returncode == 5
    assert cli.ok("wait", "web") == "5\n"


def test_top_and_stats(cli: Cli, hello: str) -> None:
    detached(cli, "exec sleep 600")  # in a jail a child would outlive it, and show

    heading, *rows = cli.ok("top", "web").splitlines()
    assert heading.split() == ["USER", "PID", "PPID", "%CPU", "ELAPSED", "TTY", "TIME", "COMMAND"]
    assert any("sleep 600" in row for row in rows)
    assert len(cli.ok("top", "web", "pid,comm").splitlines()) == len(rows) + 1
    heading, row = cli.ok("stats", "--no-stream").splitlines()
    assert heading.startswith("ID   CPU %  MEM USAGE / LIMIT")
    assert row.startswith("web  ")
    (usage,) = json.loads(cli.ok("stats", "--no-stream", "-f", "json", "web"))
    assert set(usage) == set("id name cpu_time cpu_percent avg_cpu mem_usage mem_percent net_io block_io pids".split())
    assert int(usage["pids"]) == len(rows)
    assert cli.ok("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "web") == f"web {len(rows)}\n"
    podman = "{{.ID}} {{.CPUPerc}} {{.MemUsage}} {{.MemPerc}} {{.NetIO}} {{.BlockIO}}"
    assert cli.ok("stats", "--no-stream", "--format", podman).startswith("web ")
    cli.ok("kill", "web", "KILL")
    cli.runjail.wait("web")
    assert cli.refused("stats", "--no-stream", "web") == "container not running: web"
    assert cli.refused("top", "web") == "container not running: web"
    assert cli.ok("stats", "--no-stream").splitlines()[1:] == []


def test_conmon_keeps_the_same_lines(
    cli: Cli, hello: str, machine_rootfs: Path, tmp_path: Path, bare_podman: tuple[list[str], dict[str, str]]
) -> None:
    """But for times, the order of what came at the same time, and where a line that came in pieces is parted."""
    podman, env = bare_podman
    thin = [*BARE, "--log-driver=k8s-file"]
    words = ["run", "-d", "--name=web", *thin, f"--log-opt=path={tmp_path}/theirs", "--rootfs", str(machine_rootfs)]
    assert finish(start([*podman, *words, "/bin/sh", "-c", SCRIPT], env)).code == 0
    assert finish(start([*podman, "wait", "web"], env)).out == "7\n"
    finish(start([*podman, "rm", "-f", "web"], env))

    detached(cli, SCRIPT, "--log-opt", f"path={tmp_path}/ours")
    assert cli.ok("wait", "web") == "7\n"

    theirs, ours = (lines_of((tmp_path / name).read_bytes()) for name in ("theirs", "ours"))
    assert theirs == ours == [("stderr", b"err"), ("stdout", b"out"), ("stdout", b"partial")]


def lines_of(kept: bytes) -> list[tuple[str, bytes]]:
    """Return each stream's lines, whole, however late somebody read the pieces."""
    begun: dict[str, bytes] = {}
    found = []
    for _, stream, ends, text in entries(kept):
        begun[stream] = begun.get(stream, b"") + text
        if ends:
            found.append((stream, begun.pop(stream)))
    assert not begun
    return sorted(found)
