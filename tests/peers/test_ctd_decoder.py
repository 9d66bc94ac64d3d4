"""ctd-decoder as containerd calls it: what it emits, what it refuses, and with which words."""

import base64
import hashlib
import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runjail import protobuf
from runjail.cli.ctd_decoder import NO_PAYLOAD
from runjail.image.model import Descriptor
from tests.support.image import encrypted_images
from tests.support.peers import decrypting
from tests.support.peers.commands import eventually
from tests.support.peers.decrypting import DECODER, Node

ANY: Any = {1: ("type_url", "s"), 2: ("value", "y")}
PAYLOAD = "io.containerd.ocicrypt.v1.Payload"
PLAIN = encrypted_images.tar(content=b"Hello World!\n" * 100_000)  # several of the decoder's blocks
NO_KEY = "call to DecryptLayer failed: missing private key needed for decryption"
NO_FIT = "call to DecryptLayer failed: no suitable key unwrapper found or none of the private keys could be used"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    decrypting.need()
    return Node(tmp_path_factory.mktemp("node"))


@pytest.fixture(scope="module")
def layer(node: Node) -> tuple[bytes, Descriptor]:
    """A layer encrypted for the node's key: ciphertext and descriptor."""
    return encrypted_images.seal(PLAIN, encrypted_images.LAYER, {"pubkeys": (node.public,)})


def payload(descriptor: Descriptor, parameters: "dict[str, list[bytes | None]] | None" = None) -> bytes:
    """Return what containerd writes to descriptor 3."""
    said = parameters and {
        name: [None if value is None else base64.b64encode(value).decode() for value in values]
        for name, values in parameters.items()
    }
    value = {"DecryptConfig": {"Parameters": said}, "Descriptor": descriptor.document()}
    return protobuf.encode(ANY, {"type_url": PAYLOAD, "value": json.dumps(value).encode()})


class Decoded:
    """How the decoder ended."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code, self.out, self.err = code, out, err.decode()

    def refused(self) -> str:
        """Insist on a failure that emitted nothing, with one line of text, and return that."""
        assert (self.code, self.out) == (1, b""), self.err
        assert self.err.count("\n") == 1 and self.err.endswith("\n")
        return self.err.rstrip("\n")


@pytest.fixture
def decode(tmp_path: Path) -> Any:
    """Return a function that runs the decoder: ciphertext, payload or None for a closed descriptor, arguments."""

    def run(ciphertext: bytes, given: bytes | None, *arguments: str, **env: str) -> Decoded:
        (tmp_path / "payload").write_bytes(given or b"")
        (tmp_path / "spool").mkdir(exist_ok=True)
        opened = "3>&-" if given is None else f"3<{shlex.quote(str(tmp_path / 'payload'))}"
        command = ["sh", "-c", f'exec "$0" "$@" {opened}', str(DECODER), *arguments]
        variables = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path / "spool"), **env}
        done = subprocess.run(command, input=ciphertext, env=variables, capture_output=True, timeout=200)
        if os.path.isdir(variables["TMPDIR"]):
            assert os.listdir(variables["TMPDIR"]) == []
        return Decoded(done.returncode, done.stdout, done.stderr)

    return run


# Decrypting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flag", [["--decryption-keys-path", "{}"], ["-decryption-keys-path", "{}"], ["--decryption-keys-path={}"]]
)
def test_the_key_directory_opens_a_layer(node: Node, layer: Any, decode: Any, flag: list[str]) -> None:
    """With the flag in every form that Go's programs take."""
    ciphertext, descriptor = layer
    done = decode(ciphertext, payload(descriptor), *(word.format(node.keys) for word in flag))

    assert (done.code, done.out == PLAIN, done.err) == (0, True, "")


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_layers_stay_compressed(node: Node, decode: Any, compression: str) -> None:
    blob = b"whatever it is, it is the blob"
    ciphertext, descriptor = encrypted_images.seal(
        blob, f"{encrypted_images.LAYER}+{compression}", {"pubkeys": (node.public,)}
    )

    assert decode(ciphertext, payload(descriptor), f"-decryption-keys-path={node.keys}").out == blob


def test_keys_come_with_the_payload_too(node: Node, decode: Any) -> None:
    """Next to those of the directory, each with its password or none."""
    ciphertext, descriptor = encrypted_images.seal(b"layer", encrypted_images.LAYER, {"pubkeys": (node.foreign,)})
    keys: Any = {"privkeys": [node.foreign_private], "privkeys-passwords": [None]}

    assert decode(ciphertext, payload(descriptor, keys)).out == b"layer"
    assert decode(ciphertext, payload(descriptor, keys), f"--decryption-keys-path={node.keys}").out == b"layer"
    assert NO_FIT in decode(ciphertext, payload(descriptor), f"--decryption-keys-path={node.keys}").refused()


