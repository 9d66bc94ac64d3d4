"""linux.resources as plugins are told it: config.json's, with what has changed since laid over it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RATES = {
    "rbps": "throttleReadBpsDevice",
    "wbps": "throttleWriteBpsDevice",
    "riops": "throttleReadIOPSDevice",
    "wiops": "throttleWriteIOPSDevice",
}
WEIGHTS = {"weight": "weight", "leaf_weight": "leafWeight"}


def lay_over(resources: dict[str, Any], name: str, items: list[Any]) -> None:
    """Merge entries of a list field of spec.model.Resources, as JSON data, into `resources`: it is changed."""
    if name == "hugepages":
        pages = [{"pageSize": size, "limit": limit} for size, limit in items]
        resources["hugepageLimits"] = _with(resources.get("hugepageLimits"), pages, "pageSize")
    elif name == "priorities":
        network = resources.get("network") or {}
        entries = [{"name": item[0], "priority": item[1]} for item in items]
        resources["network"] = {**network, "priorities": _with(network.get("priorities"), entries, "name")}
    elif name == "rdma":
        limits = {item[0]: _known({"hcaHandles": item[1], "hcaObjects": item[2]}) for item in items}
        resources["rdma"] = {**(resources.get("rdma") or {}), **limits}
    elif name == "unified":
        resources["unified"] = {**(resources.get("unified") or {}), **dict(items)}
    elif name == "block":
        resources["blockIO"] = _block({**(resources.get("blockIO") or {})}, items)


def _block(block: dict[str, Any], items: list[dict[str, Any]]) -> dict[str, Any]:
    for item in items:
        key, value = WEIGHTS.get(item["kind"], "rate"), item["value"]
        if not item["device"]:
            block[key] = value
            continue
        listed = RATES.get(item["kind"], "weightDevice")
        major, _, minor = item["device"].partition(":")
        numbers = {"major": int(major), "minor": int(minor)}
        before = [{}, *(old for old in block.get(listed) or () if numbers.items() <= old.items())][-1]
        block[listed] = _with(block.get(listed), [{**before, **numbers, key: value}], *numbers)
    return block


def _with(before: list[dict[str, Any]] | None, items: list[dict[str, Any]], *keys: str) -> list[dict[str, Any]]:
    """Return a list of objects with others in the place of those that are about the same."""
    named = {tuple(item.get(key) for key in keys): item for item in (*(before or ()), *items)}
    return list(named.values())


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
