"""Copying and removing what a container may leave: it keeps nobody from either, and harms nothing outside."""

import os
import stat
from pathlib import Path

from runjail.rootfs import DIRECTORY
from runjail.storage import copy_tree
from tests.support.storage.facts import facts


def test_a_socket_with_two_names_is_left_out(tmp_path: Path) -> None:
    """The second was a link to the first, which a copy does not have."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    os.mknod(source / "socket", stat.S_IFSOCK | 0o600)
    os.link(source / "socket", source / "again")
    (source / "file").write_text("kept")
    ends = os.open(source, DIRECTORY), os.open(target, DIRECTORY)
    try:
        copy_tree.Copier(*ends).copy()
    finally:
        os.close(ends[0])
        os.close(ends[1])

    assert facts(target) == {key: fact for key, fact in facts(source).items() if key in (".", "file")}
