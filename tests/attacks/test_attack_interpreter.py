"""Writing to the host's interpreter from inside: an image whose program, script or hook executes /proc/self/exe.

What is attacked is a copy of the interpreter, with start scripts of its own. The attacker (interpreter.c) is both the
program and the dynamic loader of its image, so that it runs in the place of our Python.
"""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runjail import protobuf
from runjail.shim import messages
from runjail.shim.loop import Loop
from runjail.shim.ttrpc import Client
from tests.support.container.harness import until
from tests.support.program import TOP, Bundle, Runjail

LOADER = "lib64/ld-linux-x86-64.so.2"
EACCES, EROFS = 13, 30

pytestmark = [
    pytest.mark.linux,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the attacker is written for x86-64"),
    pytest.mark.needs("gcc"),
]


@pytest.fixture(scope="session")
def attacker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The attacker's program, at an address where Python is not."""
    made = tmp_path_factory.mktemp("attacker") / "attacker"
    options = ["-O1", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie"]
    source = str(TOP / "tests/support/attacks/interpreter.c")
    subprocess.run(["gcc", *options, "-Wl,-Ttext-segment=0x30000000", "-o", str(made), source], check=True)
    return made


class Copy:
    """A copy of the interpreter, and the programs that boot.py makes for it. directory: theirs."""

    def __init__(self, path: Path) -> None:
        self.python = path / "python" / "bin" / os.path.basename(os.path.realpath(sys.executable))
        self.directory = path / "p" / "bin"
        self.python.parent.mkdir(parents=True)
        shutil.copy2(os.path.realpath(sys.executable), self.python)
        boot = [str(self.python), str(TOP / ".ci" / "boot.py"), "--package", str(TOP), "--to", str(self.directory)]
        subprocess.run(boot, check=True)
        self.content, self.mode = self.python.read_bytes(), self.python.stat().st_mode

    @property
    def unchanged(self) -> bool:
        """Whether it is as it was."""
        return self.python.read_bytes() == self.content and self.python.stat().st_mode == self.mode

    def release(self) -> None:
        """Unmount what the programs have mounted."""
        place = str(self.directory.parent / "libexec" / "runjail" / "bin")
        while subprocess.run(["umount", "-l", place], check=False, capture_output=True).returncode == 0:
            pass


@pytest.fixture
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    made = Copy(tmp_path_factory.mktemp("c"))  # a short name: first lines of scripts must hold it
    assert f"#!{made.python.parents[2]}" in (made.directory / "runjail").read_text(encoding="utf-8")
    yield made
    made.release()


class Image:
    """A bundle with the attacker as /attacker and as loader, and the program that attacks the copy through it."""

    def __init__(self, bundle: Bundle, runjail: Runjail, copy: Copy, attacker: Path) -> None:
        self.bundle, self.runjail, self.copy = bundle, runjail, copy
        runjail.program = str(copy.directory / "runjail")
        shutil.copy(attacker, bundle.rootfs / "attacker")
        (bundle.rootfs / LOADER).parent.mkdir()
        shutil.copy(attacker, bundle.rootfs / LOADER)
        self.script("/proc/self/exe")

    def script(self, interpreter: str) -> None:
        """Let the image have a script for an interpreter."""
        (self.bundle.rootfs / "script").write_text(f"#!{interpreter}\n", encoding="ascii")
        (self.bundle.rootfs / "script").chmod(0o755)

    def start(self, *args: str) -> None:
        """Create and start the container."""
        self.runjail.ok("create", "-b", self.bundle.write(*args), "c")
        self.runjail.ok("start", "c")

    def hook(self, kind: str, path: str, *args: str) -> None:
        """Let the bundle have a hook."""
        self.bundle.config["hooks"] = {kind: [{"path": path, "args": [path, *args]}]}

    def report(self) -> dict[str, int]:
        """Return what the attacker says at the end: words and the last error number of each."""
        path = self.bundle.rootfs / "report"

        def ended() -> dict[str, int]:
            rows = [line.split() for line in path.read_text(encoding="ascii").splitlines()] if path.exists() else []
            said = {word: int(number) for word, number in rows}
            return said if said.keys() & {"written", "gave-up"} or said.get("write") in (EROFS, EACCES) else {}

        said: dict[str, int] = until(ended)
        return said


@pytest.fixture
def image(bundle: Bundle, runjail: Runjail, copy: Copy, attacker: Path) -> Iterator[Image]:
    usual = runjail.program
    yield Image(bundle, runjail, copy, attacker)
    runjail.program = usual  # deletes what is left even if the copy is destroyed


def held(image: Image) -> None:
    """Check that the attacker ran in our interpreter's place, tried, and changed nothing."""
    said = image.report()

    assert said == {"ran": 0, "chmod": EROFS, "write": EROFS}, said
    assert image.copy.unchanged


def first_process(image: Image, program: str) -> None:
    """Attack by the container's own program."""
    image.start(program)


def joining_process(image: Image, program: str) -> None:
    """Attack by what `exec` starts."""
    image.start("/bin/sleep", "600")
    image.runjail("exec", "c", program)


def start_container_hook(image: Image, program: str) -> None:
    """Attack by a hook that runs inside."""
    image.hook("startContainer", program)
    image.start("/bin/sleep", "600")


def create_container_hook(image: Image, program: str) -> None:
    """Attack by a host's hook that runs a program of the image, as those do that call the image's ldconfig.

    What such a hook executes itself is the hook's business: here a copy, too.
    """
    chroot = shutil.copy(shutil.which("chroot") or "", image.copy.python.parent)
    image.script("/proc/1/exe")
    image.hook("createContainer", chroot, str(image.bundle.rootfs), program.replace("self", "1"))
    image.start("/bin/sleep", "600")


def foreground(image: Image, program: str) -> None:
    """Attack by the program of `run`, which is killed: as long as it runs it executes what is to be written."""
    words = [image.runjail.program, "--root", str(image.runjail.root), "run", "-b", image.bundle.write(program), "c"]
    running = subprocess.Popen(words, env={}, stdin=subprocess.DEVNULL)
    until((image.bundle.rootfs / "report").exists)
    running.send_signal(signal.SIGKILL)
    running.wait()


def shim(image: Image, program: str, joining: str = "") -> None:
    """Attack by the program of a container that containerd's shim makes; the shim is killed like `run`.

    joining: the program of a process that it sends in.
    """
    bundle, root = image.bundle.write(*program.split()), image.runjail.root
    sockets = tempfile.mkdtemp(prefix="s", dir="/tmp")  # short: a socket's name has 107 bytes at most
    words = [str(image.copy.directory / "containerd-shim-runjail-v1"), "-namespace", root.name, "-address", "/none"]
    words += ["-bundle", bundle, "-id", "c", "start"]
    given = protobuf.encode(messages.BOOTSTRAP, {"instance_id": "c", "namespace": root.name, "socket_dir": sockets})
    done = subprocess.run(words, input=given, capture_output=True, check=True, env={}, timeout=200)
    pid = int((image.bundle.path / "shim.pid").read_text(encoding="ascii"))
    place = protobuf.encode(messages.OPTIONS, {"root": str(root.parent)})
    options = {"type_url": "containerd.runc.v1.Options", "value": place}
    try:
        ask(done.stdout.decode(), "Create", messages.CREATE, id="c", bundle=bundle, options=options)
        ask(done.stdout.decode(), "Start", messages.PROCESS, id="c")
        if joining:
            process = json.dumps({**image.bundle.config["process"], "args": [joining]}).encode()
            spec = {"type_url": "types.containerd.io/opencontainers/runtime-spec/1/Process", "value": process}
            ask(done.stdout.decode(), "Exec", messages.EXEC, id="c", exec_id="e", spec=spec)
            ask(done.stdout.decode(), "Start", messages.PROCESS, id="c", exec_id="e")
        until((image.bundle.rootfs / "report").exists)
    finally:
        os.kill(pid, signal.SIGKILL)
        shutil.rmtree(sockets)


def shim_exec(image: Image, program: str) -> None:
    """Attack by what the shim sends into a container."""
    shim(image, "/bin/sleep 600", program)


def ask(address: str, method: str, table: "protobuf.Table", **request: object) -> None:
    """Call the shim and wait for its answer, which must be no failure."""
    loop = Loop()
    answers = []

    def done(failure: object, _payload: bytes) -> None:
        answers.append(failure)
        loop.ending = True

    caller = Client(loop, address.removeprefix("unix://"))
    caller.call("containerd.task.v2.Task", method, protobuf.encode(table, request), done, seconds=60)
    loop.run()
    caller.close()
    assert answers == [None]


WAYS = [first_process, joining_process, start_container_hook, create_container_hook, foreground, shim, shim_exec]


@pytest.mark.parametrize("program", ["/proc/self/exe", "/script"], ids=["link", "script"])
@pytest.mark.parametrize("attack", WAYS, ids=lambda way: way.__name__)
def test_the_interpreter_is_not_written(image: Image, attack: Callable[[Image, str], None], program: str) -> None:
    """Whoever brings processes into the container is executed through a read-only mount."""
    attack(image, program)

    held(image)


def test_without_a_start_script(image: Image) -> None:
    """A program that pip or an administrator wrote names the interpreter itself, which is as safe."""
    script = image.copy.directory / "plain"
    lines = [f"#!{image.copy.python} -IS", "import sys", f"sys.path.insert(0, {str(TOP)!r})"]
    script.write_text("\n".join([*lines, "from runjail.cli.main import main", "main()", ""]), encoding="utf-8")
    script.chmod(0o755)
    image.runjail.program = str(script)
    image.start("/proc/self/exe")

    held(image)


def test_the_attacker_writes_where_it_may(image: Image, tmp_path: Path) -> None:
    """The same program overwrites a file of the host's that the container was given."""
    target = tmp_path / "target"
    target.write_bytes(b"a file of the host's")
    (image.bundle.rootfs / "target").touch()
    mount = {"destination": "/target", "type": "bind", "source": str(target), "options": ["bind", "rw"]}
    image.bundle.config["mounts"].append(mount)
    image.start("/attacker")

    assert image.report() == {"ran": 0, "chmod": 0, "written": 0}
    assert target.read_bytes() == b"OVERWRITTENhe host's"[:20]
    assert target.stat().st_mode & 0o777 == 0o777
