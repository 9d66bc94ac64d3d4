"""Key providers that are gRPC services."""

import base64
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail.errors import RunjailError
from runjail.image.crypto import keyprovider, keyprovider_grpc
from runjail.image.crypto.keyprovider_config import Provider, Tls
from runjail.image.crypto.options import SchemeError
from tests.support.image import encrypted_images
from tests.support.image.key_providers import PARAMETERS


class Service:
    """A provider that is a gRPC service; it turns options round. `answer` is what it says instead, when not None."""

    def __init__(self, credentials: Any = None) -> None:
        import grpc

        self.asked: list[bytes] = []
        self.answer: bytes | None = None
        self.server = grpc.server(ThreadPoolExecutor(2))
        methods = {
            name: grpc.unary_unary_rpc_method_handler(self.handle, lambda message: message, lambda message: message)
            for name in ("WrapKey", "UnWrapKey")
        }
        handler = grpc.method_handlers_generic_handler("keyprovider.KeyProviderService", methods)
        self.server.add_generic_rpc_handlers((handler,))
        bind = self.server.add_secure_port if credentials else self.server.add_insecure_port
        port = bind("127.0.0.1:0", *([credentials] if credentials else []))
        self.server.start()
        self.address = f"127.0.0.1:{port}"

    def handle(self, message: bytes, context: Any) -> bytes:
        self.asked.append(message)
        if self.answer is not None:
            return self.answer
        question = json.loads(keyprovider_grpc.decode(message) or b"")
        if question["op"] == "keywrap":
            name, member, given = "keywrapresults", "annotation", question["keywrapparams"]["optsdata"]
        else:
            name, member, given = "keyunwrapresults", "optsdata", question["keyunwrapparams"]["annotation"]
        turned = base64.b64encode(base64.b64decode(given)[::-1]).decode()
        return keyprovider_grpc.encode(json.dumps({name: {member: turned}}).encode())


@pytest.fixture
def service() -> Iterator[Service]:
    pytest.importorskip("grpc")
    running = Service()
    yield running
    running.server.stop(None).wait()


def test_a_service_wraps_and_unwraps(service: Service) -> None:
    provider = Provider((), service.address)

    packet = keyprovider.wrap("vault", provider, encrypted_images.OPTIONS, PARAMETERS)

    assert packet == encrypted_images.OPTIONS[::-1]
    assert keyprovider.unwrap("vault", provider, packet, {}) == encrypted_images.OPTIONS
    assert service.asked[0][:1] == b"\x0a", "field 1, length-delimited"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"\x0b\x01x", "the answer is no message of this service"),
        (b"\x0a\x05{}", "the answer is no message of this service"),
        (b"", "its answer is not JSON"),
        (b"\x0a\x02{}", "its answer has no keywrapresults.annotation"),
    ],
)
def test_what_a_service_does_wrong_is_said(service: Service, answer: bytes, why: str) -> None:
    service.answer = answer

    with pytest.raises(SchemeError, match=f"key provider vault: .*{why}"):
        keyprovider.wrap("vault", Provider((), service.address), b"options", {})


def test_a_service_that_is_not_there_is_named() -> None:
    pytest.importorskip("grpc")

    with pytest.raises(SchemeError, match=r"key provider vault: gRPC 127\.0\.0\.1:1: UNAVAILABLE: "):
        keyprovider.wrap("vault", Provider((), "127.0.0.1:1"), b"options", {})


def test_a_service_without_the_method_is_quoted(service: Service) -> None:
    with pytest.raises(SchemeError, match=r"gRPC .*: UNIMPLEMENTED: Method not found!"):
        keyprovider_grpc.ask(Provider((), service.address), "NoSuchMethod", b"{}")


def test_grpcio_may_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)

    with pytest.raises(RunjailError, match="need the Python package grpcio") as refused:
        keyprovider.wrap("vault", Provider((), "127.0.0.1:1"), b"options", {})

    assert "devel/py-grpcio" in (refused.value.hint or "")


class Certificates:
    """A certificate for `vault` and its key, as files; it is its own authority."""

    def __init__(self, directory: Path) -> None:
        import datetime

        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vault")])
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(7).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("vault")]), False)
        signed = builder.add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256())
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.certificate, self.key = signed.public_bytes(form[0]), key.private_bytes(*form)
        (directory / "cert").write_bytes(self.certificate)
        (directory / "key").write_bytes(self.key)


def test_a_service_behind_tls(tmp_path: Path) -> None:
    """It gets our certificate and we see its; with another authority there is no answer."""
    grpc = pytest.importorskip("grpc")
    pytest.importorskip("cryptography")
    own = Certificates(tmp_path)
    credentials = grpc.ssl_server_credentials([(own.key, own.certificate)], own.certificate, True)
    running = Service(credentials)
    tls = Tls(f"{tmp_path}/cert", f"{tmp_path}/cert", f"{tmp_path}/key", "vault")
    try:
        packet = keyprovider.wrap("vault", Provider((), running.address, tls), encrypted_images.OPTIONS, {})
        assert packet == encrypted_images.OPTIONS[::-1]
        for wrong in (
            replace(tls, root_ca_file=""),
            replace(tls, server_name="other"),
            replace(tls, cert_file="", key_file=""),
        ):
            with pytest.raises(SchemeError, match=r"gRPC .*: UNAVAILABLE"):
                keyprovider.wrap("vault", Provider((), running.address, wrong), encrypted_images.OPTIONS, {})
    finally:
        running.server.stop(None).wait()


@pytest.mark.parametrize(
    ("tls", "why"),
    [
        (Tls(root_ca_file="/no/such"), "grpc-tls: /no/such is missing"),
        (Tls(insecure_skip_verify=True), "insecure-skip-verify is not possible"),
    ],
)
def test_bad_tls_settings_are_named(tls: Tls, why: str) -> None:
    pytest.importorskip("grpc")
    with pytest.raises(SchemeError, match=f"key provider vault: .*{why}"):
        keyprovider.wrap("vault", Provider((), "127.0.0.1:1", tls), b"options", {})


@given(st.binary(max_size=400))
def test_messages_are_encoded_as_protobuf_does(content: bytes) -> None:
    assert keyprovider_grpc.decode(keyprovider_grpc.encode(content)) == content
    assert keyprovider_grpc.decode(content) is None or content[:1] in (b"", b"\x0a")


def test_long_messages_have_long_lengths() -> None:
    assert keyprovider_grpc.encode(b"x" * 300)[:3] == b"\x0a\xac\x02"
    assert keyprovider_grpc.decode(b"\x0a\xac\x02" + b"x" * 300) == b"x" * 300
    assert keyprovider_grpc.decode(b"\x0a\xac\x02" + os.urandom(299)) is None
