"""registries.conf of containers: who is read elsewhere or not at all, and what short names mean.

See containers-registries.conf(5) and containers-registries.conf.d(5). It is read as podman and skopeo read it. What
they pass over, as keys that are not known or prefixes that no name has, is refused: it may be a misspelt `blocked`.
"""

from __future__ import annotations

import os

from runjail import files
from runjail.errors import ImageError, InvalidConfig, reason
from runjail.image.reference import DOCKER, DOCKER_HOSTS, has_host, is_host, is_repository, short_name
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, TypeGuard

LARGEST = 1 << 20  # bytes of a file
NAME = "registries.conf"
OWN = f".config/containers/{NAME}"  # below $HOME
NAMED = "CONTAINERS_REGISTRIES_CONF"  # of the environment
AUTH_FILES = "containers-auth.json"  # among credential helpers: the files that there are without them
MODES, ENFORCING = ("", "enforcing", "permissive", "disabled"), "enforcing"
DIGESTS, TAGS = "digest-only", "tag-only"
# What may be said, and its kind
TOP = {
    "unqualified-search-registries": "hosts",
    "credential-helpers": "texts",
    "short-name-mode": "mode",
    "registry": "tables",
    "aliases": "table",
}
REGISTRY = {
    "prefix": "prefix",
    "location": "location",
    "insecure": "boolean",
    "blocked": "boolean",
    "mirror": "tables",
    "mirror-by-digest-only": "boolean",
}
MIRROR = {"location": "location", "insecure": "boolean", "pull-from-mirror": "pulls"}
PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:")
VERSION_1 = ("search", "insecure", "block")  # tables of `registries`, each with a list of that name
WORDS = {
    "boolean": "must be true or false",
    "texts": "must be a list of texts",
    "hosts": "must be a list of registries, each HOST or HOST:PORT",
    "mode": f"must be {', '.join(MODES[1:-1])} or {MODES[-1]}",
    "pulls": f"must be all, {DIGESTS} or {TAGS}",
    "tables": "must be an array of tables",
    "table": "must be a table",
    "location": "must be HOST[:PORT][/REPOSITORY], without a scheme, tag or digest",
    "prefix": "must be HOST[:PORT][/REPOSITORY] or *.HOST, without a scheme, tag or digest",
}


class Endpoint(Record):
    """Where names are read. location: what stands instead of the prefix, "" for the same; pulls: of which kind."""

    location: str
    insecure: bool = False
    pulls: str = ""


class Table(Record):
    """One [[registry]]. place: of it, with its file, for messages."""

    prefix: str
    itself: Endpoint
    mirrors: tuple[Endpoint, ...]
    blocked: bool
    by_digest_only: bool
    place: str

    def matched(self, name: str) -> int:
        """Return how much of a name, HOST/REPOSITORY, is the prefix, -1 when it is for others."""
        if self.prefix.startswith("*."):
            host = name.partition("/")[0].partition(":")[0]
            return len(host) if host.endswith(self.prefix[1:]) else -1
        end = len(self.prefix)
        return end if name.startswith(self.prefix) and name[end : end + 1] in ("", "/", ":") else -1

    def rewritten(self, endpoint: Endpoint, name: str) -> str:
        """Return what a name is called at one of the places."""
        return endpoint.location + name[self.matched(name) :] if endpoint.location else name


class Registries(Record):
    """What all files say together. search: None where nothing is said; path: of who says it."""

    tables: Mapping[str, Table] = {}
    search: tuple[str, ...] | None = None
    path: str = ""
    aliases: Mapping[str, str] = {}
    mode: str = ""
    helpers: tuple[str, ...] | None = None

    def table(self, name: str) -> Table | None:
        """Return what is said of a name, HOST/REPOSITORY: the longest prefix of it."""
        fits = [each for each in self.tables.values() if each.matched(name) >= 0]
        return max(fits, key=lambda each: len(each.prefix), default=None)

    def updated(self, later: Registries) -> Registries:
        """Return this with what a later file says instead. An alias of "" is none any more."""
        aliases = {name: alias for name, alias in {**self.aliases, **later.aliases}.items() if alias}
        found = self.replace(tables={**self.tables, **later.tables}, aliases=aliases, mode=later.mode or self.mode)
        if later.search is not None:
            found = found.replace(search=later.search, path=later.path)
        return found if later.helpers is None else found.replace(helpers=later.helpers)


def plain_name(name: str) -> str:
    """Return HOST/REPOSITORY as prefixes are compared with it: a host in any other spelling is still blocked."""
    host, slash, rest = name.partition("/")
    host, colon, port = host.lower().rpartition(":") if ":" in host.rpartition("]")[2] else (host.lower(), "", "")
    host = host.rstrip(".")
    return (DOCKER if host in DOCKER_HOSTS else host) + colon + port + slash + rest


