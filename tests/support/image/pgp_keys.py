"""Keys of gpg's: with a password, without, and expired."""

import os
import subprocess
from typing import Any

PASSWORD = b"correct horse battery"


class Keys:
    """A gpg of somebody's own: alice's key has no password, bob's has one, and carol's has expired."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.env = {"GNUPGHOME": home, "PATH": os.environ["PATH"]}
        self.make("Alice <alice@example.org>", b"")
        self.make("Bob (at work) <bob@example.org>", PASSWORD)
        # "!": the clock stands still, or on a slow machine the subkey would be older than its key, which gpg refuses
        self.make("Carol <carol@example.org>", b"", "--faked-system-time", "20200101T000000!", expires="1y")
        self.public = self.gpg("--export")
        self.alice, self.bob = self.gpg("--export-secret-keys", "alice"), self.secret("bob", PASSWORD, "--armor")
        self.recipients = {
            "gpg-recipients": (b"alice@example.org", b"Bob (at work)"),
            "gpg-pubkeyringfile": (self.public,),
        }

    def gpg(self, *arguments: str, input: bytes = b"") -> bytes:
        command = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--trust-model", "always", *arguments]
        return subprocess.run(command, env=self.env, input=input, capture_output=True, check=True, timeout=200).stdout

    def make(self, user: str, password: bytes, *options: str, expires: str = "never") -> None:
        options = (*options, "--passphrase-fd", "0")
        self.gpg(*options, "--quick-generate-key", user, "rsa2048", "default", expires, input=password + b"\n")
        lines = self.gpg("--with-colons", "--list-keys", user).decode().splitlines()
        fingerprint = next(line.split(":")[9] for line in lines if line.startswith("fpr"))
        self.gpg(*options, "--quick-add-key", fingerprint, "rsa2048", "encr", expires, input=password + b"\n")

    def secret(self, user: str, password: bytes, *options: str) -> bytes:
        return self.gpg(*options, "--passphrase-fd", "0", "--export-secret-keys", user, input=password + b"\n")

    def subkey(self, user: str) -> str:
        lines = self.gpg("--with-colons", "--list-keys", user).decode().splitlines()
        return next(f"0x{int(line.split(':')[4], 16):x}" for line in lines if line.startswith("sub"))


def private(key: bytes, password: bytes | None = None) -> Any:
    return {"gpg-privatekeys": (key,), "gpg-privatekeys-passwords": (password,)}
