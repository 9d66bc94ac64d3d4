"""The plugin's side of NRI v0.1: one request from standard input, one result to standard output."""

from __future__ import annotations

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


def main(plugin: str, invoke: Callable[[Request], Metadata]) -> None:
    """Answer one request. What `invoke` raises becomes the result's `error`; the exit code stays 0, as NRI has it."""
    result: dict[str, Any] = {"plugin": plugin, "version": "0.1", "error": ""}
    try:
        if sys.argv[1:] != ["invoke"]:
            raise ValueError(f"{plugin} is an NRI plugin: runjail calls it as `{plugin} invoke`")
        request = read(_input())
        result["version"] = request.get("version", "0.1")
        metadata = invoke(request)
        if metadata:
            result["metadata"] = metadata
    except OSError as error:
        result["error"] = f"{error.filename or 'standard input'}: {reason(error)}"
    except (ValueError, RunjailError) as error:
        result["error"] = str(error)
    os.write(1, jsonio.dumps(result).encode() + b"\n")


def read(content: bytes) -> Request:
    """Return a request of which `state`, `spec` and what plugins look at in it are what they have to be, or absent.

    Raises ValueError.
    """
    request = jsonio.loads(content)
    if not isinstance(request, dict) or not isinstance(request.get("state"), str):
        raise ValueError("the request must be an object with a state")
    spec = {} if request.get("spec") is None else request["spec"]
    labels = spec.get("annotations") or {} if isinstance(spec, dict) else None
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise ValueError("the request's spec.annotations must be an object of strings")
    path = spec.get("cgroupsPath") or ""
    if not isinstance(path, str) or ".." in path.split("/"):
        raise ValueError("the request's spec.cgroupsPath must be the path of a control group")
    if type(request.get("pid") or 0) is not int or not isinstance(request.get("version", ""), str):
        raise ValueError("the request's pid must be a number and its version a string")
    return request


def warn(text: str) -> None:
    """Say something that the administrator finds in runjail's log."""
    os.write(2, text.encode() + b"\n")


def annotations_of(request: Request) -> dict[str, str]:
    """Return the container's annotations."""
    found: dict[str, str] = (request.get("spec") or {}).get("annotations") or {}
    return found


def group(request: Request) -> str:
    """Return the container's control group, relative to each hierarchy, "" when it has none."""
    path: str = (request.get("spec") or {}).get("cgroupsPath") or ""
    return path.strip("/")


def _input() -> bytes:
    pieces = []
    while piece := os.read(0, 1 << 16):
        pieces.append(piece)
    return b"".join(pieces)
