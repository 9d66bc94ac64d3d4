"""Layer keys in annotations: who may use a layer, what everybody else is told, and recipients that come later."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runjail.errors import Corrupt, ImageError, RunjailError, Unauthorized
from runjail.image.crypto import jwe, keyprovider, ocicrypt
from runjail.image.crypto.options import PrivateLayerOptions, PublicLayerOptions
from runjail.image.model import Descriptor

pytest.importorskip("cryptography", reason="needs cryptography")
from tests.support.image import key_fixtures

KEY = PrivateLayerOptions(bytes(range(32)), bytes(range(16)), "sha256:" + "ab" * 32)
SHARED = PublicLayerOptions(bytes(range(32)))
MISSING = "you are not authorized to use this image: missing private key needed for decryption"
NONE_FITS = (
    "you are not authorized to use this image: no suitable key unwrapper found or none of the private keys could be "
    "used for decryption"
)
TYPE = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"


def layer(annotations: dict[str, str]) -> Descriptor:
    return Descriptor(TYPE, "sha256:" + "0" * 64, 1, annotations)


def wrapped(*pairs: key_fixtures.Pair) -> dict[str, str]:
    return ocicrypt.wrap(KEY, SHARED, {"pubkeys": tuple(pair.public for pair in pairs)})


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def public_options(**more: object) -> dict[str, str]:
    document = json.loads(SHARED.to_json()) | more
    return {ocicrypt.PUBLIC: encoded(json.dumps(document).encode())}


def test_there_and_back() -> None:
    """One annotation for each scheme with recipients, and the public options."""
    pair, other = key_fixtures.rsa_pair(), key_fixtures.rsa_pair("other")
    annotations = ocicrypt.wrap(KEY, SHARED, {"pubkeys": (pair.public,), "x509s": (other.certificate,)})

    assert set(annotations) == {ocicrypt.PUBLIC, ocicrypt.KEYS + "jwe", ocicrypt.KEYS + "pkcs7"}
    assert ocicrypt.unwrap(layer(annotations), pair.parameters()) == KEY
    assert ocicrypt.unwrap(layer(annotations), other.parameters(certificate=True)) == KEY
    assert ocicrypt.public(layer(annotations)) == SHARED
    assert ocicrypt.schemes(layer(annotations)) == ["jwe", "pkcs7"]
    assert ocicrypt.recipients(layer(annotations)) == ["[jwe]", "[pkcs7]"]
    assert ocicrypt.strip(annotations | {"org.example": "1"}) == {"org.example": "1"}


def test_nobody_to_wrap_for() -> None:
    """ocicrypt's words; and a provider that is not configured is not left out in silence."""
    pair = key_fixtures.rsa_pair()
    with pytest.raises(ImageError, match=r"^no wrapped keys produced by encryption$"):
        ocicrypt.wrap(KEY, SHARED, pair.parameters())
    with pytest.raises(ImageError, match=r"^key provider 'vault' is not configured$"):
        ocicrypt.wrap(KEY, SHARED, {"pubkeys": (pair.public,), "vault": (b"Enabled",)})


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({}, MISSING),
        ({"gpg-privatekeys": (b"ring",), "gpg-privatekeys-passwords": (None,)}, MISSING),
        (
            key_fixtures.rsa_pair("other").parameters(),
            f"{NONE_FITS}: JWE: No suitable private key found for decryption",
        ),
        (
            {"privkeys": (key_fixtures.rsa_pair().encoded(password=b"x"),), "privkeys-passwords": (None,)},
            f"{NONE_FITS}: JWE: Missing password for encrypted private key",
        ),
    ],
    ids=["none", "other scheme", "stranger", "locked"],
)
def test_who_may_not(keys: Any, text: str) -> None:
    """imgcrypt's words: no key for any scheme of the layer, or keys of which none fits."""
    with pytest.raises(Unauthorized) as caught:
        ocicrypt.unwrap(layer(wrapped(key_fixtures.rsa_pair())), keys)

    assert str(caught.value) == text


def test_what_each_scheme_met_is_told_once() -> None:
    pair = key_fixtures.rsa_pair()
    annotations = ocicrypt.wrap(KEY, SHARED, {"pubkeys": (pair.public,), "x509s": (pair.certificate,)})
    annotations[ocicrypt.KEYS + "jwe"] = ",".join([annotations[ocicrypt.KEYS + "jwe"]] * 5)

    with pytest.raises(Unauthorized) as caught:
        ocicrypt.unwrap(layer(annotations), key_fixtures.rsa_pair("other").parameters())

    said = "JWE: No suitable private key found for decryption; no x509 certificates found needed for PKCS7 decryption"
    assert str(caught.value) == f"{NONE_FITS}: {said}"


