"""Key files, key directories and recipients: what is taken for what, and ocicrypt's words when it is nothing."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail.errors import ImageError, UsageError
from runjail.image.crypto import keyfile, keys
from runjail.image.crypto.options import SchemeError

pytest.importorskip("cryptography", reason="needs cryptography")
from tests.support.image import key_fixtures
from tests.support.leaks import Held

PKCS11 = b'pkcs11:\n  uri: "pkcs11:token=t;object=o?pin-value=1234"\n'
SECRET_RING = bytes([0xC5, 3]) + b"abc"


@pytest.fixture(autouse=True)
def private_files() -> Any:
    """Files of tests are their owner's alone; the warning about others has its own test."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def put(directory: Path, name: str, content: bytes) -> str:
    (directory / name).write_bytes(content)
    return str(directory / name)


def forms(pair: key_fixtures.Pair) -> dict[str, bytes]:
    """Return a private key in every form that is read."""
    both = {(kind, layout) for kind in ("PEM", "DER") for layout in ("PKCS8", "TraditionalOpenSSL")}
    found = {f"{kind}-{layout}": pair.encoded(kind, layout) for kind, layout in both}
    return found | {"jwk": json.dumps(pair.private_jwk(), indent=1).encode()}


@pytest.mark.parametrize("pair", [key_fixtures.rsa_pair, key_fixtures.ec_pair])
def test_private_keys_in_every_form(pair: Any) -> None:
    """PKCS #8, PKCS #1 and SEC1, as PEM and DER, and JWK."""
    expected = pair().key.private_numbers()

    for name, content in forms(pair()).items():
        found: Any = keyfile.private_key(content)
        assert found.private_numbers() == expected, name
        assert keys.kinds(content) == ("privkeys",), name
        assert keys.kinds(content, b"needless") == ("privkeys",), name


@pytest.mark.parametrize(("encoding", "layout"), [("PEM", "PKCS8"), ("PEM", "TraditionalOpenSSL"), ("DER", "PKCS8")])
@pytest.mark.parametrize("pair", [key_fixtures.rsa_pair, key_fixtures.ec_pair])
def test_locked_private_keys(pair: Any, encoding: str, layout: str) -> None:
    """With the password they are keys; ocicrypt's words without it and with another."""
    content = pair().encoded(encoding, layout, b"right")

    assert keyfile.private_key(content, b"right").private_numbers() == pair().key.private_numbers()  # type: ignore[union-attr]
    with pytest.raises(SchemeError, match=r"^Missing password for encrypted private key$"):
        keys.kinds(content)
    for wrong in (b"wrong", b""):
        with pytest.raises(SchemeError, match=r"^Wrong password: could not decrypt private key$"):
            keys.kinds(content, wrong)


def test_public_keys() -> None:
    """SPKI and PKCS #1 PEM, DER and JWK; a private JWK is none."""
    pair = key_fixtures.rsa_pair()
    der = pair.key.public_key().public_bytes(
        key_fixtures.form.Encoding.DER, key_fixtures.form.PublicFormat.SubjectPublicKeyInfo
    )
    pkcs1 = pair.key.public_key().public_bytes(key_fixtures.form.Encoding.PEM, key_fixtures.form.PublicFormat.PKCS1)
    jwk = json.dumps(pair.jwk(alg="RSA-OAEP-256", kid="k")).encode()

    for content in (pair.public, der, pkcs1, jwk):
        found: Any = keyfile.public_key(content).key
        assert found.public_numbers() == pair.key.public_key().public_numbers()
    assert (keyfile.public_key(jwk).algorithm, keyfile.public_key(jwk).key_id) == ("RSA-OAEP-256", "k")
    for content in (pair.private, pair.certificate, json.dumps(pair.private_jwk()).encode(), b"", b"{}", b"text"):
        with pytest.raises(SchemeError):
            keyfile.public_key(content)


BROKEN = [(name, value) for name in "nedpq" for value in (None, "", "AQ", "=", 7)]
BROKEN.remove(("d", "AQ"))  # nobody checks whether a private exponent is the right one


