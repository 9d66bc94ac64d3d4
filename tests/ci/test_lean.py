"""What a module's bytecode is without, and what it must not be without."""

import ast
from typing import Any

import pytest

from tests.support.imports import lean, modules

TEXT = '''"""A docstring."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nowhere import Unknown
else:
    Unknown = 1


class Fields:
    """A docstring."""

    first: Unknown
    second: int = 2

    def method(self, one: Unknown, *more: Unknown, two: Unknown = 5, **named: Unknown) -> Unknown:
        """A docstring."""
        inner: Unknown = one
        return inner, more, two, named

    def empty(self) -> Unknown:
        """A docstring."""


class Empty(Exception):
    """A docstring."""


def check(value: Unknown) -> None:
    assert value, "no value"
    raise ValueError("the last line")
'''


@pytest.fixture
def names() -> dict[str, Any]:
    """What executing the text makes."""
    made: dict[str, Any] = {"__name__": "lean_test"}
    exec(lean().compiled(TEXT, "/somewhere/module.py"), made)
    return made


def test_what_nobody_looks_at_is_not_there(names: dict[str, Any]) -> None:
    functions = [names["check"], names["Fields"].method, names["Fields"].empty]

    assert {"__future__", "annotations"} & set(names) == set()
    assert [each.__doc__ for each in (names["Fields"], names["Empty"], *functions)] == [None] * 5
    assert names.get("__doc__") is None
    assert [each.__annotations__ for each in functions] == [{}] * 3


def test_everything_else_is_as_it_was(names: dict[str, Any]) -> None:
    fields = names["Fields"]()

    assert names["Unknown"] == 1
    assert (fields.method(1, 2, three=3), fields.empty()) == ((1, (2,), 5, {"three": 3}), None)
    assert issubclass(names["Empty"], Exception)


def test_fields_of_classes_are_texts_as_ever(names: dict[str, Any]) -> None:
    assert names["Fields"].__annotations__ == {"first": "Unknown", "second": "int"}


def test_assertions_stay(names: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="no value"):
        names["check"](0)


def test_a_traceback_names_the_line_of_the_source(names: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the last line") as caught:
        names["check"](1)

    last = caught.tb
    while last.tb_next:
        last = last.tb_next
    assert (last.tb_frame.f_code.co_filename, last.tb_lineno) == ("/somewhere/module.py", len(TEXT.splitlines()))


def test_no_module_of_ours_reads_what_is_taken_out() -> None:
    """Docstrings and annotations of functions. scope.py only hands a docstring on, record.py reads those of classes."""
    reading = set()
    for name, _package, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in ("__doc__", "__annotations__", "__annotate__"):
                reading.add((name, ast.unparse(node)))

    handed_on = {("runjail.scope", "make.__doc__"), ("runjail.scope", "function.__doc__")}
    assert reading - handed_on == {("runjail.record", "cls.__annotations__")}
