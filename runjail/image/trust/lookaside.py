"""Where signatures of simple signing are kept: a place for each registry, which registries.d names.

See containers-registries.d(5). Of that directory only `lookaside` and its older name `sigstore` count.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import runjail
from runjail.errors import ImageError, RegistryError, UnreadableFile, reason
from runjail.files import read as read_file
from runjail.image import digest as digests
from runjail.image.registry.connections import Connections, Request, Timeouts
from runjail.image.registry.retry import Retry
from runjail.image.trust.origin import Origin, repository
from runjail.image.trust.records import GPG, Signature

LARGEST = 4 << 20  # bytes of a file of registries.d, or of all signatures of one manifest
MOST = 100  # signatures of one manifest
OWN = ".config/containers/registries.d"  # below $HOME
SYSTEM = "/var/lib/containers/sigstore"  # where podman has root's, if nobody says another place
HOME = ".local/share/containers/sigstore"  # and others', below $HOME
NAMES = ("lookaside", "sigstore")


def fetch(
    origin: Origin, digest: str, directories: tuple[str, ...], *, ordinary: bool = False
) -> tuple[Signature, ...]:
    """Return the signatures of a registry's manifest. directories: where registries.d may be, the first counts.

    ordinary: for a user who is not root, except of a user namespace that we have made.
    Raises ImageError: what is there and cannot be read, is no configuration, or a server that fails.
    """
    host, _slash, path = repository(origin.identity).partition("/")
    base = _base(origin, next(filter(os.path.isdir, directories), ""), ordinary=ordinary)
    where = f"{base.rstrip('/')}/{path}@{'='.join(digests.parse(digest))}"
    with closing(_reader(base, f"signatures of {host}")) as read:
        return _numbered(read, where)


def _numbered(read: Callable[[str], bytes | None], where: str) -> tuple[Signature, ...]:
    """Return the signatures of a place, from the first up to the one that is not there. Raises ImageError."""
    found: list[Signature] = []
    left = LARGEST
    for number in range(1, MOST + 1):
        content = read(f"{where}/signature-{number}")
        if content is None:
            return tuple(found)
        left -= len(content)
        if left < 0:
            raise ImageError(f"{where}: signatures of more than {LARGEST >> 20} MiB together")
        found.append(Signature(GPG, base64.b64encode(content).decode()))
    raise ImageError(f"{where}: more than {MOST} signatures")


def places(home: str, policies: tuple[str, ...]) -> tuple[str, ...]:
    """Return where registries.d may be: the user's own, then beside the system's policy.json."""
    return (*([f"{home}/{OWN}"] if home else []), *(f"{os.path.dirname(path)}/registries.d" for path in policies))


def _base(origin: Origin, directory: str, *, ordinary: bool) -> str:
    """Return the URL below which an image's signatures are."""
    docker, default = _configured(directory) if directory else ({}, {})
    for scope in origin.scopes():
        if found := _named(docker.get(scope, {})):
            return found
    own = f"{os.environ.get('HOME', '')}/{HOME}"
    return _named(default) or f"file://{own if ordinary or os.geteuid() else SYSTEM}"


def _named(entry: Mapping[str, Any]) -> str:
    return next((str(entry[name]) for name in NAMES if entry.get(name)), "")


def _configured(directory: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return `docker` and `default-docker` of all files of a directory. Raises ImageError."""
    docker: dict[str, Any] = {}
    default: dict[str, Any] = {}
    for path, document in _documents(directory):
        entries, whole = document.get("docker") or {}, document.get("default-docker") or {}
        if not isinstance(entries, dict) or not all(isinstance(each, dict) for each in (whole, *entries.values())):
            raise ImageError(f"{path}: docker and default-docker must be mappings")
        if (whole and default) or docker.keys() & entries.keys():
            raise ImageError(f"{path}: says again what another file of the directory says")
        docker |= entries
        default = default or whole
    return docker, default


def _documents(directory: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".yaml"))
    except OSError as error:
        raise ImageError(f"cannot read {directory}: {reason(error)}") from error
    for path in (f"{directory}/{name}" for name in names):
        try:
            import yaml
        except ImportError:
            raise ImageError(f"{path} is YAML", "install the port devel/py-pyyaml, or: pip install PyYAML") from None
        try:
            document = yaml.safe_load(read_file(path, LARGEST)) or {}
        except UnreadableFile as error:
            raise ImageError(str(error)) from None
        except (yaml.YAMLError, ValueError, RecursionError):
            raise ImageError(f"{path}: not YAML") from None
        if not isinstance(document, dict):
            raise ImageError(f"{path}: must be a mapping")
        yield path, document


# Reading: None is "not there", anything else that is not content an error ------------------------------------------


class _Files:
    """A directory."""

    def __call__(self, url: str) -> bytes | None:
        path = url.removeprefix("file://")
        try:
            return read_file(path, LARGEST)
        except UnreadableFile as error:
            if error.why == "is missing":
                return None
            raise ImageError(f"a signature cannot be read: {error}") from None

    def close(self) -> None:
        """Nothing is held open."""


class _Server:
    """A web server."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._connections = Connections(f"runjail/{runjail.__version__}", Timeouts(), os.environ)

    def __call__(self, url: str) -> bytes | None:
        return Retry(time.sleep).run(lambda: self._ask(url))

    def _ask(self, url: str) -> bytes | None:
        answer = self._connections.send(Request("GET", url))
        try:
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise RegistryError(f"{self._what}: {url[:200]}: status {answer.status}", status=answer.status)
            return answer.read(LARGEST)
        finally:
            answer.close()

    def close(self) -> None:
        """Close connections, and end the thread that watches them: a container is forked after this."""
        self._connections.close()


def _reader(base: str, what: str) -> _Files | _Server:
    if base.startswith("file:///"):
        return _Files()
    if base.startswith(("https://", "http://")):
        return _Server(what)
    raise ImageError(f"{what}: not a place that signatures can be read from: {base[:200]!r}")