@pytest.mark.parametrize(("name", "value"), BROKEN)
def test_broken_jwks(name: str, value: object) -> None:
    """Members missing, or of values no key has: not a key, and nothing worse."""
    document: dict[str, Any] = {**key_fixtures.rsa_pair().private_jwk(), name: value}

    with pytest.raises(SchemeError):
        keyfile.private_key(json.dumps(document).encode())


def test_what_a_file_is() -> None:
    """Each scheme knows its own: a private key and a certificate may be in one file."""
    pytest.importorskip("yaml", reason="needs yaml")
    pair = key_fixtures.rsa_pair()

    assert keys.kinds(PKCS11) == ("pkcs11-yamls",)
    assert keys.kinds(pair.private) == ("privkeys",)
    assert keys.kinds(pair.certificate) == ("x509s",)
    assert keys.kinds(pair.certificate + pair.private) == ("privkeys", "x509s")
    assert keys.kinds(SECRET_RING) == ("gpg-privatekeys",)
    for nothing in (
        b"",
        b"hello",
        pair.public,
        b"{}",
        b'{"kty":"oct","k":"AA"}',
        b"-----BEGIN X-----\n-----END X-----",
    ):
        assert keys.kinds(nothing) == (), nothing


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_any_file_is_something_or_nothing(content: bytes) -> None:
    """Classification ends in an answer whatever the file holds."""
    try:
        keys.kinds(content)
    except SchemeError as error:
        assert "password" in str(error)


# --key --------------------------------------------------------------------------------------------------------------


def test_keys_of_the_command_line(tmp_path: Path) -> None:
    """Each goes to its name, passwords beside it, in the order given."""
    pytest.importorskip("yaml", reason="needs yaml")
    first, second = key_fixtures.rsa_pair(), key_fixtures.ec_pair()
    locked = second.encoded(password=b"a:b=c")
    paths = {
        "first": put(tmp_path, "first", first.private),
        "second": put(tmp_path, "second", locked),
        "certificate": put(tmp_path, "certificate", first.certificate),
        "token": put(tmp_path, "token", PKCS11),
        "ring": put(tmp_path, "ring", SECRET_RING),
    }
    given_keys = [paths["first"], f"{paths['second']}:a:b=c", paths["certificate"], paths["token"]]
    given_keys += [f"{paths['ring']}:pass=secret", "provider:vault:path=x:y", "provider:plain"]

    assert keys.read_keys(given_keys) == {
        "privkeys": (first.private, locked),
        "privkeys-passwords": (None, b"a:b=c"),
        "x509s": (first.certificate,),
        "pkcs11-yamls": (PKCS11,),
        "gpg-privatekeys": (SECRET_RING,),
        "gpg-privatekeys-passwords": (b"secret",),
        "vault": (b"path=x:y",),
        "plain": (b"Enabled",),
    }
    assert keys.read_keys([]) == {}


