"""Run the tests under each Python that runjail supports.

    python3 test_pythons.py [VERSION]... [-- PYTEST-ARGUMENT...]

Each is looked for on this machine, then in Debian's newer suites (unpack_python.py). The tests run in a copy of the
checkout with a virtual environment of its own, both below .pythons, so that a second run starts at once. Ends with a
line for each version; one that cannot be had is named and is no failure.
"""

import glob
import os
import shutil
import subprocess
import sys
import time

from unpack_python import CannotUnpack, unpack

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
PLACES = ("/usr/bin", "/usr/local/bin", "~/.pyenv/versions/{}.*/bin", "~/.local/share/uv/python/cpython-{}.*/bin")
LIMIT = 3600  # seconds for the tests of one version


def main() -> None:
    """Test as the command line says."""
    arguments = sys.argv[1:]
    split = arguments.index("--") if "--" in arguments else len(arguments)
    outcomes = {version: outcome(version, arguments[split + 1 :]) for version in arguments[:split] or VERSIONS}
    print()
    for version, text in outcomes.items():
        print(f"Python {version}: {text}")
    raise SystemExit(any("FAILED" in text for text in outcomes.values()))


def outcome(version: str, arguments: list[str]) -> str:
    """Run everything for one version; returns its line of the summary."""
    place = os.path.join(TOP, ".pythons", version)
    try:
        python = find(version) or unpack(version, place)
    except (CannotUnpack, subprocess.TimeoutExpired) as error:
        return f"not tested: it is not on this machine, and cannot be unpacked: {error}"
    print(f"\n== Python {version}: {python}", flush=True)
    begun, checkout = time.monotonic(), os.path.join(place, "checkout")
    copy(checkout)
    if subprocess.run([python, ".ci/make_venv.py"], cwd=checkout, check=False).returncode != 0:
        return "FAILED: no virtual environment"
    command = [".venv/bin/python", "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    try:
        status = subprocess.run(command, cwd=checkout, check=False, timeout=LIMIT).returncode
    except subprocess.TimeoutExpired:
        return f"FAILED: not done after {LIMIT} s"
    how = "passed" if status == 0 else "FAILED"
    return f"{how} in {time.monotonic() - begun:.0f} s ({python})"


def find(version: str) -> str | None:
    """Return the path of a Python of this version that works here."""
    for place in PLACES:
        for path in sorted(glob.glob(f"{os.path.expanduser(place.format(version))}/python{version}")):
            if subprocess.run([path, "-ISc", ""], check=False, capture_output=True).returncode == 0:
                return path
    return None


def copy(checkout: str) -> None:
    """Make `checkout` a copy of this one as it is now, uncommitted changes included; its .venv stays."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(listing, cwd=TOP, capture_output=True, text=True, check=False)
    names = found.stdout.split("\0")[:-1] if found.returncode == 0 else os.listdir(TOP)
    os.makedirs(checkout, exist_ok=True)
    for name in os.listdir(checkout):
        if name != ".venv":
            remove(os.path.join(checkout, name))
    for name in names:
        source, target = os.path.join(TOP, name), os.path.join(checkout, name)
        if os.path.isdir(source) and not name.startswith("."):
            shutil.copytree(source, target, symlinks=True)
        elif os.path.isfile(source):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def remove(path: str) -> None:
    """Remove a file or a directory tree."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


if __name__ == "__main__":
    main()
