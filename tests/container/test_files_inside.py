"""Whose files are that come into a container."""

import json

import pytest

from runjail.container.container import Runtime
from runjail.container.files_inside import owner
from tests.support.container.fake_host import FakeHost, made

IDS = [{"containerID": 0, "hostID": 1000, "size": 10}, {"containerID": 10, "hostID": 70000, "size": 10}]


@pytest.mark.parametrize(("os_name", "owned"), [("linux", (1005, 70002)), ("freebsd", (5, 12))])
def test_the_owner_is_who_the_host_knows(
    runtime: Runtime, host: FakeHost, os_name: str, owned: tuple[int, int]
) -> None:
    """A jail has no user namespace, whatever the Linux section says."""
    host.os = os_name
    container = made(runtime)
    linux = {"namespaces": [{"type": "user"}, {"type": "mount"}], "uidMappings": IDS, "gidMappings": IDS}
    process = {"args": ["x"], "cwd": "/", "user": {"uid": 5, "gid": 12}}
    document = {"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "process": process, "linux": linux}
    container.write("config.json", json.dumps(document).encode())

    assert owner(container) == owned