@pytest.mark.parametrize("form", ["plain", "pass", "file", "fd"])
def test_passwords(tmp_path: Path, form: str) -> None:
    """By value, file or descriptor; the descriptor is closed, so that nobody inherits it."""
    path = put(tmp_path, "key", key_fixtures.rsa_pair().encoded(password=b"right"))
    reading, writing = os.pipe()
    os.write(writing, b"right")
    os.close(writing)
    how = {"plain": "right", "pass": "pass=right", "fd": f"fd={reading}"}
    how["file"] = f"file={put(tmp_path, 'password', b'right')}"

    assert keys.read_keys([f"{path}:{how[form]}"])["privkeys-passwords"] == (b"right",)
    if form == "fd":
        with pytest.raises(OSError):
            os.fstat(reading)
    else:
        os.close(reading)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("", "Missing password for encrypted private key"),
        (":", "Wrong password: could not decrypt private key"),
        (":pass=wrong", "Wrong password: could not decrypt private key"),
        (":fd=x", "could not parse file descriptor 'x'"),
        (":fd=-1", "could not parse file descriptor '-1'"),
        (":fd=99999", "could not read from file descriptor 99999: bad file descriptor"),
        (":file=/nowhere/at/all", "Unable to read file: /nowhere/at/all: is missing"),
    ],
)
def test_bad_passwords(tmp_path: Path, more: str, why: str) -> None:
    path = put(tmp_path, "key", key_fixtures.rsa_pair().encoded(password=b"right"))

    with pytest.raises((ImageError, UsageError), match=why):
        keys.read_keys([path + more])


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "unidentified private key in file"), (b"x" * (9 << 20), "larger than 8388608 bytes"), (None, "is missing")],
    ids=["empty", "long", "missing"],
)
def test_files_that_are_no_keys(tmp_path: Path, content: bytes | None, why: str) -> None:
    """imgcrypt's words: a key that was named and is none is a mistake."""
    path = put(tmp_path, "key", content) if content is not None else str(tmp_path / "key")

    with pytest.raises(ImageError, match=why):
        keys.read_keys([path])
    with pytest.raises(ImageError, match="is no path"):
        keys.read_keys(["a\0b"])
    before = Held()
    with pytest.raises(ImageError, match="is not a regular file"):
        keys.read_keys([str(tmp_path)])
    assert before.more() == []


@pytest.mark.parametrize("name", ["", ":x", "privkeys", "x509s:y", "gpg-privatekeys-passwords"])
def test_key_providers_that_cannot_be(name: str) -> None:
    """A provider with a parameter's name would put its attributes there."""
    with pytest.raises(UsageError, match="not a key provider's name"):
        keys.read_keys([f"provider:{name}"])


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o644, True), (0o640, True)])
def test_private_keys_that_others_can_read(
    tmp_path: Path, mode: int, warned: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """A warning that names file and mode; certificates are for everybody."""
    pair = key_fixtures.rsa_pair()
    paths = [put(tmp_path, "key", pair.private), put(tmp_path, "certificate", pair.certificate)]
    os.chmod(paths[0], mode)
    os.chmod(paths[1], 0o644)

    keys.read_keys(paths)

    said = capfd.readouterr().err
    assert (f"{paths[0]}: its mode is {mode:04o}" in said) is warned
    assert "certificate" not in said


# A key directory ----------------------------------------------------------------------------------------------------


def test_a_key_directory(tmp_path: Path) -> None:
    """All files below it, in the order of their names."""
    pair, other = key_fixtures.rsa_pair(), key_fixtures.ec_pair()
    (tmp_path / "b" / "c").mkdir(parents=True)
    put(tmp_path, "key", pair.private)
    put(tmp_path / "b" / "c", "key", other.private)
    put(tmp_path / "b", "certificate", pair.certificate)

    assert keys.read_directory(str(tmp_path)) == {
        "privkeys": (pair.private, other.private),
        "privkeys-passwords": (None, None),
        "x509s": (pair.certificate,),
    }
    (tmp_path / "empty").mkdir()
    assert keys.read_directory(str(tmp_path / "empty")) == {}


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("link", "Symbolic links not supported in decryption keys paths: .*/b/fault"),
        ("link-to-directory", "Symbolic links not supported in decryption keys paths: .*/b/fault"),
        ("empty", "Unknown decryption key type: .*/b/fault"),
        ("text", "Unknown decryption key type: .*/b/fault"),
        ("fifo", "Unknown decryption key type: .*/b/fault is not a file"),
        ("locked", "/b/fault: Missing password for encrypted private key"),
    ],
)
def test_a_key_directory_with_a_fault(tmp_path: Path, fault: str, why: str) -> None:
    """One thing that is no key and nothing of the directory is used; a FIFO is not waited for."""
    (tmp_path / "b").mkdir()
    put(tmp_path, "key", key_fixtures.rsa_pair().private)
    path = tmp_path / "b" / "fault"
    if fault.startswith("link"):
        path.symlink_to(tmp_path / "key" if fault == "link" else tmp_path)
    elif fault == "fifo":
        os.mkfifo(path)
    else:
        locked = key_fixtures.rsa_pair().encoded(password=b"x")
        path.write_bytes({"empty": b"", "text": b"README", "locked": locked}[fault])

    with pytest.raises(ImageError, match=why):
        keys.read_directory(str(tmp_path))


