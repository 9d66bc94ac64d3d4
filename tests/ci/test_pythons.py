"""Other Pythons: what is looked for, what is copied, and what is said when one cannot be had."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.program import TOP


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a set-up program, which stands in no package."""
    monkeypatch.syspath_prepend(str(TOP / ".ci"))
    spec = importlib.util.spec_from_file_location(name, TOP / ".ci" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pythons(monkeypatch: pytest.MonkeyPatch) -> Any:
    return load("test_pythons", monkeypatch)


def test_only_a_python_that_starts_is_found(pythons: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version manager puts scripts on the path that only say that the version is not installed."""
    monkeypatch.setattr(pythons, "PLACES", (f"{tmp_path}/{{}}.*/bin",))
    for directory, script in (("3.14.1", "exit 127"), ("3.14.2", f'exec "{sys.executable}" "$@"')):
        (tmp_path / directory / "bin").mkdir(parents=True)
        (tmp_path / directory / "bin" / "python3.14").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / directory / "bin" / "python3.14").chmod(0o755)

    assert pythons.find("3.14") == f"{tmp_path}/3.14.2/bin/python3.14"
    assert pythons.find("3.15") is None


def test_the_copy_is_the_checkout_as_it_is_now(pythons: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uncommitted files come along, ignored ones do not; what was there before goes, the environment stays."""
    here, there = tmp_path / "here", tmp_path / "there"
    for path in (
        here / "room" / "new.py",
        here / ".venv" / "mine",
        there / "old" / "gone.py",
        there / ".venv" / "kept",
    ):
        path.parent.mkdir(parents=True)
        path.write_text("")
    (here / ".gitignore").write_text(".venv/\n")
    subprocess.run(["git", "init", "-q"], cwd=here, check=True)
    monkeypatch.setattr(pythons, "TOP", str(here))

    pythons.copy(str(there))

    files = {str(path.relative_to(there)) for path in there.rglob("*") if path.is_file()}
    assert files == {".gitignore", "room/new.py", ".venv/kept"}


def test_a_python_that_cannot_be_had_is_named(pythons: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no failure: a machine without Debian's packages tests with what it has."""

    def unpack(_version: str, _place: str) -> str:
        raise pythons.CannotUnpack("no apt-get here")

    monkeypatch.setattr(pythons, "PLACES", ())
    monkeypatch.setattr(pythons, "unpack", unpack)

    assert pythons.outcome("3.14", []) == (
        "not tested: it is not on this machine, and cannot be unpacked: no apt-get here"
    )


@pytest.mark.parametrize(
    ("requirement", "version", "needed"),
    [
        ("a>=1; python_version < '3.14'", (3, 13), True),
        ("a>=1; python_version < '3.14'", (3, 14), False),
        ("a", (3, 14), True),
    ],
)
def test_what_a_newer_python_has_itself_is_not_missed(
    requirement: str, version: tuple[int, int], needed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load("make_venv", monkeypatch)
    monkeypatch.setattr(module.sys, "version_info", version)

    assert module.needed(requirement) is needed
