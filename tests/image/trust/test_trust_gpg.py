"""signedBy: signatures by keys of gpg, and where registries.d says that they are."""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("urllib3", reason="needs urllib3")
pytest.importorskip("yaml", reason="needs PyYAML")

from runjail.errors import ImageError, NotTrusted
from runjail.host import programs
from runjail.image.content.store import ContentStore
from runjail.image.trust import lookaside
from runjail.image.trust.origin import Origin
from tests.image.registry.conftest import client, fake
from tests.support.image import pgp_keys
from tests.support.image.registry_client import Client
from tests.support.image.registry_server import Fake, Handler, Server
from tests.support.image.signing import NAME, gate, pull
from tests.support.peers.commands import eventually

__all__ = ["client", "fake"]
pytestmark = pytest.mark.needs("gpg")


def payload(digest: str, name: str = NAME, **more: Any) -> bytes:
    """Return what is signed. more: members of `critical`."""
    identity, image = {"docker-reference": name}, {"docker-manifest-digest": digest}
    critical = {"type": "atomic container signature", "identity": identity, "image": image} | more
    return json.dumps({"critical": critical, "optional": {"creator": "a test"}}).encode()


@pytest.fixture(scope="module")
def gpg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pgp_keys.Keys]:
    """Alice signs, Bob's key has a password, Carol's has expired."""
    home = str(tmp_path_factory.mktemp("g"))
    yield pgp_keys.Keys(home)
    subprocess.run(["gpgconf", "--kill", "all"], env={"GNUPGHOME": home, "PATH": os.environ["PATH"]}, check=False)


class Signed:
    """An image whose signatures are below a directory that registries.d names."""

    def __init__(self, fake: Fake, gpg: pgp_keys.Keys, directory: Path) -> None:
        self.digest, self.gpg, self.directory = fake.add_image("v1", b"a layer").digest, gpg, directory
        self.place = directory / "look" / f"library/web@{self.digest.replace(':', '=')}"
        self.place.mkdir(parents=True)
        self.configure({"docker": {"r.test": {"lookaside": f"file://{directory}/look"}}})
        (directory / "alice.gpg").write_bytes(gpg.gpg("--export", "alice"))
        (directory / "carol.gpg").write_bytes(gpg.gpg("--export", "carol"))

    def configure(self, document: Any, name: str = "a.yaml") -> None:
        """Write a file of registries.d."""
        where = self.directory / "home/.config/containers/registries.d"
        where.mkdir(parents=True, exist_ok=True)
        (where / name).write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML

    def add(self, content: bytes, number: int = 1, *options: str) -> None:
        """Hold a signed message."""
        self.hold(self.gpg.gpg("--local-user", "alice", *options, "--sign", input=content), number)

    def hold(self, message: bytes, number: int = 1) -> None:
        (self.place / f"signature-{number}").write_bytes(message)

    def asked(self, key: str = "alice", **more: Any) -> dict[str, Any]:
        """Return the requirement that somebody has signed."""
        return {"type": "signedBy", "keyType": "GPGKeys", "keyPath": f"{self.directory}/{key}.gpg"} | more


@pytest.fixture
def signed(fake: Fake, gpg: pgp_keys.Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Signed:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return Signed(fake, gpg, tmp_path)


def refused(client: Client, content: ContentStore, asked: dict[str, Any]) -> str:
    """Pull what must be refused; return why."""
    with pytest.raises(NotTrusted) as caught:
        pull(client, content, gate(content, asked))
    assert content.digests() == []
    return str(caught.value).partition("signedBy: ")[2]


def test_a_signed_image_is_taken_and_run(client: Client, content: ContentStore, signed: Signed) -> None:
    """One of several signatures will do; at a run what came is looked at again, wherever it was."""
    signed.add(payload(signed.digest, "r.test/library/web:v2"))
    signed.add(payload(signed.digest), 2)

    image = pull(client, content, gate(content, signed.asked()))
    signed.configure({})

    gate(content, signed.asked()).require(image)
    with pytest.raises(NotTrusted, match="a signature that gpg does not take"):
        gate(content, signed.asked("carol")).require(image)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda _digest: payload("sha256:" + "0" * 64), "a signature of another manifest"),
        (lambda digest: payload(digest, "r.test/library/other:v1"), "for the name"),
        (lambda digest: payload(digest, type="cosign container image signature"), "a signed payload of type"),
        (lambda digest: payload(digest, more=1), "critical has not exactly"),
        (lambda _digest: b"", "not JSON"),
    ],
)
def test_signed_payloads_that_do_not_count(
    client: Client, content: ContentStore, signed: Signed, make: Callable[[str], bytes], why: str
) -> None:
    signed.add(make(signed.digest))

    assert why in refused(client, content, signed.asked())


