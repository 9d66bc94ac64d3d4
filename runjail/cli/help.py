"""Help texts, rendered by click from the modules of the verbs, which command lines are read by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import click

from runjail.cli.args import GLOBALS, Option
from runjail.cli.help_examples import lines
from runjail.cli.verbs import GROUPS, VERBS
from runjail.storage.open import forms


def _options(options: Sequence[Option]) -> list[click.Parameter]:
    """Turn options into click's; those without a text belong to other runtimes and are not shown."""
    found: list[click.Parameter] = []
    for option in options:
        if option.help and option.name != "help":
            spelled = [f"--{option.name}", *[f"-{letter}" for letter in option.letters]]
            text = option.about.replace("{stores}", forms())
            found.append(click.Option(spelled, is_flag=not option.kind, metavar=option.metavar or None, help=text))
    return found


def _positionals(names: tuple[str, ...]) -> list[click.Parameter]:
    return [
        click.Argument(  # its own name is not shown, and may be no option's: `kill -s SIGNAL`, `kill ID SIGNAL`
            [f"word{number}"], required=not name.startswith("[") and not name.endswith("..."), metavar=name
        )
        for number, name in enumerate(names)
    ]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


class Verbs(click.Group):
    """A group that loads a verb when something is asked about it: the help of one verb costs no other's imports."""

    def __init__(self, name: str, modules: Mapping[str, str], **more: Any) -> None:
        super().__init__(name, **more)
        self.modules = modules

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the names of the verbs."""
        return sorted(self.modules)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Return a verb, or a group of some; None for what is neither."""
        if name not in self.modules:
            return None
        verb = import_module(self.modules[name])
        about: dict[str, Any] = {"help": _sentence(verb.HELP), "hidden": not verb.HELP}
        if name in GROUPS:
            return Verbs(name, verb.VERBS, **about)
        return click.Command(name, params=_options(verb.OPTIONS) + _positionals(verb.ARGS), **about)


def program() -> click.Group:
    """Return the whole command line as a click group."""
    return Verbs(
        "runjail",
        VERBS | GROUPS,
        params=_options(GLOBALS),
        help="Run OCI containers as FreeBSD jails.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def page(words: list[str]) -> str:
    """Return the help of the program, of one verb, or of a verb's verb."""
    command: click.Command = program()
    context = click.Context(command, info_name="runjail")
    names: list[str] = []
    for word in words:
        found = command.get_command(context, word) if isinstance(command, click.Group) else None
        if not found:
            break
        command = found
        names.append(word)
        context = click.Context(command, info_name=command.name, parent=context)
    examples = "\n".join(lines(" ".join(names)))
    return f"{command.get_help(context)}\n" + (f"\n{examples}\n" if examples else "")
