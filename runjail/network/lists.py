"""Network lists: which files there are, and what each says (CNI specification, section 1).

    {"cniVersion": "1.0.0", "name": "web", "plugins": [{"type": "bridge", ...}, {"type": "portmap", ...}]}

A file `.conf` or `.json` may also hold one plugin's configuration alone, which is a list of one. Directories are looked
through in order, files by name; of two that have one name the first counts. Unknown keys go to the plugins.
"""

from __future__ import annotations

import os

from runjail import jsonio
from runjail.errors import InvalidConfig, NetworkError, UnreadableFile, reason
from runjail.files import read
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

LARGEST = 1 << 20  # bytes of one file
ENDINGS = (".conflist", ".conf", ".json")
VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")  # of results that have one form; older ones had another
CHECKED = VERSIONS[2:]  # those with CHECK, and with a result at DEL
NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
PORTS = "portMappings"  # the capability of a plugin that publishes ports


class NetworkList(Record):
    """One network.

    plugins: their configurations, in order; checks: whether CHECK may be asked; path: its file; document: all of that.
    """

    name: str
    version: str
    plugins: tuple[dict[str, Any], ...]
    checks: bool
    path: str
    document: dict[str, Any]

    def can(self, capability: str) -> bool:
        """Say whether one of the plugins takes this argument of the runtime's."""
        return any(takes(plugin, capability) for plugin in self.plugins)


def takes(plugin: dict[str, Any], capability: str) -> bool:
    """Say whether a plugin's configuration asks for an argument of the runtime's."""
    asked = plugin.get("capabilities")
    return isinstance(asked, dict) and asked.get(capability) is True


def is_name(text: object) -> bool:
    """Say whether a network, or a container for plugins, may be called so (section 1, and section 2, Parameters)."""
    return isinstance(text, str) and NAME.issuperset(text) and text[:1].isalnum()


def files(directories: Iterable[str]) -> Iterator[str]:
    """Yield the files that count, in order. Raises InvalidConfig for a directory that cannot be read."""
    for directory in directories:
        try:
            names = sorted(os.listdir(directory))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise InvalidConfig([f"cannot be read: {reason(error)}"], directory) from None
        yield from (f"{directory}/{name}" for name in names if name.endswith(ENDINGS) and name[0] != ".")


def load(directories: Iterable[str], warn: Callable[[str], None]) -> list[NetworkList]:
    """Return all networks. What cannot be understood is passed over with a warning: another one may be meant."""
    found: dict[str, NetworkList] = {}
    for path in files(directories):
        try:
            listed = parse(path)
        except InvalidConfig as error:
            warn(str(error))
            continue
        found.setdefault(listed.name, listed)
    return list(found.values())


def find(name: str, directories: Iterable[str]) -> NetworkList:
    """Return the network of a name. Raises NetworkError, with those that there are, and InvalidConfig."""
    problems: list[str] = []
    known = load(directories := list(directories), problems.append)
    for listed in known:
        if listed.name == name:
            return listed
    if problems:  # one of these may be it
        raise NetworkError(f"there is no network {name}, and not every list can be read: {problems[0]}")
    names = f"there are {', '.join(sorted(each.name for each in known))[:400]}; " if known else ""
    hint = f"{names}runjail network create {name} makes it, --network host goes without"
    raise NetworkError(f"there is no network {name} in {' or '.join(directories)}", hint)


def parse(path: str) -> NetworkList:
    """Return what one file says. Raises InvalidConfig with everything that is wrong in it."""
    try:
        document = jsonio.loads(read(path, LARGEST))
    except UnreadableFile as error:
        raise InvalidConfig([error.why], path) from None
    except ValueError as error:
        raise InvalidConfig([f"is no JSON: {error}"], path) from None
    if not isinstance(document, dict):
        raise InvalidConfig(["must be an object"], path)
    problems: list[str] = []
    found = understood(document, path, problems)
    if problems:
        raise InvalidConfig(problems, path)
    return found


def understood(document: dict[str, Any], path: str, problems: list[str]) -> NetworkList:
    """Return what a document says, and add what is wrong with it to problems."""
    name, listed = document.get("name"), document.get("plugins")
    if "plugins" not in document and "type" in document:  # one configuration alone, of before there were lists
        listed = [document]
    if not is_name(name):
        problems.append("name: must begin with a letter or digit, and have only these and _ . -")
    if not isinstance(listed, list) or not listed:
        problems.append("plugins: must be a list of at least one")
        listed = []
    for index, plugin in enumerate(listed):
        problems += _problems_of(plugin, f"plugins[{index}]")
    checks = document.get("disableCheck") not in (True, "true")
    return NetworkList(str(name), _version(document, problems), tuple(listed), checks, path, document)


def _version(document: dict[str, Any], problems: list[str]) -> str:
    """Return the latest version that the list has and we know: one of cniVersions (1.1) or cniVersion."""
    several, one = document.get("cniVersions"), document.get("cniVersion")
    known = [version for version in VERSIONS if version == one or (isinstance(several, list) and version in several)]
    if not known:
        problems.append(f"cniVersion: must be one of {', '.join(VERSIONS)}, not {jsonio.dumps(one)[:40]}")
    return known[-1] if known else ""


def _problems_of(plugin: object, place: str) -> Iterator[str]:
    if not isinstance(plugin, dict):
        yield f"{place}: must be an object"
        return
    kind = plugin.get("type")
    if not isinstance(kind, str) or kind in ("", ".", "..") or "/" in kind or not kind.isprintable():
        yield f"{place}.type: must be the name of a file in the plugin directory"
    if not isinstance(plugin.get("capabilities", {}), dict | None):
        yield f"{place}.capabilities: must be an object"
