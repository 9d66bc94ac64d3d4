"""The sessions that documents show: what is typed, and what is printed."""

import re

from tests.support.program import TOP

PAGES = sorted([TOP / "README.md", TOP / "SECURITY.md", *TOP.glob("docs/**/*.md"), *TOP.glob("bundles/**/*.md")])


FENCE = re.compile(r"^ *```(?:console|sh)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


PLAIN = re.compile(r"^ *```\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def sessions() -> list[tuple[str, str]]:
    """Return (page, content) of every fenced session."""
    return [
        (str(page.relative_to(TOP)), block)
        for page in PAGES
        for block in FENCE.findall(page.read_text(encoding="utf-8"))
    ]


def commands(block: str) -> list[str]:
    """Return the lines that are typed; what follows a prompt in a session that has prompts."""
    lines = [line.strip() for line in block.splitlines()]
    typed = [line[2:] for line in lines if line.startswith(("# ", "$ "))]
    return typed or lines


def shown(block: str) -> list[str]:
    """Return the lines that the program prints, without those that are cut short."""
    lines = [line.strip() for line in block.splitlines()]
    prompts = any(line.startswith(("# ", "$ ")) for line in lines)
    return [line for line in lines if prompts and not line.startswith(("# ", "$ ")) and "..." not in line]


def session(page: str, start: str) -> str:
    """Return the one session of a page that begins so."""
    (found,) = [block for where, block in sessions() if where == page and commands(block)[0].startswith(start)]
    return found


def manual_session(page: str) -> str:
    """Return what the EXAMPLES of a manual page show, in order: displays (Bd) and single lines (Dl)."""
    text = (TOP / "docs" / page).read_text(encoding="utf-8")
    examples = text.partition(".Sh EXAMPLES\n")[2].partition("\n.Sh ")[0] + "\n"
    found = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$|^\.Dl (.*?\n)", examples, re.MULTILINE | re.DOTALL)
    return "".join(display or line for display, line in found)


def file_shown(page: str, start: str) -> str:
    """Return the one block of a page that is neither session nor code and begins so: the lines of a file."""
    text = (TOP / page).read_text(encoding="utf-8")
    (found,) = [block for block in PLAIN.findall(text) if block.startswith(start)]
    return found
