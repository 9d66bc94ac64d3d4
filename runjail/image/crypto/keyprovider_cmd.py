"""Key providers that are programs: one JSON document on standard input, one on standard output, exit status 0."""

from __future__ import annotations

from runjail.errors import HostError, reason
from runjail.host import programs
from runjail.image.crypto.options import SchemeError
from runjail.image.crypto.which import PATH, which

TIMEOUT = 60.0  # seconds; upstream waits for ever, and some providers ask a person or a network
LIMIT = 4 << 20  # bytes of an answer
MOST_SHOWN = 300  # characters of what a failing provider says


def ask(command: tuple[str, ...], question: bytes) -> bytes:
    """Run a provider. command: its path, or a name that is searched in our own PATH, and arguments.

    Raises SchemeError with the first line of its standard error when it fails, or does not end within TIMEOUT.
    """
    path = which(command[0])
    if path is None:
        raise SchemeError(f"Error while running command: {command[0]} is not an executable program in {PATH}")
    env = {**programs.ENVIRONMENT, "PATH": PATH}
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
        said = programs.first_line(result.stderr)[:MOST_SHOWN]
        raise SchemeError(f"Error while running command: {path}: exit status {result.status}. stderr: {said}")
    return result.stdout
