"""A registry: where its content is read from and written to."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import runjail
from runjail import jsonio, log
from runjail.errors import Corrupt, ImageError, ImageNotFound, RegistryError
from runjail.image.reference import is_host
from runjail.image.registry.connections import Answer, Connections, Timeouts
from runjail.image.registry.credentials import CredentialStore
from runjail.image.registry.endpoint import Call, Endpoint
from runjail.image.registry.places import Place
from runjail.image.registry.retry import Retry

Result = TypeVar("Result")

MIRROR_ATTEMPTS = 2  # behind a mirror there is the registry itself
LARGEST_PAGE = 4 << 20  # bytes of one page of tags
LARGEST_LIST = 64 << 20  # bytes of all pages together, each of which counts as so many more:
PAGE = 64 << 10
_NEXT = re.compile(r'<([^<>]+)>\s*;\s*rel="?next"?')  # RFC 8288, as distribution-spec has it


class Registry:
    """One registry and where it is read, for several threads; it must be closed. host: HOST[:PORT], or docker.io.

    insecure: its certificate is not verified, and plain http will do. mirrors: of the one repository that is read, in
    their order; location: where that is read in the end, if not here. Only reading looks at them. sleep: waits some
    seconds, or raises to give up. Raises ImageError when a host is none.
    """

    def __init__(
        self,
        host: str,
        *,
        insecure: bool = False,
        mirrors: Sequence[Place] = (),
        location: Place | None = None,
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
        self._keys = keyring or CredentialStore(environ=environ)
        self.endpoint = Endpoint(host, self._connections, self._keys, Retry(self._pause), insecure=insecure)
        self._mirrors = [self._at(mirror, Retry(self._pause, MIRROR_ATTEMPTS)) for mirror in mirrors]
        self._last = self._at(location, Retry(self._pause)) if location else self.endpoint

    def _at(self, place: Place, retry: Retry) -> Endpoint:
        repository, insecure = place.repository, place.insecure
        return Endpoint(place.host, self._connections, self._keys, retry, repository=repository, insecure=insecure)

    def _pause(self, seconds: float) -> None:
        if self._sleep:
            self._sleep(seconds)
        else:
            self._connections.closed.wait(seconds)
        self._connections.check_open()

    def places(self) -> tuple[list[Endpoint], Endpoint]:
        """Return the mirrors to read from, in their order, and where everything is in the end."""
        return self._mirrors, self._last

    def pass_over(self, mirror: Endpoint, error: ImageError) -> None:
        """Go on without a mirror after a failure; one that only does not have something is asked again."""
        self._connections.check_open()
        if isinstance(error, ImageNotFound) or mirror not in self._mirrors:
            return
        log.warning(f"mirror of {self.host} passed over: {error}")
        if isinstance(error, RegistryError | Corrupt):
            self._mirrors = [each for each in self._mirrors if each is not mirror]

    def read(self, work: Callable[[Endpoint], Result]) -> Result:
        """Return what work gets from the first mirror that has it or, when all fail, from the registry itself."""
        mirrors, last = self.places()
        for mirror in mirrors:
            try:
                return work(mirror)
            except ImageError as error:
                self.pass_over(mirror, error)
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

    def login(self) -> None:
        """Ask for nothing but to be let in, with what the keyring has. Raises RegistryError, status 401 for no."""
        self.endpoint.finish(Call("login", "GET", "", "/v2/", actions=""))

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