# Files ---------------------------------------------------------------------------------------------------------------


def load(environ: Mapping[str, str], system: tuple[str, ...]) -> Registries:
    """Return what registries.conf and its drop-ins say; nothing where there are none. system: directories of systems.

    $CONTAINERS_REGISTRIES_CONF comes first, then the user's own. Drop-ins beside the user's own are always read, those
    beside the system's unless the user has a registries.conf. Raises InvalidConfig, ImageError, UnreadableFile.
    """
    found = Registries()
    for number, path in enumerate(_files(environ, system)):
        found = found.updated(read(path, drop_in=number > 0 or f"{NAME}.d/" in path))
    return found


def _files(environ: Mapping[str, str], system: tuple[str, ...]) -> Iterator[str]:
    home = environ.get("HOME", "")
    own = f"{home}/{OWN}" if home.startswith("/") else ""
    directory = next((each for each in system if _is_there(each)), "")
    beside = f"{directory}/{NAME}" if directory else ""
    if environ.get(NAMED):
        yield environ[NAMED]
    elif own and _is_there(own):
        yield own
        beside = ""
    elif beside and _is_there(beside):
        yield beside
    for path in (beside, own):
        if path:
            yield from _drop_ins(f"{path}.d")


def _is_there(path: str) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ImageError(f"cannot look for {path}, which may block registries: {reason(error)}") from error
    return True


def _drop_ins(directory: str) -> Iterator[str]:
    if _is_there(directory):
        try:
            names = sorted(os.listdir(directory))
        except OSError as error:
            raise ImageError(f"cannot read {directory}, which may block registries: {reason(error)}") from error
        for name in names:
            if name.endswith(".conf") and not os.path.isdir(f"{directory}/{name}"):
                yield f"{directory}/{name}"


def read(path: str, *, drop_in: bool = False) -> Registries:
    """Read one file. drop_in: of registries.conf.d, which has no version 1. Raises UnreadableFile, InvalidConfig."""
    content = files.read(path, LARGEST)
    aliases = _only_aliases(content)
    if aliases is not None:
        return _checked({"aliases": aliases}, path, drop_in=drop_in)
    import tomllib

    try:
        document = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidConfig([str(error)], path) from None
    return _checked(document, path, drop_in=drop_in)


def _only_aliases(content: bytes) -> dict[str, str] | None:
    """Return the aliases of a file that has nothing else but comments, None for others.

    Distributions ship both files so, and importing tomllib takes as long as starting the interpreter.
    """
    found: dict[str, str] = {}
    inside = False
    for line in content.split(b"\n"):
        line = line.strip(b" \t")
        name, equals, alias = (word.strip(b" \t") for word in line.partition(b"="))
        if line == b"[aliases]" and not inside:
            inside = True
        elif inside and equals and _is_quoted(name) and _is_quoted(alias) and name[1:-1].decode() not in found:
            found[name[1:-1].decode()] = alias[1:-1].decode()
        elif line and (line[:1] != b"#" or b"\r" in line):
            return None
    return found


def _is_quoted(text: bytes) -> bool:
    """Whether this is a string of TOML without anything that has a meaning there."""
    return len(text) > 1 and text[:1] == text[-1:] == b'"' and PLAIN.issuperset(text[1:-1])


def _checked(document: dict[str, Any], path: str, *, drop_in: bool) -> Registries:
    problems: list[str] = []
    if "registries" in document:
        found = _version_1(document, path, problems, drop_in=drop_in)
    else:
        found = _parsed(document, path, problems)
    if problems:
        raise InvalidConfig(problems, path)
    return found


# Version 1: lists of registries --------------------------------------------------------------------------------------


def _version_1(document: dict[str, Any], path: str, problems: list[str], *, drop_in: bool) -> Registries:
    lists = document["registries"]
    if drop_in or len(document) > 1 or not isinstance(lists, dict):
        problems.append("registries: is of the format's version 1, which stands alone, and in no drop-in")
        return Registries()
    for name, table in lists.items():
        if name not in VERSION_1:
            problems.append(f"registries.{name}: is not known")
        elif not isinstance(table, dict) or not table.keys() <= {"registries"}:
            problems.append(f"registries.{name}: must be a table with a list `registries`")
    if problems:
        return Registries()
    search, insecure, block = (lists.get(name, {}).get("registries", []) for name in VERSION_1)
    for name, content in zip(VERSION_1, (search, insecure, block), strict=True):
        if not _is_texts(content):
            problems.append(f"registries.{name}.registries: {WORDS['texts']}")
            return Registries()
    tables = [
        {"location": each, "insecure": each in insecure, "blocked": each in block}
        for each in dict.fromkeys([*insecure, *block])
    ]
    newer = {"registry": tables} | ({"unqualified-search-registries": search} if search else {})
    return _parsed(newer, path, problems)


