"""config.json of an image for an ordinary user."""

import pytest

from runjail.image.bundle import default_mounts, ordinary

ONE = ((0, 4242, 1),)
LENT = (*ONE, (1, 100000, 65536))


def document(network: str) -> "dict[str, object]":
    mounts = [dict(mount) for mount in default_mounts.mounts("linux", "linux")]
    user = {"uid": 0, "gid": 0, "additionalGids": [0, 5]}
    return {"process": {"user": user}, "mounts": mounts, "linux": default_mounts.linux(network)}


@pytest.mark.parametrize(("network", "sys"), [("host", "none"), ("none", "sysfs")])
@pytest.mark.parametrize(("ranges", "groups"), [(ONE, []), (LENT, [0, 5])])
def test_what_an_ordinary_user_cannot_have(
    network: str, sys: str, ranges: "tuple[tuple[int, int, int], ...]", groups: list[int]
) -> None:
    """The host's network has a /sys that only a bind mount shows; the group of terminals may be no id."""
    made = document(network)
    ordinary.adapt(made, ranges, ranges)
    mounts = {mount["destination"]: mount for mount in made["mounts"]}  # type: ignore[attr-defined]

    assert {"type": "user"} in made["linux"]["namespaces"]  # type: ignore[index]
    assert made["linux"]["uidMappings"][0] == {"containerID": 0, "hostID": 4242, "size": 1}  # type: ignore[index]
    assert mounts["/sys"]["type"] == sys
    assert "/sys/fs/cgroup" not in mounts
    assert ("gid=5" in mounts["/dev/pts"]["options"]) is (ranges is LENT)
    assert made["process"]["user"]["additionalGids"] == groups  # type: ignore[index]
    assert default_mounts.mounts("linux", "linux")[5]["type"] == "sysfs", "the table stays as it is"
