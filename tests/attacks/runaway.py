"""What a plugin or hook of an attacker starts: a process that leaves its session, its parent and its pipes behind.

    runaway.py DIRECTORY [hopping]

It writes a byte to DIRECTORY/beats every few milliseconds until DIRECTORY/end exists, or for two minutes. `hopping`:
each of its processes lives only until it has forked the next. The program itself ends once the first byte is there.
"""

import os
import sys
import time


def main(directory: str, hopping: bool) -> None:
    """Detach as daemon(3) does, and go on."""
    if os.fork():
        os.wait()
        while not os.path.exists(f"{directory}/beats"):
            time.sleep(0.005)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open("/dev/null", os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    beats = os.open(f"{directory}/beats", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    end = time.monotonic() + 120
    while time.monotonic() < end and not os.path.exists(f"{directory}/end"):
        os.write(beats, b".")
        time.sleep(0.005)
        if hopping and os.fork():
            os._exit(0)
    os._exit(0)


main(sys.argv[1], sys.argv[2:] == ["hopping"])
