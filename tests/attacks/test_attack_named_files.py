"""Files that a caller names: whatever stands at the path, one clear error at once, no waiting, no memory, no traceback.

Every verb is tried with every kind of thing; that it reads the file at all is shown by the same call with a good one.
"""

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.container.harness import Life
from tests.support.program import TOP

SECONDS = 30  # in which a loaded machine has said no
MEMORY = 1 << 30  # bytes of address space that a call may have
DEEP = b"[" * 100000 + b"]" * 100000


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_terminal(path: Path) -> None:
    path.symlink_to("/dev/ptmx")


def make_directory(path: Path) -> None:
    path.mkdir()


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.getcwd()
        os.chdir(path.parent)  # its name is short enough
        try:
            listener.bind(path.name)
        finally:
            os.chdir(before)


def make_huge(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(1 << 40)


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


THINGS: dict[str, Callable[[Path], None]] = {
    "fifo": make_fifo,
    "endless device": make_zero,
    "multiplexer": make_terminal,
    "directory": make_directory,
    "socket": make_socket,
    "a terabyte": make_huge,
    "link to itself": make_loop,
}
CONTENTS = {
    "NUL": b"\0" * 4096,
    "no UTF-8": b'{"args": ["\xff\xfe"]}',
    "encoded surrogate": b'{"args": ["\xed\xa0\x80"], "a": {}}',
    "lone surrogate": b'{"args": ["\\ud800"], "cwd": "/", "cpu": {"cpus": "\\udc80"}, "plugins": ["\\ud800"]}',
    "deep lists": DEEP,
    "deep objects": b'{"a":' * 100000,
    "a long number": b'{"args": ' + b"9" * 100000 + b"}",
}
# What reads it; {} stands for the path, {dir} for its directory
READERS: dict[str, list[str]] = {
    "config.json": ["validate", "-b", "{dir}"],
    "config.json of create": ["create", "-b", "{dir}", "c"],
    "config.json of plan": ["plan", "-b", "{dir}", "c"],
    "process.json": ["exec", "-p", "{}", "c"],
    "resources": ["update", "-r", "{}", "c"],
    "runjail.toml": ["nri", "ls"],
    "conf.json": ["nri", "ls"],
    "key": ["image", "unpack", "--key", "{}", "web"],
    "password": ["image", "unpack", "--key", "/dev/null:file={}", "web"],
    "recipient": ["image", "encrypt", "--recipient", "jwe:{}", "a", "b"],
    "archive": ["image", "import", "oci-archive:{}"],
    "docker archive": ["image", "import", "docker-archive:{}"],
    "containerd.toml": ["check", "--containerd", "{}"],
}
WRITERS = {
    "pid file of create": ["create", "-b", "{bundle}", "--pid-file", "{}", "new"],
    "pid file of exec": ["exec", "-d", "--pid-file", "{}", "c", "/bin/true"],
    "log": ["--log", "{}", "state", "c"],
    "console socket": ["exec", "-d", "-t", "--console-socket", "{}", "c", "/bin/true"],
}
API = {  # what only a registry's or a key provider's answer leads to
    "auth.json": "from runjail.image.registry.credentials import CredentialStore\n"
    "print(CredentialStore(sys.argv[1]).find('a.b', 'c'))",
    "keyprovider.json": "from runjail.image.crypto.keyprovider_config import read; print(read(sys.argv[1]))",
    "grpc certificate": "from runjail.image.crypto.keyprovider_grpc import _content; print(_content(sys.argv[1]))",
    "PIN": "from runjail.image.crypto.pkcs11_uri import _read; print(_read(sys.argv[1], 'PIN file'))",
}


class Caller:
    """Calls runjail with little memory and little time, and notes what is wrong with how it fails."""

    def __init__(self, life: Life, place: Path) -> None:
        self.life, self.place, self.wrong = life, place, list[str]()
        place.mkdir()

    def path(self, reader: str) -> Path:
        """Return where this reader finds its file."""
        names = {"conf.json": "etc/conf.json", "auth.json": "auth.json", "runjail.toml": "runjail.toml"}
        path = self.place / names.get(reader, "config.json")
        path.parent.mkdir(exist_ok=True)
        return path

    def environment(self, reader: str, path: Path) -> dict[str, str]:
        env = {"RUNJAIL_STORE": f"dir:{self.place}/store", "HOME": str(self.place), "PATH": os.environ["PATH"]}
        if reader == "conf.json":
            settings = self.place / "runjail.toml"
            settings.write_text(f"[nri]\nconfig = '{path.parent}'\n")
            env["RUNJAIL_CONFIG"] = str(settings)
        if reader == "runjail.toml":
            env["RUNJAIL_CONFIG"] = str(path)
        return env

    def call(self, reader: str, words: list[str], path: Path) -> "subprocess.CompletedProcess[str]":
        words = [word.format(path, dir=path.parent, bundle=self.life.path) for word in words]
        command = [self.life.runjail.program, "--root", str(self.life.runjail.root), *words]
        if words[0] == "-c":
            command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(TOP)!r}); {words[1]}", str(path)]
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=SECONDS, stdin=subprocess.DEVNULL,
            env=self.environment(reader, path), cwd=self.place, preexec_fn=little_memory,
        )  # fmt: skip

    def refused(self, reader: str, words: list[str], path: Path, kind: str) -> None:
        """Call, and note what is not one clear error. An API ends with the error's own class and text."""
        try:
            result = self.call(reader, words, path)
        except subprocess.TimeoutExpired:
            self.wrong.append(f"{reader}, {kind}: no end after {SECONDS} s")
            return
        lines = result.stderr.strip().splitlines() or [""]
        known = lines[-1].startswith("runjail.errors.") or "SchemeError" in lines[-1]
        clear = known if words[0] == "-c" else "Traceback" not in result.stderr and len(lines) <= 2
        if result.returncode <= 0 or not clear or "internal error" in result.stderr:
            self.wrong.append(f"{reader}, {kind}: {result.returncode} {result.stderr[-500:]}")


