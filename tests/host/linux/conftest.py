"""What tests of the Linux host share."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that anybody may pass, as the root of a container in a user namespace has to be."""
    directory = Path(tempfile.mkdtemp(prefix="runjail-user-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)
