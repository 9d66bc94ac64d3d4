"""The line of JSON between a verb and the process it forked: whole messages, errors as they were, and an end."""

import _socket
import contextlib
import os
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail import errors, jsonio
from runjail.container import sync
from runjail.container.sync import SyncSocket, error_from_message, pair

MESSAGES = st.dictionaries(
    st.text(min_size=1, max_size=8), st.none() | st.integers() | st.text(max_size=20), max_size=4
)


@given(st.lists(MESSAGES, max_size=6), st.integers(1, 7))
def test_messages_arrive_whole_and_in_order(messages: list[dict[str, Any]], piece: int) -> None:
    """However the bytes are cut on their way."""
    ours, theirs = _socket.socketpair()
    data = b"".join(jsonio.dumps(message).encode() + b"\n" for message in messages)
    receiver = SyncSocket(theirs)

    def send() -> None:
        for start in range(0, len(data), piece):
            ours.send(data[start : start + piece])
        ours.close()

    thread = threading.Thread(target=send)
    thread.start()

    assert [receiver.receive() for _ in messages] == messages
    assert receiver.receive() is None
    receiver.close()
    thread.join()


def test_large_messages() -> None:
    """A state document with many annotations is larger than a socket's buffer."""
    ours, theirs = pair()
    document = {f"key{number}": "x" * 1000 for number in range(2000)}
    thread = threading.Thread(target=lambda: ours.send(confine=document))
    thread.start()
    assert theirs.expect("confine")["confine"] == document
    thread.join()
    ours.close()
    theirs.close()


def test_an_endless_message_is_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can make us eat all memory."""
    monkeypatch.setattr(sync, "MAX_MESSAGE", 1 << 17)
    ours, theirs = pair()

    def flood() -> None:
        with contextlib.suppress(OSError):  # the receiver hangs up
            for _ in range(40):
                ours.connection.send(b"x" * (1 << 14))

    thread = threading.Thread(target=flood)
    thread.start()
    assert theirs.receive() is None
    theirs.close()
    thread.join()
    ours.close()


def test_a_peer_that_is_gone() -> None:
    """Nothing raises while saying; the next receive knows."""
    ours, theirs = pair()
    theirs.close()
    for _ in range(3):
        ours.send(go=True)
    assert ours.receive() is None
    with pytest.raises(errors.HostError, match="died before it was ready"):
        ours.expect("ready")
    ours.close()


def test_what_was_said_before_the_end_is_heard() -> None:
    ours, theirs = pair()
    ours.send(a=1)
    ours.send(b=2)
    ours.close()

    assert (theirs.receive(), theirs.receive(), theirs.receive()) == ({"a": 1}, {"b": 2}, None)
    theirs.close()


def test_another_answer_than_expected() -> None:
    ours, theirs = pair()
    ours.send(parked=True)
    with pytest.raises(errors.HostError, match=r"unexpected answer from the container's process: \['parked'\]"):
        theirs.expect("isolated")
    ours.close()
    theirs.close()


ERRORS = [
    errors.HostError("a", "hint"),
    errors.ProgramNotFound("sh"),
    errors.ProgramDenied("sh"),
    errors.HookError("hooks.x[0]: why"),
    errors.UsageError("u"),
    errors.InvalidConfig(["a: b", "c: d"]),
    errors.WrongStatus("w"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_our_errors_arrive_as_they_were(error: errors.RunjailError) -> None:
    """Class, text and hint: the exit code depends on them."""
    ours, theirs = pair()
    ours.report(error)
    with pytest.raises(type(error)) as caught:
        theirs.expect("ready")
    assert str(caught.value) == str(error)
    assert caught.value.hint == error.hint
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(28, "No space left on device", "/x"), "no space left on device: /x"),
        (FileNotFoundError(2, "No such file or directory", "/x"), "does not exist: /x"),
        (ValueError("a value"), "a value"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (ImportError("no more imports"), "no more imports"),
    ],
    ids=str,
)
def test_other_errors_arrive_as_host_errors(error: BaseException, text: str) -> None:
    """Never without a word."""
    ours, theirs = pair()
    ours.report(error)
    with pytest.raises(errors.HostError) as caught:
        theirs.expect("ready")
    assert str(caught.value) == text
    ours.close()
    theirs.close()


def test_an_unknown_class_is_a_host_error() -> None:
    assert type(error_from_message({"error": "Nonsense", "text": "t"})) is errors.HostError
    assert (
        str(error_from_message({"error": "NotRunning", "text": "container not running: c"}))
        == "container not running: c"
    )


def test_descriptors_are_not_inherited() -> None:
    """A program that a hook starts must not hold the line open."""
    ours, theirs = pair()

    assert not os.get_inheritable(ours.fileno())
    assert not os.get_inheritable(theirs.fileno())
    ours.close()
    theirs.close()
