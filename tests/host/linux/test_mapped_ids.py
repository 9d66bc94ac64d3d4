"""A user namespace that lends its ids to a mount: who holds it meanwhile, and what is left of that."""

import _signal
import os
import select

import pytest

from tests.support.program import LINUX

if not LINUX:
    pytest.skip("needs Linux", allow_module_level=True)
from runjail.host.linux import mapped_ids  # its functions are Linux's own
from runjail.spec.model import IdMappings

pytestmark = pytest.mark.needs("linux", "user namespaces")

SECONDS = 60  # for what is a matter of milliseconds


def test_who_is_killed_leaves_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """`create` that ends by SIGKILL while the ids are written takes the holder of the namespace with it."""
    reading, writing = os.pipe()

    def end(holder: int, _mappings: IdMappings) -> None:
        os.write(writing, b"%d" % holder)
        os.kill(os.getpid(), _signal.SIGKILL)

    monkeypatch.setattr(mapped_ids, "write", end)
    creator = os.fork()
    if not creator:
        try:
            mapped_ids.namespace(IdMappings((), ()))
        finally:
            os._exit(1)
    os.waitpid(creator, 0)
    os.close(writing)
    holder = int(os.read(reading, 32))
    is_over = bool(select.select([reading], [], [], SECONDS)[0])  # it has the pipe's other end too
    os.close(reading)
    if not is_over:
        os.kill(holder, _signal.SIGKILL)

    assert is_over
