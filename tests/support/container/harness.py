"""What tests of running containers share: the program and a bundle together, and small things to look at."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.program import FREEBSD, Bundle, Result, Runjail

DEAD = ("Z", "X", "x")

# Programs that cannot run, and the texts of which podman makes exit codes 127 and 126
CANNOT_RUN = (
    ("/nonexistent", 'exec: "/nonexistent": stat /nonexistent: no such file or directory'),
    ("nonexistent", 'exec: "nonexistent": executable file not found in $PATH'),
    ("/etc", 'exec: "/etc": is a directory: permission denied'),
    ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
    ("/etc/passwd/x", 'exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory'),
)


class Life:
    """One bundle and the program. Ids default to `c`."""

    def __init__(self, runjail: Runjail, bundle: Bundle) -> None:
        self.runjail, self.bundle, self.path = runjail, bundle, bundle.path

    def create(self, *args: str, id: str = "c", options: tuple[str, ...] = (), **process: Any) -> Result:
        """Write the config and create the container, which must work."""
        return self.runjail.ok("create", "-b", self.bundle.write(*args, **process), *options, id)

    def start(self, *args: str, id: str = "c", options: tuple[str, ...] = (), **process: Any) -> Result:
        """Create and start the container; returns the result of create, whose output is the container's."""
        created = self.create(*args, id=id, options=options, **process)
        self.runjail.ok("start", id)
        return created

    def sleep(self) -> None:
        """Start a container that only sleeps: to exec into."""
        self.start("/bin/sleep", "600")

    def run(self, script: str, id: str = "c", **process: Any) -> Result:
        """Run a shell script in the foreground, in a container that is gone afterwards."""
        return self.runjail("run", "-b", self.bundle.write("/bin/sh", "-c", script, **process), id)

    def says(self, script: str, **process: Any) -> str:
        """Return what a script in a container prints; it must succeed and print no errors."""
        result = self.run(script, **process)
        assert (result.returncode, result.stderr) == (0, ""), result
        return result.stdout

    def gone(self, id: str = "c") -> None:
        """Check that nothing of the container is left, in the state directory or in the root directory."""
        assert not (self.runjail.root / id).exists()
        assert self.runjail("state", id).returncode == 1


def tree(path: Path) -> list[str]:
    """Return every path below a directory, to see that nothing was added or lost."""
    return sorted(os.path.join(top, name) for top, dirs, files in os.walk(path) for name in dirs + files)


def until(condition: Callable[[], object], seconds: float = 120) -> Any:
    """Wait for a condition and return what it says."""
    end = time.monotonic() + seconds
    while not (said := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
    return said


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    if FREEBSD:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] not in DEAD
    except OSError:
        return False


def failed(result: Result, text: str, code: int = 1) -> None:
    """Check exit code and error text; standard output must be empty and standard error one line, or two with a hint."""
    assert result.returncode == code, result
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0] == f"runjail: {text}", result
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("hint: "))


def error_lines(result: Result) -> list[str]:
    """Return the lines of stderr, which after a failure is `runjail: ...` and perhaps a hint."""
    return result.stderr.splitlines()


def log_lines(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a JSON log."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def exec_document(life: Life, script: str, **process: Any) -> Result:
    """Run a script by `exec --process`, with a document that says nothing of privileges but what is given."""
    document = life.path / "process.json"
    document.write_text(json.dumps({"args": ["/bin/sh", "-c", script], "cwd": "/", **process}))
    return life.runjail.ok("exec", "-p", str(document), "c")
