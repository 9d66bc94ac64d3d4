"""Where the programs are that open and make packets: gpg, and the commands of key providers."""

from __future__ import annotations

import os

from runjail.host import programs

# Our caller's PATH decides nothing: who can set it must not choose the program that gets keys.
PATH = f"/usr/local/bin:/usr/local/sbin:{programs.ENVIRONMENT['PATH']}"


def which(*names: str) -> str | None:
    """Return the absolute path of the first of these programs that can be executed; a path is only looked at."""
    for name in names:
        places = [name] if name.startswith("/") else [f"{directory}/{name}" for directory in PATH.split(":")]
        for path in places:
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return path
    return None
