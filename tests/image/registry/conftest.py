"""Fixtures for tests that talk to a registry. What they use takes urllib3, which FreeBSD's base system lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.image.registry_server import Fake, run

if TYPE_CHECKING:
    from runjail.image.registry.credentials import Credentials
    from tests.support.image.registry_client import Client


@pytest.fixture
def fake() -> Iterator[Fake]:
    """A registry of Python."""
    pytest.importorskip("urllib3", reason="needs urllib3")
    yield from run(Fake())


@pytest.fixture
def client(fake: Fake) -> Iterator[Client]:
    """A client of it."""
    from tests.support.image.registry_client import Client

    client = Client(fake.host)
    yield client
    client.close()


@pytest.fixture
def client_of(request: pytest.FixtureRequest) -> Callable[..., Client]:
    """Make clients that are closed in the end."""
    from tests.support.image.registry_client import Client

    def make(host: str, credentials: Credentials | None = None, **options: object) -> Client:
        client = Client(host, credentials, **options)
        request.addfinalizer(client.close)
        return client

    return make


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback looks like any other address."""
    monkeypatch.setattr("runjail.image.registry.endpoint.is_loopback", lambda _host: False)
