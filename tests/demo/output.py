"""How the demo speaks: what it is about to do, the command, what that prints, and whether it is what was said."""

import os
import shlex
import subprocess
import textwrap

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(TOP, ".venv", "bin", "runjail")
DEMOS = os.path.join(TOP, ".demo")
DEMO = os.path.join(DEMOS, str(os.getpid()))  # each run has its own: two may run at once
STATE = os.path.join(DEMO, "state")
WIDTH = 100


class Failed(Exception):
    """A step did not do what is said of it."""


def show(text: str) -> None:
    """Print one explanation."""
    print("\n" + textwrap.fill(text, WIDTH), flush=True)


def host_state(*paragraphs: str) -> None:
    """Print what nobody should miss, in a frame."""
    print("\n+" + "-" * (WIDTH - 2) + "+")
    for paragraph in paragraphs:
        for line in textwrap.wrap(paragraph, WIDTH - 4, subsequent_indent="  "):
            print(f"| {line:{WIDTH - 4}} |")
    print("+" + "-" * (WIDTH - 2) + "+", flush=True)


def expect(truth: bool, otherwise: str) -> None:
    """Insist that a step had its effect."""
    if not truth:
        raise Failed(otherwise)


def run(*command: str, fails: bool = False, stays: bool = False, lines: int = 0) -> str:
    """Print a command and what it prints, and return that. Raises Failed when it fails, or with `fails` when not.

    stays: what it starts keeps its standard streams, so there is no end to wait for. lines: how many to print at most.
    """
    print(f"  $ {short(shlex.join(command))}", flush=True)
    out = subprocess.DEVNULL if stays else subprocess.PIPE
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, text=True, check=False, timeout=120
    )
    printed = ((done.stdout or "") + (done.stderr or "")).splitlines()
    for line in printed[: lines or None]:
        print("    " + (textwrap.shorten(line, 200) if line.startswith("{") and len(line) > 400 else short(line)))
    if lines and len(printed) > lines:
        print(f"    ... and {len(printed) - lines} more lines")
    expect(bool(done.returncode) == fails, f"exit status {done.returncode}")
    return done.stderr if fails else done.stdout or ""


def short(text: str) -> str:
    """Return text for people: paths from here, programs and options as they would type them."""
    return text.replace(f"{PROGRAM} --root {STATE}", "runjail").replace(f"{DEMO}/", ".demo/").replace(f"{TOP}/", "")


def runjail(*args: str, fails: bool = False, stays: bool = False, lines: int = 0) -> str:
    """Run runjail with the demo's own state directory."""
    return run(PROGRAM, "--root", STATE, *args, fails=fails, stays=stays, lines=lines)
