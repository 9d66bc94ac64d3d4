"""What is imported to speak with registries, and what is not."""

import os
import subprocess
import sys

import pytest

from tests.support.program import TOP

urllib3 = pytest.importorskip("urllib3", reason="needs urllib3")

SPARED = """
import sys
sys.path[:0] = sys.argv[1:]
from runjail.image.registry import connections
urllib3 = connections._library()
assert not {"importlib.metadata", "zipfile"} & set(sys.modules)
with connections._spared("importlib.metadata", version=connections._version):
    from importlib.metadata import version
assert "importlib.metadata" not in sys.modules
assert version("urllib3") == urllib3.__version__
del sys.modules["importlib.metadata"]
with connections._spared("importlib.metadata"):
    from importlib.metadata import PackageNotFoundError
assert sys.modules["importlib.metadata"].PackageNotFoundError is PackageNotFoundError
with connections._spared("importlib.metadata"):
    pass
assert sys.modules["importlib.metadata"].PackageNotFoundError is PackageNotFoundError
"""


def test_urllib3_is_imported_without_what_it_does_not_need() -> None:
    """Which is there all the same for who asks for it."""
    site = os.path.dirname(os.path.dirname(urllib3.__file__))
    done = subprocess.run(
        [sys.executable, "-IS", "-c", SPARED, str(TOP), site], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
