"""Whether an image meets what policy.json asks of those from its place.

Every requirement of the scope has to be met. What is not understood, and what cannot be checked, refuses.
"""

from __future__ import annotations

from runjail.errors import NotTrusted
from runjail.image.trust import policy as policies
from runjail.image.trust.policy import Policy, Requirement
from runjail.image.trust.records import Arrival

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def require(policy: Policy, digest: str, arrivals: Sequence[Arrival]) -> None:
    """Refuse a manifest that may come from none of the places that it came from. Raises NotTrusted, for the first.

    arrivals: one at least. What was made on this machine is no image that somebody sent, and is taken.
    """
    refused: NotTrusted | None = None
    for arrival in arrivals:
        try:
            if not arrival.origin.made:
                _require_all(policy, digest, arrival)
        except NotTrusted as error:
            refused = refused or error
        else:
            return
    if refused:
        raise refused


def _require_all(policy: Policy, digest: str, arrival: Arrival) -> None:
    for requirement in policy.requirements(arrival.origin):
        problem, hint = _problem(requirement, digest, arrival)
        if problem:
            raise NotTrusted(str(arrival.origin), policy.path, f"{requirement.place}: {problem}", hint)


def _problem(requirement: Requirement, digest: str, arrival: Arrival) -> tuple[str, str | None]:
    """Return why a requirement is not met, "" when it is, and what to do about it."""
    if requirement.kind == policies.ACCEPT:
        return "", None
    if requirement.kind == policies.REJECT:
        return "reject", None
    return f"{requirement.kind} is not supported", None
