"""Layer keys wrapped for OpenPGP keys: `org.opencontainers.image.enc.keys.pgp`.

They are made as ocicrypt's keywrap/pgp makes them. A packet is a binary OpenPGP message: one encrypted session key
(version 3) for each recipient, then data encrypted with AES-256 under integrity protection, a literal of text inside,
neither compressed nor signed. gpg(1) does the work, with a home directory of its own, of which nothing stays: no key,
no agent, no file.

Secret keys and passwords reach gpg through its standard input. The agent that gpg starts keeps imported keys in its
home as they came: under their password, or in the clear when they have none, in a directory that only we can enter.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import time
from typing import Self

from runjail import locks
from runjail.errors import CleanupError, HostError, ImageError, reason
from runjail.host import programs
from runjail.image.crypto.options import Parameters, SchemeError, given, with_passwords
from runjail.image.crypto.pgp_packets import is_secret_keyring, recipients

__all__ = ["NAME", "has_keys", "recipient", "recipients", "recognise", "unwrap", "wrap"]

NAME = "pgp"
RECIPIENT = "NAME-OR-ADDRESS"
PARAMETERS = frozenset(("gpg-recipients", "gpg-pubkeyringfile", "gpg-privatekeys", "gpg-privatekeys-passwords"))
NO_KEY = "PGP: No suitable key found to unwrap key"
USER_ID = re.compile(r"(?P<name>[^<]*)<(?P<address>[^<>]*)>\s*")
TIMEOUT = 60.0  # seconds for one call: keys protected with many iterations on a slow machine take a few
LARGEST = 64 << 20  # bytes of a user's public keyring
LIMIT = 16 << 20  # bytes of an answer: the list of a large keyring
PREFIX = "runjail-gpg-"
SOCKETS = ("/run/user", "/var/run/user")  # where gpg looks for a directory of the user's for its agent's sockets
LONGEST = 70  # bytes of the home's path: the names of the agent's sockets, up to 22 bytes, have to fit into sun_path
# No smart cards: those belong to somebody's own gpg. A fixed count saves the agent a second of measuring how many
# iterations to protect its copy of a key with, which is removed moments later.
AGENT = "disable-scdaemon\ns2k-count 1048576\n"
OPTIONS = tuple(
    "--batch --no-tty --quiet --no-options --pinentry-mode loopback --trust-model always --disable-dirmngr "
    "--no-auto-key-retrieve --no-auto-key-locate".split()
)


def has_keys(parameters: Parameters) -> bool:
    """Whether there is a secret keyring among these decryption parameters."""
    return bool(given(parameters, "gpg-privatekeys"))


def recipient(name: str) -> Parameters:
    """Return who is meant, and the keyring of the user's gpg, in which `wrap` looks the name up. Raises ImageError."""
    return {"gpg-recipients": (name.encode(),), "gpg-pubkeyringfile": (_keyring(),)}


def _keyring() -> bytes:
    """Return the public keys of the user's gpg. Raises ImageError."""
    gpg = programs.which("gpg2", "gpg")
    if not gpg:
        raise ImageError("PGP: gpg is not installed", "install the port security/gnupg")
    home = {name: os.environ[name] for name in ("HOME", "GNUPGHOME") if name in os.environ}
    try:
        result = programs.run(
            [gpg, "--batch", "--export"], env={"LC_ALL": "C", "PATH": programs.SEARCH_PATH} | home, limit=LARGEST
        )
    except OSError as error:
        raise ImageError(f"PGP: cannot start {gpg}: {reason(error)}") from None
    if result.status or result.timed_out:
        raise ImageError(f"PGP: gpg cannot export public keys: {programs.first_line(result.stderr)}")
    return result.stdout


def recognise(content: bytes, _password: bytes | None) -> tuple[str, ...]:
    """Whether it is a secret keyring."""
    return ("gpg-privatekeys",) if is_secret_keyring(content) else ()


