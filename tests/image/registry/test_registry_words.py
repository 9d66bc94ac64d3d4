"""What needs no connection: names, proxies, refusals, times to wait, and what is said without urllib3."""

import sys
import time
import types

import pytest

from runjail import log
from runjail.errors import ImageError, RegistryError
from runjail.image.registry import proxy as proxies
from runjail.image.registry import retry
from runjail.image.registry.client import Registry
from runjail.image.registry.error_body import describe
from runjail.image.registry.places import own_mirror


@pytest.mark.parametrize(
    "host", ["", "a b", "host/path", "user@host", "host:port", "http://host", "127.1", "0x7f.1:5000", "a:0", "a:99999"]
)
def test_no_host(host: str) -> None:
    with pytest.raises(ImageError, match="not a registry's host"):
        Registry(host)
    with pytest.raises(ImageError, match="not a registry's mirror"):
        own_mirror(f"ftp://{host}/UPPER", "web")


@pytest.mark.parametrize("found", [None, types.SimpleNamespace(HTTPResponse=object)])
def test_without_urllib3(found: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what to install; so it does when the one that is there is too old."""
    monkeypatch.setitem(sys.modules, "urllib3", found)

    with pytest.raises(ImageError, match=r"^registries need urllib3 2\.2 or newer$") as caught:
        Registry("localhost:1").tags("web")
    assert "net/py-urllib3" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("https://a.test/", {}, ""),
        ("https://a.test/", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://a.test/", {"https_proxy": "p:1", "HTTPS_PROXY": "q"}, "http://p:1"),
        ("https://a.test/", {"HTTP_PROXY": "http://p:1"}, ""),
        ("https://a.test/", {"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ("http://a.test/", {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ("http://127.0.0.1:5000/", {"HTTP_PROXY": "http://p:1"}, ""),
        ("http://[::1]:5000/", {"HTTP_PROXY": "http://p:1"}, ""),
        ("http://localhost/", {"HTTP_PROXY": "http://p:1"}, ""),
        ("http://a.test/", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "b.test, a.test"}, ""),
        ("http://x.a.test/", {"HTTP_PROXY": "http://p:1", "NO_PROXY": ".a.test"}, ""),
        ("http://x.a.test/", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "*.A.test"}, ""),
        ("http://xa.test/", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "a.test"}, "http://p:1"),
        ("http://a.test:81/", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "a.test:81"}, ""),
        ("http://a.test:82/", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "a.test:81"}, "http://p:1"),
        ("http://10.1.2.3/", {"HTTP_PROXY": "http://p:1", "no_proxy": "10.0.0.0/8"}, ""),
        ("http://10.1.2.3/", {"HTTP_PROXY": "http://p:1", "no_proxy": "*"}, ""),
        ("http://10.1.2.3:81/", {"HTTP_PROXY": "http://p:1", "no_proxy": "10.1.2.3:81"}, ""),
        ("http://[2001:db8::1]:81/", {"HTTP_PROXY": "http://p:1", "no_proxy": "[2001:DB8:0::1]:81"}, ""),
        ("http://[2001:db8::1]:82/", {"HTTP_PROXY": "http://p:1", "no_proxy": "[2001:db8::1]:81"}, "http://p:1"),
        ("http://[2001:db8::1]:82/", {"HTTP_PROXY": "http://p:1", "no_proxy": "[2001:db8::1]"}, ""),
        ("http://[2001:db8::1]:82/", {"HTTP_PROXY": "http://p:1", "no_proxy": "2001:db8::/32"}, ""),
    ],
)
def test_which_proxy(url: str, environ: dict[str, str], proxy: str) -> None:
    assert proxies.proxy_for(url, environ) == proxy


@pytest.mark.parametrize(("text", "seconds"), [("5", 5), (" 10 ", 10), ("", None), ("soon", None), ("-1", None)])
def test_retry_after(text: str, seconds: float | None) -> None:
    assert retry.parse_retry_after(text, time.time()) == seconds


def test_retry_after_date() -> None:
    assert retry.parse_retry_after("Thu, 01 Jan 1970 00:02:00 GMT", 100) == 20


@pytest.mark.parametrize(("wait", "told"), [(1.0, 0), (7.0, 2)])
def test_waits_are_told(wait: float, told: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has to wait for seconds is told why; short waits are nobody's interest."""
    said: list[str] = []
    monkeypatch.setattr(log, "warning", said.append)

    def work() -> None:
        raise retry.Temporary(RegistryError("slow down"), wait)

    with pytest.raises(RegistryError, match="slow down"):
        retry.Retry(lambda _seconds: None, 3).run(work)
    assert said == [f"slow down: trying again, {number} of 2" for number in range(1, told + 1)]


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (404, b'{"errors": [{"code": "X", "message": "not here"}]}', "404 Not Found: not here (X)"),
        (400, b'{"errors": [{"code": "A"}, {"message": "b"}, 1, null]}', "400 Bad Request: A; b"),
        (599, b"<html>", "599"),
        (401, b'{"details": "wrong password"}', "401 Unauthorized: wrong password"),
        (403, b'{"errors": [{"message": "Operation NOT permitted\\n\\u001b[2J"}]}', "403 Forbidden: not allowed [2J"),
        (403, b'{"errors": "x"}', "403 Forbidden"),
        (500, b'{"errors": [{"message": 5}]}', "500 Internal Server Error"),
        (500, b"[" * 99999, "500 Internal Server Error"),
    ],
)
def test_refusals_in_one_line(status: int, body: bytes, text: str) -> None:
    assert describe(status, body) == text
