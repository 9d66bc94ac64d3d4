"""devfs rulesets: which device nodes a mounted devfs shows. devfs(8) for the words.

A ruleset that is not loaded is an empty one, and an empty one hides nothing: /dev/mem and the disks included. So no
ruleset is mounted before it was seen to have rules, and none is changed after.
"""

from __future__ import annotations

import os

from runjail.errors import HostError, reason
from runjail.host import programs
from runjail.host.freebsd.lock import MachineLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.base import Note
    from runjail.host.freebsd.change import Change
    from runjail.steps import Mount

DEVFS = "/sbin/devfs"
FIRST, LAST = 1000, 65535  # ours: those below are for devfs.rules(5)
LOAD_HINT = "load the rulesets with: service devfs restart"


def choose_ruleset(change: Change, step: Mount) -> int:
    """Return the number of a ruleset that has rules, or 0 for one that shows every device, as the step wants it.

    With rules of its own a step gets a private ruleset, which is noted; without, devfs(8) is not needed. Raises
    HostError.
    """
    base = step.ruleset or 0
    if step.rules:
        return _make_private(change, [*(_rules(base) if base else []), *step.rules])
    try:
        if base and not change.libc.has_device_rules(base):
            raise _not_loaded(base)
    except OSError as error:
        raise HostError(f"read devfs ruleset {base}: {reason(error)}") from error
    return base


def _shown(number: int) -> list[str]:
    """Return the rules of a ruleset without their numbers."""
    shown = programs.check([DEVFS, "rule", "-s", str(number), "show"]).stdout.decode("utf-8", "replace")
    return [line.strip().partition(" ")[2] for line in shown.splitlines() if line.strip()]


def _rules(number: int) -> list[str]:
    """Return the rules of a ruleset as _shown does. Raises HostError when there are none."""
    rules = _shown(number)
    if not rules:
        raise _not_loaded(number)
    return rules


def _not_loaded(number: int) -> HostError:
    return HostError(f"devfs ruleset {number} is not loaded: it would show every device of the host", LOAD_HINT)


def _make_private(change: Change, rules: list[str]) -> int:
    """Fill a free ruleset with rules, those of the base first.

    Before them all comes one that matches nothing and tells the ruleset from one that gets the same number later.
    They are copied, for `include BASE` would lose whatever BASE includes itself: the kernel follows includes one deep
    (vfs.devfs.rule_depth), and the hiding is done by a ruleset that devfsrules_jail includes.
    """
    with MachineLock("devfs"):
        taken = programs.check([DEVFS, "rule", "showsets"]).stdout.split()
        number = next((n for n in range(FIRST, LAST + 1) if b"%d" % n not in taken), 0)
        if not number:
            raise HostError(f"make a devfs ruleset: all numbers from {FIRST} to {LAST} are taken")
        mark = f"path runjail-{os.urandom(8).hex()} hide"
        change.note({"undo": "ruleset", "number": number, "mark": mark, "boot": change.boot_id})
        rules = [mark, *rules]
        text = "".join(f"{rule}\n" for rule in rules)
        programs.check([DEVFS, "rule", "-s", str(number), "add", "-"], input=text.encode())
        if len(_rules(number)) != len(rules):
            raise HostError(f"make a devfs ruleset: number {number} does not have the rules it was given")
    return number


def remove_ruleset(_change: Change, note: Note) -> None:
    """Empty a private ruleset, which makes its number free again. Mounts that used it keep showing what they show.

    One without our mark was made by somebody else, who found the number free.
    """
    number = note["number"]
    if b"%d" % number not in programs.check([DEVFS, "rule", "showsets"]).stdout.split():
        return
    if "mark" not in note or note["mark"] in _shown(number):
        programs.check([DEVFS, "rule", "-s", str(number), "delset"])
