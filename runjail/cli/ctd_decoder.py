"""ctd-decoder: containerd's stream processor for encrypted layers.

It stands in the place of imgcrypt's program of that name.

    ctd-decoder [--decryption-keys-path DIR] [--content-store DIR]

An encrypted layer comes in on standard input, the layer as it was before (still compressed) goes out on standard
output. Descriptor 3 holds the payload: a protobuf Any whose value is JSON with the layer's descriptor and perhaps keys.
Other than imgcrypt's program, this one emits nothing before the whole layer is authenticated: it keeps the ciphertext
in a file without a name, below TMPDIR or /var/tmp. A failure is one line on standard error and exit status 1.

--content-store is ours: where containerd keeps manifests, for clients such as `ctr` that send no payload.
"""

from __future__ import annotations

import _signal
import base64
import errno
import hashlib
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from typing import NoReturn

from runjail import files, log, protobuf
from runjail.cli.ctd_decoder_content import encrypted_layers
from runjail.errors import Corrupt, ImageError, RunjailError, Unauthorized, UnreadableFile, UsageError, reason
from runjail.image import media_types, model
from runjail.image.crypto import keyprovider_config, keys, layer_stream, ocicrypt
from runjail.image.crypto.options import Parameters, PrivateLayerOptions
from runjail.image.model import Descriptor

USAGE = "usage: ctd-decoder [--decryption-keys-path DIR] [--content-store DIR]"
FLAGS = ("decryption-keys-path", "content-store")
NO_PAYLOAD = (
    "read payload: bad file descriptor: containerd has sent none, and args of this processor lack --content-store"
)
PAYLOAD_DESCRIPTOR = 3
PAYLOAD = "io.containerd.ocicrypt.v1.Payload"
LARGEST = 32 << 20  # bytes of a payload: annotations and every key of a caller
BLOCK = 1 << 20
NOTICE = 0.2  # seconds for containerd to notice that we failed
SPOOL = "/var/tmp"  # without TMPDIR: layers are large, and /tmp may be memory
ANY: protobuf.Table = {1: ("type_url", "s"), 2: ("value", "y")}


def main() -> NoReturn:
    """Decode one layer and end the process."""
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # key providers and gpg are waited for
    log.set_up(level="error")  # containerd takes all of standard error for the reason of a failure
    code = run(sys.argv[1:])
    if code:
        _let_containerd_see()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line. Returns the exit code; what went wrong is on standard error."""
    try:
        flags = _flags(arguments)
        if flags is None:
            files.write_all(1, f"{USAGE}\n".encode())
        else:
            _decode(*flags.values())
        return 0
    except RunjailError as error:
        text = str(error)
    except Exception as error:
        text = f"internal error: {type(error).__name__}"  # no more: its words may be those of a key
    os.write(2, f"{' '.join(text.split())}\n".encode("utf-8", "replace"))
    return 1


def _let_containerd_see() -> None:
    """Keep standard output open until our failure has been noticed, in a child, so that we can end.

    containerd (core/diff/stream_unix.go) reads to the end of the output and then looks whether somebody has noticed a
    failure. When the output ends because we do, nobody has had the time, often enough: it goes on to compare the digest
    of nothing, and "wrong diff id" is all that people get to see.
    """
    us = os.getpid()
    try:
        if not stat.S_ISFIFO(os.fstat(1).st_mode) or os.fork():
            return
    except OSError:  # there is no output, or no process to be had: then without
        return
    os.closerange(0, 1)  # who writes to it must see that nobody reads
    os.closerange(2, PAYLOAD_DESCRIPTOR + 1)  # standard error is what containerd waits for, besides our end
    while os.getppid() == us:
        time.sleep(0.01)
    time.sleep(NOTICE)
    os._exit(1)


def _flags(arguments: Sequence[str]) -> dict[str, str] | None:
    """Return the values of the flags, in Go's syntax; None when help is asked for. Raises UsageError."""
    found, rest = dict.fromkeys(FLAGS, ""), list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--" or not word.startswith("-"):
            break  # what follows are operands, which imgcrypt's program ignores
        name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        if name in ("help", "h"):
            return None
        if name not in FLAGS:
            raise UsageError(f"flag provided but not defined: -{name}")
        if not equals and not rest:
            raise UsageError(f"flag needs an argument: -{name}")
        found[name] = value if equals else rest.pop(0)
        if not found[name]:
            raise UsageError(f"flag -{name} needs a directory")
    return found


