"""Bytecode of a module without what nobody looks at at run time: docstrings, annotations, type-only imports.

`python -OO` takes docstrings, and with them the assertions. `from __future__ import annotations` does import that
module, and finding it in a directory is half of what this saves: 0.06 starts of a bare interpreter in `state`, 0.1 in
`exec`, 0.16 in `create` (docs/performance.md).

Annotations in classes stay: they are the fields of a Record (runjail/record.py).
"""

import __future__

import ast
from types import CodeType


def compiled(text: str, path: str) -> CodeType:
    """Return the code of a module's text. path: for tracebacks, whose lines are those of the text."""
    tree = _Lean().visit(ast.parse(text, path))
    code: CodeType = compile(tree, path, "exec", __future__.annotations.compiler_flag, dont_inherit=True)
    return code


class _Lean(ast.NodeTransformer):
    """What follows is taken out; a body that is left empty passes."""

    def visit_Module(self, node: ast.Module) -> ast.AST:
        body = _without_docstring(node)
        node.body = [each for each in body if not (isinstance(each, ast.ImportFrom) and each.module == "__future__")]
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = _without_docstring(node)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.body, node.returns = _without_docstring(node), None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse
        return node


def _without_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> list[ast.stmt]:
    if ast.get_docstring(node, clean=False) is None:
        return node.body
    return node.body[1:] or [ast.copy_location(ast.Pass(), node.body[0])]
