"""Setting up without a network: one try, and none the next time."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.program import TOP


class Setup:
    """`.ci/make_venv.py` without effects, whose pip fails. tries: what that was asked for."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module = self._load(monkeypatch)
        self.tries: list[list[str]] = []
        self.online = False
        (directory / "bin").mkdir()
        (directory / "bin" / "python").touch()
        for name, value in {
            "VENV": str(directory),
            "PYTHON": str(directory / "bin" / "python"),
            "OFFLINE": str(directory / "without-network"),
            "network": lambda: self.online,
            "create": lambda _options: None,
            "missing": lambda wanted: [] if wanted == ["pip"] else wanted,
            "install": self._install,
        }.items():
            monkeypatch.setattr(self.module, name, value)
        monkeypatch.setattr(self.module.boot, "interpreter", lambda: str(directory / "bin" / "python"))

    def _load(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.syspath_prepend(str(TOP / ".ci"))
        spec = importlib.util.spec_from_file_location("make_venv_here", TOP / ".ci" / "make_venv.py")
        assert spec and spec.loader
        module: ModuleType = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def _install(self, wanted: list[str]) -> bool:
        self.tries.append(wanted)
        return False


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    return Setup(tmp_path, monkeypatch)


def test_without_a_network_pip_is_tried_once(setup: Setup) -> None:
    """Each further try took seconds, for each package."""
    assert not setup.module.settled()
    assert not setup.module.make(["click>=8", "psutil>=5"])

    assert setup.tries == [["click>=8", "psutil>=5"]]
    assert setup.module.settled()


def test_with_a_network_again_it_goes_on(setup: Setup) -> None:
    """Where a single package cannot be had, the others are installed one by one."""
    setup.module.make(["click>=8"])
    setup.online = True
    assert not setup.module.settled()
    setup.module.make(["click>=8", "psutil>=5"])

    assert setup.tries[1:] == [
        ["click>=8", "psutil>=5"],
        ["--only-binary=:all:", "click>=8"],
        ["--only-binary=:all:", "psutil>=5"],
    ]


def test_another_python_starts_anew(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    setup.module.make(["click>=8"])
    assert setup.module.settled()
    monkeypatch.setattr(setup.module.boot, "interpreter", lambda: "/usr/bin/another")

    assert not setup.module.settled()


@pytest.mark.needs("linux", "containers")
def test_what_a_network_is(setup: Setup) -> None:
    """A namespace without devices has none."""
    code = f"import sys; sys.path.insert(0, {str(TOP / '.ci')!r}); import make_venv; print(make_venv.network())"
    done = subprocess.run(["unshare", "-n", sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"


def test_bytecode_is_written_once(setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It took a second of each `make`, and a checkout that is read-only by now could not be used."""
    written: list[str] = []
    source = tmp_path / "runjail" / "__init__.py"
    for path in (source, tmp_path / ".ci" / "merge.py"):
        path.parent.mkdir()
        path.touch()
    monkeypatch.setattr(setup.module, "TOP", str(tmp_path))
    monkeypatch.setattr(setup.module, "COMPILED", str(tmp_path / "compiled"))
    monkeypatch.setattr(setup.module.merge, "write", lambda *_: written.append(source.read_text()))
    for text in ("", "", "A = 1\n"):
        source.write_text(text) if text else None
        setup.module.compile_sources()
    next(source.parent.glob("__pycache__/*.pyc")).unlink()
    setup.module.compile_sources()

    assert written == ["", "A = 1\n", "A = 1\n"]


def test_without_pip_it_is_told_where_that_is(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Debian venv without its package makes environments without pip; once that is there they are made anew."""
    before = setup.module.stamp(True)
    monkeypatch.setattr(setup.module.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(setup.module, "missing", lambda wanted: wanted)
    monkeypatch.setattr(setup.module, "set_up", lambda _tests: None)
    monkeypatch.setattr(sys, "argv", ["make_venv.py", "pytest"])

    with pytest.raises(SystemExit, match="there is no pytest, and no pip that could install it: install that"):
        setup.module.main()
    assert setup.module.stamp(True) != before
