"""The scheme jwe, against jwcrypto and RFC 7516; go-jose comes with skopeo in test_crypto_skopeo.py."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runjail.image.crypto import jwe, jwk
from runjail.image.crypto.options import SchemeError

pytest.importorskip("cryptography", reason="needs cryptography")
from tests.support.image import key_fixtures

OPTIONS = b'{"symkey":"c2VjcmV0","digest":"","cipheroptions":{}}'
NO_KEY = "JWE: No suitable private key found for decryption"
PAIRS = {
    "rsa": key_fixtures.rsa_pair,
    "P-256": key_fixtures.ec_pair,
    "P-384": lambda: key_fixtures.ec_pair("first", "P-384"),
    "P-521": lambda: key_fixtures.ec_pair("first", "P-521"),
}
ALGORITHMS = ["RSA-OAEP", "RSA-OAEP-256", "ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW"]


def pair_for(algorithm: str) -> key_fixtures.Pair:
    return key_fixtures.rsa_pair() if algorithm.startswith("RSA") else key_fixtures.ec_pair("first", "P-521")


def other_library() -> Any:
    return pytest.importorskip("jwcrypto.jwe", reason="needs jwcrypto")


def made_by_jwcrypto(
    pairs: "list[tuple[key_fixtures.Pair, str]]", encryption: str = "A256GCM", compact: bool = False
) -> bytes:
    """Return what jwcrypto makes of these recipients."""
    library = other_library()
    keys = pytest.importorskip("jwcrypto.jwk")
    if len(pairs) == 1:
        header = {"alg": pairs[0][1], "enc": encryption}
        token = library.JWE(
            OPTIONS, json.dumps(header), recipient=keys.JWK.from_pem(pairs[0][0].public), algs=[pairs[0][1], encryption]
        )
        return bytes(token.serialize(compact=compact).encode())
    token = library.JWE(OPTIONS, json.dumps({"enc": encryption}), algs=[encryption, *ALGORITHMS])
    for pair, algorithm in pairs:
        token.add_recipient(keys.JWK.from_pem(pair.public), json.dumps({"alg": algorithm}))
    return bytes(token.serialize().encode())


@pytest.mark.parametrize("name", PAIRS)
def test_one_recipient(name: str) -> None:
    """A flattened JWE with the algorithm that ocicrypt chooses for this kind of key; jwcrypto opens it too."""
    pair = PAIRS[name]()
    packet = jwe.wrap(OPTIONS, {"pubkeys": (pair.public,)})

    assert packet is not None
    document = json.loads(packet)
    header = json.loads(jwk.decode(document["protected"]))
    assert list(document) == ["protected", "encrypted_key", "iv", "ciphertext", "tag"]
    assert (header["alg"], header["enc"]) == ("RSA-OAEP" if name == "rsa" else "ECDH-ES+A256KW", "A256GCM")
    assert jwe.unwrap(packet, pair.parameters()) == OPTIONS
    token = other_library().JWE(algs=["A256GCM", *ALGORITHMS])
    token.deserialize(packet.decode(), pytest.importorskip("jwcrypto.jwk").JWK.from_pem(pair.private))
    assert token.payload == OPTIONS


def test_several_recipients() -> None:
    """A general JWE; each key opens it alone, and nobody else's does."""
    pairs = [make() for make in PAIRS.values()]
    packet = jwe.wrap(OPTIONS, {"pubkeys": tuple(pair.public for pair in pairs)})

    assert packet is not None
    document = json.loads(packet)
    assert "encrypted_key" not in document and len(document["recipients"]) == len(pairs)
    assert json.loads(jwk.decode(document["protected"])) == {"enc": "A256GCM"}
    assert [jwe.unwrap(packet, pair.parameters()) for pair in pairs] == [OPTIONS] * len(pairs)
    for stranger in (
        key_fixtures.rsa_pair("other"),
        key_fixtures.ec_pair("other"),
        key_fixtures.ec_pair("other", "P-384"),
    ):
        with pytest.raises(SchemeError, match=NO_KEY):
            jwe.unwrap(packet, stranger.parameters())


def test_nobody_to_wrap_for() -> None:
    assert jwe.wrap(OPTIONS, {"x509s": (b"",)}) is None
    assert not jwe.has_keys({"x509s": (b"",)})
    assert jwe.has_keys(key_fixtures.rsa_pair().parameters())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_jwk_says_its_algorithm_and_id(algorithm: str) -> None:
    """Both stand in the header, and the private JWK opens it."""
    pair = pair_for(algorithm)
    packet = jwe.wrap(OPTIONS, {"pubkeys": (json.dumps(pair.jwk(alg=algorithm, kid="mine")).encode(),)})

    assert packet is not None
    header = json.loads(jwk.decode(json.loads(packet)["protected"]))
    assert (header["alg"], header["kid"]) == (algorithm, "mine")
    key = json.dumps(pair.private_jwk()).encode()
    assert jwe.unwrap(packet, {"privkeys": (key,), "privkeys-passwords": (None,)}) == OPTIONS


