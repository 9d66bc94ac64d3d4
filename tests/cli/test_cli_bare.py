"""The program where Python has its standard library and nothing else: help works, and what needs a module says so."""

import importlib.util
import subprocess
import sys
import warnings
from importlib import metadata

import pytest

from runjail.cli import modules
from runjail.cli.image import VERBS as IMAGE_VERBS
from runjail.cli.verbs import GROUPS
from tests.support.cli.verbs import modules as verbs
from tests.support.program import TOP

BARE = f"import sys; sys.path.insert(0, {str(TOP)!r}); from runjail.cli.main import main; main()"


def bare(*args: str) -> "subprocess.CompletedProcess[str]":
    """Run the program without third-party modules."""
    command = [sys.executable, "-IS", "-c", BARE, *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, env={})


def test_nothing_else_is_there() -> None:
    code = "import click"

    assert subprocess.run([sys.executable, "-IS", "-c", code], capture_output=True, check=False).returncode != 0


def test_check_asks_no_module_for_what_it_deprecates() -> None:
    """click 9.1 has no __version__ any more."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = {what: (works, text) for what, works, text, _remedy in modules.rows("linux")}

    for name in filter(importlib.util.find_spec, ("click", "cryptography", "psutil")):
        works, text = found[f"module {name}"]
        assert works and text.startswith(metadata.version(name))


@pytest.mark.parametrize("library", ["", "Library 3.5"])
@pytest.mark.parametrize(
    ("name", "instead", "use"),
    [
        ("cryptography", "runjail.image.crypto.libcrypto.library", "encrypted images"),
        ("backports.zstd", "runjail.image.layers.libzstd", "zstd layers"),
    ],
)
def test_check_says_what_does_the_work_of_a_module(
    name: str, instead: str, use: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(modules.USES, name, modules.USES.get(name, (use, name, "", name)))
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(f"{instead}.version", lambda: library)

    _, works, text, remedy = next(row for row in modules.rows("freebsd") if row[0] == f"module {name}")

    assert not works
    assert text == (f"missing: {use} are left to {library}" if library else f"missing: {use}")
    assert remedy.startswith("" if library else "pkg install py3")


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)], ids=" ".join)
def test_help_lists_every_command(words: tuple[str, ...]) -> None:
    done = bare(*words)

    assert (done.returncode, done.stderr) == (0, "")
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert {name for name, verb in verbs().items() if verb.HELP and " " not in name} | set(GROUPS) <= listed


def test_help_of_a_verb_has_its_options() -> None:
    done = bare("create", "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: runjail create [OPTIONS] ")
    assert "  -b, --bundle DIR " in done.stdout
    assert "no-pivot" not in done.stdout, "an option that only other runtimes have"


def test_help_of_a_verbs_verbs() -> None:
    group, pull = bare("image", "--help"), bare("image", "pull", "--help")

    assert {line.split()[0] for line in group.stdout.splitlines() if line.startswith("  ")} >= set(IMAGE_VERBS)
    assert pull.stdout.startswith("Usage: runjail image pull [OPTIONS] ")
    assert (group.returncode, pull.returncode) == (0, 0)


def test_check_names_the_modules_and_how_to_get_them() -> None:
    done = bare("check")

    assert "module psutil" in done.stdout and "the table of runjail ps" in done.stdout
    assert "install" in next(line for line in done.stdout.splitlines() if line.startswith("module psutil"))


def test_the_table_of_processes_says_what_it_needs() -> None:
    """It was an internal error."""
    code = f"""
import sys; sys.path.insert(0, {str(TOP)!r})
from runjail.container.query import process_rows
from runjail.errors import HostError
try:
    process_rows([1])
except HostError as error:
    print(error, error.hint, sep="|")
"""
    done = subprocess.run([sys.executable, "-IS", "-c", code], capture_output=True, text=True, check=False)

    assert done.stdout == (
        "the table of processes needs the Python module psutil|"
        "runjail ps -f json needs none; runjail check says how to install it\n"
    )


def test_check_knows_modules_that_are_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian 12 has urllib3 1.26: it is there, and registries do not work with it."""
    pytest.importorskip("urllib3")
    for version, works in (("1.26.12", False), ("2.1.0", False), ("2.2", True), ("2.10.1", True), ("3.0rc1", True)):
        monkeypatch.setattr("importlib.metadata.version", lambda _name, version=version: version)
        row = next(row for row in modules.rows("linux") if row[0] == "module urllib3")
        assert row[1] is works, version
        assert row[3] == ("" if works else "pip install 'urllib3>=2.2'")
