"""The installed program, a bundle to run, and what both are made of."""

import itertools
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from runjail.image.bundle.default_mounts import CAPABILITIES
from tests.support import needs
from tests.support.leftovers import Leftovers

TOP = Path(__file__).resolve().parents[2]


FREEBSD = sys.platform.startswith("freebsd")


LINUX = sys.platform == "linux"


NUMBERS = itertools.count(1)
WITHOUT_GROUPS = re.compile(r'^time="[^"]*" level=warning msg="control groups cannot be written .*\n', re.MULTILINE)


def own_words(text: str) -> str:
    """Return what a program said, without that control groups cannot be written, where each container is warned of it.

    tests/demo looks at the warning.
    """
    return text if not LINUX or needs.has("cgroups") else WITHOUT_GROUPS.sub("", text)


class Result:
    """A finished call. stdout and stderr are files, because a container keeps using those of its `create`.

    Reading the attributes again later shows what the container wrote meanwhile.
    """

    def __init__(self, args: list[str], returncode: int, out: Path, err: Path) -> None:
        self.args, self.returncode, self._out, self._err = args, returncode, out, err

    @property
    def stdout(self) -> str:
        """All that was written to standard output until now."""
        return self._out.read_text(encoding="utf-8", errors="replace")

    @property
    def stderr(self) -> str:
        """All that was written to standard error until now, but for what every container is warned of here."""
        return own_words(self._err.read_text(encoding="utf-8", errors="replace"))

    def __repr__(self) -> str:
        return f"{' '.join(self.args)} -> {self.returncode}\nstdout: {self.stdout!r}\nstderr: {self.stderr!r}"


class Runjail:
    """The installed program with a state directory of its own.

    Call it with arguments: `runjail("state", "web")`. Its environment is empty but for `env`, as callers have it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory, self.root = directory, directory / "state"
        self.program = str(TOP / ".venv" / "bin" / "runjail")
        self._calls = 0

    def __call__(
        self,
        *args: str,
        stdin: "str | int | None" = None,
        env: dict[str, str] | None = None,
        cwd: "str | Path | None" = None,
        timeout: float = 200,
        root: bool = True,
        **more: Any,
    ) -> Result:
        """Run it to its end. stdin: text, a descriptor, or None for /dev/null. more: for subprocess.Popen."""
        self._calls += 1
        out, err = self.directory / f"{self._calls}.out", self.directory / f"{self._calls}.err"
        command = [self.program, *(["--root", str(self.root)] if root else []), *args]
        given = stdin if isinstance(stdin, int) else (subprocess.PIPE if stdin is not None else subprocess.DEVNULL)
        with open(out, "wb") as to_out, open(err, "wb") as to_err:
            process = subprocess.Popen(
                command, stdin=given, stdout=to_out, stderr=to_err, env=env or {}, cwd=cwd, **more
            )
        try:
            process.communicate(stdin.encode() if isinstance(stdin, str) else None, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        return Result(command, process.returncode, out, err)

    def ok(self, *args: str, **named: Any) -> Result:
        """Run it and insist on success."""
        result = self(*args, **named)
        assert result.returncode == 0, result
        return result

    def state(self, id: str) -> dict[str, Any]:
        """Return the container's state document."""
        document: dict[str, Any] = json.loads(self.ok("state", id).stdout)
        return document

    def wait(self, id: str, status: str = "stopped", seconds: float = 120) -> dict[str, Any]:
        """Poll until the container has this status; returns its state document."""
        end = time.monotonic() + seconds
        while (state := self.state(id))["status"] != status:
            assert time.monotonic() < end, f"{id} is {state['status']}, not {status}, after {seconds} s"
            time.sleep(0.02)
        return state

    def ids(self) -> list[str]:
        """Return the ids of all containers in the state directory."""
        return self.ok("list", "-q").stdout.split()


class Bundle:
    """A bundle directory: change `config`, then `write()`; `rootfs` is its root directory."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path, self.rootfs, self.config = path, path / "rootfs", config

    def write(self, *args: str, **process: Any) -> str:
        """Write config.json, with process.args and other process fields when given. Returns the bundle's path."""
        if args:
            self.config["process"]["args"] = list(args)
        self.config["process"].update(process)
        (self.path / "config.json").write_text(json.dumps(self.config), encoding="utf-8")
        return str(self.path)


def base_config(ours: Leftovers) -> dict[str, Any]:
    """Return a config.json that this machine can run: a sleeping process with /dev and, on Linux, /proc."""
    device_files: dict[str, Any] = {"destination": "/dev", "type": "devfs", "source": "devfs", "options": ["ruleset=4"]}
    config: dict[str, Any] = {
        "ociVersion": "1.3.0",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/sleep", "600"],
            "env": ["PATH=/bin:/usr/bin", f"{ours.MARK}={ours.base}"],
            "cwd": "/",
        },
        "root": {"path": "rootfs"},
        "hostname": "runjail-test",
        "mounts": [device_files],
    }
    if LINUX:
        device_files.update(type="tmpfs", source="tmpfs", options=["nosuid", "mode=755", "size=64k"])
        config["mounts"].insert(0, {"destination": "/proc", "type": "proc", "source": "proc"})
        kinds = ("pid", "mount", "uts", "ipc", "network")
        namespaces = [{"type": kind} for kind in kinds]
        config["linux"] = {"namespaces": namespaces, "cgroupsPath": f"/{ours.group}-{next(NUMBERS)}"}
        config["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES)
    return config


def begin(runjail: Runjail, *args: str) -> "subprocess.Popen[bytes]":
    """Start the program without waiting for it. pytest keeps what it says; a container would hold a pipe open."""
    command = [runjail.program, "--root", str(runjail.root), *args]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
