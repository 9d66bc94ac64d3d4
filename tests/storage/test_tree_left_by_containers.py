"""Copying and removing what a container may leave: it keeps nobody from either, and harms nothing outside."""

import errno
import os
import stat
from pathlib import Path

import pytest

from runjail.rootfs import DIRECTORY
from runjail.storage import copy_tree, remove_tree
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


def test_the_target_of_a_link_that_cannot_be_removed_keeps_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """chmod(2) follows links: where SELinux or a server of NFS refused, a file of the host got mode 0700."""
    outside = tmp_path / "outside"
    outside.write_text("kept")
    outside.chmod(0o644)
    (tmp_path / "trash/item").mkdir(parents=True)
    (tmp_path / "trash/item/link").symlink_to(outside)

    def refuse(name: str, *, dir_fd: int) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(PermissionError, match="link"):
        remove_tree.remove(str(tmp_path / "trash"), "item")

    assert stat.S_IMODE(outside.stat().st_mode) == 0o644
