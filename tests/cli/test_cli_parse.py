"""Command lines: every spelling that callers use, and no input that breaks the parser."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail.cli.args import GLOBALS, Args, flag, ignored, parse, value, values
from runjail.errors import UsageError
from tests.support.cli.verbs import modules

OPTIONS = (
    value("bundle", "b", "DIR", "a bundle"),
    flag("detach", "d", "do not wait"),
    flag("tty", "t", "a terminal"),
    values("env", "e", "NAME", "more environment"),
    ignored("no-subreaper"),
)


def read(line: str, stop: int = -1) -> tuple[dict[str, Any], list[str], list[str]]:
    """Return options, words and the rest of a command line."""
    found = Args(OPTIONS)
    rest = parse(line.split(), found, stop)
    return found.options, found.positionals, rest


@pytest.mark.parametrize(
    "line",
    ["--bundle /b c", "--bundle=/b c", "-b /b c", "-b/b c", "-b=/b c", "c -b /b", "c --bundle=/b", "-bundle /b c"],
)
def test_spellings_of_an_option(line: str) -> None:
    """Before and after positionals, with = and without, Go's one dash."""
    assert read(line) == ({"bundle": "/b"}, ["c"], [])


@pytest.mark.parametrize("line", ["-d -t c", "-dt c", "-td c", "c -dt", "--detach --tty c", "--detach=true -t=1 c"])
def test_flags(line: str) -> None:
    """Short ones can be combined."""
    if "-t=1" in line:
        with pytest.raises(UsageError):
            read(line)
        return
    assert read(line) == ({"detach": True, "tty": True}, ["c"], [])


def test_flags_with_values() -> None:
    """--rootless=auto and friends."""
    assert read("--detach=false c")[0] == {"detach": False}
    assert read("-no-subreaper c")[0] == {"no-subreaper": True}
    with pytest.raises(UsageError, match="option --detach is a flag, not 'maybe'"):
        read("--detach=maybe")


def test_a_flag_and_a_value_in_one_word() -> None:
    assert read("-dtb/x c") == ({"detach": True, "tty": True, "bundle": "/x"}, ["c"], [])
    assert read("-db /x c") == ({"detach": True, "bundle": "/x"}, ["c"], [])


def test_repeated_options() -> None:
    """Some are lists; of the others the last wins."""
    assert read("-e A -e B --env=C=d")[0] == {"env": ["A", "B", "C=d"]}
    assert read("-b /1 --bundle /2")[0] == {"bundle": "/2"}


def test_values_that_look_like_options() -> None:
    assert read("--bundle -d c")[0] == {"bundle": "-d"}
    assert read("--bundle= c")[0] == {"bundle": ""}
    assert read("-")[1] == ["-"]


def test_where_options_end() -> None:
    """After so many positionals, or after two dashes."""
    assert read("-d c sh -c x --bundle y", 1) == ({"detach": True}, ["c"], ["sh", "-c", "x", "--bundle", "y"])
    assert read("c -- sh -d", 1) == ({}, ["c"], ["sh", "-d"])
    assert read("-- c sh -d", 1) == ({}, ["c"], ["sh", "-d"])
    assert read("-- -d c") == ({}, ["-d", "c"], [])


@pytest.mark.parametrize(
    "line", ["--nonsense", "-x", "-dx", "--bundle", "-b", "--=x", "--", "---", "-=", "--bundle-x=1"]
)
def test_lines_that_make_no_sense(line: str) -> None:
    if line == "--":
        assert read(line) == ({}, [], [])
        return
    with pytest.raises(UsageError):
        read(line)


def test_what_came_before_a_mistake_is_known() -> None:
    """The log that was named must hear of it."""
    found = Args(OPTIONS)
    with pytest.raises(UsageError, match="unknown option --nonsense"):
        parse(["--bundle", "/b", "--nonsense", "-d"], found)
    assert found.options == {"bundle": "/b"}


MODULES = modules()
NAMES = sorted({option.name for verb in MODULES.values() for option in (*verb.OPTIONS, *GLOBALS)})
WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from([*MODULES, "--", "-", "", "-b", "-dt", "-it", "-f", "=", "-=", "--=", "c", "sh"]),
    st.sampled_from(NAMES).map("--{}".format),
    st.tuples(st.sampled_from(NAMES), st.text(max_size=5)).map("--{0[0]}={0[1]}".format),
)


@given(st.sampled_from(sorted(MODULES)), st.lists(WORDS, max_size=12), st.integers(-1, 3))
def test_any_line_is_read_or_refused(verb: str, words: list[str], stop: int) -> None:
    """Never anything but Args or UsageError; no word is lost or invented."""
    found = Args((*MODULES[verb].OPTIONS, *GLOBALS))
    try:
        rest = parse(words, found, stop)
    except UsageError as error:
        assert "\n" not in str(error).replace("\\n", "") or any("\n" in word for word in words)
        return
    assert stop < 0 or len(found.positionals) <= stop
    assert stop >= 0 or rest == []
    assert set(found.positionals) <= set(words)
    assert rest == [] or words[-len(rest) :] == rest
    assert all(isinstance(each, (str, bool, list)) for each in found.options.values())


@given(st.lists(st.text(max_size=8), max_size=6))
def test_words_after_two_dashes_are_words(words: list[str]) -> None:
    found = Args(OPTIONS)
    assert parse(["-d", "--", *words], found) == []
    assert found.positionals == words


@pytest.mark.parametrize(
    "wrong", [("text", "bundel"), ("text", "env"), ("text", "detach"), ("many", "bundle"), ("flag", "env")]
)
def test_a_misspelt_option_name_raises_at_once(wrong: tuple[str, str]) -> None:
    """Also one that is an option of another kind: it would read as not given."""
    kind, name = wrong

    with pytest.raises(LookupError, match=f"--{name} is not one"):
        getattr(Args(OPTIONS), kind)(name)
