"""What registries say when they refuse: `{"errors": [{"code", "message"}]}`.

See distribution-spec, Error Codes.
"""

from __future__ import annotations

import http
import re

from runjail import jsonio

MOST = 3  # errors of one answer that are told
LONGEST = 200  # characters of each message
# Callers take these words for a verdict on the container's program, in any case and place: errors.py
_MISLEADING = {
    "permission denied": "access refused",
    "operation not permitted": "not allowed",
    "no such file or directory": "does not exist",
}
_ANY = re.compile("|".join(_MISLEADING), re.IGNORECASE)


def describe(status: int, body: bytes) -> str:
    """Return one line for a refusal, e.g. `404 Not Found: manifest unknown (MANIFEST_UNKNOWN)`."""
    try:
        title = f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        title = str(status)
    return ": ".join([title, *filter(None, ["; ".join(_messages(body))])])


def _messages(body: bytes) -> list[str]:
    try:
        document = jsonio.loads(body)
    except (ValueError, RecursionError):
        return []
    errors = document.get("errors") if isinstance(document, dict) else None
    if isinstance(document, dict) and not errors:  # token servers
        errors = [{"message": document.get("error_description") or document.get("details") or document.get("error")}]
    if not isinstance(errors, list):
        return []
    return [text for error in errors[:MOST] if isinstance(error, dict) and (text := _message(error))]


def _message(error: dict[str, object]) -> str:
    code, message = (_clean(error.get(name)) for name in ("code", "message"))
    return f"{message} ({code})" if message and code else message or code


def _clean(value: object) -> str:
    if not isinstance(value, str):
        return ""
    printable = "".join(letter if letter.isprintable() else " " for letter in value[:LONGEST])
    return _ANY.sub(lambda match: _MISLEADING[match[0].lower()], " ".join(printable.split()))
