"""The one parser of URLs: what it takes, every other parser reads alike."""

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail.image.registry import urls
from tests.support.image.registry_server import Fake

pytestmark = pytest.mark.needs("loopback")


@pytest.mark.parametrize(
    ("text", "origin", "target"),
    [
        ("https://a.test", "https://a.test", "/"),
        ("HTTPS://A.Test:443/B", "https://a.test", "/B"),
        ("http://a:80?x", "http://a", "/?x"),
        ("http://a:443/#f", "http://a:443", "/"),
        ("https://a.test./%2f%2F?x=[y]&z={}|\\^`\"'", "https://a.test.", "/%2f%2F?x=[y]&z={}|\\^`\"'"),
        ("http://127.0.0.1:5000//x/../y", "http://127.0.0.1:5000", "//x/../y"),
        ("http://[0::1]:5000/", "http://[::1]:5000", "/"),
        ("https://a_b.xn--bcher-kva.test/", "https://a_b.xn--bcher-kva.test", "/"),
        ('https://a/?n="a b"', "https://a", '/?n="a%20b"'),
        ("https://a/\xe9\u20ac", "https://a", "/%C3%A9%E2%82%AC"),
        ("https://a/\xc3\xa9", "https://a", "/%C3%A9"),  # headers come as latin-1
        ("https://a/x@b:c", "https://a", "/x@b:c"),
    ],
)
def test_urls(text: str, origin: str, target: str) -> None:
    url = urls.parse(text)

    assert (url.origin, url.target) == (origin, target)
    assert urls.parse(str(url)) == url


@pytest.mark.parametrize(
    "authority",
    [
        *("", ":80", "a:", "a:0", "a:65536", "a:99999999", "a:-1", "a:+1", "a:8 0", "a:80:90", "a:\uff18\uff10"),
        *("b@a", "b:c@a", "@a", "a\\@b", "a\\", "\\a", "a\t", "a\nb", "a b", "a%2eb", "a%00", "%61", "a;b"),
        *("a,b", "a!", "b\xfccher", "a\u3002b", "a\u2100", "\uff41", "a\xadb", "\u212aelvin", "a\x7f", "a\0"),
        *("a..b", ".a", "-a", "a-", "x" * 64, ".".join(["abc"] * 80), "..", "."),
        *("127.1", "127.0.0.01", "2130706433", "0x7f.1", "0x7f000001", "127.0.0.0x1", "1.2.3.256", "127.0.0.1.", "a.1"),
        *("[::1", "::1", "[::1]x", "[::1%eth0]", "[::1%25eth0]", "[fe80::1%1]", "[a]", "[]", "[127.0.0.1]", "[::1].a"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_authorities_that_are_refused(authority: str, scheme: str) -> None:
    with pytest.raises(ValueError):
        urls.parse(f"{scheme}://{authority}/x")
    with pytest.raises(ValueError):
        urls.parse("https://a/").join(f"//{authority}/x")


@pytest.mark.parametrize(
    "text", ["", "a", "/a", "//a/b", "ftp://a/", "file:///a", "http:a", "http:/a", "http:\\\\a", " http://a/",
             "http//a", "javascript:x", "https://a/\n", "https://a/\x1b[", "https://a/?\0", "https://a/" + "x" * 70000],
)  # fmt: skip
def test_texts_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        urls.parse(text)


@given(st.text(alphabet="aB1.:/\\@?#%[]- \t\u3002\xe9", max_size=20))
def test_other_parsers_read_them_alike(rest: str) -> None:
    """Whatever is taken, urllib and urllib3 find the same host, port and path in."""
    urllib3 = pytest.importorskip("urllib3", reason="needs urllib3")
    try:
        url = urls.parse(f"http://{rest}")
    except ValueError:
        return
    for text in (f"http://{rest}", str(url)):
        theirs = urlsplit(text)
        assert (theirs.hostname, theirs.port or 80, theirs.username) == (url.host, url.port, None)
        its = urllib3.util.parse_url(text)
        assert (its.host, its.port or 80, its.auth) == (url.name, url.port, None)


BASE = "https://a.test/b/c/d?q"


@pytest.mark.parametrize(
    "reference",
    [
        *("/x", "/x?y=%2f#z", "//b.test/x", "https://b.test", "g", "./g", "g/", "../g", "../../g", "../../../g", "."),
        *("./", "..", "../", "?y", "g?y/./x", "/./g", "/a/../g", "g;x=1/../y", "g..", "..g", "./g/.", "#s"),
    ],
)
def test_references(reference: str) -> None:
    """They lead where RFC 3986 says; only an empty one leads nowhere."""
    assert str(urls.parse(BASE).join(reference)) == str(urls.parse(urljoin(BASE, reference)))


@pytest.mark.parametrize("reference", ["", " ", "mailto:x", "http:x", "https:/x", "a\nb"])
def test_references_that_are_refused(reference: str) -> None:
    with pytest.raises(ValueError):
        urls.parse(BASE).join(reference)


def test_parameters_are_added() -> None:
    assert urls.parse("https://a").with_query("x=1").target == "/?x=1"
    assert urls.parse("https://a/?y").with_query("x=1").target == "/?y&x=1"


# Sent as they are ---------------------------------------------------------------------------------------------------


TARGET = "/x%2fy%c3%a9/[z]~?sig=a%2bb%2F[c]|{d}&n=%22e%22"


def test_redirects_are_followed_byte_for_byte(fake: Fake) -> None:
    """Signatures of storage behind a registry cover the spelling."""
    from tests.support.image.registry_client import Client

    blob = fake.add(b"content")
    fake.fault("GET", "/library/", lambda request: request.reply(307, Location=TARGET))
    fake.fault("GET", "/x", lambda request: request.reply(200, b"content"))
    client = Client(fake.host)

    assert client.blob(blob) == b"content"
    assert fake.server.calls()[-1] == ("GET", TARGET)
    client.close()


def test_uploads_go_byte_for_byte(fake: Fake) -> None:
    from tests.support.image.registry_client import Client, put
    from tests.support.image.registry_server import described

    fake.fault("POST", "/uploads/", lambda request: request.reply(202, Location=TARGET))
    fake.fault("PUT", "/x", lambda request: request.reply(201))
    client = Client(fake.host)
    put(client.sink(), described(b"content"), b"content")

    assert fake.server.calls("PUT")[0][1].startswith(f"{TARGET}&digest=sha256")
    client.close()


def test_a_proxy_gets_them_byte_for_byte(fake: Fake) -> None:
    from tests.support.image.registry_client import Client

    fake.fault("GET", "/tags/", lambda request: request.reply(302, Location=TARGET))
    fake.fault("GET", "/x", lambda request: request.reply(200, b'{"tags": ["a"]}'))
    client = Client("registry.test", insecure=True, environ={"HTTP_PROXY": fake.host})

    assert client.registry.tags("library/web") == ["a"]
    assert fake.server.calls()[-1] == ("GET", f"http://registry.test{TARGET}")
    assert fake.server.sent("Host") == ["registry.test"] * len(fake.server.calls())
    client.close()
