"""Several mirrors in order, and a registry that is somewhere else than its name says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runjail import log
from runjail.errors import Corrupt, ImageNotFound, RegistryError
from runjail.image.content.copy import copy_in
from runjail.image.content.store import ContentStore
from runjail.image.registry.places import Place
from tests.support.image.registry_server import Fake, Handler

if TYPE_CHECKING:
    from tests.support.image.registry_client import Client

Make = Callable[..., "Client"]
CONTENT = bytes(range(256)) * 64
FIRST, SECOND = "first/web", "second/shelf/web"


@pytest.fixture
def others() -> Iterator[list[Fake]]:
    """Three more registries: two mirrors, and where the registry really is."""
    pytest.importorskip("urllib3", reason="needs urllib3")
    running = [Fake() for _ in range(3)]
    yield running
    for each in running:
        each.stop()


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(log, "warning", said.append)
    return said


@pytest.fixture
def made(fake: Fake, others: list[Fake], client_of: Make) -> Client:
    """A client of all of them."""
    first, second, location = others
    mirrors = [Place(first.host, FIRST, True), Place(second.host, SECOND, True)]
    return client_of(fake.host, mirrors=mirrors, location=Place(location.host, "moved/web", True))


def asked(each: Fake) -> list[str]:
    """Return the repositories that were asked of a registry, each once."""
    return list(
        dict.fromkeys(path.split("/manifests/")[0].split("/blobs/")[0] for _method, path in each.server.calls())
    )


def break_all(each: Fake) -> None:
    each.faults.append(lambda request: request.cut() is None)


def test_in_their_order(fake: Fake, others: list[Fake], made: Client) -> None:
    """The first that has it answers; a further one is asked for what the ones before do not have."""
    first, second, location = others
    top = second.add_image("v1", CONTENT)

    assert made.source().top() == top
    assert [asked(each) for each in (first, second)] == [[f"/v2/{FIRST}"], [f"/v2/{SECOND}"]]
    assert fake.server.seen == location.server.seen == []


def test_broken_ones_are_left_out(others: list[Fake], made: Client, warnings: list[str]) -> None:
    """One word for each, and the place that the registry has been moved to has it in the end."""
    first, second, location = others
    for each in (first, second):
        break_all(each)
    blob = location.add(CONTENT)
    top = location.add_image("v1", CONTENT)

    assert made.source().top() == top
    assert made.blob(blob) == CONTENT
    assert [sum(each.host in text for text in warnings) for each in (first, second)] == [1, 1]
    assert asked(location) == ["/v2/moved/web"]


@pytest.mark.parametrize("start", [0, 300])
def test_wrong_bytes_go_to_the_next(
    fake: Fake, others: list[Fake], made: Client, warnings: list[str], tmp_path: Path, start: int
) -> None:
    """A layer with a wrong byte from the first comes from the second, also when that went on in the middle of it."""
    first, second, location = others
    top = first.add_image("v1", CONTENT)
    layer = next(digest for digest, content in first.blobs.items() if content == CONTENT)
    second.add_image("v1", CONTENT)
    wrong = b"C" + CONTENT[1:]

    def lie(request: Handler) -> None:
        if start:
            request.head(200, Content_Length=str(len(wrong)))
            request.wfile.write(wrong[:start])
            request.cut()
        else:
            request.reply(200, wrong)

    first.fault("GET", layer, lie, *[lambda request: request.cut()] * 9)
    location.add_image("v1", CONTENT)
    content = ContentStore(str(tmp_path / "content"))

    assert copy_in(made.source(), content, "web") == top
    assert content.intact(layer)
    assert any(first.host in text for text in warnings)
    assert fake.server.seen == []


def test_all_wrong_is_an_error(others: list[Fake], made: Client, warnings: list[str], tmp_path: Path) -> None:
    for each in others:
        each.add_image("v1", CONTENT)
        layer = next(digest for digest, content in each.blobs.items() if content == CONTENT)
        each.fault("GET", layer, *[lambda request: request.reply(200, b"C" + CONTENT[1:])] * 9)

    with pytest.raises(Corrupt, match="content has digest"):
        copy_in(made.source(), ContentStore(str(tmp_path / "content")), "web")
    assert len(warnings) == 2


def test_errors_have_the_real_name(others: list[Fake], made: Client) -> None:
    """Where it was moved to, by the name that it has there."""
    location = others[2]
    with pytest.raises(ImageNotFound, match=f"{location.host}/moved/web:v1$"):
        made.source().top()
    location.faults.append(lambda request: request.refuse(403, "DENIED", "no") is None)
    with pytest.raises(RegistryError, match=f"^registry {location.host}: moved/web:v1: 403"):
        made.source().top()


def test_everybody_is_told_its_own_secrets(others: list[Fake], made: Client) -> None:
    """Credentials are looked for by host and repository of who is asked."""
    first, second, location = others
    for each in others:
        each.faults.append(lambda request: request.reply(401, WWW_Authenticate='Basic realm="x"') is None)
    with pytest.raises(RegistryError, match="401"):
        made.source().top()

    wanted = [(first.host, FIRST), (second.host, SECOND), (location.host, "moved/web")]
    assert list(dict.fromkeys(made.keys.asked)) == wanted


def test_pushes_and_tags_ask_the_registry_itself(fake: Fake, others: list[Fake], made: Client) -> None:
    """Only reading images is sent elsewhere, as with podman and skopeo."""
    document = fake.add_image("x", CONTENT)
    made.sink().put_document(document, fake.manifests["x"][1], top=True)

    assert "v1" in fake.manifests
    assert [each.server.seen for each in others] == [[], [], []]
