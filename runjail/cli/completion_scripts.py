"""Completion scripts for shells, made from the verbs' modules.

They say which verbs and options there are, and what may stand where. A script knows every verb and option when it is
made. It asks runjail for what changes: ids of containers and names of images, at the moment that somebody presses the
key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module

from runjail.cli.args import GLOBALS, Option
from runjail.cli.verbs import GROUPS, VERBS
from runjail.storage.open import forms

NEW = ("create", "run", "plan")  # their ID is one that does not exist
IDS, IMAGES = "runjail list -q 2>/dev/null", "runjail image ls -q 2>/dev/null"
FILES = ("FILE", "DIR", "PATH", "SRC:")  # kinds of values that begin like this are paths

PARSE = """\
        if [ -n "$skip" ]; then
            skip=""
            continue
        fi
        case "$each" in
            @VALUED@) skip=1 ;;
            -*) ;;
            *)
                command="${command:+$command }$each"
                case "$command" in @GROUPS@) ;; *) break ;; esac
                ;;
        esac
    done
    case "$command" in
@COMMANDS@
    esac
    case "$command $previous" in
@VALUES@
    esac"""  # the rest of the loop over the words before the cursor, and what they mean: bash and zsh read it alike

BASH = """\
# Completes command lines of runjail in bash. Other shells of this family read it and do nothing.
[ -n "${BASH_VERSION-}" ] || return 0

_runjail() {
    local word="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"
    local command="" options="" words="" files="" skip="" each index
    for ((index = 1; index < COMP_CWORD; index++)); do
        each="${COMP_WORDS[index]}"
@PARSE@
    case "$word" in -*) words="$options" ;; esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    [ -n "$files" ] && COMPREPLY+=($(compgen -f -- "$word"))
}
complete -o filenames -F _runjail runjail
"""

ZSH = """\
#compdef runjail
# Completes command lines of runjail in zsh.

