"""GC: have plugins give back what they keep for containers that are gone.

CNI specification 1.1, section 2. They are told which attachments there are. Everything else of the network is nobody's
by that: who has containers on it that are not named loses their addresses.
"""

from __future__ import annotations

from runjail.errors import NetworkError
from runjail.network import plugins

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runjail.network.attachment import Attachment
    from runjail.network.lists import NetworkList

SINCE = "1.1.0"
VALID = "cni.dev/valid-attachments"


def collect(listed: NetworkList, valid: Iterable[Attachment], directories: Sequence[str], timeout: float) -> list[str]:
    """Call every plugin of a network. Returns what went wrong: each gets its turn.

    valid: the attachments to it that there are. Raises NetworkError for a list whose plugins cannot be asked.
    """
    if listed.version != SINCE:
        why = f"network {listed.name}: its list has version {listed.version}, and GC came with {SINCE}"
        raise NetworkError(why, "delete gives back what it knows of; the plugin's own files have the rest")
    if listed.document.get("disableGC") in (True, "true"):
        raise NetworkError(f"network {listed.name}: its list has disableGC")
    there = [{"containerID": each.id, "ifname": each.interface} for each in valid]
    failures = []
    for configuration in listed.plugins:
        request = {key: value for key, value in configuration.items() if key not in ("capabilities", "prevResult")}
        request |= {"cniVersion": listed.version, "name": listed.name, VALID: there}
        try:
            plugins.call("GC", configuration["type"], request, {}, directories, timeout)
        except NetworkError as error:
            failures.append(f"network {listed.name}: {error}")
    return failures
