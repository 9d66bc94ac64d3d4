"""Calling a CNI plugin: words in the environment, configuration on its input, a result on its output.

CNI specification 1.1, section 2. A plugin is looked up in the plugin directories and nowhere else, and has a time
limit. When it fails or takes too long, everybody whom it has started is ended; what one that succeeded leaves behind,
such as a name server, goes on, as a hook's does.
"""

from __future__ import annotations

import os

from runjail import jsonio, log
from runjail.errors import HostError, NetworkError, reason
from runjail.host import programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

TIMEOUT = 60.0  # seconds of one call; CNI itself has no limit
LONGEST = 3600.0
LARGEST = 1 << 20  # bytes of an answer
PATH = programs.SEARCH_PATH  # plugins call iptables, nft, pfctl
INSTALL = "install containernetworking-plugins, or use --network host"


def find(kind: str, directories: Sequence[str]) -> str:
    """Return the path of a plugin's program. Raises NetworkError."""
    for directory in directories:
        if os.path.isfile(f"{directory}/{kind}"):
            return f"{directory}/{kind}"
    raise NetworkError(f"CNI plugin {kind} is not in {' or '.join(directories)}", INSTALL)


def call(
    command: str,
    kind: str,
    request: Mapping[str, Any],
    words: Mapping[str, str],
    directories: Sequence[str],
    timeout: float,
) -> dict[str, Any]:
    """Have one plugin do `command`: ADD, DEL, CHECK or VERSION. Returns what it says, {} for nothing.

    words: CNI_CONTAINERID and the like. Raises NetworkError with what the plugin says, or how it ended.
    """
    path, what = find(kind, directories), f"CNI plugin {kind}: {command}"
    environment = {**programs.ENVIRONMENT, "PATH": PATH, "CNI_PATH": ":".join(directories), **words}
    try:
        ended = programs.run(
            (path,),
            env={**environment, "CNI_COMMAND": command},
            input=jsonio.dumps(dict(request)).encode(),
            timeout=timeout,
            limit=LARGEST + 1,
            foreign=True,
        )
    except (HostError, OSError) as error:
        cause = str(error) if isinstance(error, HostError) else reason(error)
        raise NetworkError(f"{what}: {path} cannot be run: {cause}") from None
    for line in ended.stderr.decode("utf-8", "replace").splitlines()[:20]:
        log.debug(f"{what}: {line[:1000]}")
    if ended.timed_out:
        raise NetworkError(f"{what}: no end after {timeout:g} s")
    if len(ended.stdout) > LARGEST:
        raise NetworkError(f"{what}: its answer is larger than {LARGEST} bytes")
    if ended.status:
        raise _failure(what, ended)
    return _answer(what, ended.stdout)


def _answer(what: str, output: bytes) -> dict[str, Any]:
    try:
        document = jsonio.loads(output) if output.strip() else {}
    except ValueError as error:
        raise NetworkError(f"{what}: its answer is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise NetworkError(f"{what}: its answer is no object")
    return document


def _failure(what: str, ended: programs.Result) -> NetworkError:
    """Return the error for a plugin that failed: it says why as {"code", "msg", "details"} on standard output."""
    try:
        report = jsonio.loads(ended.stdout)
        words = [report.get("msg"), report.get("details")] if isinstance(report, dict) else []
    except ValueError:
        words = []
    text = ": ".join(word for word in words if isinstance(word, str) and word)
    text = text or programs.first_line(ended.stderr) or programs.first_line(ended.stdout)
    cause = " ".join(programs.plain(text).split())[:1000] or f"exit status {ended.status}"
    return NetworkError(f"{what}: {cause}")
