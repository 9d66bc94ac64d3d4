"""A node's key, its kubelet and its containerd: pods of encrypted images, as docs/kubernetes.md has it."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.image import encrypted_images
from tests.support.image.encrypted_images import LAYER, Layout
from tests.support.peers import decrypting
from tests.support.peers.commands import eventually
from tests.support.peers.kubernetes import Kubelet, containerds, named
from tests.support.peers.kubernetes_settings import REGISTRY
from tests.support.peers.pods import pod, shell

needed = ("kubelet of its own", "cni", "runc", "cgroups v1", "curl", "docker-registry", "skopeo")
pytestmark = [pytest.mark.linux, pytest.mark.needs(*needed)]


@pytest.fixture(scope="module", params=containerds(), ids=named)
def machine(request: pytest.FixtureRequest, kubelet: Callable[..., Any]) -> Iterator[Kubelet]:
    """A kubelet with each containerd that is there, and a registry beside it."""
    decrypting.need()
    with kubelet("runjail", request.param) as made:
        made.start("docker-registry")
        answers = ["curl", "--silent", "--fail", f"http://{REGISTRY}/v2/"]
        eventually(lambda: made.run(*answers).code == 0, "the registry answers")
        yield made


def image(machine: Kubelet, name: str, compression: str, key: bytes) -> dict[str, Any]:
    """Put an image into the registry, for who has the private half of a key. Returns what a container is of it.

    Its layer is the machine's root file system and a file of the image's name: containerd asks for no key where it has
    a layer of the same content already.
    """
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.add(machine.rootfs, arcname=".")
        tar.addfile(tarfile.TarInfo(name))
    blob = encrypted_images.compressed(content.getvalue(), compression)
    sealed = encrypted_images.seal(blob, LAYER + (f"+{compression}" if compression else ""), {"pubkeys": (key,)})
    layout, where = Layout(machine.directory / name, [sealed], [content.getvalue()]), f"{REGISTRY}/{name}:1"
    words = ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", layout.name, f"docker://{where}"]
    done = machine.run(*words)
    assert done.code == 0, done
    env = [{"name": machine.ours.MARK, "value": machine.ours.base}]
    return {**shell(f"ls /{name}"), "image": where, "imagePullPolicy": "Always", "env": env}


@pytest.mark.parametrize("compression", ["gzip", "zstd", ""])
def test_the_key_of_the_node(machine: Kubelet, compression: str) -> None:
    name = f"of-{compression or 'tar'}"
    machine.place(pod(name, image(machine, name, compression, machine.node.public)))
    eventually(lambda: "terminated" in machine.state(name), "it has run", 180)

    assert (machine.state(name)["terminated"]["exitCode"], machine.logs(name)) == (0, f"/{name}\n")


def test_without_the_key(machine: Kubelet) -> None:
    """A pod waits, and says why."""
    machine.place(pod("foreign", image(machine, "foreign", "gzip", machine.node.foreign)))
    reason = "call to DecryptLayer failed: no suitable key unwrapper found"

    eventually(lambda: reason in json.dumps(machine.state("foreign")), "it says why", 180)
    assert set(machine.state("foreign")) == {"waiting"}
