"""The Python packages of the tests, for a guest without network: wheels.py DIRECTORY fetches, without one it lists."""

import subprocess
import sys
import tomllib
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
PYTHON = "3.11"  # Debian 12's


def requirements() -> list[str]:
    """Return what pyproject.toml asks for."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted: list[str] = project["dependencies"] + project["optional-dependencies"]["test"]
    return wanted


def main() -> None:
    """Print or fetch them."""
    if len(sys.argv) == 1:
        sys.stdout.write("\n".join([PYTHON, *requirements()]) + "\n")
        return
    pip = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--dest", sys.argv[1]]
    target = ["--python-version", PYTHON, "--only-binary=:all:"]
    subprocess.run([*pip, *target, *requirements()], check=True)


if __name__ == "__main__":
    main()
