"""Device files where mknod(2) is refused, as in a user namespace: the host's own are shown."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import TOP

pytestmark = pytest.mark.linux

SCRIPT = """
import os, sys
from runjail import steps
from runjail.host.linux import libc, nodes
from runjail.host.base import HostState, no_notes
from runjail.host.linux.change import Change, NewRoot

def refuse(*_arguments, **_named):
    raise PermissionError(1, "Operation not permitted")

os.mknod = refuse
root = sys.argv[1]
libc.mount("tmpfs", root, "tmpfs")
os.mkdir(root + "/dev")
host_state = HostState("c", "c", "", root, root)
made = steps.DeviceNodes((("/dev/null", "c", 1, int(sys.argv[2]), 0o666, 0, 0),))
nodes.make_nodes(Change(host_state, no_notes, NewRoot(), lambda _container: []), made)
node = os.open(root + "/dev/null", os.O_RDWR)
print(os.write(node, b"lost"), os.read(node, 1))
for change in (lambda: os.chmod(root + "/dev/null", 0o600), lambda: os.utime(root + "/dev/null")):
    try:
        change()
    except OSError as error:
        print(error.strerror)
"""


def shown(root: Path, minor: int) -> "subprocess.CompletedProcess[str]":
    """Make /dev/null below a root, in a mount namespace of its own."""
    command = ["unshare", "-m", sys.executable, "-c", SCRIPT, str(root), str(minor)]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)


def test_the_hosts_node_is_shown_read_only(tmp_path: Path) -> None:
    """The device works; its mode, owner and times are the host's, and stay."""
    done = shown(tmp_path, 3)

    assert done.stdout == "4 b''\nRead-only file system\nRead-only file system\n", done


def test_another_device_of_that_name_is_not_shown(tmp_path: Path) -> None:
    done = shown(tmp_path, 200)

    assert done.stderr.endswith("making /dev/null: not allowed, and the host has another device there\n")
