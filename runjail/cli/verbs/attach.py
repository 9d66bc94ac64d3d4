"""attach: be at the terminal, or the standard files, of a container of run -d."""

from __future__ import annotations

from runjail.cli.args import Args, flag, value
from runjail.cli.context import Context
from runjail.cli.verbs.monitor import becoming
from runjail.container.attach import attach
from runjail.container.kill import kill
from runjail.errors import RunjailError, UsageError

HELP = "attach to a container of run -d: its terminal, or its output and input"
ARGS = ("ID",)
KEYS = "ctrl-p,ctrl-q"
OPTIONS = (
    value("detach-keys", "", "KEYS", f"keys that detach from a terminal, such as a,ctrl-x ({KEYS}); empty for none"),
    flag("no-stdin", "", "pass on nothing that is typed"),
    value("sig-proxy", "", "true|false", "pass signals on, where there is no terminal (true)"),
)


def run(args: Args, context: Context) -> int:
    """Attach. Returns the exit status of the container's program, 0 when the keys were typed."""
    runtime, container_id = context.runtime(), args.positionals[0]

    def signal(number: int) -> None:
        try:
            kill(container_id, number, False, 0, runtime)
        except RunjailError:  # it has ended
            pass

    return attach(
        container_id,
        runtime,
        keys=detach_keys(args.text("detach-keys", KEYS)),
        typing=not args.flag("no-stdin"),
        signal=signal if _true(args.text("sig-proxy", "true")) else None,
        become=becoming(runtime.root, context.nri_bin),
    )


def _true(text: str) -> bool:
    if text not in ("true", "false"):
        raise UsageError(f"--sig-proxy: not true or false: {text[:40]!r}")
    return text == "true"


def detach_keys(text: str) -> bytes:
    """Return what is read when keys are typed, named as docker does: `a`, `ctrl-a`. Raises UsageError."""
    found = b""
    for key in text.split(",") if text else ():
        letter = key.removeprefix("ctrl-")
        if len(letter) != 1 or not letter.isascii() or not letter.isprintable():
            raise UsageError(f"--detach-keys: not a key: {key[:40]!r}", "such as ctrl-p,ctrl-q or x")
        if key == letter:
            found += letter.encode()
        elif "a" <= letter <= "z" or letter in "@[\\]^_":
            found += bytes([ord(letter.upper()) - 64])
        else:
            raise UsageError(f"--detach-keys: not a key: {key[:40]!r}", "ctrl- goes with a-z and one of @[\\]^_")
    return found
