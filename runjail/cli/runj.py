"""The command line of `runj`, for containerd-shim-runj-v1, which looks for it in PATH.

It differs from runc's: the bundle is a word, nothing says where the state is, and `extension exec` has to turn into
the process that it starts, because the shim waits for its pid.
"""

from __future__ import annotations

import os
import sys

from runjail.cli import main as cli
from runjail.cli.args import Args
from runjail.cli.context import Context
from runjail.cli.verbs.exec import ARGS, HELP, OPTIONS, of_document, request
from runjail.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ("ARGS", "HELP", "OPTIONS", "main", "run")  # as every module of a verb

WITH_VALUE = ("--console-socket", "--process", "--pid")
WORDS = {"create": 2, "state": 1, "start": 1, "kill": 2, "delete": 1}


def main() -> NoReturn:
    """Run one command of runj's and end the process."""
    try:
        sys.argv[1:] = translated(sys.argv[1:])
    except UsageError as error:
        os.write(2, f"runj: {error}\n".encode())
        os._exit(1)
    if sys.platform.startswith("freebsd"):  # elsewhere entering a container needs another process, which is waited for
        cli.VERBS["exec"] = __name__
    cli.main()


def translated(words: list[str]) -> list[str]:
    """Return the command line of runjail that does the same. Raises UsageError."""
    plain, options = _sorted(words)
    if not plain or any(word in ("--version", "-v", "--help", "-h") for word in options):
        return [*options, *plain]
    verb, *rest = plain
    if verb == "extension":
        if rest[:1] != ["exec"] or len(rest) != 2:
            raise UsageError(f"unknown extension {' '.join(rest)[:80]!r}: exec ID --process FILE")
        return ["exec", *options, rest[1]]
    if verb not in WORDS:
        raise UsageError(f"unknown command {verb[:80]!r}")
    if len(rest) != WORDS[verb]:
        raise UsageError(f"{verb} takes {WORDS[verb]} words, got {len(rest)}")
    if verb == "create":
        return [verb, "--bundle", rest[1], *options, rest[0]]
    return [verb, *options, *rest]


def _sorted(words: list[str]) -> tuple[list[str], list[str]]:
    """Return positional words and options, which may stand anywhere."""
    plain, options, rest = [], [], list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            plain.append(word)
            continue
        options.append(word)
        if word in WITH_VALUE and rest:
            options.append(rest.pop(0))
    return plain, options


def run(args: Args, context: Context) -> int:
    """Run one more process in a container, as this very process: `exec` in the place of the verb of that name."""
    from runjail.container.exec import exec_in_place
    from runjail.host.freebsd import attach  # noqa: F401  inside, nothing can be imported any more

    if not args.text("process"):
        raise UsageError("extension exec needs --process FILE")
    runtime = context.runtime()
    exec_in_place(request(args, context, of_document(args, runtime.host)), runtime)
