"""The log of `--log`, `--log-format` and `--log-level`: one line per event, one write per line.

Callers parse it. containerd wants a stream of JSON objects with RFC 3339 times; podman wants the whole file to be
one object; so the JSON log gets errors only unless a lower level is asked for. Without --log, warnings go to stderr.
"""

from __future__ import annotations

import os
import time

MAX_ERROR = 8000  # bytes of an error on stderr; callers read 8 KiB of it, once
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
LEVELS = ("debug", "info", "warning", "error")


class _Log:
    descriptor = -1  # of --log; -1: stderr
    json = False
    level = LEVELS.index("warning")


def set_up(path: str = "", form: str = "text", level: str = "") -> None:
    """Open the log. path: a file, `file:PATH`, or "" for stderr. Raises OSError when it cannot be opened.

    A FIFO needs a reader; what it does not take, because that one is slow, is lost.
    """
    _Log.json = form == "json"
    _Log.level = LEVELS.index(level or ("error" if _Log.json else "warning"))
    path = path.removeprefix("file:")
    if path:
        _Log.descriptor = os.open(path, APPEND, 0o644)


def adopt(descriptor: int, level: str = "warning") -> None:
    """Log as text to a descriptor that is open already: a shim's, and each of its workers has its own."""
    _Log.descriptor, _Log.json, _Log.level = descriptor, False, LEVELS.index(level)


def descriptors() -> list[int]:
    """Return the descriptors that must survive a clean-up of leaked ones."""
    return [_Log.descriptor] if _Log.descriptor >= 0 else []


def debugging() -> bool:
    """Say whether debug messages are wanted: for those that are work to make."""
    return _Log.level == LEVELS.index("debug")


def debug(message: str) -> None:
    """Log what helps to follow a run."""
    _write("debug", message)


def info(message: str) -> None:
    """Log what is ignored on purpose, such as a field without a meaning on this system."""
    _write("info", message)


def warning(message: str) -> None:
    """Log what an administrator should see although the verb succeeds."""
    _write("warning", message)


def error(message: str, hint: str | None = None) -> None:
    """Report the failure of a verb: once on stderr for people, and once in the log when there is one."""
    message = _one_line(message)
    text = f"runjail: {message}\n" + (f"hint: {_one_line(hint)}\n" if hint else "")
    data = text.encode("utf-8", "replace")
    _put(2, data if len(data) <= MAX_ERROR else data[:MAX_ERROR] + b"\n")
    record(message)


def record(message: str) -> None:
    """Write an error that people have been told already into the log, when there is one."""
    if _Log.descriptor >= 0:
        _write("error", _one_line(message))


def _write(level: str, message: str) -> None:
    if LEVELS.index(level) < _Log.level:
        return
    stamp = _now()
    if _Log.json:
        from runjail import jsonio

        line = jsonio.dumps({"level": level, "msg": message, "time": stamp}, tight=True)
    else:
        line = f'time="{stamp}" level={level} msg="{_escaped(message)}"'
    _put(_Log.descriptor if _Log.descriptor >= 0 else 2, line.encode("utf-8", "replace") + b"\n")


def _escaped(message: str) -> str:
    return _one_line(message.replace("\\", "\\\\").replace('"', '\\"'))


def _one_line(message: str) -> str:
    """Spell control characters out: names come from config.json, and a line or a terminal must not be faked by one."""
    if message.isprintable():
        return message
    return "".join(letter if letter.isprintable() or letter == " " else ascii(letter)[1:-1] for letter in message)


def _put(descriptor: int, line: bytes) -> None:
    try:
        os.write(descriptor, line)
    except OSError:  # a reader that went away (podman closes the stderr pipe early) must not fail the verb
        pass


def _now() -> str:
    return timestamp(time.time_ns())


def timestamp(nanoseconds: int) -> str:
    """Return a time since the epoch as RFC 3339 in UTC with microseconds."""
    whole, rest = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{rest // 1000:06d}Z"