@pytest.mark.parametrize(
    "kind", ["nobody", "literal", "garbage", "changed", "cut", "literal first", "another key", "expired"]
)
def test_messages_that_do_not_count(client: Client, content: ContentStore, signed: Signed, kind: str) -> None:
    """What gpg decrypts without a signature is no signature."""
    text = payload(signed.digest)
    good = signed.gpg.gpg("--local-user", "alice", "--sign", input=text)
    faked = ("--faked-system-time", "20200201T000000")
    messages: dict[str, Callable[[], bytes]] = {
        "literal": lambda: signed.gpg.gpg("--store", input=text),
        "garbage": lambda: b"garbage",
        "changed": lambda: good[:-8] + bytes(8),
        "cut": lambda: good[:40],
        "literal first": lambda: signed.gpg.gpg("--store", input=text) + good,
        "another key": lambda: signed.gpg.gpg(*faked, "--local-user", "carol", "--sign", input=text),
        "expired": lambda: signed.gpg.gpg(*faked, "--local-user", "carol", "--sign", input=text),
    }
    if kind in messages:
        signed.hold(messages[kind]())
    expected = "a signature that gpg does not take" if kind != "nobody" else "there is no signature"

    assert expected in refused(client, content, signed.asked("carol" if kind == "expired" else "alice"))


