"""os without collections.abc: os.environ is the same mapping, and whoever needs collections.abc gets it."""

import os
import subprocess
import sys

import pytest

from tests.support.program import TOP

LOADED = f"import sys\nsys.path.insert(0, {str(TOP)!r})\nfrom runjail import quickos\nimport os\n"
ENVIRONMENT = {"A": "1", "B": "two", "C": ""}
USES = """
os.environ["A"], os.environ.get("A"), os.environ.get("D"), os.environ.get("D", "other")
"A" in os.environ, "D" in os.environ
list(os.environ), len(os.environ), dict(os.environ), {**os.environ}
list(os.environ.keys()), list(os.environ.values()), list(os.environ.items())
os.environ.keys() & {"A", "D"}, ("A", "1") in os.environ.items()
os.environ == {"A": "1", "B": "two", "C": ""}, os.environ == {}, os.environ == 5, os.environ != {}
os.environ == os.environ.copy(), os.environ == os.environ, {} == os.environ
os.environ | {"D": "4"}, {"D": "4"} | os.environ, os.environ | os.environ
os.environ.pop("A"), os.environ.pop("D", "none"), os.environ.pop("D", None), os.environ.copy()
os.environ.pop("D")
os.environ["D"]
os.environ.setdefault("A", "5"), os.environ.setdefault("D", "5"), os.environ.copy()
os.environ.update({"A": "9"}), os.environ.update([("E", "8")], F="7"), os.environ.update(G="6"), os.environ.copy()
os.environ.popitem(), os.environ.copy()
os.environ.clear(), os.environ.copy()
os.environ.clear(), os.environ.popitem()
os.putenv("X", "1"), os.getenv("A"), os.environb[b"A"], os.environb.get(b"D")
hash(os.environ)
os.environ["A"] == 5, os.environ.update({"A": 5})
isinstance("text", os.PathLike), issubclass(int, os.PathLike), os.fspath("x")
issubclass(type("P", (), {"__fspath__": lambda self: "y"}), os.PathLike)
""".strip().splitlines()


def answer(code: str, use: str) -> str:
    """Return what a use of os gives in a process of its own, or the kind of its error."""
    code += f"try:\n    print(({use}))\nexcept Exception as error:\n    print(type(error), error.args)\n"
    command = [os.path.realpath(sys.executable), "-ISc", code]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("use", USES)
def test_the_environment_is_the_same_mapping(use: str) -> None:
    assert answer(LOADED, use) == answer("import os\n", use)


def test_collections_abc_is_not_loaded_and_comes_when_it_is_wanted() -> None:
    said = answer(
        f"{LOADED}os.environ.get('A'), 'D' in os.environ, os.environ['B']\n", "'_collections_abc' in sys.modules"
    )
    code = f"{LOADED}from collections.abc import Mapping, MutableMapping, Sequence\nimport subprocess\n"

    assert said == "False\n"
    assert answer(code, "isinstance({}, Mapping), isinstance([], Sequence), MutableMapping.__module__") == (
        "(True, True, 'collections.abc')\n"
    )
    assert answer(code, "subprocess.run(['/bin/sh', '-c', 'echo $B'], env=os.environ, capture_output=True).stdout") == (
        "b'two\\n'\n"
    )


def test_nothing_is_imported_to_read_the_environment() -> None:
    """Nothing can be in a container: a hook there, which gets our environment, failed."""
    code = f"{LOADED}sys.meta_path.clear()\n"

    reading = "dict(os.environ), list(os.environ.values()), 'A' in os.environ, os.environ.copy()"
    assert answer(code, reading) == answer("import os\n", reading)
    spawned = "os.waitpid(os.posix_spawn('/bin/sh', ['sh', '-c', 'exit $A'], os.environ), 0)[1]"
    assert answer(code, spawned) == f"{1 << 8}\n"


def test_os_that_is_there_already_stays() -> None:
    assert (
        answer(f"import os\nbefore = os\n{LOADED}", "os is before, '_collections_abc' in sys.modules")
        == "(True, True)\n"
    )


def test_an_os_that_takes_more_of_it_is_imported_as_ever() -> None:
    """As a later Python's may."""
    code = f"""
import builtins, sys
known = builtins.__import__
def missing(name, *rest):
    if name == "_collections_abc" and name in sys.modules and not hasattr(sys.modules[name], "Sequence"):
        raise ImportError("cannot import name 'Sequence'")
    return known(name, *rest)
builtins.__import__ = missing
{LOADED}"""

    assert answer(code, "hasattr(sys.modules['_collections_abc'], 'Sequence'), os.environ['A']") == "(True, '1')\n"
    assert answer(code, "type(os.environ).__mro__[1].__name__") == "MutableMapping\n"
