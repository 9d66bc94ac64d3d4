"""CNI plugins made for one test, and lists that name them; and a network namespace for real ones."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runjail.network import attachment, lists
from runjail.network.attachment import Attachment

PLUGINS = next((place for place in ("/usr/lib/cni", "/opt/cni/bin") if os.path.exists(f"{place}/bridge")), "")
# What a plugin does is in its configuration: fail, wait (for a file), escape (a child that sets up its own session),
# say (instead of a result), why (it fails). What it is called with it writes down; ADD takes an address, DEL gives it
# back, GC those of who is gone.
SCRIPT = """#!{python} -IS
import json, os, sys, time
base, config, command = {base!r}, json.load(sys.stdin), os.environ["CNI_COMMAND"]
if command == "VERSION":
    print(json.dumps({{"supportedVersions": ["0.4.0", "1.0.0"]}}))
    sys.exit(0)
words = {{name: os.environ[name] for name in sorted(os.environ) if name.startswith("CNI_")}}
with open(base + "/seen", "a") as file:
    file.write(json.dumps([command, config, words]) + "\\n")
whose = [words.get(name, "") for name in ("CNI_CONTAINERID", "CNI_IFNAME")]
ours = base + "/taken/" + "-".join((os.path.basename(sys.argv[0]), *whose))
if command in config.get("fail", ()):
    print(json.dumps({{"code": 11, "msg": config.get("why", "no room"), "details": "try again"}}))
    sys.exit(1)
if command in config.get("escape", ()) and not os.fork():
    os.setsid()
    os.close(1)
    with open(base + "/escaped", "w") as file:
        file.write(str(os.getpid()))
    time.sleep(600)
if command in config.get("wait", ()):
    open(base + "/waiting", "w").close()
    while not os.path.exists(base + "/go"):
        time.sleep(0.01)
if command == "DEL":
    if os.path.exists(ours):
        os.unlink(ours)
elif command == "GC":
    kind = os.path.basename(sys.argv[0])
    there = ["-".join((kind, each["containerID"], each["ifname"])) for each in config["cni.dev/valid-attachments"]]
    for name in os.listdir(base + "/taken"):
        if name.startswith(kind + "-") and name not in there:
            os.unlink(base + "/taken/" + name)
elif command == "ADD":
    os.makedirs(base + "/taken", exist_ok=True)
    open(ours, "w").close()
    result = config.get("prevResult") or {{"cniVersion": config["cniVersion"], "ips": [
        {{"address": "192.0.2.7/24", "gateway": "192.0.2.1"}}], "dns": {{"nameservers": ["192.0.2.53"]}}}}
    result["by"] = result.get("by", []) + [config["type"]]
    sys.stdout.write(config.get("say", json.dumps(result)))
"""


class Cni:
    """A directory of plugins, one of lists, and the settings that name both."""

    def __init__(self, base: Path) -> None:
        self.base, self.bin, self.lists = base, base / "bin", base / "net.d"
        self.settings = base / "runjail.toml"
        self.bin.mkdir(parents=True)
        self.lists.mkdir()

    def add(self, *kinds: str) -> None:
        """Write plugins."""
        for kind in kinds:
            path = self.bin / kind
            path.write_text(SCRIPT.format(python=sys.executable, base=str(self.base)), encoding="utf-8")
            path.chmod(0o755)

    def write(self, name: str, *plugins: dict[str, Any], version: str = "1.0.0", **more: Any) -> Path:
        """Write a list."""
        path = self.lists / f"{name}.conflist"
        document = {"cniVersion": version, "name": name, "plugins": list(plugins), **more}
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    def keep_addresses(self, name: str, directory: Path) -> None:
        """Have what host-local writes down for a bridge kept among the files of the test, not in the machine's."""
        path = self.lists / f"{name}.conflist"
        document = json.loads(path.read_text(encoding="utf-8"))
        document["plugins"][0]["ipam"]["dataDir"] = str(directory)
        path.write_text(json.dumps(document), encoding="utf-8")

    def env(self, bin: str = "", timeout: float = 60) -> dict[str, str]:
        """Return the environment in which the program uses these directories. bin: of plugins instead of ours."""
        lines = ["[network]", f'config = "{self.lists}"', f'bin = "{bin or self.bin}"', f"timeout = {timeout}"]
        self.settings.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return {"RUNJAIL_CONFIG": str(self.settings)}

    def attachment(self, name: str, namespace: str = "/ns", timeout: float = 60, **ports: Any) -> Attachment:
        """Return what a container's part of a network is."""
        told = {"id": "web-1", "name": "web", "namespace": namespace, "directories": (str(self.bin),)}
        found = lists.find(name, [str(self.lists)])
        return attachment.attachments([found], ports.get("ports", []), {**told, "timeout": timeout})[0]

    def seen(self) -> list[tuple[str, dict[str, Any], dict[str, str]]]:
        """Return what the plugins were called with: command, configuration, environment."""
        path = self.base / "seen"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [tuple(json.loads(line)) for line in lines]

    def taken(self) -> list[str]:
        """Return what plugins have made and not taken back."""
        path = self.base / "taken"
        return sorted(os.listdir(path)) if path.is_dir() else []


class Namespace:
    """A network namespace of a test's own, with `lo` up. command: what runs a program in it."""

    def __init__(self, pid: int) -> None:
        self.command = ["nsenter", "-t", str(pid), "-n", "--"]

    def run(self, *words: str) -> str:
        """Run a program there; return what it prints."""
        return subprocess.run([*self.command, *words], capture_output=True, text=True, check=True).stdout

    def interfaces(self) -> list[str]:
        """Return the names of the interfaces."""
        return sorted(link["ifname"] for link in json.loads(self.run("ip", "-j", "link")))

    def rules(self) -> str:
        """Return the rules that name a container."""
        lines = self.run("iptables-save").splitlines()
        return "\n".join(line for line in lines if "id: " in line or ":CNI-DN" in line or "-d 10." in line)


@contextmanager
def namespace() -> Iterator[Namespace]:
    """Have a network namespace as long as the context."""
    keeper = subprocess.Popen(
        ["unshare", "-n", "sh", "-c", "ip link set lo up && echo up && exec sleep 3600"], stdout=subprocess.PIPE
    )
    assert keeper.stdout
    try:
        assert keeper.stdout.readline() == b"up\n"
        yield Namespace(keeper.pid)
    finally:
        keeper.stdout.close()
        keeper.kill()
        keeper.wait()


def wait_for(path: Path) -> None:
    """Wait until a file is there."""
    end = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.01)
