"""Style, types and shell syntax are tests like any other: one command checks everything."""

import importlib.util
import os
import shutil
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
MAKES = ("make", "gmake", "bmake")
TARGETS = ("all", "venv", "demo", "test", "lint", "bench", "install", "uninstall", "clean")


def run(*command: str) -> None:
    """Run a linter; what it says is the failure."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # another make's flags
    result = subprocess.run(command, cwd=TOP, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"


def needs_module(name: str) -> pytest.MarkDecorator:
    """Skip where a Python tool is not installed, as on FreeBSD."""
    return pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")


def needs_program(name: str) -> pytest.MarkDecorator:
    """Skip where a system program is not installed."""
    return pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed")


@needs_module("ruff")
def test_ruff_check() -> None:
    """No rule of pyproject.toml is broken."""
    run(sys.executable, "-m", "ruff", "check", ".", ".ci")


@needs_module("ruff")
def test_ruff_format() -> None:
    """The layout is ruff's."""
    run(sys.executable, "-m", "ruff", "format", "--check", ".", ".ci")


@needs_module("mypy")
def test_mypy() -> None:
    """Types hold, strictly."""
    run(sys.executable, "-m", "mypy")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(TOP)))
def test_shell_syntax(script: Path) -> None:
    """The shell can read every script of ours."""
    run("sh", "-n", str(script))


@needs_program("mandoc")
def test_manual_page() -> None:
    """The manual pages are clean mdoc."""
    run("mandoc", "-T", "lint", "-W", "warning", "docs/runjail.8", "docs/runjail-image.8")


@pytest.mark.parametrize("make", MAKES)
def test_makefile(make: str) -> None:
    """Every make there is understands the Makefile."""
    if shutil.which(make) is None:
        pytest.skip(f"{make} is not installed")
    run(make, "-n", *TARGETS)
