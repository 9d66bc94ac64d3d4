"""ctd-decoder: containerd's stream processor for encrypted layers, in the place of imgcrypt's program of that name.

    ctd-decoder [--decryption-keys-path DIR]

An encrypted layer comes in on standard input, the layer as it was before (still compressed) goes out on standard
output. Descriptor 3 holds the payload: a protobuf Any whose value is JSON with the layer's descriptor and perhaps keys.
Other than imgcrypt's program, this one emits nothing before the whole layer is authenticated: it keeps the ciphertext
in a file without a name, below TMPDIR or /var/tmp. A failure is one line on standard error and exit status 1.
"""

import _signal
import base64
import os
import sys
import tempfile
from contextlib import contextmanager

from runjail import log
from runjail.errors import Corrupt, ImageError, RunjailError, Unauthorized, UsageError, reason
from runjail.image import media, model
from runjail.image.crypto import blobs, keyprovider, keys, ocicrypt
from runjail.shim import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO, NoReturn

    from runjail.image.crypto.options import Parameters
    from runjail.image.model import Descriptor

USAGE = "usage: ctd-decoder [--decryption-keys-path DIR]"
FLAG = "decryption-keys-path"
PAYLOAD_DESCRIPTOR = 3
PAYLOAD = "io.containerd.ocicrypt.v1.Payload"
LARGEST = 32 << 20  # bytes of a payload: annotations and every key of a caller
BLOCK = 1 << 20
SPOOL = "/var/tmp"  # without TMPDIR: layers are large, and /tmp may be memory
ANY: "wire.Table" = {1: ("type_url", "s"), 2: ("value", "y")}


def main() -> "NoReturn":
    """Decode one layer and end the process."""
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # key providers and gpg are waited for
    log.set_up(level="error")  # containerd takes all of standard error for the reason of a failure
    os._exit(run(sys.argv[1:]))


def run(arguments: "Sequence[str]") -> int:
    """Run one command line. Returns the exit code; what went wrong is on standard error."""
    try:
        directory = _directory(arguments)
        if directory is None:
            _write(1, f"{USAGE}\n".encode())
        else:
            _decode(directory)
        return 0
    except RunjailError as error:
        text = str(error)
    except Exception as error:
        text = f"internal error: {type(error).__name__}"  # no more: its words may be those of a key
    os.write(2, f"{' '.join(text.split())}\n".encode("utf-8", "replace"))
    return 1


def _directory(arguments: "Sequence[str]") -> "str | None":
    """Return the value of the flag in Go's syntax, "" without it, None when help is asked for. Raises UsageError."""
    found, rest = "", list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--" or not word.startswith("-"):
            break  # what follows are operands, which imgcrypt's program ignores
        name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        if name in ("help", "h"):
            return None
        if name != FLAG:
            raise UsageError(f"flag provided but not defined: -{name}")
        if not equals and not rest:
            raise UsageError(f"flag needs an argument: -{name}")
        found = value if equals else rest.pop(0)
        if not found:
            raise UsageError(f"flag -{name} needs a directory")
    return found


def _decode(directory: str) -> None:
    """Decode standard input. directory: of keys, besides those in the payload; "" for none."""
    parameters, descriptor = _payload()
    if directory:
        with _telling("unable to get decryption keys in provided key path"):
            parameters = keys.merge(keys.read_directory(directory), parameters)
    with _telling("call to DecryptLayer failed"):
        if not descriptor.encrypted or media.layer_compression(descriptor.media_type) is None:
            raise Corrupt(f"unsupporter layer MediaType: {descriptor.media_type}")  # imgcrypt's spelling
        private = ocicrypt.unwrap(descriptor, parameters, keyprovider.configured())
        public = ocicrypt.public(descriptor)
    with _telling("could not copy data"), _spool(descriptor.size) as file:
        blobs.verify(file.fileno(), private, public, descriptor)
        for block in blobs.decrypted(file.fileno(), private):
            _write(1, block)


@contextmanager
def _telling(what: str) -> "Iterator[None]":
    """Put what was being done before the cause, in imgcrypt's words; its own come first where the cause has them."""
    try:
        yield
    except OSError as error:
        raise ImageError(f"{what}: {reason(error)}") from None
    except RunjailError as error:
        text = str(error).removeprefix(str(Unauthorized("")))
        raise ImageError(text if text.startswith(what) else f"{what}: {text}") from None


def _payload() -> "tuple[Parameters, Descriptor]":
    """Read what containerd says about the layer: keys that its client sent along, and the descriptor."""
    with _telling("read payload"):
        with open(PAYLOAD_DESCRIPTOR, "rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise Corrupt(f"longer than {LARGEST >> 20} MiB")
    try:
        said = wire.decode(ANY, data)
    except ValueError as error:
        raise Corrupt(f"could not proto.Unmarshal() decrypt data: {error}") from None
    with _telling("could not UnmarshalAny() the decrypt data"):
        if said["type_url"] != PAYLOAD:
            raise Corrupt(f"type with url {said['type_url'][:80]!r}: not found")
        document = model.parse_document(said["value"], "payload")
        config = model.get(document, "DecryptConfig")
        parameters = model.get(config, "Parameters") if isinstance(config, dict) else None
        return _parameters(parameters or {}), model.parse_descriptor(model.get(document, "Descriptor"), "Descriptor")


def _parameters(document: object) -> "Parameters":
    """Return ocicrypt's parameters: texts in base64, or null, in lists by name; a list may be null too."""
    if not isinstance(document, dict):
        raise Corrupt("payload: DecryptConfig.Parameters must be an object")
    try:
        return {
            name: tuple(None if value is None else base64.b64decode(value, validate=True) for value in values or ())
            for name, values in document.items()
        }
    except (TypeError, ValueError):
        raise Corrupt("payload: DecryptConfig.Parameters must hold lists of base64 texts") from None


@contextmanager
def _spool(size: int) -> "Iterator[BinaryIO]":
    """Keep standard input in a file without a name, as far as it has to be kept to see that it is too long."""
    with tempfile.TemporaryFile(buffering=0, dir=os.environ.get("TMPDIR") or SPOOL) as file:
        left = size + 1
        while left and (block := os.read(0, min(BLOCK, left))):
            _write(file.fileno(), block)
            left -= len(block)
        yield file


def _write(descriptor: int, data: "bytes | memoryview") -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
