"""Fixtures for tests of running containers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runjail.container.container import Container, Runtime
from tests.support.container.fake_host import FakeHost


@pytest.fixture
def host() -> FakeHost:
    """A host that only remembers."""
    return FakeHost()


class Remembering(Runtime):
    """A runtime that knows its handles: a verb's process closes their directories by its end, a test's does not."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.handles: list[Container] = []

    def container(self, container_id: str) -> Container:
        """Return a handle on an id."""
        self.handles.append(super().container(container_id))
        return self.handles[-1]


@pytest.fixture
def runtime(tmp_path: Path, host: Any) -> Iterator[Runtime]:
    """A state root that is not there yet."""
    made = Remembering(host, str(tmp_path / "state"))
    yield made
    for container in made.handles:
        container.forget()
