"""`attach` of ctr: to a container of runjail's it does what it does to one of runc's."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.peers.attaching import READS, SHELL, SIZE, typed
from tests.support.peers.commands import on_terminal
from tests.support.peers.shims import RUNTIME, Containerd

pytestmark = [pytest.mark.linux]


@pytest.fixture(scope="module")
def daemon(containerd: Callable[..., Containerd]) -> Iterator[Containerd]:
    """A containerd for the test of ctr."""
    yield containerd()


@pytest.mark.limit(600)
@pytest.mark.peers("containerd", "ctr", "runc")
def test_ctr(ctr: Containerd) -> None:
    """A terminal; what else ctr has is in test_shim_run.py: it knows no keys and passes no signal on."""
    found = {}
    for runtime in ("io.containerd.runc.v2", RUNTIME):
        ctr.runtime = runtime
        made = on_terminal([*ctr.command, *ctr.words("-d -t web", *SHELL, SIZE + READS)], ctr.env)
        assert made.code == 0, made
        found[runtime] = typed(ctr, [*ctr.command, "task", "attach", "web"])
        ctr.remove_everything()
    ctr.runtime = RUNTIME

    assert found[RUNTIME] == found["io.containerd.runc.v2"] == (7, ["something", "got something"])
