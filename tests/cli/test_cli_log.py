"""Errors: where they go and in what form. Callers parse all of it (see the contract with callers in the documents)."""

import datetime
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runjail import log
from tests.support.container.harness import Life, log_lines
from tests.support.program import Runjail

FAILURES: dict[str, list[str]] = {
    "create": ["create", "-b", "/nonexistent", "c"],
    "create without an id": ["create"],
    "create with a bad option": ["create", "--nonsense", "c"],
    "start": ["start", "nobody"],
    "state": ["state", "nobody"],
    "kill": ["kill", "nobody"],
    "kill with a bad signal": ["kill", "nobody", "FOO"],
    "delete": ["delete", "nobody"],
    "delete with a bad id": ["delete", ""],
    "exec": ["exec", "nobody", "true"],
    "exec without a command": ["exec", "nobody"],
    "run": ["run", "-b", "/nonexistent", "c"],
    "ps": ["ps", "nobody"],
    "pause": ["pause", "nobody"],
    "resume": ["resume", "nobody"],
    "update": ["update", "--memory", "64m", "nobody"],
    "update with a bad size": ["update", "--memory", "x", "nobody"],
    "events": ["events", "nobody"],
    "events with a bad interval": ["events", "--interval", "x", "nobody"],
    "list": ["list", "--format", "yaml"],
    "plan": ["plan", "-b", "/nonexistent"],
    "validate": ["validate", "-b", "/nonexistent"],
    "spec": ["spec", "-b", "/nonexistent"],
    "checkpoint": ["checkpoint", "c"],
    "restore": ["restore", "--image-path", "x", "c"],
    "an unknown verb": ["nonsense", "c"],
    "a verb that is empty": [""],
}


