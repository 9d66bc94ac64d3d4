"""Wheel and source distribution, built and installed outside the checkout by pip, pipx and uv, run a container."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support.program import TOP, Bundle

BUILD = "import sys, setuptools.build_meta as backend; print(getattr(backend, sys.argv[1])(sys.argv[2]))"
LIMIT = 240  # seconds of one step


def run(
    *command: "str | Path", cwd: Path, needed: bool = True, more: "Mapping[str, str | Path] | None" = None
) -> "subprocess.CompletedProcess[str]":
    """Run a step outside the checkout, with nothing of this process's environment that leads back to it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    env |= {name: str(value) for name, value in (more or {}).items()}
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=LIMIT, env=env, stdin=subprocess.DEVNULL
    )
    assert not needed or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A venv's bin directory, with what builds and installs: pip, setuptools, pipx and uv."""
    place = tmp_path_factory.mktemp("builder")
    venv.create(place, with_pip=True)
    asked = ("install", "-q", "--no-compile", "setuptools>=77", "pipx", "uv")
    if run(place / "bin/python", "-m", "pip", *asked, cwd=place, needed=False).returncode:
        pytest.skip("needs setuptools 77 or newer, pipx and uv from pip's index")
    return place / "bin"


@pytest.fixture(scope="module")
def packages(builder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel, and the wheel that the source distribution gives."""
    place = tmp_path_factory.mktemp("packages")
    python = builder / "python"
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


def with_pip(builder: Path, package: Path, place: Path) -> Path:
    """Install into a venv of its own. Returns the directory of the programs."""
    venv.create(place / "venv")
    pip = (builder / "python", "-m", "pip", "--python", place / "venv/bin/python")
    run(*pip, "install", "-q", "--no-deps", package, cwd=place)
    return place / "venv/bin"


def with_pipx(builder: Path, package: Path, place: Path) -> Path:
    """The same by pipx, whose programs are links into its venv; it insists on what the package depends on."""
    names = {"PIPX_HOME": "home", "PIPX_BIN_DIR": "bin", "PIPX_MAN_DIR": "man"}
    run(builder / "pipx", "install", package, cwd=place, more={name: place / word for name, word in names.items()})
    return place / "bin"


def with_uv(builder: Path, package: Path, place: Path) -> Path:
    """The same by uv, which lets a package do without what it depends on: nothing is fetched."""
    with open(TOP / "pyproject.toml", "rb") as file:
        wanted = [re.split("[^A-Za-z.]", each)[0] for each in tomllib.load(file)["project"]["dependencies"]]
    overrides = place / "overrides"
    overrides.write_text("".join(f"{name}; python_version < '3'\n" for name in wanted), encoding="utf-8")
    names = {"UV_TOOL_DIR": "tools", "UV_TOOL_BIN_DIR": "bin", "UV_CACHE_DIR": "cache"}
    words = ("tool", "install", "--overrides", overrides, "--python", sys.executable, package)
    run(builder / "uv", *words, cwd=place, more={name: place / word for name, word in names.items()})
    return place / "bin"


def plugins(program: Path, place: Path) -> list[str]:
    """Return what the plugins that came with a program say to a sample request."""
    (place / "conf.json").write_text('{"version": "0.1", "plugins": [{"type": "clearcfs"}, {"type": "konfine"}]}')
    settings = place / "runjail.toml"
    settings.write_text(f'[nri]\nconfig = "{place}"\n', encoding="utf-8")
    said = run(program, "nri", "check", "-f", "json", cwd=place, needed=False, more={"RUNJAIL_CONFIG": settings}).stdout
    return [f"{row['type']} {row['works']}" for row in json.loads(said)]


@pytest.mark.slow
@pytest.mark.needs("containers", "loopback")
@pytest.mark.parametrize(
    ("kind", "install"),
    [("wheel", with_pip), ("sdist", with_pip), ("wheel", with_pipx), ("wheel", with_uv)],
    ids=["wheel", "sdist", "pipx", "uv"],
)
def test_an_installed_package_runs_a_container(
    builder: Path,
    packages: dict[str, Path],
    kind: str,
    install: Callable[[Path, Path, Path], Path],
    bundle: Bundle,
    tmp_path: Path,
) -> None:
    """From a place of its own, with manual pages, plugins and completion."""
    program = install(builder, packages[kind], tmp_path) / "runjail"
    place = program.resolve().parent.parent
    state = ("--root", tmp_path / "root")
    bundle.config["process"]["args"] = ["/bin/echo", "out of the package"]
    bundle.write()

    where = run(place / "bin/python", "-c", "import runjail; print(runjail.__file__)", cwd=tmp_path).stdout

    assert where.startswith(str(place))
    assert run(program, *state, "run", "-b", bundle.path, "web", cwd=tmp_path).stdout == "out of the package\n"
    assert run(program, *state, "list", "-q", cwd=tmp_path).stdout == ""
    assert "runjail version" in run(program, "--version", cwd=tmp_path).stdout
    assert {"containerd-shim-runjail-v1", "ctd-decoder"} <= {path.name for path in program.parent.iterdir()}
    names = {f"runjail{name}.8" for name in ("", "-image", "-network", "-volume")}
    assert names == {path.name for path in (place / "share/man/man8").iterdir()}
    assert plugins(program, tmp_path) == ["clearcfs True", "konfine True"]
    for name in ("bash-completion/completions/runjail", "zsh/site-functions/_runjail"):
        assert (place / "share" / name).is_file()
    assert (place / "share/fish/vendor_completions.d/runjail.fish").is_file()
    assert sys.prefix not in where
