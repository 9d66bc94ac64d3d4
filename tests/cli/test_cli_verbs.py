"""A verb is a module: each has what the program, help and manual pages read of it, and the tables name them all."""

import re
from pathlib import Path
from types import ModuleType

import pytest

from runjail.cli import image, verbs
from runjail.cli.args import GLOBALS, Option, options_end
from runjail.cli.verbs.delete import OWNER_FILE
from runjail.image.bundle import owned
from tests.support.cli.verbs import modules

VERBS = modules()
EVERY = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
NOT_VERBS = {"__init__", "names", "options", "remote", "session"}


@EVERY
def test_a_verb_has_what_others_read_of_it(verb: ModuleType) -> None:
    assert isinstance(verb.HELP, str) and not verb.HELP.endswith(".")
    assert isinstance(verb.ARGS, tuple) and all(isinstance(name, str) for name in verb.ARGS)
    assert isinstance(verb.OPTIONS, tuple) and all(isinstance(option, Option) for option in verb.OPTIONS)
    assert callable(verb.run)
    assert options_end(verb.ARGS) in (-1, len(verb.ARGS) - 1)


@EVERY
def test_options_of_a_verb_do_not_clash(verb: ModuleType) -> None:
    names = [option.name for option in verb.OPTIONS]
    letters = "".join(option.letters for option in verb.OPTIONS)

    assert len(names) == len(set(names))
    assert len(letters) == len(set(letters))


@EVERY
def test_a_verb_asks_for_options_that_it_has(verb: ModuleType) -> None:
    """At run time a misspelt name is an internal error, but only where that line runs."""
    source = Path(str(verb.__file__)).read_text(encoding="utf-8")
    asked = set(re.findall(r"args\.(?:text|flag|many)\(\"([^\"]+)\"", source))

    assert asked <= {option.name for option in (*verb.OPTIONS, *GLOBALS)}


@pytest.mark.parametrize("package", [verbs, image], ids=lambda package: package.__name__)
def test_the_table_names_every_module(package: ModuleType) -> None:
    """Otherwise a verb would be there and nobody could call it."""
    there = {path.stem for path in Path(str(package.__file__)).parent.glob("*.py")} - NOT_VERBS

    assert {name.rpartition(".")[2] for name in package.VERBS.values()} == there


def test_delete_looks_for_the_file_that_marks_a_bundle_of_an_image() -> None:
    """It names the file itself: the module that writes it costs an import at every delete."""
    assert OWNER_FILE == owned.MARK
