"""The boot script: callers start it with no environment, from anywhere, with descriptors of their own left open."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
PROGRAM = TOP / ".venv" / "bin" / "runjail"
PLACE = TOP / ".venv" / "libexec" / "runjail" / "bin"

pytestmark = pytest.mark.needs("program")


def version(program: Path, **how: object) -> str:
    """Return the first word of what --version prints, insisting on a silent success."""
    done = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False, timeout=60, **how)
    assert (done.returncode, done.stderr) == (0, ""), done
    return str(done.stdout.split()[0])


def test_empty_environment_and_strange_directory(tmp_path: Path) -> None:
    """Neither PATH nor HOME is needed, and modules in the working directory are not looked at."""
    for name in ("os", "json", "stat", "runjail", "errno"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken from the working directory')\n")

    assert version(PROGRAM, env={}, cwd=tmp_path) == "runjail"


def test_python_variables_do_not_reach_it(tmp_path: Path) -> None:
    """PYTHONPATH, PYTHONSTARTUP and the like are somebody else's."""
    (tmp_path / "stat.py").write_text("raise SystemExit('taken from PYTHONPATH')\n")
    env = {"PYTHONPATH": str(tmp_path), "PYTHONHOME": str(tmp_path), "PYTHONVERBOSE": "1", "PYTHONIOENCODING": "ascii"}

    assert version(PROGRAM, env=env) == "runjail"


def test_directory_that_is_gone(tmp_path: Path) -> None:
    """A caller may have removed the directory it stands in."""
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f'cd "{gone}" && rmdir "{gone}" && exec "{PROGRAM}" --version'
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_leaked_descriptors(tmp_path: Path) -> None:
    """Descriptors that callers forgot to close do no harm, a directory among them."""
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        assert version(PROGRAM, pass_fds=[directory]) == "runjail"
    finally:
        os.close(directory)


def test_closed_standard_streams() -> None:
    """Without any of the standard descriptors it still ends, and with success."""
    done = subprocess.run(["/bin/sh", "-c", f'exec "{PROGRAM}" --version 0<&- 1>&- 2>&-'], check=False, timeout=60)

    assert done.returncode in (0, 1)


def test_first_line_is_a_real_interpreter() -> None:
    """Isolated, and not the virtual environment's: on Linux a link of our own, or what is mounted over it."""
    line = PROGRAM.read_text(encoding="utf-8").split("\n", 1)[0]
    python, options = line.removeprefix("#!").split()
    real = os.path.realpath(sys.executable)

    assert os.path.samefile(python, real)
    assert python == (str(PLACE / os.path.basename(real)) if sys.platform == "linux" else real)
    assert options == "-IS"


def test_features_is_a_document() -> None:
    """Standard output is the document and nothing else, standard error is empty."""
    done = subprocess.run([str(PROGRAM), "features"], capture_output=True, text=True, check=False, env={})

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["ociVersionMin"] == "1.0.0"


@pytest.mark.needs("make")
def test_install_below_a_prefix(tmp_path: Path) -> None:
    """`make install` gives a program that needs nothing of the checkout, and uninstall leaves no file."""
    prefix = tmp_path / "usr"
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")} | {
        "PYTHON": sys.executable
    }
    how = {"cwd": TOP, "check": True, "capture_output": True, "env": env}
    subprocess.run(["make", "install", f"PREFIX={prefix}"], **how)
    program = prefix / "bin" / "runjail"

    assert f"{TOP}/" not in program.read_text(encoding="utf-8").replace(sys.prefix, "")
    assert version(program, env={}) == "runjail"
    assert (prefix / "share" / "man" / "man8" / "runjail.8").exists()
    assert list((prefix / "lib" / "runjail" / "runjail" / "__pycache__").iterdir())

    subprocess.run(["make", "uninstall", f"PREFIX={prefix}"], **how)

    assert [path for path in prefix.rglob("*") if path.is_file()] == []


@pytest.mark.needs("make")
def test_a_package_is_built_elsewhere(tmp_path: Path) -> None:
    """DESTDIR stands before every path that is written, and in none of the files."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")} | {
        "PYTHON": sys.executable
    }
    words = ["make", "install", f"DESTDIR={tmp_path}", "PREFIX=/opt/r"]
    subprocess.run(words, cwd=TOP, check=True, capture_output=True, env=env)
    programs = [path for path in (tmp_path / "opt/r").rglob("*") if os.access(path, os.X_OK) and path.is_file()]

    assert {"runjail", "ctd-decoder", "runj", "konfine"} <= {path.name for path in programs}
    written = [path for path in programs if not path.is_symlink()]
    assert [path for path in written if str(tmp_path) in path.read_text(encoding="utf-8")] == []
    if sys.platform == "linux":
        first = (tmp_path / "opt/r/bin/runjail").read_text(encoding="utf-8").split()[0]
        assert first.startswith("#!/opt/r/libexec/runjail/bin/python")
        assert os.readlink(f"{tmp_path}{first[2:]}") == os.path.realpath(sys.executable)
