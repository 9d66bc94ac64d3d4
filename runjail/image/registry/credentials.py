"""Who we are to a registry: the files and helpers of docker and of podman, skopeo and buildah.

The first file that knows a registry wins, and in it the most specific key: `host/name/space` before `host`
(containers-auth.json(5)). Docker's own registry goes by several names. Secrets are never in a text that we write.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from runjail import files, jsonio, log
from runjail.errors import HostError, ImageError, UnreadableFile, reason
from runjail.host import programs
from runjail.image.reference import DOCKER, DOCKER_HOSTS
from runjail.image.registry.registries_conf import AUTH_FILES

# Given a helper's suffix, a server and the environment: (user, secret), or None when it knows none.
Helper = Callable[[str, str, Mapping[str, str]], "tuple[str, str] | None"]

LARGEST = 1 << 20  # bytes of a file
HUB = "https://index.docker.io/v1/"  # under which docker login files its own registry
ALIASES = {DOCKER: (DOCKER, *DOCKER_HOSTS)}
TOKEN_USER = "<token>"  # a helper's user name when its secret is an identity token
HELPER_TIME = 30.0  # seconds


@dataclass(frozen=True)
class Credentials:
    """One way to prove who we are. identity_token: traded for others at the token server; registry_token: as it is.

    origin: the file or helper they come from, for messages.
    """

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    origin: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.username!r} from {self.origin!r})"

    @property
    def basic(self) -> str:
        """The value of a Basic Authorization header (RFC 7617)."""
        secret = f"{self.username or TOKEN_USER}:{self.password or self.identity_token}"
        return "Basic " + base64.b64encode(secret.encode()).decode()


def ask_helper(suffix: str, server: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Ask `docker-credential-SUFFIX get` for a server's (user, secret); None when it knows none or fails.

    It runs with the user's environment: where helpers keep their keys is told to them there. A failure only warns,
    because what was asked for may be public.
    """
    name, path = f"docker-credential-{suffix}", _helper_path(suffix, environ)
    if not path:
        log.warning(f"credential helper {name}: not found in PATH")
        return None
    try:
        result = programs.run(
            [path, "get"], env=environ, input=f"{server}\n".encode(), timeout=HELPER_TIME, foreign=True
        )
        answer = jsonio.loads(result.stdout) if result.status == 0 and not result.timed_out else None
    except OSError as error:
        log.warning(f"credential helper {name}: cannot be run: {reason(error)}")
        return None
    except (HostError, ValueError, RecursionError):  # its output may be a secret
        log.warning(f"credential helper {name}: no answer that can be read")
        return None
    if answer is None and b"not found" not in result.stdout:
        log.warning(f"credential helper {name} returned {result.status} for {server}")
    if not isinstance(answer, dict) or not answer.get("Secret"):
        return None
    return str(answer.get("Username") or ""), str(answer["Secret"])


def _helper_path(suffix: str, environ: Mapping[str, str]) -> str:
    """Return where a helper is in the user's PATH, "" for nowhere."""
    directories = (environ.get("PATH") or programs.ENVIRONMENT["PATH"]).split(":")
    paths = (os.path.join(each, f"docker-credential-{suffix}") for each in directories if os.path.isabs(each))
    return next((path for path in paths if os.access(path, os.X_OK)), "") if "/" not in suffix else ""


def tell_helper(suffix: str, verb: str, text: str, environ: Mapping[str, str]) -> None:
    """Have `docker-credential-SUFFIX` store or erase. text: its input. Raises ImageError, without what it wrote."""
    name, path = f"docker-credential-{suffix}", _helper_path(suffix, environ)
    if not path:
        raise ImageError(f"credential helper {name}: not found in PATH")
    try:
        result = programs.run([path, verb], env=environ, input=text.encode(), timeout=HELPER_TIME, foreign=True)
    except OSError as error:
        raise ImageError(f"credential helper {name}: cannot be run: {reason(error)}") from error
    except HostError:
        raise ImageError(f"credential helper {name}: {verb}: no answer") from None
    if result.status or result.timed_out:
        raise ImageError(f"credential helper {name}: {verb}: returned {result.status}")


def check(path: str) -> None:
    """Raise ImageError for a file with credentials that was named and cannot be read, or says nothing."""
    parse_content(_content(path, needed=True) or b"", f"credentials file {path}")


