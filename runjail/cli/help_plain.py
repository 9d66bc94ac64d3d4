"""Help texts where click is not installed: the same table, rendered with what Python brings."""

from __future__ import annotations

import importlib

from runjail.cli.table import GLOBALS, GROUPS, VERBS
from runjail.storage.open import forms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Option = tuple[str, str, str, str]

COLUMN = 28  # where explanations start


def show(words: list[str]) -> int:
    """Print the help of the program, of one verb, or of a verb's verb."""
    from runjail.cli.main import write_stdout

    group = GROUPS.get(words[0]) if words else None
    verbs = importlib.import_module(group[0]).VERBS if group else VERBS
    verb = words[1] if group and len(words) > 1 else words[0] if words and not group else ""
    if verb in verbs:
        _, positionals, options, text = verbs[verb]
        usage = " ".join(["runjail", *(words[:1] if group else []), verb, "[OPTIONS]", *positionals])
        return write_stdout(_page(usage, text, _options(options)))
    if group:
        return write_stdout(_page(f"runjail {words[0]} COMMAND [ARGS]...", group[1], _commands(verbs)))
    every = VERBS | {name: ("", (), (), about) for name, (_, about) in GROUPS.items()}
    usage = "runjail [OPTIONS] COMMAND [ARGS]..."
    return write_stdout(_page(usage, "run OCI containers as FreeBSD jails", _options(GLOBALS), _commands(every)))


def _page(usage: str, text: str, *blocks: list[str]) -> str:
    lines = [f"Usage: {usage}", "", f"  {text[:1].upper()}{text[1:]}."]
    for block in blocks:
        lines += ["", *block]
    return "\n".join(lines) + "\n"


def _options(options: Sequence[Option]) -> list[str]:
    """Return a line or two for each option; those without a text belong to other runtimes and are not shown."""
    lines = ["Options:"]
    for name, letters, kind, text in options:
        if text:
            spelled = ", ".join([*[f"-{letter}" for letter in letters], f"--{name}"])
            lines += _row(f"{spelled} {kind}".rstrip(), text.replace("{stores}", forms()))
    return lines


def _commands(verbs: dict[str, tuple[str, tuple[str, ...], tuple[Option, ...], str]]) -> list[str]:
    lines = ["Commands:"]
    for verb in sorted(verbs):
        if verbs[verb][3]:
            lines += _row(verb, verbs[verb][3])
    return lines


def _row(left: str, right: str) -> list[str]:
    if len(left) > COLUMN - 4:
        return [f"  {left}", f"{'':{COLUMN}}{right}"]
    return [f"  {left:{COLUMN - 2}}{right}"]
