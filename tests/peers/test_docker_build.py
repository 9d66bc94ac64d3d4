"""BuildKit's RUN with runjail: it runs the program `runc` of dockerd's PATH, whatever the runtimes."""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.leftovers import Leftovers
from tests.support.peers.commands import RUNJAIL, Tidiness
from tests.support.peers.docker import Docker, unmount_own

pytestmark = [
    pytest.mark.linux,
    pytest.mark.limit(600),
    pytest.mark.peers("dockerd", "docker", "containerd", "runc"),
]
DOCKERFILE = """\
FROM machine
RUN echo made > /made && cat /proc/1/comm && id -u && grep -c . /proc/self/mountinfo >/dev/null
USER 1000
WORKDIR /tmp
RUN id -u; pwd; touch /x || echo refused
RUN {last}
"""


@contextlib.contextmanager
def dockerd(place: Path, rootfs: Path, leftovers: Leftovers, runc: str) -> Iterator[Docker]:
    """A dockerd with another program as its runc, which writes down how it is called."""
    (place / "bin").mkdir(parents=True)
    (place / "bin/runc").write_text(f'#!/bin/sh\necho "$@" >>{place}/calls\nexec {runc} "$@"\n', encoding="ascii")
    (place / "bin/runc").chmod(0o755)
    directory = Path(tempfile.mkdtemp(prefix="docker-", dir="/tmp"))
    made = Docker(directory, rootfs, leftovers, (f"{place}/bin",))
    made.env["DOCKER_BUILDKIT"] = "1"
    try:
        yield made
    finally:
        made.end()
        unmount_own(directory)
    Tidiness([directory], directory / "root/buildkit", leftovers, ("buildkit",)).check()
    shutil.rmtree(directory)


def build(docker: Docker, place: Path, last: str) -> tuple[int, list[str]]:
    """Build; returns the code, and what the steps printed, without their numbers and times."""
    context = place / "context"
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text(DOCKERFILE.format(last=last), encoding="ascii")
    done = docker("build", "--network=none", "--no-cache", "--progress=plain", "--tag=built", str(context))
    steps = re.findall(r"^#\d+ \d+\.\d+ (.*)$", done.out + done.err, re.MULTILINE)
    return done.code, sorted(steps)


def test_the_same_as_with_runc(tmp_path: Path, machine_rootfs: Path, leftovers: Leftovers) -> None:
    """Steps that work, and one that does not: its code is in the words of docker."""
    seen = []
    for name, program in (("runc", shutil.which("runc") or ""), ("runjail", str(RUNJAIL))):
        with dockerd(tmp_path / name, machine_rootfs, leftovers, program) as docker:
            if docker.major >= 23:
                pytest.skip("docker 23 and later build by a plugin of their client, buildx")
            built = build(docker, tmp_path / name, "true"), build(docker, tmp_path / name, "echo last; exit 3")
            words = docker.words("--rm", "cat", "/made")
            words[words.index("machine")] = "built"
            seen.append((built, docker.ok(*words).out))
        assert " run --bundle " in (tmp_path / name / "calls").read_text(encoding="utf-8")

    assert seen[0] == seen[1]
    assert seen[0][0][0] == (0, ["/tmp", "0", "1000", "refused", "sh", "touch: /x: Permission denied"])
    assert seen[0][0][1][0] != 0
