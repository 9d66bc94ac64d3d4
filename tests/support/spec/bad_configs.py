"""Documents that runjail refuses, each with the exact error: the table behind docs/bad-input.md.

A row takes a good document and changes some places in it; ABSENT takes a place away. Write the page anew with
`python -m tests.support.spec.bad_configs > docs/bad-input.md` from the top of the checkout.
"""

import json
from typing import Any, NamedTuple

from runjail.errors import InvalidConfig
from runjail.spec.document import decode
from tests.support.spec.bad import ABSENT, CONFIG, Bad
from tests.support.spec.bad_common import COMMON, HOOKS, MOUNTS, OTHERS, PROCESS
from tests.support.spec.bad_platform import ANNOTATIONS, JAIL, LIMITS, LINUX

__all__ = ["BAD", "CONFIG", "TEXTS", "Bad", "BadText", "page"]


class BadText(NamedTuple):
    """name; bytes that are no acceptable JSON document; the error after its prefix."""

    name: str
    data: bytes
    error: str

    def judge(self) -> str:
        """Return the error that the bytes get, "" when they are accepted."""
        try:
            decode(self.data)
        except InvalidConfig as error:
            return str(error)
        return ""


TABLES = {
    "The whole container": COMMON,
    "process": PROCESS,
    "mounts": MOUNTS,
    "hooks": HOOKS,
    "The freebsd section": JAIL,
    "Annotations": ANNOTATIONS,
    "Limits, on every host": LIMITS,
    "The linux section, on the Linux host": LINUX,
    "Documents of exec and update": OTHERS,
}
BAD = [bad for table in TABLES.values() for bad in table]

TEXTS = [
    BadText("empty", b"", "line 1 column 1: Expecting value"),
    BadText("not closed", b'{"root": {', "line 1 column 11: Expecting property name enclosed in double quotes"),
    BadText("no comma", b'{\n "a": 1\n "b": 2\n}', "line 3 column 2: Expecting ',' delimiter"),
    BadText("two documents", b"{} {}", "line 1 column 4: Extra data"),
    BadText("line end in a string", b'["a\nb"]', "line 1 column 4: Invalid control character at"),
    BadText("NaN", b"[NaN]", "NaN is not JSON"),
    BadText("infinite number", b'{"x": -1e999}', "number -1e999 is too large"),
    BadText("Latin-1", b'["caf\xe9"]', "byte 6: is not UTF-8"),
    BadText("too deep", b"[" * 300 + b"]" * 300, "nested deeper than 200 levels"),
]

INTRODUCTION = """# What runjail refuses

Written by `python -m tests.support.spec.bad_configs`; a test compares this page with what the program says.

A bad document is refused before anything is touched, with one line that names every problem and its place, in the
order of the places:

    invalid config.json: process.cwd: must be an absolute path, not "tmp"; root.path: must not be empty

The tables show one mistake at a time: a change to a good document, and what follows `invalid config.json: `
(`invalid process document: ` for `exec --process`, `invalid resources document: ` for `update --resources`). Each was
judged for FreeBSD unless it says Linux. More than twenty problems are cut short with `and 5 more`.

Unknown properties are never an error (runtime-spec, Extensibility).
"""


def page() -> str:
    """Return docs/bad-input.md as it has to be."""
    parts = [INTRODUCTION]
    for title, table in TABLES.items():
        parts.append(f"## {title}\n\n| what | input | error |\n|---|---|---|\n" + "".join(map(_row, table)))
    texts = "".join(f"| {text.name} | {_cell(_cut(repr(text.data)[1:]))} | {_cell(text.error)} |\n" for text in TEXTS)
    parts.append("## Not even JSON\n\n| what | bytes | error |\n|---|---|---|\n" + texts)
    return "\n".join(parts)


def _row(bad: Bad) -> str:
    changes = "<br>".join(_cell(_change(where, value)) for where, value in bad.changes.items())
    name = bad.name if bad.os == "freebsd" else f"{bad.name} (Linux)"
    return f"| {name} | {changes} | {_cell(bad.error)} |\n"


def _change(where: str, value: Any) -> str:
    return f"{where} absent" if value is ABSENT else f"{where} = {_cut(json.dumps(value))}"


def _cut(text: str) -> str:
    return text if len(text) <= 70 else text[:50] + " ..."


def _cell(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


if __name__ == "__main__":
    print(page(), end="")
