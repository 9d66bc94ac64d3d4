"""plan: what create would do, on FreeBSD or on Linux."""

from __future__ import annotations

import os
import sys

from runjail import jsonio
from runjail.cli.args import BUNDLE, OS, Args, value
from runjail.cli.context import Context, write_stdout
from runjail.cli.output import choice
from runjail.container.container import check_id, default_root
from runjail.errors import UsageError
from runjail.plan.plan import check_allowed, make_plan
from runjail.plan.show import as_data, as_text
from runjail.spec.document import read
from runjail.spec.parse import parse
from runjail.target import FREEBSD, TARGETS

HELP = "print what create would do: jail.conf and commands"
ARGS = ("[ID]",)
OPTIONS = (BUNDLE, value("format", "f", "text|json", "form of the output"), OS)


def run(args: Args, context: Context) -> int:
    """Print the plan."""
    form = choice(args, "text", "json")
    bundle = os.path.abspath(args.text("bundle") or ".")
    system = which_system(args, FREEBSD.name)
    container_id = check_id(args.positionals[0] if args.positionals else os.path.basename(bundle))
    parsed = parse(read(f"{bundle}/config.json"), system)
    root = context.root or default_root(TARGETS[system])
    state, systemd = f"{root}/{container_id}", context.systemd
    made = make_plan(parsed, container_id=container_id, bundle=bundle, state=state, os=system, systemd=systemd)
    if TARGETS[system].jails and parsed.freebsd.jail.needs_grant:
        check_allowed(parsed, *context.allowed_params())
    if not args.text("os") and context.host().os != system:
        print(f"this is the plan for FreeBSD; --os {context.host().os} shows this machine's", file=sys.stderr)
    return write_stdout(
        as_text(made, parsed) if form == "text" else jsonio.dumps(as_data(made, parsed), indent=2) + "\n"
    )


def which_system(args: Args, default: str) -> str:
    """Return what --os asks for."""
    system = args.text("os", default)
    if system not in TARGETS:
        raise UsageError(f"--os: not freebsd or linux: {system[:40]!r}")
    return system