def wrap(options: bytes, parameters: Parameters) -> bytes | None:
    """Return one packet that each of `gpg-recipients` opens; None when there is no recipient.

    options: JSON text. A recipient is the name or the address in a user id of `gpg-pubkeyringfile`, exactly. Raises
    SchemeError naming those without a key that can be encrypted to, and when gpg refuses.
    """
    wanted = [name.decode("utf-8", "replace") for name in given(parameters, "gpg-recipients")]
    if not wanted:
        return None
    with Home() as gpg:
        for keyring in filter(None, given(parameters, "gpg-pubkeyringfile")):  # a user without keys has an empty one
            gpg.read(keyring)
        keys = [(fingerprint, {part for user in users for part in _names(user)}) for fingerprint, users in gpg.usable()]
        unknown = [name for name in wanted if not any(name in names for _fingerprint, names in keys)]
        if unknown:
            raise SchemeError(f"PGP: No key found for the following recipients: {', '.join(unknown)}")
        return gpg.encrypt(options, [fingerprint for fingerprint, names in keys if names.intersection(wanted)])


def _names(user: str) -> tuple[str, ...]:
    """Return what a user id answers to: `Bob (work) <bob@example.org>` to `Bob (work)` and to the address."""
    match = USER_ID.fullmatch(user)
    return (match["name"].strip('" '), match["address"]) if match else (user,)


def unwrap(packet: bytes, parameters: Parameters) -> bytes:
    """Return the options that one of `gpg-privatekeys`, each with its password, opens. Raises SchemeError."""
    ids = recipients(packet)  # gpg sees nothing but a message of the form that is expected
    reasons = []
    for keyring, password in with_passwords(parameters, "gpg-privatekeys"):
        try:
            with Home() as gpg:
                gpg.read(keyring)
                return gpg.decrypt(packet, password or b"")
        except SchemeError as error:
            reasons.append(str(error).removeprefix("PGP: "))
    hint = f"it takes the secret key of one of these, and its password: {', '.join(ids)}"
    raise SchemeError(f"{NO_KEY}: {'; '.join(dict.fromkeys(reasons))}", hint)