def test_keys_that_cannot_be_used(
    client: Client, content: ContentStore, signed: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is said with its place, and refuses."""
    signed.add(payload(signed.digest))

    assert "is missing" in refused(client, content, signed.asked("nobody"))
    assert "keyType X509Certificates is not" in refused(client, content, signed.asked(keyType="X509Certificates"))
    (signed.directory / "none.gpg").write_text("no key", encoding="utf-8")
    assert "gpg failed" in refused(client, content, signed.asked("none"))
    monkeypatch.setattr(programs, "which", lambda *_names: None)
    assert "gpg is not installed" in refused(client, content, signed.asked())


# registries.d --------------------------------------------------------------------------------------------------------

ORIGIN, DIGEST = Origin("docker", "r.test:5000/a/web:1"), "sha256:" + "a" * 64


def at(directory: Path, *documents: Any) -> tuple[str, ...]:
    """Write a registries.d and return where it may be."""
    place = directory / "registries.d"
    place.mkdir(exist_ok=True)
    for number, document in enumerate(documents):
        text = document if isinstance(document, str) else json.dumps(document)
        (place / f"{number}.yaml").write_text(text, encoding="utf-8")
    return f"{directory}/nowhere", str(place)


@pytest.mark.parametrize("scope", ["r.test:5000/a/web:1", "r.test:5000/a/web", "r.test:5000/a", "r.test:5000", None])
@pytest.mark.parametrize("name", ["lookaside", "sigstore"])
def test_where_signatures_are(tmp_path: Path, scope: str | None, name: str) -> None:
    """The narrowest scope that names a place, then the one of all registries."""
    entry, wide = {name: f"file://{tmp_path}/here/"}, {name: f"file://{tmp_path}/elsewhere"}
    document = (
        {"docker": {scope: entry, "r.test": wide}, "default-docker": wide} if scope else {"default-docker": entry}
    )
    (tmp_path / f"here/a/web@sha256={'a' * 64}").mkdir(parents=True)
    (tmp_path / f"here/a/web@sha256={'a' * 64}/signature-1").write_bytes(b"x")

    assert len(lookaside.fetch(ORIGIN, DIGEST, at(tmp_path, document, {}))) == 1


@pytest.mark.parametrize("ordinary", [False, True])
def test_where_signatures_are_that_nobody_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ordinary: bool
) -> None:
    """As with podman: who is root only of a user namespace of our own has them at home."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(lookaside, "SYSTEM", str(tmp_path / "system"))
    for base, many in (("system", 1), ("home/.local/share/containers/sigstore", 2)):
        place = tmp_path / base / f"a/web@sha256={'a' * 64}"
        place.mkdir(parents=True)
        for number in range(1, many + 1):
            (place / f"signature-{number}").write_bytes(b"x")

    assert len(lookaside.fetch(ORIGIN, DIGEST, (), ordinary=ordinary)) == (2 if ordinary else 1)


@pytest.mark.parametrize(
    ("documents", "why"),
    [
        (["a: ["], "not YAML"),
        (["[]", "- 1"], "must be a mapping"),
        ([{"docker": []}, {"docker": [1]}], "must be mappings"),
        ([{"docker": {"r.test": 1}}], "must be mappings"),
        ([{"default-docker": {"lookaside": "x"}}, {"default-docker": {"lookaside": "y"}}], "says again"),
        ([{"docker": {"a": {}}}, {"docker": {"a": {}}}], "says again"),
        ([{"default-docker": {"lookaside": "ftp://x"}}], "not a place that signatures can be read from"),
        ([{"default-docker": {"lookaside": "file://relative"}}], "not a place that signatures can be read from"),
    ],
)
def test_a_registries_d_that_is_none(tmp_path: Path, documents: list[Any], why: str) -> None:
    with pytest.raises(ImageError, match=why):
        lookaside.fetch(ORIGIN, DIGEST, at(tmp_path, *documents))


@pytest.mark.parametrize("kind", ["fifo", "directory", "huge", "huge together", "endless"])
def test_signatures_that_are_no_files(tmp_path: Path, kind: str) -> None:
    """Nothing waits, and what is there and cannot be read is not taken for missing."""
    place = tmp_path / f"here/a/web@sha256={'a' * 64}"
    place.mkdir(parents=True)
    if kind == "fifo":
        os.mkfifo(place / "signature-1")
    elif kind == "directory":
        (place / "signature-1").mkdir()
    elif kind == "huge":
        (place / "signature-1").write_bytes(bytes((4 << 20) + 1))
    elif kind == "huge together":
        for number in (1, 2):
            (place / f"signature-{number}").write_bytes(bytes(3 << 20))
    else:
        for number in range(1, 102):
            (place / f"signature-{number}").write_bytes(b"x")

    with pytest.raises(ImageError):
        lookaside.fetch(ORIGIN, DIGEST, at(tmp_path, {"default-docker": {"lookaside": f"file://{tmp_path}/here"}}))


def watching() -> set[threading.Thread]:
    """Return the threads that watch connections; a container must not be forked beside one."""
    return {thread for thread in threading.enumerate() if "(_look)" in thread.name}


@pytest.mark.parametrize("status", [200, 404, 403, 500])
def test_signatures_of_a_web_server(tmp_path: Path, status: int) -> None:
    """Only 404 means that there are no more."""
    asked, before = [], watching()

    def answer(request: Handler) -> None:
        asked.append(request.path)
        request.reply(status if request.path.endswith("signature-1") else 404, b"x")

    server = Server(answer)
    places = at(tmp_path, {"default-docker": {"lookaside": f"http://{server.host}/look"}})
    try:
        if status in (200, 404):
            assert len(lookaside.fetch(ORIGIN, DIGEST, places)) == (status == 200)
        else:
            with pytest.raises(ImageError, match=f"status {status}"):
                lookaside.fetch(ORIGIN, DIGEST, places)
    finally:
        server.stop()
    assert asked[0] == f"/look/a/web@sha256={'a' * 64}/signature-1"
    eventually(lambda: not watching() - before, "nobody watches the connections any more")
