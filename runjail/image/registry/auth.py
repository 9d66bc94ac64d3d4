"""Authorization of requests: Basic, and Bearer tokens of a token server.

See distribution's token and OAuth2 pages. `Authenticator.flow` is a generator without I/O: it yields requests and is
sent what came of them. Whoever runs it sends them, follows their redirects, and takes the answer to the last one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from runjail import jsonio
from runjail.errors import RegistryError
from runjail.image.registry import challenge as challenges
from runjail.image.registry import urls
from runjail.image.registry.challenge import Challenge
from runjail.image.registry.connections import Request
from runjail.image.registry.credentials import Credentials
from runjail.image.registry.error_body import describe
from runjail.image.registry.urls import Url

Scopes = tuple[str, ...]  # e.g. ("repository:library/web:pull",)

CLIENT = "runjail"  # client_id of OAuth2
SHORTEST = 60  # seconds that a token lives when its server does not say, or says less
MARGIN = 0.1  # of a token's life in which it is not used any more
LONGEST_TOKEN = 64 << 10
ROUNDS = 2  # answers to challenges per request: one, and one more when its scope was too small


@dataclass(frozen=True)
class Reply:
    """What came of a request. body: read only for requests to token servers.

    challenges: WWW-Authenticate headers of the registry itself, never those of a host that it redirected to: what they
    name would be told our secrets (CVE-2020-15157).
    """

    status: int
    challenges: tuple[str, ...] = ()
    body: bytes = b""


class Authenticator:
    """Authorization at one server. find: credentials of that server, asked once they are needed.

    trusts: whether secrets may go to the URL of a token server, which is often another host. clock: seconds, monotonic.
    """

    def __init__(
        self,
        find: Callable[[], Credentials | None],
        trusts: Callable[[Url], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find, self._trusts, self._clock = find, trusts, clock
        self._basic = ""
        self._tokens: dict[Scopes, tuple[str, float]] = {}

    def flow(self, request: Request, scopes: Scopes) -> Generator[Request, Reply, None]:
        """Yield the request with what is known, then what its challenges ask for, then the request again.

        Raises RegistryError when the token server refuses, or may not be told secrets.
        """
        sent = self._known(scopes)
        reply = yield request.with_header("Authorization", sent)
        for _ in range(ROUNDS):
            demand = _choose(reply)
            if demand is None:
                return
            if demand.scheme == "basic":
                credentials = self._find()
                self._basic = credentials.basic if credentials and not credentials.registry_token else ""
                if not self._basic or self._basic == sent:
                    return
                sent = self._basic
            else:
                sent = yield from self._token(demand, scopes)
            reply = yield request.with_header("Authorization", sent)

    def _known(self, scopes: Scopes) -> str:
        token, expires = self._tokens.get(scopes, ("", 0.0))
        return token if token and self._clock() < expires else self._basic

    def _token(self, demand: Challenge, scopes: Scopes) -> Generator[Request, Reply, str]:
        """Get a token for what we need and what the registry says we need, and remember it for the former."""
        credentials = self._find()
        if credentials and credentials.registry_token:
            return f"Bearer {credentials.registry_token}"
        realm = self._realm(demand)
        wanted = merge(*scopes, *demand.get("scope").split())
        reply = Reply(0)
        asked = self._clock()
        if credentials and credentials.identity_token:
            reply = yield _exchange(realm, demand, wanted, credentials.identity_token)
        if reply.status in (0, 401, 404, 405):  # servers that know no POST answer with any of these
            reply = yield _plain(realm, demand, wanted, credentials)
        token, lifetime = _read_token(realm, reply)
        header = f"Bearer {token}"
        self._tokens[scopes] = header, asked + lifetime * (1 - MARGIN)
        return header

    def _realm(self, demand: Challenge) -> Url:
        """Return where a challenge wants us to ask for a token. Raises RegistryError where we do not."""
        named = demand.get("realm")
        try:
            realm = urls.parse(named)
        except ValueError as error:
            raise RegistryError(f"token server {named[:200]}: refused, {error}") from None
        if not self._trusts(realm):
            why = "it is neither https nor as close as its registry"
            raise RegistryError(f"token server {realm.bare[:200]}: refused, {why}")
        return realm


def merge(*scopes: str) -> list[str]:
    """Return one scope for each resource, with all its actions in their order."""
    found: dict[str, list[str]] = {}
    for scope in scopes:
        resource, _, actions = scope.rpartition(":")
        known = found.setdefault(resource, [])
        known += [action for action in actions.split(",") if action not in known]
    return [f"{resource}:{','.join(actions)}" for resource, actions in found.items()]


def _choose(reply: Reply) -> Challenge | None:
    """Return the challenge to answer: Bearer before Basic. A 403 is one only for want of scope (RFC 6750, 3.1)."""
    if reply.status not in (401, 403):
        return None
    known = [each for each in challenges.parse(reply.challenges) if each.scheme in ("bearer", "basic")]
    if reply.status == 403:
        known = [each for each in known if each.get("error") == "insufficient_scope"]
    return next((each for each in known if each.scheme == "bearer" and each.get("realm")), known[0] if known else None)


def _exchange(realm: Url, demand: Challenge, scopes: list[str], token: str) -> Request:
    """Return the request that trades an identity token for an access token (OAuth2, RFC 6749, 6)."""
    form = {"grant_type": "refresh_token", "service": demand.get("service"), "client_id": CLIENT}
    body = urlencode({**form, "scope": " ".join(scopes), "refresh_token": token}).encode()
    return Request("POST", str(realm), {"Content-Type": "application/x-www-form-urlencoded"}, body)


def _plain(realm: Url, demand: Challenge, scopes: list[str], credentials: Credentials | None) -> Request:
    """Return the request for a token by user and password, or anonymously."""
    query = [("service", demand.get("service"))] if demand.get("service") else []
    query += [("scope", scope) for scope in scopes]
    if credentials:
        query += [("account", credentials.username)] if credentials.username else []
    request = Request("GET", str(realm.with_query(urlencode(query))))
    return request.with_header("Authorization", credentials.basic if credentials else "")


def _read_token(realm: Url, reply: Reply) -> tuple[str, float]:
    """Return a token and the seconds it lives. Raises RegistryError."""
    what = f"token server {realm.authority}"
    if reply.status != 200:
        raise RegistryError(f"{what}: {describe(reply.status, reply.body)}", status=reply.status)
    try:
        document: Any = jsonio.loads(reply.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise RegistryError(f"{what}: the answer is not a JSON object")
    token = document.get("token") or document.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or len(token) > LONGEST_TOKEN:
        raise RegistryError(f"{what}: the answer holds no token")
    lifetime = document.get("expires_in")
    return token, max(SHORTEST, lifetime) if isinstance(lifetime, int | float) else SHORTEST
