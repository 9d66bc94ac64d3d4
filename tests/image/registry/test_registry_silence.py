"""Registries that take connections and answer nothing: how long they are borne, and what is said meanwhile."""

import socket

import pytest

from runjail import log
from runjail.errors import RegistryError
from runjail.image.registry import retry
from runjail.image.registry.connections import Timeouts
from tests.support.image.registry_client import Client


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(log, "warning", said.append)
    return said


@pytest.mark.needs("loopback")
def test_a_registry_that_never_answers(warnings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes connections and no more: https is tried, and then http, and both are told."""
    pytest.importorskip("urllib3", reason="needs urllib3")
    monkeypatch.setattr(retry, "PATIENCE", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
        client = Client(host, timeouts=Timeouts(0.2, 0.2, 0.2))

        with pytest.raises(RegistryError, match=r"GET http://.*/v2/: no answer in time, \d+ s in all$"):
            client.source().top()
        client.close()

    (said,) = warnings
    assert said == f"registry {host}: GET https://{host}/v2/: no answer in time: trying plain http"


@pytest.mark.parametrize(
    ("took", "silent", "tries", "text"),
    [
        (40, True, 2, "no answer, 80 s in all"),
        (15, True, 5, "no answer, 75 s in all"),
        (1, True, 6, "no answer"),
        (1000, False, 6, "no answer"),
    ],
)
def test_silence_is_not_borne_for_ever(took: int, silent: bool, tries: int, text: str, warnings: list[str]) -> None:
    """A clock of our own: who answers nothing is tried until a minute and a quarter have gone, each try with a word."""
    now = [0.0]

    def work() -> None:
        now[0] += took
        raise retry.Temporary(RegistryError("no answer"), silent=silent)

    with pytest.raises(RegistryError) as caught:
        retry.Retry(lambda _seconds: None, clock=lambda: now[0]).run(work)

    assert (str(caught.value), now[0]) == (text, took * tries)
    if took > retry.SILENT:
        assert warnings == [f"no answer: trying again, {number} of 5" for number in range(1, tries)]


def test_how_long_silence_is_borne() -> None:
    """In all less than two minutes, whether TLS does not begin or no answer does, and be plain http tried as well."""
    usual = Timeouts()

    for each in (usual.connect, usual.read, usual.connect + usual.read):
        tries = next(number for number in range(1, 99) if number * each >= retry.PATIENCE)
        assert tries * each < 120
