"""Help texts where click is not installed: of the same modules, rendered with what Python brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

from runjail.cli import help_examples
from runjail.cli.args import GLOBALS, Option
from runjail.cli.verbs import GROUPS, VERBS
from runjail.storage.open import forms

COLUMN = 28  # where explanations start


def page(words: list[str]) -> str:
    """Return the help of the program, of one verb, or of a verb's verb."""
    group = import_module(GROUPS[words[0]]) if words and words[0] in GROUPS else None
    verbs = group.VERBS if group else VERBS
    name = words[1] if group and len(words) > 1 else words[0] if words and not group else ""
    if name in verbs:
        verb = import_module(verbs[name])
        usage = " ".join(["runjail", *(words[:1] if group else []), name, "[OPTIONS]", *verb.ARGS])
        examples = help_examples.lines(f"{words[0]} {name}" if group else name)
        return _page(usage, verb.HELP, _options(verb.OPTIONS), examples)
    about = {verb: import_module(module).HELP for verb, module in (verbs if group else verbs | GROUPS).items()}
    if group:
        return _page(f"runjail {words[0]} COMMAND [ARGS]...", group.HELP, _commands(about))
    usage = "runjail [OPTIONS] COMMAND [ARGS]..."
    return _page(usage, "run OCI containers as FreeBSD jails", _options(GLOBALS), _commands(about))


def _page(usage: str, text: str, *blocks: list[str]) -> str:
    lines = [f"Usage: {usage}", "", f"  {text[:1].upper()}{text[1:]}."]
    for block in filter(None, blocks):
        lines += ["", *block]
    return "\n".join(lines) + "\n"


def _options(options: Sequence[Option]) -> list[str]:
    """Return a line or two for each option; those without a text belong to other runtimes and are not shown."""
    lines = ["Options:"]
    for option in options:
        if option.help:
            spelled = ", ".join([*[f"-{letter}" for letter in option.letters], f"--{option.name}"])
            lines += _row(f"{spelled} {option.metavar}".rstrip(), option.about.replace("{stores}", forms()))
    return lines


def _commands(about: Mapping[str, str]) -> list[str]:
    lines = ["Commands:"]
    for verb in sorted(about):
        if about[verb]:
            lines += _row(verb, about[verb])
    return lines


def _row(left: str, right: str) -> list[str]:
    if len(left) > COLUMN - 4:
        return [f"  {left}", f"{'':{COLUMN}}{right}"]
    return [f"  {left:{COLUMN - 2}}{right}"]
