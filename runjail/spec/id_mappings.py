"""uidMappings and gidMappings: which ids of a user namespace, or of a mount, are whose on the host."""

from __future__ import annotations

from runjail.spec.model import IdMappings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.spec.model import IdRange
    from runjail.spec.reader import Reader

IDS = 2**32 - 1  # 2**32 - 1 itself is no id (user_namespaces(7))
RANGES = 340  # lines that /proc/PID/uid_map takes


def read_mappings(section: Reader, *, root: bool) -> IdMappings:
    """Read both lists, neither of which may be empty. root: id 0 has to be among them, whose the new files are."""
    return IdMappings(_read_list(section, "uidMappings", root), _read_list(section, "gidMappings", root))


def _read_list(section: Reader, key: str, root: bool) -> tuple[IdRange, ...]:
    ranges: list[IdRange] = []
    for item in section.sections(key):
        container, host, size = (item.number(name) or 0 for name in ("containerID", "hostID", "size"))
        if size == 0 and item.has("size"):
            item.refuse("must be at least 1", "size")
        elif max(container, host) + size > IDS:
            item.refuse(f"leads beyond the last id, {IDS - 1}", "size")
        elif any(_overlap(container, size, first, count) for first, _, count in ranges):
            item.refuse("repeats ids of an entry before it", "containerID")
        elif any(_overlap(host, size, first, count) for _, first, count in ranges):
            item.refuse("repeats ids of an entry before it", "hostID")
        ranges.append((container, host, size))
    if not section.report.clean(*section.path, key):
        return tuple(ranges)
    if not ranges:
        section.refuse("is required: a user namespace takes both" if root else "is required beside the other", key)
    elif len(ranges) > RANGES:
        section.refuse(f"must hold at most {RANGES} entries, not {len(ranges)}", key)
    elif root and translate(tuple(ranges), 0) is None:
        section.refuse("must map id 0, whose the container's new files are", key)
    return tuple(ranges)


def _overlap(first: int, count: int, other: int, others: int) -> bool:
    return first < other + others and other < first + count


def translate(ranges: tuple[IdRange, ...], number: int) -> int | None:
    """Return which id of the host an id of the container is, None when it is none."""
    return next((host + number - first for first, host, count in ranges if first <= number < first + count), None)