class CredentialStore:
    """All places where credentials may be, in their order. authfile: the only file to look at, when it is given.

    helpers: of registries.conf, for all hosts: AUTH_FILES stands for the files among them.
    """

    def __init__(
        self,
        authfile: str = "",
        environ: Mapping[str, str] | None = None,
        helper: Helper = ask_helper,
        helpers: tuple[str, ...] | None = None,
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._helper, self._helpers = helper, (AUTH_FILES,) if helpers is None else helpers
        self._only = authfile or self._environ.get("REGISTRY_AUTH_FILE") or ""
        self._inline = "" if self._only else self._environ.get("DOCKER_AUTH_CONFIG") or ""

    @property
    def files(self) -> list[str]:
        """The files that are looked at, present or not."""
        return [self._only] if self._only else list(_default_files(self._environ))

    def find(self, host: str, repository: str) -> Credentials | None:
        """Return the credentials for a repository at a host, None when no place knows any.

        Raises ImageError for a file that cannot be read.
        """
        candidates = _candidates(host, repository)
        places = (self._in_files if name == AUTH_FILES else partial(self._ask, name) for name in self._helpers)
        return next((found for place in places if (found := place(candidates))), None)

    def _in_files(self, candidates: list[str]) -> Credentials | None:
        documents = self._documents()
        return next((found for origin, each in documents if (found := self._look(each, candidates, origin))), None)

    def _documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        if self._inline:
            yield "DOCKER_AUTH_CONFIG", parse_content(self._inline.encode(), "DOCKER_AUTH_CONFIG")
        for path in self.files:
            content = _content(path, needed=path == self._only)
            if content is not None:
                document = parse_content(content, f"credentials file {path}")
                yield path, {"auths": document} if os.path.basename(path) == ".dockercfg" else document

    def _look(self, document: dict[str, Any], candidates: list[str], origin: str) -> Credentials | None:
        """Look into one document: a helper of its own for this host, its entries, then the helper for all hosts."""
        own = _table(document, "credHelpers")
        suffix = next((own[name] for name in candidates if isinstance(own.get(name), str)), None)
        if suffix:
            return self._ask(suffix, candidates)
        store = document.get("credsStore")
        if isinstance(store, str) and store and (found := self._ask(store, candidates)):
            return found
        entries = {_normal(key): entry for key, entry in _table(document, "auths").items()}
        entries |= _table(document, "auths")  # a key that is written as we ask for it comes first
        for name in candidates:
            if (entry := entries.get(name)) and (found := read_entry(entry, origin)):
                return found
        return None

    def _ask(self, suffix: str, candidates: list[str]) -> Credentials | None:
        host = candidates[-1]
        servers = (HUB, DOCKER) if host in ALIASES[DOCKER] else (host,)
        for server in servers:
            if answer := self._helper(suffix, server, self._environ):
                user, secret = answer
                origin = f"docker-credential-{suffix}"
                return (
                    Credentials(identity_token=secret, origin=origin)
                    if user == TOKEN_USER
                    else Credentials(user, secret, origin=origin)
                )
        return None


def _default_files(environ: Mapping[str, str]) -> Iterator[str]:
    home = environ.get("HOME") or os.path.expanduser("~")
    running = environ.get("XDG_RUNTIME_DIR")
    yield f"{running}/containers/auth.json" if running else f"/run/containers/{os.getuid()}/auth.json"
    yield (environ.get("XDG_CONFIG_HOME") or f"{home}/.config") + "/containers/auth.json"
    yield (environ.get("DOCKER_CONFIG") or f"{home}/.docker") + "/config.json"
    yield f"{home}/.dockercfg"


def _content(path: str, *, needed: bool) -> bytes | None:
    try:
        return files.read(path, LARGEST)
    except UnreadableFile as error:
        if not needed and (error.errno in (errno.ENOENT, errno.ENOTDIR) or _closed(path)):
            return None
        raise ImageError(f"credentials file {error}") from None


def _closed(path: str) -> bool:
    """Whether the caller may not even look there: /run/containers is root's alone where root's podman made it."""
    try:
        os.lstat(path)
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def parse_content(content: bytes, what: str) -> dict[str, Any]:
    """Parse a document, without a word of it in the error."""
    try:
        document = jsonio.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ImageError(f"{what}: not a JSON object")
    return document


def _table(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _candidates(host: str, repository: str) -> list[str]:
    """Return the keys that fit, the most specific first: host/a/b, host/a, host."""
    names = next((names for names in ALIASES.values() if host in names), (host,))
    parts = repository.split("/") if repository else []
    paths = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return [f"{name}/{path}" for path in paths for name in names] + [*names[1:], names[0]]


def _normal(key: str) -> str:
    """Return the key without what docker puts around a host: a scheme, and the API's version."""
    scheme, _, rest = key.rpartition("://")
    host, _, path = rest.strip("/").partition("/")
    return host if scheme or path in ("v1", "v2") else rest.strip("/")


def read_entry(entry: object, origin: str) -> Credentials | None:
    """Return what an entry of `auths` holds; None for an empty one, which docker leaves behind beside its stores."""
    if not isinstance(entry, dict):
        return None
    texts = {key: value for key, value in entry.items() if isinstance(value, str)}
    user, password = texts.get("username", ""), texts.get("password", "")
    if texts.get("auth"):
        try:
            user, _, password = base64.b64decode(texts["auth"]).decode().partition(":")
        except (binascii.Error, ValueError):
            raise ImageError(f"{origin}: an entry's auth is not base64 of USER:PASSWORD") from None
    found = Credentials(
        user, password.rstrip("\0"), texts.get("identitytoken", ""), texts.get("registrytoken", ""), origin
    )
    return found if found.password or found.identity_token or found.registry_token else None
