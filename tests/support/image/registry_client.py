"""What tests of the registry client share: a client that does not wait, and the way to use it."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runjail.image.model import Descriptor
from runjail.image.registry.client import Registry
from runjail.image.registry.connections import Timeouts
from runjail.image.registry.credentials import Credentials, CredentialStore
from runjail.image.registry.places import Place, own_mirror
from runjail.image.registry.sink import RegistrySink
from runjail.image.registry.source import RegistrySource
from tests.support.image.registry_server import Handler

HOME = Path("/nonexistent")


class Keys(CredentialStore):
    """A keyring that always answers the same. asked: (host, repository) so far."""

    def __init__(self, credentials: Credentials | None = None) -> None:
        super().__init__(environ={"HOME": str(HOME)})
        self.credentials = credentials
        self.asked: list[tuple[str, str]] = []

    def find(self, host: str, repository: str) -> Credentials | None:
        self.asked.append((host, repository))
        return self.credentials


class Client:
    """A registry that only notes its waiting. slept: seconds, one each. mirrors: places, or texts of runjail.toml."""

    def __init__(
        self, host: str, credentials: Credentials | None = None, mirrors: Sequence[str | Place] = (), **options: Any
    ) -> None:
        self.slept: list[float] = []
        self.keys = Keys(credentials)
        options = {"timeouts": Timeouts(5, 5, 5), "environ": {}, "sleep": self.slept.append} | options
        places = [own_mirror(each, "library/web") if isinstance(each, str) else each for each in mirrors]
        self.registry = Registry(host, **{"keyring": self.keys, "mirrors": places, **options})

    def source(self, reference: str = "v1", repository: str = "library/web") -> RegistrySource:
        return RegistrySource(self.registry, repository, reference)

    def sink(self, mount_from: tuple[str, ...] = ()) -> RegistrySink:
        return RegistrySink(self.registry, "library/web", "v1", mount_from)

    def blob(self, descriptor: Descriptor, offset: int = 0) -> bytes:
        return b"".join(self.source().blob(descriptor, offset))

    def close(self) -> None:
        self.registry.close()


def put(sink: RegistrySink, descriptor: Descriptor, content: bytes) -> list[int]:
    """Put a blob from a file with this content, and return what progress was told."""
    told: list[int] = []
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        sink.put_blob(descriptor, file.fileno(), lambda _descriptor, count: told.append(count))
    return told


ALICE = Credentials("alice", "s3cret", origin="a file")


CONTENT = bytes(range(256)) * 64


def chunked(request: Handler, *chunks: bytes, end: bool = True) -> None:
    request.head(200, Transfer_Encoding="chunked")
    for chunk in chunks:
        request.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
    if end:
        request.wfile.write(b"0\r\n\r\n")
    else:
        request.cut()
