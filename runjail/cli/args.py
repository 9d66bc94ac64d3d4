"""Options and a small command line parser: callers of OCI runtimes mix options and positionals freely.

`--name value`, `--name=value`, `-n value`, `-nvalue`, `-abc`, and Go's `-name` all work; `--` ends options.
"""

from __future__ import annotations

from runjail.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Option:
    """One option of a verb.

    letters: its short names. kind: the name of its value in help texts, "" for a flag. help: "" for an option of
    another runtime that is accepted and does nothing. many: may be given more than once. image_only: `run` takes it
    with --image only.
    """

    __slots__ = ("help", "image_only", "kind", "letters", "many", "name")

    def __init__(
        self, name: str, letters: str, kind: str, help: str, many: bool = False, image_only: bool = False
    ) -> None:
        self.name, self.letters, self.kind, self.help = name, letters, kind, help
        self.many, self.image_only = many, image_only

    @property
    def metavar(self) -> str:
        """The value as help texts write it."""
        return f"{self.kind}..." if self.many else self.kind

    @property
    def about(self) -> str:
        """What help texts say about it."""
        return f"with --image: {self.help}" if self.image_only else self.help


def flag(name: str, letters: str, help: str, *, image_only: bool = False) -> Option:
    """Return an option without a value."""
    return Option(name, letters, "", help, image_only=image_only)


def value(name: str, letters: str, kind: str, help: str, *, image_only: bool = False) -> Option:
    """Return an option with a value; the last one counts."""
    return Option(name, letters, kind, help, image_only=image_only)


def values(name: str, letters: str, kind: str, help: str, *, image_only: bool = False) -> Option:
    """Return an option that may be given more than once."""
    return Option(name, letters, kind, help, many=True, image_only=image_only)


def ignored(name: str, kind: str = "") -> Option:
    """Return an option of another runtime, with a value or without, that changes nothing here."""
    return Option(name, "", kind, "")


# What more than one verb takes
HELP = flag("help", "h", "print help")
BUNDLE = value("bundle", "b", "DIR", "the bundle: a directory with config.json (default: the current one)")
PID_FILE = value("pid-file", "", "FILE", "write the process id there")
CONSOLE = value("console-socket", "", "PATH", "Unix socket that receives the terminal")
PRESERVE = value("preserve-fds", "", "N", "pass N more descriptors on to the program, from 3")
DETACH = flag("detach", "d", "do not wait for the program")
TTY = flag("tty", "t", "give the program a terminal")
INTERACTIVE = flag("interactive", "i", "keep standard input open (it always is, but with run -d)")
ENV = values("env", "e", "NAME=VALUE", "add to the environment")
ENV_FILE = values("env-file", "", "FILE", "add to the environment what this file has, a NAME=VALUE a line")
PROCESS = (ENV, ENV_FILE, TTY, INTERACTIVE)  # of `run` and `exec`
FILES = (PID_FILE, CONSOLE, PRESERVE)  # of whatever starts a program
FORMAT = value("format", "f", "table|json", "form of the output")
TEMPLATE = value("format", "f", "table|json", "form of the output, or a Go template such as {{.ID}}")
OS = value("os", "", "freebsd|linux", "for which system")

GLOBALS = (
    value("root", "", "DIR", "where the state of containers is kept"),
    value("log", "", "FILE", "append errors to FILE (also file:FILE)"),
    value("log-format", "", "text|json", "form of the log"),
    value("log-level", "", "LEVEL", "debug, info, warning or error"),
    flag("debug", "", "the same as --log-level debug"),
    value("nri-bin", "", "DIR", "the directory of NRI plugins"),
    value("store", "", "STORE", "where images and layers are kept: {stores}"),
    flag("version", "vV", "print the version"),
    HELP,
    flag("systemd-cgroup", "", "on Linux: let systemd hold the container, as a transient scope"),
    value("cgroup-manager", "", "X", ""),  # podman's word for it
    ignored("rootless"),
    ignored("criu", "X"),
)


