"""The examples of help texts: each is a line that click and runjail itself read, and every verb has one."""

import shlex
from importlib import import_module

import pytest

from runjail.cli.args import GLOBALS, Args, options_end, parse
from runjail.cli.help_examples import EXAMPLES
from runjail.cli.main import LATE, NAMED, _check_positionals
from tests.support.cli.verbs import modules

LINES = [(verb, line) for verb, lines in EXAMPLES.items() for line in lines]
HIDDEN = {"checkpoint", "restore", "monitor"}


def rest(verb: str, line: str) -> list[str]:
    """Return what follows the verb."""
    words = shlex.split(line)
    names = verb.split()
    assert words[: 1 + len(names)] == ["runjail", *names]
    return words[1 + len(names) :]


def test_every_verb_has_one() -> None:
    shown = {verb for verb, module in modules().items() if module.HELP and verb not in HIDDEN}

    assert set(EXAMPLES) == shown
    assert all(EXAMPLES.values())


@pytest.mark.parametrize(("verb", "line"), LINES, ids=[line for _verb, line in LINES])
def test_an_example_is_a_line_that_runjail_reads(verb: str, line: str) -> None:
    """No unknown option, no value missing, as many words as the verb takes, and no option that nobody is told of."""
    module = modules()[verb]
    wanted = Args((*module.OPTIONS, *GLOBALS))

    parse(rest(verb, line), wanted, options_end(module.ARGS), late=verb in LATE, instead=NAMED.get(verb, ""))

    _check_positionals(verb, wanted.positionals, module.ARGS)
    assert wanted.options.keys() <= {option.name for option in module.OPTIONS if option.help}


@pytest.mark.parametrize(("verb", "line"), LINES, ids=[line for _verb, line in LINES])
def test_an_example_is_a_line_that_click_reads(verb: str, line: str) -> None:
    """By the options that the same help text lists; what follows the words of a verb is its program's."""
    click = pytest.importorskip("click", reason="needs click")
    from runjail.cli.help import program

    command = program()
    context = click.Context(command)
    for name in verb.split():
        command = command.get_command(context, name)
        context = click.Context(command, info_name=name, parent=context)
    context.allow_interspersed_args = not modules()[verb].ARGS[-1:] or not modules()[verb].ARGS[-1].endswith("...")

    command.make_parser(context).parse_args(rest(verb, line))


@pytest.mark.parametrize("kind", ["help", "help_plain"])
@pytest.mark.parametrize("verb", ["run", "image pull", "spec"])
def test_help_ends_with_them(kind: str, verb: str) -> None:
    """Whether click is installed or not."""
    if kind == "help":
        pytest.importorskip("click", reason="needs click")
    page = import_module(f"runjail.cli.{kind}").page
    end = "".join(f"  {line}\n" for line in EXAMPLES[verb])

    assert page(verb.split()).endswith(f"\n\nExamples:\n{end}")
    assert "Examples" not in page(["image"]) + page([])
