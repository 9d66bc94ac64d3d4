"""A jail's name is the container's id wherever the kernel allows it, and can always be read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail.errors import UsageError
from runjail.plan.jail_name import container_id, jail_name, other_name

IDS = st.text("abcXYZ0123456789_+.-", min_size=1, max_size=80)


@pytest.mark.parametrize("same", ["web", "a-b_c", "4f3c" * 16, "12ab", "1e5", "-x", "+"])
def test_ids_that_can_be_names_are_names(same: str) -> None:
    assert jail_name(same) == same


@pytest.mark.parametrize(
    ("id", "name"), [("a.b", "a%2Eb"), ("1234", "%31234"), ("0", "%30"), ("...", "%2E%2E%2E"), ("1.2", "1%2E2")]
)
def test_dots_and_bare_digits_are_written_as_in_a_url(id: str, name: str) -> None:
    assert jail_name(id) == name


@given(IDS)
def test_the_id_can_be_read_back(id: str) -> None:
    assert container_id(jail_name(id)) == id
    assert container_id(jail_name(id, "some.pod")) == id


@given(IDS)
def test_a_name_is_never_a_number_nor_a_path_of_jails(id: str) -> None:
    assert not jail_name(id).isdecimal()
    assert "." not in jail_name(id)


@given(IDS, IDS)
def test_two_ids_never_share_a_name(one: str, other: str) -> None:
    assert (jail_name(one) == jail_name(other)) == (one == other)


@given(st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()))
def test_whatever_the_id_the_name_is_plain(id: str) -> None:
    assert container_id(jail_name(id)) == id
    assert jail_name(id).isascii() and "/" not in jail_name(id) and ":" not in jail_name(id)


@given(IDS)
def test_the_other_name_belongs_to_a_root(id: str) -> None:
    """One for each id and root, and the way back is the same."""
    name = jail_name(id)
    other = other_name(name, f"/var/run/runjail/{id}")
    assert other == "" or container_id(other) == id
    assert other == "" or other != other_name(name, f"/run/containerd/runjail/k8s.io/{id}")
    assert other == other_name(name, "/var/run/runjail/another")


def test_a_name_that_cannot_be_longer_has_no_other() -> None:
    assert other_name("x" * 246, "/r/x") != ""
    assert other_name("x" * 247, "/r/x") == ""


def test_a_child_is_named_below_its_parent() -> None:
    assert jail_name("a.b", "pod") == "pod.a%2Eb"


@pytest.mark.parametrize(("id", "parent"), [("x" * 256, None), ("." * 90, None), ("x" * 252, "pod"), ("", None)])
def test_what_the_kernel_would_find_too_long_is_refused_here(id: str, parent: str | None) -> None:
    with pytest.raises(UsageError, match="the kernel takes 1 to 255"):
        jail_name(id, parent)


def test_255_bytes_fit() -> None:
    assert len(jail_name("x" * 251, "pod")) == 255
