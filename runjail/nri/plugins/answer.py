"""The plugin's side of NRI v0.1: one request from standard input, one result to standard output."""

import os
import sys

from runjail import jsonio
from runjail.errors import RunjailError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Request = dict[str, Any]
    Metadata = dict[str, str]


def main(plugin: str, invoke: "Callable[[Request], Metadata]") -> None:
    """Answer one request. What `invoke` raises becomes the result's `error`; the exit code stays 0, as NRI has it."""
    result: dict[str, Any] = {"plugin": plugin, "version": "0.1", "error": ""}
    try:
        if sys.argv[1:] != ["invoke"]:
            raise ValueError(f"{plugin} is an NRI plugin: runjail calls it as `{plugin} invoke`")
        request = jsonio.loads(_input())
        result["version"] = request.get("version", "0.1")
        metadata = invoke(request)
        if metadata:
            result["metadata"] = metadata
    except OSError as error:
        result["error"] = f"{error.filename or 'standard input'}: {reason(error)}"
    except (ValueError, RunjailError) as error:
        result["error"] = str(error)
    os.write(1, jsonio.dumps(result).encode() + b"\n")


def warn(text: str) -> None:
    """Say something that the administrator finds in runjail's log."""
    os.write(2, text.encode() + b"\n")


def annotations(request: "Request") -> "dict[str, str]":
    """Return the container's annotations."""
    found: dict[str, str] = (request.get("spec") or {}).get("annotations") or {}
    return found


def group(request: "Request") -> str:
    """Return the container's control group, relative to each hierarchy, "" when it has none."""
    path: str = (request.get("spec") or {}).get("cgroupsPath") or ""
    return path.strip("/")


def _input() -> bytes:
    pieces = []
    while piece := os.read(0, 1 << 16):
        pieces.append(piece)
    return b"".join(pieces)
