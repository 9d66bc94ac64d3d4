"""One container in the making on a real FreeBSD, taken back after each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.freebsd.real import Real


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Real]:
    made = Real(tmp_path)
    yield made
    made.undo()
    assert made.libc.jail(made.host_state.name) is None
    assert made.mounts() == []
