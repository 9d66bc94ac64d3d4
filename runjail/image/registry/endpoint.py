"""One server of the distribution protocol: scheme, redirects, authorization, retries, refusals."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from runjail import log
from runjail.errors import ImageError, ImageNotFound, RegistryError
from runjail.image.registry import urls
from runjail.image.registry.auth import Authenticator, Reply
from runjail.image.registry.certificates import DOCKER_SERVER
from runjail.image.registry.connections import Answer, Connections, Content, Request
from runjail.image.registry.credentials import Credentials, CredentialStore
from runjail.image.registry.error_body import describe
from runjail.image.registry.proxy import is_loopback
from runjail.image.registry.retry import Retry, Temporary, parse_retry_after
from runjail.image.registry.urls import Url

PASSING = (408, 429, 500, 502, 503, 504)  # statuses that may be gone the next time
REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 10
LARGEST_REPLY = 256 << 10  # bytes of a refusal, or of a token server's answer


@dataclass(frozen=True)
class Call:
    """What is asked of a registry. what: its name for messages, e.g. `web:latest`.

    path: below /v2/REPOSITORY/; a URL that the registry gave; or, with a slash first, path and query on the registry.

    actions: pull, or pull,push, "" for no repository's; sources: repositories that are pulled from as well; accept:
    statuses of success.
    """

    what: str
    method: str
    repository: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Content | None = None
    actions: str = "pull"
    sources: tuple[str, ...] = ()
    accept: tuple[int, ...] = (200,)


class Endpoint:
    """A server, for several threads. host: HOST[:PORT]; repository: its name for the one that calls name, "" for that.

    insecure: certificates are not verified, and plain http will do; for loopback addresses http alone will.
    Raises ImageError for a host that resolvers could take for another one.
    """

    def __init__(
        self,
        host: str,
        connections: Connections,
        keyring: CredentialStore,
        retry: Retry,
        *,
        repository: str = "",
        insecure: bool = False,
    ) -> None:
        self.host, self.retry = host, retry
        self._connections, self._keyring, self._repository, self._insecure = connections, keyring, repository, insecure
        self._authority = DOCKER_SERVER if host == "docker.io" else host
        try:
            self._name = urls.parse(f"https://{self._authority}").host
        except ValueError as error:
            raise ImageError(f"not a registry's host: {host[:200]!r}: {error}") from None
        self._base = "" if insecure or is_loopback(self._name) else f"https://{self._authority}"
        self._reached = False
        self._known: dict[str, Authenticator] = {}
        self._credentials: dict[str, Credentials | None] = {}
        self._lock = threading.Lock()

    # Calls -------------------------------------------------------------------------------------------------------

    def request(self, call: Call) -> Answer:
        """Make a call, again when it fails for reasons that may pass. The answer must be closed.

        Raises RegistryError for a status that is not accepted and for a server that cannot be reached, ImageNotFound
        when what is to be read does not exist.
        """
        return self.retry.run(lambda: self.exchange(call))

    def fetch(self, call: Call, limit: int) -> tuple[Answer, bytes]:
        """Make a call and read its whole body, up to limit bytes."""

        def work() -> tuple[Answer, bytes]:
            answer = self.exchange(call)
            return answer, answer.read(limit)

        return self.retry.run(work)

    def finish(self, call: Call) -> Answer:
        """Make a call whose answer's body does not matter."""
        answer = self.request(call)
        answer.drain()
        return answer

    def exchange(self, call: Call) -> Answer:
        """Make a call once. Raises Temporary for what may pass."""
        try:
            request = Request(call.method, self._url(call), call.headers, call.body)
            answer = self._authorized(request, call) if self._is_ours(request) else self._follow(request)
        except RegistryError as error:
            hint = self._about_credentials(call.repository) if error.status in (401, 403) else error.hint
            known = RegistryError(f"registry {self.host}: {self._named(call)}: {error}", hint, error.status)
            if self._reached and isinstance(error.__cause__, ConnectionRefusedError):
                raise Temporary(known) from None  # it is being started again
            raise known from None
        except Temporary as lost:
            text = f"registry {self.host}: {self._named(call)}: {lost.error}"
            raise Temporary(RegistryError(text, status=lost.error.status), lost.wait, lost.silent) from None
        self._reached = True
        answer.what = f"registry {self.host}: {self._named(call)}"
        if answer.status not in call.accept:
            raise self._refusal(call, answer)
        if answer.header("content-encoding") not in ("", "identity") and not call.path.startswith("blobs/"):
            answer.close()  # of a blob it is a label, e.g. of a layer that is gzip: its digest tells whether it is more
            encoding = answer.header("content-encoding")[:40]
            raise RegistryError(f"{answer.what}: encoded as {encoding!r}, which nobody asked for")
        return answer

    def _called(self, repository: str) -> str:
        return self._repository or repository

    def _named(self, call: Call) -> str:
        """Return what a call is about, by the name that the repository has here."""
        inside = call.what.removeprefix(call.repository)
        return call.what if inside == call.what else self._called(call.repository) + inside

    def _url(self, call: Call) -> str:
        base = self._find_base()
        if call.path.startswith("/"):
            return base + call.path
        if "://" not in call.path:
            return f"{base}/v2/{self._called(call.repository)}/{call.path}"
        url = urls.parse(call.path)
        if not self._trusts(url):
            raise RegistryError(f"sent on to {url.bare[:200]!r}, refused")
        return call.path

    # Authorization and redirects ---------------------------------------------------------------------------------

    def _authorized(self, request: Request, call: Call) -> Answer:
        """Run the authorization's flow and return the answer to its last request."""
        scopes = [f"repository:{self._called(call.repository)}:{call.actions}"] if call.actions else []
        scopes += [f"repository:{name}:pull" for name in call.sources]
        flow = self._authenticator(call.repository).flow(request, tuple(scopes))
        wanted = next(flow)
        while True:
            answer = self._follow(wanted)
            try:
                if wanted.url == request.url:
                    reply = Reply(answer.status, tuple(answer.challenges()) if self._is_ours(answer.request) else ())
                else:  # a token server
                    reply = Reply(answer.status, body=answer.read(LARGEST_REPLY))
                    self._raise_passing(answer, reply.body)
                wanted = flow.send(reply)
            except StopIteration:
                return answer
            except BaseException:
                answer.close()
                raise
            answer.drain()

    def _authenticator(self, repository: str) -> Authenticator:
        with self._lock:
            if repository not in self._known:
                self._known[repository] = Authenticator(lambda: self._find(repository), self._may_ask)
            return self._known[repository]

    def _find(self, repository: str) -> Credentials | None:
        if repository not in self._credentials:
            self._credentials[repository] = self._keyring.find(self.host, self._called(repository))
        return self._credentials[repository]

    def _follow(self, request: Request) -> Answer:
        """Send a request and, when it only reads, follow its redirects; our secrets stay where they belong."""
        for _ in range(MOST_REDIRECTS):
            answer = self._connections.send(request, verify=not self._is_unverified(request.url))
            if answer.status not in REDIRECTS:
                return answer
            answer.drain()
            target = self._redirected(request, answer)
            headers = dict(request.headers)
            if target.origin != urls.parse(request.url).origin:
                headers.pop("Authorization", None)
            request = Request(request.method, str(target), headers)
        raise RegistryError(f"more than {MOST_REDIRECTS} redirects")

    def _redirected(self, request: Request, answer: Answer) -> Url:
        """Return where an answer sends us. Raises RegistryError where we do not go."""
        location = answer.header("location")
        try:
            target = answer.join(location)
        except ValueError as error:
            raise RegistryError(f"redirected to {_bare(location)}, refused: {error}", status=answer.status) from None
        if request.method not in ("GET", "HEAD") or not self._trusts(target):
            raise RegistryError(f"redirected to {target.bare[:200]!r}, refused", status=answer.status)
        return target

    def _is_ours(self, request: Request) -> bool:
        """Whether a request goes to the registry itself: scheme, host and port."""
        return urls.parse(request.url).origin == urls.parse(self._find_base()).origin

    def _trusts(self, url: Url) -> bool:
        """Whether we go on at a URL: https, or as close to us as the registry is."""
        near = (is_loopback(url.host) and is_loopback(self._name)) or (self._insecure and url.host == self._name)
        return url.scheme == "https" or near

    def _may_ask(self, realm: Url) -> bool:
        """Whether a token server may be told secrets of the registry: they never travel less safely than to itself."""
        return self._trusts(realm) and realm.scheme in ("https", urls.parse(self._find_base()).scheme)

    def _is_unverified(self, url: str) -> bool:
        return self._insecure and urls.parse(url).host == self._name

    # Scheme ------------------------------------------------------------------------------------------------------

    def _find_base(self) -> str:
        """Return scheme and host, found out once."""
        with self._lock:
            if not self._base:
                self._base = self._probe()
            return self._base

    def _probe(self) -> str:
        """Try https and then http; a certificate that is not right does not lead to http."""
        failure: Exception = RegistryError("unreachable")
        for scheme in ("https", "http"):
            base = f"{scheme}://{self._authority}"
            try:
                request = Request("GET", f"{base}/v2/")
                answer = self._first(request)
            except (RegistryError, Temporary) as error:
                if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                    raise
                failure = error
                if scheme == "https" and isinstance(error, Temporary) and error.silent:
                    log.warning(f"registry {self.host}: {error}: trying plain http")
                continue
            answer.drain()
            if scheme == "http" and answer.status == 400:  # what speaks TLS says so to plain requests: the first failed
                break
            self._report_progress(scheme)
            return base
        raise failure

    def _first(self, request: Request) -> Answer:
        """Send the first request. A registry on this machine seldom has TLS; one that has it is asked again."""
        if self._insecure or not is_loopback(self._name):
            return self._connections.send(request, verify=not self._insecure)
        try:
            return self._connections.send(request, authorities=False)
        except (RegistryError, Temporary) as error:
            if not isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise
        return self._connections.send(request)

    def _report_progress(self, scheme: str) -> None:
        how = "plain http" if scheme == "http" else "its certificate is not verified"
        if not is_loopback(self._name):
            log.warning(f"registry {self.host}: {how}, as asked for")
        elif scheme == "http":
            log.debug(f"registry {self.host}: {how}, it is this machine")

    # Refusals ----------------------------------------------------------------------------------------------------

    def _refusal(self, call: Call, answer: Answer) -> Exception:
        """Return what to raise for a status that is not accepted."""
        try:
            body = answer.read(LARGEST_REPLY)
        except (Temporary, RegistryError):
            body = b""
        try:
            self._raise_passing(answer, body)
        except Temporary as lost:
            text = f"registry {self.host}: {self._named(call)}: {lost.error}"
            return Temporary(RegistryError(text, status=answer.status), lost.wait)
        if answer.status == 404 and call.method == "GET":
            part = call.path.startswith("blobs/")
            hint = "whoever pushed the image has to push it again" if part else None
            return ImageNotFound(f"{self.host}/{self._named(call)}", hint, part=part)
        hint = self._about_credentials(call.repository) if answer.status in (401, 403) else None
        return RegistryError(
            f"registry {self.host}: {self._named(call)}: {describe(answer.status, body)}", hint, answer.status
        )

    def _raise_passing(self, answer: Answer, body: bytes) -> None:
        if answer.status in PASSING:
            error = RegistryError(describe(answer.status, body), status=answer.status)
            raise Temporary(error, parse_retry_after(answer.header("retry-after"), time.time()))

    def _about_credentials(self, repository: str) -> str:
        found = self._find(repository)
        if found:
            return f"the credentials are those of {found.origin}"
        return f"there are no credentials for {self.host} in {', '.join(self._keyring.files)}"


def _bare(url: str) -> str:
    """Return what is no URL of ours for messages, without its query."""
    return repr(url.partition("?")[0][:200])
