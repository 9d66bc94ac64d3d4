"""From argv to a verb and from errors to exit codes; the only place that decides how the process ends."""

from __future__ import annotations

import _signal
import gc
import os
import sys

from runjail import log
from runjail.cli import args
from runjail.cli.table import GLOBALS, GROUPS, VERBS
from runjail.errors import RunjailError, UsageError, reason
from runjail.host.base import MAX_DESCRIPTOR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from runjail.cli.args import Args
    from runjail.container.container import Runtime
    from runjail.host.base import Host
    from runjail.nri.invoke import PluginChain

ENTERING = {"create", "exec", "run", "start"}  # put processes into containers
UNDOING = ENTERING | {"delete"}  # leave something half done when they are killed
LATE = {"run", "image bundle"}  # their options may also follow the word before the command
OWN_FAILURE = {"exec": 255}  # runc's: 1 and up may be the program's
MAX_PRESERVED = 1024
MAX_LISTENING = 999
SETTINGS = ("/usr/local/etc/runjail.toml", "/etc/runjail.toml")  # the first that exists, without $RUNJAIL_CONFIG
NRI = ("/etc/nri", "/usr/local/etc/nri")  # configuration of plugins; the second on FreeBSD only
NRI_BIN = ("/opt/nri/bin", "/usr/local/libexec/nri")  # the plugins themselves; likewise
_GLOBAL = frozenset(option[0] for option in GLOBALS) - {"help", "version"}


class Context:
    """What every verb gets besides its own options. host and store are made when asked for."""

    def __init__(self, parsed: Args, rest: list[str] | None = None, preserve: int = 0, listen: int = 0) -> None:
        root = parsed.text("root") or os.environ.get("RUNJAIL_ROOT", "")
        self.root = os.path.abspath(root) if root else ""
        self.location = parsed.text("store") or os.environ.get("RUNJAIL_STORE", "")
        self.nri_bin = os.path.abspath(parsed.text("nri-bin")) if parsed.text("nri-bin") else ""
        self.systemd = parsed.flag("systemd-cgroup") or parsed.text("cgroup-manager") == "systemd"
        self.rest = rest or []
        self.preserve = preserve
        self.listen = listen

    def host(self) -> Host:
        """Return the host of this machine."""
        if sys.platform.startswith("freebsd"):
            from runjail.host.freebsd.host import FreeBSDHost

            return FreeBSDHost()
        from runjail.host.linux.host import LinuxHost

        return LinuxHost()

    def runtime(self) -> Runtime:
        """Return the containers of this machine below --root."""
        from runjail.container.container import Runtime, default_root

        host = self.host()
        return Runtime(host, self.root or default_root(host.os), lambda: self.plugins(host), self.allowed_params)

    def settings(self) -> str:
        """Return the path of runjail.toml, "" when there is none."""
        return os.environ.get("RUNJAIL_CONFIG") or next((path for path in SETTINGS if os.path.exists(path)), "")

    def allowed_params(self) -> tuple[str, list[str]]:
        """Return where runjail.toml is or would be, and which permissions it grants to annotations."""
        path = self.settings()
        if not path:
            return SETTINGS[0], []
        from runjail.settings import read

        return path, read(path)["jail"].get("allow", [])

    def plugins(self, host: Host) -> PluginChain | None:
        """Return the NRI plugins that are configured. Where nothing is, this costs a look at a few names."""
        settings = self.settings()
        places = NRI if host.os == "freebsd" else NRI[:1]
        names = [f"{place}/{name}" for place in places for name in ("conf.json", "resource.d")]
        if not settings and not any(map(os.path.lexists, names)):
            return None
        from runjail.nri.invoke import configured

        ours = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(sys.argv[0]))), "libexec/runjail/nri")
        programs = (*(NRI_BIN if host.os == "freebsd" else NRI_BIN[:1]), ours)
        chain = configured(places, programs, settings, self.nri_bin)
        return chain if chain.plugins else None


