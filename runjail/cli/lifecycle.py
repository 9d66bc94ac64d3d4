"""The verbs that container engines call. Each imports only what it runs: see the import budget in the tests."""

import os

from runjail.cli.main import Context, put
from runjail.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from runjail.cli.args import Given
    from runjail.container import create as creating
    from runjail.container.state import Store
    from runjail.host.base import Host

IMAGE_MARK = "image.json"  # in a bundle that belongs to a store: image.bundles, which costs an import
CAPABLE = ("bounding", "permitted", "effective", "ambient")  # the sets of capabilities that `exec --cap` adds to
MAX_ID = 2**32 - 2  # 2**32 - 1 means "no change" to the kernel


def create(given: "Given", context: Context) -> int:
    """Create a container."""
    from runjail.container.create import create as do

    host = context.host()
    do(_request(given, context), host, context.store(host))
    return 0


def _request(given: "Given", context: Context) -> "creating.Request":
    from runjail.container.create import Request

    return Request(
        given.words[0],
        os.path.abspath(given.text("bundle") or "."),
        _absolute(given.text("pid-file")),
        _absolute(given.text("console-socket")),
        context.preserve,
        context.listen,
        not given.flag("no-new-keyring"),
    )


def _absolute(path: str) -> str:
    """Paths are the caller's, relative to its directory, whatever directory we work in later."""
    return os.path.abspath(path) if path else ""


def start(given: "Given", context: Context) -> int:
    """Start a created container."""
    from runjail.container.start import start as do

    host = context.host()
    do(given.words[0], host, context.store(host))
    return 0


def state(given: "Given", context: Context) -> int:
    """Print a state document."""
    from runjail import jsonio
    from runjail.container.status import document

    host = context.host()
    return put(jsonio.dumps(document(context.store(host).find(given.words[0]), host)) + "\n")


def kill(given: "Given", context: Context) -> int:
    """Send a signal."""
    from runjail.container.kill import SIGTERM, signal_number
    from runjail.container.kill import kill as do

    host = context.host()
    signal = signal_number(given.words[1]) if len(given.words) > 1 else SIGTERM
    pid = _number(given.text("pid") or "0", "--pid", 2**31 - 1)
    do(given.words[0], signal, given.flag("all"), pid, host, context.store(host))
    return 0


def delete(given: "Given", context: Context) -> int:
    """Delete a container."""
    from runjail.container.delete import delete as do

    host = context.host()
    bundle = do(given.words[0], given.flag("force"), host, context.store(host))
    if bundle and os.path.lexists(f"{bundle}/{IMAGE_MARK}"):
        from runjail.cli.run_image import release

        release(bundle)
    return 0


def pause(given: "Given", context: Context) -> int:
    """Pause a container."""
    from runjail.container.kill import pause as do

    host = context.host()
    do(given.words[0], host, context.store(host))
    return 0


def resume(given: "Given", context: Context) -> int:
    """Resume a container."""
    from runjail.container.kill import resume as do

    host = context.host()
    do(given.words[0], host, context.store(host))
    return 0


def run(given: "Given", context: Context) -> int:
    """Create, start, wait, delete: a bundle, or an image of which a bundle is made first."""
    if given.flag("rm") and given.flag("detach"):
        raise UsageError(
            "run: --rm and --detach exclude each other: nobody stays to delete it",
            "runjail delete, once it has stopped",
        )
    host = context.host()
    store = context.store(host)
    if not given.text("image"):
        from runjail.spec.parse import read

        _refuse_image_options(given)
        request = _request(given, context)
        return _run(request, read(f"{request.bundle}/config.json"), context.rest, given, host, store)
    from runjail.cli import run_image

    with run_image.bundle_for(given, context, store) as making:
        document = run_image.fill(making, given, context)
        return _run(_request(given, context).replace(bundle=making.path), document, [], given, host, store)


def _refuse_image_options(given: "Given") -> None:
    """A bundle says by itself who runs and what of the host is seen: no option may look as if it changed that."""
    from runjail.cli.table import VERBS

    for name, _short, _value, what in VERBS["run"][2]:
        if name in given.options and what.startswith("with --image"):
            raise UsageError(f"--{name} needs --image: a bundle's config.json says that itself")


def _run(
    request: "creating.Request", document: object, command: list[str], given: "Given", host: "Host", store: "Store"
) -> int:
    from runjail.container.run import run as do

    detach, ours = given.flag("detach"), False
    if isinstance(document, dict):
        _change_process(document, given, command)
        _add_volumes(document, given.many("volume"))
        process = document["process"]
        wants = isinstance(process, dict) and process.get("terminal") is True
        ours = wants and not (detach or request.console_socket)
    return do(request, document, host, store, detach=detach, keep=given.flag("keep"), ours=ours)


