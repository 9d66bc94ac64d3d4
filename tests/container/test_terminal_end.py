"""The end of our input, typed on a container's terminal: nobody sees it, and no mode is touched without need."""

import os
import pty
import termios
from typing import Any

import pytest

from runjail.container import terminal
from runjail.target import TARGETS


@pytest.mark.parametrize(("system", "changes"), [("linux", 0), ("freebsd", 2)])
def test_only_where_it_would_be_shown_the_echo_is_off(
    system: str, changes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program may be setting a mode of its own meanwhile, which ours would undo."""
    master, slave = pty.openpty()
    made: list[bool] = []
    change = termios.tcsetattr

    def counted(number: int, when: int, mode: Any) -> None:
        made.append(bool(mode[3] & termios.ECHO))
        change(number, when, mode)

    monkeypatch.setattr(terminal.termios, "tcsetattr", counted)
    shown = terminal.Terminal(TARGETS[system])
    shown._master = master
    try:
        shown._end_input()

        assert os.read(slave, 10) == b""
        assert made == [False, True][:changes]
        assert termios.tcgetattr(slave)[3] & termios.ECHO
    finally:
        for number in (master, slave, shown._local.detach(), shown.remote.detach()):
            os.close(number)