def main() -> NoReturn:
    """Run the program's own command line and end the process.

    A verb is too short-lived for the garbage collector, and Python's shutdown would only tidy what exit(2) drops.
    """
    gc.disable()
    _open_standard()
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # a caller that ignores it would take our children's ends from us
    try:
        code = run(sys.argv, own=True)
        if sys.stdout:  # None when our caller closed it
            sys.stdout.flush()
    except KeyboardInterrupt as error:  # it came while an error was reported
        code = getattr(error, "code", 130)
    os._exit(code)


def _open_standard() -> None:
    """Open what our caller closed of 0, 1 and 2, or the next file we open gets its number and our error message."""
    for descriptor in (0, 1, 2):
        try:
            os.get_inheritable(descriptor)
        except OSError:
            os.set_inheritable(os.open("/dev/null", os.O_RDWR), True)  # the lowest free number: this one


def run(argv: Sequence[str], own: bool = False) -> int:
    """Run one command line. Returns the exit code. own: it is the process's, which may be executed again."""
    verb = ""
    debug = False
    try:
        parsed, rest = _globals(argv)
        debug = parsed.flag("debug")
        verb = parsed.words[0] if parsed.words else ""
        exposed = ""
        if own and verb in ENTERING and sys.platform == "linux":
            from runjail.host.interpreter import secure

            exposed = secure()
        return _dispatch(parsed, verb, rest, exposed)
    except RunjailError as error:
        log.error(str(error), error.hint)
    except KeyboardInterrupt as error:
        log.error("interrupted")
        return getattr(error, "code", 130)
    except BrokenPipeError:
        return 1
    except OSError as error:
        log.error(f"{verb}: {reason(error)}" + (f": {error.filename}" if error.filename else ""))
    except Exception as error:
        if debug:
            raise
        log.error(
            f"internal error in {verb}: {type(error).__name__}: {error}", "run with --debug and report what it prints"
        )
    return OWN_FAILURE.get(verb, 1)


def _globals(argv: Sequence[str]) -> tuple[Args, list[str]]:
    parsed = args.Args()
    try:
        return parsed, args.parse(argv[1:], GLOBALS, parsed, stop_after=1)
    except UsageError:  # belongs into the log, if that was named before the mistake
        _open_log(parsed)
        raise


def _dispatch(parsed: Args, verb: str, rest: list[str], exposed: str) -> int:
    if parsed.flag("version"):
        return _version(parsed)
    if parsed.flag("help") or not verb or verb == "help":
        return _help(rest[:2])
    verbs = VERBS
    if verb in GROUPS:
        verbs, word, rest = _enter(verb, parsed, rest)
        if parsed.flag("help") or not word:
            return _help([verb])
        verb = f"{verb} {word}"
    if verb not in verbs:
        _open_log(parsed)
        raise UsageError(f"unknown command {verb[:80]!r}")
    function, positionals, options, _ = verbs[verb]
    trailing = bool(positionals) and positionals[-1].endswith("...")
    wanted, words, preserve, listen = args.Args(), [], 0, 0
    problem: UsageError | None = None
    try:
        stop = len(positionals) - 1 if trailing else -1  # what follows `exec ID` is its command's
        words = args.parse(rest, (*options, *GLOBALS), wanted, stop, late=verb in LATE)
        if any(option[0] == "preserve-fds" for option in options):
            preserve, listen = _preserved(wanted)
    except UsageError as error:  # reported once the log is open
        problem = error
    if wanted.flag("help"):
        return _help(verb.split())
    _adopt(parsed, wanted, options)
    _close_leaked(3 + preserve, [*parsed.all_values(), *wanted.all_values()])
    _open_log(parsed)
    if exposed:
        log.debug(exposed)
    if problem:
        raise problem
    _check_words(verb, wanted.words, positionals)
    if verb in UNDOING or verb.startswith("image "):
        from runjail import signals

        signals.catch()
    return _function(function)(wanted, Context(parsed, words, preserve, listen))


def _enter(group: str, parsed: Args, rest: list[str]) -> tuple[dict[str, Any], str, list[str]]:
    """Return the verbs of a verb that has verbs, each with its whole name, which one is asked for, and what follows."""
    more = args.Args()
    rest = args.parse(rest, GLOBALS, more, stop_after=1)
    parsed.options |= more.options
    verbs = _load(GROUPS[group][0]).VERBS
    return {f"{group} {word}": row for word, row in verbs.items()}, more.words[0] if more.words else "", rest


