"""inspect: all that is known of containers, as JSON or through a template."""

from __future__ import annotations

from runjail import jsonio
from runjail.cli.args import Args, value
from runjail.cli.context import Context, write_stdout
from runjail.cli.template import Template
from runjail.container.inspect import inspected
from runjail.errors import UsageError

HELP = "show all that is known of a container, under podman's names"
ARGS = ("ID", "MORE...")
OPTIONS = (value("format", "f", "TEMPLATE", "json, or a Go template such as {{.State.Status}}"),)


def run(args: Args, context: Context) -> int:
    """Show an array of documents, or a line of each."""
    text = args.text("format") or "json"
    if text != "json" and "{{" not in text:
        raise UsageError(f"--format: not json or a template: {text[:40]!r}")
    template = None if text == "json" else Template(text)
    runtime = context.runtime()
    found = [inspected(runtime.find(name)) for name in [*args.positionals, *context.rest]]
    return write_stdout(template.render(found) if template else jsonio.dumps(found, indent=5) + "\n")