def test_packets_that_cannot_be_read_do_not_stand_in_the_way() -> None:
    """Base64, JSON, options: whatever is wrong with one packet or scheme, the next gets its turn."""
    pair = key_fixtures.rsa_pair()
    good = wrapped(pair)
    bad = [b"", b"{}", b"\xff", b'{"recipients":[]}']
    no_key = [jwe.wrap(options, {"pubkeys": (pair.public,)}) or b"" for options in (b"{}", b"[]", b"no")]
    packets = ["???", "A", "", *map(encoded, bad), *map(encoded, no_key), good[ocicrypt.KEYS + "jwe"]]
    annotations = good | {ocicrypt.KEYS + "jwe": ",".join(packets), ocicrypt.KEYS + "pkcs7": "AAAA"}

    assert ocicrypt.unwrap(layer(annotations), pair.parameters(certificate=True)) == KEY
    assert ocicrypt.recipients(layer(annotations)) == ["[jwe]"]
    with pytest.raises(Unauthorized, match="JWE: No suitable private key found"):
        broken = annotations | {ocicrypt.KEYS + "jwe": ",".join(packets[:-1])}
        ocicrypt.unwrap(layer(broken), pair.parameters(certificate=True))


def test_not_every_reason_is_told() -> None:
    """A thousand packets for providers that do not exist make one line, not a page."""
    names = {f"{ocicrypt.KEYS}provider.{number}": "AAAA" for number in range(1000)}

    with pytest.raises(Unauthorized) as caught:
        ocicrypt.unwrap(layer(names), {})
    assert len(str(caught.value)) < 1000 and str(caught.value).endswith("; and 990 more")


@pytest.mark.parametrize("value", ["A" * (300 << 10), "AAAA," * 200])
def test_annotations_that_are_too_long(value: str) -> None:
    """A scheme with too much is not looked into; another one still opens the layer."""
    pair = key_fixtures.rsa_pair()
    annotations = ocicrypt.wrap(KEY, SHARED, {"x509s": (pair.certificate,)}) | {ocicrypt.KEYS + "jwe": value}

    assert ocicrypt.unwrap(layer(annotations), pair.parameters(certificate=True)) == KEY
    with pytest.raises(Unauthorized, match="the annotation of 'jwe' is longer than 256 KiB or 128 packets"):
        ocicrypt.unwrap(layer(annotations), pair.parameters())


@pytest.mark.parametrize(
    ("nonce", "accepted"), [(None, True), (encoded(KEY.nonce), True), (encoded(b"x" * 16), False), ("", False)]
)
def test_a_public_nonce_changes_nothing(nonce: str | None, accepted: bool) -> None:
    """ocicrypt prefers it to the private one, and decrypts to garbage with a valid HMAC."""
    options = {} if nonce is None else {"nonce": nonce}
    annotations = wrapped(key_fixtures.rsa_pair()) | public_options(cipheroptions=options)

    if accepted:
        assert ocicrypt.unwrap(layer(annotations), key_fixtures.rsa_pair().parameters()) == KEY
    else:
        with pytest.raises(Corrupt, match="the public nonce is not the private one"):
            ocicrypt.unwrap(layer(annotations), key_fixtures.rsa_pair().parameters())


@pytest.mark.parametrize(
    ("annotations", "why"),
    [
        ({}, "no cipher type provided"),
        ({ocicrypt.PUBLIC: "e30="}, "no cipher type provided"),
        ({ocicrypt.PUBLIC: "?"}, "could not base64 decode the annotation"),
        ({ocicrypt.PUBLIC: "AAAA"}, "public options: not JSON"),
        (public_options(cipher="AES_SIV"), "unsupported cipher type: 'AES_SIV'"),
        (public_options(cipher=["AES"] * 1000), "unsupported cipher type: .{42}$"),
        (public_options(hmac=None), "HMAC is not provided for decryption process"),
        (public_options(hmac=""), "HMAC is not provided for decryption process"),
        (public_options(hmac=[]), "hmac must be base64"),
        (public_options(cipheroptions=5), "cipheroptions must be an object"),
    ],
)
def test_bad_public_options(annotations: dict[str, str], why: str) -> None:
    """ocicrypt's words, and no authorisation either."""
    with pytest.raises(Corrupt, match=why):
        ocicrypt.public(layer(annotations))
    keys = {name: value for name, value in wrapped(key_fixtures.rsa_pair()).items() if name != ocicrypt.PUBLIC}
    with pytest.raises(Corrupt, match=why):
        ocicrypt.unwrap(layer(keys | annotations), key_fixtures.rsa_pair().parameters())


