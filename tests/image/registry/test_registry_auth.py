"""Challenges and tokens: the flow alone, without any server, and against one."""

import base64
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail.errors import RegistryError
from runjail.image.registry import challenge
from runjail.image.registry.auth import Authenticator, Reply, merge
from runjail.image.registry.challenge import Challenge
from runjail.image.registry.connections import Request
from runjail.image.registry.credentials import Credentials
from tests.support.image.registry_client import ALICE

pytestmark = pytest.mark.needs("loopback")

REALM = "https://tokens.test/token"
BEARER = f'Bearer realm="{REALM}",service="shelf",scope="repository:web:pull"'
PULL = ("repository:web:pull",)
GET = Request("GET", "https://registry.test/v2/web/manifests/v1")


# Challenges -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([BEARER], [("bearer", {"realm": REALM, "service": "shelf", "scope": "repository:web:pull"})]),
        (['Basic realm="a, b"'], [("basic", {"realm": "a, b"})]),
        (['BASIC Realm=x, Bearer realm="y"'], [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})]),
        (["Basic", BEARER.partition(",")[0]], [("basic", {}), ("bearer", {"realm": REALM})]),
        ([r'Basic realm="say \"hi\" \\"'], [("basic", {"realm": 'say "hi" \\'})]),
        (["Bearer realm=https://t.test/a?b,service=x"], [("bearer", {"realm": "https://t.test/a?b", "service": "x"})]),
        (['Bearer realm = "y" , scope="a,b c"'], [("bearer", {"realm": "y", "scope": "a,b c"})]),
        (['Bearer realm="one",realm="two"'], [("bearer", {"realm": "one"})]),
        (["", ",,,", "= ="], []),
        (['realm="nobody\'s"'], []),
    ],
)
def test_challenges(headers: list[str], found: list[tuple[str, dict[str, str]]]) -> None:
    assert challenge.parse(headers) == [Challenge(scheme, parameters) for scheme, parameters in found]


def test_challenge_after_one_of_another_kind() -> None:
    """The base64 of schemes we do not know does not hide what follows."""
    assert Challenge("bearer", {"realm": "y"}) in challenge.parse(['Negotiate abc/def==, Bearer realm="y"'])


@given(st.text())
def test_any_challenge(header: str) -> None:
    """No header makes it fail."""
    challenge.parse([header])


# The flow ---------------------------------------------------------------------------------------------------------


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def make(credentials: Credentials | None = None, clock: Clock | None = None) -> Authenticator:
    return Authenticator(lambda: credentials, lambda url: url.scheme == "https", clock or Clock())


def converse(auth: Authenticator, *replies: Reply, scopes: tuple[str, ...] = PULL) -> list[Request]:
    """Run a flow against these replies, all of which it has to take, and return its requests."""
    flow = auth.flow(GET, scopes)
    asked = [next(flow)]
    for number, reply in enumerate(replies):
        try:
            asked.append(flow.send(reply))
        except StopIteration:
            assert number == len(replies) - 1
            return asked
    raise AssertionError(f"it goes on with {asked[-1]}")


def token(text: str = "t1", **more: Any) -> Reply:
    return Reply(200, body=json.dumps({"token": text, **more}).encode())


def authorization(request: Request) -> str:
    return request.headers.get("Authorization", "")


DEMAND, OK = Reply(401, (BEARER,)), Reply(200)


def test_open_registry() -> None:
    """Nothing is sent that was not asked for, credentials or not."""
    assert converse(make(ALICE), OK) == [GET]


def test_anonymous_token() -> None:
    """service and scope go to the realm; the token comes with the request."""
    asked = converse(make(), DEMAND, token(), OK)

    assert asked[0] == GET
    assert asked[1] == Request("GET", f"{REALM}?service=shelf&scope=repository%3Aweb%3Apull")
    assert authorization(asked[2]) == "Bearer t1"


def test_token_with_credentials() -> None:
    asked = converse(make(ALICE), DEMAND, Reply(200, body=b'{"access_token": "t2"}'), OK)

    assert authorization(asked[1]) == ALICE.basic == "Basic " + base64.b64encode(b"alice:s3cret").decode()
    assert parse_qs(urlsplit(asked[1].url).query)["account"] == ["alice"]
    assert authorization(asked[2]) == "Bearer t2"


def test_realm_with_a_query() -> None:
    demand = Reply(401, ('Bearer realm="https://t.test/x?a=b"',))

    assert converse(make(), demand, token(), OK)[1].url == "https://t.test/x?a=b&scope=repository%3Aweb%3Apull"


def test_token_is_used_until_it_expires() -> None:
    """A minute where its server does not say; a tenth of its life is left unused."""
    clock = Clock()
    auth = make(clock=clock)
    converse(auth, DEMAND, token("t1", expires_in=300), OK)

    clock.now += 269
    assert [authorization(request) for request in converse(auth, OK)] == ["Bearer t1"]
    clock.now += 2
    asked = converse(auth, DEMAND, token("t2"), OK)
    assert [authorization(request) for request in asked] == ["", "", "Bearer t2"]
    clock.now += 53
    assert authorization(converse(auth, OK)[0]) == "Bearer t2"
    clock.now += 2
    assert authorization(converse(auth, OK)[0]) == ""


def test_token_that_expires_early() -> None:
    """A token that is turned down is traded for a new one."""
    auth = make()
    converse(auth, DEMAND, token(), OK)

    asked = converse(auth, DEMAND, token("t2"), OK)

    assert [authorization(request) for request in asked] == ["Bearer t1", "", "Bearer t2"]


def test_tokens_belong_to_scopes() -> None:
    auth = make()
    converse(auth, DEMAND, token(), OK)

    assert authorization(converse(auth, OK, scopes=("repository:web:pull,push",))[0]) == ""


