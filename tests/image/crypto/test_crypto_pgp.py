"""Layer keys for OpenPGP keys: with the real gpg, against skopeo, and with nothing left behind."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import HostError, RunjailError
from runjail.host import programs
from runjail.image.crypto import pgp, pgp_packets
from runjail.image.crypto.options import SchemeError
from tests.support.image import encrypted_images
from tests.support.image.pgp_keys import PASSWORD, Keys, private
from tests.support.peers.commands import eventually, processes_naming

needs_gpg = pytest.mark.needs("gpg")
TOP = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def keys() -> Iterator[Keys]:
    home = tempfile.mkdtemp(prefix="keys", dir="/tmp")
    try:
        yield Keys(home)
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], env={"GNUPGHOME": home, "PATH": os.environ["PATH"]}, check=False)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], Any]]:
    """Every program that is started, and how."""
    seen: list[tuple[list[str], Any]] = []
    run = programs.run

    def record(argv: list[str], **more: Any) -> programs.Result:
        seen.append((argv, more))
        return run(argv, **more)

    monkeypatch.setattr(programs, "run", record)
    return seen


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for temporary files in which nothing, and nobody, stays."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield Path(directory)
        assert os.listdir(directory) == []
        eventually(lambda: not processes_naming(f"{directory}/"), "the agent, which was told to end, is gone")


# Wrapping and unwrapping ------------------------------------------------------------------------------------------


@needs_gpg
def test_each_recipient_opens_the_packet(keys: Keys, clean: Path) -> None:
    packet = pgp.wrap(encrypted_images.OPTIONS, keys.recipients)

    assert packet is not None
    assert pgp.unwrap(packet, private(keys.alice)) == encrypted_images.OPTIONS
    assert pgp.unwrap(packet, private(keys.bob, PASSWORD)) == encrypted_images.OPTIONS
    assert pgp.recipients(packet) == [keys.subkey("alice"), keys.subkey("bob")]


@needs_gpg
def test_gpg_reads_what_is_written(keys: Keys, tmp_path: Path) -> None:
    """And finds in it what Go's openpgp can read: version 3 keys, one integrity protected packet, a plain literal."""
    packet = pgp.wrap(encrypted_images.OPTIONS, keys.recipients)
    assert packet is not None
    (tmp_path / "packet").write_bytes(packet)

    said = keys.gpg("--list-packets", str(tmp_path / "packet")).decode()

    assert keys.gpg("--decrypt", str(tmp_path / "packet")) == encrypted_images.OPTIONS
    assert [tag for tag, _body in pgp_packets.packets(packet)] == [1, 1, 18]
    assert "mode t" in said and 'name=""' in said
    assert "compressed" not in said


@needs_gpg
@pytest.mark.peers("skopeo")
def test_skopeo_decrypts_what_we_encrypt(keys: Keys, tmp_path: Path) -> None:
    archive = encrypted_images.tar()
    blob = encrypted_images.compressed(archive, "gzip")
    encrypted_images.Layout(
        tmp_path / "ours", [encrypted_images.seal(blob, f"{encrypted_images.LAYER}+gzip", keys.recipients)], [archive]
    )
    (tmp_path / "alice.gpg").write_bytes(keys.alice)

    target = encrypted_images.Layout(tmp_path / "theirs")
    encrypted_images.skopeo(f"oci:{tmp_path}/ours:image", target.name, "--decryption-key", str(tmp_path / "alice.gpg"))

    assert [layer for layer, _descriptor in target.layers()] == [blob]


@needs_gpg
@pytest.mark.peers("skopeo")
def test_we_decrypt_what_skopeo_encrypts(keys: Keys, tmp_path: Path) -> None:
    source = encrypted_images.plain(tmp_path / "plain")
    target = encrypted_images.Layout(tmp_path / "theirs")
    to = ("--encryption-key", "pgp:alice@example.org", "--encryption-key", "pgp:Bob (at work)")
    encrypted_images.skopeo(source.name, target.name, *to, env=keys.env)
    ((ciphertext, descriptor),) = target.layers()

    for key in (private(keys.alice), private(keys.bob, PASSWORD)):
        assert encrypted_images.opened(ciphertext, descriptor, key) == source.layers()[0][0]


def test_no_recipient_needs_no_gpg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "which", lambda *names: None)

    assert pgp.wrap(encrypted_images.OPTIONS, {}) is None
    assert not pgp.has_keys({})


# Refusals ---------------------------------------------------------------------------------------------------------


