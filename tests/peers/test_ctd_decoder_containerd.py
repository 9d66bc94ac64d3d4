"""containerd decrypts with ctd-decoder: CRI pulls, `ctr image pull` and `import`; what it says without a key.

The configuration is taken from docs/encrypted-images-containerd.md. Everything is private: containerd's directories and
socket, and a registry on the loopback interface.
"""

import contextlib
import hashlib
import io
import itertools
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail import protobuf
from runjail.image.model import Descriptor
from tests.support.image import encrypted_images
from tests.support.image.registry_server import DockerRegistry
from tests.support.leftovers import Leftovers
from tests.support.peers import decrypting
from tests.support.peers.commands import PATH, RUNJAIL, Caller, Tidiness, eventually
from tests.support.peers.decrypting import DECODER, Node
from tests.support.processes import end, start_daemon

pytestmark = [pytest.mark.peers("containerd", "ctr", "skopeo", "docker-registry"), pytest.mark.linux]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "encrypted-images-containerd.md"
OURS = """
[grpc]
  address = "{0}/containerd.sock"

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
"""
PULL, IMAGE = "/runtime.v1.ImageService/PullImage", {1: ("image", {1: ("image", "s")})}
NUMBERS = itertools.count(1)
TEXT = b"Hello World!\n" * 20_000  # more than the 10 KiB that imgcrypt's decoder holds back
HELLO = encrypted_images.tar(content=TEXT)