@pytest.mark.parametrize("args", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("form", ["json", "text"])
def test_every_failure_is_one_line_in_the_log(runjail: Runjail, tmp_path: Path, args: list[str], form: str) -> None:
    """And one text on stderr, nothing on stdout, and an exit code that is not 0."""
    path = tmp_path / "log"
    result = runjail("--log", str(path), "--log-format", form, *args)

    if args == [""]:
        assert result.returncode == 0 or result.stderr
        return
    assert result.returncode == (255 if args[0] == "exec" else 1)
    assert result.stdout == ""
    assert 0 < len(result.stderr.encode()) < 8192
    lines = path.read_text().splitlines()
    assert len(lines) == 1
    if form == "text":
        assert lines[0].startswith('time="') and ' level=error msg="' in lines[0]
        return
    entry = json.loads(lines[0])
    assert entry.keys() == {"level", "msg", "time"}
    assert entry["level"] == "error"
    assert args[0] == "validate" or result.stderr.splitlines()[0] == f"runjail: {entry['msg']}"
    assert datetime.datetime.strptime(entry["time"], "%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.mark.parametrize(
    "mistake",
    [
        ["--nonsense"],
        ["-x"],
        ["--root"],
        ["--log-level=loud", "state", "c"],
        ["--log-format", "json", "--log-level", "loud", "state", "c"],
        ["state", "--nonsense", "c"],
        ["state", "a", "b"],
        ["state"],
    ],
    ids=" ".join,
)
def test_usage_errors_reach_the_log(runjail: Runjail, tmp_path: Path, mistake: list[str]) -> None:
    """Also mistakes before the verb: the log was named already."""
    path = tmp_path / "log"
    result = runjail("--log", str(path), "--log-format", "json", *mistake)

    assert result.returncode == 1
    assert [entry["level"] for entry in log_lines(path)] == ["error"]


def test_success_writes_nothing(life: Life, tmp_path: Path) -> None:
    """Not to the log, not to stdout or stderr; podman wants the whole file to be one object at the next failure."""
    path = tmp_path / "log"
    options = ("--log", str(path), "--log-format", "json")
    bundle = life.bundle.write("/bin/sleep", "600")
    verbs: list[list[str]] = [
        ["create", "-b", bundle, "c"], ["start", "c"], ["exec", "c", "/bin/true"], ["pause", "c"], ["resume", "c"],
        ["kill", "c", "0"], ["delete", "--force", "c"], ["delete", "--force", "c"],
    ]  # fmt: skip
    for verb in verbs:
        result = life.runjail.ok(*options, *verb)
        assert (result.stdout, result.stderr) == ("", "")
    assert path.read_text() == ""
    assert path.stat().st_mode & 0o777 == 0o644


def test_failures_are_appended(runjail: Runjail, tmp_path: Path) -> None:
    """containerd keeps the last, so the file is never begun anew."""
    path = tmp_path / "log"
    for name in ("one", "two"):
        runjail("--log", str(path), "--log-format=json", "state", name)

    assert [entry["msg"].rpartition(" ")[2] for entry in log_lines(path)] == ["one", "two"]


@pytest.mark.parametrize(
    "options", [("--log", "file:{}"), ("--log={}",), ("state", "--log", "{}", "--log-format", "json")]
)
def test_spellings_of_the_log(runjail: Runjail, tmp_path: Path, options: tuple[str, ...]) -> None:
    """With file: in front, with =, after the verb; relative to the caller's directory."""
    words = [word.format("log") for word in options]
    words = [*words, "nobody"] if "state" in words else [*words, "--log-format", "json", "state", "nobody"]
    runjail(*words, cwd=tmp_path)

    assert [entry["msg"] for entry in log_lines(tmp_path / "log")] == ["container does not exist: nobody"]


def test_a_log_that_cannot_be_opened(runjail: Runjail) -> None:
    """It is an error, on stderr, and the verb is not begun."""
    result = runjail("--log", "/nonexistent/log", "state", "nobody")

    assert (result.returncode, result.stderr) == (1, "runjail: opening log /nonexistent/log: does not exist\n")


def test_levels(life: Life, tmp_path: Path) -> None:
    """A JSON log has errors only, unless asked for more; the text log has warnings; without a log they go to stderr."""
    life.bundle.config["hooks"] = {"poststop": [{"path": "/nonexistent/hook"}]}
    cases: dict[str, tuple[list[str], int]] = {
        "json": (["--log-format", "json"], 0),
        "json warnings": (["--log-format", "json", "--log-level", "warning"], 1),
        "json warn": (["--log-format", "json", "--log-level", "warn"], 1),
        "text": ([], 1),
        "text errors": (["--log-level", "error"], 0),
    }
    for name, (options, warnings) in cases.items():
        path = tmp_path / name
        life.create("/bin/sleep", "600")
        result = life.runjail.ok("--log", str(path), *options, "delete", "c")

        assert result.stderr == ""
        assert path.read_text().count("warning") == warnings, name
    life.create("/bin/sleep", "600")
    assert "level=warning" in life.runjail.ok("delete", "c").stderr


def test_debug_tells_more_and_json_stays_json(life: Life, tmp_path: Path) -> None:
    """Every line of a JSON log is one object with a valid time, whatever the level."""
    path = tmp_path / "log"
    options = ("--debug", "--log", str(path), "--log-format", "json")
    life.runjail.ok(*options, "create", "-b", life.bundle.write("/bin/sleep", "600"), "c")
    life.runjail.ok(*options, "delete", "c")
    life.runjail(*options, "state", "c")

    assert [entry["level"] for entry in log_lines(path)][-1] == "error"


NASTY = [
    "new\nline",
    "tab\tand\x1b[31mred",
    'quote"',
    "back\\slash",
    "\x7f",
    "ü",
    "\udcff",
    "line\u2028separator",
    "x" * 20_000,
]


@pytest.mark.parametrize("name", NASTY, ids=lambda name: ascii(name)[:20])
def test_names_do_not_break_lines(runjail: Runjail, tmp_path: Path, name: str) -> None:
    """What comes from outside cannot fake a line, move a cursor, or make the log unreadable."""
    path = tmp_path / "log"
    for form in ("json", "text"):
        result = runjail("--log", str(path), "--log-format", form, "create", "-b", f"/{name[:200]}", "c")
        assert result.returncode == 1
        assert len(result.stderr.splitlines()) == 1
        assert result.stderr.strip().isprintable() or "\ufffd" in result.stderr or "?" in result.stderr
        assert len(path.read_bytes().splitlines()) == 1
        path.unlink()


def test_long_errors_are_cut(runjail: Runjail, tmp_path: Path) -> None:
    """conmon reads 8 KiB of stderr, once, without draining the pipe."""
    (tmp_path / "config.json").write_text(
        json.dumps({"ociVersion": "1.0.0", "process": {"args": ["x"], "cwd": "y" * 50_000}, "root": {"path": "r"}})
    )
    result = runjail("create", "-b", str(tmp_path), "c")

    assert result.returncode == 1
    assert len(result.stderr.encode()) < 8192
    assert result.stderr.endswith("\n")


def test_one_write(runjail: Runjail, tmp_path: Path) -> None:
    """Error and hint come in one piece: a pipe's reader who reads once has all of it."""
    reading, writing = os.pipe()
    program = [runjail.program, "--root", str(runjail.root), "exec", "c"]
    assert subprocess.run(program, stderr=writing, stdin=subprocess.DEVNULL, check=False).returncode == 255
    os.close(writing)

    assert os.read(reading, 8191).endswith(b"\n")
    assert os.read(reading, 10) == b""
    os.close(reading)


class Writes:
    """Stands for os.write in the log: every call, none done."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, bytes]] = []

    def __call__(self, descriptor: int, data: bytes) -> int:
        self.calls.append((descriptor, data))
        return len(data)


def test_each_line_is_one_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two runtimes that append to one log do not mix their lines."""
    writes: Any = Writes()
    log.set_up(str(tmp_path / "log"), "json")
    descriptor = log.descriptors()[0]
    monkeypatch.setattr(log.os, "write", writes)
    try:
        log.error("a message", "a hint")
    finally:
        monkeypatch.undo()
        os.close(descriptor)
        monkeypatch.setattr(log._Log, "descriptor", -1)
        log.set_up()

    assert [call[0] for call in writes.calls] == [2, descriptor]
    assert writes.calls[0][1] == b"runjail: a message\nhint: a hint\n"
    assert json.loads(writes.calls[1][1])["msg"] == "a message"


def test_debug_messages_follow_a_run(life: Life, tmp_path: Path) -> None:
    """The steps of create, programs that are run, and what is executed; without --log they go to standard error."""
    life.bundle.config["hooks"] = {"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", "true 'x'"]}]}
    bundle = life.bundle.write("/bin/sleep", "600")
    path = tmp_path / "log"
    flags = ("--debug", "--log", str(path), "--log-format", "json")
    assert life.runjail.ok(*flags, "run", "-d", "-b", bundle, "c").stderr == ""
    life.runjail.ok(*flags, "exec", "c", "/bin/echo", "a word")
    life.runjail.ok(*flags, "delete", "-f", "c")
    said = [entry["msg"] for entry in log_lines(path) if entry["level"] == "debug"]

    assert any(line.startswith("container c: Mount(") and "'/dev'" in line for line in said)
    assert "container c: exec ('/bin/echo', 'a word')" in said
    assert """program /bin/sh: sh -c 'true '"'"'x'"'"''""" in said
    result = life.runjail.ok("--debug", "run", "-b", life.bundle.write("/bin/echo", "hello"), "d")
    assert result.stdout == "hello\n" and ' level=debug msg="container d: ' in result.stderr


@pytest.mark.parametrize("words", ["run web", "create web", "image bundle web there"])
def test_a_current_directory_that_is_gone(runjail: Runjail, tmp_path: Path, words: str) -> None:
    """It was `run: does not exist`: what a relative path begins with was not named."""
    script = ["/bin/sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", runjail.program, "--root", str(runjail.root)]
    (tmp_path / "gone").mkdir()

    done = subprocess.run(
        [*script, *words.split()], cwd=tmp_path / "gone", capture_output=True, text=True, check=False, timeout=200
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"runjail: {words.split(maxsplit=1)[0]}: the current directory: does not exist\n"
