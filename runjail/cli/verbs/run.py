"""run: create, start, wait, delete: a bundle, or an image of which a bundle is made first."""

from __future__ import annotations

import os

from runjail.cli.args import DETACH, PROCESS, Args, flag, ignored, size, value, values
from runjail.cli.context import Context
from runjail.cli.run_options import OPTIONS as IMAGE_OPTIONS
from runjail.cli.verbs import create
from runjail.container.container import Runtime
from runjail.container.create import Request
from runjail.errors import InvalidConfig, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.container.monitor import MonitorOptions
    from runjail.container.restart import Policy

HELP = "create and start a container; without -d wait for it and delete it"
ARGS = ("ID", "CMD...")
_KEY = "private key of an encrypted image; also provider:NAME"
_POLICIES = "no, on-failure[:N], always or unless-stopped"
_NETWORK = "the host's network (default), none, one by CNI, or pasta or slirp4netns"
_PORT = "[ADDR:][HOST:]CONT[/udp]"
OPTIONS = (
    *create.OPTIONS,
    DETACH,
    flag("keep", "", "keep the container when its program ends"),
    flag("rm", "", "delete the container when its program ends (the default in the foreground)"),
    *PROCESS,
    values("volume", "v", "SRC:DST[:ro]", "mount a directory or file of the host, or a volume by its name"),
    value("image", "", "REF", "run this image instead of a bundle"),
    values("key", "", "FILE[:pass=…|:file=…|:fd=N]", _KEY, image_only=True),
    value("platform", "", "OS/ARCH", "run the image of this platform", image_only=True),
    value("user", "u", "USER[:GROUP]", "run as this user, by name or number", image_only=True),
    value("workdir", "w", "DIR", "working directory", image_only=True),
    value("hostname", "h", "NAME", "the container's name for itself (default: ID)", image_only=True),
    values("network", "", "host|none|NAME", _NETWORK, image_only=True),
    values("publish", "p", _PORT, "publish a port of the container's at one of the host's", image_only=True),
    flag("read-only", "", "the root file system cannot be written", image_only=True),
    values("storage-opt", "", "size=BYTES", "limit of what the container may write", image_only=True),
    flag("quiet", "q", "no progress", image_only=True),
    value("log-driver", "", "k8s-file|none|passthrough", "with -d: where output goes (default of images: k8s-file)"),
    values("log-opt", "", "max-size=BYTES|path=FILE", "how much of it is kept (default: 16m), and where"),
    value("restart", "", "POLICY", f"with -d: start the program again when it ends: {_POLICIES}"),
    *IMAGE_OPTIONS,
    ignored("no-subreaper"),
)


def run(args: Args, context: Context) -> int:
    """Create, start, wait, delete."""
    if args.flag("rm") and args.flag("detach"):
        raise UsageError(
            "run: --rm and --detach exclude each other: nobody stays to delete it",
            "runjail delete, once it has stopped",
        )
    if args.text("name") not in ("", args.positionals[0]):
        names = f"{args.positionals[0]} and {args.text('name')}"
        raise UsageError(f"run: a container has one id, not {names}"[:200], "with --name, the command follows at once")
    runtime = context.runtime()
    request = create.request(args, context)
    if (request.preserve or request.pidfd_socket) and _restart(args):
        why = "a program that is started again would be without"
        raise UsageError(f"--restart excludes --preserve-fds, LISTEN_FDS and --pidfd-socket: {why}")
    if args.text("image"):
        from runjail.cli import run_image

        _output(args, "", runtime)  # only to check the options, before anything is fetched
        network, networks, program = run_image.networks(args, context, runtime)
        with (
            run_image.owned_bundle(args, context, runtime, network) as (path, document),
            run_image.in_podmans_words(args, document),
        ):
            if networks:
                networks = run_image.telling(networks, path, args)
            if program:
                run_image.tell(program, path, args)
            request = request.replace(bundle=path, networks=networks, user_network=program)
            return _run(request, document, args, context, runtime, _output(args, path, runtime))
    watched = args.text("log-driver") or args.many("log-opt") or _restart(args)
    output = _output(args, "", runtime) if watched else None
    return _run(request, _document(request.bundle, args, context), args, context, runtime, output)


