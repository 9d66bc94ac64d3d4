"""Style, types and shell syntax are tests like any other: one command checks everything."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(
    path
    for path in [*TOP.glob(".ci/*"), *TOP.glob("bundles/**/*.sh"), *TOP.glob("vagrant/**/*.sh")]
    if path.is_file() and path.read_bytes().startswith(b"#!/bin/sh")
)
LONGEST = 400  # lines of a file: beyond that it is about more than one thing
LONGEST_FUNCTION = 40  # lines, from its first to its last
MAKES = ("make", "gmake", "bmake")
TARGETS = ("all", "venv", "demo", "test", "lint", "bench", "release-check", "install", "uninstall", "clean")


def run(*command: str) -> None:
    """Run a linter; what it says is the failure."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # another make's flags
    result = subprocess.run(command, cwd=TOP, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"


@pytest.mark.needs("module ruff")
def test_ruff_check() -> None:
    """No rule of pyproject.toml is broken."""
    run(sys.executable, "-m", "ruff", "check", ".", ".ci")


@pytest.mark.needs("module ruff")
def test_ruff_format() -> None:
    """The layout is ruff's."""
    run(sys.executable, "-m", "ruff", "format", "--check", ".", ".ci")


@pytest.mark.needs("module mypy")
def test_mypy() -> None:
    """Types hold, strictly."""
    run(sys.executable, "-m", "mypy")


def test_no_file_is_too_long() -> None:
    """Whoever comes near the limit cuts a file by what it is about."""
    files = [path for room in (".ci", "bundles", "runjail", "tests", "vagrant") for path in TOP.glob(f"{room}/**/*.py")]
    lengths = {path.relative_to(TOP): len(path.read_bytes().splitlines()) for path in files}

    assert len(lengths) > 500
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}


def test_no_function_is_too_long() -> None:
    """Docstrings count: who needs many words for one function says several things in it."""
    lengths = {
        f"{path.relative_to(TOP)}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in TOP.glob("runjail/**/*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }

    assert len(lengths) > 2000
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(TOP)))
def test_shell_syntax(script: Path) -> None:
    """The shell can read every script of ours."""
    run("sh", "-n", str(script))


@pytest.mark.needs("mandoc")
def test_manual_page() -> None:
    """The manual pages are clean mdoc."""
    pages = [f"docs/runjail{name}.8" for name in ("", "-image", "-network", "-volume")]
    run("mandoc", "-T", "lint", "-W", "warning", *pages)


@pytest.mark.parametrize("make", [pytest.param(make, marks=pytest.mark.needs(make)) for make in MAKES])
def test_makefile(make: str) -> None:
    """Every make there is understands the Makefile."""
    run(make, "-n", *TARGETS)
