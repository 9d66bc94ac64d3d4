"""completion: a script that completes command lines in a shell, made of the modules of the verbs."""

from __future__ import annotations

from runjail.cli import completion_scripts as scripts
from runjail.cli.args import Args, Option
from runjail.cli.context import Context, write_stdout
from runjail.errors import UsageError

HELP = "print a script that completes command lines in this shell"
ARGS = ("sh|bash|zsh|fish",)
OPTIONS: tuple[Option, ...] = ()


def run(args: Args, _context: Context) -> int:
    """Print the script."""
    shells = {"sh": scripts.bash, "bash": scripts.bash, "zsh": scripts.zsh, "fish": scripts.fish}
    shell = args.positionals[0]
    if shell not in shells:
        raise UsageError(f"completion takes sh, bash, zsh or fish, not {shell[:40]!r}")
    return write_stdout(shells[shell]())
