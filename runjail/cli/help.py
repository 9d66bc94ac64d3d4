"""Help texts and shell completion, rendered by click from the same table that command lines are read by."""

from __future__ import annotations

import importlib

import click

from runjail.cli.table import GLOBALS, GROUPS, VERBS
from runjail.storage.open import forms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Row = tuple[str, tuple[str, ...], tuple[tuple[str, str, str, str], ...], str]


def _options(rows: Sequence[tuple[str, str, str, str]]) -> list[click.Parameter]:
    """Turn rows into click options; those without a text belong to other runtimes and are not shown."""
    options: list[click.Parameter] = []
    for name, letters, kind, text in rows:
        if text and name != "help":
            spelled = [f"--{name}", *[f"-{letter}" for letter in letters]]
            options.append(
                click.Option(spelled, is_flag=not kind, metavar=kind or None, help=text.replace("{stores}", forms()))
            )
    return options


def _positionals(names: tuple[str, ...]) -> list[click.Parameter]:
    return [
        click.Argument(
            [name.strip("[].").lower()], required=not name.startswith("[") and not name.endswith("..."), metavar=name
        )
        for name in names
    ]


def _add(group: click.Group, verbs: Mapping[str, Row]) -> None:
    for verb, (_, positionals, options, text) in verbs.items():
        params = _options(options) + _positionals(positionals)
        group.add_command(click.Command(verb, params=params, help=f"{text[:1].upper()}{text[1:]}.", hidden=not text))


def program() -> click.Group:
    """Return the whole command line as a click group."""
    group = click.Group(
        "runjail",
        params=_options(GLOBALS),
        help="Run OCI containers as FreeBSD jails.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    _add(group, VERBS)
    for name, (module, text) in GROUPS.items():
        inner = click.Group(name, help=f"{text[:1].upper()}{text[1:]}.")
        _add(inner, importlib.import_module(module).VERBS)
        group.add_command(inner)
    return group


def show(words: list[str]) -> int:
    """Print the help of the program, of one verb, or of a verb's verb."""
    command: click.Command = program()
    context = click.Context(command, info_name="runjail")
    for word in words:
        found = command.get_command(context, word) if isinstance(command, click.Group) else None
        if not found:
            break
        command = found
        context = click.Context(command, info_name=command.name, parent=context)
    click.echo(command.get_help(context))
    return 0
