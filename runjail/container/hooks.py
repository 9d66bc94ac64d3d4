"""Hooks: programs that config.json asks to be run at six points (runtime-spec, POSIX-platform Hooks)."""

from __future__ import annotations

import os

from runjail import jsonio
from runjail.errors import HookError, HostError, reason
from runjail.host import programs
from runjail.host.base import WorkingDirectory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runjail.spec.model import Hook

FOREVER = 365 * 86400.0  # a hook without a timeout may take as long as it likes


def run(kind: str, hooks: tuple[Hook, ...], state: dict[str, Any], directory: str = "") -> None:
    """Run one list of hooks in order, the state document on their standard input.

    directory: their working directory, "" for the caller's. Raises HookError at the first that cannot start, fails or
    takes too long. The container must not be locked: a hook may call runjail for it.
    """
    for index, hook in enumerate(hooks):
        _run_one(kind, index, hook, jsonio.dumps(state).encode(), directory)


def run_all(
    kind: str, hooks: tuple[Hook, ...], state: dict[str, Any], directory: str, warn: Callable[[str], None]
) -> None:
    """Run a list whose failures only warn (poststop): every hook gets its turn."""
    for index, hook in enumerate(hooks):
        try:
            _run_one(kind, index, hook, jsonio.dumps(state).encode(), directory)
        except HookError as error:
            warn(str(error))


def _run_one(kind: str, index: int, hook: Hook, state: bytes, directory: str) -> None:
    """Run a hook; when it fails, nobody whom it started goes on. A failing startContainer ends its whole container."""
    name = f"hooks.{kind}[{index}]"
    try:
        if directory:
            with WorkingDirectory(directory):
                result = _result(kind, hook, state)
        else:
            result = _result(kind, hook, state)
    except HostError as error:
        raise HookError(f"{name} ({hook.path}): {error}") from error
    except OSError as error:
        cause = {2: "the program is missing", 13: "the program may not be executed"}.get(
            error.errno or 0, reason(error)
        )
        raise HookError(f"{name} ({hook.path}): {cause}") from error
    if result.timed_out:
        raise HookError(f"{name} ({hook.path}): no end after {hook.timeout} s")
    if result.status:
        output = (
            programs.plain((result.stderr or result.stdout).decode("utf-8", "replace")).strip().replace("\n", " / ")
        )
        raise HookError(f"{name} ({hook.path}): exit status {result.status}" + (f": {output[:2000]}" if output else ""))


def _result(kind: str, hook: Hook, state: bytes) -> programs.Result:
    return programs.run(
        hook.args or (hook.path,),
        path=hook.path,
        env=dict(entry.partition("=")[::2] for entry in hook.env) or os.environ,  # as runc and crun have it
        input=state,
        timeout=hook.timeout or FOREVER,
        foreign=kind != "startContainer",
    )