_runjail() {
    local command="" previous="${words[CURRENT-1]}" skip="" each index
    local -a options found
    for ((index = 2; index < CURRENT; index++)); do
        each="${words[index]}"
@PARSE@
    if [[ "$PREFIX" == -* ]]; then
        _describe -o option options
    elif (( $#found )); then
        _describe word found
    else
        _files
    fi
}

if [ "$funcstack[1]" = _runjail ]; then
    _runjail "$@"
else
    compdef _runjail runjail
fi
"""

FISH = """\
# Completes command lines of runjail in fish.

function __runjail_command
    set -l command
    set -l skip
    for each in (commandline -opc)[2..-1]
        if test -n "$skip"
            set skip
            continue
        end
        switch $each
            case @VALUED@
                set skip 1
            case '-*'
            case '*'
                set -a command $each
                contains -- "$command" @GROUPS@; or break
        end
    end
    test "$command" = "$argv"
end

complete -c runjail -f
"""


def _verbs() -> Iterator[tuple[str, str, Sequence[Option], Sequence[str]]]:
    """Yield each verb's words, what it does, its options and its positionals; hidden ones are not completed."""
    for name, module in VERBS.items():
        verb = import_module(module)
        if verb.HELP:
            yield name, verb.HELP, verb.OPTIONS, verb.ARGS
    for group, package in GROUPS.items():
        for name, module in import_module(package).VERBS.items():
            verb = import_module(module)
            yield f"{group} {name}", verb.HELP, verb.OPTIONS, verb.ARGS


def _first_words(group: str = "") -> dict[str, str]:
    """Return the words that may come first, or after a group's, with what they do."""
    found = {words: about for words, about, _options, _args in _verbs()}
    if group:
        return {words.split()[1]: about for words, about in found.items() if words.startswith(f"{group} ")}
    groups = {name: import_module(package).HELP for name, package in GROUPS.items()}
    return {words: about for words, about in found.items() if " " not in words} | groups


def _spelled(option: Option) -> list[str]:
    return [f"--{option.name}", *[f"-{letter}" for letter in option.letters]]


def _shown(options: Sequence[Option]) -> list[Option]:
    return [option for option in options if option.help]


def _valued() -> list[str]:
    """Return every global option that takes a value: what follows it is no verb."""
    return [word for option in GLOBALS if option.kind for word in _spelled(option)]


def _positional(name: str, positionals: Sequence[str]) -> str | None:
    """Return what may stand as a verb's words: a command that lists it, or words as they are; "" for files."""
    if not positionals:
        return None
    first = positionals[0]
    if first == "ID" and name not in NEW:
        return f"$({IDS})"
    if first in ("SRC", "NAME"):
        return f"$({IMAGES})"
    return first.replace("|", " ") if "|" in first else ""


def _value(option: Option) -> str | None:
    """Return what may stand as an option's value, as `_positional`; None for free text."""
    if option.name == "image":
        return f"$({IMAGES})"
    if option.kind.startswith(FILES):
        return ""
    return option.kind.replace("|", " ") if "|" in option.kind and option.kind.islower() else None


def _filled(template: str, commands: Sequence[str], values: Sequence[str]) -> str:
    parts = {"@PARSE@": PARSE, "@VALUED@": "|".join(_valued()), "@GROUPS@": "|".join(GROUPS)}
    parts |= {"@COMMANDS@": "\n".join(commands), "@VALUES@": "\n".join(values)}
    for mark, text in parts.items():
        template = template.replace(mark, text)
    return template


def _value_cases(offer: str, files: str) -> list[str]:
    """Return a branch of `case` for each option whose value is known. offer, files: how a shell is told what."""
    cases = []
    for name, _about, options, _args in [("", "", GLOBALS, ()), *_verbs()]:
        for option in _shown(options):
            words = _value(option)
            if words is not None:
                patterns = "|".join(f'"{name} {spelled}"' for spelled in _spelled(option))
                what = offer.format(words) if words else files
                cases.append(f"        {patterns}) {what} ;;")
    return cases


def bash() -> str:
    """Return the script for bash."""
    globals_ = " ".join(word for option in _shown(GLOBALS) for word in _spelled(option))
    cases = [f'        "") options="{globals_}" words="{" ".join(_first_words())}" ;;']
    cases += [f'        {group}) words="{" ".join(_first_words(group))}" ;;' for group in GROUPS]
    for name, _about, options, positionals in _verbs():
        spelled = " ".join(word for option in _shown(options) for word in _spelled(option))
        words = _positional(name, positionals)
        more = f'words="{words}"' if words else "files=1" if positionals else ""
        cases.append(f'        "{name}") options="{spelled} --help" {more} ;;')
    return _filled(BASH, cases, _value_cases('words="{}"', 'words="" files=1'))


def _described(words: str, about: str) -> str:
    text = about.replace("'", "").replace("{stores}", forms()).replace(":", r"\:")
    return f"'{words.replace(':', chr(92) + ':')}:{text}'"


def zsh() -> str:
    """Return the script for zsh, which shows what each word means."""

    def listed(options: Sequence[Option]) -> str:
        return " ".join(_described(word, option.about) for option in _shown(options) for word in _spelled(option))

    def found(words: dict[str, str]) -> str:
        return " ".join(_described(word, about) for word, about in words.items())

    cases = [f'        "") options=({listed(GLOBALS)}) found=({found(_first_words())}) ;;']
    cases += [f"        {group}) found=({found(_first_words(group))}) ;;" for group in GROUPS]
    for name, _about, options, positionals in _verbs():
        words = _positional(name, positionals)
        asked = _in_zsh(words or "")
        cases.append(f'        "{name}") options=({listed(options)}) found=({asked}) ;;')
    values = [_in_zsh(case) for case in _value_cases("found=({})", "found=()")]
    return _filled(ZSH, cases, values)


def _in_zsh(words: str) -> str:
    """Return words for zsh, which splits at lines what a command prints; after a colon comes what a word means."""
    return words.replace("$(", '${${(f)"$(').replace("/dev/null)", r'/dev/null)"}//:/\\:}')


def fish() -> str:
    """Return the script for fish: a line for each word and option."""
    lines = []
    for group in ("", *GROUPS):
        lines += [_fish_line(group, f"-a {word}", about) for word, about in _first_words(group).items()]
    for name, _about, options, positionals in [("", "", GLOBALS, ()), *_verbs()]:
        for option in _shown(options):
            letters = "".join(f" -s {letter}" for letter in option.letters)
            lines.append(_fish_line(name, f"-l {option.name}{letters}{_fish_value(option)}", option.about))
        words = _positional(name, positionals)
        if words is not None:
            lines.append(_fish_line(name, f'-a "{_in_fish(words)}"' if words else "-F", ""))
    template = FISH.replace("@VALUED@", " ".join(_valued())).replace("@GROUPS@", " ".join(GROUPS))
    return template + "\n".join(lines) + "\n"


def _fish_value(option: Option) -> str:
    """Return fish's words for an option's value: any, files, or one of these."""
    words = _value(option)
    if not option.kind:
        return ""
    return " -r" if words is None else f' -r -a "{_in_fish(words)}"' if words else " -r -F"


def _in_fish(words: str) -> str:
    """Return words for fish, which writes `(command)` for `$(command)`."""
    return words.removeprefix("$")


def _fish_line(command: str, what: str, about: str) -> str:
    text = about.replace("'", "").replace("{stores}", forms())
    description = f" -d '{text}'" if text else ""
    return f"complete -c runjail -n '__runjail_command {command}' {what}{description}"