class Machine(Caller):
    """containerd with stream processors, `ctr` to talk to it, a registry to pull from."""

    def __init__(self, directory: Path, leftovers: Leftovers) -> None:
        self.directory, self.node, self.ours = directory, Node(directory), leftovers
        self.spool = directory / "spool"
        self.spool.mkdir()
        self.env = {"PATH": PATH, leftovers.MARK: leftovers.base}
        self.socket = str(directory / "containerd.sock")
        self.command = ["ctr", "--address", self.socket, "--namespace", "k8s.io"]
        self._write()
        (directory / "registry").mkdir()
        self.server = DockerRegistry(directory / "registry")
        self.registry = self.server.host
        command = ["containerd", "--config", str(directory / "config.toml")]
        self.daemon = start_daemon(command, directory / "containerd.log", self.env)

    def _write(self) -> None:
        """Write containerd's configuration, that of the page but for places."""
        places = {
            "version = 2\n": f'version = 2\nroot = "{self.directory}/root"\nstate = "{self.directory}/state"\n',
            "/usr/local/bin/ctd-decoder": str(DECODER),
            "/etc/containerd/ocicrypt/keys": str(self.node.keys),
            "/etc/containerd/ocicrypt/ocicrypt_keyprovider.conf": f'{self.node.providers}", "TMPDIR={self.spool}',
            "/var/lib/containerd/": f"{self.directory}/root/",
        }
        text = PAGE.read_text(encoding="utf-8").partition("```toml\n")[2].partition("```")[0]
        for there, here in places.items():
            assert there in text
            text = text.replace(there, here)
        (self.directory / "config.toml").write_text(text + OURS.format(self.directory), encoding="ascii")

    def ready(self) -> bool:
        return self("version").code == 0

    def end(self) -> None:
        """Stop both daemons."""
        self.server.stop()
        end(self.daemon)

    def words(self, options: str, *command: str) -> list[str]:
        """Return the words of `ctr run`: options, with the image at their end."""
        place = ["--fifo-dir", str(self.directory / "fifo"), "--cgroup", f"/{self.ours.group}/hello", "--net-host"]
        runtime = ["--runc-binary", str(RUNJAIL), "--runc-root", str(self.directory / "runjail")]
        mark = ["--env", f"{self.ours.MARK}={self.ours.base}"]
        return ["run", "--rm", "--snapshotter", "native", *runtime, *place, *mark, *options.split(), "hello", *command]

    def push(self, layers: "list[tuple[bytes, Descriptor]]", archives: "list[bytes]") -> str:
        """Put an image of these layers into the registry as it is. Returns its name."""
        layout = encrypted_images.Layout(self.directory / f"image{next(NUMBERS)}", layers, archives)
        return self.copy(layout)

    def push_sealed(self, *archives: bytes, compression: str = "gzip") -> str:
        """Put an image for the node's key into the registry. Returns its name."""
        kind = encrypted_images.LAYER + (f"+{compression}" if compression else "")
        recipient = {"pubkeys": (self.node.public,)}
        blobs = [encrypted_images.compressed(archive, compression) for archive in archives]
        return self.push([encrypted_images.seal(blob, kind, recipient) for blob in blobs], list(archives))

    def copy(self, layout: encrypted_images.Layout, *options: str) -> str:
        """Put an image into the registry with skopeo. Returns its name."""
        name = f"{self.registry}/hello{next(NUMBERS)}:latest"
        encrypted_images.skopeo(layout.name, f"docker://{name}", "--dest-tls-verify=false", *options)
        return name

    def cri_pull(self, name: str) -> str:
        """Pull as the kubelet does. Returns "", or what containerd says when it refuses."""
        import grpc

        with grpc.insecure_channel(f"unix:{self.socket}") as channel:
            try:
                channel.unary_unary(PULL)(protobuf.encode(IMAGE, {"image": {"image": name}}), timeout=60)
            except grpc.RpcError as error:
                return str(error.details())
        return ""

    def snapshots(self) -> list[str]:
        """Return the names of all snapshots."""
        return [line.split()[0] for line in self.ok("snapshots", "--snapshotter", "native", "ls").lines[1:]]

    def unpacked(self) -> "list[dict[str, bytes]]":
        """Return the files of every snapshot that has some, also of those that containerd gave up."""
        trees = (self.directory / "root/io.containerd.snapshotter.v1.native/snapshots").glob("*")
        found = [{path.name: path.read_bytes() for path in tree.iterdir() if path.is_file()} for tree in sorted(trees)]
        return [files for files in found if files]

    def forget(self) -> None:
        """Remove all images, and what belongs to them."""
        for name in self.ok("images", "ls", "-q").lines:
            self.ok("images", "rm", "--sync", name)
        eventually(lambda: not self.snapshots() and not self.unpacked(), "snapshots of no image are gone")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, leftovers: Leftovers) -> Iterator[Machine]:
    decrypting.need()
    directory = tmp_path_factory.mktemp("node")
    machine = Machine(directory, leftovers)
    try:
        eventually(machine.ready, "containerd answers", 40)
        yield machine
    finally:
        machine.end()
    assert os.listdir(machine.spool) == []
    Tidiness([directory], directory / "runjail", leftovers).check()


@pytest.fixture
def containerd(machine: Machine) -> Iterator[Machine]:
    """The same, without images before and after each test."""
    yield machine
    machine.forget()


# With the key -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
def test_a_cri_pull_decrypts_with_the_keys_of_the_node(containerd: Machine, compression: str) -> None:
    """What the kubelet does, key_model = node; in every compression, several layers."""
    pytest.importorskip("grpc")
    name = containerd.push_sealed(HELLO, encrypted_images.tar("second", b"layer"), compression=compression)

    assert containerd.cri_pull(name) == ""
    assert {"hello": TEXT, "second": b"layer"} in containerd.unpacked()


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_cri_pull_decrypts_what_skopeo_encrypts(containerd: Machine, compression: str) -> None:
    pytest.importorskip("grpc")
    (containerd.directory / "public.pem").write_bytes(containerd.node.public)
    plain = encrypted_images.plain(containerd.directory / f"plain-{compression}", "gzip", HELLO)
    options = ("--dest-compress-format", compression, "--encryption-key", f"jwe:{containerd.directory}/public.pem")

    assert containerd.cri_pull(containerd.copy(plain, *options)) == ""
    assert containerd.unpacked() == [{"hello": TEXT}]