def _close_leaked(first: int, said: list[str]) -> None:
    """Close whatever leaked into us (see host.base.close_others), but not what the command line names."""
    for kept in sorted({number for number in map(_named_descriptor, said) if number >= first}):
        os.closerange(first, kept)
        first = kept + 1
        try:
            os.set_inheritable(kept, False)  # for us alone, not for hooks and other programs that we start
        except OSError:  # not open: whoever reads it says so
            pass
    os.closerange(first, MAX_DESCRIPTOR)


def _named_descriptor(text: str) -> int:
    """Return N of `/dev/fd/N`, as shells write `<(command)`, and of `--key FILE:fd=N`, else -1."""
    for before in ("/dev/fd/", "/proc/self/fd/", ":fd="):
        if before in text:
            from runjail.sizes import read_descriptor

            number = read_descriptor(text.rpartition(before)[2])
            if number is not None:
                return number
    return -1


def _adopt(parsed: Args, wanted: Args, options: Sequence[args.Option]) -> None:
    """Global options may also follow the verb, where the verb has no option of that name."""
    own = {option[0] for option in options}
    parsed.options |= {name: value for name, value in wanted.options.items() if name in _GLOBAL and name not in own}


def _check_words(verb: str, words: list[str], positionals: tuple[str, ...]) -> None:
    named = [name for name in positionals if not name.endswith("...")]
    needed = [name for name in named if not name.startswith("[")]
    if not len(needed) <= len(words) <= len(named):
        usage = " ".join(["runjail", verb, *positionals])
        raise UsageError(f"{verb} takes {' '.join(positionals) or 'no words'}, got {len(words)}", f"usage: {usage}")


def _preserved(parsed: Args) -> tuple[int, int]:
    """Return how many descriptors from 3 on go to the program, and how many systemd passed (sd_listen_fds(3))."""
    asked, announced = parsed.text("preserve-fds"), os.environ.get("LISTEN_FDS", "")
    if not asked and not announced:
        return 0, 0
    from runjail.sizes import read_number

    preserve = read_number(asked or "0", MAX_PRESERVED)
    if preserve is None:
        raise UsageError(f"--preserve-fds: not a number of descriptors: {asked[:40]!r}")
    for_us = os.environ.get("LISTEN_PID") in (None, str(os.getpid()))  # or they were another process's
    listen = (read_number(announced, MAX_LISTENING) or 0) if for_us else 0
    for descriptor in range(3, 3 + listen + preserve):
        try:
            os.get_inheritable(descriptor)
        except OSError:
            raise UsageError(f"--preserve-fds: descriptor {descriptor} is not open") from None
    return listen + preserve, listen


def _open_log(parsed: Args) -> None:
    form = parsed.text("log-format", "text")
    level = "debug" if parsed.flag("debug") else parsed.text("log-level")
    level = {"warn": "warning"}.get(level, level)
    wrong = ""
    if form not in ("text", "json"):
        wrong, form = f"--log-format: not text or json: {form[:40]!r}", "text"
    if level and level not in log.LEVELS:
        wrong, level = f"--log-level: not one of {', '.join(log.LEVELS)}: {level[:40]!r}", ""
    try:
        log.set_up(parsed.text("log"), form, level)
    except OSError as error:
        raise UsageError(f"opening log {parsed.text('log')}: {reason(error)}") from error
    if wrong:
        raise UsageError(wrong)


def _function(path: str) -> Callable[[Args, Context], int]:
    module, _, name = path.partition(":")
    function: Callable[[Args, Context], int] = getattr(_load(module), name)
    return function


def _load(module: str) -> Any:
    __import__(module)
    return sys.modules[module]


def _version(parsed: Args) -> int:
    from runjail.cli.reports import version

    return version(Context(parsed))


def _help(words: list[str]) -> int:
    try:
        from runjail.cli.help import show
    except ImportError:  # click is not installed
        from runjail.cli.help_plain import show

    return show(words)


def write_stdout(text: str) -> int:
    """Write to standard output, whole. Returns exit code 0."""
    data = text.encode("utf-8", "surrogateescape")
    while data:
        data = data[os.write(1, data) :]
    return 0
