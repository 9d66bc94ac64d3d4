"""Places that callers name and other users own: state directories, console sockets, pid files."""

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.program import FREEBSD, Bundle, Runjail

NOBODY = 65534
pytestmark = pytest.mark.needs("root", "containers")


def planted(runjail: Runjail, bundle: Bundle, tmp_path: Path, owner: int) -> tuple[Path, Path]:
    """Put the state of a container that never was into a directory, with a hook that leaves a proof.

    Returns the directory and the proof's path.
    """
    proof, root = tmp_path / "proof", tmp_path / "shared"
    runjail.ok("create", "-b", bundle.write(), "web")
    root.mkdir(mode=0o777)
    shutil.copytree(runjail.root / "web", root / "web", ignore=lambda _place, names: {"gate"} & set(names))
    runjail.ok("delete", "-f", "web")
    facts = json.loads((root / "web" / "state.json").read_text(encoding="utf-8"))
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"id -u > {proof}"], "env": [], "timeout": None}
    facts["hooks"] = {"poststop": [hook]}
    (root / "web" / "state.json").write_text(json.dumps(facts), encoding="utf-8")
    for place in (root / "web", *(root / "web").iterdir()):
        os.chown(place, owner, owner, follow_symlinks=False)
    return root, proof


def test_a_state_that_root_has_written(runjail: Runjail, bundle: Bundle, tmp_path: Path) -> None:
    """The control: this is a state that `delete` believes, hook and all."""
    root, proof = planted(runjail, bundle, tmp_path, 0)
    done = runjail("--root", str(root), "delete", "--force", "web", root=False)

    assert (done.returncode, proof.exists()) == (0, True), done


@pytest.mark.parametrize("verb", [["delete", "--force", "web"], ["delete", "web"], ["exec", "web", "/bin/true"]])
def test_a_state_that_another_user_has_written(
    runjail: Runjail, bundle: Bundle, tmp_path: Path, verb: list[str]
) -> None:
    """In a directory that others may write anybody could make a container, whose hooks root would run."""
    root, proof = planted(runjail, bundle, tmp_path, NOBODY)
    done = runjail("--root", str(root), *verb, root=False)

    assert not proof.exists()
    assert done.returncode != 0 and "belongs to user 65534" in done.stderr, done
    assert (root / "web" / "state.json").exists()


@pytest.mark.parametrize("verb", ["create", "exec"])
def test_a_console_socket_that_nobody_accepts_at(runjail: Runjail, bundle: Bundle, tmp_path: Path, verb: str) -> None:
    """Whoever listens and never accepts must not keep a verb for ever."""
    path = str(tmp_path / "console")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(0)
    waiting = []
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        waiting.append(client)
        try:
            client.connect(path)
        except OSError:  # the backlog is full
            break
    if verb == "exec":
        runjail.ok("create", "-b", bundle.write(), "c")
        runjail.ok("start", "c")
        words = ["exec", "--tty", "--console-socket", path, "-d", "c", "/bin/true"]
    else:
        words = ["create", "-b", bundle.write(terminal=True), "--console-socket", path, "c"]
    begin = time.monotonic()
    try:
        failed = runjail(*words)
    except subprocess.TimeoutExpired:
        raise AssertionError("it waits for ever") from None
    finally:
        for each in (*waiting, listener):
            each.close()

    assert failed.returncode != 0 and "console socket" in failed.stderr, failed
    # A busy receiver has its time; FreeBSD's kernel refuses at once, in the words for a socket that nobody listens at.
    assert time.monotonic() - begin > 5 or (FREEBSD and "connection refused" in failed.stderr)
    assert runjail.ids() == (["c"] if verb == "exec" else [])
