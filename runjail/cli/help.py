"""Help texts and shell completion, rendered by click from the same table that command lines are read by."""

import click

from runjail.cli.table import GLOBALS, VERBS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def _options(rows: "Sequence[tuple[str, str, str, str]]") -> list[click.Parameter]:
    """Turn rows into click options; those without a text belong to other runtimes and are not shown."""
    options: list[click.Parameter] = []
    for name, letters, kind, text in rows:
        if text and name != "help":
            spelled = [f"--{name}", *[f"-{letter}" for letter in letters]]
            options.append(click.Option(spelled, is_flag=not kind, metavar=kind or None, help=text))
    return options


def _positionals(names: tuple[str, ...]) -> list[click.Parameter]:
    return [
        click.Argument(
            [name.strip("[].").lower()], required=not name.startswith("[") and not name.endswith("..."), metavar=name
        )
        for name in names
    ]


def program() -> click.Group:
    """Return the whole command line as a click group."""
    group = click.Group(
        "runjail",
        params=_options(GLOBALS),
        help="Run OCI containers as FreeBSD jails.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for verb, (_, positionals, options, text) in VERBS.items():
        params = _options(options) + _positionals(positionals)
        group.add_command(click.Command(verb, params=params, help=f"{text[:1].upper()}{text[1:]}.", hidden=not text))
    return group


def show(words: list[str]) -> int:
    """Print the help of the program, or of one verb."""
    group = program()
    context = click.Context(group, info_name="runjail")
    command = group.get_command(context, words[0]) if words else None
    if command:
        context = click.Context(command, info_name=command.name, parent=context)
    click.echo((command or group).get_help(context))
    return 0
