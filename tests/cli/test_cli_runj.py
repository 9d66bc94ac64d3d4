"""The dialect of runj: the command lines of containerd-shim-runj-v1, and a whole container through them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runjail.cli.runj import translated
from runjail.errors import UsageError

TOP = Path(__file__).resolve().parents[2]
RUNJ = TOP / ".venv" / "libexec" / "runjail" / "runj"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("create web /b", "create --bundle /b web"),
        ("create web /b --console-socket /s", "create --bundle /b --console-socket /s web"),
        ("state web", "state web"),
        ("start web", "start web"),
        ("kill web KILL --all", "kill --all web KILL"),
        ("kill web 15 --pid 77", "kill --pid 77 web 15"),
        ("kill web 15 --all --pid 77", "kill --all --pid 77 web 15"),
        ("delete web", "delete web"),
        ("extension exec web --process /p", "exec --process /p web"),
        ("extension exec web --process /p --console-socket /s", "exec --process /p --console-socket /s web"),
        ("--version", "--version"),
    ],
)
def test_recorded_command_lines(theirs: str, ours: str) -> None:
    assert translated(theirs.split()) == ours.split()


@pytest.mark.parametrize("words", ["create web", "nope web", "extension other web", "extension exec", "kill web"])
def test_what_is_no_command_of_runj(words: str) -> None:
    with pytest.raises(UsageError):
        translated(words.split())


@pytest.mark.linux
def test_a_whole_life(runjail: Any, bundle: Any, tmp_path: Path) -> None:
    """State is pure JSON right after create; exec's exit status is that of its process; a stopped one is deleted."""
    bundle.write("/bin/sleep", "600")
    env = {"RUNJAIL_ROOT": str(runjail.root)}

    def runj(*args: str, code: int = 0) -> str:
        with open(tmp_path / "said", "wb") as said:
            done = subprocess.run(
                [RUNJ, *args], stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=env, timeout=200
            )
        text = (tmp_path / "said").read_text(encoding="utf-8")
        assert done.returncode == code, text
        return text

    runj("create", "web", str(bundle.path))
    state = json.loads(runj("state", "web"))
    assert (state["status"], state["pid"] > 0) == ("created", True)
    runj("start", "web")
    process = {**bundle.config["process"], "args": ["/bin/sh", "-c", "echo inside; exit 7"], "terminal": False}
    (tmp_path / "process.json").write_text(json.dumps(process), encoding="utf-8")
    assert runj("extension", "exec", "web", "--process", str(tmp_path / "process.json"), code=7) == "inside\n"
    runj("kill", "web", "KILL", "--all")
    runjail.wait("web")
    runj("delete", "web")
    assert "container does not exist" in runj("state", "web", code=1)


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [("/bin/echo", 0, "from inside\n"), ("/nope", 9, "stat /nope: no such file or directory")],
)
def test_becoming_the_process(tmp_path: Path, program: str, code: int, said: str) -> None:
    """exec in place: the program has the pid of who was asked to run it, and what fails is said."""
    script = tmp_path / "become.py"
    script.write_text(BECOME, encoding="utf-8")
    words = [sys.executable, "-S", str(script), str(TOP), str(tmp_path), program]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    out = process.communicate(timeout=120)[0]

    assert process.returncode == code
    assert said in out
    assert f"pid {process.pid}" in out


BECOME = """
import os, sys
sys.path.insert(0, sys.argv[1])
from runjail import jsonio
from runjail.container import exec, status
from runjail.container.container import Runtime
from runjail.container.reserve import reserve

class Host:
    os = "linux"
    def start_time(self, pid): return "1"
    def boot_id(self): return "b"
    def enter(self, host_state, keep, groups): pass
    def label_program(self, process): pass
    def restrict_calls(self): pass
    def label_program(self, process): pass
    def apply_credentials(self, process): pass
    def label_program(self, process): pass

runtime = Runtime(Host(), sys.argv[2] + "/state")
container = reserve(runtime, "web")
container.state.boot_id = "b"
container.host_state.pid, container.host_state.started = 1, "1"
container.save()
from runjail.spec.process import parse_process
document = {"cwd": "/", "args": [sys.argv[3], "from", "inside"], "user": {"uid": 0, "gid": 0}}
with open(container.path + "/config.json", "w") as file:
    file.write(jsonio.dumps({"process": document}))
process = parse_process(document, "linux")
print("pid", os.getpid(), flush=True)
try:
    exec.exec_in_place(exec.Request("web", process), runtime)
except Exception as error:
    print(error, flush=True)
    os._exit(9)
"""