# Recipients that come later -----------------------------------------------------------------------------------------


def test_added_recipients() -> None:
    """Packets are appended; everything else, schemes that we do not know included, stays as it is."""
    first, second, third = key_fixtures.rsa_pair(), key_fixtures.ec_pair(), key_fixtures.rsa_pair("third")
    others = {ocicrypt.KEYS + "provider.unknown": "AAAA", ocicrypt.KEYS + "quantum": "BBBB", "org.example": "1"}
    before = layer(wrapped(first) | others)

    more = ocicrypt.add_recipients(
        before, first.parameters(), {"pubkeys": (second.public,), "x509s": (third.certificate,)}
    )

    after = layer(more)
    assert more[ocicrypt.KEYS + "jwe"].startswith(before.annotations[ocicrypt.KEYS + "jwe"] + ",")
    assert {name: more[name] for name in others} == others
    assert more[ocicrypt.PUBLIC] == before.annotations[ocicrypt.PUBLIC]
    for keys in (first.parameters(), second.parameters(), third.parameters(certificate=True)):
        assert ocicrypt.unwrap(after, keys) == KEY
    assert ocicrypt.schemes(after) == ["jwe", "pkcs7", "provider.unknown", "quantum"]


def test_only_who_may_use_it_adds_recipients() -> None:
    stranger = key_fixtures.rsa_pair("other")
    with pytest.raises(Unauthorized, match="none of the private keys could be used"):
        ocicrypt.add_recipients(
            layer(wrapped(key_fixtures.rsa_pair())), stranger.parameters(), {"pubkeys": (stranger.public,)}
        )


# Key providers ------------------------------------------------------------------------------------------------------


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A key provider that knows one packet; the real protocol has its own tests."""

    def unwrap(name: str, provider: object, packet: bytes, parameters: object) -> bytes:
        if packet != b"in the vault":
            raise ImageError(f"{name} knows nothing of it")
        return KEY.to_json()

    monkeypatch.setattr(keyprovider, "unwrap", unwrap)
    monkeypatch.setattr(keyprovider, "wrap", lambda *_arguments: b"in the vault")
    return {"vault": object()}


def test_key_providers(vault: Any) -> None:
    """Asked to wrap when a parameter has their name, and to unwrap whenever a packet is for them."""
    annotations = ocicrypt.wrap(KEY, SHARED, {"vault": (b"Enabled",)}, vault)

    assert annotations[ocicrypt.KEYS + "provider.vault"] == encoded(b"in the vault")
    assert ocicrypt.unwrap(layer(annotations), {}, vault) == KEY
    assert (ocicrypt.schemes(layer(annotations)), ocicrypt.recipients(layer(annotations))) == (["provider.vault"], [])


def test_key_providers_that_fail(vault: Any) -> None:
    """Their refusal alone reads as a missing key, as in ocicrypt, with what they said."""
    annotations = public_options() | {ocicrypt.KEYS + "provider.vault": "AAAA"}

    with pytest.raises(Unauthorized) as caught:
        ocicrypt.unwrap(layer(annotations), {}, vault)
    assert str(caught.value) == f"{MISSING}: vault knows nothing of it"
    with pytest.raises(Unauthorized) as caught:
        ocicrypt.unwrap(layer(annotations), {}, {})
    assert str(caught.value) == f"{MISSING}: key provider 'vault' is not configured"


# Hostile annotations ------------------------------------------------------------------------------------------------

NAMES = [ocicrypt.KEYS + name for name in ("jwe", "pkcs7", "pgp", "pkcs11", "provider.vault", "provider.", "", "x")]
CONTENT = st.text(max_size=60) | st.binary(max_size=60).map(encoded) | st.just(",,,") | st.just("AAAA,ü")


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from([*NAMES, ocicrypt.PUBLIC]), CONTENT))
def test_hostile_annotations_end_in_an_error_of_ours(annotations: dict[str, str]) -> None:
    """Any text in any annotation: refused with one line, listed without one."""
    keys = key_fixtures.rsa_pair().parameters(certificate=True) | {"pkcs11-yamls": (b"x",)}
    with pytest.raises((Unauthorized, Corrupt)) as caught:
        ocicrypt.unwrap(layer(annotations), keys)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 4000
    ocicrypt.recipients(layer(annotations))
    ocicrypt.schemes(layer(annotations))
    with pytest.raises(RunjailError):
        ocicrypt.add_recipients(layer(annotations), keys, {"pubkeys": (key_fixtures.rsa_pair().public,)})