class Home:
    """A GNUPGHOME for the time of a `with` block. Raises SchemeError when there is no gpg."""

    def __init__(self) -> None:
        found = programs.which("gpg2", "gpg")
        if not found:
            raise SchemeError("PGP: gpg is not installed", "install the port security/gnupg")
        self.gpg = found
        self.path = ""
        self.lock: int | None = None

    def __enter__(self) -> Self:
        base = tempfile.gettempdir()
        directory = base if len(os.fsencode(base)) < LONGEST - 30 else "/tmp"
        try:
            _sweep(directory)
            self.path = tempfile.mkdtemp(prefix=PREFIX, dir=directory)
            self.lock = _lock(self.path)
            with open(f"{self.path}/gpg-agent.conf", "w", encoding="ascii") as file:
                file.write(AGENT)
        except OSError as error:
            self._end()
            raise HostError(f"cannot make a directory for gpg: {reason(error)}") from error
        self.env = {"LC_ALL": "C", "PATH": programs.SEARCH_PATH, "GNUPGHOME": self.path, "HOME": self.path}
        return self

    def __exit__(self, *_exception: object) -> None:
        try:
            self._end_agent()
        finally:
            self._end()

    def _end_agent(self) -> None:
        """Tell the agent to end, and remove the directory that gpg makes for sockets where users have one for those."""
        gpgconf = f"{os.path.dirname(self.gpg)}/gpgconf"
        elsewhere = any(os.path.isdir(f"{place}/{os.geteuid()}/gnupg") for place in SOCKETS)
        if elsewhere or os.path.exists(f"{self.path}/S.gpg-agent"):
            self._run([gpgconf, "--kill", "gpg-agent"])
        if elsewhere:
            self._run([gpgconf, "--remove-socketdir"])

    def _end(self) -> None:
        if self.path:
            _remove(self.path)
        if self.lock is not None:
            os.close(self.lock)

    def __call__(self, *arguments: str, input: bytes = b"", why: str = "") -> bytes:
        """Return what gpg writes. Raises SchemeError when it takes too long, or fails: with gpg's own words, or why."""
        result = self._run([self.gpg, *OPTIONS, *arguments], input)
        if result.timed_out:
            raise SchemeError(f"PGP: gpg did not end within {TIMEOUT:g} s")
        if result.status or len(result.stdout) >= LIMIT:
            stderr = programs.first_line(result.stderr).removeprefix("gpg: ") or f"status {result.status}"
            raise SchemeError(f"PGP: {why or f'gpg failed: {stderr}'}")
        return result.stdout

    def _run(self, argv: list[str], input: bytes = b"") -> programs.Result:
        try:
            return programs.run(argv, env=self.env, input=input, timeout=TIMEOUT, limit=LIMIT, leave=False)
        except OSError as error:
            raise SchemeError(f"PGP: cannot start {argv[0]}: {reason(error)}") from error

    def read(self, keyring: bytes) -> None:
        """Import the keys of a file, public or secret. Raises SchemeError when there are none."""
        self("--import", input=keyring)

    def decrypt(self, packet: bytes, password: bytes) -> bytes:
        """Return the plaintext of a message that a key in this home opens. Raises SchemeError when none does.

        gpg's words are not told: they say whether the session key or what it encrypts was wrong.
        """
        message = f"{self.path}/message"  # ciphertext; standard input is for the password
        with open(message, "wb") as file:
            file.write(packet)
        why = "gpg cannot decrypt it with this key and password"
        return self("--passphrase-fd", "0", "--decrypt", message, input=password + b"\n", why=why)

    def verified(self, message: bytes) -> bytes:
        """Return what a signed message holds. Raises SchemeError unless it has one signature, good, by a key in here.

        What gpg thinks of it is read from a file of its own, as messages and names can write to its other outputs.
        """
        path, status = f"{self.path}/message", f"{self.path}/status-{time.monotonic_ns()}"
        with open(path, "wb") as file:
            file.write(message)
        why = "a signature that gpg does not take: by another key, expired or revoked, or not of this text"
        content = self("--status-file", status, "--decrypt", path, why=why)
        with open(status, encoding="utf-8", errors="replace") as said:
            words = [line.split()[1] for line in said if line.startswith("[GNUPG:] ") and len(line.split()) > 1]
        signatures = [word for word in words if word.endswith("SIG") and word != "NEWSIG"]  # doc/DETAILS of gpg
        if sorted(signatures) != ["GOODSIG", "VALIDSIG"]:
            raise SchemeError(f"PGP: {why}")
        return content

    def encrypt(self, plaintext: bytes, fingerprints: list[str]) -> bytes:
        """Return a binary message that each of these keys opens, in the form that Go's openpgp reads and writes."""
        form = ("--rfc4880", "--cipher-algo", "AES256", "--compress-algo", "none", "--set-filename", "", "--textmode")
        recipients = [word for fingerprint in fingerprints for word in ("--recipient", fingerprint)]
        return self(*form, *recipients, "--encrypt", input=plaintext)

    def usable(self) -> list[tuple[str, list[str]]]:
        """Return fingerprint and user ids of every key that can be encrypted to: not expired, not revoked."""
        found: list[tuple[str, list[str]]] = []
        fingerprint, usable = "", False
        for line in self("--with-colons", "--list-keys").decode("utf-8", "replace").splitlines():
            fields = [*line.split(":"), *[""] * 12]
            if fields[0] == "pub":
                fingerprint, usable = "", "E" in fields[11]
            elif fields[0] == "fpr" and usable and not fingerprint:  # later ones are those of subkeys
                fingerprint = fields[9]
                found.append((fingerprint, []))
            elif fields[0] == "uid" and usable and fields[1] != "r":
                found[-1][1].append(_unescape(fields[9]))
        return found


def _unescape(field: str) -> str:
    r"""Return a field of gpg's list as it was: `\x3a` is a colon (doc/DETAILS)."""
    return re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), field)


def _sweep(directory: str) -> None:
    """Remove homes whose owner was killed: nobody has them locked. Young ones may be about to be. Raises OSError."""
    oldest = time.time() - TIMEOUT
    with os.scandir(directory) as entries:
        homes = [entry for entry in entries if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False)]
    for entry in homes:
        try:
            status = entry.stat(follow_symlinks=False)
            if status.st_uid == os.geteuid() and status.st_mtime < oldest:
                lock = _lock(entry.path)
                shutil.rmtree(entry.path, ignore_errors=True)
                os.close(lock)
        except OSError:  # in use, or gone meanwhile
            continue


def _lock(path: str) -> int:
    """Lock a directory as long as the descriptor returned is open. Raises OSError when somebody else has it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    if not locks.try_lock(descriptor):
        os.close(descriptor)
        raise BlockingIOError(errno.EWOULDBLOCK, "somebody uses it", path)
    return descriptor


def _remove(path: str) -> None:
    """Remove a home; the agent that is just leaving takes its sockets away at the same time."""
    for _attempt in range(3):
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            return
    raise CleanupError(f"{path}: cannot be removed; it may hold secret keys")
