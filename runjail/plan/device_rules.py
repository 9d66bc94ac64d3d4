"""linux.resources.devices as one policy: what is allowed, and what holds for everything else.

The rules apply in listed order (runtime-spec, config-linux), and a policy has the form that control groups v1 have: a
default and exceptions from it, but no exceptions from these. A rule that would need one is an error, as in runc.
"""

from __future__ import annotations

from runjail.spec.model import DeviceRule
from runjail.steps import DevicePolicy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Key = tuple[str, int, int]  # type c or b, major, minor

ANY = -1
EVERYTHING = "rwm"
KINDS = ("c", "b")
# What runc lets every container do: make any device file, and open those that it has, the multiplexer of terminals,
# terminals, and /dev/net/tun, which is of no use without privileges
USUAL = (
    ("c", ANY, ANY, "m"), ("b", ANY, ANY, "m"),
    ("c", 1, 3, EVERYTHING), ("c", 1, 5, EVERYTHING), ("c", 1, 7, EVERYTHING), ("c", 1, 8, EVERYTHING),
    ("c", 1, 9, EVERYTHING), ("c", 5, 0, EVERYTHING), ("c", 5, 2, EVERYTHING), ("c", 136, ANY, EVERYTHING),
    ("c", 10, 200, EVERYTHING),
)  # fmt: skip


def policy(
    rules: Sequence[DeviceRule], nodes: Sequence[tuple[str, str, int, int, int, int, int]], problems: list[str]
) -> DevicePolicy:
    """Return the policy that rules amount to; what cannot be done is added to problems with its JSON path.

    nodes: what the container's /dev is made with, as steps.Nodes has it. Where no rule is given, all of it may be used;
    with rules they decide about what linux.devices adds.
    """
    table = _Table()
    for i, rule in enumerate(rules):
        try:
            table.take(rule)
        except ValueError as error:
            problems.append(f"linux.resources.devices[{i}]: {error}")
    own = tuple(("b" if kind == "b" else "c", major, minor) for _, kind, major, minor, *_ in nodes if kind != "p")
    if not table.allow:  # where everything is allowed, a rule that forbids one of these stands
        for kind, major, minor, access in USUAL:
            table.add((kind, major, minor), access)
        for key in own if not rules else ():
            table.add(key, EVERYTHING)
    contained = all(table.allows(key, "rw") for key in own) and not (table.allow and table.exceptions)
    listed = ((*key, _ordered(access)) for key, access in sorted(table.exceptions.items()))
    return DevicePolicy(table.allow, tuple(listed), contained)


class _Table:
    """A default and the exceptions from it, while rules are applied."""

    def __init__(self) -> None:
        self.allow = False
        self.exceptions: dict[Key, frozenset[str]] = {}

    def take(self, rule: DeviceRule) -> None:
        """Apply one rule. Raises ValueError when it would be an exception from an exception."""
        everything = (rule.type, rule.major, rule.minor) == ("a", ANY, ANY) and set(rule.access) == set(EVERYTHING)
        if everything:
            self.allow = rule.allow
            self.exceptions.clear()
            return
        for kind in KINDS if rule.type == "a" else (rule.type,):
            change = self._remove if rule.allow == self.allow else self.add
            change((kind, rule.major, rule.minor), rule.access)

    def add(self, key: Key, access: str) -> None:
        """Make an exception."""
        self.exceptions[key] = self.exceptions.get(key, frozenset()) | frozenset(access)

    def _remove(self, key: Key, access: str) -> None:
        for other, held in list(self.exceptions.items()):
            if not held.intersection(access):
                continue
            if _covers(key, other):
                self.exceptions[other] = held.difference(access)
                if not self.exceptions[other]:
                    del self.exceptions[other]
            elif _meets(other, key):
                verb = "forbids" if self.allow else "allows"
                raise ValueError(f"cannot be an exception from what {verb} {words(*other, _ordered(held))}")

    def allows(self, key: Key, access: str) -> bool:
        """Tell whether a device may be opened; in one rule alone, as control groups v1 look at it."""
        found = [held for other, held in self.exceptions.items() if _covers(other, key)]
        if self.allow:
            return not any(held.intersection(access) for held in found)
        return any(held.issuperset(access) for held in found)


def _covers(key: Key, other: Key) -> bool:
    return key[0] == other[0] and key[1] in (ANY, other[1]) and key[2] in (ANY, other[2])


def _meets(key: Key, other: Key) -> bool:
    """Tell whether some device is meant by both, as `c 1:*` and `c *:3` mean 1:3."""
    same = all(a == b or ANY in (a, b) for a, b in zip(key[1:], other[1:], strict=True))
    return key[0] == other[0] and same


def _ordered(access: frozenset[str]) -> str:
    return "".join(letter for letter in EVERYTHING if letter in access)


def words(kind: str, major: int, minor: int, access: str) -> str:
    """Return an exception as control groups v1 write it: `c 136:* rwm`."""
    return f"{kind} {'*' if major == ANY else major}:{'*' if minor == ANY else minor} {access}"
