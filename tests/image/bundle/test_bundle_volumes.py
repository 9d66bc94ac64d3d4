"""What an image fills a named volume with."""

from pathlib import Path
from unittest.mock import Mock

import pytest

from runjail.errors import StorageError
from runjail.image.bundle import volumes
from runjail.storage import copy_tree
from runjail.storage.open import open_store


@pytest.mark.parametrize("place", ["/nothing", "/file", "/file/below", "/dangling"])
def test_an_image_has_nothing_there(tmp_path: Path, place: str) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "file").touch()
    (tmp_path / "root" / "dangling").symlink_to("/gone")
    (tmp_path / "volume").mkdir()

    volumes._fill(str(tmp_path / "root"), place, str(tmp_path / "volume"))

    assert list((tmp_path / "volume").iterdir()) == []


def test_half_a_copy_is_not_taken_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks it off, and also what an image that has nothing there raises; the next container tries again."""
    (tmp_path / "root" / "data").mkdir(parents=True)
    (tmp_path / "root" / "data" / "file").touch()
    store = open_store(f"dir:{tmp_path}/store", default="/nonexistent")
    named = [("kept", "/data")]
    with monkeypatch.context() as broken:
        broken.setattr(copy_tree.Copier, "copy", Mock(side_effect=FileNotFoundError(2, "No such file or directory")))
        with pytest.raises(StorageError, match="volume kept: cannot be filled: does not exist"):
            volumes.fill(named, store, str(tmp_path / "root"))

    volumes.fill(named, store, str(tmp_path / "root"))

    assert [path.name for path in Path(store.volumes().make("kept")).iterdir()] == ["file"]
