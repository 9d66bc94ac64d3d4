"""Docstrings and comments name what is there: errors, parameters, files of this repository."""

import ast
import builtins
import errno
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.support.imports import modules

TOP = Path(__file__).resolve().parent.parent
RAISES = re.compile(r"\b[Rr]aises? ((?:[A-Z]\w+(?:, | and | or |, or )?)+)")
PARAMETER = re.compile(r"(?:^|(?<=[.;] ))((?:[a-z_]+, )*[a-z_]+): ")


def docstrings() -> Iterator[tuple[str, ast.AST, str]]:
    """Yield the module, what is described, and its docstring on one line."""
    for name, _package, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                text = ast.get_docstring(node)
                if text:
                    yield name, node, " ".join(text.split())


def test_errors_that_docstrings_name_exist() -> None:
    """A class that was renamed is not promised under its old name. Names in capitals are those of errno."""
    known = {node.name for _name, _package, tree in modules() for node in ast.walk(tree) if type(node) is ast.ClassDef}
    known |= set(dir(builtins)) | set(errno.errorcode.values())
    named = {
        (name, error)
        for name, _node, text in docstrings()
        for match in RAISES.finditer(text)
        for error in re.findall(r"[A-Z]\w+", match[1])
    }

    assert len(named) > 300
    assert {(name, error) for name, error in named if error not in known} == set()


def test_parameters_that_docstrings_explain_exist() -> None:
    """`name: what it is` at the start of a sentence is about a parameter."""
    explained = {
        (name, node.name, word, word in parameters(node))
        for name, node, text in docstrings()
        if isinstance(node, ast.FunctionDef)
        for match in PARAMETER.finditer(text)
        for word in match[1].split(", ")
    }

    assert len(explained) > 150
    assert {each for each in explained if not each[-1]} == set()


def parameters(function: ast.FunctionDef) -> set[str]:
    """Return the names of a function's parameters."""
    listed = function.args
    every = [*listed.posonlyargs, *listed.args, *listed.kwonlyargs, listed.vararg, listed.kwarg]
    return {argument.arg for argument in every if argument}


def test_files_that_docstrings_and_comments_name_exist() -> None:
    """A path is written from any directory above the file on: `locks.py`, `host/linux/libc.py`."""
    files = [path for folder in ("runjail", "tests", ".ci") for path in sorted((TOP / folder).rglob("*.py"))]
    there = [f"/{path.relative_to(TOP)}" for path in files]
    named = {
        (str(path.relative_to(TOP)), found) for path in files for found in re.findall(r"[\w./]*\w\.py\b", prose(path))
    }

    assert len(named) > 50
    assert {(where, found) for where, found in named if not any(path.endswith(f"/{found}") for path in there)} == set()


def prose(path: Path) -> str:
    """Return the docstrings and comments of a file."""
    tree = ast.parse(path.read_bytes())
    described = [node for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))]
    texts = [ast.get_docstring(node) or "" for node in described]
    with path.open("rb") as file:
        texts += [token.string for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT]
    return "\n".join(texts)
