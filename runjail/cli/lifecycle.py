"""The verbs that container engines call. Each imports only what it runs: see the import budget in the tests."""

from __future__ import annotations

import os

from runjail.cli.main import Context, write_stdout
from runjail.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from runjail.cli.args import Args
    from runjail.container import create as creating
    from runjail.container.container import Runtime
    from runjail.spec.model import Process

IMAGE_MARK = "image.json"  # in a bundle that belongs to a store: image.bundles, which costs an import
CAPABLE = ("bounding", "permitted", "effective", "ambient")  # the sets of capabilities that `exec --cap` adds to
MAX_ID = 2**32 - 2  # 2**32 - 1 means "no change" to the kernel


def create(args: Args, context: Context) -> int:
    """Create a container."""
    from runjail.container.create import create as do

    do(_request(args, context), context.runtime())
    return 0


def _request(args: Args, context: Context) -> creating.Request:
    from runjail.container.create import Request

    return Request(
        args.words[0],
        os.path.abspath(args.text("bundle") or "."),
        _absolute(args.text("pid-file")),
        _absolute(args.text("console-socket")),
        context.preserve,
        context.listen,
        not args.flag("no-new-keyring"),
        context.systemd,
    )


def _absolute(path: str) -> str:
    """Paths are the caller's, relative to its directory, whatever directory we work in later."""
    return os.path.abspath(path) if path else ""


def start(args: Args, context: Context) -> int:
    """Start a created container."""
    from runjail.container.start import start as do

    do(args.words[0], context.runtime())
    return 0


def state(args: Args, context: Context) -> int:
    """Print a state document."""
    from runjail import jsonio
    from runjail.container.status import document

    return write_stdout(jsonio.dumps(document(context.runtime().find(args.words[0]))) + "\n")


def kill(args: Args, context: Context) -> int:
    """Send a signal."""
    from runjail.container.kill import SIGTERM, signal_number
    from runjail.container.kill import kill as do

    signal = signal_number(args.words[1]) if len(args.words) > 1 else SIGTERM
    pid = _number(args.text("pid"), "--pid", 2**31 - 1) if args.text("pid") else 0
    do(args.words[0], signal, args.flag("all"), pid, context.runtime())
    return 0


def delete(args: Args, context: Context) -> int:
    """Delete a container."""
    from runjail.container.delete import delete as do

    bundle = do(args.words[0], args.flag("force"), context.runtime())
    if bundle and os.path.lexists(f"{bundle}/{IMAGE_MARK}"):
        from runjail.cli.run_image import release

        release(bundle)
    return 0


def pause(args: Args, context: Context) -> int:
    """Pause a container."""
    from runjail.container.kill import pause as do

    do(args.words[0], context.runtime())
    return 0


def resume(args: Args, context: Context) -> int:
    """Resume a container."""
    from runjail.container.kill import resume as do

    do(args.words[0], context.runtime())
    return 0


def run(args: Args, context: Context) -> int:
    """Create, start, wait, delete: a bundle, or an image of which a bundle is made first."""
    if args.flag("rm") and args.flag("detach"):
        raise UsageError(
            "run: --rm and --detach exclude each other: nobody stays to delete it",
            "runjail delete, once it has stopped",
        )
    runtime = context.runtime()
    if not args.text("image"):
        from runjail.spec.parse import read

        _refuse_image_options(args)
        request = _request(args, context)
        return _run(request, read(f"{request.bundle}/config.json"), context.rest, args, runtime)
    from runjail.cli import run_image

    with run_image.new_owned_bundle(args, context, runtime) as making:
        document = run_image.fill(making, args, context)
        return _run(_request(args, context).replace(bundle=making.path), document, [], args, runtime)


def _refuse_image_options(args: Args) -> None:
    """A bundle says by itself who runs and what of the host is seen: no option may look as if it changed that."""
    from runjail.cli.table import VERBS

    for name, _short, _value, what in VERBS["run"][2]:
        if name in args.options and what.startswith("with --image"):
            raise UsageError(f"--{name} needs --image: a bundle's config.json says that itself")


def _run(request: creating.Request, document: object, command: list[str], args: Args, runtime: Runtime) -> int:
    from runjail.container.run import run as do

    detach, attach_terminal = args.flag("detach"), False
    if isinstance(document, dict):
        _change_process(document, args, command)
        _add_volumes(document, args.many("volume"))
        process = document["process"]
        wants = isinstance(process, dict) and process.get("terminal") is True
        attach_terminal = wants and not (detach or request.console_socket)
    return do(request, document, runtime, detach=detach, keep=args.flag("keep"), attach_terminal=attach_terminal)