def test_a_key_provider_opens_a_layer(node: Node, decode: Any) -> None:
    ciphertext, descriptor = node.with_provider(b"layer", encrypted_images.LAYER)

    assert decode(ciphertext, payload(descriptor), OCICRYPT_KEYPROVIDER_CONFIG=str(node.providers)).out == b"layer"
    assert NO_KEY in decode(ciphertext, payload(descriptor)).refused()
    assert NO_KEY in decode(ciphertext, payload(descriptor), OCICRYPT_KEYPROVIDER_CONFIG="/no/such").refused()


def test_help_says_how_it_is_called(node: Node, decode: Any) -> None:
    done = decode(b"", None, "--help")

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(b"usage: ctd-decoder [--decryption-keys-path DIR]")


# Refusing ---------------------------------------------------------------------------------------------------------


def test_without_a_key_nothing_is_emitted(layer: Any, decode: Any) -> None:
    ciphertext, descriptor = layer

    assert decode(ciphertext, payload(descriptor)).refused() == NO_KEY


def test_a_layer_that_was_changed_is_never_emitted(node: Node, layer: Any, decode: Any) -> None:
    """Not even its part before the change: wherever a byte differs, is missing, or is too much."""
    ciphertext, descriptor = layer
    flag = f"--decryption-keys-path={node.keys}"
    last = bytearray(ciphertext)
    last[-1] ^= 1

    for changed in (bytes(last), ciphertext[:-1], ciphertext + b"x", b""):
        said = decode(changed, payload(descriptor), flag).refused()
        assert said.startswith(f"could not copy data: reading blob {descriptor.digest}: ")


def test_a_layer_that_is_not_authentic_is_never_emitted(node: Node, layer: Any, decode: Any) -> None:
    """Who changes a blob and its digest in the manifest does not know the key of the HMAC."""
    ciphertext, descriptor = layer
    changed = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
    forged = descriptor.replace(digest=f"sha256:{hashlib.sha256(changed).hexdigest()}")

    said = decode(changed, payload(forged), f"--decryption-keys-path={node.keys}").refused()

    assert said.startswith(
        f"could not copy data: reading blob {forged.digest}: could not properly decrypt byte stream; "
    )


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (None, "read payload: bad file descriptor"),
        (b"", "could not UnmarshalAny() the decrypt data: type with url '': not found"),
        (b"\x0a\xff", "could not proto.Unmarshal() decrypt data: "),
        (
            protobuf.encode(ANY, {"type_url": "other", "value": b"{}"}),
            "could not UnmarshalAny() the decrypt data: type with url",
        ),
        (
            protobuf.encode(ANY, {"type_url": PAYLOAD, "value": b"["}),
            "could not UnmarshalAny() the decrypt data: payload: ",
        ),
        (
            protobuf.encode(ANY, {"type_url": PAYLOAD, "value": b"{}"}),
            "could not UnmarshalAny() the decrypt data: Descriptor: ",
        ),
        (
            protobuf.encode(
                ANY, {"type_url": PAYLOAD, "value": b'{"DecryptConfig":{"Parameters":{"privkeys":["?"]}}}'}
            ),
            "could not UnmarshalAny() the decrypt data: payload: DecryptConfig.Parameters must hold lists of base64",
        ),
        (
            payload(Descriptor(f"{encrypted_images.LAYER}+gzip", "sha256:" + "0" * 64, 5)),
            f"call to DecryptLayer failed: unsupporter layer MediaType: {encrypted_images.LAYER}+gzip",
        ),
        (
            payload(Descriptor("application/wasm+encrypted", "sha256:" + "0" * 64, 5)),
            "call to DecryptLayer failed: unsupporter layer MediaType: application/wasm+encrypted",
        ),
    ],
)
def test_bad_payloads_are_refused(node: Node, decode: Any, given: bytes | None, why: str) -> None:
    assert decode(b"layer", given, "--decryption-keys-path", str(node.keys)).refused().startswith(why)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--keys", "x"], "flag provided but not defined: -keys"),
        (["--decryption-keys-path"], "flag needs an argument: -decryption-keys-path"),
        (["--decryption-keys-path="], "flag -decryption-keys-path needs a directory"),
    ],
)
def test_bad_flags_are_refused(node: Node, layer: Any, decode: Any, arguments: list[str], why: str) -> None:
    assert decode(layer[0], payload(layer[1]), *arguments).refused() == why


