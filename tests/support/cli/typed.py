"""Somebody at a terminal who types what a document shows."""

import os
import pty
import re
import select
import time
from pathlib import Path

from tests.support.cli.sessions import commands, shown
from tests.support.program import Runjail

FOREGROUND = re.compile(r"^runjail run (?!.* -d |-d )", re.MULTILINE)
PROMPT = re.compile(rb"[#$] (\x1b\[6n)?\Z")  # busybox asks where the cursor is
LIMIT = 280.0  # seconds of one session


def on_terminal(script: str, directory: Path, env: dict[str, str]) -> tuple[int, str]:
    """Run a shell script on a terminal of its own. Returns its code and its output.

    Somebody types `exit` at the prompt of a container that runs in the foreground. A shell that runs beside the script
    may show one too, and goes on.
    """
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(directory)
        os.execve("/bin/sh", ["sh", "-e", "-c", script], env)
    output, deadline, shells = b"", time.monotonic() + LIMIT, len(FOREGROUND.findall(script))
    try:
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 1.0)[0]:
                continue
            try:
                block = os.read(terminal, 1 << 16)
            except OSError:  # Linux's way to say that nobody has the other end any more
                break
            if not block:
                break
            output += block
            if shells and PROMPT.search(output):
                os.write(terminal, b"exit\n")
                shells -= 1
        else:
            os.kill(pid, 9)
    finally:
        os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output.decode().replace("\r\n", "\n")


class Machine:
    """Where somebody who follows the documents sits: a directory, `runjail` in PATH, a store."""

    def __init__(self, runjail: Runjail, directory: Path) -> None:
        self.directory = directory / "srv"
        (directory / "bin").mkdir()
        self.directory.mkdir()
        (directory / "bin" / "runjail").symlink_to(runjail.program)
        self.env = {"PATH": f"{directory}/bin:{os.environ['PATH']}", "RUNJAIL_ROOT": str(runjail.root)}
        self.env |= {"RUNJAIL_STORE": f"dir:{directory}/store", "HOME": str(directory)}

    def follow(self, block: str) -> str:
        """Type a session; everything has to succeed. Returns what was on the screen."""
        code, output = on_terminal("\n".join(commands(block)), self.directory, self.env)
        assert code == 0, output
        lines = tuple(output.splitlines())  # one may stand behind the prompt of a container's shell
        assert [line for line in shown(block) if not any(seen.endswith(line) for seen in lines)] == [], output
        return output
