"""A small command line parser for `table`: callers of OCI runtimes mix options and positionals freely.

`--name value`, `--name=value`, `-n value`, `-nvalue`, `-abc`, and Go's `-name` all work; `--` ends options.
"""

from __future__ import annotations

from runjail.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Option = tuple[str, str, str, str]


class Args:
    """What a command line said: options by long name (text, True, or a list), and positionals in order."""

    def __init__(self) -> None:
        self.options: dict[str, str | bool | list[str]] = {}
        self.words: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        """Return an option's value."""
        value = self.options.get(name, default)
        return value if isinstance(value, str) else default

    def flag(self, name: str) -> bool:
        """Say whether a flag was given."""
        return bool(self.options.get(name))

    def many(self, name: str) -> list[str]:
        """Return the values of an option that may be repeated."""
        value = self.options.get(name)
        return value if isinstance(value, list) else []

    def all_values(self) -> list[str]:
        """Return all words and values."""
        lists = (value if isinstance(value, list) else [str(value)] for value in self.options.values())
        return [*self.words, *(text for values in lists for text in values)]


def parse(
    arguments: Sequence[str], options: Sequence[Option], given: Args, stop_after: int = -1, late: bool = False
) -> list[str]:
    """Read options and positionals into `given`. Returns the words that follow the first `stop_after` positionals.

    stop_after -1 reads everything. late: options may also follow the last of them, as in `run ID -d sleep 600`. Raises
    UsageError; `given` then has what came before the mistake.
    """
    pending = list(arguments)
    while pending:
        option_follows = late and pending[0].startswith("-") and pending[0] not in ("-", "--")
        if len(given.words) == stop_after and not option_follows:
            return pending[1:] if pending[0] == "--" else pending
        word = pending.pop(0)
        if word == "--":
            if stop_after >= 0:
                rest = stop_after - len(given.words)
                given.words += pending[:rest]
                return pending[rest:]
            given.words += pending
            break
        if not word.startswith("-") or word == "-":
            given.words.append(word)
            continue
        _take(word, pending, options, given)
    return []


def _take(word: str, pending: list[str], options: Sequence[Option], given: Args) -> None:
    name, equals, value = word.lstrip("-").partition("=")
    option = next((option for option in options if option[0] == name), None)
    if option:
        _store(option, word, value if equals else None, pending, given)
    elif word.startswith("--") or not name:
        raise UsageError(f"unknown option {word[:80]}")
    else:
        _take_letters(word, pending, options, given)


def _take_letters(word: str, pending: list[str], options: Sequence[Option], given: Args) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        option = next((option for option in options if letter in option[1]), None)
        if not option:
            raise UsageError(f"unknown option {word[:80]}")
        if option[2]:
            value = letters.removeprefix("=")
            _store(option, f"-{letter}", value if letters else None, pending, given)
            return
        _store(option, f"-{letter}", None, pending, given)


def _store(option: Option, word: str, value: str | None, pending: list[str], given: Args) -> None:
    name, _, kind, _ = option
    if not kind:
        given.options[name] = value is None or _boolean(value, name)
        return
    if value is None:
        if not pending:
            raise UsageError(f"option {word} needs a value")
        value = pending.pop(0)
    if kind.endswith("..."):
        given.options[name] = [*given.many(name), value]
    else:
        given.options[name] = value


def _boolean(value: str, name: str) -> bool:
    if value.lower() in ("true", "1", "yes", "t"):
        return True
    if value.lower() in ("false", "0", "no", "f", "auto", ""):
        return False
    raise UsageError(f"option --{name} is a flag, not {value[:40]!r}")
