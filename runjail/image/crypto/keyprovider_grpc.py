"""Key providers that are gRPC services: ocicrypt's `keyprovider.KeyProviderService`.

See its keyprovider.proto. Its messages have one field, bytes with number 1, that holds the JSON document, and nothing
else is taken for one.
"""

from __future__ import annotations

from typing import Any

from runjail import files, protobuf
from runjail.errors import RunjailError, UnreadableFile
from runjail.image.crypto.keyprovider_config import LARGEST, Provider, Tls
from runjail.image.crypto.options import SchemeError

SERVICE = "/keyprovider.KeyProviderService/"
TIMEOUT = 60.0  # seconds, for connecting and the answer
MESSAGE: protobuf.Table = {1: ("document", "y")}
LIMIT = 4 << 20  # bytes of an answer


def ask(provider: Provider, method: str, question: bytes) -> bytes:
    """Call WrapKey or UnWrapKey. Raises SchemeError with the service's status, RunjailError without grpcio."""
    try:
        import grpc
    except ImportError:
        hint = "install the port devel/py-grpcio, or runjail[grpc]"
        raise RunjailError("key providers that are gRPC services need the Python package grpcio", hint) from None
    channel = _channel(grpc, provider)
    try:
        answer = decode(channel.unary_unary(SERVICE + method)(encode(question), timeout=TIMEOUT))
    except grpc.RpcError as error:
        details = str(error.details() or "")[:300].replace("\n", " ")
        raise SchemeError(f"gRPC {provider.grpc}: {error.code().name}: {details}") from None
    finally:
        channel.close()
    if answer is None:
        raise SchemeError(f"gRPC {provider.grpc}: the answer is no message of this service")
    return answer


def _channel(grpc: Any, provider: Provider) -> Any:
    options: list[tuple[str, object]] = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", LIMIT)]
    if provider.tls is None:
        return grpc.insecure_channel(provider.grpc, options=options)
    if provider.tls.server_name:
        options.append(("grpc.ssl_target_name_override", provider.tls.server_name))
    return grpc.secure_channel(provider.grpc, _credentials(grpc, provider.tls), options=options)


def _credentials(grpc: Any, tls: Tls) -> Any:
    if tls.insecure_skip_verify:
        raise SchemeError("grpc-tls: insecure-skip-verify is not possible with grpcio: name a root-ca-file")
    files = (tls.root_ca_file, tls.key_file, tls.cert_file)
    root, key, certificate = (_content(path) if path else None for path in files)
    return grpc.ssl_channel_credentials(root, key, certificate)


def _content(path: str) -> bytes:
    try:
        return files.read(path, LARGEST)
    except UnreadableFile as error:
        raise SchemeError(f"grpc-tls: {error}") from None


def encode(content: bytes) -> bytes:
    """Return a message whose field 1 is these bytes."""
    return protobuf.encode(MESSAGE, {"document": content})


def decode(message: bytes) -> bytes | None:
    """Return field 1 of a message that has nothing else in it, None for any other."""
    try:
        content: bytes = protobuf.decode(MESSAGE, message)["document"]
    except ValueError:
        return None
    return content if encode(content) == message else None