def little_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


@pytest.fixture
def caller(life: Life, tmp_path: Path) -> Iterator[Caller]:
    yield Caller(life, tmp_path / "named")
    shutil.rmtree(tmp_path / "named")


def calls(reader: str) -> list[str]:
    return READERS.get(reader) or ["-c", API[reader]]


def path_of(caller: Caller, reader: str) -> Path:
    """Return where a reader finds its file; some read it for a container that runs."""
    if reader in ("process.json", "resources"):
        caller.life.sleep()
    return caller.path(reader)


@pytest.mark.linux
@pytest.mark.parametrize("reader", [*READERS, *API])
def test_what_is_no_file(caller: Caller, reader: str) -> None:
    """FIFOs and devices keep nobody waiting, and nothing is read without end."""
    path = path_of(caller, reader)
    for kind, make in THINGS.items():
        make(path)
        caller.refused(reader, calls(reader), path, kind)
        path.rmdir() if kind == "directory" else path.unlink()

    assert caller.wrong == []


@pytest.mark.linux
@pytest.mark.parametrize("reader", [*READERS, *API])
def test_content_that_means_nothing(caller: Caller, reader: str) -> None:
    """NUL, bytes that are no text, halves of surrogate pairs, nesting, numbers without end."""
    path = path_of(caller, reader)
    for kind, content in CONTENTS.items():
        if reader in ("PIN", "grpc certificate", "password"):  # any bytes will do
            continue
        if (reader, kind) in HARMLESS:
            continue
        path.write_bytes(content)
        caller.refused(reader, calls(reader), path, kind)

    assert caller.wrong == []


def identity(path: Path) -> tuple[int, ...]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino, found.st_mode, found.st_rdev


# What these readers do not look into
HARMLESS = {("auth.json", "lone surrogate"), ("auth.json", "a long number")}


