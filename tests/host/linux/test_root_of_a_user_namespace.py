"""runjail called by who is root only in a user namespace, as podman without root calls it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.container.harness import Life
from tests.support.program import Bundle, Runjail

pytestmark = [pytest.mark.linux, pytest.mark.needs("user namespaces", "root", "nsenter")]


class InsideRunjail(Runjail):
    """The program as it is called in a user namespace with the same ids as outside, and mounts of its own."""

    def __init__(self, directory: Path, holder: int) -> None:
        super().__init__(directory)
        script = f"""#!/bin/sh
exec nsenter -U -t {holder} -S 0 -G 0 unshare -m {self.program} "$@"
"""
        path = directory / "inside"
        path.write_text(script, encoding="ascii")
        path.chmod(0o755)
        self.program = str(path)


@pytest.fixture
def life(runjail: Runjail, bundle: Bundle) -> Iterator[Life]:
    """A container without a user namespace of its own."""
    from runjail.host.linux import mapped_ids
    from runjail.spec.model import IdMappings

    with subprocess.Popen(["unshare", "-U", "sh", "-c", "echo made; exec sleep 600"], stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline()
        mapped_ids.write(holder.pid, IdMappings(((0, 0, 65536),), ((0, 0, 65536),)))
        del bundle.config["linux"]["cgroupsPath"]
        inside = InsideRunjail(runjail.directory, holder.pid)
        yield Life(inside, bundle)
        for id in inside.ids():
            inside("delete", "--force", id)
        holder.kill()


def test_a_whole_life(life: Life) -> None:
    """Its init has number 1, hooks have the caller's numbers, and exec follows."""
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat >/dev/null; readlink /proc/self/ns/pid >{life.path}/said"]}
    life.bundle.config["hooks"] = {"createRuntime": [hook]}
    life.sleep()
    assert life.runjail.ok("exec", "c", "/bin/cat", "/proc/1/cmdline").stdout == "/bin/sleep\x00600\0"
    assert (life.path / "said").read_text().strip() == os.readlink("/proc/self/ns/pid")
    life.runjail.ok("kill", "c", "KILL")
    life.runjail.wait("c")
    life.runjail.ok("delete", "c")


def test_its_own_user_namespace_below(life: Life) -> None:
    """One in the other, as podman's --userns=keep-id has it."""
    linux = life.bundle.config["linux"]
    linux["namespaces"].append({"type": "user"})
    ids = [{"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 1, "hostID": 100, "size": 9}]
    linux |= {"uidMappings": ids, "gidMappings": ids}
    result = life.run("cat /proc/self/uid_map; touch /made; stat -c %u /made")

    assert result.stdout.split() == [*"0 0 1 1 100 9".split(), "0"], result
