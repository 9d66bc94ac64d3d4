"""What fails in a process that was forked ends there: it is no copy of the verb that had forked it."""

import os
import pty
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from runjail.container import console, gate, init, program, terminal
from runjail.container.sync import pair
from runjail.target import TARGETS


def ended(child: Callable[[], None]) -> int:
    """Return with what a forked process ends; 7 when what it calls returns or raises."""
    pid = os.fork()
    if not pid:
        try:
            child()
        finally:
            os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fail(*_: object) -> None:
    raise OSError(5, "Input/output error")


def nothing(*_: object) -> dict[bytes, bytes]:
    return {}


def test_init_that_cannot_restrict_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """`start` hears of it: the end of the connection alone means that the program runs."""
    ours, theirs = pair()
    for name in ("_enter", "appear", "_exit_on_signals"):
        monkeypatch.setattr(init, name, nothing)
    monkeypatch.setattr(gate, "wait", lambda _gate, _handles: theirs)
    for name in ("environment", "find", "lead", "listening", "reset_signals"):
        monkeypatch.setattr(program, name, nothing)
    host = SimpleNamespace(restrict_calls=fail)
    link = SimpleNamespace(send=lambda **_: None, close=nothing)
    container = SimpleNamespace(forget=nothing, host=host)
    launch: Any = SimpleNamespace(container=container, process=None, link=link, gate=None, terminal=None, listen=0)

    assert ended(lambda: init.run(launch)) == 126
    theirs.close()
    assert ours.receive() == {"exec": True}
    told = ours.receive()
    ours.close()
    assert told and told["text"] == "input/output error"


def test_a_reader_of_a_terminal_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "copy_output", fail)
    master, slave = pty.openpty()

    def show() -> None:
        us, ours = os.getpid(), terminal.Terminal(TARGETS["linux"])
        console.send(ours.remote, master)
        try:
            ours.show()
        finally:
            if os.getpid() != us:
                os._exit(8)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(ours._reader, 0)[1]))

    assert ended(show) == 0
    os.close(master)
    os.close(slave)
