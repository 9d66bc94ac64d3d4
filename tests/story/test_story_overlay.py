"""Overlays under whole containers: the mount of a root outlives runjail, and its absence is in nobody's way."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from runjail.storage import overlay_mount
from runjail.storage.base import RootfsUse
from tests.support.storage.kinds import mounts
from tests.support.story.cli import Cli

pytestmark = [
    pytest.mark.needs("root", "overlay"),
    pytest.mark.parametrize("location", ["overlay"], indirect=True),
]


def started(cli: Cli, image: str) -> int:
    """Run a container of an image in the background. Returns its init."""
    cli.ok("run", "--image", image, "-d", "stays", "--", "/bin/sleep", "600")
    return int(json.loads(cli.ok("state", "stays"))["pid"])


def test_a_run_copies_nothing(cli: Cli, hello: str, tmp_path: Path) -> None:
    started(cli, hello)
    (root,) = cli.store.roots()
    own = {path.name for path in (Path(root.path).parent / "upper").rglob("*") if path.is_file()}

    assert own <= {"hosts", "hostname", "resolv.conf"}, "what ours are mounted over"
    assert mounts(tmp_path) == [root.path]
    assert cli.ok("exec", "stays", "/bin/sh", "-c", "echo mine >/tmp/x; cat /tmp/x") == "mine\n"
    assert (Path(root.path).parent / "upper/tmp/x").read_text() == "mine\n"
    cli.ok("delete", "--force", "stays")
    assert mounts(tmp_path) == []


def test_after_a_boot(cli: Cli, hello: str, tmp_path: Path) -> None:
    """Neither processes nor mounts are there: delete cleans, and the image runs again."""
    os.kill(started(cli, hello), signal.SIGKILL)
    end = time.monotonic() + 120
    while json.loads(cli.ok("state", "stays"))["status"] != "stopped":
        assert time.monotonic() < end
        time.sleep(0.02)
    for place in mounts(tmp_path):
        assert overlay_mount.unmount(place)
    cli.ok("delete", "--force", "stays")

    assert cli.left() == {"roots": [], "bundles": [], "containers": []}
    assert cli.ok("run", "--image", hello, "one") == "Hello World!\n"


def test_prune_after_a_boot_that_emptied_the_state(cli: Cli, hello: str, tmp_path: Path) -> None:
    os.kill(started(cli, hello), signal.SIGKILL)
    time.sleep(0.1)
    cli.ok("delete", "--force", "stays")
    cli.store.create_rootfs(
        "orphan", cli.store.layers()[0].chain, use=RootfsUse(properties={"container": "/nonexistent"})
    )
    assert len(mounts(tmp_path)) == 1
    for place in mounts(tmp_path):
        overlay_mount.unmount(place)

    assert cli.json("image", "prune")["roots"] == ["orphan"]
    assert cli.ok("run", "--image", hello, "one") == "Hello World!\n"


def test_a_container_may_not_reach_what_is_below(cli: Cli, hello: str) -> None:
    """It removes and changes what it likes; the layer stays as it was for the next one."""
    script = "rm -rf /etc; mkdir /etc; echo x >/etc/mine; rm /bin/busybox"
    cli.ok("run", "--image", hello, "one", "--", "/bin/sh", "-c", script)

    assert cli.ok("run", "--image", hello, "two") == "Hello World!\n"
    assert cli.ok("run", "--image", hello, "three", "--", "/bin/cat", "/etc/group") == "root:x:0:\nweb:x:1000:\n"
