"""The verbs that people and scripts call: lists, documents, explanations, limits."""

from __future__ import annotations

import os
import sys

from runjail import jsonio, log
from runjail.cli.main import Context, write_stdout
from runjail.errors import RunjailError, UsageError
from runjail.sizes import read_duration, read_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from runjail.cli.args import Args

MAX_INTERVAL = 86400.0
UPDATES = {
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-share": ("cpu", "shares"),
    "cpuset-cpus": ("cpu", "cpus"),
    "cpuset-mems": ("cpu", "mems"),
    "pids-limit": ("pids", "limit"),
}


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return columns as wide as their widest cell, without trailing blanks. Cells are written by strangers: `plain`."""
    rows = [[plain(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """Return text that cannot steer a terminal: control characters and the like are spelled out."""
    return text if text.isprintable() else ascii(text)[1:-1]


def choice(args: Args, default: str, other: str) -> str:
    """Return which of two forms of the output was asked for."""
    form = args.text("format", default)
    if form not in (default, other):
        raise UsageError(f"--format: not {default} or {other}: {form[:40]!r}")
    return form


def version(context: Context) -> int:
    """Print the version; the words `runjail version`, `commit:` and `spec:` are what callers look for."""
    from runjail import __version__

    return write_stdout(
        f"runjail version {__version__}\ncommit: v{__version__}\nspec: 1.3.0\nrundir: {context.runtime().root}\n"
    )


def list_(args: Args, context: Context) -> int:
    """List containers. What is JSON here, in ps and in events has no blanks, as runc's: scripts search it as text."""
    from runjail.container.query import documents, owner_name

    form = choice(args, "table", "json")
    runtime = context.runtime()
    if args.flag("quiet"):
        return write_stdout("".join(f"{container_id}\n" for container_id in runtime.ids()))
    found = documents(runtime)
    for document in found:
        document["owner"] = owner_name(document["owner"])
    if form == "json":
        return write_stdout(jsonio.dumps(found, tight=True) + "\n")
    heading = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")
    return write_stdout(table([heading, *[tuple(str(row[name.lower()]) or "-" for name in heading) for row in found]]))


def ps(args: Args, context: Context) -> int:
    """List the processes of a container: as a JSON array of pids, or as a table."""
    from runjail.container import query

    form = _late_format(context.rest) or choice(args, "table", "json")
    pids = query.pids(args.words[0], context.runtime())
    if form == "json":
        return write_stdout(jsonio.dumps(pids, tight=True) + "\n")
    return write_stdout(table(query.process_rows(pids)))


def _late_format(words: list[str]) -> str:
    """Return the format of `ps ID -f json`, "" without one; other words are options of a ps(1), which nobody asks."""
    name, _, value = " ".join(words).replace("=", " ").partition(" ")
    return value if name in ("-f", "--format") and value in ("table", "json") else ""


def events(args: Args, context: Context) -> int:
    """Print stats events, one JSON object a line."""
    from runjail.container import query

    interval = _interval(args.text("interval") or "5s")
    for event in query.events(args.words[0], interval, args.flag("stats"), context.runtime()):
        write_stdout(jsonio.dumps(event, tight=True) + "\n")
    return 0


def _interval(text: str) -> float:
    """Return the seconds of --interval."""
    seconds = read_duration(text)
    if seconds is None:
        raise UsageError(f"not a duration such as 5s or 100ms: {text[:40]!r}")
    if not 0 < seconds <= MAX_INTERVAL:
        raise UsageError(f"the interval must be above 0 and at most 24h: {text[:40]!r}")
    return seconds


def update(args: Args, context: Context) -> int:
    """Change limits, from a document, from options, or both (options win)."""
    from runjail.container.update import update as do
    from runjail.spec.parse import parse_resources

    document = _resources_document(args.text("resources"))
    for option, (section, name) in UPDATES.items():
        if option in args.options:
            text = args.text(option)
            part = document.setdefault(section, {})
            if not isinstance(part, dict):
                raise UsageError(f"--resources: {section} is not an object")
            part[name] = text if option.startswith("cpuset") else _size(text, option)
    do(args.words[0], parse_resources(document), context.runtime())
    return 0


def _resources_document(path: str) -> dict[str, Any]:
    from runjail.spec.parse import read

    if not path:
        return {}
    document = read("/dev/stdin" if path == "-" else os.path.abspath(path), "resources document")
    if not isinstance(document, dict):
        raise UsageError("--resources: not a JSON object")
    return document


