"""Completion scripts: what the verbs' modules have is offered, by the shells themselves where they are installed."""

import re
import subprocess
from pathlib import Path

import pytest

from runjail.cli import completion_scripts
from runjail.cli.args import GLOBALS
from tests.support.cli.verbs import modules
from tests.support.program import TOP, Runjail

SCRIPTS = {"bash": completion_scripts.bash, "zsh": completion_scripts.zsh, "fish": completion_scripts.fish}
LINES = {
    "cre": {"create"},
    "image pu": {"pull", "push"},
    "--root /x image enc": {"encrypt"},
    "create --bun": {"--bundle"},
    "image pull --auth": {"--authfile"},
    "list --format js": {"json"},
    "completion z": {"zsh"},
    "nri ": {"ls", "check"},
    "--log-format t": {"text"},
    "kill --nonsense": set(),
    "kill w": {"web"},
    "exec ": {"web", "db"},
    "image rm h": {"hello:latest"},
    "run --image h": {"hello:latest"},
}
ASK = """
. "$1"
COMP_WORDS=(runjail $2)
[ "${2% }" = "$2" ] || COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_runjail
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Where the scripts find a runjail that knows two containers and an image."""
    program = tmp_path / "bin" / "runjail"
    program.parent.mkdir()
    real = TOP / ".venv/bin/runjail"
    program.write_text(
        f'#!/bin/sh\n[ "$1" != completion ] || exec {real} "$@"\n'
        '[ "$1" = list ] && echo web && echo db || echo hello:latest\n'
    )
    program.chmod(0o755)
    return {"HOME": str(tmp_path), "PATH": f"{program.parent}:/bin:/usr/bin:/usr/local/bin", "TERM": "dumb"}


def written(directory: Path, shell: str) -> str:
    """Return where the script of a shell is."""
    path = directory / "script"
    path.write_text(SCRIPTS[shell](), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("shell", SCRIPTS)
def test_every_verb_and_option_is_in_the_script(shell: str) -> None:
    text = SCRIPTS[shell]()
    mark = "-l {} " if shell == "fish" else "--{}"

    for name, verb in modules().items():
        if verb.HELP:
            assert name.split()[-1] in text
        for option in (*verb.OPTIONS, *GLOBALS):
            assert mark.format(option.name) in text.replace("\n", " ") or not option.help, (name, option.name)
    assert "no-pivot" not in text, "an option of other runtimes"
    assert "{stores}" not in text


@pytest.mark.needs("bash")
@pytest.mark.parametrize(("line", "words"), LINES.items(), ids=LINES)
def test_bash_offers(tmp_path: Path, env: dict[str, str], line: str, words: set[str]) -> None:
    script = written(tmp_path, "bash")

    done = subprocess.run(["bash", "-c", ASK, "sh", script, line], capture_output=True, text=True, check=False, env=env)

    assert (set(done.stdout.split()), done.stderr) == (words, "")


@pytest.mark.needs("fish")
@pytest.mark.parametrize(("line", "words"), LINES.items(), ids=LINES)
def test_fish_offers(tmp_path: Path, env: dict[str, str], line: str, words: set[str]) -> None:
    script = written(tmp_path, "fish")
    command = ["fish", "-N", "-c", f"source {script}; complete -C 'runjail {line}'"]

    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=str(tmp_path))

    assert ({row.split("\t")[0] for row in done.stdout.splitlines()}, done.stderr) == (words, "")


@pytest.mark.needs("zsh")
@pytest.mark.parametrize(("line", "words"), LINES.items(), ids=LINES)
def test_zsh_offers(tmp_path: Path, env: dict[str, str], line: str, words: set[str]) -> None:
    """Its completion needs a terminal; what it would be asked to offer is seen at the function that offers."""
    script = written(tmp_path, "zsh")
    last = line.rsplit(" ", maxsplit=1)[-1]
    program = (
        "compdef() { : }; _files() { : }\n"
        '_describe() { local name="${@[-1]}"; local -a all=("${(@P)name}"); print -lr -- "${(@)all}" }\n'
        f'. {script}\nwords=(runjail {line} "")\n'
        f"CURRENT={len(line.split()) + 2 - (last != '')} PREFIX='{last}'\n_runjail\n"
    )

    done = subprocess.run(["zsh", "-f", "-c", program], capture_output=True, text=True, check=False, env=env)

    offered = {re.split(r"(?<!\\):", row)[0].replace("\\:", ":") for row in done.stdout.splitlines()}
    assert ({word for word in offered if word.startswith(last)}, done.stderr) == (words, "")


ASK_ZSH = """
compdef() { : }; _describe() { print -lr -- ${(P)2} }
fpath=(@FILE@(:h)); autoload _runjail
words=(runjail kill w); CURRENT=3 PREFIX=w; _runjail
"""
INSTALLED = {
    "bash": ("runjail", ("-c", ASK, "sh", "@FILE@", "kill w")),
    "zsh": ("_runjail", ("-fc", ASK_ZSH)),
    "fish": ("runjail.fish", ("-N", "-c", "source @FILE@; complete -C 'runjail kill w'")),
}


@pytest.mark.needs("program")
@pytest.mark.parametrize("shell", [pytest.param(name, marks=pytest.mark.needs(name)) for name in INSTALLED])
def test_what_is_installed_asks_the_program(env: dict[str, str], shell: str) -> None:
    """The file that a shell finds when somebody presses the key, as the shell uses it."""
    file, words = INSTALLED[shell]
    path = str(TOP / "packaging" / "completion" / file)
    command = [shell, *(word.replace("@FILE@", path) for word in words)]

    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)

    assert "web" in done.stdout.split() and done.stderr == "", done


def test_other_shells_read_the_script_of_bash(tmp_path: Path) -> None:
    """/etc/profile is read by each of them, and `completion sh` is for it."""
    script = written(tmp_path, "bash")

    done = subprocess.run(["sh", "-c", '. "$1"; echo read', "sh", script], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("read\n", "")


def test_a_shell_that_nobody_knows(runjail: Runjail) -> None:
    assert runjail.ok("completion", "sh").stdout == SCRIPTS["bash"]()
    result = runjail("completion", "tcsh")

    assert result.returncode == 1
    assert result.stderr == "runjail: completion takes sh, bash, zsh or fish, not 'tcsh'\n"
