"""What a user namespace of the container means for the rest of its plan: ids that are none in it."""

from __future__ import annotations

from runjail.plan.linux_mounts import TERMINALS
from runjail.sizes import read_number
from runjail.spec.id_mappings import IDS, translate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runjail import steps
    from runjail.spec import model


def require_user(process: model.Process | None, mappings: model.IdMappings, problems: list[str]) -> None:
    """See that the ids of the program exist in the user namespace."""
    if not process:
        return
    user = process.user
    numbers = [("uid", user.uid, "uid"), ("gid", user.gid, "gid")]
    numbers += [(f"additionalGids[{i}]", number, "gid") for i, number in enumerate(user.additional_gids)]
    for place, number, kind in numbers:
        if translate(mappings.uids if kind == "uid" else mappings.gids, number) is None:
            problems.append(f"process.user.{place}: {number} is not mapped by linux.{kind}Mappings")


def fit(
    mounted: tuple[steps.Mount, ...], mounts: Sequence[model.Mount], mappings: model.IdMappings, problems: list[str]
) -> tuple[steps.Mount, ...]:
    """Return the mounts as the namespace can have them; the group of terminals, 5, may be none in it.

    The kernel says no more than "invalid argument" to a file system that is to belong to nobody.
    """
    for i, mount in enumerate(mounts):
        for j, option in enumerate(mount.options):
            kind, _, text = option.partition("=")
            ranges = {"uid": mappings.uids, "gid": mappings.gids}.get(kind)
            number = read_number(text, IDS) if ranges else None
            if ranges and number is not None and translate(ranges, number) is None:
                problems.append(f"mounts[{i}].options[{j}]: {number} is not mapped by linux.{kind}Mappings")
    if translate(mappings.gids, 5) is not None:
        return mounted
    data = tuple(item for item in TERMINALS.data if item[0] != "gid")
    return tuple(TERMINALS.replace(data=data) if step == TERMINALS else step for step in mounted)
