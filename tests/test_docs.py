"""The documents say what the program does: names, tables, links and error texts are compared."""

import ast
import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from runjail import errors
from runjail.cli.args import GLOBALS, Option
from tests.support.cli.verbs import modules

TOP = Path(__file__).resolve().parent.parent
PAGES = sorted([*TOP.glob("*.md"), *TOP.glob("docs/**/*.md"), *TOP.glob("bundles/**/*.md")])
MANUAL = (TOP / "docs" / "runjail.8").read_text(encoding="utf-8")
GROUP_PAGES = {
    group: (TOP / "docs" / f"runjail-{group}.8").read_text(encoding="utf-8") for group in ("image", "network", "volume")
}
ARCHITECTURE = (TOP / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file of the repository."""
    links = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if not link.startswith(("http:", "https:")) and not (page.parent / link).exists()]

    assert broken == []


def test_every_decision_is_listed() -> None:
    """The list of decisions has every page."""
    pages = {path.name for path in (TOP / "docs/decisions").glob("*.md")} - {"README.md"}

    assert (
        set(re.findall(r"\]\(([a-z-]+\.md)\)", (TOP / "docs/decisions/README.md").read_text(encoding="utf-8"))) == pages
    )


def test_every_room_is_described() -> None:
    """The table of rooms is complete and names nothing that is not there."""
    described = set(re.findall(r"^\| `([a-z]+)(?:/|\.py)` \|", ARCHITECTURE, re.MULTILINE))
    rooms = {path.stem for path in (TOP / "runjail").iterdir() if not path.name.startswith("_")}

    assert described == rooms


def test_every_module_says_in_one_line_what_it_is_for() -> None:
    """Its first line is a sentence of its own that fits beside a name in a list."""
    first: dict[str, list[str]] = {}
    for path in sorted((TOP / "runjail").rglob("*.py")):
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        first.setdefault(said.split("\n")[0], []).append(str(path.relative_to(TOP)))

    assert len(first) > 250
    assert {line: paths for line, paths in first.items() if len(paths) > 1} == {}
    assert {line for line in first if len(line) > 100 or not line.endswith(".")} == set()


def test_error_texts_are_what_callers_look_for() -> None:
    """Each class of the table really says the text next to it."""
    rows = re.findall(r"^\| `([^`]+)` \| `([A-Z]\w+)` \|", ARCHITECTURE, re.MULTILINE)
    assert len(rows) >= 5

    for text, name in rows:
        said = str(getattr(errors, name)("web"))
        for part in text.split("..."):
            assert part.strip() in said, name


def fixed_texts() -> dict[str, str]:
    """Return what each class says that composes its text itself, of one argument."""
    found = {}
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.RunjailError) and "__init__" in vars(kind):
            with contextlib.suppress(TypeError, ValueError):  # it takes more than one, or a number
                said = str(kind("web"))
                if said != "web":
                    found[name] = said
    return found


def test_every_text_of_errors_is_in_the_table() -> None:
    """Whoever adds an error with a text of its own says who reads it."""
    rows = {name: text for text, name in re.findall(r"^\| `([^`]+)` \| `([A-Z]\w+)` \|", ARCHITECTURE, re.MULTILINE)}
    texts = fixed_texts()

    assert {"ContainerNotFound", "ProgramDenied", "Unauthorized"} < set(texts)
    assert set(rows) == set(texts)
    assert {
        name for name, text in rows.items() if not texts[name].startswith(text.partition("...")[0].strip())
    } == set()


def test_the_tree_of_errors_is_that_of_the_classes() -> None:
    """The drawing in errors.py has every class below the one that it is made of."""
    drawn, above = {}, {0: "RunjailError"}
    for branch, name in re.findall(r"^    ((?:[│ ]   )*[├└]── )(\w+)", errors.__doc__ or "", re.MULTILINE):
        depth = len(branch) // 4
        drawn[name], above[depth] = above[depth - 1], name
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind is not errors.RunjailError]

    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in kinds}


def test_diagnostics_of_the_manual_page() -> None:
    """The manual page quotes error texts letter by letter."""
    quoted = re.findall(r'^\.It "(.+)"$', MANUAL, re.MULTILINE)
    kinds = [errors.ContainerNotFound, errors.ContainerExists, errors.NotRunning]
    kinds += [errors.ProgramNotFound, errors.ProgramDenied]
    said = {str(kind("%s")).replace('"', r"\(dq") for kind in kinds}

    assert set(quoted) == said


def test_version_is_in_the_changelog() -> None:
    """There is always a section for what comes next."""
    assert "## [Unreleased]" in (TOP / "CHANGELOG.md").read_text(encoding="utf-8")


def test_no_unfinished_claims() -> None:
    """No page promises what is not there yet."""
    for page in [*PAGES, *TOP.glob("docs/*.8")]:
        words = re.findall(r"\b(TODO|FIXME|TBD|coming soon|not yet)\b", page.read_text(encoding="utf-8"))

        assert words == [], page


def described_options(section: str) -> dict[str, set[str]]:
    """Return the long options that a section gives each verb, and "global" for those before any verb."""
    found: dict[str, set[str]] = {}
    verbs = ["global"]
    for line in section.splitlines():
        if line.startswith(".It Cm "):
            verbs = re.findall(r"\b[a-z]+\b", line.removeprefix(".It Cm"))
        for verb in verbs:
            found.setdefault(verb, set())
            if line.startswith(".It Fl "):
                found[verb] |= set(re.findall(r"(?:Fl|,) -([a-z][a-z-]+)", line))
    return found


def explained(options: Iterable[Option]) -> set[str]:
    """Return the long names of options that do something; the others have no explanation."""
    return {option.name for option in options if option.help}


def test_manual_page_has_every_verb_and_option() -> None:
    """The page describes what the modules of the verbs explain, no more and no less."""
    expected = {"global": explained(GLOBALS)}
    for name, verb in modules().items():
        if verb.HELP and " " not in name:
            expected[name] = explained(verb.OPTIONS)
    described = described_options(MANUAL.split(".Ss Global options", 1)[1].split(".Sh ENVIRONMENT")[0])
    described["run"] |= described["create"]  # the page says that these work as well

    assert described == expected


@pytest.mark.parametrize("group", GROUP_PAGES)
def test_the_page_of_a_group_has_every_verb_and_option(group: str) -> None:
    """The same for the verbs of `runjail image` and the like."""
    expected = {
        name.split()[1]: explained(verb.OPTIONS) for name, verb in modules().items() if name.startswith(f"{group} ")
    }

    described = described_options(GROUP_PAGES[group].split(".Sh COMMANDS", 1)[1].split(".Sh ENVIRONMENT")[0])

    assert described == expected | {"global": set()}


def test_the_walks_name_files_that_are_there() -> None:
    walks = ARCHITECTURE.partition("\n## Three walks\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([\w/]+\.py)`", walks))

    assert len(named) > 100
    assert not {name for name in named if not (TOP / "runjail" / name).is_file()}
