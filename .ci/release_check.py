"""make release-check: whether this checkout can be released; docs/release.md says when.

Builds in a temporary directory with a venv of its own, for which it needs PyPI. Prints every fault and exits with 1.
"""

import os
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
BUILD = "import sys, setuptools.build_meta as backend; print(getattr(backend, sys.argv[1])(sys.argv[2]))"


def version_of(init: str) -> str:
    """Return the version that runjail/__init__.py holds."""
    found = re.search(r'^__version__ = "([^"]+)"$', init, re.MULTILINE)
    return found[1] if found else ""


def faults_of_version(version: str, changelog: str, tags: list[str]) -> list[str]:
    """Compare the version with the newest heading of the changelog and the tags of this commit."""
    faults = []
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        faults.append(f"runjail/__init__.py: __version__ must be X.Y.Z, not {version!r}")
    headings: list[str] = re.findall(r"^## \[(\d[^]]*)\] - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)
    if headings[:1] != [version]:
        newest = headings[0] if headings else "none"
        faults.append(f"CHANGELOG.md: the newest release is {newest}, not {version}")
    faults += [f"tag {tag}: this is {version}" for tag in tags if tag.startswith("v") and tag != f"v{version}"]
    return faults


def faults_of_wheel(members: list[str], modules: list[str]) -> list[str]:
    """Name the modules that a wheel lacks, and what it has beside the package."""
    foreign = [name for name in members if not name.startswith("runjail") and ".dist-info/" not in name]
    lacking = sorted(set(modules) - set(members))
    return [f"wheel: lacks {name}" for name in lacking] + [f"wheel: holds {name}" for name in foreign]


def run(*command: str, cwd: Path = TOP) -> str:
    """Run a program; the last line of its output is the answer."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"release-check: {' '.join(command)}\n{done.stdout}{done.stderr}")
    return (done.stdout.strip().splitlines() or [""])[-1]


def build(directory: Path, version: str) -> list[str]:
    """Build wheel and source distribution of what git has, install the wheel, and ask it for its version."""
    source, made = directory / "source", directory / "dist"
    run("git", "worktree", "add", "--detach", str(source), "HEAD")
    try:
        venv.create(directory / "builder", with_pip=True)
        python = str(directory / "builder/bin/python")
        run(python, "-m", "pip", "install", "-q", "setuptools>=77")
        wheel = made / run(python, "-c", BUILD, "build_wheel", str(made), cwd=source)
        archive = made / run(python, "-c", BUILD, "build_sdist", str(made), cwd=source)
        modules = run("git", "ls-files", "-z", "runjail", cwd=source).split("\0")
    finally:
        run("git", "worktree", "remove", "--force", str(source))
    with zipfile.ZipFile(wheel) as opened:
        faults = faults_of_wheel(opened.namelist(), [name for name in modules if name])
    for package in (wheel, archive):
        place = directory / f"of-{package.suffix.lstrip('.')}"
        venv.create(place, with_pip=True)
        run(str(place / "bin/pip"), "install", "-q", str(package))
        shown = subprocess.run([place / "bin/runjail", "--version"], capture_output=True, text=True, check=False)
        if version not in shown.stdout:
            faults.append(f"{package.name}: --version says {shown.stdout + shown.stderr!r}")
    return faults


def main() -> None:
    """Print every fault."""
    version = version_of((TOP / "runjail/__init__.py").read_text(encoding="utf-8"))
    changelog = (TOP / "CHANGELOG.md").read_text(encoding="utf-8")
    tags = subprocess.run(["git", "tag", "--points-at", "HEAD"], cwd=TOP, capture_output=True, text=True, check=True)
    faults = faults_of_version(version, changelog, tags.stdout.split())
    if run("git", "status", "--porcelain"):
        faults.append("git: there are changes that no commit has")
    with tempfile.TemporaryDirectory() as directory:
        os.mkdir(f"{directory}/dist")
        faults += build(Path(directory), version)
    for fault in faults:
        print(fault)
    if faults:
        sys.exit(1)
    print(f"{version} can be released")


if __name__ == "__main__":
    main()