@needs_gpg
@pytest.mark.parametrize(
    "absent", [b"ali", b"alice@example.org ", b"ALICE@example.org", b"Alice <alice@example.org>", b"Bob"]
)
def test_recipients_match_exactly(keys: Keys, clean: Path, absent: bytes) -> None:
    wanted = {**keys.recipients, "gpg-recipients": (b"bob@example.org", absent, b"nobody")}

    with pytest.raises(SchemeError) as refused:
        pgp.wrap(encrypted_images.OPTIONS, wanted)

    assert str(refused.value) == f"PGP: No key found for the following recipients: {absent.decode()}, nobody"


@needs_gpg
def test_nothing_is_encrypted_for_expired_keys(keys: Keys, clean: Path) -> None:
    with pytest.raises(SchemeError, match="No key found for the following recipients: carol@"):
        pgp.wrap(encrypted_images.OPTIONS, {**keys.recipients, "gpg-recipients": (b"carol@example.org",)})


@needs_gpg
def test_nobody_is_found_in_an_empty_keyring(clean: Path) -> None:
    with pytest.raises(SchemeError, match="PGP: No key found for the following recipients: Alice"):
        pgp.wrap(encrypted_images.OPTIONS, {"gpg-recipients": (b"Alice",), "gpg-pubkeyringfile": (b"",)})


@needs_gpg
def test_a_keyring_without_keys_is_refused(keys: Keys, clean: Path) -> None:
    with pytest.raises(SchemeError, match="gpg failed: no valid OpenPGP data found"):
        pgp.wrap(encrypted_images.OPTIONS, {**keys.recipients, "gpg-pubkeyringfile": (b"no keys",)})


@needs_gpg
@pytest.mark.parametrize("password", [None, b"", b"wrong", PASSWORD + b"x"])
def test_a_wrong_password_opens_nothing(keys: Keys, clean: Path, password: bytes | None) -> None:
    packet = pgp.wrap(encrypted_images.OPTIONS, keys.recipients)
    assert packet is not None

    with pytest.raises(SchemeError, match="to unwrap key: gpg cannot decrypt it with this key and password") as refused:
        pgp.unwrap(packet, private(keys.bob, password))

    assert keys.subkey("bob") in (refused.value.hint or "")


@needs_gpg
def test_another_key_is_tried_after_one_that_fails(keys: Keys, clean: Path) -> None:
    packet = pgp.wrap(encrypted_images.OPTIONS, {**keys.recipients, "gpg-recipients": (b"Alice",)})
    several = {"gpg-privatekeys": (b"junk", keys.bob, keys.alice), "gpg-privatekeys-passwords": (None, PASSWORD, None)}

    assert packet is not None
    assert pgp.unwrap(packet, several) == encrypted_images.OPTIONS


@needs_gpg
def test_changed_packets_are_refused(keys: Keys, clean: Path) -> None:
    """Wherever a byte of the encrypted data is changed; gpg checks its integrity."""
    packet = pgp.wrap(encrypted_images.OPTIONS, {**keys.recipients, "gpg-recipients": (b"Alice",)})
    assert packet is not None

    for place in (3, 20, len(packet) - 30, len(packet) - 1):
        changed = bytearray(packet)
        changed[place] ^= 1
        with pytest.raises(SchemeError):
            pgp.unwrap(bytes(changed), private(keys.alice))


@needs_gpg
def test_gpg_never_sees_other_messages(keys: Keys, calls: list[Any], tmp_path: Path) -> None:
    """Neither plaintext, which decrypts without a key, nor what a password opens, nor anything behind a message."""
    packet = pgp.wrap(encrypted_images.OPTIONS, keys.recipients)
    assert packet is not None
    symmetric = keys.gpg("--symmetric", "--passphrase-fd", "0", str(shutil.copy(__file__, tmp_path)), input=b"pass\n")
    stored = keys.gpg("--store", "--compress-algo", "none", input=b"plain")
    calls.clear()

    for message in (b"", stored, symmetric, packet + stored, stored + packet, packet[:-1], packet * 2, b"\x00" * 50):
        with pytest.raises(SchemeError):
            pgp.unwrap(message, private(keys.alice))

    assert calls == []


def test_gpg_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "which", lambda *names: None)

    with pytest.raises(RunjailError, match="PGP: gpg is not installed"):
        pgp.wrap(encrypted_images.OPTIONS, {"gpg-recipients": (b"Alice",)})


# Secrets ----------------------------------------------------------------------------------------------------------


