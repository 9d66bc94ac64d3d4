"""The table of drivers: what each has, what `auto` makes of it, and who knows whom."""

import ast
import importlib.util
import os
from pathlib import Path

import pytest

from runjail.errors import StorageError
from runjail.image.bundle import owned
from runjail.storage import layout_file, overlay_mount, zfs_cli
from runjail.storage import open as stores
from runjail.storage.open import DRIVERS, choose, forms, is_location, names_directory, open_store

STORAGE = Path(stores.__file__).parent
MAN_PAGES = STORAGE.parents[1] / "docs"


@pytest.mark.parametrize("name", DRIVERS)
def test_a_driver_has_what_the_table_says(name: str) -> None:
    module = DRIVERS[name].load()

    assert callable(module.open_at)
    assert callable(module.suits)
    assert f"{name}:{DRIVERS[name].place}" in forms()


def test_the_protocol_knows_no_driver_and_modules_of_storage_know_each_other_one_way() -> None:
    """Imports inside functions count, and those for types alone."""
    below: dict[str, set[str]] = {}
    for path in STORAGE.glob("*.py"):
        found = below.setdefault(path.stem, set())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("runjail.storage"):
                inner = (node.module or "").removeprefix("runjail.storage").removeprefix(".")
                found |= {inner} if inner else {alias.name for alias in node.names}
    for driver in DRIVERS.values():
        assert importlib.util.find_spec(driver.module)
        below["open"].add(driver.module.rpartition(".")[2])
    assert below["base"] <= {"changes", "store_lock", "layout_file"}  # which are no drivers
    order: set[str] = set()
    while len(order) < len(below):
        ready = {name for name, needs in below.items() if name not in order and needs <= order}
        assert ready, f"a cycle: {sorted(set(below) - order)}"
        order |= ready


@pytest.mark.parametrize("location", ["", "zfs", "zfs:", "dir:", "dir:relative", "lvm:vg", "/var/db", "auto:x"])
def test_other_locations_are_refused(location: str) -> None:
    with pytest.raises(StorageError, match="not a store") as caught:
        open_store(location, default="/nonexistent")
    assert "auto" in str(caught.value.hint)
    assert not is_location(location)


def test_only_a_dataset_needs_another_place() -> None:
    """Where the store is a directory nobody asks for the default one, which an ordinary user without a home lacks."""
    named = {location: names_directory(location) for location in ("dir:/x", "overlay:/x", "zfs:pool/x", "auto", "no:x")}

    assert named == {"dir:/x": True, "overlay:/x": True, "zfs:pool/x": False, "auto": False, "no:x": False}


@pytest.mark.parametrize(
    "name", ["1pool/x", "pool//x", "/pool", "pool/", "a/../b", "pool/x@y", "p/é", "p/" + "x" * 160]
)
def test_what_is_no_name_of_a_dataset_is_refused(name: str) -> None:
    with pytest.raises(StorageError, match="cannot be a dataset for a store"):
        open_store(f"zfs:{name}", default="/nonexistent", make=False)


@pytest.mark.parametrize("name", ["tank", "Tank/a.b", "z_1:2/with space/9", "tank/...", "p/" + "x" * 158])
def test_what_is_a_name_of_a_dataset_is_asked_of_zfs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zfs_cli, "DIRECTORIES", ())

    with pytest.raises(StorageError, match="there is no zfs"):
        open_store(f"zfs:{name}", default="/nonexistent", make=False)


def test_auto_takes_plain_directories_where_nothing_else_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zfs_cli, "DIRECTORIES", ())
    monkeypatch.setattr(overlay_mount, "refusal", lambda path: f"no overlayfs in {path}")
    said: list[str] = []
    store = open_store("auto", default=f"{tmp_path}/new/store", info=said.append)

    assert store.location == f"dir:{tmp_path}/new/store"
    assert said == [f"store dir:{tmp_path}/new/store: there is no ZFS dataset; no overlayfs in {tmp_path}"]
    assert choose(f"{tmp_path}/new/store") == (store.location, "there is no ZFS dataset; layers are there already")


@pytest.mark.needs("overlay")
def test_auto_takes_overlays_where_they_work_and_tries_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zfs_cli, "DIRECTORIES", ())
    default = f"{tmp_path}/store"
    assert choose(default) == (f"overlay:{default}", "there is no ZFS dataset; overlayfs works there")
    assert os.listdir(tmp_path) == []
    open_store("auto", default=default)
    monkeypatch.setattr(overlay_mount, "refusal", pytest.fail)

    assert choose(default) == (f"overlay:{default}", "there is no ZFS dataset; layers are there already")


def test_elsewhere_than_on_linux_there_are_no_overlays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a system call made by a number that means another one there."""
    monkeypatch.setattr(overlay_mount, "LINUX", False)
    monkeypatch.setattr(overlay_mount, "_call", pytest.fail)
    monkeypatch.setattr(zfs_cli, "DIRECTORIES", ())
    with pytest.raises(StorageError, match="overlayfs is of Linux"):
        open_store(f"overlay:{tmp_path}/store", default="")

    assert choose(f"{tmp_path}/store")[0] == f"dir:{tmp_path}/store"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.needs("overlay")
def test_a_store_is_never_filled_by_a_second_driver(tmp_path: Path) -> None:
    open_store(f"overlay:{tmp_path}/a", default="")
    open_store(f"dir:{tmp_path}/b", default="")
    (tmp_path / "old/layers").mkdir(parents=True)  # of a release without the file
    for wrong, right, name in (("dir", "overlay", "a"), ("overlay", "dir", "b"), ("overlay", "dir", "old")):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(StorageError, match=f"a store of the kind {right}, not {wrong}") as caught:
            open_store(f"{wrong}:{tmp_path}/{name}", default="")
        assert caught.value.hint == f"--store {right}:{tmp_path}/{name} opens it"
        assert sorted(tmp_path.rglob("*")) == before
        assert open_store(f"{right}:{tmp_path}/{name}", default="").kind == right


@pytest.mark.parametrize("said", ["", "{", "[1]", '{"driver": 5}'])
def test_a_damaged_file_makes_nobody_guess(tmp_path: Path, said: str) -> None:
    open_store(f"dir:{tmp_path}/a", default="")
    (tmp_path / "a" / layout_file.NAME).write_text(said)

    for location in (f"dir:{tmp_path}/a", "auto"):
        with pytest.raises(StorageError, match="is damaged"):
            open_store(location, default=f"{tmp_path}/a")
    assert (tmp_path / "a" / layout_file.NAME).read_text() == said


def test_a_bundle_names_a_store_of_any_driver(tmp_path: Path) -> None:
    for number, (name, driver) in enumerate(DRIVERS.items()):
        bundle = tmp_path / str(number)
        bundle.mkdir()
        location = f"{name}:{driver.place}"
        owned.write(f"{bundle}/{owned.MARK}", {"store": location})

        assert owned.location(str(bundle)) == location


@pytest.mark.parametrize("page", ["runjail.8", "images.md"])
def test_documents_name_every_driver(page: str) -> None:
    text = (MAN_PAGES / page).read_text()
    for name in DRIVERS:
        assert f"Cm {name} : Ns" in text or f"`{name}:" in text, name
