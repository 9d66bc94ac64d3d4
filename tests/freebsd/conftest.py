"""One container in the making on a real FreeBSD, taken back after each test; a virtual cable to connect it with."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.freebsd.real import Real, tool


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Real]:
    made = Real(tmp_path)
    yield made
    made.undo()
    assert made.libc.jail(made.host_state.name) is None
    assert made.mounts() == []


@pytest.fixture
def epair() -> Iterator[tuple[str, str]]:
    """Both ends of a virtual cable."""
    host = tool("ifconfig", "epair", "create").strip()
    yield host, f"{host[:-1]}b"
    subprocess.run(["ifconfig", host, "destroy"], check=True)
