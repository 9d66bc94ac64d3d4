"""exec: one more process in a container, detached or in the foreground with its exit status as ours."""

from __future__ import annotations

from runjail.cli.args import (
    DETACH,
    FILES,
    PROCESS,
    Args,
    flag,
    number,
    value,
    values,
)
from runjail.cli.context import Context
from runjail.cli.verbs.create import PIDFD, absolute, pidfd_socket, require_linux
from runjail.container.container import Runtime
from runjail.container.exec import Request
from runjail.errors import InvalidConfig, UsageError
from runjail.spec.model import Process
from runjail.target import TARGETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.host.base import Host

HELP = "run another program in a container"
ARGS = ("ID", "CMD...")
OPTIONS = (
    value("process", "p", "FILE", "read the process from this JSON document"),
    value("cwd", "", "DIR", "working directory"),
    *PROCESS,
    value("user", "u", "UID[:GID]", "run as this user"),
    values("additional-gids", "g", "GID", "more groups"),
    DETACH,
    *FILES,
    PIDFD,
    flag("no-new-privs", "", "never gain privileges"),
    flag("ignore-paused", "", "also in a paused container"),
    values("cap", "c", "CAP", "on Linux: have this capability too"),
    value("process-label", "", "LABEL", "on Linux: SELinux label of the process"),
    value("apparmor", "", "PROFILE", "on Linux: AppArmor profile of the process"),
    values("cgroup", "", "[CONTROLLERS:]PATH", "on Linux: join this group below the container's own"),
)

CAPABLE = ("bounding", "permitted", "effective", "ambient")  # the sets of capabilities that --cap adds to
MAX_ID = 2**32 - 2  # 2**32 - 1 means "no change" to the kernel


def run(args: Args, context: Context) -> int:
    """Run one more process in a container."""
    from runjail.container.exec import execute

    runtime = context.runtime()
    wanted = request(args, context, _process(args, context, runtime))
    if args.flag("detach"):
        execute(wanted, runtime)
        return 0
    return _in_foreground(wanted, runtime)


def _in_foreground(wanted: Request, runtime: Runtime) -> int:
    """Run the process, pass signals and its terminal on, and return its exit status."""
    from runjail.container.exec import execute
    from runjail.container.foreground import forward_signals, wait

    if not wanted.process.terminal or wanted.console_socket:
        pid = execute(wanted, runtime)
        forward_signals(pid)
        return wait(pid)
    from runjail.container.terminal import Terminal

    terminal = Terminal(TARGETS[runtime.host.os])
    pid = execute(wanted, runtime, terminal.remote, terminal.show)
    forward_signals(pid)
    return terminal.relay(pid)


def request(args: Args, context: Context, process: Process) -> Request:
    """Return what a command line wants to be executed."""
    from runjail.container.exec import Request

    for name in ("process-label", "apparmor"):
        require_linux(name, args.text(name), context)
    require_linux("cap", args.many("cap"), context)
    return Request(
        args.positionals[0],
        process,
        absolute(args.text("pid-file")),
        absolute(args.text("console-socket")),
        context.preserve,
        context.listen,
        args.flag("ignore-paused"),
        _groups(args.many("cgroup"), context),
        pidfd_socket(args, context),
    )


def _groups(words: list[str], context: Context) -> tuple[tuple[str, str], ...]:
    """Return what --cgroup says, as Host.enter takes it. Raises UsageError, with runc's words."""
    require_linux("cgroup", words, context)
    found: list[tuple[str, str]] = []
    for word in words:
        controllers, colon, path = word.partition(":")
        if not colon and len(words) > 1:
            raise UsageError(f"invalid --cgroup argument: {word[:80]} (missing <controller>: prefix)")
        if ":" in path:
            raise UsageError(f"invalid --cgroup argument: {word[:80]}")
        below = _below(path if colon else word)
        found += [(controller, below) for controller in controllers.split(",")] if colon else [("", below)]
    return tuple(found)


def _below(path: str) -> str:
    """Return a path below the container's group without dots. Raises UsageError for one that leads out of it."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and not parts:
            raise UsageError(f"--cgroup: {path[:80]} is not a sub cgroup path")
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _process(args: Args, context: Context, runtime: Runtime) -> Process:
    """Return the process to run: of --process, or config.json's with another command."""
    from runjail.container.exec import read_process

    if args.text("process"):
        if context.rest:
            raise UsageError("exec takes --process or a command, not both")
        _refuse_others(args)
        return of_document(args, runtime.host)
    if not context.rest:
        raise UsageError("exec needs --process or a command", "usage: runjail exec [OPTIONS] ID CMD...")
    return read_process(_changed(args, context, runtime), runtime.host)


def _refuse_others(args: Args) -> None:
    """Raise UsageError for an option whose place is in the document of --process: runc leaves it out in silence."""
    given = [name for name in ("cwd", "user", "process-label", "apparmor") if args.text(name)]
    given += [name for name in ("env", "env-file", "additional-gids", "cap") if args.many(name)]
    given += ["no-new-privs"] * args.flag("no-new-privs")
    if given:
        raise UsageError(f"exec takes --process or --{given[0]}, not both", "say it in the document")


def of_document(args: Args, host: Host) -> Process:
    """Return the process of the document of --process. Raises InvalidConfig, which names the file."""
    from runjail.container.exec import read_process
    from runjail.spec.document import in_file, read

    path, what = absolute(args.text("process")), "process document"
    document = read(path, what)
    if isinstance(document, dict) and args.flag("tty"):
        document["terminal"] = True
    try:
        return read_process(document, host)
    except InvalidConfig as error:
        raise in_file(path, error, what) from None


def _changed(args: Args, context: Context, runtime: Runtime) -> dict[str, Any]:
    """Return config.json's process with what the options say instead."""
    from runjail import jsonio
    from runjail.cli.process import change

    config = jsonio.loads(runtime.find(args.positionals[0]).config())
    document = {**config["process"], "terminal": args.flag("tty")}
    change({"process": document}, args, context.rest)
    if args.text("cwd"):
        document["cwd"] = args.text("cwd")
    if args.text("user"):
        uid, _, gid = args.text("user").partition(":")
        document["user"] = {"uid": number(uid, "--user", MAX_ID), "gid": number(gid or "0", "--user", MAX_ID)}
    if args.many("additional-gids"):
        numbers = [number(gid, "--additional-gids", MAX_ID) for gid in args.many("additional-gids")]
        document["user"] = {**(document.get("user") or {}), "additionalGids": numbers}
    for name, key in (("process-label", "selinuxLabel"), ("apparmor", "apparmorProfile")):
        if args.text(name):
            document[key] = args.text(name)
    if args.flag("no-new-privs"):
        document["noNewPrivileges"] = True
    if args.many("cap"):
        sets = document.get("capabilities") or {}
        document["capabilities"] = {**sets, **{kind: [*(sets.get(kind) or []), *args.many("cap")] for kind in CAPABLE}}
    return document
