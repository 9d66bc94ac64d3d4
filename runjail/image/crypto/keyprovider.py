"""Key providers: programs and services that wrap layer keys in their own way.

See ocicrypt's docs/keyprovider.md. A provider gets one JSON document, which holds all key parameters of the caller, and
answers with one. A program has them on standard input and output and ends with exit status 0; a service is called in
`keyprovider_grpc`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from runjail import jsonio
from runjail.errors import HostError, ImageError, reason
from runjail.host import programs
from runjail.image import model
from runjail.image.crypto import keyprovider_grpc
from runjail.image.crypto.keyprovider_config import Provider
from runjail.image.crypto.options import Parameters, SchemeError, decode

TIMEOUT = 60.0  # seconds; upstream waits for ever, and some providers ask a person or a network
LIMIT = 4 << 20  # bytes of an answer
MOST_SHOWN = 300  # characters of what a failing provider says
_NOTHING: Mapping[str, tuple[bytes | None, ...]] = {}


def wrap(
    name: str,
    provider: Provider,
    options: bytes,
    parameters: Parameters,
    decrypt_parameters: Parameters = _NOTHING,
) -> bytes:
    """Return the packet that a provider makes of a layer's private options. Raises SchemeError, never with the options.

    parameters: of encryption, of which those below the provider's own name are for it.
    """
    given = {"Parameters": _listed(parameters), "DecryptConfig": {"Parameters": _listed(decrypt_parameters)}}
    question = _question("keywrap", keywrapparams={"ec": given, "optsdata": _encode(options)})
    return _result(name, _ask(name, provider, "WrapKey", question), "keywrapresults", "annotation")


def unwrap(name: str, provider: Provider, packet: bytes, parameters: Parameters) -> bytes:
    """Return the private options in a packet of a provider's. Raises SchemeError."""
    given = {"dc": {"Parameters": _listed(parameters)}, "annotation": _encode(packet)}
    question = _question("keyunwrap", keyunwrapparams=given)
    return _result(name, _ask(name, provider, "UnWrapKey", question), "keyunwrapresults", "optsdata")


def _question(op: str, **params: Any) -> bytes:
    """Return the document for a provider: both params are always there, as Go writes them."""
    unused = {"keywrapparams": {"ec": None, "optsdata": None}, "keyunwrapparams": {"dc": None, "annotation": None}}
    return model.encode({"op": op, **unused, **params})


def _listed(parameters: Parameters) -> dict[str, list[str | None]]:
    return {
        name: [None if value is None else _encode(value) for value in values] for name, values in parameters.items()
    }


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _ask(name: str, provider: Provider, method: str, question: bytes) -> bytes:
    """Put a question to a provider, by its command if it has one."""
    try:
        if provider.command:
            return run(provider.command, question)

        return keyprovider_grpc.ask(provider, method, question)
    except ImageError as error:
        raise SchemeError(f"key provider {name}: {error}", error.hint) from None


def _result(name: str, answer: bytes, section: str, member: str) -> bytes:
    """Return the one value of an answer. What it holds instead is not shown: it may be the options."""
    try:
        document = jsonio.loads(answer)
    except (ValueError, RecursionError):
        raise SchemeError(f"key provider {name}: its answer is not JSON") from None
    results = model.get(document, section) if isinstance(document, dict) else None
    value = model.get(results, member) if isinstance(results, dict) else None
    if not isinstance(value, str) or not value:
        raise SchemeError(f"key provider {name}: its answer has no {section}.{member}")
    return decode(value, f"{section}.{member} of key provider {name}")


def run(command: tuple[str, ...], question: bytes) -> bytes:
    """Run a provider. command: its path, or a name that is searched in our own PATH, and arguments.

    Raises SchemeError with the first line of its standard error when it fails, or does not end within TIMEOUT.
    """
    path = programs.which(command[0])
    if path is None:
        raise SchemeError(
            f"Error while running command: {command[0]} is not an executable program in {programs.SEARCH_PATH}"
        )
    env = {**programs.ENVIRONMENT, "PATH": programs.SEARCH_PATH}
    try:
        result = programs.run(
            (path, *command[1:]), env=env, input=question, timeout=TIMEOUT, limit=LIMIT, leave=False, foreign=True
        )
    except HostError as error:
        raise SchemeError(f"Error while running command: {path}: {error}") from None
    except OSError as error:
        raise SchemeError(f"Error while running command: {path}: {reason(error)}") from None
    if result.timed_out:
        raise SchemeError(f"Error while running command: {path}: no end after {TIMEOUT:g} s")
    if len(result.stdout) >= LIMIT:
        raise SchemeError(f"Error while running command: {path}: its answer is longer than {LIMIT >> 20} MiB")
    if result.status:
        stderr = programs.first_line(result.stderr)[:MOST_SHOWN]
        raise SchemeError(f"Error while running command: {path}: exit status {result.status}. stderr: {stderr}")
    return result.stdout
