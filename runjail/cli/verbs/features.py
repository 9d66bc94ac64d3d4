"""features: what this runtime can do (runtime-spec, features.md)."""

from __future__ import annotations

from runjail.cli.args import Args
from runjail.cli.context import Context, write_stdout

HELP = "print what this runtime can do"
ARGS = ()
OPTIONS = ()


def run(_args: Args, context: Context) -> int:
    """Print the features document."""
    from runjail import jsonio
    from runjail.plan.features import document
    from runjail.target import TARGETS

    features = document(TARGETS[context.host().os])
    if "linux" in features:
        from runjail.host.linux import seccomp_support

        seccomp_support.narrow(features["linux"]["seccomp"])
    return write_stdout(jsonio.dumps(features, indent=4) + "\n")
