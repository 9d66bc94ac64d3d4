"""`run -b -v`: what is added to the mounts of a bundle, and what cannot be."""

import pytest

from tests.support.container.harness import Life


@pytest.mark.parametrize("options", [(), ("-v", "/tmp:/mnt")])
@pytest.mark.parametrize("mounts", [5, "x", {"type": "volume"}])
def test_mounts_that_are_no_list_are_told_by_their_path(life: Life, mounts: object, options: tuple[str, ...]) -> None:
    life.bundle.config["mounts"] = mounts

    said = life.runjail("run", "-b", life.bundle.write("/bin/true"), *options, "c")

    assert (said.returncode, "invalid config.json: mounts: must be a list, not " in said.stderr) == (1, True), said
    life.gone()


def test_a_volume_by_name_needs_a_store(life: Life) -> None:
    said = life.runjail("run", "-b", life.bundle.write("/bin/true"), "-v", "data:/mnt", "c")

    assert said.returncode == 1
    assert said.stderr == ("runjail: --volume data: a volume by name needs --image\nhint: ./data is a directory here\n")
    life.gone()
