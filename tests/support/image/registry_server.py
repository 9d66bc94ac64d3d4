"""Registries on loopback: Debian's docker-registry, and a fake one that misbehaves as a test tells it to."""

import base64
import hashlib
import http.server
import json
import os
import re
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from runjail.image import media_types
from runjail.image.model import Descriptor
from tests.support.processes import end

USER, PASSWORD = "alice", "wonderland"
HTPASSWD = f"{USER}:$2b$04$abcdefghijklmnopqrstuujZkTwHUiJ9XdZPwKfcfDo7dMp5DjlTu\n"  # bcrypt of PASSWORD
STARTUP = 20  # seconds that docker-registry may take


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def described(content: bytes, media_type: str = media_types.OCI_LAYER) -> Descriptor:
    """Return the descriptor of content."""
    return Descriptor(media_type, digest_of(content), len(content))


def image(*layers: bytes) -> tuple[dict[str, bytes], bytes]:
    """Return (blobs by digest, manifest) of a small image."""
    diff_ids = [digest_of(layer) for layer in layers]
    config = {"os": "freebsd", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    content = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": described(content, media_types.OCI_CONFIG).document(),
        "layers": [described(layer).document() for layer in layers],
    }
    return {digest_of(blob): blob for blob in (content, *layers)}, json.dumps(manifest).encode()


# docker-registry ------------------------------------------------------------------------------------------------


class DockerRegistry:
    """A running docker-registry with its storage below a directory. auth: the `auth` section of its configuration."""

    def __init__(self, directory: Path, auth: dict[str, Any] | None = None) -> None:
        self.log = directory / "log"
        config = {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(directory / "storage")}, "delete": {"enabled": True}},
            "http": {"addr": "127.0.0.1:0"},
        } | ({"auth": auth} if auth else {})
        (directory / "config.yml").write_text(json.dumps(config), encoding="utf-8")
        with open(self.log, "wb") as log:
            command = [shutil.which("docker-registry") or "", "serve", str(directory / "config.yml")]
            environ = {"PATH": os.environ["PATH"], "HOME": str(directory), "OTEL_TRACES_EXPORTER": "none"}
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environ)
        self.host = f"127.0.0.1:{self._port()}"

    def _port(self) -> int:
        deadline = time.monotonic() + STARTUP
        while time.monotonic() < deadline and self._process.poll() is None:
            if found := re.search(r"listening on 127\.0\.0\.1:(\d+)", self.log.read_text(encoding="utf-8")):
                return int(found[1])
            time.sleep(0.02)
        self.stop()
        raise AssertionError(self.log.read_text(encoding="utf-8"))

    def requests(self) -> list[tuple[str, str, int]]:
        """Return (method, path, status) of every request so far."""
        found = re.findall(r'"([A-Z]+) (/v2/\S*) HTTP/1\.1" (\d+)', self.log.read_text(encoding="utf-8"))
        return [(method, path, int(status)) for method, path, status in found]

    def stop(self) -> None:
        end(self._process)


def htpasswd(directory: Path) -> dict[str, Any]:
    """Return the configuration for basic authorization of USER."""
    (directory / "htpasswd").write_text(HTPASSWD, encoding="utf-8")
    return {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}


