"""docs/callers.md shows the options that the tests here really use."""

import json
from pathlib import Path

from tests.peers import test_buildah, test_containerd
from tests.support.peers import docker, podman

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "callers.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.replace("\\\n", " ").split())


def test_podman_lines() -> None:
    assert f"podman {podman.GLOBALS} run {podman.THIN} --rootfs" in WORDS


def test_containerd_lines() -> None:
    words = test_containerd.RUNTIME.format(program="/usr/local/bin/runjail", state="/run/runjail")

    assert f"ctr run --rm {words} --net-host --rootfs DIR web" in WORDS


def test_buildah_lines() -> None:
    words = test_buildah.RUNTIME.format(program="/usr/local/bin/runjail")

    assert f"buildah run {words} $container --" in WORDS
    assert f"buildah build {words} --tag" in WORDS


def test_docker_lines() -> None:
    section = PAGE.partition("## docker\n")[2].partition("\n## ")[0]
    document = section.partition("```json\n")[2].partition("```")[0]

    assert json.loads(document)["runtimes"] == docker.RUNTIMES
    assert all(f'"{name}": {json.dumps(docker.ALONE[name])}' in section for name in ("bridge", "iptables", "exec-opts"))
