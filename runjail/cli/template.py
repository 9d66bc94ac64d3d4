"""--format with a Go template: the part of text/template that scripts use with docker and podman.

    {{.ID}}  {{.State.Status}}  {{json .}}  {{index .Config.Labels "a.b"}}  {{len .Args}}  table {{.ID}} {{.Pid}}
    {{range .Config.Env}}{{println .}}{{end}}

Names of fields are found in capitals or not. What is not in this part is refused, before anything is looked at.
"""

from __future__ import annotations

from runjail import jsonio
from runjail.cli.args import Args
from runjail.cli.output import choice, table
from runjail.errors import UsageError
from runjail.sizes import read_number

TYPE_CHECKING = False
if TYPE_CHECKING:  # image ls loads this module
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

ESCAPES = {"\\t": "\t", "\\n": "\n"}
TABLE = "table "
FUNCTIONS = ("json", "len", "index", "println")
RANGE, END = "range", "end"


class Template:
    """A template that has been read. Raises UsageError for what is not in our part of the language.

    aliases: other names of fields, in small letters, for what podman calls otherwise.
    """

    def __init__(self, text: str, aliases: Mapping[str, str] | None = None) -> None:
        self.is_table = text.startswith(TABLE)
        for escape, letter in ESCAPES.items():
            text = text.replace(escape, letter)
        self._aliases = aliases or {}
        first, *pieces = text.removeprefix(TABLE).split("{{")
        self._texts, self._actions, self._bodies = [first], [], []
        while pieces:
            action, end, rest = pieces.pop(0).partition("}}")
            if not end:
                raise UsageError(f"--format: an action without its end: {text[:80]!r}")
            words = _read(action.strip().strip("-").strip())
            body = None
            if words[0] == RANGE:
                inside, rest = _until_end(rest, pieces)
                body = Template(TABLE + inside)  # which is taken off: a body may begin with that word
            self._actions.append(words)
            self._bodies.append(body)
            self._texts.append(rest)

    def render(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Return a line for each row; of a table, in columns below the names of the fields."""
        lines = [self._line(row) for row in rows]
        if not self.is_table:
            return "".join(f"{line}\n" for line in lines)
        heading = self._join([words[-1].rpartition(".")[2].upper() for words in self._actions])
        cells = [line.split("\t") for line in (heading, *lines)]
        width = max(map(len, cells))
        return table([[*row, *[""] * (width - len(row))] for row in cells])

    def _line(self, row: Any) -> str:
        values = [
            "".join(map(body._line, _each(self._field(words[1], row)))) if body else self._value(words, row)
            for words, body in zip(self._actions, self._bodies, strict=True)
        ]
        return self._join(values)

    def _join(self, values: Sequence[str]) -> str:
        return "".join(text + value for text, value in zip(self._texts, [*values, ""], strict=True))

    def _value(self, words: Sequence[str], row: Any) -> str:
        function, *arguments = words if words[0] in FUNCTIONS else ("", *words)
        found = self._field(arguments[0], row)
        if function == "json":
            return jsonio.dumps(found, tight=True)
        if function == "println":
            return f"{_printed(found)}\n"
        if function == "len":
            return str(len(found))
        for key in arguments[1:]:
            found = _indexed(found, key)
        return _printed(found)

    def _field(self, path: str, row: Any) -> Any:
        found = row
        for depth, name in enumerate(path.split(".")[1:] if path != "." else ()):
            names = {each.lower(): each for each in found} if isinstance(found, dict) else {}
            wanted = name.lower()
            wanted = self._aliases.get(wanted, wanted) if not depth else wanted
            if wanted not in names:
                raise UsageError(f"--format: there is no field {path[:80]}", f"there is {', '.join(sorted(names))}")
            found = found[names[wanted]]
        return found


def _until_end(rest: str, pieces: list[str]) -> tuple[str, str]:
    """Return the body of a range, whose pieces are taken away, and what follows its end. Raises UsageError."""
    body, depth = rest, 1
    while pieces:
        piece = pieces.pop(0)
        action, _, following = piece.partition("}}")
        word = action.strip().strip("-").split(maxsplit=1)
        depth += (word[:1] == [RANGE]) - (word == [END])
        if not depth:
            return body, following
        body += "{{" + piece
    raise UsageError("--format: a range without its {{end}}")


def _each(found: Any) -> list[Any]:
    """Return what range goes through: the values of a map by its keys, or a list."""
    if isinstance(found, dict):
        return [found[key] for key in sorted(found)]
    if isinstance(found, list):
        return found
    raise UsageError(f"--format: range: neither a list nor a map: {_printed(found)[:40]!r}")


def _read(action: str) -> list[str]:
    """Return the words of an action. Raises UsageError for one that we do not know."""
    words = list(_words(action))
    calls = bool(words) and words[0] in (*FUNCTIONS, RANGE)
    fields, literals = words[1:2] if calls else words, words[2:] if calls else []
    known = len(fields) == 1 and _is_field(fields[0]) and bool(literals) is (calls and words[0] == "index")
    if not known or not all(each.startswith('"') or each.isalnum() for each in literals):
        hint = "{{.Name}}, {{json .Name}}, {{len .Name}}, {{index .Name 0}}, {{range .Names}}{{println .}}{{end}}"
        raise UsageError(f"--format: not a field or a call: {action[:80]!r}", hint)
    return words


def _words(action: str) -> Iterator[str]:
    """Yield the words between blanks; a text in quotes is one, with its quotes."""
    while action := action.lstrip():
        end = action.find('"', 1) + 1 if action.startswith('"') else action.find(" ")
        end = end if end > 0 else len(action)
        yield action[:end]
        action = action[end:]


def _is_field(path: str) -> bool:
    return path == "." or (path.startswith(".") and all(name.isidentifier() for name in path[1:].split(".")))


def _indexed(found: Any, key: str) -> Any:
    """Return what index does: of a map nothing for what is not there, of a list an error."""
    if isinstance(found, dict):
        return found.get(key.strip('"'), "")
    number = read_number(key, max(len(found) - 1, 0)) if isinstance(found, list) and found else None
    if number is None:
        raise UsageError(f"--format: index {key[:40]} is out of range")
    return found[number]


def _printed(found: Any) -> str:
    """Return a value as Go prints it."""
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, dict):
        return f"map[{' '.join(f'{key}:{_printed(each)}' for key, each in sorted(found.items()))}]"
    if isinstance(found, list):
        return f"[{' '.join(map(_printed, found))}]"
    return "" if found is None else str(found)


def template(args: Args, aliases: Mapping[str, str] | None = None) -> Template | None:
    """Return the template of --format, None for `table` and `json`. Raises UsageError for another word."""
    text = args.text("format")
    if "{{" in text:
        return Template(text, aliases)
    choice(args, "table", "json")
    return None
