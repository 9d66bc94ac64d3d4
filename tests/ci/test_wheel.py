"""Wheel and source distribution, built and installed outside the checkout, run a container."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.support.program import TOP, Bundle

BUILD = "import sys, setuptools.build_meta as backend; print(getattr(backend, sys.argv[1])(sys.argv[2]))"
LIMIT = 240  # seconds of one step


def run(*command: "str | Path", cwd: Path, needed: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run a step outside the checkout, with nothing of this process's environment that leads back to it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=LIMIT, env=env, stdin=subprocess.DEVNULL
    )
    assert not needed or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel, and the wheel that the source distribution gives."""
    place = tmp_path_factory.mktemp("packages")
    venv.create(place / "builder", with_pip=True)
    python = place / "builder/bin/python"
    asked = run(python, "-m", "pip", "install", "-q", "setuptools>=77", cwd=place, needed=False)
    if asked.returncode:
        pytest.skip("needs setuptools 77 or newer from pip's index")
    source = place / "source"
    shutil.copytree(TOP, source, ignore=shutil.ignore_patterns(".*", "tests", "vagrant", "__pycache__", "build"))
    made = place / "made"
    made.mkdir()
    wheel = made / run(python, "-c", BUILD, "build_wheel", made, cwd=source).stdout.split()[-1]
    archive = made / run(python, "-c", BUILD, "build_sdist", made, cwd=source).stdout.split()[-1]
    (place / "unpacked").mkdir()
    run("tar", "-xf", archive, "-C", place / "unpacked", cwd=place)
    (again,) = (place / "unpacked").iterdir()
    second = place / "second"
    second.mkdir()
    run(python, "-c", BUILD, "build_wheel", second, cwd=again)
    return {"wheel": wheel, "sdist": next(second.glob("*.whl"))}


@pytest.mark.slow
@pytest.mark.needs("containers", "loopback")
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_an_installed_package_runs_a_container(
    packages: dict[str, Path], kind: str, bundle: Bundle, tmp_path: Path
) -> None:
    """As pipx and uv install it: a venv of its own, programs from its bin directory."""
    place = tmp_path / "venv"
    venv.create(place, with_pip=True)
    run(place / "bin/python", "-m", "pip", "install", "-q", "--no-deps", packages[kind], cwd=tmp_path)
    program = place / "bin/runjail"
    state = ("--root", tmp_path / "root")
    bundle.config["process"]["args"] = ["/bin/echo", "out of the package"]
    bundle.write()

    where = run(place / "bin/python", "-c", "import runjail; print(runjail.__file__)", cwd=tmp_path).stdout

    assert where.startswith(str(place))
    assert run(program, *state, "run", "-b", bundle.path, "web", cwd=tmp_path).stdout == "out of the package\n"
    assert run(program, *state, "list", "-q", cwd=tmp_path).stdout == ""
    assert "runjail version" in run(program, "--version", cwd=tmp_path).stdout
    assert {"containerd-shim-runjail-v1", "ctd-decoder"} <= {path.name for path in (place / "bin").iterdir()}
    assert {"runjail.8", "runjail-image.8"} == {path.name for path in (place / "share/man/man8").iterdir()}
    assert sys.prefix not in where
