"""What starts and ends a shim's containers."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runjail.container.container import Runtime
    from runjail.host.base import Host, ShimHost


class Engine:
    """What starts and ends containers.

    store: opens the state directory of a root; exposed: why containers can write to our interpreter, "" when not.
    """

    def __init__(
        self,
        host: Host,
        shim_host: ShimHost,
        store: Callable[[str], Runtime],
        share: Callable[[], str],
        exposed: str = "",
    ) -> None:
        self.host, self.shim_host, self.store, self.share, self.exposed = host, shim_host, store, share, exposed