def test_a_key_directory_with_a_fault_is_refused(node: Node, layer: Any, decode: Any, tmp_path: Path) -> None:
    """As a whole: a symbolic link or a file that is no key may be a mistake, or an attack."""
    ciphertext, descriptor = layer
    prefix = "unable to get decryption keys in provided key path: "
    for name, make, why in (
        ("absent", lambda path: None, "does not exist"),
        (
            "link",
            lambda path: (path.mkdir(), (path / "key").symlink_to(node.keys / "more/key.pem")),
            "Symbolic links not",
        ),
        ("text", lambda path: (path.mkdir(), (path / "README").write_text("keys")), "Unknown decryption key type: "),
    ):
        make(tmp_path / name)
        said = decode(ciphertext, payload(descriptor), "--decryption-keys-path", str(tmp_path / name)).refused()
        assert said.startswith(prefix) and why in said


def test_an_unusable_spool_is_named(node: Node, layer: Any, decode: Any) -> None:
    ciphertext, descriptor = layer

    said = decode(ciphertext, payload(descriptor), f"--decryption-keys-path={node.keys}", TMPDIR="/no/such").refused()

    assert said.startswith("could not copy data: /no/such: ")


@pytest.mark.linux
def test_a_full_spool_is_named(node: Node, layer: Any, tmp_path: Path) -> None:
    ciphertext, descriptor = layer
    (tmp_path / "payload").write_bytes(payload(descriptor))
    (tmp_path / "small").mkdir()
    decoder = f"{DECODER} --decryption-keys-path={node.keys} 3<{tmp_path}/payload"
    script = f"mount -t tmpfs -o size=4k none {tmp_path}/small && exec {decoder}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        input=ciphertext * 100,
        env={"PATH": os.environ["PATH"], "TMPDIR": f"{tmp_path}/small"},
        capture_output=True,
        timeout=60,
    )

    assert done.returncode == 1
    assert done.stderr.decode().startswith(f"could not copy data: {tmp_path}/small: "), done.stderr


def test_bad_providers_are_refused(node: Node, layer: Any, decode: Any, tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("{", encoding="ascii")

    said = decode(layer[0], payload(layer[1]), OCICRYPT_KEYPROVIDER_CONFIG=str(tmp_path / "bad")).refused()

    assert said.startswith(f"call to DecryptLayer failed: invalid {tmp_path}/bad: not JSON")


def test_a_failure_can_be_noticed_before_the_output_ends(node: Node, tmp_path: Path) -> None:
    """containerd looks for a failure as soon as the output ends, and takes what it has for the layer otherwise."""
    command = ["sh", "-c", 'exec "$0" 3>&-', str(DECODER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin and process.stdout and process.stderr
        assert process.wait(120) == 1
        assert process.stderr.read() == f"{NO_PAYLOAD}\n".encode()
        os.set_blocking(process.stdout.fileno(), False)
        assert process.stdout.read() is None, "the output ended with the program"
        with pytest.raises(BrokenPipeError):
            os.write(process.stdin.fileno(), b"layer")
        eventually(lambda: process.stdout and process.stdout.read() == b"", "the output ends")


# Without a payload ------------------------------------------------------------------------------------------------


def test_the_content_store_stands_in_for_a_payload(node: Node, layer: Any, decode: Any, tmp_path: Path) -> None:
    """All manifests with the layer are tried: recipients are added by writing another one."""
    ciphertext, descriptor = layer
    store = encrypted_images.Layout(tmp_path / "store", [layer], [PLAIN])
    other = encrypted_images.seal(b"other", encrypted_images.LAYER, {"pubkeys": (node.foreign,)})[1]
    forged = descriptor.replace(annotations=other.annotations)
    encrypted_images.Layout(tmp_path / "store", [(ciphertext, forged)], [PLAIN])
    (store.path / "blobs/sha256/junk").write_bytes(b"{" + descriptor.digest.encode())
    flags = ("--content-store", str(store.path), "--decryption-keys-path", str(node.keys))

    assert decode(ciphertext, None, *flags).out == PLAIN
    said = decode(ciphertext[1:], None, *flags).refused()
    assert said.startswith(f"read payload: bad file descriptor: no manifest in {store.path} has an encrypted layer")
    assert NO_KEY in decode(ciphertext, None, *flags[:2]).refused()
    assert (
        decode(ciphertext, None, "--content-store=/no/such").refused()
        == "read payload: bad file descriptor: does not exist"
    )


def test_a_payload_counts_more_than_the_content_store(node: Node, layer: Any, decode: Any, tmp_path: Path) -> None:
    ciphertext, descriptor = layer
    store = encrypted_images.Layout(tmp_path / "store", [layer], [PLAIN])
    flags = ("--content-store", str(store.path), "--decryption-keys-path", str(node.keys))
    said = decode(ciphertext, payload(descriptor.replace(annotations={})), *flags).refused()

    assert said == NO_KEY
