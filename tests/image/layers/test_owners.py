"""Owners that are no ids here: an attribute keeps them, believed only where nobody else can have written it."""

import errno
import os
from pathlib import Path

import pytest

from runjail import protobuf
from runjail.image.layers import owners
from tests.support.image.tars import archive, directory, member, pax, unpack

KEPT = owners.ATTRIBUTE.decode()


@pytest.fixture
def one_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse other ids as the kernel does in a user namespace that has one."""

    def chown(file: int, uid: int, gid: int) -> None:
        if (uid, gid) != (0, 0):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fchown", chown)
    monkeypatch.setattr(owners, "alone", lambda: True)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ((1000, 1001), b"\x08\xe8\x07\x10\xe9\x07"),  # protoc's own encoding of the two
        ((0, 5), b"\x10\x05"),
        ((127, 128), b"\x08\x7f\x10\x80\x01"),
        ((2**32 - 2, 0), b"\x08\xfe\xff\xff\xff\x0f"),
    ],
)
def test_the_message(ids: tuple[int, int], message: bytes) -> None:
    assert protobuf.encode(owners.MESSAGE, {"user": ids[0], "group": ids[1]}) == message
    assert owners._decode(message) == ids


@pytest.mark.parametrize("message", [b"", b"\x08", b"\x08\xff", b"\xff\xff", b"nonsense" * 100, b"\x08" + b"\xff" * 99])
def test_what_is_no_message(message: bytes) -> None:
    """Whatever stands there is two ids, and no error."""
    assert all(0 <= id < 2**32 for id in owners._decode(message))


@pytest.mark.linux
@pytest.mark.needs("root")
def test_owners_are_kept_and_found_again(tmp_path: Path, one_id: None) -> None:
    """Also of a directory that was there before; what it had is forgotten."""
    unpack(
        tmp_path, archive(directory(b"d", uid=7, gid=8), member(b"d/f", b"x", uid=33, gid=34), member(b"root", b"y"))
    )
    unpack(tmp_path, archive(directory(b"d", uid=9, gid=0)))

    assert os.getxattr(tmp_path / "d/f", KEPT) == b"\x08\x21\x10\x22"
    assert os.getxattr(tmp_path / "d", KEPT) == b"\x08\x09"
    assert KEPT not in os.listxattr(tmp_path / "root")
    found = (tmp_path / "d/f").stat()
    shown = owners.shown(found, {owners.ATTRIBUTE: b"\x08\x21\x10\x22", b"user.other": b"1"})
    assert shown == (33, 34, {b"user.other": b"1"})


@pytest.mark.linux
@pytest.mark.needs("root")
@pytest.mark.parametrize(("uid", "kept"), [(0, None), (7, b"\x08\x07")])
def test_what_a_layer_brings_is_no_owner(tmp_path: Path, one_id: None, uid: int, kept: bytes | None) -> None:
    """A commit would give the file to whom the attribute names, and not to its owner in the image."""
    brought = pax((b"SCHILY.xattr." + owners.ATTRIBUTE, b"\x08\x21\x10\x22"), (b"SCHILY.xattr.user.other", b"1"))
    unpack(tmp_path, archive(brought, member(b"f", b"x", uid=uid)))

    found = {name: os.getxattr(tmp_path / "f", name) for name in os.listxattr(tmp_path / "f")}
    assert found.pop("user.other") == b"1"
    assert found.pop(KEPT, None) == kept
    assert not found


@pytest.mark.linux
def test_where_there_are_owners_the_attribute_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's program writes what it likes: a commit would make its file root's, with the set-user-ID bit."""
    monkeypatch.setattr(owners, "alone", lambda: False)
    (tmp_path / "f").touch()
    found, attributes = (tmp_path / "f").stat(), {owners.ATTRIBUTE: b""}

    assert owners.shown(found, attributes) == (found.st_uid, found.st_gid, attributes)


@pytest.mark.parametrize(
    ("table", "alone"),
    [("0 4242 1\n", True), ("0 4242 1\n1 100000 5000\n", False), ("0 0 4294967295\n", False), ("", False)],
)
def test_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, table: str, alone: bool) -> None:
    (tmp_path / "map").write_text(table)
    monkeypatch.setattr(owners, "UID_MAP", str(tmp_path / "map"))

    assert owners.alone() is alone
