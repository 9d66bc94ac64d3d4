"""Run the program and kill it just before its n-th step: `fault_injection.py parent|child N[:SIGNAL] ARGS...`.

A step is a call that changes something, starts something, or talks to somebody, told apart by where in our sources it
is made, so that loops count once, and programs by their first two words. What files.py and locks.py do for many counts
anew for each of their callers. `parent` counts those of the program itself,
`child` those of each process it forks. Where there is no n-th step, the program ends by itself.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

BUILTINS = frozenset(
    "mkdir rename unlink rmdir fork posix_spawn symlink mknod flock bind listen connect send sendmsg recv _accept "
    "waitpid write fsync link ftruncate utime setsid chown kill pidfd_send_signal dup2 execve _exit setgroups setuid "
    "sethostname".split()
)
LIBC = ("/linux/libc.py", "/freebsd/libc.py")
SHARED = ("/runjail/files.py", "/runjail/locks.py")


def place(frame: "FrameType | None") -> tuple[object, ...]:
    return (frame.f_code, frame.f_lineno) if frame else ()


def main() -> None:
    mode, number, *arguments = sys.argv[1:]
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    sys.path.insert(0, top)
    from runjail.cli import main as program

    ours, (limit, signal) = os.getpid(), map(int, f"{number}:9".split(":")[:2])
    seen: dict[int, set[object]] = {}

    def step(frame: "FrameType", event: str, function: object) -> None:
        if event == "c_call":
            if getattr(function, "__name__", "") not in BUILTINS:
                return
        elif event != "call" or not frame.f_code.co_filename.endswith(LIBC):
            return
        pid = os.getpid()
        if (pid == ours) != (mode == "parent"):
            return
        caller = frame if event == "c_call" else frame.f_back
        places = seen.setdefault(pid, set())
        program = tuple(frame.f_locals.get("argv", ())[:2]) if event == "c_call" else ()  # host.programs starts many
        user = caller
        while user and user.f_code.co_filename.endswith(SHARED):
            user = user.f_back
        places.add((*place(caller), *place(user), program))
        if len(places) == limit:
            os.kill(pid, signal)
            if signal == 9:
                os._exit(137)  # pid 1 of a namespace cannot kill itself

    sys.argv = ["runjail", *arguments]
    import threading

    threading.setprofile(step)
    sys.setprofile(step)
    program.main()


if __name__ == "__main__":
    main()
