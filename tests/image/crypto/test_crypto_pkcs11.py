"""Layer keys for keys in PKCS#11 modules: key files, the policy, packets, and a real token of SoftHSM's."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail.errors import Corrupt
from runjail.image.crypto import pkcs11, pkcs11_uri
from runjail.image.crypto.options import SchemeError
from runjail.image.crypto.pkcs11_uri import INTERNAL, Policy, find_policy, parse, pin, policy
from tests.support.image import encrypted_images

# URIs -------------------------------------------------------------------------------------------------------------


def test_a_uri_says_where_a_key_is() -> None:
    uri = parse("pkcs11:token=my%20token;object=a%3Bb;id=%01%ff;slot-id=7?module-name=softhsm2&pin-value=1%26&x-more=1")

    assert (uri.get("token"), uri.get("object"), uri.id, uri.slot) == ("my token", "a;b", b"\x01\xff", 7)
    assert (uri.get("module-name"), pin(uri), uri.get("module-path")) == ("softhsm2", "1&", "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("token=a", "starts with pkcs11:"),
        ("pkcs11:tokens=a", "unknown attribute 'tokens'"),
        ("pkcs11:token", "token of a URI has no value"),
        ("pkcs11:token=a;token=b", "token of a URI is given twice"),
        ("pkcs11:slot-id=-1", "slot-id of a URI must be a number"),
        ("pkcs11:slot-id=", "slot-id of a URI must be a number"),
        ("pkcs11:?pin-value=secret&pin-source=/x", "either pin-value or pin-source"),
    ],
)
def test_bad_uris_are_refused(text: str, why: str) -> None:
    with pytest.raises(SchemeError, match=why) as refused:
        parse(text)

    assert "secret" not in str(refused.value)


@given(st.text(max_size=60))
def test_any_uri_is_read_or_refused(text: str) -> None:
    try:
        parse("pkcs11:" + text)
    except SchemeError:
        pass


def test_a_pin_comes_from_a_file(tmp_path: Path) -> None:
    """Given as a path, or a file URI with or without slashes before it. One newline is the editor's, not the PIN's."""
    (tmp_path / "pin").write_text("1234\n", encoding="ascii")

    for source in (f"{tmp_path}/pin", f"file:{tmp_path}/pin", f"file://{tmp_path}/pin"):
        assert pin(parse(f"pkcs11:token=a?pin-source={source}")) == "1234"


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("", "neither pin-value nor pin-source"),
        ("?pin-source=/no/file", "is missing"),
        ("?pin-source=pin", "absolute"),
    ],
)
def test_a_missing_pin_is_refused(query: str, why: str) -> None:
    with pytest.raises(SchemeError, match=why):
        pin(parse(f"pkcs11:token=a{query}"))


# The policy -------------------------------------------------------------------------------------------------------


def test_modules_are_allowed_by_file_or_directory(tmp_path: Path) -> None:
    (tmp_path / "libmine.so").write_bytes(b"")
    rules = Policy((str(tmp_path),), ("/usr/lib/p.so", f"{tmp_path}/"))

    assert rules.module(parse("pkcs11:?module-path=/usr/lib/p.so")) == "/usr/lib/p.so"
    assert rules.module(parse("pkcs11:?module-path=" + str(tmp_path / "any.so"))) == f"{tmp_path}/any.so"
    assert rules.module(parse("pkcs11:?module-name=mine")) == f"{tmp_path}/libmine.so"


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("", "names no module"),
        ("?module-path=/usr/lib/q.so", "is not allowed"),
        ("?module-path=/usr/lib/p.so/", "is not allowed"),
        ("?module-path=/allowed/sub/p.so", "is not allowed"),
        ("?module-path=/allowed/../tmp/p.so", "is not allowed"),
        ("?module-path=allowed/p.so", "is not allowed"),
        ("?module-path=/tmp", "is no name of a module"),
        ("?module-name=absent", "in none of the module directories"),
        ("?module-name=../p", "is no name of a module"),
    ],
)
def test_other_modules_are_not_loaded(query: str, why: str) -> None:
    with pytest.raises(SchemeError, match=why):
        Policy(("/allowed",), ("/usr/lib/p.so", "/allowed/")).module(parse(f"pkcs11:{query}"))


def test_without_a_policy_nothing_is_loaded() -> None:
    if os.path.exists("/etc/ocicrypt.conf"):
        pytest.skip("this machine has a policy")
    with pytest.raises(SchemeError, match="No ocicrypt config file was found"):
        find_policy({})


def test_policies_are_found_where_ocicrypt_looks(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    text = "pkcs11:\n  module-directories: [/{0}]\n  allowed-module-paths:\n  - /{0}/\n"
    for number, name in enumerate(("given", "config/ocicrypt.conf", "home/.config/ocicrypt.conf")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.format(number), encoding="ascii")
    home = {"HOME": f"{tmp_path}/home"}
    config = home | {"XDG_CONFIG_HOME": f"{tmp_path}/config"}

    for number, environment in ((0, config | {"OCICRYPT_CONFIG": f"{tmp_path}/given"}), (1, config), (2, home)):
        assert find_policy(environment) == Policy((f"/{number}",), (f"/{number}/",))
    assert find_policy({"OCICRYPT_CONFIG": "internal"}) == Policy(INTERNAL, INTERNAL)
    assert policy(b"module-directories: [/d]") == Policy(("/d",)), "as ocicrypt hands it to decoders"


@pytest.mark.parametrize("text", [b"[", b"- a", b"pkcs11: 1", b"pkcs11: {module-directories: [d]}", b"\xff\x00"])
def test_bad_policies_are_refused(text: bytes) -> None:
    pytest.importorskip("yaml")
    with pytest.raises(SchemeError, match="OCICRYPT_CONFIG file"):
        policy(text)


def test_a_named_policy_must_exist() -> None:
    with pytest.raises(SchemeError, match=r"the OCICRYPT_CONFIG file /no/such is missing"):
        find_policy({"OCICRYPT_CONFIG": "/no/such"})


# Key files --------------------------------------------------------------------------------------------------------


def test_a_key_file_is_read() -> None:
    pytest.importorskip("yaml")
    text = b"pkcs11:\n  uri: pkcs11:token=t;object=o\nmodule:\n  env:\n    CONF: /etc/x\n    NUMBER: 1\n"

    found = pkcs11_uri.key_file(text)

    assert (found.uri.get("token"), found.env) == ("t", (("CONF", "/etc/x"), ("NUMBER", "1")))


@pytest.mark.parametrize(
    "text", [b"a: b", b"pkcs11: {url: a}", b"pkcs11: {uri: 1}", b"pkcs11: {uri: 'pkcs11:'}\nmodule: {env: [a]}", b"\t"]
)
def test_bad_key_files_are_refused(text: bytes) -> None:
    pytest.importorskip("yaml")
    with pytest.raises(SchemeError, match="key file"):
        pkcs11_uri.key_file(text)


def test_errors_do_not_quote_key_files() -> None:
    """They hold PINs."""
    pytest.importorskip("yaml")
    with pytest.raises(SchemeError) as refused:
        pkcs11_uri.key_file(b"pkcs11: {uri: 'pkcs11:?pin-value=4711'\n")

    assert "4711" not in str(refused.value)


# Packets ----------------------------------------------------------------------------------------------------------


def rsa(bits: int) -> Any:
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(65537, bits)


def public(key: Any, encoding: str = "PEM") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return bytes(key.public_key().public_bytes(getattr(Encoding, encoding), PublicFormat.SubjectPublicKeyInfo))


@pytest.mark.parametrize(("bits", "hash"), [(3072, "sha256"), (2048, "sha1")])
@pytest.mark.parametrize("encoding", ["PEM", "DER"])
def test_public_keys_are_recipients(bits: int, hash: str, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = rsa(bits)
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP

    if hash == "sha1":
        monkeypatch.setenv("OCICRYPT_OAEP_HASHALG", hash)
    packet = pkcs11.wrap(encrypted_images.OPTIONS, {"pkcs11-pubkeys": (public(key, encoding),) * 2})
    assert packet is not None
    document = json.loads(packet)

    assert document["version"] == 0
    assert [(entry["version"], entry["hash"]) for entry in document["recipients"]] == [(0, hash)] * 2
    algorithm = hashes.SHA1() if hash == "sha1" else hashes.SHA256()
    for entry in document["recipients"]:
        blob = base64.b64decode(entry["blob"])
        assert key.decrypt(blob, OAEP(MGF1(algorithm), algorithm, None)) == encrypted_images.OPTIONS
    assert pkcs11.recipients(packet) == ["[pkcs11]"]


def test_a_key_that_is_too_small_is_refused() -> None:
    with pytest.raises(SchemeError) as refused:
        pkcs11.wrap(encrypted_images.OPTIONS, {"pkcs11-pubkeys": (public(rsa(2048)),)})

    assert (
        str(refused.value) == "PKCS11: an RSA key of 2048 bits holds 190 bytes with sha256, the layer's key takes 193"
    )
    assert refused.value.hint == "use a larger key, or OCICRYPT_OAEP_HASHALG=sha1"


def test_only_rsa_keys_are_recipients() -> None:
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives.asymmetric import ec

    for key, why in ((public(ec.generate_private_key(ec.SECP256R1())), "not an RSA key"), (b"junk", "neither a PEM")):
        with pytest.raises(SchemeError, match=why):
            pkcs11.wrap(encrypted_images.OPTIONS, {"pkcs11-pubkeys": (key,)})


def test_an_unknown_hash_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCICRYPT_OAEP_HASHALG", "md5")
    with pytest.raises(SchemeError, match="OCICRYPT_OAEP_HASHALG must be one of sha1, sha256"):
        pkcs11.wrap(encrypted_images.OPTIONS, {"pkcs11-pubkeys": (b"",)})


def test_without_recipients_there_is_no_packet() -> None:
    assert pkcs11.wrap(encrypted_images.OPTIONS, {}) is None
    assert not pkcs11.has_keys({"pkcs11-yamls": (None,)})


ENTRY = {"version": 0, "blob": "AAAA", "hash": "sha1"}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"version": 1, "recipients": [ENTRY]},
        {"version": 0, "recipients": []},
        {"version": 0, "recipients": [ENTRY] * 129},
        {"version": 0, "recipients": ["AAAA"]},
        {"version": 0, "recipients": [ENTRY | {"version": 1}]},
        {"version": 0, "recipients": [ENTRY | {"blob": "!"}]},
        {"version": 0, "recipients": [ENTRY | {"blob": None}]},
        {"version": 0, "recipients": [ENTRY | {"hash": "sha512"}]},
        {"version": 0, "recipients": [ENTRY | {"hash": ["sha1"]}]},
    ],
)
def test_bad_packets_are_refused(document: Any) -> None:
    with pytest.raises((SchemeError, Corrupt)):
        pkcs11.unwrap(json.dumps(document).encode(), {"pkcs11-yamls": (b"",), "pkcs11-config": (b"internal",)})


@given(st.binary(max_size=100))
def test_any_packet_is_read_or_refused(packet: bytes) -> None:
    with pytest.raises((SchemeError, Corrupt)):
        pkcs11.unwrap(packet, {"pkcs11-yamls": (b"",), "pkcs11-config": (b"internal",)})
    with pytest.raises((SchemeError, Corrupt)):
        pkcs11.recipients(packet)


def test_a_packet_without_a_hash_means_sha1() -> None:
    assert pkcs11._parse(json.dumps({"recipients": [{"blob": "AAAA"}]}).encode()) == [(b"\0\0\0", "sha1")]
