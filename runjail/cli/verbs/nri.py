"""nri: which plugins would run, and whether they do."""

from __future__ import annotations

import os
import time

from runjail import jsonio
from runjail.cli.args import FORMAT, Args
from runjail.cli.context import Context, write_stdout
from runjail.cli.output import choice, plain, table
from runjail.errors import PluginError, UsageError
from runjail.nri.config import Plugin
from runjail.nri.invoke import PluginChain
from runjail.nri.messages import ContainerInfo

HELP = "list the NRI plugins that are configured (ls), or try each with a sample request (check)"
ARGS = ("ls|check",)
OPTIONS = (FORMAT,)

SAMPLE = "nri-check"  # the id in sample requests: no container, so no pid and no resource group


def run(args: Args, context: Context) -> int:
    """List the plugins, or try them. Exit code 1 when one cannot run or fails."""
    form = choice(args, "table", "json")
    word = args.positionals[0]
    if word not in ("ls", "check"):
        raise UsageError(f"nri takes ls or check, not {word[:80]!r}")
    chain = context.plugins(context.host())
    plugins = chain.plugins if chain else ()
    rows = [_listed(chain, plugin) if word == "ls" else _tried(chain, plugin) for plugin in plugins if chain]
    if form == "json":
        write_stdout(jsonio.dumps(rows) + "\n")
    elif not rows:
        write_stdout("no NRI plugins are configured\n")
    else:
        write_stdout(
            table([tuple(name.upper() for name in rows[0]), *[tuple(map(_cell, row.values())) for row in rows]])
        )
    return 0 if all(row["works"] for row in rows) else 1


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else "" if value is None else jsonio.dumps(value)
    return plain(text)


def _listed(chain: PluginChain, plugin: Plugin) -> dict[str, object]:
    """Return what would run; `found` is its path, or what is wrong with it."""
    try:
        path = chain.find(plugin)
        works = os.path.isfile(path) and os.access(path, os.X_OK)
        found = path if works else f"{path} may not be executed"
    except PluginError as error:
        works, found = False, _cause(error, plugin)
    conf = jsonio.loads(plugin.conf) if plugin.conf else None
    return {"type": plugin.type, "works": works, "found": found, "file": plugin.file, "conf": conf}


def _tried(chain: PluginChain, plugin: Plugin) -> dict[str, object]:
    """Send a `create` for a container that does not exist."""
    before = time.monotonic()
    try:
        result = chain.call(plugin, "create", ContainerInfo(SAMPLE, annotations={"org.runjail.nri.check": "true"}))
        works, said = True, ", ".join(f"{key}={value}" for key, value in result.metadata.items())
    except PluginError as error:
        works, said = False, _cause(error, plugin)
    spent = f"{(time.monotonic() - before) * 1000:.0f} ms"
    return {"type": plugin.type, "works": works, "time": spent, "said": said, "file": plugin.file}


def _cause(error: PluginError, plugin: Plugin) -> str:
    return str(error).removeprefix(f"NRI plugin {plugin.type}: ")
