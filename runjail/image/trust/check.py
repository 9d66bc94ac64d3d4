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
        if problem := _problem(requirement, digest, arrival):
            raise NotTrusted(str(arrival.origin), policy.path, f"{requirement.place}: {problem}")


def _problem(requirement: Requirement, digest: str, arrival: Arrival) -> str:
    """Return why a requirement is not met, "" when it is."""
    if requirement.kind == policies.ACCEPT:
        return ""
    if requirement.kind == policies.REJECT:
        return requirement.kind
    if requirement.kind == policies.SIGSTORE:
        from runjail.image.trust import sigstore  # only what is to be signed pays for it

        problem = sigstore.problem(requirement, digest, arrival.origin, arrival.signatures)
        return problem and f"{requirement.kind}: {problem}"
    if requirement.kind == policies.GPG:
        from runjail.image.trust import gpg

        problem = gpg.problem(requirement, digest, arrival.origin, arrival.signatures)
        return problem and f"{requirement.kind}: {problem}"
    return f"{requirement.kind} is not supported"
