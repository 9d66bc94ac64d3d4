"""Layer keys wrapped for OpenPGP keys: `org.opencontainers.image.enc.keys.pgp`, as ocicrypt's keywrap/pgp makes them.

A packet is a binary OpenPGP message: one encrypted session key (version 3) for each recipient, then data encrypted with
AES-256 under integrity protection, a literal of text inside, neither compressed nor signed. gpg(1) does the work.
"""

from __future__ import annotations

import re

from runjail.image.crypto.options import SchemeError, given, with_passwords
from runjail.image.crypto.pgp_gpg import Home
from runjail.image.crypto.pgp_packets import is_secret_keyring, recipients

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.image.crypto.options import Parameters

__all__ = ["NAME", "has_keys", "is_secret_keyring", "recipients", "unwrap", "wrap"]

NAME = "pgp"
NO_KEY = "PGP: No suitable key found to unwrap key"
USER_ID = re.compile(r"(?P<name>[^<]*)<(?P<address>[^<>]*)>\s*")


def has_keys(parameters: Parameters) -> bool:
    """Whether there is a secret keyring among these decryption parameters."""
    return bool(given(parameters, "gpg-privatekeys"))


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
