"""docs/freebsd.md quotes messages as the program says them, and settings as provision.sh makes them."""

import errno
import json
import os
import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent.parent
GUIDE = (TOP / "docs" / "freebsd.md").read_text(encoding="utf-8")
TABLE = GUIDE.split("## Troubleshooting", 1)[1]
MESSAGES = [
    message
    for row in re.findall(r"^\| (`.*`) \| ", TABLE, re.MULTILINE)
    for message in re.findall(r"`([^`]+)`(?:, |$)", row)
]
RECORDED = TOP / "tests" / "host" / "recordings" / "freebsd-15.1.json"
# Not in the recordings: the kernel's words, in the error text of nmount(2) and for an errno, and those of zfs-jail(8).
KERNEL = (
    "mount option <nodev> is unknown",
    os.strerror(errno.ENOEXEC).lower(),
    "cannot jail ...: dataset already exists",
)


def said() -> str:
    """Return all that our code and, as recorded, the system's tools can say."""
    ours = "\n".join(path.read_text(encoding="utf-8") for path in sorted((TOP / "runjail").rglob("*.py")))
    theirs = "\n".join(entry["stderr"] for entry in json.loads(RECORDED.read_text(encoding="utf-8"))["entries"])
    return "\n".join((re.sub(r"\{[^{}\n]*\}", "...", ours), theirs, *KERNEL))


SAID = said()


def test_there_are_messages() -> None:
    assert len(MESSAGES) >= 30


@pytest.mark.parametrize("message", MESSAGES)
def test_message_is_one_of_ours(message: str) -> None:
    """Each piece between gaps and colons stands somewhere in the program, or in what a tool of FreeBSD 15.1 said."""
    pieces = [piece.strip() for piece in re.split(r"\.\.\.|: ", message)]
    unknown = [piece for piece in pieces if len(piece) > 3 and piece not in SAID]

    assert unknown == []


@pytest.mark.parametrize("setting", ["kern.racct.enable=1", "devfs_load_rulesets", "linux_enable", "zfs_enable"])
def test_settings_are_those_of_provision(setting: str) -> None:
    script = (TOP / "vagrant" / "provision.sh").read_text(encoding="utf-8")

    assert setting in GUIDE
    assert setting in script
