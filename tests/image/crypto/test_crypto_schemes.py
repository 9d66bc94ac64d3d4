"""A scheme of key wrapping is a module and its place in SCHEMES; nothing else has to be told of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from runjail.errors import UsageError
from runjail.image.crypto import keys, ocicrypt
from runjail.image.crypto.options import Parameters, PrivateLayerOptions, PublicLayerOptions, SchemeError, given
from runjail.image.model import Descriptor

pytest.importorskip("cryptography", reason="needs cryptography")
pytest.importorskip("click", reason="needs click")


class Reversed:
    """A scheme that writes things backwards: its key is the word that it was wrapped with."""

    NAME, NO_KEY, RECIPIENT = "reversed", "no such word", "WORD"
    PARAMETERS = frozenset(("words", "locks"))

    def has_keys(self, parameters: Parameters) -> bool:
        return bool(given(parameters, "locks"))

    def wrap(self, options: bytes, parameters: Parameters) -> bytes | None:
        words = given(parameters, "words")
        return words[0] + options[::-1] if words else None

    def unwrap(self, packet: bytes, parameters: Parameters) -> bytes:
        for word in given(parameters, "locks"):
            if packet.startswith(word):
                return packet.removeprefix(word)[::-1]
        raise SchemeError(self.NO_KEY)

    def recipients(self, packet: bytes) -> list[str]:
        return [f"[{packet[:4].decode()}]"]

    def recipient(self, value: str) -> Parameters:
        return {"words": (value.encode(),)}

    def recognise(self, content: bytes, password: bytes | None) -> tuple[str, ...]:
        return ("locks",) if content == b"word" else ()


def test_a_scheme_is_a_module_and_a_place_in_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else has to be told of it: recipients, keys of files, annotations and what is not a provider follow."""
    monkeypatch.setitem(ocicrypt.SCHEMES, Reversed.NAME, Reversed())
    key = tmp_path / "key"
    key.write_bytes(b"word")
    key.chmod(0o600)
    private, public = PrivateLayerOptions(bytes(32), bytes(16)), PublicLayerOptions(bytes(32))

    annotations = ocicrypt.wrap(private, public, keys.read_recipients(["reversed:word"]))
    layer = Descriptor("", "sha256:" + "0" * 64, 1, annotations)

    assert ocicrypt.schemes(layer) == ["reversed"]
    assert ocicrypt.recipients(layer) == ["[word]"]
    assert ocicrypt.unwrap(layer, keys.read_keys([str(key)])) == private
    with pytest.raises(UsageError, match="not a key provider's name"):
        keys.read_recipients(["provider:words:x"])
    assert "reversed:WORD" in keys.recipient_forms()


def test_help_names_every_scheme() -> None:
    """The text of --recipient is there before any scheme is loaded."""
    command = [sys.executable, "-m", "runjail", "image", "encrypt", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert all(f"{name}:" in text for name in (*ocicrypt.SCHEMES, "provider"))
