"""From argv to a verb and from errors to exit codes; the only place that decides how the process ends."""

from __future__ import annotations

import _signal
import gc
import os
import sys

from runjail import log
from runjail.cli.args import GLOBALS, Args, Option, find, options_end, parse
from runjail.cli.context import Context, write_stdout
from runjail.cli.verbs import GROUPS, VERBS
from runjail.errors import RunjailError, UsageError, reason
from runjail.host.base import MAX_DESCRIPTOR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

ENTERING = {"create", "exec", "run", "start"}  # put processes into containers
UNDOING = ENTERING | {"delete"}  # leave something half done when they are killed
LATE = {"run", "image bundle"}  # their options may also follow the word before the command
NAMED = {"run": "name"}  # an option that may say what the first word says otherwise
OWN_FAILURE = {"exec": 255}  # runc's: 1 and up may be the program's
MAX_PRESERVED = 1024
MAX_LISTENING = 999
_GLOBAL = frozenset(option.name for option in GLOBALS) - {"help", "version"}


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


def _said(error: OSError) -> str:
    if error.filename:
        return f"{reason(error)}: {error.filename}"
    try:
        os.getcwd()
    except OSError as missing:  # what relative paths begin with
        return f"the current directory: {reason(missing)}"
    return reason(error)


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
        verb = parsed.positionals[0] if parsed.positionals else ""
        exposed = ""
        if own and verb in ENTERING and sys.platform == "linux":
            from runjail.host.interpreter import secure

            exposed = secure()
        return _dispatch(parsed, verb, rest, exposed)
    except RunjailError as error:
        log.error(str(error), error.hint)
        return OWN_FAILURE.get(verb, error.code)
    except KeyboardInterrupt as error:
        log.error("interrupted")
        return getattr(error, "code", 130)
    except BrokenPipeError:
        return 1
    except OSError as error:
        log.error(f"{verb}: {_said(error)}")
    except Exception as error:
        if debug:
            raise
        log.error(
            f"internal error in {verb}: {type(error).__name__}: {error}", "run with --debug and report what it prints"
        )
    return OWN_FAILURE.get(verb, 1)


def _globals(argv: Sequence[str]) -> tuple[Args, list[str]]:
    parsed = Args(GLOBALS)
    try:
        return parsed, parse(argv[1:], parsed, stop_after=1)
    except UsageError:  # belongs into the log, if that was named before the mistake
        _open_log(parsed)
        raise


def _dispatch(parsed: Args, verb: str, rest: list[str], exposed: str) -> int:
    if parsed.flag("version"):
        return _version(parsed)
    if parsed.flag("help") or not verb or verb == "help":
        return _help(rest[:2])
    modules: Mapping[str, str] = VERBS
    if verb in GROUPS:
        modules, word, rest = _enter(verb, parsed, rest)
        if parsed.flag("help") or not word:
            return _help([verb])
        verb = f"{verb} {word}"
    if verb not in modules:
        _open_log(parsed)
        raise UsageError(f"unknown command {verb[:80]!r}", _similar(verb, modules))
    return _call(verb, _load(modules[verb]), parsed, rest, exposed)


def _enter(group: str, parsed: Args, rest: list[str]) -> tuple[Mapping[str, str], str, list[str]]:
    """Return the verbs of a verb that has verbs, each with its whole name, which one is asked for, and what follows."""
    more = Args(GLOBALS)
    rest = parse(rest, more, stop_after=1)
    parsed.options |= more.options
    verbs = _load(GROUPS[group]).VERBS
    whole = {f"{group} {word}": module for word, module in verbs.items()}
    return whole, more.positionals[0] if more.positionals else "", rest


def _similar(verb: str, modules: Mapping[str, str]) -> str | None:
    """Return a hint for a mistyped verb; of an image's verb alone, that it is one."""
    from runjail.cli import image
    from runjail.cli.suggest import verb_hint

    return verb_hint(verb, [*modules, *(GROUPS if modules is VERBS else ())], image.VERBS)


def _call(verb: str, module: Any, parsed: Args, rest: list[str], exposed: str) -> int:
    """Read a verb's own options and run it."""
    wanted, words, preserve, listen = Args((*module.OPTIONS, *GLOBALS)), [], 0, 0
    problem: UsageError | None = None
    try:
        words = parse(rest, wanted, options_end(module.ARGS), late=verb in LATE, instead=NAMED.get(verb, ""))
        if wanted.takes("preserve-fds"):
            preserve, listen = _preserved(wanted)
    except UsageError as error:  # reported once the log is open
        problem = error
    if wanted.flag("help") or (problem and rest == ["-h"]):  # `run -h NAME` is a host name
        return _help(verb.split())
    _adopt(parsed, wanted, module.OPTIONS)
    _close_leaked(3 + preserve, [*parsed.all_values(), *wanted.all_values()])
    _open_log(parsed)
    if exposed:
        log.debug(exposed)
    if problem:
        raise problem
    _check_positionals(verb, wanted.positionals, module.ARGS)
    if verb in UNDOING or verb.startswith(("image ", "network ", "volume ")):
        from runjail import signals

        signals.catch()
    context = Context(parsed, words, preserve, listen)
    entered = context.enter_own_ids() if context.ordinary and _of_store(verb) else None
    code: int = module.run(wanted, context) if entered is None else entered
    return code


def _of_store(verb: str) -> bool:
    """Whether a verb is about what is in a store: images, volumes and the files of containers."""
    return verb.startswith(("image ", "volume ")) or verb in ("commit", "diff")


def _close_leaked(first: int, words: list[str]) -> None:
    """Close whatever leaked into us (see host.base.close_others), but not what the command line names."""
    for kept in sorted({number for number in map(_named_descriptor, words) if number >= first}):
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


def _adopt(parsed: Args, wanted: Args, options: Sequence[Option]) -> None:
    """Global options may also follow the verb, where the verb has no option of that name."""
    parsed.options |= {
        name: value for name, value in wanted.options.items() if name in _GLOBAL and not find(options, name)
    }


def _check_positionals(verb: str, words: list[str], positionals: tuple[str, ...]) -> None:
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


def _load(module: str) -> Any:
    """Return a module by name, as importlib.import_module does, which is slower to import than what it imports."""
    __import__(module)
    return sys.modules[module]


def _version(parsed: Args) -> int:
    """Print the version; the words `runjail version`, `commit:` and `spec:` are what callers look for."""
    from runjail import __version__

    context = Context(parsed)
    root = context.runtime().root
    return write_stdout(f"runjail version {__version__}\ncommit: v{__version__}\nspec: 1.3.0\nrundir: {root}\n")


def _help(words: list[str]) -> int:
    try:
        from runjail.cli.help import page
    except ImportError:  # click is not installed
        from runjail.cli.help_plain import page

    return write_stdout(page(words))
