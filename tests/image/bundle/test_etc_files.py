"""/etc/hosts and its neighbours as podman makes them."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import StorageError
from runjail.image.bundle import etc_files
from runjail.image.bundle.etc_files import Names

HOSTS = "127.0.0.1\tlocalhost vm # ours\n\n192.0.2.1 other alias\nnonsense\n"
RESOLVER = (
    "# made\nnameserver 192.0.2.53\nnameserver 192.0.2.54\ndomain old\nsearch a.example b.example\noptions ndots:1\n"
)


@pytest.fixture(autouse=True)
def host_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A host with files of its own."""
    for name, text in (("HOSTS", HOSTS), ("RESOLVER", RESOLVER)):
        path = tmp_path / f"host.{name}"
        path.write_text(text)
        original = etc_files._read
        monkeypatch.setattr(etc_files, "_read", _reading(original, getattr(etc_files, name), str(path)))


def _reading(original: Any, place: str, path: str) -> Any:
    return lambda wanted: original(path if wanted == place else wanted)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (Names("web"), "127.0.0.1\tlocalhost vm\n192.0.2.1\tother alias\n127.0.0.1\tweb\n"),
        (Names("h", ("id",)), "127.0.0.1\tlocalhost vm\n192.0.2.1\tother alias\n127.0.0.1\th id\n"),
        (Names("vm"), "127.0.0.1\tlocalhost\n192.0.2.1\tother alias\n127.0.0.1\tvm\n"),
        (
            Names("web", hosts=(("::5", "other"), ("1.2.3.4", "web"))),
            "::5\tother\n1.2.3.4\tweb\n127.0.0.1\tlocalhost vm\n192.0.2.1\talias\n",
        ),
    ],
)
def test_hosts(names: Names, expected: str) -> None:
    """What was asked for comes first and is the only line of that name; the own names come last."""
    assert etc_files.hosts(names) == expected


def test_localhost_is_there_whatever_the_host_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etc_files, "_read", lambda _path: "")

    assert etc_files.hosts(Names("web")) == "127.0.0.1\tlocalhost\n::1\tlocalhost\n127.0.0.1\tweb\n"
    assert etc_files.resolver(Names("web")) == ""


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, "search a.example b.example\nnameserver 192.0.2.53\nnameserver 192.0.2.54\noptions ndots:1\n"),
        ({"servers": ("9.9.9.9",)}, "search a.example b.example\nnameserver 9.9.9.9\noptions ndots:1\n"),
        ({"search": (), "options": ("edns0",)}, "nameserver 192.0.2.53\nnameserver 192.0.2.54\noptions edns0\n"),
    ],
)
def test_resolver(more: Any, expected: str) -> None:
    assert etc_files.resolver(Names("web", **more)) == expected


def test_files_are_readable_for_everybody_and_mounted_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But where something else is mounted there."""
    labelled = []
    monkeypatch.setattr(os, "setxattr", lambda _file, *rest: labelled.append(rest), raising=False)
    mounts = etc_files.make(str(tmp_path), Names("web", servers=("1.1.1.1",)), "freebsd", ["/etc/hosts"])

    assert [(mount["destination"], mount["type"]) for mount in mounts] == [
        ("/etc/hostname", "nullfs"),
        ("/etc/resolv.conf", "nullfs"),
    ]
    assert (tmp_path / "hostname").read_text() == "web\n"
    assert stat.S_IMODE((tmp_path / "resolv.conf").stat().st_mode) == 0o644
    assert not (tmp_path / "hosts").exists()
    assert not labelled
    with pytest.raises(StorageError, match=r"cannot write .*/hosts: does not exist"):
        etc_files.make(f"{tmp_path}/nowhere", Names("web"), "linux", [])


def test_files_have_the_label_of_the_containers_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a program that SELinux confines could not read them."""
    labelled = []
    monkeypatch.setattr(os, "setxattr", lambda _file, *rest: labelled.append(rest), raising=False)
    etc_files.make(str(tmp_path), Names("web", servers=("1.1.1.1",)), "linux", [], "a:b:c:s0")

    assert labelled == [("security.selinux", b"a:b:c:s0")] * 3
