"""The texts of a program that cannot run, beside runc's: what docker and podman make of them is the same."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import Bundle, Runjail

pytestmark = [pytest.mark.linux, pytest.mark.peers("runc")]

SECONDS = 40.0
PRIVILEGES = ["CAP_SETUID", "CAP_SETGID", "CAP_CHOWN", "CAP_KILL"]
USER = {"uid": 1000, "gid": 1000}

CASES: list[tuple[str, dict[str, Any]]] = [
    ("not in PATH", {"args": ["nope"]}),
    ("a path that is not there", {"args": ["/nope"]}),
    ("below a directory that is not there", {"args": ["/no/such"]}),
    ("a relative path", {"args": ["./nope"]}),
    ("in PATH and not executable", {"args": ["plain"]}),
    ("a directory of PATH", {"args": ["etc"], "env": ["PATH=/"]}),
    ("a path that is not executable", {"args": ["/bin/plain"]}),
    ("a directory", {"args": ["/etc"]}),
    ("below a file", {"args": ["/bin/plain/x"]}),
    ("a link to itself", {"args": ["/loop"]}),
    ("a long name", {"args": ["/" + "x" * 300]}),
    ("no name", {"args": [""]}),
    ("a dot", {"args": ["."]}),
    ("below a directory of another user", {"args": ["/locked/program"], "user": USER}),
    ("a working directory that is a file", {"args": ["/bin/sleep", "0"], "cwd": "/bin/plain"}),
]


class Peer:
    """A runtime with a state root and a JSON log of its own; `call` returns (exit code, last message in the log)."""

    def __init__(self, program: str, directory: Path) -> None:
        self.name, self.log = Path(program).name, directory / f"{Path(program).name}.log"
        self.command = [program, "--root", str(directory / self.name), "--log", str(self.log), "--log-format", "json"]

    def call(self, *args: str) -> tuple[int, str]:
        self.log.write_text("")
        done = subprocess.run(
            [*self.command, *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        )
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return done.returncode, next((line["msg"] for line in reversed(lines) if line["level"] == "error"), "")


@pytest.fixture
def prepared(bundle: Bundle) -> Bundle:
    """A bundle with programs that cannot run, which runc accepts as well."""
    root = bundle.rootfs
    for name, content, mode in (
        ("bin/plain", b"x", 0o644),
        ("bin/script", b"#!/nope\n", 0o755),
        ("bin/text", b"", 0o755),
    ):
        (root / name).write_bytes(content)
        (root / name).chmod(mode)
    (root / "bin/foreign").write_bytes(b"\x7fELF" + bytes(60))  # as an image for another processor has them
    (root / "bin/foreign").chmod(0o755)
    (root / "loop").symlink_to("loop")
    (root / "locked").mkdir(mode=0o700)
    shutil.copy(root / "bin/sleep", root / "locked/program")
    kinds = ("bounding", "effective", "permitted")
    bundle.config["process"]["capabilities"] = dict.fromkeys(kinds, PRIVILEGES)
    return bundle


@pytest.fixture
def peers(tmp_path: Path, runjail: Runjail) -> Iterator[list[Peer]]:
    """runc and runjail."""
    found = [Peer(program, tmp_path) for program in (shutil.which("runc") or "", runjail.program)]
    yield found
    for peer in found:
        peer.call("delete", "--force", "c")


def docker_code(message: str) -> int:
    """Return what `docker run` exits with (docker/cli, container run: the texts it looks for, letter by letter)."""
    if "executable file not found" in message or "no such file or directory" in message:
        return 127
    return 126 if "permission denied" in message or "is a directory" in message else 125


def podman_code(message: str) -> int:
    """Return what `podman run` exits with (libpod, the runtime's errors: the first pattern wins)."""
    if re.search("permission denied|operation not permitted", message, re.IGNORECASE):
        return 126
    missing = "executable file not found in|no such file or directory|open executable"
    return 127 if re.search(missing, message, re.IGNORECASE) else 126


def about_program(message: str) -> str:
    """Return the part of a message that names the program: `exec: "nope": executable file not found in $PATH`."""
    return message[message.index('exec: "') :] if 'exec: "' in message else message


@pytest.mark.parametrize(("name", "fields"), CASES, ids=[name for name, _ in CASES])
def test_create(prepared: Bundle, peers: list[Peer], name: str, fields: dict[str, Any]) -> None:
    prepared.write(**fields)
    theirs, ours = (peer.call("create", "-b", str(prepared.path), "c") for peer in peers)

    compare(name, theirs, ours)
    assert ours[0] == theirs[0]


@pytest.mark.parametrize(("name", "fields"), CASES, ids=[name for name, _ in CASES])
def test_exec(prepared: Bundle, peers: list[Peer], tmp_path: Path, name: str, fields: dict[str, Any]) -> None:
    document = {**prepared.config["process"], **fields}
    (tmp_path / "process.json").write_text(json.dumps(document))
    prepared.write("/bin/sleep", "600")
    answers = []
    for peer in peers:
        assert peer.call("run", "-d", "-b", str(prepared.path), "c") == (0, "")
        answers.append(peer.call("exec", "-p", str(tmp_path / "process.json"), "c"))
        peer.call("delete", "--force", "c")

    compare(name, *answers)
    assert answers[1][0] == answers[0][0] == 255


def compare(name: str, theirs: tuple[int, str], ours: tuple[int, str]) -> None:
    """Callers must come to the same verdict, by the same words where they are about the program itself."""
    assert theirs[1] and ours[1], "the case fails with neither or only one of them"
    assert docker_code(ours[1]) == docker_code(theirs[1]), (theirs, ours)
    assert podman_code(ours[1]) == podman_code(theirs[1]), (theirs, ours)
    if name not in ("a directory", "a working directory that is a file"):  # newer runcs say that it is a directory
        assert about_program(ours[1]) == about_program(theirs[1])


def test_exec_in_a_missing_working_directory(prepared: Bundle, peers: list[Peer], tmp_path: Path) -> None:
    """docker's health checks and `podman exec -w` read the cause."""
    document = {**prepared.config["process"], "args": ["/bin/sleep", "0"], "cwd": "/nope"}
    (tmp_path / "process.json").write_text(json.dumps(document))
    prepared.write("/bin/sleep", "600")
    ours = peers[1]
    assert ours.call("run", "-d", "-b", str(prepared.path), "c") == (0, "")
    code, message = ours.call("exec", "-p", str(tmp_path / "process.json"), "c")

    assert (code, docker_code(message), podman_code(message)) == (255, 127, 127)
    assert message == 'chdir to cwd ("/nope") set in config.json failed: no such file or directory'


@pytest.mark.parametrize(
    ("program", "message", "code"),
    [
        ("/bin/script", 'exec: "/bin/script": no such file or directory', 127),
        ("/bin/foreign", 'exec: "/bin/foreign": exec format error', 126),
    ],
)
def test_what_only_execve_knows(prepared: Bundle, peers: list[Peer], program: str, message: str, code: int) -> None:
    """runc's `start` succeeds and its init ends with 1; ours fails with the reason, so that callers can tell it."""
    prepared.write(program)
    _, ours = peers

    assert ours.call("run", "-b", str(prepared.path), "c") == (1, message)
    assert podman_code(message) == code
    assert ours.call("state", "c")[1] == "container does not exist: c"
