"""A JSON document of a caller's: read within bounds, decoded, its shape checked by the schema."""

from __future__ import annotations

from runjail import files, jsonio
from runjail.errors import InvalidConfig, UnreadableFile
from runjail.spec import validate
from runjail.spec.reader import Reader, Report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.spec.problems import Path

LARGEST = 4 * 1024 * 1024  # bytes of a document; podman's are about 10 KiB
LONG = 6 * 1024  # bytes from which on the C half of json saves more than it takes to load: 0.6 of 1.4 ms at 9 KiB


def read(path: str, what: str = "config.json") -> object:
    """Read one JSON document of at most 4 MiB, see `files`; `what` is its name in errors.

    Raises InvalidConfig for everything: no file, no JSON, no UTF-8, too large.
    """
    try:
        return decode(files.read(path, LARGEST), what)
    except UnreadableFile as error:
        raise InvalidConfig([str(error)], what) from None
    except InvalidConfig as error:
        raise in_file(path, error, what) from None


def in_file(path: str, error: InvalidConfig, what: str) -> InvalidConfig:
    """Return the error with the file before each problem."""
    shown = path if path.isprintable() else ascii(path)[1:-1]
    return InvalidConfig([f"{shown}: {problem}" for problem in error.problems], what)


def decode(data: bytes, what: str = "config.json") -> object:
    """Decode one JSON document. Raises InvalidConfig with the position of the mistake."""
    if len(data) > LONG:
        jsonio.hasten()
    try:
        return jsonio.loads(data)
    except UnicodeDecodeError as error:
        raise InvalidConfig([f"byte {error.start + 1}: is not UTF-8"], what) from None
    except ValueError as error:
        line, column = getattr(error, "lineno", 0), getattr(error, "colno", 0)
        where = f"line {line} column {column}: " if line else ""
        raise InvalidConfig([where + getattr(error, "msg", str(error))], what) from None


def shaped(document: object, definition: str, report: Report, what: str) -> Reader:
    """Return the document as a section of this definition of the schema.

    What has a wrong shape is reported and replaced by null, so that the rules of a reader still speak about the rest.
    """
    if isinstance(document, dict) and validate.conforms(document, definition):
        return Reader(document, (), report)
    faults, complete = validate.faults(document, definition)
    for path, text in faults:
        report.add(path, text)
    mended = _mended(document, (), {path for path, _ in faults})
    if not complete or not isinstance(mended, dict):
        report.raise_if_any(what)  # raises: an incomplete list of faults has at least one
    return Reader(mended, (), report)


def _mended(value: Any, path: Path, wrong: set[Path]) -> Any:
    if path in wrong:
        return None
    if isinstance(value, dict):
        return {key: _mended(item, (*path, key), wrong) for key, item in value.items()}
    if isinstance(value, list):
        return [_mended(item, (*path, index), wrong) for index, item in enumerate(value)]
    return value
