"""Fixtures of a ZFS pool to test with.

Other rooms import them into their conftest.py: `from tests.support.storage.zpool import dataset, zpool`. A test then
takes `dataset`: an empty one of its own, destroyed afterwards.
"""

from collections.abc import Iterator

import pytest

from tests.support.leftovers import Leftovers
from tests.support.limits import Services
from tests.support.zfs_pool import Pool


@pytest.fixture(scope="session")
def zpool(tmp_path_factory: pytest.TempPathFactory, leftovers: Leftovers) -> Iterator[Pool]:
    """A pool for the session. Only tests that enter it (`with zpool.inside()`) see it where zfs-fuse serves it."""
    pool = Pool(tmp_path_factory.mktemp("zpool"), leftovers)
    try:
        begin(pool)
        yield pool
    finally:
        if pool.pid:
            Services.forget(pool.pid)
        pool.destroy()


def begin(pool: Pool) -> None:
    """Start the pool; zfs-fuse is watched, because it is known to stop answering on a loaded machine."""
    pool.start()
    if pid := pool.pid:
        Services.add("zfs-fuse", pid, ["nsenter", "--mount", "--root", f"--target={pid}", "zpool", "list"])


@pytest.fixture
def dataset(zpool: Pool) -> Iterator[str]:
    """An empty dataset; the test and the programs it starts are where it is mounted."""
    if zpool.died():  # it was ended because it did not answer: whoever comes next gets another
        begin(zpool)
    with zpool.inside(), zpool.dataset() as name:
        yield name
