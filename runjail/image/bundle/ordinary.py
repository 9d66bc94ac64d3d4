"""What config.json of an image says for an ordinary user, who is root of a user namespace only."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Ranges = Sequence[tuple[int, int, int]]

TERMINALS = 5  # the group of terminals
# Only who has the network namespace can mount sysfs: of the host's it is a bind mount, as `runc spec --rootless` has it
SYS = {"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]}


def adapt(document: dict[str, Any], uids: Ranges, gids: Ranges) -> None:
    """Change the document of an image for Linux, and none of another system's.

    uids, gids: of the user namespace, (inside, outside, how many) each. With one group there are no others to be in;
    control groups are not the user's.
    """
    linux = document.get("linux")
    if not linux:
        return
    kinds = {namespace["type"] for namespace in linux["namespaces"]}
    linux["namespaces"].append({"type": "user"})
    for name, ranges in (("uidMappings", uids), ("gidMappings", gids)):
        linux[name] = [dict(zip(("containerID", "hostID", "size"), one, strict=True)) for one in ranges]
    document["mounts"] = [
        _mount(mount, gids, own_network="network" in kinds) for mount in document["mounts"] if mount["type"] != "cgroup"
    ]
    if sum(size for _, _, size in gids) == 1:
        document["process"]["user"]["additionalGids"] = []


def _mount(mount: dict[str, Any], gids: Ranges, *, own_network: bool) -> dict[str, Any]:
    if mount["type"] == "sysfs" and not own_network:
        return SYS
    if mount["type"] == "devpts" and not any(first <= TERMINALS < first + size for first, _, size in gids):
        return mount | {"options": [word for word in mount["options"] if word != f"gid={TERMINALS}"]}
    return mount