def _size(text: str, option: str) -> int:
    """Return `-1`, a number, or a number with a unit: 64m."""
    size = read_size(text, least=-1, words=True)
    if size is None:
        raise UsageError(f"--{option}: not a size: {text[:40]!r}")
    return size


def features(_given: Args, context: Context) -> int:
    """Print the features document (runtime-spec, features.md)."""
    from runjail.container.features import document

    return write_stdout(jsonio.dumps(document(context.host().os), indent=4) + "\n")


def spec(args: Args, context: Context) -> int:
    """Write an example config.json."""
    from runjail.container.features import example

    path = os.path.join(args.text("bundle") or ".", "config.json")
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(jsonio.dumps(example(context.host().os), indent=4) + "\n")
    except FileExistsError:
        raise UsageError("File config.json exists. Remove it first") from None
    return 0


def plan(args: Args, context: Context) -> int:
    """Print what create would do on FreeBSD (or Linux)."""
    from runjail.container.container import check_id, default_root
    from runjail.plan.plan import check_allowed, make_plan
    from runjail.plan.show import as_data, as_text
    from runjail.spec.parse import parse, read

    form = choice(args, "text", "json")
    bundle = os.path.abspath(args.text("bundle") or ".")
    system = _system(args, "freebsd")
    container_id = check_id(args.words[0] if args.words else os.path.basename(bundle))
    parsed = parse(read(f"{bundle}/config.json"), system)
    root = context.root or default_root(system)
    state, systemd = f"{root}/{container_id}", context.systemd
    made = make_plan(parsed, container_id=container_id, bundle=bundle, state=state, os=system, systemd=systemd)
    if system == "freebsd" and parsed.freebsd.jail.needs_grant:
        check_allowed(parsed, *context.allowed_params())
    if not args.text("os") and context.host().os != system:
        print(f"this is the plan for FreeBSD; --os {context.host().os} shows this machine's", file=sys.stderr)
    return write_stdout(
        as_text(made, parsed) if form == "text" else jsonio.dumps(as_data(made, parsed), indent=2) + "\n"
    )


def _system(args: Args, default: str) -> str:
    system = args.text("os", default)
    if system not in ("freebsd", "linux"):
        raise UsageError(f"--os: not freebsd or linux: {system[:40]!r}")
    return system


def validate(args: Args, context: Context) -> int:
    """Explain all that is wrong with config.json, one problem a line."""
    from runjail.errors import InvalidConfig
    from runjail.plan.plan import check_allowed, make_plan
    from runjail.spec.parse import parse, read

    bundle = os.path.abspath(args.text("bundle") or ".")
    system = _system(args, context.host().os)
    try:
        parsed = parse(read(f"{bundle}/config.json"), system)
        state, systemd = "/var/run/runjail/validate", context.systemd
        make_plan(parsed, container_id="validate", bundle=bundle, state=state, os=system, systemd=systemd)
        if system == "freebsd" and parsed.freebsd.jail.needs_grant:
            check_allowed(parsed, *context.allowed_params())
    except InvalidConfig as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        log.record(str(error))
        return 1
    return write_stdout(f"{bundle}/config.json is valid for {system}\n")


def _store(args: Args, context: Context) -> tuple[str, bool, str, str]:
    """Return the row of `check` that says where images are kept and why there."""
    from runjail.cli.image.session import ImageSession

    try:
        return ("store", True, ImageSession(args, context).chosen(), "")
    except RunjailError as error:
        return ("store", False, str(error), error.hint or "")


def check(args: Args, context: Context) -> int:
    """Print what this machine can do. Exit code 1 when something is missing that containers need.

    Rows without a remedy are for information, and so are Python modules: some verbs need each, none needs all.
    """
    form = choice(args, "table", "json")
    more: list[tuple[str, bool, str, str]] = []
    if args.text("containerd"):
        from runjail.cli.containerd_config import rows as look

        rows: Sequence[tuple[str, bool, str, str]] = look(args.text("containerd"))
    else:
        from runjail.cli.modules import rows as modules

        host = context.host()
        rows, more = host.check(), [_store(args, context), *modules(host.os)]
    if form == "json":
        names = ("what", "works", "found", "remedy")
        write_stdout(jsonio.dumps([dict(zip(names, row, strict=True)) for row in [*rows, *more]]) + "\n")
    else:
        heading = ("WHAT", "WORKS", "FOUND", "REMEDY")
        shown = [(what, "yes" if works else "no", found, remedy) for what, works, found, remedy in [*rows, *more]]
        write_stdout(table([heading, *shown]))
    return 0 if all(works or not remedy for _, works, _, remedy in rows) else 1
