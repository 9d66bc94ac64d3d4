"""Run the program and wait before its system calls: `delay_injection.py SEED ARGS...`.

Every call of a function that asks the kernel for something, in the program itself and in what it forks, is held up
now and then: whatever other processes can do between two system calls, they get to do. One call in the modules that
work on state directories, another one in each process, is held up for long: then several others can come in between.
"""

import os
import random
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

ASKING = ("posix", "fcntl", "_socket", "_posixsubprocess")  # modules whose functions are system calls
METHODS = frozenset("bind listen connect send sendmsg recv _accept".split())
WATCHED = ("/state.py", "/files.py", "/delete.py", "/rootfs.py")
OFTEN, SHORT = 0.05, 0.01  # seconds at most
AMONG, LONG = 30, 0.3


def main() -> None:
    seed, *arguments = sys.argv[1:]
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))
    from runjail.cli import main as program

    chance = random.Random(f"{seed} {os.getpid()}")
    long, pid = min(chance.randrange(AMONG), chance.randrange(AMONG)), os.getpid()  # rather at the beginning
    time.sleep(chance.uniform(0, LONG))

    def delay(frame: "FrameType", event: str, function: object) -> None:
        nonlocal chance, long, pid
        if event != "c_call":
            return
        if getattr(function, "__module__", "") not in ASKING and getattr(function, "__name__", "") not in METHODS:
            return
        if os.getpid() != pid:  # forked children wait elsewhere than their parent
            pid = os.getpid()
            chance = random.Random(f"{seed} {pid}")
        long -= frame.f_code.co_filename.endswith(WATCHED)
        if long < 0:
            long = sys.maxsize
            time.sleep(LONG)
        elif chance.random() < OFTEN:
            time.sleep(chance.uniform(0, SHORT))

    sys.argv = ["runjail", *arguments]
    sys.setprofile(delay)
    program.main()


if __name__ == "__main__":
    main()
