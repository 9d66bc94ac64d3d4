"""Plugins made for one test, and the configuration that names them."""

import json
import os
from pathlib import Path
from typing import Any

from runjail.nri.config import Plugin, load
from runjail.nri.invoke import PluginChain


class Plugins:
    """A plugin directory and a configuration directory."""

    def __init__(self, base: Path) -> None:
        self.base, self.bin, self.etc = base, base / "bin", base / "etc"
        self.settings = base / "runjail.toml"
        self.bin.mkdir(parents=True)
        (self.etc / "resource.d").mkdir(parents=True)

    def add(self, name: str, text: str, shell: str = "#!/bin/sh\n") -> Path:
        """Write an executable script."""
        path = self.bin / name
        path.write_text(shell + text, encoding="utf-8")
        path.chmod(0o755)
        return path

    def name(self, *entries: Any, file: str = "resource.d/10-test.conf") -> None:
        """Write a configuration file: each entry a name, or an object."""
        plugins = [{"type": entry} if isinstance(entry, str) else entry for entry in entries]
        (self.etc / file).write_text(json.dumps({"version": "0.1", "plugins": plugins}), encoding="utf-8")

    def env(self, timeout: float = 10, bin: str = "") -> dict[str, str]:
        """Return the environment in which the program uses these directories."""
        lines = ["[nri]", f'config = "{self.etc}"', f"timeout = {timeout}", f'bin = "{bin or self.bin}"']
        self.settings.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return {"RUNJAIL_CONFIG": str(self.settings)}

    def chain(self, *names: str, timeout: float = 5) -> PluginChain:
        """Return a chain of these plugins, or of those that are configured."""
        listed = tuple(Plugin(name, file="here") for name in names) or load([str(self.etc)])
        return PluginChain(listed, [str(self.bin)], timeout)

    def requests(self, name: str = "seen") -> list[dict[str, Any]]:
        """Return the requests that `recorder` kept."""
        path = self.base / name
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def recorder(self, name: str, answer: str = "{}", file: str = "seen") -> None:
        """Add a plugin that keeps its requests and gives a fixed answer."""
        self.add(name, f"cat >> {self.base}/{file}; echo >> {self.base}/{file}\nprintf '%s' '{answer}'\n")


def gone(pid: int) -> bool:
    """Whether a process is no more, or only a zombie that nobody collects."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return os.path.exists("/proc/self/stat")  # it ended between the two questions; elsewhere it is there


SEED = """{
  "version": "0.1",
  "plugins": [
    { "type": "konfine", "conf": { "systemReserved": [0, 1] } },
    { "type": "clearcfs" }
  ]
}"""
