"""Layer keys in a descriptor's annotations: opening them, making them, adding recipients.

See containers/ocicrypt. `unwrap` is the authorisation check: who can unwrap a layer's private options may use the
layer. Annotations are hostile: a packet that cannot be read is passed over, and why is part of the error when nothing
else opens the layer. How far a packet came once a key was tried on it is never told: who can edit a manifest and sees
errors would ask again and again, each time with another byte changed, until the key is known (Bleichenbacher 1998,
Vaudenay 2002).
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Iterator, Mapping

from runjail.errors import Corrupt, ImageError, RunjailError, Unauthorized
from runjail.image.crypto import jwe, keyprovider, pgp, pkcs7, pkcs11  # light until they have something to do
from runjail.image.crypto.keyprovider_config import Provider
from runjail.image.crypto.options import (
    Parameters,
    PrivateLayerOptions,
    PublicLayerOptions,
    Scheme,
    SchemeError,
    decode,
)
from runjail.image.model import Descriptor

Opener = Callable[[bytes], bytes]

NAMESPACE = "org.opencontainers.image.enc."
KEYS = NAMESPACE + "keys."
PUBLIC = NAMESPACE + "pubopts"
PROVIDER = "provider."
LONGEST = 256 << 10  # bytes of one annotation: about 500 recipients
MOST_PACKETS = 128  # in one annotation
MOST_REASONS = 10  # reasons in an error
NO_KEY_FITS = "no suitable key unwrapper found or none of the private keys could be used for decryption"

SCHEMES: dict[str, Scheme] = {scheme.NAME: scheme for scheme in (jwe, pkcs7, pgp, pkcs11)}  # in the order of trying
_NONE: Mapping[str, Provider] = {}


def unwrap(
    descriptor: Descriptor, parameters: Parameters, providers: Mapping[str, Provider] = _NONE
) -> PrivateLayerOptions:
    """Return the private options of an encrypted layer.

    Raises Unauthorized with ocicrypt's text when no key opens it, Corrupt when its public options are wrong or carry
    another nonce than the private ones: whoever can edit a manifest could make readers decrypt to garbage with it.
    """
    private = _unwrap(descriptor, parameters, providers)
    nonce = public(descriptor).nonce
    if nonce is not None and not hmac.compare_digest(nonce, private.nonce):
        raise Corrupt(f"decrypting layer {descriptor.digest}: the public nonce is not the private one")
    return private


def public(descriptor: Descriptor) -> PublicLayerOptions:
    """Return the public options of an encrypted layer. Raises Corrupt."""
    try:
        annotation = descriptor.annotations.get(PUBLIC, "")
        return PublicLayerOptions.from_json(decode(annotation, "annotation") or b"{}")
    except Corrupt as error:
        raise Corrupt(f"decrypting layer {descriptor.digest}: {error}") from None


def wrap(
    private: PrivateLayerOptions,
    public: PublicLayerOptions,
    parameters: Parameters,
    providers: Mapping[str, Provider] = _NONE,
) -> dict[str, str]:
    """Return the annotations of a layer just encrypted: one packet for each scheme that has recipients.

    Raises ImageError when there are no recipients, or one that cannot be used.
    """
    packets = _wrap(private, parameters, providers)
    return packets | {PUBLIC: base64.b64encode(public.to_json()).decode("ascii")}


def add_recipients(
    descriptor: Descriptor,
    decrypt_parameters: Parameters,
    encrypt_parameters: Parameters,
    providers: Mapping[str, Provider] = _NONE,
) -> dict[str, str]:
    """Return the annotations of an encrypted layer with packets for more recipients; its blob stays as it is.

    Raises Unauthorized, Corrupt and ImageError as `unwrap` and `wrap` do.
    """
    annotations = dict(descriptor.annotations)
    private = unwrap(descriptor, decrypt_parameters, providers)
    for name, packet in _wrap(private, encrypt_parameters, providers).items():
        annotations[name] = f"{annotations[name]},{packet}" if annotations.get(name) else packet
    return annotations


def of_schemes() -> frozenset[str]:
    """Return the names of parameters that mean something to a scheme; every other name is a key provider's."""
    return frozenset[str]().union(*(scheme.PARAMETERS for scheme in SCHEMES.values()))


