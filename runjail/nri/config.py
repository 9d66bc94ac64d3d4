"""Which plugins run, in which order.

The order is `conf.json`, then `resource.d/*.conf` by name, of each configuration directory.

    {"version": "0.1", "plugins": [{"type": "konfine", "conf": {"systemReserved": [0, 1]}}, {"type": "clearcfs"}]}

NRI v0.1's code reads the first, its documentation names the others; here their lists follow one another. Nothing is
merged within a list, so a plugin that is named twice runs twice, each time with its own `conf`.
"""

from __future__ import annotations

import os

from runjail import jsonio
from runjail.errors import InvalidConfig, UnreadableFile, reason
from runjail.files import read
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

LARGEST = 1 << 20  # bytes of one file
VERSION = "0.1"


class Plugin(Record):
    """One entry: its name, its `conf` as JSON text ("" when there is none), its file's `version`, and that file."""

    type: str
    conf: str = ""
    version: str = VERSION
    file: str = ""


def load(directories: Iterable[str]) -> tuple[Plugin, ...]:
    """Read all files of the directories. Raises InvalidConfig naming the file and everything wrong in it."""
    return tuple(plugin for path in files(directories) for plugin in parse(_read(path), path))


def files(directories: Iterable[str]) -> Iterator[str]:
    """Yield the configuration files that exist, in the order in which they count."""
    for directory in directories:
        if os.path.lexists(f"{directory}/conf.json"):  # a link to nothing is no absence
            yield f"{directory}/conf.json"
        try:
            names = sorted(os.listdir(f"{directory}/resource.d"))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise InvalidConfig([f"cannot be read: {reason(error)}"], f"{directory}/resource.d") from None
        yield from (f"{directory}/resource.d/{name}" for name in names if name.endswith(".conf") and name[0] != ".")


def _read(path: str) -> bytes:
    try:
        return read(path, LARGEST)
    except UnreadableFile as error:
        raise InvalidConfig([error.why], path) from None


def parse(content: bytes, path: str) -> tuple[Plugin, ...]:
    """Return the plugins of one file. Unknown keys are ignored, as NRI does. Raises InvalidConfig."""
    try:
        document = jsonio.loads(content)
    except ValueError as error:
        raise InvalidConfig([f"is no JSON: {error}"], path) from None
    if not isinstance(document, dict):
        raise InvalidConfig(["must be an object"], path)
    version, entries = get(document, "version"), get(document, "plugins")
    version = VERSION if version is None else version
    problems = [] if isinstance(version, str) else ["version: must be a string"]
    if not isinstance(entries, list | None):
        problems.append("plugins: must be a list")
        entries = None
    found = [_plugin(entry, index, str(version), path, problems) for index, entry in enumerate(entries or ())]
    if problems:
        raise InvalidConfig(problems, path)
    return tuple(found)


def _plugin(entry: object, index: int, version: str, path: str, problems: list[str]) -> Plugin:
    name = get(entry, "type") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(name, str):
        problems.append(f"plugins[{index}]{'.type' if isinstance(entry, dict) else ''}: must be {_kind(entry)}")
        return Plugin("")
    if not is_name(name):
        problems.append(f"plugins[{index}].type: must be the name of a file in the plugin directory, not {name[:80]!a}")
    conf = [jsonio.dumps(value) for key, value in entry.items() if key.casefold() == "conf"]
    return Plugin(name, conf[-1] if conf else "", version, path)


def _kind(entry: object) -> str:
    return "a string" if isinstance(entry, dict) else "an object"


def get(document: Mapping[str, Any], name: str) -> Any:
    """Return a member as Go's encoding/json finds it: whatever the case of its name, of several the last; or None."""
    found = None
    for key, value in document.items():
        if value is not None and key.casefold() == name.casefold():
            found = value
    return found


def is_name(name: str) -> bool:
    """Say whether this is a file name and nothing that could lead elsewhere."""
    return name not in ("", ".", "..") and "/" not in name and name.isprintable()