@pytest.mark.linux
@pytest.mark.parametrize("writer", WRITERS)
def test_what_cannot_be_written(caller: Caller, writer: str) -> None:
    """Nobody waits for a reader, nothing is replaced, no container is left."""
    caller.life.sleep()
    path = caller.path(writer)
    for kind, make in THINGS.items():
        if kind == "a terabyte" or (writer == "log" and kind in ("endless device", "multiplexer")):
            continue  # those can be written
        if kind == "link to itself" and writer.startswith("pid file"):
            continue  # which is replaced
        make(path)
        before = identity(path)
        caller.refused(writer, WRITERS[writer], path, kind)
        assert identity(path) == before
        path.rmdir() if kind == "directory" else path.unlink()

    assert caller.wrong == []
    assert caller.life.runjail.ids() == ["c"]


@pytest.mark.linux
def test_the_console_socket_of_somebody_who_does_not_accept(caller: Caller) -> None:
    """A full queue of connections is no reason to wait for ever."""
    caller.life.sleep()
    path = caller.place / "listener"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as other:
        listener.bind(str(path))
        listener.listen(0)
        other.connect(str(path))
        caller.refused("console socket", WRITERS["console socket"], path, "full queue")

    assert caller.wrong == []


@pytest.mark.linux
def test_a_pid_file_that_is_dev_null(caller: Caller) -> None:
    """rename(2) would replace the device for the whole machine: here one of our own in its place."""
    caller.life.sleep()
    node = caller.place / "null"
    os.mknod(node, 0o666 | 0o020000, os.makedev(1, 3))
    for writer in ("pid file of create", "pid file of exec"):
        caller.refused(writer, WRITERS[writer], node, "device")

    assert caller.wrong == []
    assert node.is_char_device()


@pytest.mark.linux
def test_a_score_file_of_the_image(caller: Caller) -> None:
    """An image without /proc that brings /proc/self/oom_score_adj as a FIFO, or as a link to what it wants written."""
    life = caller.life
    life.bundle.config["mounts"] = [one for one in life.bundle.config["mounts"] if one["destination"] != "/proc"]
    fake = life.bundle.rootfs / "proc/self"
    fake.mkdir(parents=True)
    target = life.bundle.rootfs / "etc/target"
    target.write_text("mine\n")
    (fake / "oom_score_adj").symlink_to("/etc/target")
    bundle = life.bundle.write("/bin/sleep", "600", oomScoreAdj=300)
    caller.life.runjail.ok("run", "-d", "-b", bundle, "c", timeout=SECONDS)
    pid = life.runjail.state("c")["pid"]
    (fake / "oom_score_adj").unlink()
    os.mkfifo(fake / "oom_score_adj")
    life.runjail.ok("exec", "c", "/bin/true", timeout=SECONDS)

    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "300\n"
    assert target.read_text() == "mine\n"


GOOD = {
    "process.json": {"args": ["/bin/echo", "good"], "cwd": "/"},
    "resources": {"pids": {"limit": 50}},
    "auth.json": {"auths": {"a.b": {"auth": "dTpw"}}},
    "keyprovider.json": {"key-providers": {"good": {"cmd": {"path": "/good"}}}},
    "conf.json": {"version": "0.1", "plugins": [{"type": "good"}]},
}


@pytest.mark.linux
@pytest.mark.parametrize("reader", GOOD)
def test_control_a_good_file_is_read(caller: Caller, reader: str) -> None:
    path = path_of(caller, reader)
    path.write_text(json.dumps(GOOD[reader]))
    result = caller.call(reader, calls(reader), path)

    assert result.returncode == 0 or (reader == "conf.json" and "good" in result.stdout), result


@pytest.mark.linux
def test_control_pipes_that_a_shell_names(caller: Caller) -> None:
    """`<(command)` and `-` stay what they are."""
    caller.life.sleep()
    program = f"{caller.life.runjail.program} --root {caller.life.runjail.root}"
    document = json.dumps(GOOD["process.json"])
    script = (
        f"{program} exec -p <(sleep 0.2; echo '{document}') c; echo '{{}}' | {program} update -r - c && echo updated"
    )
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True)

    assert said.stdout.split() == ["good", "updated"]