# Version 2 -----------------------------------------------------------------------------------------------------------


def _parsed(document: dict[str, Any], path: str, problems: list[str]) -> Registries:
    _check(document, TOP, "", problems)
    for number, table in enumerate(document.get("registry", []) if not problems else []):
        _check_registry(table, f"registry[{number}]", problems)
    if not problems:
        problems += _alias_problems(document.get("aliases", {}))
    if problems:
        return Registries()
    tables = [_table(each, f"{path}: registry[{number}]") for number, each in enumerate(document.get("registry", []))]
    problems += _conflicts(tables)
    search, helpers = document.get("unqualified-search-registries"), document.get("credential-helpers")
    return Registries(
        {table.prefix: table for table in tables},
        None if search is None else tuple(each.rstrip("/") for each in search),
        path,
        dict(document.get("aliases", {})),
        document.get("short-name-mode", ""),
        None if helpers is None else tuple(helpers),
    )


def _check(table: Mapping[str, Any], known: Mapping[str, str], place: str, problems: list[str]) -> None:
    for key, value in table.items():
        where = f"{place}.{key}" if place else key
        if key not in known:
            problems.append(f"{where}: is not known")
        elif not _is(value, known[key]):
            problems.append(f"{where}: {WORDS[known[key]]}")


def _check_registry(table: dict[str, Any], place: str, problems: list[str]) -> None:
    before = len(problems)
    _check(table, REGISTRY, place, problems)
    if len(problems) > before:
        return
    prefix, location = table.get("prefix", ""), table.get("location", "")
    if not location and not prefix.startswith("*."):
        problems.append(f"{place}.location: is required, unless prefix is *.HOST")
    for number, mirror in enumerate(table.get("mirror", [])):
        where = f"{place}.mirror[{number}]"
        _check(mirror, MIRROR, where, problems)
        if not mirror.get("location"):
            problems.append(f"{where}.location: is required")
        if table.get("mirror-by-digest-only") and mirror.get("pull-from-mirror"):
            problems.append(f"{where}.pull-from-mirror: cannot stand beside {place}.mirror-by-digest-only")


def _alias_problems(aliases: Mapping[str, Any]) -> Iterator[str]:
    for name, alias in aliases.items():
        if short_name(name) != name or not is_repository(name):
            yield f'aliases."{name}": must be a name without host, tag and digest'
        elif alias != "" and not (_is(alias, "location") and "/" in alias):
            yield f'aliases."{name}": must be HOST[:PORT]/REPOSITORY, without tag and digest, or empty'


def _is(value: object, kind: str) -> bool:
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "table":
        return isinstance(value, dict)
    if kind == "tables":
        return isinstance(value, list) and all(isinstance(each, dict) for each in value)
    if kind in ("texts", "hosts"):
        return _is_texts(value) and (kind == "texts" or all(_is_place(each, whole=False) for each in value))
    if not isinstance(value, str):
        return False
    if kind in ("mode", "pulls"):
        return value in (MODES if kind == "mode" else ("", "all", DIGESTS, TAGS))
    return (
        not value
        or _is_place(value)
        or (kind == "prefix" and value.startswith("*.") and ":" not in value and is_host(value[2:]))
    )


def _is_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_place(text: str, *, whole: bool = True) -> bool:
    """Whether this is a host, and if `whole` a repository or what some are in."""
    host, slash, inside = text.rstrip("/").partition("/")
    return is_host(host) and has_host(f"{host}/x") and (not slash or (whole and is_repository(inside)))


def _table(table: Mapping[str, Any], place: str) -> Table:
    location = table.get("location", "").rstrip("/")
    mirrors = [
        Endpoint(each["location"].rstrip("/"), each.get("insecure", False), each.get("pull-from-mirror", ""))
        for each in table.get("mirror", [])
    ]
    return Table(
        plain_name(table.get("prefix", "").rstrip("/") or location),
        Endpoint(location, table.get("insecure", False)),
        tuple(mirrors),
        table.get("blocked", False),
        table.get("mirror-by-digest-only", False),
        place,
    )


def _conflicts(tables: list[Table]) -> Iterator[str]:
    """Yield what tables of one location say differently, as podman refuses it."""
    first: dict[str, Table] = {}
    for table in tables:
        location = table.itself.location or table.prefix
        other = first.setdefault(location, table)
        for key, differs in (
            ("insecure", other.itself.insecure != table.itself.insecure),
            ("blocked", other.blocked != table.blocked),
        ):
            if differs:
                place, before = (each.place.rpartition(": ")[2] for each in (table, other))
                yield f"{place}.{key}: is something else in {before}, which has the same location"
