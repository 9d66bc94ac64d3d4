"""validate: all that is wrong with config.json, one problem a line."""

from __future__ import annotations

import os
import sys

from runjail import log
from runjail.cli.args import BUNDLE, OS, Args
from runjail.cli.context import Context, write_stdout
from runjail.cli.verbs.plan import which_system
from runjail.errors import InvalidConfig
from runjail.plan.plan import check_allowed, make_plan
from runjail.spec.document import read
from runjail.spec.parse import parse
from runjail.target import TARGETS

HELP = "explain everything that is wrong with config.json"
ARGS = ()
OPTIONS = (BUNDLE, OS)


def run(args: Args, context: Context) -> int:
    """Explain all that is wrong. Exit code 1 when something is."""
    bundle = os.path.abspath(args.text("bundle") or ".")
    system = which_system(args, context.host().os)
    try:
        parsed = parse(read(f"{bundle}/config.json"), system)
        state, systemd = "/var/run/runjail/validate", context.systemd
        make_plan(parsed, container_id="validate", bundle=bundle, state=state, os=system, systemd=systemd)
        if TARGETS[system].jails and parsed.freebsd.jail.needs_grant:
            check_allowed(parsed, *context.allowed_params())
        if parsed.unused:
            log.warning(f"without effect on {TARGETS[system].title}: {', '.join(parsed.unused)}")
    except InvalidConfig as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        log.record(str(error))
        return 1
    return write_stdout(f"{bundle}/config.json is valid for {system}\n")
