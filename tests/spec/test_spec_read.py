"""Reading a document: bounded, and never in words that callers take for something else."""

import os
import re
from pathlib import Path

import pytest

from runjail import jsonio
from runjail.errors import InvalidConfig
from runjail.spec.document import LARGEST, LONG, decode, read


def error_of(path: Path | str) -> str:
    """Return the error of a document that cannot be read; it never decides podman's and docker's exit code."""
    with pytest.raises(InvalidConfig) as caught:
        read(str(path))
    text = str(caught.value)
    for word in ("no such file", "not found", "permission denied", "not permitted", "is a directory"):
        assert word not in text.lower()
    return text


def test_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(' {"a": [1, "\u00e9"]}\n', encoding="utf-8")

    assert read(str(tmp_path / "config.json")) == {"a": [1, "\u00e9"]}


def test_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("5")
    (tmp_path / "config.json").symlink_to("real")

    assert read(str(tmp_path / "config.json")) == 5


def test_missing(tmp_path: Path) -> None:
    path = tmp_path / "config.json"

    assert error_of(path) == f"invalid config.json: {path} is missing"
    assert error_of(tmp_path / "a" / "b") == f"invalid config.json: {tmp_path}/a/b is missing"


def test_not_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert error_of(tmp_path / "file" / "x") == f"invalid config.json: {tmp_path}/file/x is missing"


@pytest.mark.needs("no root")
def test_forbidden(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch(mode=0)

    assert error_of(tmp_path / "config.json").endswith("config.json may not be read")


def test_directory(tmp_path: Path) -> None:
    assert error_of(tmp_path) == f"invalid config.json: {tmp_path} is not a regular file"


def test_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")

    assert "cannot be read: too many levels of symbolic links" in error_of(tmp_path / "loop")


def test_device() -> None:
    assert error_of("/dev/zero") == "invalid config.json: /dev/zero is not a regular file"
    assert error_of("/dev/null").startswith("invalid config.json: /dev/null: line 1 column 1: ")


def test_name_that_is_none(tmp_path: Path) -> None:
    assert error_of("a\0b") == "invalid config.json: a\\x00b is no path"
    assert error_of(tmp_path / "a\nb").endswith("a\\nb is missing")


def test_too_large(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b" " * (LARGEST + 1))

    path = tmp_path / "config.json"

    assert error_of(path) == f"invalid config.json: {path} is larger than {LARGEST} bytes"


def test_largest(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"1" + b" " * (LARGEST - 1))

    assert read(str(tmp_path / "config.json")) == 1


def test_the_file_of_a_document_is_told(tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text("{bad")
    text = f"invalid resources document: {tmp_path}/up.json: line 1 column 2: "
    with pytest.raises(InvalidConfig, match=f"^{re.escape(text)}"):
        read(str(tmp_path / "up.json"), "resources document")


def test_name_of_the_document_is_told() -> None:
    with pytest.raises(InvalidConfig, match=r"^invalid process document: line 1 column 1: "):
        decode(b"", "process document")


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("{")
    before = os.open("/dev/null", os.O_RDONLY)
    os.close(before)
    for path in (tmp_path, tmp_path / "bad", tmp_path / "missing"):
        error_of(path)
    after = os.open("/dev/null", os.O_RDONLY)
    os.close(after)

    assert after == before


@pytest.mark.parametrize("long", [False, True])
def test_long_documents_are_read_by_the_c_half_of_json(monkeypatch: pytest.MonkeyPatch, long: bool) -> None:
    """A profile of seccomp makes them so; a short one is read before that is loaded."""
    monkeypatch.setattr(jsonio._Quick, "scan", None)
    value = {"a": ["x" * LONG if long else "x"]}

    assert decode(jsonio.dumps(value).encode()) == value
    assert bool(jsonio._Quick.scan) is long