def strip(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the annotations that have nothing to do with encryption."""
    return {name: value for name, value in annotations.items() if not name.startswith(NAMESPACE)}


def schemes(descriptor: Descriptor) -> list[str]:
    """Return the schemes in which the layer's key is wrapped, sorted: `jwe`, `provider.vault`."""
    names = descriptor.annotations.items()
    return sorted(name.removeprefix(KEYS) for name, value in names if name.startswith(KEYS) and value)


def recipients(descriptor: Descriptor) -> list[str]:
    """Return the recipients that the packets name, sorted; packets that cannot be read name nobody."""
    found: set[str] = set()
    for name in schemes(descriptor):
        packets = descriptor.annotations[KEYS + name][:LONGEST].split(",") if name in SCHEMES else []
        for packet in packets[:MOST_PACKETS]:
            try:
                found.update(SCHEMES[name].recipients(decode(packet, "annotation")))
            except RunjailError:
                continue
    return sorted(found)


def _unwrap(descriptor: Descriptor, parameters: Parameters, providers: Mapping[str, Provider]) -> PrivateLayerOptions:
    faults: list[str] = []
    any_key = False
    for name in _in_order(descriptor):
        if name in SCHEMES:
            if not SCHEMES[name].has_keys(parameters):
                continue
            any_key = True
        if found := _open(descriptor, name, _opener(name, parameters, providers), faults):
            return found
    text = NO_KEY_FITS if any_key else Unauthorized.most_important
    raise Unauthorized(f"{text}: {_reasons(faults)}" if faults else text)


def _reasons(faults: list[str]) -> str:
    different = list(dict.fromkeys(faults))
    more = len(different) - MOST_REASONS
    return "; ".join(different[:MOST_REASONS] + ([f"and {more} more"] if more > 0 else []))


def _open(descriptor: Descriptor, name: str, opener: Opener, faults: list[str]) -> PrivateLayerOptions | None:
    """Try the packets of one scheme until one opens."""
    packets = descriptor.annotations[KEYS + name]
    if len(packets) > LONGEST or packets.count(",") >= MOST_PACKETS:
        faults.append(f"the annotation of {_shown(name)} is longer than {LONGEST >> 10} KiB or {MOST_PACKETS} packets")
        return None
    for packet in packets.split(","):
        try:
            opened = opener(decode(packet, "annotation"))
        except RunjailError as error:
            faults.append(str(error))
            continue
        try:
            return PrivateLayerOptions.from_json(opened)
        except Corrupt as error:  # the same text as when it does not open: an error must not reveal what was decrypted
            faults.append(SCHEMES[name].NO_KEY if name in SCHEMES else str(error))
    return None


def _in_order(descriptor: Descriptor) -> Iterator[str]:
    """Yield the schemes of a layer: upstream's order is random, ours is not."""
    present = schemes(descriptor)
    yield from (name for name in SCHEMES if name in present)
    yield from (name for name in present if name.startswith(PROVIDER))


def _opener(name: str, parameters: Parameters, providers: Mapping[str, Provider]) -> Opener:
    """Return what opens a packet of a scheme."""
    if name in SCHEMES:
        return lambda packet: SCHEMES[name].unwrap(packet, parameters)
    provider = name.removeprefix(PROVIDER)

    def ask(packet: bytes) -> bytes:
        if provider not in providers:
            raise SchemeError(f"key provider {_shown(provider)} is not configured")
        return keyprovider.unwrap(provider, providers[provider], packet, parameters)

    return ask


def _wrap(private: PrivateLayerOptions, parameters: Parameters, providers: Mapping[str, Provider]) -> dict[str, str]:
    """Return one packet for each scheme with recipients, by annotation."""
    options = private.to_json()
    wrapped = {name: scheme.wrap(options, parameters) for name, scheme in SCHEMES.items()}
    for name in sorted(set(parameters) - of_schemes()):
        if name not in providers:  # upstream leaves such a recipient out without a word
            raise ImageError(f"key provider {_shown(name)} is not configured")
        wrapped[PROVIDER + name] = keyprovider.wrap(name, providers[name], options, parameters)
    packets = {KEYS + name: base64.b64encode(packet).decode("ascii") for name, packet in wrapped.items() if packet}
    if not packets:
        raise ImageError("no wrapped keys produced by encryption")
    return packets


def _shown(name: str) -> str:
    return repr(name if len(name) <= 40 else name[:40] + "...")
