"""How the demo speaks: what it is about to do, the command, what that prints, and whether it is what was said."""

import os
import shlex
import subprocess
import textwrap

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(TOP, ".venv", "bin", "runjail")
DEMO = os.path.join(TOP, ".demo")
STATE = os.path.join(DEMO, "state")


class Failed(Exception):
    """A step did not do what is said of it."""


def show(text: str) -> None:
    """Print one explanation."""
    print("\n" + textwrap.fill(text, 100), flush=True)


def expect(truth: bool, otherwise: str) -> None:
    """Insist that a step had its effect."""
    if not truth:
        raise Failed(otherwise)


def run(*command: str, fails: bool = False, stays: bool = False) -> str:
    """Print a command and what it prints, and return that. Raises Failed when it fails, or with `fails` when not.

    stays: what it starts keeps its standard streams, so there is no end to wait for.
    """
    print(f"  $ {short(shlex.join(command))}", flush=True)
    out = subprocess.DEVNULL if stays else subprocess.PIPE
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, text=True, check=False, timeout=120
    )
    for line in ((done.stdout or "") + (done.stderr or "")).splitlines():
        print("    " + (textwrap.shorten(line, 200) if line.startswith("{") and len(line) > 400 else short(line)))
    expect(bool(done.returncode) == fails, f"exit status {done.returncode}")
    return done.stderr if fails else done.stdout or ""


def short(text: str) -> str:
    """Return text for people: paths from here, programs and options as they would type them."""
    return text.replace(f"{PROGRAM} --root {STATE}", "runjail").replace(f"{TOP}/", "")


def runjail(*args: str, fails: bool = False, stays: bool = False) -> str:
    """Run runjail with the demo's own state directory."""
    return run(PROGRAM, "--root", STATE, *args, fails=fails, stays=stays)
