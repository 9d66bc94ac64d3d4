"""Fetch the Python packages of the tests for a guest that has no network: wheels.py DIRECTORY."""

import subprocess
import sys
import tomllib
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
UNNEEDED = {"coverage", "mypy", "ruff"}  # say nothing about a machine


def requirements() -> list[str]:
    """Return what pyproject.toml asks for, but for what a machine makes no difference to."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["test"]
    return [item for item in wanted if item.split(">")[0] not in UNNEEDED]


def main() -> None:
    """Fetch them for the Python of Debian 12."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--dest", sys.argv[1]]
    target = ["--python-version", "3.11", "--only-binary=:all:"]
    subprocess.run([*pip, *target, *requirements()], check=True)


if __name__ == "__main__":
    main()