def _change_process(document: "dict[str, Any]", given: "Given", command: list[str]) -> None:
    """Put options into the document; what is malformed stays as it is, for the parser to explain."""
    process = document.get("process")
    if process is None:
        process = document["process"] = {"cwd": "/", "args": []}
    if not isinstance(process, dict):
        return
    if command:
        process["args"] = command
    if given.flag("tty"):
        process["terminal"] = True
    if given.many("env"):
        _extend(process, "env", list(_environment(given.many("env"))))


def _environment(said: list[str]) -> "Iterator[str]":
    """Yield NAME=VALUE for each --env; a bare NAME passes our own variable on, if there is one, as podman does."""
    for text in said:
        if "=" in text or not text:
            yield text
        elif text in os.environ:
            yield f"{text}={os.environ[text]}"


def _add_volumes(document: "dict[str, Any]", volumes: list[str]) -> None:
    for volume in volumes:
        source, _, rest = volume.partition(":")
        destination, _, options = rest.partition(":")
        if not source or not destination.startswith("/"):
            raise UsageError(f"--volume: not SRC:DST[:ro]: {volume[:200]!r}")
        words = ["rbind", *[word for word in options.split(",") if word]]
        mount = {"type": "bind", "source": os.path.abspath(source), "destination": destination, "options": words}
        _extend(document, "mounts", [mount])


def _extend(document: "dict[str, Any]", name: str, more: "list[Any]") -> None:
    there = document.get(name) or []
    if isinstance(there, list):
        document[name] = [*there, *more]


def execute(given: "Given", context: Context) -> int:
    """Run one more process in a container: detached, or in the foreground with its exit status as ours."""
    from runjail.container.exec import Request
    from runjail.container.exec import execute as do

    host = context.host()
    store = context.store(host)
    process = _process(given, context, host.os, store)
    request = Request(
        given.words[0],
        process,
        _absolute(given.text("pid-file")),
        _absolute(given.text("console-socket")),
        context.preserve,
        context.listen,
        given.flag("ignore-paused"),
    )
    if given.flag("detach"):
        do(request, host, store)
        return 0
    from runjail.container.foreground import Terminal, forward_signals, wait

    terminal = Terminal() if process.terminal and not request.console_socket else None
    pid = do(request, host, store, terminal.theirs, terminal.show) if terminal else do(request, host, store)
    forward_signals(pid)
    return terminal.relay(pid) if terminal else wait(pid)


def _process(given: "Given", context: Context, os_name: str, store: "Any") -> "Any":
    """Return the process to run: of --process, or config.json's with another command."""
    from runjail import jsonio
    from runjail.spec.parse import parse_process, read

    if given.text("process"):
        if context.rest:
            raise UsageError("exec takes --process or a command, not both")
        document = read(_absolute(given.text("process")), "process document")
        if isinstance(document, dict) and given.flag("tty"):
            document["terminal"] = True
        return parse_process(document, os_name)
    if not context.rest:
        raise UsageError("exec needs --process or a command", "usage: runjail exec [OPTIONS] ID CMD...")
    config = jsonio.loads(store.find(given.words[0]).config())
    document = {**config["process"], "terminal": given.flag("tty")}
    _change_process({"process": document}, given, context.rest)
    if given.text("cwd"):
        document["cwd"] = given.text("cwd")
    if given.text("user"):
        uid, _, gid = given.text("user").partition(":")
        document["user"] = {"uid": _number(uid, "--user", MAX_ID), "gid": _number(gid or "0", "--user", MAX_ID)}
    if given.many("additional-gids"):
        numbers = [_number(gid, "--additional-gids", MAX_ID) for gid in given.many("additional-gids")]
        document["user"] = {**(document.get("user") or {}), "additionalGids": numbers}
    if given.flag("no-new-privs"):
        document["noNewPrivileges"] = True
    if given.many("cap"):
        sets = document.get("capabilities") or {}
        document["capabilities"] = {**sets, **{kind: [*(sets.get(kind) or []), *given.many("cap")] for kind in CAPABLE}}
    return parse_process(document, os_name)


def _number(text: str, option: str, maximum: int) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) > maximum:
        raise UsageError(f"{option}: not a number from 0 to {maximum}: {text[:40]!r}")
    return int(text)


def unsupported(_given: "Given", _context: Context) -> int:
    """Refuse checkpoint and restore."""
    raise UsageError("checkpoint and restore are not supported: a jail cannot be frozen to disk")