def test_a_cri_pull_decrypts_with_a_key_provider(containerd: Machine) -> None:
    pytest.importorskip("grpc")
    layer = containerd.node.with_provider(HELLO, encrypted_images.LAYER)

    assert containerd.cri_pull(containerd.push([layer], [HELLO])) == ""
    assert containerd.unpacked() == [{"hello": TEXT}]


def test_ctr_pulls_and_runs_an_encrypted_image(containerd: Machine, machine_rootfs: Path) -> None:
    """This ctr sends no payload, so the descriptor comes from the content store."""
    image = io.BytesIO()
    with tarfile.open(fileobj=image, mode="w") as writer:
        writer.add(machine_rootfs, "")
    name = containerd.push_sealed(image.getvalue())

    containerd.ok("images", "pull", "--plain-http", "--snapshotter", "native", name)
    done = containerd.run(name, "/bin/sh", "-c", "echo 'Hello World!'")

    assert (done.code, done.out) == (0, "Hello World!\n"), done


def test_ctr_imports_an_encrypted_archive(containerd: Machine) -> None:
    layer = encrypted_images.seal(HELLO, encrypted_images.LAYER, {"pubkeys": (containerd.node.public,)})
    layout = encrypted_images.Layout(containerd.directory / "archived", [layer], [HELLO])
    archive = containerd.directory / "archive.tar"
    encrypted_images.skopeo(layout.name, f"oci-archive:{archive}:example.org/hello:latest")

    containerd.ok("images", "import", "--snapshotter", "native", str(archive))

    assert containerd.unpacked() == [{"hello": TEXT}]


# Without it -------------------------------------------------------------------------------------------------------


def refused(containerd: Machine, name: str) -> "list[str]":
    """Pull an image in both ways. Returns what they say; there is no snapshot then."""
    said = [containerd("images", "pull", "--plain-http", "--snapshotter", "native", name).err]
    with contextlib.suppress(ImportError):
        said.append(containerd.cri_pull(name))
    assert containerd.snapshots() == []
    return said


def test_without_the_key_containerd_refuses(containerd: Machine) -> None:
    layer = encrypted_images.seal(HELLO, encrypted_images.LAYER, {"pubkeys": (containerd.node.foreign,)})

    for said in refused(containerd, containerd.push([layer], [HELLO])):
        assert (
            "call to DecryptLayer failed: no suitable key unwrapper found or none of the private keys could be used"
            in said
        )
    assert containerd.unpacked() == []


def test_without_any_key_of_the_kind_containerd_refuses(containerd: Machine) -> None:
    ciphertext, descriptor = containerd.node.with_provider(HELLO, encrypted_images.LAYER)
    old, new = (f"org.opencontainers.image.enc.keys.provider.{name}" for name in ("vault", "other"))
    annotations = {name.replace(old, new): value for name, value in descriptor.annotations.items()}

    for said in refused(
        containerd, containerd.push([(ciphertext, descriptor.replace(annotations=annotations))], [HELLO])
    ):
        assert "call to DecryptLayer failed: missing private key needed for decryption" in said
    assert containerd.unpacked() == []


def test_a_layer_that_is_not_authentic_reaches_no_snapshot(containerd: Machine) -> None:
    """Its last byte differs, and the manifest has the right digest for that: only the HMAC tells."""
    ciphertext, descriptor = encrypted_images.seal(
        HELLO, encrypted_images.LAYER, {"pubkeys": (containerd.node.public,)}
    )
    changed = ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])
    forged = descriptor.replace(digest=f"sha256:{hashlib.sha256(changed).hexdigest()}")

    for said in refused(containerd, containerd.push([(changed, forged)], [HELLO])):
        assert f"could not copy data: reading blob {forged.digest}: could not properly decrypt byte stream" in said
    assert containerd.unpacked() == []


def test_a_layer_of_another_image_is_refused(containerd: Machine) -> None:
    """Authentic by itself, but not what the image config says: containerd compares the diffID."""
    layer = encrypted_images.seal(HELLO, encrypted_images.LAYER, {"pubkeys": (containerd.node.public,)})

    for said in refused(containerd, containerd.push([layer], [encrypted_images.tar("other")])):
        assert "wrong diff id" in said
