"""Private and public options: ocicrypt's JSON."""

import base64
from dataclasses import replace

import pytest

from runjail.errors import Corrupt
from runjail.image.crypto.options import PrivateLayerOptions, PublicLayerOptions

KEY = PrivateLayerOptions(bytes(range(32)), bytes(range(0xF0, 0x100)), "sha256:" + "ab" * 32)
HMAC = "lObqkzPl4j5QtRt1xy/0m2T4uKa+a1PsKzNjVGJ5aCE="


def test_options_are_ocicrypts_json() -> None:
    """Order of keys and length are upstream's: pkcs11 can hold 193 bytes and not many more."""
    private, public = KEY.to_json(), PublicLayerOptions(base64.b64decode(HMAC)).to_json()

    assert private.startswith(b'{"symkey":"AAECAwQF') and len(private) == 193
    assert private.endswith(
        b'","digest":"sha256:' + b"ab" * 32 + b'","cipheroptions":{"nonce":"8PHy8/T19vf4+fr7/P3+/w=="}}'
    )
    assert public == b'{"cipher":"AES_256_CTR_HMAC_SHA256","hmac":"' + HMAC.encode() + b'","cipheroptions":{}}'
    assert PrivateLayerOptions.from_json(private) == KEY
    assert PublicLayerOptions.from_json(public) == PublicLayerOptions(base64.b64decode(HMAC))


def test_options_are_read_as_go_reads_them() -> None:
    """Names in any case, unknown members, null: what other writers may write."""
    text = b'{"SymKey":"%s","extra":[1],"digest":null,"CipherOptions":{"Nonce":"%s","more":"AA=="}}'
    encoded = tuple(base64.b64encode(value) for value in (KEY.symkey, KEY.nonce))

    assert PrivateLayerOptions.from_json(text % encoded) == replace(KEY, digest="")
    assert (
        PublicLayerOptions.from_json(b'{"cipher":"AES_256_CTR_HMAC_SHA256","hmac":"AA==","cipheroptions":null}').nonce
        is None
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "invalid key length of 0 bytes; need 32 bytes"),
        (b'{"symkey":"AAAA"}', "invalid key length of 3 bytes; need 32 bytes"),
        (b'{"symkey":7}', "symkey must be base64"),
        (b'{"symkey":"?"}', "could not base64 decode the symkey"),
        (b'{"symkey":"' + b"A" * 43 + b'="}', "the nonce has 0 bytes"),
        (b'{"symkey":"' + b"A" * 43 + b'=","cipheroptions":{"nonce":"AAAA"}}', "the nonce has 3 bytes"),
        (b'{"symkey":"' + b"A" * 43 + b'=","cipheroptions":[1]}', "cipheroptions must be an object"),
    ],
)
def test_bad_private_options(content: bytes, why: str) -> None:
    """No key, no nonce or one of another length: refused, where ocicrypt would decrypt to garbage."""
    with pytest.raises(Corrupt, match=why):
        PrivateLayerOptions.from_json(content)


def test_nobody_sees_a_key() -> None:
    """Neither repr nor an error shows key material."""
    assert repr(KEY) == f"Private(symkey=***, nonce=***, digest={KEY.digest!r})"
    with pytest.raises(Corrupt) as caught:
        PrivateLayerOptions.from_json(b'{"symkey":"c2VjcmV0')
    assert "c2Vj" not in str(caught.value)
