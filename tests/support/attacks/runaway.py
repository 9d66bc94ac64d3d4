"""What a plugin or hook of an attacker starts: a process that leaves its session, its parent and its pipes behind.

    runaway.py DIRECTORY [hopping | reaping]

It writes a byte to DIRECTORY/beats every few milliseconds until DIRECTORY/end exists, or for two minutes. `hopping`:
each of its processes lives only until it has forked the next. `reaping`: its parent claims the orphans below it, as a
reaper of its own between us and whoever started it. The program itself ends once the first byte is there.
"""

import ctypes
import os
import sys
import time
from typing import NoReturn


def claim_orphans() -> None:
    """Become the reaper of all descendants: procctl(2) PROC_REAP_ACQUIRE, prctl(2) PR_SET_CHILD_SUBREAPER."""
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform.startswith("freebsd"):
        failed = libc.procctl(0, ctypes.c_int64(0), 2, None)
    else:
        failed = libc.prctl(36, 1, 0, 0, 0)
    assert not failed, ctypes.get_errno()


def main(directory: str, hopping: bool, reaping: bool) -> None:
    """Detach as daemon(3) does, and go on."""
    if os.fork():
        if not reaping:
            os.wait()
        while not os.path.exists(f"{directory}/beats"):
            time.sleep(0.005)
        return
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    if reaping:
        claim_orphans()
    if os.fork():
        collect() if reaping else os._exit(0)
    if reaping and os.fork():
        os._exit(0)
    beats = os.open(f"{directory}/beats", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    end = time.monotonic() + 120
    while time.monotonic() < end and not os.path.exists(f"{directory}/end"):
        os.write(beats, b".")
        time.sleep(0.005)
        if hopping and os.fork():
            os._exit(0)
    os._exit(0)


def collect() -> NoReturn:
    """Stay until the last of those who were claimed has ended."""
    try:
        while os.wait():
            pass
    finally:
        os._exit(0)


main(sys.argv[1], sys.argv[2:] == ["hopping"], sys.argv[2:] == ["reaping"])
