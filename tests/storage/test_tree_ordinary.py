"""Trees that a user copies, unpacks and removes who is not root: modes hold for it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import runjail
from runjail import attributes
from tests.support.image.tars import archive, digest, member, pax

pytestmark = pytest.mark.needs("root")  # to be another user
USER = 12345
START = f"""
import os, sys
sys.path.insert(0, sys.argv[1])
from runjail import attributes
from runjail.image.layers import layer
from runjail.rootfs import DIRECTORY
from runjail.storage import copy_tree, remove_tree
os.setgid({USER}); os.setuid({USER})
"""
COPIED = """
os.mkdir("source"); os.mkdir("target")
file = os.open("source/file", os.O_WRONLY | os.O_CREAT, 0o600)
try:
    attributes.SYSTEM.set(file, b"user.note", b"value")
except OSError as error:
    sys.exit(3 if error.errno in attributes.UNSUPPORTED else str(error))
os.fchmod(file, 0o444)
os.chmod("source", 0o555)
copy_tree.Copier(os.open("source", DIRECTORY), os.open("target", DIRECTORY), 1).copy()
"""
UNPACKED = """
os.mkdir("target")
done = layer.unpack(os.open("blob", os.O_RDONLY), "target", sys.argv[2])
if done.warnings:
    sys.exit(3)
"""
READ_ONLY = """
os.makedirs("trash/item/a/b/c"); open("trash/item/a/b/file", "w").close()
for path in ("trash/item/a/b/c", "trash/item/a/b", "trash/item/a", "trash/item"): os.chmod(path, 0o500)
remove_tree.remove("trash", "item")
assert os.listdir("trash") == [], os.listdir("trash")
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory where everybody may write, below those that everybody may enter."""
    place = Path("/var/tmp") / f"runjail-ordinary-{os.getpid()}"
    place.mkdir()
    place.chmod(0o777)
    yield place
    subprocess.run(["rm", "-rf", str(place)], check=True)


def ordinary(program: str, place: Path, *arguments: str) -> None:
    """Run a program as an ordinary user there; its status 3 says that the file system has no attributes."""
    top = os.path.dirname(os.path.dirname(runjail.__file__))
    command = [sys.executable, "-c", START + program, top, *arguments]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip("this file system has no attributes")
    assert done.returncode == 0, done.stderr


def check(path: Path) -> None:
    """Look at a file that its owner may not write."""
    found = path.stat()
    assert (found.st_mode & 0o7777, found.st_uid) == (0o444, USER)
    with open(path, "rb") as file:
        assert attributes.SYSTEM.get(file.fileno(), b"user.note") == b"value"


def test_a_file_that_may_not_be_written_is_copied_with_its_attributes(place: Path) -> None:
    """It had its mode before its attributes, which the system refuses then."""
    ordinary(COPIED, place)

    check(place / "target/file")
    assert (place / "target").stat().st_mode & 0o7777 == 0o555


def test_a_file_that_may_not_be_written_is_unpacked_with_its_attributes(place: Path) -> None:
    extra = pax((b"SCHILY.xattr.user.note", b"value"))
    content = archive(extra, member(b"file", b"x", mode=0o444, uid=USER, gid=USER))
    (place / "blob").write_bytes(content)
    ordinary(UNPACKED, place, digest(content))

    check(place / "target/file")


def test_read_only_directories_are_removed(place: Path) -> None:
    ordinary(READ_ONLY, place)
