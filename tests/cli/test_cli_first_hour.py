"""What a newcomer types in the first hour does what it looks like, and every command that the documents show is one."""

import json
import re
import shlex
from pathlib import Path

import pytest

from runjail.cli.args import GLOBALS, Args, options_end, parse
from runjail.cli.main import LATE, NAMED
from runjail.cli.verbs import GROUPS
from tests.support.cli.verbs import modules
from tests.support.container.harness import Life
from tests.support.program import LINUX, Bundle, Runjail

TOP = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([TOP / "README.md", *TOP.glob("docs/*.md"), *TOP.glob("docs/*.8"), *TOP.glob("bundles/**/*.md")])


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (("c", "/bin/echo", "a", "-n"), "a -n\n"),
        (("c", "--", "/bin/echo", "a"), "a\n"),
        (("c", "-e", "WORD=b", "/bin/sh", "-c", "echo $WORD"), "b\n"),
        (("-e", "WORD=b", "c", "--", "/bin/sh", "-c", "echo $WORD"), "b\n"),
    ],
    ids=" ".join,
)
def test_a_command_follows_the_id(life: Life, words: tuple[str, ...], output: str) -> None:
    """With `--` or without; options before the command are still run's."""
    result = life.runjail("run", "-b", life.bundle.write(), *words)

    assert (result.returncode, result.stdout) == (0, output), result


def test_the_example_runs_and_is_looked_at(runjail: Runjail, bundle: Bundle) -> None:
    """The session of the manual page: spec, run, exec, ps, delete."""
    (bundle.path / "config.json").unlink()
    runjail.ok("spec", "-b", str(bundle.path))
    runjail.ok("run", "-b", str(bundle.path), "-d", "web", "sleep", "600")

    assert runjail.ok("exec", "web", "hostname").stdout == "runjail\n"
    assert json.loads(runjail.ok("ps", "web", "-f", "json").stdout) == [runjail.state("web")["pid"]]
    assert runjail.ok("ps", "web", "--format=table").stdout.startswith("UID ")


def test_rm_and_detach_exclude_each_other(runjail: Runjail, tmp_path: Path) -> None:
    """It kept the container, silently: nobody is left to delete it."""
    result = runjail("run", "--rm", "-d", "-b", str(tmp_path), "c")

    assert result.returncode != 0
    assert "--rm and --detach exclude each other" in result.stderr
    assert not runjail.root.exists()


@pytest.mark.skipif(not LINUX, reason="elsewhere the plan is this machine's")
def test_a_plan_for_another_system_says_so(runjail: Runjail) -> None:
    bundle = ("-b", str(TOP / "bundles" / "hello"))

    assert "--os linux shows this machine's" in runjail.ok("plan", *bundle).stderr
    assert runjail.ok("plan", "--os", "freebsd", *bundle).stderr == ""


def commands() -> list[tuple[str, str]]:
    """Return (page, command line) of every runjail command in the documents."""
    found = []
    for page in PAGES:
        inside = page.suffix != ".md"
        for line in page.read_text(encoding="utf-8").replace("\\&", "").splitlines():
            inside ^= line.startswith("```")
            shown = inside and re.match(r"(?:\.Dl )?[#$%] (?:\S*/)?runjail (.*)", line)
            if shown:
                found.append((str(page.relative_to(TOP)), shown[1].replace("\\e", "\\")))
    return found


@pytest.mark.parametrize(("page", "line"), commands(), ids=lambda value: value)
def test_every_command_of_the_documents_is_one(page: str, line: str) -> None:
    """Verb, options and words are those of the verb table."""
    words = shlex.split(line.replace("...", "").rstrip("\\ "), comments=True)
    words = words[: next((at for at, word in enumerate(words) if word in ("|", ">", "&&", ";", "||")), len(words))]
    given = Args(GLOBALS)
    rest = parse(words, given, stop_after=1)
    verb = given.positionals[0] if given.positionals else "help"
    if verb in GROUPS:
        verb, rest = f"{verb} {rest[0]}", rest[1:]
    if verb == "help":
        return
    module = modules()[verb]
    wanted = Args((*module.OPTIONS, *GLOBALS))

    parse(rest, wanted, options_end(module.ARGS), late=verb in LATE, instead=NAMED.get(verb, ""))

    needed = [name for name in module.ARGS if not name.startswith("[") and not name.endswith("...")]
    assert len(wanted.positionals) >= len(needed), page


def test_the_documents_show_commands() -> None:
    assert len(commands()) > 30
