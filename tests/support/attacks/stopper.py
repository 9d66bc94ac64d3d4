"""Run the program and stop it (SIGSTOP) before its n-th call of one of our functions: `stopper.py FUNCTION N ARGS...`.

FUNCTION is `module.function`, as in `container.hold` or `run.started`. Whoever waits with WUNTRACED sees it stop.
"""

import os
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType


def main() -> None:
    wanted, number, *arguments = sys.argv[1:]
    module, function = wanted.split(".")
    package = Path(__file__).resolve().parents[3] / "runjail"
    sys.path.insert(0, str(package.parent))
    from runjail.cli import main as program

    if not any(f"def {function}(" in path.read_text() for path in package.rglob(f"{module}.py")):
        sys.exit(f"{wanted}: there is no such function to stop before")
    left, ours = int(number), os.getpid()

    def stop(frame: "FrameType", event: str, _function: object) -> None:
        nonlocal left
        code = frame.f_code
        if event != "call" or code.co_name != function or os.path.basename(code.co_filename) != f"{module}.py":
            return
        left -= 1
        if not left and os.getpid() == ours:
            os.kill(ours, 19 if sys.platform == "linux" else 17)

    sys.argv = ["runjail", *arguments]
    sys.setprofile(stop)
    program.main()


if __name__ == "__main__":
    main()
