"""A registry: where its content is read from and written to."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import runjail
from runjail import jsonio, log
from runjail.errors import Corrupt, ImageError, ImageNotFound, RegistryError
from runjail.image.reference import is_host, is_repository
from runjail.image.registry.connections import Answer, Connections, Timeouts
from runjail.image.registry.credentials import CredentialStore
from runjail.image.registry.endpoint import Call, Endpoint
from runjail.image.registry.retry import Retry

Result = TypeVar("Result")

MIRROR_ATTEMPTS = 2  # behind a mirror there is the registry itself
LARGEST_PAGE = 4 << 20  # bytes of one page of tags
LARGEST_LIST = 64 << 20  # bytes of all pages together, each of which counts as so many more:
PAGE = 64 << 10
_NEXT = re.compile(r'<([^<>]+)>\s*;\s*rel="?next"?')  # RFC 8288, as distribution-spec has it


class Registry:
    """One registry and its mirror, for several threads; it must be closed. host: HOST[:PORT], or docker.io.

    insecure: its certificate is not verified, and plain http will do. mirror: [http://]HOST[:PORT][/PREFIX], asked
    first when reading; with http:// it is insecure in the same way. sleep: waits some seconds, or raises to give up.
    Raises ImageError when host or mirror is none.
    """

    def __init__(
        self,
        host: str,
        *,
        insecure: bool = False,
        mirror: str = "",
        keyring: CredentialStore | None = None,
        user_agent: str = f"runjail/{runjail.__version__}",
        timeouts: Timeouts | None = None,
        sleep: Callable[[float], None] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        if not is_host(host):
            raise ImageError(f"not a registry's host: {host[:200]!r}")
        self.host, self._sleep = host, sleep
        self._connections = Connections(user_agent, timeouts or Timeouts(), environ)
        keys, retry = keyring or CredentialStore(environ=environ), Retry(self._pause)
        self.endpoint = Endpoint(host, self._connections, keys, retry, insecure=insecure)
        self._mirror = self._find_mirror(mirror, keys) if mirror else None

    def _find_mirror(self, mirror: str, keys: CredentialStore) -> Endpoint:
        scheme, _, place = mirror.rpartition("://")
        host, _, prefix = place.strip("/").partition("/")
        known = scheme in ("", "http", "https") and is_host(host)
        if not known or (prefix and not is_repository(prefix)):
            raise ImageError(f"not a registry's mirror: {mirror[:200]!r}")
        retry, prefix = Retry(self._pause, MIRROR_ATTEMPTS), prefix and f"{prefix}/"
        return Endpoint(host, self._connections, keys, retry, prefix=prefix, insecure=scheme == "http")

    def _pause(self, seconds: float) -> None:
        if self._sleep:
            self._sleep(seconds)
        else:
            self._connections.closed.wait(seconds)
        self._connections.check_open()

    def places(self) -> list[Endpoint]:
        """Return the servers to read from, in their order."""
        return [self._mirror, self.endpoint] if self._mirror else [self.endpoint]

    def pass_over(self, error: ImageError) -> None:
        """Go on without the mirror after a failure; one that only does not have something is asked again."""
        self._connections.check_open()
        if isinstance(error, ImageNotFound) or not self._mirror:
            return
        log.warning(f"mirror of {self.host} passed over: {error}")
        if isinstance(error, RegistryError | Corrupt):
            self._mirror = None

    def read(self, work: Callable[[Endpoint], Result]) -> Result:
        """Return what work gets from the mirror or, when that fails, from the registry itself."""
        *mirrors, last = self.places()
        for endpoint in mirrors:
            try:
                return work(endpoint)
            except ImageError as error:
                self.pass_over(error)
        return work(last)

    def tags(self, repository: str) -> list[str]:
        """Return all tags of a repository, in the registry's order. Raises RegistryError, ImageNotFound."""
        what, path = f"{repository}, its tags", "tags/list"
        found: list[str] = []
        seen: set[str] = set()
        left = LARGEST_LIST
        while path not in seen and left > 0:
            seen.add(path)
            answer, body = self.endpoint.fetch(Call(what, "GET", repository, path), LARGEST_PAGE)
            found += _parse_tags(body, f"registry {self.host}: {what}")
            following = _NEXT.search(answer.header("link"))
            if not following:
                return found
            path, left = self._next_page(answer, following[1], what), left - len(body) - PAGE
        raise RegistryError(f"registry {self.host}: {what}: its pages have no end")

    def _next_page(self, answer: Answer, link: str, what: str) -> str:
        """Return the path and query of a further page. As in skopeo, the host that a link names does not matter."""
        try:
            return answer.join(link).target
        except ValueError as error:
            raise RegistryError(f"registry {self.host}: {what}: a next page that can not be asked: {error}") from None

    def delete_manifest(self, repository: str, reference: str) -> None:
        """Delete a manifest by its digest, or a tag where the registry allows it. Raises RegistryError."""
        call = Call(f"delete {reference}", "DELETE", repository, f"manifests/{reference}", actions="pull,push,delete")
        self.endpoint.finish(replace(call, accept=(200, 202)))

    def close(self) -> None:
        """Close connections; whoever still waits or reads gives up."""
        self._connections.close()


def _parse_tags(body: bytes, what: str) -> list[str]:
    try:
        tags = jsonio.loads(body).get("tags") or []
        if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags):
            return tags
    except (ValueError, RecursionError, AttributeError):
        pass
    raise RegistryError(f"{what}: the answer is not a list of tags")