def _change_process(document: dict[str, Any], args: Args, command: list[str]) -> None:
    """Put options into the document; what is malformed stays as it is, for the parser to explain."""
    process = document.get("process")
    if process is None:
        process = document["process"] = {"cwd": "/", "args": []}
    if not isinstance(process, dict):
        return
    if command:
        process["args"] = command
    if args.flag("tty"):
        process["terminal"] = True
    if args.many("env"):
        _extend(process, "env", list(_environment(args.many("env"))))


def _environment(said: list[str]) -> Iterator[str]:
    """Yield NAME=VALUE for each --env; a bare NAME passes our own variable on, if there is one, as podman does."""
    for text in said:
        if "=" in text or not text:
            yield text
        elif text in os.environ:
            yield f"{text}={os.environ[text]}"


def _add_volumes(document: dict[str, Any], volumes: list[str]) -> None:
    for volume in volumes:
        source, _, rest = volume.partition(":")
        destination, _, options = rest.partition(":")
        if not source or not destination.startswith("/"):
            raise UsageError(f"--volume: not SRC:DST[:ro]: {volume[:200]!r}")
        words = ["rbind", *[word for word in options.split(",") if word]]
        mount = {"type": "bind", "source": os.path.abspath(source), "destination": destination, "options": words}
        _extend(document, "mounts", [mount])


def _extend(document: dict[str, Any], name: str, more: list[Any]) -> None:
    there = document.get(name) or []
    if isinstance(there, list):
        document[name] = [*there, *more]


def execute(args: Args, context: Context) -> int:
    """Run one more process in a container: detached, or in the foreground with its exit status as ours."""
    from runjail.container.exec import Request
    from runjail.container.exec import execute as do

    runtime = context.runtime()
    process = _process(args, context, runtime)
    request = Request(
        args.words[0],
        process,
        _absolute(args.text("pid-file")),
        _absolute(args.text("console-socket")),
        context.preserve,
        context.listen,
        args.flag("ignore-paused"),
    )
    if args.flag("detach"):
        do(request, runtime)
        return 0
    from runjail.container.foreground import Terminal, forward_signals, wait

    terminal = Terminal() if process.terminal and not request.console_socket else None
    pid = do(request, runtime, terminal.theirs, terminal.show) if terminal else do(request, runtime)
    forward_signals(pid)
    return terminal.relay(pid) if terminal else wait(pid)


def _process(args: Args, context: Context, runtime: Runtime) -> Process:
    """Return the process to run: of --process, or config.json's with another command."""
    from runjail import jsonio
    from runjail.spec.parse import parse_process, read

    if args.text("process"):
        if context.rest:
            raise UsageError("exec takes --process or a command, not both")
        document = read(_absolute(args.text("process")), "process document")
        if isinstance(document, dict) and args.flag("tty"):
            document["terminal"] = True
        return parse_process(document, runtime.host.os)
    if not context.rest:
        raise UsageError("exec needs --process or a command", "usage: runjail exec [OPTIONS] ID CMD...")
    config = jsonio.loads(runtime.find(args.words[0]).config())
    document = {**config["process"], "terminal": args.flag("tty")}
    _change_process({"process": document}, args, context.rest)
    if args.text("cwd"):
        document["cwd"] = args.text("cwd")
    if args.text("user"):
        uid, _, gid = args.text("user").partition(":")
        document["user"] = {"uid": _number(uid, "--user", MAX_ID), "gid": _number(gid or "0", "--user", MAX_ID)}
    if args.many("additional-gids"):
        numbers = [_number(gid, "--additional-gids", MAX_ID) for gid in args.many("additional-gids")]
        document["user"] = {**(document.get("user") or {}), "additionalGids": numbers}
    if args.flag("no-new-privs"):
        document["noNewPrivileges"] = True
    if args.many("cap"):
        sets = document.get("capabilities") or {}
        document["capabilities"] = {**sets, **{kind: [*(sets.get(kind) or []), *args.many("cap")] for kind in CAPABLE}}
    return parse_process(document, runtime.host.os)


def _number(text: str, option: str, maximum: int) -> int:
    from runjail.sizes import read_number

    number = read_number(text, maximum)
    if number is None:
        raise UsageError(f"{option}: not a number from 0 to {maximum}: {text[:40]!r}")
    return number


def unsupported(_given: Args, _context: Context) -> int:
    """Refuse checkpoint and restore."""
    raise UsageError("checkpoint and restore are not supported: a jail cannot be frozen to disk")