# Servers of our own ---------------------------------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    """One request of a fake; what it sends is up to the server's `answer`."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length) if length else b""
        self.route, self.query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        with self.server.lock:
            self.server.seen.append((self.command, self.path, dict(self.headers.items())))
        self.server.answer(self)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a whole answer; underscores in names of headers stand for hyphens."""
        self.head(status, **{"Content_Length": str(len(body)), **headers})
        if self.command != "HEAD":
            self.wfile.write(body)

    def head(self, status: int, **headers: str) -> None:
        """Send only a status and headers."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.flush()

    def refuse(self, status: int, code: str, message: str, **headers: str) -> None:
        self.reply(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), **headers)

    def cut(self) -> None:
        """Break the connection."""
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(2)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    """An HTTP server on loopback that answers by a function. seen: (method, path with query, headers) so far."""

    daemon_threads = True
    request_queue_size = 64  # connections at once; more than that wait for a second

    def __init__(
        self, answer: Callable[[Handler], None], certificate: Path | None = None, clients: Path | None = None
    ) -> None:
        """certificate: with its key; clients: the authority of those that clients have to show."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.lock = answer, threading.Lock()
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            if clients:
                context.load_verify_locations(clients)
                context.verify_mode = ssl.CERT_REQUIRED
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that go away are part of the tests

    def calls(self, method: str = "", ending: str = "") -> list[tuple[str, str]]:
        """Return (method, path) of the requests about repositories, of a method, whose path ends like this."""
        asked = [(each, path) for each, path, _headers in self.seen if path != "/v2/"]
        return [(each, path) for each, path in asked if method in ("", each) and path.endswith(ending)]

    def sent(self, header: str) -> list[str | None]:
        """Return the values of a header in the requests about repositories."""
        return [
            next((value for name, value in headers.items() if name.lower() == header.lower()), None)
            for _method, path, headers in self.seen
            if path != "/v2/"
        ]

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class Fake:
    """A registry in memory. faults: called in turn for each request, until one of them says that it has answered it.

    blobs and manifests: what it holds; the latter by tag and digest.
    """

    def __init__(self, certificate: Path | None = None, clients: Path | None = None) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.uploads: dict[str, bytes] = {}
        self.faults: list[Callable[[Handler], bool]] = []
        self.server = Server(self.answer, certificate, clients)
        self.host = self.server.host

    def add(self, content: bytes) -> Descriptor:
        """Hold a blob and return its descriptor."""
        self.blobs[digest_of(content)] = content
        return described(content)

    def add_image(self, tag: str, *layers: bytes) -> Descriptor:
        """Hold an image and return its manifest's descriptor."""
        blobs, manifest = image(*layers)
        self.blobs |= blobs
        self.manifests[tag] = self.manifests[digest_of(manifest)] = (media_types.OCI_MANIFEST, manifest)
        return described(manifest, media_types.OCI_MANIFEST)

    def fault(self, method: str, part: str, *answers: Callable[[Handler], None]) -> None:
        """Answer the next requests of a method whose path contains a part in these ways, one each."""
        waiting = list(answers)

        def apply(request: Handler) -> bool:
            if not waiting or request.command != method or part not in request.path:
                return False
            waiting.pop(0)(request)
            return True

        self.faults.append(apply)

    def answer(self, request: Handler) -> None:
        if request.route == "/v2/":
            request.reply(200)
        elif not any(fault(request) for fault in self.faults):
            kind, reference = request.route.rstrip("/").split("/")[-2:]
            {"blobs": self._blob, "manifests": self._manifest}.get(kind, self._upload)(request, reference)

    def _blob(self, request: Handler, digest: str) -> None:
        if digest == "uploads":
            self._begin(request)
        elif digest not in self.blobs:
            request.refuse(404, "BLOB_UNKNOWN", "blob unknown to registry")
        else:
            content = self.blobs[digest]
            start = int((request.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
            said = f"bytes {start}-{len(content) - 1}/{len(content)}"
            request.reply(206 if start else 200, content[start:], **({"Content_Range": said} if start else {}))

    def _manifest(self, request: Handler, reference: str) -> None:
        if request.command == "PUT":
            stored = (request.headers.get("Content-Type") or "", request.body)
            self.manifests[reference] = self.manifests[digest_of(request.body)] = stored
            request.reply(201, Docker_Content_Digest=digest_of(request.body))
        elif request.command == "DELETE":
            request.reply(202 if self.manifests.pop(reference, None) else 404)
        elif reference not in self.manifests:
            request.refuse(404, "MANIFEST_UNKNOWN", "manifest unknown")
        else:
            kind, content = self.manifests[reference]
            request.reply(200, content, Content_Type=kind, Docker_Content_Digest=digest_of(content))

    def _begin(self, request: Handler) -> None:
        name = f"{len(self.uploads)}"
        self.uploads[name] = b""
        request.reply(202, Location=f"{request.route.rstrip('/')}/{name}?_state=a%2Fb")

    def _upload(self, request: Handler, name: str) -> None:
        if name not in self.uploads or request.query["_state"] != ["a/b"]:
            request.refuse(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown")
            return
        self.uploads[name] += request.body
        if request.command == "DELETE":
            del self.uploads[name]
            request.reply(204)
        elif request.command == "PATCH":
            request.reply(202, Location=request.path)
        elif digest_of(self.uploads[name]) != request.query["digest"][0]:
            request.refuse(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        else:
            content = self.uploads.pop(name)
            self.blobs[digest_of(content)] = content
            request.reply(201, Docker_Content_Digest=digest_of(content))

    def stop(self) -> None:
        self.server.stop()


# Tokens -----------------------------------------------------------------------------------------------------------


class TokenServer:
    """Hands out tokens that docker-registry accepts (distribution, token authentication). grants: pull, push, ...

    configuration: for docker-registry. It wants USER and PASSWORD, or an identity token by POST.
    """

    def __init__(self, directory: Path) -> None:
        from cryptography.hazmat.primitives import serialization

        self.certificate, self._key, pem = make_certificate()
        bundle = directory / "bundle.pem"
        bundle.write_bytes(pem.split(b"-----BEGIN PRIVATE")[0])
        self._chain = [base64.b64encode(self.certificate.public_bytes(serialization.Encoding.DER)).decode()]
        self.server = Server(self._answer)
        realm = f"http://{self.server.host}/token"
        self.configuration = {
            "token": {"realm": realm, "service": "shelf", "issuer": "tests", "rootcertbundle": str(bundle)}
        }

    def _answer(self, request: Handler) -> None:
        wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if request.headers.get("Authorization") != wanted:
            request.reply(401, json.dumps({"details": "incorrect username or password"}).encode())
            return
        access = []
        for scope in request.query.get("scope", []):
            resource, _, actions = scope.rpartition(":")
            kind, _, name = resource.partition(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        request.reply(200, json.dumps({"token": self._sign(access), "expires_in": 300}).encode())

    def _sign(self, access: list[dict[str, Any]]) -> str:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        now = int(time.time())
        claims = {"iss": "tests", "sub": USER, "aud": "shelf", "exp": now + 300, "nbf": now - 60, "iat": now}
        parts = [{"typ": "JWT", "alg": "ES256", "x5c": self._chain}, {**claims, "jti": "1", "access": access}]
        signed = b".".join(_base64url(json.dumps(part).encode()) for part in parts)
        r, s = utils.decode_dss_signature(self._key.sign(signed, ec.ECDSA(hashes.SHA256())))
        return (signed + b"." + _base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))).decode()

    def stop(self) -> None:
        self.server.stop()


def _base64url(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def make_certificate() -> tuple[Any, Any, bytes]:
    """Return (certificate, key, both as PEM) of 127.0.0.1, signed by itself."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "runjail tests")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    authority = x509.BasicConstraints(ca=True, path_length=None)
    builder = builder.add_extension(alternative, critical=False).add_extension(authority, critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    plain = serialization.NoEncryption()
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    return (
        certificate,
        key,
        pem + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain),
    )


def run(running: Any) -> Iterator[Any]:
    """Yield something and stop it afterwards: the body of a fixture."""
    try:
        yield running
    finally:
        running.stop()