def _decode(directory: str, store: str) -> None:
    """Decode standard input. directory: of keys, besides those in the payload; store: of content; "" for none."""
    payload = _payload(store)
    parameters = payload[0] if payload else {}
    if directory:
        with _error_context("unable to get decryption keys in provided key path"):
            parameters = keys.merge(keys.read_directory(directory), parameters)
    if payload:
        private = _unwrap([payload[1]], parameters)[1]
        with _spool(payload[1].size + 1) as file:  # one more than it has: then it is too long
            _copy(file, payload[1], private)
        return
    with _spool(sys.maxsize) as file:
        with _error_context("read payload: bad file descriptor"):
            found = list(encrypted_layers(store, f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"))
        _copy(file, *_unwrap(found, parameters))


def _unwrap(layers: Sequence[Descriptor], parameters: Parameters) -> tuple[Descriptor, PrivateLayerOptions]:
    """Return the first of the descriptors of one layer that a key opens, and its options."""
    failure: RunjailError = Unauthorized()
    with _error_context("call to DecryptLayer failed"):
        providers = keyprovider_config.configured()
        for layer in layers:
            try:
                if not layer.encrypted or media_types.layer_compression(layer.media_type) is None:
                    raise Corrupt(f"unsupporter layer MediaType: {layer.media_type}")  # imgcrypt's spelling
                return layer, ocicrypt.unwrap(layer, parameters, providers)
            except RunjailError as error:
                failure = error
        raise failure


def _copy(file: FileIO, descriptor: Descriptor, private: PrivateLayerOptions) -> None:
    """Authenticate the whole layer, and only then write it decrypted."""
    with _error_context("could not copy data"):
        layer_stream.verify(file.fileno(), private, ocicrypt.public(descriptor), descriptor)
        for block in layer_stream.decrypted(file.fileno(), private):
            files.write_all(1, block)


@contextmanager
def _error_context(what: str) -> Iterator[None]:
    """Put what was being done before the cause, in imgcrypt's words; its own come first where the cause has them."""
    try:
        yield
    except OSError as error:
        raise ImageError(f"{what}: {reason(error)}") from None
    except RunjailError as error:
        text = str(error).removeprefix(str(Unauthorized("")))
        raise ImageError(text if text.startswith(what) else f"{what}: {text}") from None


def _payload(store: str) -> tuple[Parameters, Descriptor] | None:
    """Read what containerd says about the layer: keys that its client sent along, and the descriptor.

    None when it says nothing and there is a content store to look in.
    """
    try:
        data = files.read_open(PAYLOAD_DESCRIPTOR, "the payload", LARGEST)
    except UnreadableFile as error:
        if error.errno != errno.EBADF:
            raise ImageError(f"read payload: {error.why}") from None
        if store:
            return None
        raise ImageError(NO_PAYLOAD) from None
    os.close(PAYLOAD_DESCRIPTOR)
    try:
        wrapped = protobuf.decode(ANY, data)
    except ValueError as error:
        raise Corrupt(f"could not proto.Unmarshal() decrypt data: {error}") from None
    with _error_context("could not UnmarshalAny() the decrypt data"):
        if wrapped["type_url"] != PAYLOAD:
            raise Corrupt(f"type with url {wrapped['type_url'][:80]!r}: not found")
        document = model.parse_document(wrapped["value"], "payload")
        config = model.get(document, "DecryptConfig")
        parameters = model.get(config, "Parameters") if isinstance(config, dict) else None
        return _parameters(parameters or {}), model.parse_descriptor(model.get(document, "Descriptor"), "Descriptor")


def _parameters(document: object) -> Parameters:
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
def _spool(most: int) -> Iterator[FileIO]:
    """Keep up to so many bytes of standard input in a file without a name."""
    place = os.environ.get("TMPDIR") or SPOOL
    with _error_context(f"could not copy data: {place}"):
        file = tempfile.TemporaryFile(buffering=0, dir=place)
    with file:
        with _error_context("could not copy data"):
            while most and (block := os.read(0, min(BLOCK, most))):
                with _error_context(f"could not copy data: {place}"):
                    files.write_all(file.fileno(), block)
                most -= len(block)
            file.seek(0)
        yield file
