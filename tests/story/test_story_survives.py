"""A container outlives the runjail that runs it: its root stays until it is deleted."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.story.cli import Cli

pytestmark = pytest.mark.needs("run --image", "containers", "busybox")


def test_the_root_of_a_container_outlives_who_runs_it_in_the_foreground(cli: Cli, hello: str, tmp_path: Path) -> None:
    script = "echo mine >/tmp/x; echo begun; exec sleep 600"
    words = [cli.runjail.program, "--root", str(cli.runjail.root), "--store", cli.location]
    words += ["run", "--image", hello, "stays", "--", "/bin/sh", "-c", script]
    said = tmp_path / "said"
    with said.open("wb") as out:
        foreground = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=dict(os.environ))
    end = time.monotonic() + 120
    while b"begun" not in said.read_bytes():
        assert foreground.poll() is None and time.monotonic() < end, said.read_text()
        time.sleep(0.02)
    foreground.kill()
    foreground.wait()

    assert json.loads(cli.ok("state", "stays"))["status"] == "running"
    assert cli.ok("exec", "stays", "/bin/sh", "-c", "cat /tmp/x /etc/group") == "mine\nroot:x:0:\nweb:x:1000:\n"
    assert cli.json("image", "prune")["roots"] == []
    assert cli.ok("exec", "stays", "/bin/cat", "/tmp/x") == "mine\n"
    cli.ok("delete", "--force", "stays")
    assert cli.left() == {"roots": [], "bundles": [], "containers": []}
    assert cli.ok("run", "--image", hello, "next", "--", "/bin/sh", "-c", "test -e /tmp/x || echo clean") == "clean\n"
