"""Where images are asked for what policy.json wants: as they come, and each time before one is used."""

from __future__ import annotations

import os

from runjail.errors import NotTrusted
from runjail.image.content.store import ContentStore
from runjail.image.trust import check
from runjail.image.trust import policy as policies
from runjail.image.trust.origin import DOCKER, MADE, Origin, origin_of
from runjail.image.trust.policy import Policy
from runjail.image.trust.records import Arrival, Arrivals
from runjail.target import this_system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runjail.image.model import Descriptor
    from runjail.image.reference import Reference
    from runjail.image.resolve import Image
    from runjail.image.transport import Source
    from runjail.image.trust.records import Signature


class Gate:
    """What one policy says of the images of one store. policy: None where nobody has written one: all are taken.

    ordinary: as for lookaside.fetch.
    """

    def __init__(self, policy: Policy | None, content: ContentStore, *, ordinary: bool = False) -> None:
        self.policy, self.ordinary = policy, ordinary
        self.arrivals = Arrivals(content)

    def admit(self, reference: Reference, manifests: Sequence[Descriptor], source: Source) -> Callable[[], None]:
        """Refuse an image that is about to be fetched, or return what writes down where it came from, once it is there.

        reference: `resolved`, as it was opened. manifests: all that will be copied, of which each may run.
        source: where signatures are that a rule asks for.
        Raises NotTrusted, RegistryError, Corrupt.
        """
        origin = origin_of(reference)
        wanted = self.policy.wanted(origin) if self.policy else set()
        arrivals = {each.digest: Arrival(origin, self._signatures(wanted, origin, source, each)) for each in manifests}
        if self.policy:
            for digest, arrival in arrivals.items():
                check.require(self.policy, digest, [arrival])

        def note() -> None:
            for digest, arrival in arrivals.items():
                self.arrivals.note(digest, arrival)

        return note

    def require(self, image: Image) -> None:
        """Refuse an image of the store that is about to be used. Raises NotTrusted.

        Of one that came before it was written down where from, its name says that.
        """
        if not self.policy or self.policy.accepts_all:
            return
        digest = image.descriptor.digest
        found = self.arrivals.of(digest)
        try:
            check.require(self.policy, digest, found or [Arrival(Origin(DOCKER, image.name))])
        except NotTrusted as error:
            error.hint = self._hint(found)
            raise

    def _hint(self, found: Sequence[Arrival]) -> str | None:
        """Return what to do about an image of the store that is refused."""
        if not found:
            return "the store does not know where it came from: pull it again"
        unsigned = self.policy and not found[0].signatures and self.policy.wanted(found[0].origin)
        return "signatures are fetched by image pull where a rule asks for them: pull it again" if unsigned else None

    def made(self, digest: str) -> None:
        """Write down that a manifest was made on this machine."""
        self.arrivals.note(digest, Arrival(MADE))

    def _signatures(
        self, wanted: set[str], origin: Origin, source: Source, manifest: Descriptor
    ) -> tuple[Signature, ...]:
        """Return what came beside a manifest that these kinds of requirements are about."""
        found: tuple[Signature, ...] = ()
        if policies.SIGSTORE in wanted:
            from runjail.image.trust import attachments  # only what has to be signed pays for it

            found = attachments.fetch(source, manifest.digest)
        if policies.GPG in wanted and origin.transport == DOCKER:
            from runjail.image.trust import lookaside

            places = lookaside.places(os.environ.get("HOME", ""), this_system().policies)
            found += lookaside.fetch(origin, manifest.digest, places, ordinary=self.ordinary)
        return found
