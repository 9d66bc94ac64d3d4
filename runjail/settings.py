"""runjail.toml: what an administrator settles once for this machine.

Only read where it exists: tomllib is slow.
"""

from __future__ import annotations

import tomllib
from typing import Any

from runjail import files
from runjail.errors import InvalidConfig, UnreadableFile

LARGEST = 1 << 20  # bytes
# What may be said: section, key, and its type. A path is a string that starts with a slash; words separated by | are
# the values there are. The keys of a section `*` stand in a table below a name that is free: [registries."host"].
KEYS = {
    "nri": {"config": "path", "bin": "path", "timeout": "number", "cri": "containerd|runjail"},
    "network": {"config": "path", "bin": "path", "timeout": "number"},
    "store": {"location": "string", "encrypt": "boolean"},
    "keys": {"directories": "paths"},
    "registries.*": {"insecure": "boolean", "mirror": "string"},
    "jail": {"allow": "words"},
    "shim": {"share": "pod|namespace"},
}


def read(path: str) -> dict[str, dict[str, Any]]:
    """Return every known section, an empty one where the file does not have it; [registries."host"] by its host.

    Raises InvalidConfig naming the file, with the line and column of each mistake.
    """
    try:
        text = files.read(path, LARGEST).decode()
        document = tomllib.loads(text)
    except UnreadableFile as error:
        raise InvalidConfig([error.why], path) from None
    except (ValueError, RecursionError) as error:  # bad UTF-8 and bad TOML, the latter with its position; too deep
        raise InvalidConfig([str(error)], path) from None
    problems: list[str] = []
    for section, content in document.items():
        _check(section, content, text, problems)
    if problems:
        raise InvalidConfig(problems, path)
    return {section: document.get(section, {}) for section in (key.removesuffix(".*") for key in KEYS)}


def _check(section: str, content: object, text: str, problems: list[str]) -> None:
    if section in KEYS:
        _check_table((section,), KEYS[section], content, text, problems)
    elif f"{section}.*" not in KEYS:
        problems.append(f"{_position(text, section)}: unknown key {section}")
    elif not isinstance(content, dict):
        problems.append(f"{_position(text, section)}: {section} must be a table")
    else:
        for name, table in content.items():
            _check_table((section, name), KEYS[f"{section}.*"], table, text, problems)


def _check_table(
    where: tuple[str, ...], known: dict[str, str], content: object, text: str, problems: list[str]
) -> None:
    """Look at one table; where: the keys that lead to it."""
    name = ".".join(where)
    if not isinstance(content, dict):
        problems.append(f"{_position(text, *where)}: {name} must be a table")
        return
    for key, value in content.items():
        if key not in known:
            problems.append(f"{_position(text, *where, key)}: unknown key {name}.{key}")
        elif not _is(value, known[key]):
            problems.append(f"{_position(text, *where, key)}: {name}.{key} must be {_named(known[key])}")


def _is(value: object, kind: str) -> bool:
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "paths":
        return isinstance(value, list) and all(_is(each, "path") for each in value)
    if kind == "words":
        return isinstance(value, list) and all(_is(each, "string") for each in value)
    if not isinstance(value, str) or not value or not value.isprintable():
        return False
    return kind == "string" or (value.startswith("/") if kind == "path" else value in kind.split("|"))


def _named(kind: str) -> str:
    words = {"boolean": "true or false", "number": "a number", "string": "a text", "path": "an absolute path"}
    words |= {"paths": "a list of absolute paths", "words": "a list of texts"}
    return words.get(kind) or " or ".join(kind.split("|"))


def _position(text: str, *keys: str) -> str:
    """Return where a key is first said, found by reading ever more lines until it is there: tomllib does not tell."""
    lines = text.splitlines(keepends=True)
    start = 0  # of the statement that the next line belongs to
    for end in range(1, len(lines) + 1):
        try:
            document: Any = tomllib.loads("".join(lines[:end]))
        except ValueError:  # in the middle of a value that spans lines
            continue
        for key in keys:
            document = document.get(key) if isinstance(document, dict) else None
        if document is not None:
            return f"line {start + 1} column {lines[start].find(keys[-1]) + 1}"
        start = end
    return "line 1 column 1"
