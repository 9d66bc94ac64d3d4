"""Words for sh(1) and values for jail.conf(5)."""

from __future__ import annotations

ORDINARY = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
SHELL = ORDINARY | frozenset("%+-./:=@,^")
OPENING = ORDINARY | frozenset("/.:@%+,-")  # a leading `=` or `^` can mean something to some shells


def shell_word(text: str) -> str:
    """Return text as one word of a shell command."""
    if text and text[0] in OPENING and SHELL.issuperset(text):
        return text
    return "'" + text.replace("'", "'\\''") + "'"


def shell_line(*words: str) -> str:
    """Return one shell command."""
    return " ".join(map(shell_word, words))


def conf_value(text: str) -> str:
    """Return text as one value of a jail.conf: within single quotes nothing is expanded but backslashes."""
    if text and ORDINARY.issuperset(text):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


def comment(text: str) -> str:
    """Return text as one comment line, whatever it contains."""
    return "# " + "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
