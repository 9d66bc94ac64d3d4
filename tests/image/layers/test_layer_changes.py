"""A layer of what a container changed: what is in it although the container goes on changing its files."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runjail.image.layers import changes, tar_directory


def test_a_file_that_becomes_a_link_before_it_is_read_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("y")
    entry = tar_directory.Entries.entry

    def swapped(tree: tar_directory.Entries, directory: int, name: bytes, *more: Any) -> Iterator[bytes]:
        if name == b"a":
            (tmp_path / "a").unlink()
            (tmp_path / "a").symlink_to("/etc/passwd")
        return entry(tree, directory, name, *more)

    monkeypatch.setattr(tar_directory.Entries, "entry", swapped)

    archive = b"".join(changes.layer(str(tmp_path), [("A", b"a"), ("C", b"b")]))

    with tarfile.open(fileobj=io.BytesIO(archive)) as found:
        assert found.getnames() == ["b"]
