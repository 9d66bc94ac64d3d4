"""Logins: credentials kept in a file, or by the helper that it names.

The file is podman's, skopeo's and buildah's (containers-auth.json(5)); what else it says stays as it is.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from runjail import files, jsonio, locks
from runjail.errors import ImageError, UnreadableFile, reason
from runjail.image.registry import credentials
from runjail.image.registry.credentials import Credentials, CredentialStore
from runjail.scope import scope

Document = dict[str, Any]


class Given(CredentialStore):
    """A keyring with the one answer that somebody has just given."""

    def __init__(self, found: Credentials) -> None:
        super().__init__(environ={})
        self._found = found

    def find(self, host: str, repository: str) -> Credentials | None:
        """Return it for all hosts: a registry's client asks for its own only."""
        return self._found


class LoginFile:
    """The file to which logins go. authfile: named by an option, "" for $REGISTRY_AUTH_FILE or podman's place."""

    def __init__(self, authfile: str = "", environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        places = CredentialStore(authfile, self._environ).files
        there = [place for place in places if not place.startswith("/run/") or os.path.isdir("/run")]  # not on FreeBSD
        self.path = os.path.realpath(there[0])

    def username(self, key: str) -> str:
        """Return who is logged in, "" for nobody. key: HOST[:PORT][/NAMESPACE]. Raises ImageError."""
        document = self._read()
        if suffix := _helper(document, key):
            found = credentials.ask_helper(suffix, key, self._environ)
            return found[0] if found else ""
        entry = credentials.read_entry(_auths(document).get(key), self.path)
        return entry.username if entry else ""

    def keep(self, key: str, username: str, password: str) -> str:
        """Keep what is known to be right, and return where. Raises ImageError."""
        directory = os.path.dirname(self.path)
        try:
            os.makedirs(directory, 0o700, exist_ok=True)
        except OSError as error:
            raise ImageError(f"cannot make {directory}: {reason(error)}") from error
        if suffix := _helper(self._read(), key):
            secret = {"ServerURL": key, "Username": username, "Secret": password}
            credentials.tell_helper(suffix, "store", jsonio.dumps(secret), self._environ)
            return f"docker-credential-{suffix}"
        auth = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._change(lambda document: document.setdefault("auths", {}).update({key: {"auth": auth}}))
        return self.path

    def drop(self, key: str) -> bool:
        """Take a login out. Returns whether there was one. Raises ImageError."""
        document = self._read()
        if suffix := _helper(document, key):
            if not credentials.ask_helper(suffix, key, self._environ):
                return False
            credentials.tell_helper(suffix, "erase", key, self._environ)
            return True
        if key not in _auths(document):
            return False
        self._change(lambda document: _auths(document).pop(key, None))
        return True

    def drop_all(self) -> None:
        """Take all logins out of the file, those that helpers keep for hosts that it names too. Raises ImageError."""
        document = self._read()
        for key in {*_auths(document), *_table(document, "credHelpers")}:
            self.drop(key)

    def _read(self) -> Document:
        try:
            content = files.read(self.path, credentials.LARGEST)
        except UnreadableFile as error:
            if not os.path.lexists(self.path):
                return {}
            raise ImageError(f"credentials file {error}") from None
        return credentials.parse_content(content, f"credentials file {self.path}") if content.strip() else {}

    def _change(self, change: Callable[[Document], object]) -> None:
        """Change the file as it is by now; another login to it waits."""
        with _alone_in(os.path.dirname(self.path)):
            document = self._read()
            if not isinstance(document.get("auths", {}), dict):
                raise ImageError(f"credentials file {self.path}: auths: not an object")
            change(document)
            content = jsonio.dumps(document, indent=2).encode() + b"\n"
            try:
                files.require_replaceable(self.path)
                files.write_file(self.path, content, 0o600, f"{self.path}.runjail", synced=True)
            except UnreadableFile as error:
                raise ImageError(f"credentials file {error}") from None
            except OSError as error:
                raise ImageError(f"cannot write {self.path}: {reason(error)}") from error


@scope
def _alone_in(directory: str) -> Iterator[None]:
    """Have a directory's lock. Raises ImageError."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ImageError(f"cannot open {directory}: {reason(error)}") from error
    try:
        locks.lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _table(document: Document, name: str) -> Document:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _auths(document: Document) -> Document:
    return _table(document, "auths")


def _helper(document: Document, key: str) -> str:
    """Return the helper to which a file leaves a registry, "" for the file itself."""
    own = _table(document, "credHelpers").get(key) or document.get("credsStore")
    return own if isinstance(own, str) else ""