@pytest.mark.parametrize(
    ("algorithm", "pair"),
    [("RSA1_5", "rsa"), ("dir", "rsa"), ("ECDH-ES+A128KW", "rsa"), ("RSA-OAEP", "P-256"), ("ECDH-ES", "P-256")],
)
def test_algorithms_that_ocicrypt_does_not_have(algorithm: str, pair: str) -> None:
    with pytest.raises(SchemeError, match="is an unsupported JWE key algorithm"):
        jwe.wrap(OPTIONS, {"pubkeys": (json.dumps(PAIRS[pair]().jwk(alg=algorithm)).encode(),)})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "encryption", ["A128GCM", "A192GCM", "A256GCM", "A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512"]
)
@pytest.mark.parametrize("compact", [True, False])
def test_what_jwcrypto_writes(algorithm: str, encryption: str, compact: bool) -> None:
    """Every content encryption of RFC 7518 and every key algorithm is read, flattened and compact."""
    pair = pair_for(algorithm)

    assert jwe.unwrap(made_by_jwcrypto([(pair, algorithm)], encryption, compact), pair.parameters()) == OPTIONS


@pytest.mark.parametrize("stray", [True, False])
def test_a_general_one_with_gos_stray_member(stray: bool) -> None:
    """go-jose repeats the first recipient's encrypted key on the top level."""
    pairs = [(key_fixtures.rsa_pair(), "RSA-OAEP"), (key_fixtures.ec_pair(), "ECDH-ES+A256KW")]
    document = json.loads(made_by_jwcrypto(pairs))
    if stray:
        document["encrypted_key"] = document["recipients"][0]["encrypted_key"]

    for pair, _algorithm in pairs:
        assert jwe.unwrap(json.dumps(document).encode(), pair.parameters()) == OPTIONS


def test_the_right_key_among_others() -> None:
    """Keys of other kinds, strangers' and ones whose password is missing do not stand in the way."""
    mine, other, ec = key_fixtures.rsa_pair(), key_fixtures.rsa_pair("other"), key_fixtures.ec_pair()
    packet = jwe.wrap(OPTIONS, {"pubkeys": (mine.public,)})
    keys = (ec.private, other.private, ec.encoded(password=b"lost"), mine.encoded(password=b"known"))

    assert packet is not None
    assert jwe.unwrap(packet, {"privkeys": keys, "privkeys-passwords": (None, None, None, b"known")}) == OPTIONS


@pytest.mark.parametrize(
    ("password", "why"),
    [
        (None, "JWE: Missing password for encrypted private key"),
        (b"wrong", "JWE: Wrong password: could not decrypt private key"),
    ],
)
def test_passwords(password: bytes | None, why: str) -> None:
    """ocicrypt's words when the one key cannot be read."""
    pair = key_fixtures.rsa_pair()
    packet = jwe.wrap(OPTIONS, {"pubkeys": (pair.public,)})

    assert packet is not None
    with pytest.raises(SchemeError, match=why):
        jwe.unwrap(packet, {"privkeys": (pair.encoded(password=b"right"),), "privkeys-passwords": (password,)})
    with pytest.raises(SchemeError, match="array length must be same"):
        jwe.unwrap(packet, {"privkeys": (pair.private,), "privkeys-passwords": ()})


def flattened(**header: object) -> dict[str, Any]:
    """Return a good packet's members, these merged into its unprotected header."""
    packet = jwe.wrap(OPTIONS, {"pubkeys": (key_fixtures.ec_pair().public,)})
    assert packet is not None
    document: dict[str, Any] = json.loads(packet)
    return document | ({"unprotected": header} if header else {})


@pytest.mark.parametrize(
    "change",
    [
        {"unprotected": {"zip": "DEF"}},
        {"header": {"crit": ["exp"], "exp": 1}},
        {"protected": "%"},
        {"protected": "W10"},
        {"protected": 5},
        {"recipients": {"a": 1}},
        {"recipients": [1]},
        {"recipients": [{"header": 1}]},
        {"recipients": [{"encrypted_key": ""}] * 600},
        {"encrypted_key": None},
        {"encrypted_key": "ab=="},
        {"iv": 7},
        {"ciphertext": None},
        {"tag": "ü"},
    ],
    ids=str,
)
def test_malformed_packets(change: dict[str, Any]) -> None:
    """go-jose's words, whatever is wrong; zip and crit are wrong."""
    packet = json.dumps(flattened() | change).encode()

    with pytest.raises(SchemeError, match=r"jose\.ParseEncrypted failed"):
        jwe.unwrap(packet, key_fixtures.ec_pair().parameters())
    with pytest.raises(SchemeError, match=r"jose\.ParseEncrypted failed"):
        jwe.recipients(packet)