@needs_gpg
def test_secrets_are_only_ever_on_standard_input(keys: Keys, clean: Path, calls: list[tuple[list[str], Any]]) -> None:
    packet = pgp.wrap(encrypted_images.OPTIONS, keys.recipients)
    assert packet is not None
    pgp.unwrap(packet, private(keys.bob, PASSWORD))

    assert calls
    for argv, more in calls:
        visible = "\0".join([*argv, *more["env"].values()]).encode()
        assert argv[0].startswith("/")
        assert not {secret for secret in (PASSWORD, encrypted_images.OPTIONS, keys.bob[:100]) if secret in visible}
    assert sum(PASSWORD in more.get("input", b"") for _argv, more in calls) == 1


@needs_gpg
def test_the_home_is_private(keys: Keys, clean: Path) -> None:
    with pgp.Home() as gpg:
        assert os.stat(gpg.path).st_mode & 0o777 == 0o700
        assert os.path.dirname(gpg.path) == str(clean)
        gpg.read(keys.alice)
        assert processes_naming(gpg.path) != [], "no agent: the checks that none stays prove nothing"


@needs_gpg
def test_a_gpg_that_hangs_is_ended(keys: Keys, clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together with its agent, and what it had on disk is removed."""
    with pytest.raises(SchemeError, match=r"gpg did not end within 0.02 s"), pgp.Home() as gpg:
        gpg.read(keys.bob)
        monkeypatch.setattr(pgp, "TIMEOUT", 0.02)
        gpg("--decrypt", "/dev/zero")
    monkeypatch.undo()


SOCKETS = """\
mount -t tmpfs none /run/user && mkdir -m 700 /run/user/0 || exit 9
"$0" -c '
import sys
from runjail.image.crypto import pgp
with open(sys.argv[1], "rb") as ring, open(sys.argv[2], "rb") as packet:
    keys = {"gpg-privatekeys": (ring.read(),), "gpg-privatekeys-passwords": (None,)}
    print(len(pgp.unwrap(packet.read(), keys)))
' "$@"
ls -A /run/user/0/gnupg
"""


@needs_gpg
@pytest.mark.linux
def test_no_directory_of_sockets_stays(keys: Keys, tmp_path: Path) -> None:
    """gpg makes one for each home in the directory that systemd gives users; here in a name space of our own."""
    os.makedirs("/run/user", exist_ok=True)
    (tmp_path / "ring").write_bytes(keys.alice)
    (tmp_path / "packet").write_bytes(pgp.wrap(encrypted_images.OPTIONS, keys.recipients) or b"")

    command = ["unshare", "-m", "sh", "-c", SOCKETS, sys.executable, str(tmp_path / "ring"), str(tmp_path / "packet")]
    done = subprocess.run(
        command, cwd=TOP, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, f"{len(encrypted_images.OPTIONS)}\n"), done.stderr


@needs_gpg
def test_what_a_killed_runjail_left_is_removed(keys: Keys, clean: Path) -> None:
    """By the next one; but what is in use, and what is too young to tell, stays."""
    abandoned, young = clean / f"{pgp.PREFIX}old", clean / f"{pgp.PREFIX}new"
    for directory in (abandoned, young):
        directory.mkdir()
        (directory / "secret").write_bytes(b"key")
    os.utime(abandoned, (0, 0))
    with pgp.Home() as gpg:
        os.utime(gpg.path, (0, 0))
        with pgp.Home():
            assert os.path.exists(gpg.path)
    assert os.listdir(clean) == [young.name]
    shutil.rmtree(young)


@needs_gpg
def test_a_home_that_cannot_be_made_leaves_nothing(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str) -> int:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(pgp, "_lock", full)
    with pytest.raises(HostError, match="cannot make a directory for gpg: no locks available"), pgp.Home():
        pass


@needs_gpg
def test_a_long_temporary_directory_is_not_used(keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of an agent's sockets have about a hundred bytes."""
    long = tmp_path / ("long" * 20)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    packet = pgp.wrap(encrypted_images.OPTIONS, keys.recipients)

    assert packet is not None
    assert pgp.unwrap(packet, private(keys.alice)) == encrypted_images.OPTIONS


@needs_gpg
def test_secret_keyrings_are_recognised(keys: Keys) -> None:
    assert all(pgp.is_secret_keyring(ring) for ring in (keys.alice, keys.bob, keys.alice + keys.alice))
    assert not any(
        pgp.is_secret_keyring(ring) for ring in (keys.public, keys.gpg("--armor", "--export"), keys.alice[:-1])
    )
