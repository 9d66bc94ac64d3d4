"""Pipes that a caller gives a container as standard output and error."""

import subprocess
from typing import Any

import pytest

from tests.support.program import own_words


@pytest.mark.linux
@pytest.mark.parametrize("uid", [0, 1000])
def test_any_user_may_open_them_again(runjail: Any, bundle: Any, uid: int) -> None:
    """Programs are told to log to /dev/stdout; who is not root could not open root's pipe."""
    script = "echo out >/dev/stdout; echo err >/dev/stderr"
    bundle.config["process"]["user"] = {"uid": uid, "gid": uid}
    bundle.write("/bin/sh", "-c", script)
    words = [runjail.program, "--root", str(runjail.root), "run", "-b", str(bundle.path), "web"]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, env={}, timeout=200)

    assert (done.returncode, done.stdout, own_words(done.stderr.decode())) == (0, b"out\n", "err\n")