@pytest.mark.parametrize(
    "change",
    [
        {"iv": ""},
        {"iv": "AAAA"},
        {"tag": "AAAA"},
        {"aad": "AAAA"},
        {"aad": 5},
        {"encrypted_key": ""},
        {"protected": jwk.encode(b'{"alg":"ECDH-ES+A256KW","enc":"A256GCM","epk":5}')},
        {"protected": jwk.encode(b'{"alg":[],"enc":{}}')},
        {"protected": jwk.encode(b'{"alg":"ECDH-ES+A256KW","enc":"A256GCM","epk":{"kty":[],"crv":[],"x":{}}}')},
        {"protected": jwk.encode(b'{"alg":"dir","enc":"none"}')},
        # a point that is not on the curve, which would tell about the private key
        {"protected": jwk.encode(b'{"alg":"ECDH-ES+A256KW","epk":{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}}')},
        {"protected": jwk.encode(b'{"alg":"ECDH-ES+A256KW","epk":{"kty":"EC","crv":"P-384","x":"AQ","y":"AQ"}}')},
        {"protected": jwk.encode(b'{"alg":"ECDH-ES+A256KW","apu":"?","epk":{"kty":"RSA","n":"AQ","e":"AQ"}}')},
    ],
    ids=str,
)
def test_packets_that_no_key_opens(change: dict[str, Any]) -> None:
    packet = json.dumps(flattened() | change).encode()

    with pytest.raises(SchemeError, match=NO_KEY):
        jwe.unwrap(packet, key_fixtures.ec_pair().parameters())


@pytest.mark.parametrize("encryption", ["A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512", "A256GCM"])
@pytest.mark.parametrize("name", ["iv", "ciphertext", "tag", "protected"])
def test_content_that_is_not_genuine(encryption: str, name: str) -> None:
    """Every part is authenticated, in both kinds of content encryption."""
    document = json.loads(made_by_jwcrypto([(key_fixtures.rsa_pair(), "RSA-OAEP")], encryption))
    content = jwk.decode(document[name])
    changed = content.replace(b'{"', b'{ "') if name == "protected" else bytes([content[0] ^ 1]) + content[1:]
    document[name] = jwk.encode(changed)

    with pytest.raises(SchemeError, match=NO_KEY):
        jwe.unwrap(json.dumps(document).encode(), key_fixtures.rsa_pair().parameters())


def test_a_tag_is_whole() -> None:
    """Where ciphertext ends and the tag begins is not for others to choose."""
    document = flattened()
    sealed = jwk.decode(document["ciphertext"]) + jwk.decode(document["tag"])
    document |= {"ciphertext": jwk.encode(sealed[:-12]), "tag": jwk.encode(sealed[-12:])}

    with pytest.raises(SchemeError, match=NO_KEY):
        jwe.unwrap(json.dumps(document).encode(), key_fixtures.ec_pair().parameters())


@given(st.binary(max_size=200) | st.text(alphabet='{}[]":,.abcdefghijklmnopqrstuvwxyz0', max_size=200).map(str.encode))
def test_garbage_is_a_scheme_error(packet: bytes) -> None:
    with pytest.raises(SchemeError):
        jwe.unwrap(packet, key_fixtures.ec_pair().parameters())


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["AAAA", "A256GCM", "P-256"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("alg enc epk kty crv x y kid".split()), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=200)
@given(
    st.dictionaries(st.sampled_from("protected unprotected header recipients aad iv tag ciphertext".split()), VALUES),
    st.dictionaries(st.sampled_from("alg enc epk apu apv".split()), VALUES),
)
def test_any_json_is_a_scheme_error(change: dict[str, Any], header: dict[str, Any]) -> None:
    """Whatever a member or a header holds, reading it ends in an answer."""
    protected = jwk.encode(json.dumps({"alg": "ECDH-ES+A256KW", "enc": "A256GCM"} | header).encode())

    with pytest.raises(SchemeError):
        jwe.unwrap(
            json.dumps(flattened() | {"protected": protected} | change).encode(), key_fixtures.ec_pair().parameters()
        )
