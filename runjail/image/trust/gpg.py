"""signedBy: simple signing of containers, by keys of GPG (containers-signature(5))."""

from __future__ import annotations

from collections.abc import Sequence

from runjail.image.crypto.options import SchemeError
from runjail.image.crypto.pgp import Home
from runjail.image.trust import identity, payload
from runjail.image.trust.origin import Origin
from runjail.image.trust.payload import Refused, key_contents
from runjail.image.trust.policy import Requirement
from runjail.image.trust.records import GPG, Signature

TYPE = "atomic container signature"


def problem(requirement: Requirement, digest: str, origin: Origin, signatures: Sequence[Signature]) -> str:
    """Return why none of an image's signatures meets a requirement, "" when one does. digest: of the manifest."""
    if requirement.data["keyType"] != "GPGKeys":
        return f"keyType {requirement.data['keyType']} is not supported"
    reasons = []
    signed = requirement.data.get(identity.SIGNED_IDENTITY, identity.DEFAULT)
    try:
        with Home() as gpg:
            for content, _place in key_contents(requirement.data):
                gpg.read(content)
            for signature in signatures:
                if signature.kind != GPG:
                    continue
                try:
                    content = gpg.verified(payload.decoded(signature.payload, "its message"))
                    payload.check(content, TYPE, digest, origin, signed)
                except (Refused, SchemeError) as error:
                    reasons.append(str(error).removeprefix("PGP: "))
                else:
                    return ""
    except (Refused, SchemeError) as error:
        return str(error).removeprefix("PGP: ")
    return payload.all_of(reasons)
