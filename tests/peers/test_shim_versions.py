"""containerd of several versions and its shim, killed in the middle of something: what is left is listed and removed.

The system's containerd, and those that .ci/unpack_peers has put beside it.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.peers.commands import eventually
from tests.support.peers.shims import Containerd, kill, snapshotter, suite, versions

ROUNDS = int(os.environ.get("RUNJAIL_TEST_ROUNDS", "3"))  # moments at which somebody is killed
PATIENCE = 90  # seconds
LONGEST = 0.3  # seconds that one of these takes at most, but for a machine that is busy
pytestmark = [pytest.mark.linux, pytest.mark.peers("containerd", "ctr")]


@pytest.fixture(scope="module", params=versions(), ids=suite)
def daemon(request: pytest.FixtureRequest, containerd: Callable[..., Containerd]) -> Iterator[Containerd]:
    """A containerd of each version, one after the other."""
    made = containerd(binaries=request.param)
    made.import_image()
    yield made
    made.remove_everything()
    made.end()


def begin(ctr: Containerd, what: str) -> subprocess.Popen[bytes]:
    """Begin something with the container `web`."""
    words = ctr.image_words("-d web", "/bin/sleep", "600")
    if what != "create":
        ctr.ok(*words)
        words = ["task", what, "web"]
    if what == "exec":
        words = ctr.exec_words("web", "/bin/true")
    if what == "delete":
        ctr.ok("task", "kill", "--signal", "KILL", "web")
        ctr.stopped("web")
    null = subprocess.DEVNULL
    return subprocess.Popen([*ctr.command, *words], env=ctr.env, stdin=null, stdout=null, stderr=null)


def strike(ctr: Containerd, whom: str) -> None:
    """Kill the shim, containerd, or both."""
    shims = ctr.shims()
    if whom != "shim":
        ctr.end(signal.SIGKILL)
    if whom != "containerd":
        for pid in shims:
            try:
                kill(pid)
            except ProcessLookupError:
                pass


@pytest.mark.parametrize("whom", ["shim", "containerd", "both"])
@pytest.mark.parametrize("what", ["create", "exec", "delete", "pause"])
def test_killed_in_the_middle(ctr: Containerd, what: str, whom: str) -> None:
    """At moments from its beginning to its end."""
    for number in range(ROUNDS):
        working = begin(ctr, what)
        time.sleep(LONGEST * number / ROUNDS)
        strike(ctr, whom)
        try:
            working.wait(10)
        except subprocess.TimeoutExpired:  # containerd 1.6's ctr waits for an answer of a containerd that is no more
            working.kill()
            working.wait()
        if whom != "shim":
            ctr.start()
        removed(ctr)


def removed(ctr: Containerd) -> None:
    """List and remove the container; nothing of it is left."""
    ctr.tasks()
    # a containerd that is killed while it removes a bundle leaves it under this name, and can remove no other then
    shutil.rmtree(ctr.bundle("web").with_name(".web"), ignore_errors=True)
    ctr("task", "delete", "--force", "web")
    eventually(lambda: "web" not in ctr.tasks(), "the task is gone")
    ctr("container", "rm", "web")
    ctr("snapshot", "--snapshotter", snapshotter(ctr.directory), "rm", "web")  # of a ctr that came no further
    assert "web" not in ctr.ok("container", "ls", "-q").lines
    # 1.6 keeps a bundle until its shim ends, which waits for the `Create` that containerd has promised
    eventually(lambda: not ctr.bundle("web").exists(), "its bundle is gone", PATIENCE)
    eventually(lambda: not ctr.shims(), "its shim ends")
    assert not (ctr.state / "web").exists()
    assert ctr.ours.mounts(str(ctr.directory)) == []