@pytest.mark.parametrize("status", [401, 403])
def test_scope_that_was_too_small(status: int) -> None:
    """What the registry says is added to what we know."""
    auth = make()
    more = Reply(
        status, (f'Bearer realm="{REALM}",error="insufficient_scope",scope="repository:web:push repository:b:pull"',)
    )

    asked = converse(auth, DEMAND, token("t1"), more, token("t2"), OK)

    scopes = parse_qs(urlsplit(asked[3].url).query)["scope"]
    assert scopes == ["repository:web:pull,push", "repository:b:pull"]
    assert authorization(asked[4]) == "Bearer t2"
    assert authorization(converse(auth, OK)[0]) == "Bearer t2"


def test_bounded() -> None:
    """A registry that is never content gets two tokens."""
    asked = converse(make(), DEMAND, token("a"), DEMAND, token("b"), DEMAND)

    assert [authorization(request) for request in asked[::2]] == ["", "Bearer a", "Bearer b"]


def test_forbidden_is_final() -> None:
    assert len(converse(make(ALICE), Reply(403, (BEARER,)))) == 1


def test_basic() -> None:
    """It is remembered, and not sent again when it is turned down."""
    auth = make(ALICE)
    basic = Reply(401, ('Basic realm="x"',))

    assert [authorization(request) for request in converse(auth, basic, OK)] == ["", ALICE.basic]
    assert [authorization(request) for request in converse(auth, OK)] == [ALICE.basic]
    assert len(converse(auth, basic)) == 1
    assert len(converse(make(), basic)) == 1


def test_bearer_before_basic() -> None:
    demand = Reply(401, ('Basic realm="x"', BEARER))

    assert converse(make(ALICE), demand, token(), OK)[1].url.startswith(REALM)


def test_unknown_challenges() -> None:
    assert len(converse(make(ALICE), Reply(401, ("Negotiate", "Digest realm=x")))) == 1
    assert len(converse(make(ALICE), Reply(401))) == 1


IDENTITY = Credentials("alice", identity_token="long-lived", origin="a file")


def test_identity_token() -> None:
    """It is posted, never in a URL."""
    asked = converse(make(IDENTITY), DEMAND, Reply(200, body=b'{"access_token": "t3"}'), OK)

    assert (asked[1].method, asked[1].url) == ("POST", REALM)
    assert isinstance(asked[1].body, bytes)
    assert parse_qs(asked[1].body.decode()) == {
        "grant_type": ["refresh_token"],
        "service": ["shelf"],
        "client_id": ["runjail"],
        "scope": ["repository:web:pull"],
        "refresh_token": ["long-lived"],
    }
    assert authorization(asked[2]) == "Bearer t3"


@pytest.mark.parametrize("status", [401, 404, 405])
def test_identity_token_where_nothing_is_posted(status: int) -> None:
    asked = converse(make(IDENTITY), DEMAND, Reply(status), token(), OK)

    assert asked[2].method == "GET"
    assert authorization(asked[2]) == "Basic " + base64.b64encode(b"alice:long-lived").decode()
    assert "long-lived" not in asked[2].url


def test_registry_token() -> None:
    """It is sent as it is, once."""
    ready = Credentials(registry_token="ready")
    asked = converse(make(ready), DEMAND, OK)

    assert [authorization(request) for request in asked] == ["", "Bearer ready"]


@pytest.mark.parametrize(
    ("realm", "why"),
    [
        ("http://tokens.test/token", "it is neither https nor as close as its registry"),
        ("", "not a URL of https or http"),
        ("ftp://tokens.test", "not a URL of https or http"),
    ],
)
def test_secrets_stay_with_trusted_servers(realm: str, why: str) -> None:
    flow = make(ALICE).flow(GET, PULL)
    next(flow)

    with pytest.raises(RegistryError, match=f"refused, {why}"):
        flow.send(Reply(401, (f'Bearer realm="{realm}",service="x"',)) if realm else Reply(401, ("Bearer realm=-",)))


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(401, body=b'{"details": "wrong password"}'), "401 Unauthorized: wrong password"),
        (Reply(400, body=b'{"error": "invalid_grant"}'), "400 Bad Request: invalid_grant"),
        (Reply(200, body=b"<html>"), "the answer is not a JSON object"),
        (Reply(200, body=b"[1]"), "the answer is not a JSON object"),
        (Reply(200, body=b"{}"), "the answer holds no token"),
        (Reply(200, body=b'{"token": 5}'), "the answer holds no token"),
        (Reply(200, body=b'{"token": "a\\r\\nHost: b"}'), "the answer holds no token"),
        (Reply(200, body=b'{"token": "' + b"x" * 70000 + b'"}'), "the answer holds no token"),
    ],
)
def test_token_server_that_refuses(reply: Reply, why: str) -> None:
    flow = make(ALICE).flow(GET, PULL)
    next(flow)
    flow.send(DEMAND)

    with pytest.raises(RegistryError, match=f"^token server tokens.test: {why}$") as caught:
        flow.send(reply)
    assert caught.value.status == (reply.status if reply.status != 200 else 0)


@pytest.mark.parametrize("said", [None, "300", True, -5, 0, {}])
def test_lifetime_that_is_none(said: object) -> None:
    """A token lives for a minute then."""
    clock = Clock()
    auth = make(clock=clock)
    converse(auth, DEMAND, token(expires_in=said), OK)

    clock.now += 53
    assert authorization(converse(auth, OK)[0]) == "Bearer t1"


def test_merging_scopes() -> None:
    assert merge("repository:a:pull", "repository:b:pull", "repository:a:pull,push") == [
        "repository:a:pull,push",
        "repository:b:pull",
    ]
