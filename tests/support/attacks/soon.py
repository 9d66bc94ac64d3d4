"""Work that an attack may slow down, but not for ever."""

import threading
from collections.abc import Callable

from runjail.errors import RunjailError

SOON = 20  # seconds: far more than the time-outs, far less than what they are there to end


def soon(work: Callable[[], object]) -> BaseException | None:
    """Do something that may take only so long, and return what it raised. A thread that hangs is left behind."""
    caught: list[BaseException | None] = []

    def attempt() -> None:
        try:
            work()
            caught.append(None)
        except RunjailError as error:
            caught.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(SOON)
    assert caught, f"still busy after {SOON} s"
    return caught[0]