def _output(args: Args, bundle: str, runtime: Runtime) -> MonitorOptions | None:
    """Return where the output of a detached container goes, None for ours. bundle: of an image. Raises UsageError."""
    driver, detached, restart = args.text("log-driver") or "k8s-file", args.flag("detach"), _restart(args)
    if (args.text("log-driver") or args.many("log-opt")) and not detached:
        raise UsageError("--log-driver and --log-opt need --detach: otherwise output goes to ours")
    if driver not in ("k8s-file", "json-file", "none", "passthrough"):
        raise UsageError(f"--log-driver: not k8s-file, none or passthrough: {driver[:40]!r}")
    if not detached or driver == "passthrough" or args.text("console-socket"):
        if restart:
            raise UsageError(
                "--restart excludes --console-socket and --log-driver passthrough: both end with the caller"
            )
        return None
    from runjail.cli.run_faults import require_writable
    from runjail.container.monitor import MonitorOptions
    from runjail.container.output_log import FILE, LEAST, MOST

    path, most = f"{bundle or f'{runtime.root}/{args.positionals[0]}'}/{FILE}", MOST
    for option in args.many("log-opt"):
        name, _, text = option.partition("=")
        if name == "max-size":
            most = max(size(text, "--log-opt max-size"), LEAST)
        elif name == "path" and text:
            path = os.path.abspath(text)
            require_writable(path, "--log-opt path")
        else:
            raise UsageError(f"--log-opt: not max-size=BYTES or path=FILE: {option[:80]!r}")
    return MonitorOptions("" if driver == "none" else path, most, restart, args.flag("interactive"))


def _restart(args: Args) -> Policy | None:
    """Return when the container is made again, None for never. Raises UsageError."""
    if not args.text("restart"):
        return None
    from runjail.container.restart import policy

    found = policy(args.text("restart"))
    if found and not args.flag("detach"):
        why = "in the foreground a container is deleted when its program ends"
        raise UsageError(f"--restart needs --detach: {why}", "run -d, then runjail logs -f")
    return found


def _document(bundle: str, args: Args, context: Context) -> object:
    """Return a bundle's config.json with what the options say instead."""
    from runjail.cli.process import change, extend, volume_mounts
    from runjail.spec.document import read

    _refuse_image_options(args)
    try:
        document = read(f"{bundle}/config.json")
    except InvalidConfig as error:
        if not (args.text("bundle") or os.path.lexists(f"{bundle}/config.json")):
            error.hint = (
                "run --image NAME ID runs an image; -b names the directory of a bundle, which is here otherwise"
            )
        raise
    if isinstance(document, dict):
        change(document, args, context.rest)
        mounts = volume_mounts(args.many("volume"))
        _refuse_names(mounts)
        extend(document, "mounts", mounts)
    return document


def _refuse_names(mounts: list[dict[str, Any]]) -> None:
    """Refuse volumes by name: only a container of an image belongs to a store, where volumes are."""
    for mount in mounts:
        if mount["type"] == "volume":
            name = mount["source"]
            raise UsageError(f"--volume {name}: a volume by name needs --image", f"./{name} is a directory here")


def _refuse_image_options(args: Args) -> None:
    """Refuse options of --image for a bundle, whose own config.json says who runs and what is mounted."""
    for option in OPTIONS:
        if option.image_only and option.name in args.options:
            raise UsageError(f"--{option.name} needs --image: a bundle's config.json says that itself")


def _wants_terminal(document: object) -> bool:
    process = document.get("process") if isinstance(document, dict) else None
    return isinstance(process, dict) and process.get("terminal") is True


def _run(
    request: Request, document: object, args: Args, context: Context, runtime: Runtime, output: MonitorOptions | None
) -> int:
    terminal, detach = _wants_terminal(document), args.flag("detach")
    if output:
        from runjail.cli.verbs.monitor import becoming
        from runjail.container.monitor import run_detached

        return run_detached(request, document, runtime, output, terminal, becoming(runtime.root, context.nri_bin))
    from runjail.container.run import run

    attach = terminal and not (detach or request.console_socket)
    return run(request, document, runtime, detach=detach, keep=args.flag("keep"), attach_terminal=attach)