def test_a_key_directory_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)

    with pytest.raises(
        ImageError, match=r"unable to get decryption keys in provided key path: .*/none: does not exist"
    ):
        keys.read_directory(str(tmp_path / "none"))
    with pytest.raises(ImageError, match="Symbolic links not supported"):
        keys.read_directory(str(tmp_path / "link"))


def test_merging_keeps_keys_and_passwords_together() -> None:
    first = {"privkeys": (b"a", b"b"), "privkeys-passwords": (None, b"2"), "x509s": (b"x",)}
    second = {"privkeys": (b"c",), "privkeys-passwords": (b"3",), "vault": (b"y",)}

    assert keys.merge(first, second) == {
        "privkeys": (b"a", b"b", b"c"),
        "privkeys-passwords": (None, b"2", b"3"),
        "x509s": (b"x",),
        "vault": (b"y",),
    }
    assert keys.merge({}, second) == second


# Recipients ---------------------------------------------------------------------------------------------------------


def test_recipients_of_the_command_line(tmp_path: Path) -> None:
    pytest.importorskip("yaml", reason="needs yaml")
    pair = key_fixtures.rsa_pair()
    public, certificate = put(tmp_path, "public", pair.public), put(tmp_path, "certificate", pair.certificate)
    token = put(tmp_path, "token", PKCS11)

    assert keys.read_recipients(
        [f"jwe:{public}", f"pkcs7:{certificate}", f"pkcs11:{token}", f"pkcs11:{public}", "provider:vault:a:b"]
    ) == {
        "pubkeys": (pair.public,),
        "x509s": (pair.certificate,),
        "pkcs11-yamls": (PKCS11,),
        "pkcs11-pubkeys": (pair.public,),
        "vault": (b"a:b",),
    }


@pytest.mark.peers("gpg")
def test_pgp_recipients_are_looked_up_in_the_users_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keyring goes along, for the names in it to be found; an empty one is no error here."""
    monkeypatch.setenv("GNUPGHOME", str(tmp_path))

    assert keys.read_recipients(["pgp:someone@example.org"]) == {
        "gpg-recipients": (b"someone@example.org",),
        "gpg-pubkeyringfile": (b"",),
    }


def test_who_is_named_twice_is_one_recipient(tmp_path: Path) -> None:
    public = put(tmp_path, "public", key_fixtures.rsa_pair().public)

    assert keys.read_recipients([f"jwe:{public}"] * 2) == keys.read_recipients([f"jwe:{public}"])


@pytest.mark.parametrize(
    ("recipient", "why"),
    [
        ("public.pem", "Invalid recipient format"),
        ("rot13:x", "Provided protocol not recognized"),
        ("jwe:/nowhere", "Unable to read file: /nowhere: is missing"),
        ("jwe:CERTIFICATE", "File provided is not a public key"),
        ("pkcs7:PUBLIC", "File provided is not an x509 cert"),
        ("pkcs11:CERTIFICATE", "Provided file is not a public key"),
        ("provider:", "not a key provider's name"),
        ("provider:pubkeys:x", "not a key provider's name"),
    ],
)
def test_bad_recipients(tmp_path: Path, recipient: str, why: str) -> None:
    pair = key_fixtures.rsa_pair()
    for name, content in (("PUBLIC", pair.public), ("CERTIFICATE", pair.certificate)):
        recipient = recipient.replace(name, put(tmp_path, name, content))

    with pytest.raises((ImageError, UsageError), match=why):
        keys.read_recipients([recipient])


def test_the_forms_of_recipients_are_told() -> None:
    with pytest.raises(UsageError) as caught:
        keys.read_recipients(["public.pem"])

    forms = "jwe:FILE, pkcs7:FILE, pgp:NAME-OR-ADDRESS, pkcs11:FILE or provider:NAME[:ATTRIBUTES]"
    assert caught.value.hint == f"a recipient is {forms}"