class Args:
    """What a command line said: options by long name (text, True, or a list), and positionals in order.

    Whoever asks for an option that the verb does not have has misspelt it, and learns that at once (LookupError).
    """

    def __init__(self, known: Sequence[Option] = ()) -> None:
        self.known = known  # where two have one name, the first counts
        self.options: dict[str, str | bool | list[str]] = {}
        self.positionals: list[str] = []

    def _get(self, name: str, kind: str) -> str | bool | list[str] | None:
        option = find(self.known, name)
        if not option or kind != ("values" if option.many else "value" if option.kind else "flag"):
            raise LookupError(f"--{name} is not one of this verb's {kind} options")
        return self.options.get(name)

    def takes(self, name: str) -> bool:
        """Say whether the verb has an option."""
        return find(self.known, name) is not None

    def text(self, name: str, default: str = "") -> str:
        """Return an option's value."""
        found = self._get(name, "value")
        return found if isinstance(found, str) else default

    def flag(self, name: str) -> bool:
        """Say whether a flag was given."""
        return bool(self._get(name, "flag"))

    def many(self, name: str) -> list[str]:
        """Return the values of an option that may be repeated."""
        found = self._get(name, "values")
        return found if isinstance(found, list) else []

    def all_values(self) -> list[str]:
        """Return all words and values."""
        lists = (value if isinstance(value, list) else [str(value)] for value in self.options.values())
        return [*self.positionals, *(text for values in lists for text in values)]


def find(options: Sequence[Option], name: str) -> Option | None:
    """Return an option by its long name."""
    for option in options:
        if option.name == name:
            return option
    return None


def options_end(positionals: Sequence[str]) -> int:
    """Return after how many words a verb's options end, -1 for never: what follows `exec ID` is its command's."""
    return len(positionals) - 1 if positionals and positionals[-1].endswith("...") else -1


def parse(
    arguments: Sequence[str], found: Args, stop_after: int = -1, late: bool = False, instead: str = ""
) -> list[str]:
    """Read options that `found` knows, and positionals, into it. Returns what follows the first `stop_after` of these.

    stop_after -1 reads everything. late: options may also follow the last of them, as in `run ID -d sleep 600`.
    instead: an option that takes the place of the first positional. Raises UsageError; `found` then has what came
    before the mistake.
    """
    pending = list(arguments)
    while pending:
        option_follows = late and pending[0].startswith("-") and pending[0] not in ("-", "--")
        if len(found.positionals) == stop_after and not option_follows:
            return pending[1:] if pending[0] == "--" else pending
        word = pending.pop(0)
        if word == "--":
            if stop_after >= 0:
                rest = stop_after - len(found.positionals)
                found.positionals += pending[:rest]
                return pending[rest:]
            found.positionals += pending
            break
        if not word.startswith("-") or word == "-":
            found.positionals.append(word)
            continue
        _take(word, pending, found)
        name = found.options.get(instead)
        if isinstance(name, str) and not found.positionals:
            found.positionals.append(name)
    return []


def _take(word: str, pending: list[str], found: Args) -> None:
    name, equals, value = word.lstrip("-").partition("=")
    option = find(found.known, name)
    if option:
        _store(option, word, value if equals else None, pending, found)
    elif word.startswith("--") or not name:
        raise _unknown(word, found)
    else:
        _take_letters(word, pending, found)


def _unknown(word: str, found: Args) -> UsageError:
    from runjail.cli.suggest import hint

    known = [f"--{option.name}" for option in found.known if option.help]
    return UsageError(f"unknown option {word[:80]}", hint(f"--{word.lstrip('-').partition('=')[0]}", known))


def _take_letters(word: str, pending: list[str], found: Args) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        option = next((option for option in found.known if letter in option.letters), None)
        if not option:
            raise _unknown(word, found)
        if option.kind:
            value = letters.removeprefix("=")
            _store(option, f"-{letter}", value if letters else None, pending, found)
            return
        _store(option, f"-{letter}", None, pending, found)


def _store(option: Option, word: str, value: str | None, pending: list[str], found: Args) -> None:
    if not option.kind:
        found.options[option.name] = value is None or _boolean(value, option.name)
        return
    if value is None:
        if not pending:
            raise UsageError(f"option {word} needs a value")
        value = pending.pop(0)
    if option.many:
        before = found.options.get(option.name)
        found.options[option.name] = [*(before if isinstance(before, list) else []), value]
    else:
        found.options[option.name] = value


def _boolean(value: str, name: str) -> bool:
    if value.lower() in ("true", "1", "yes", "t"):
        return True
    if value.lower() in ("false", "0", "no", "f", "auto", ""):
        return False
    raise UsageError(f"option --{name} is a flag, not {value[:40]!r}")


def number(text: str, option: str, most: int, least: int = 0) -> int:
    """Return the number that an option was given. Raises UsageError."""
    from runjail.sizes import read_number

    found = read_number(text, most, least)
    if found is None:
        raise UsageError(f"{option}: not a number from {least} to {most}: {text[:40]!r}")
    return found


def size(text: str, option: str) -> int:
    """Return the bytes that an option was given, -1 for no limit. Raises UsageError."""
    from runjail.sizes import read_size

    found = read_size(text, least=-1, words=True)
    if found is None:
        raise UsageError(f"{option}: not a size: {text[:40]!r}")
    return found
