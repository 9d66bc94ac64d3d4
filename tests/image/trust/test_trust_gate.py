"""What was fetched is asked for what policy.json wants when it comes, and again whenever it is used."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runjail.cli.args import GLOBALS, Args
from runjail.cli.args import parse as parse_options
from runjail.cli.context import Context
from runjail.cli.image.options import POLICY
from runjail.cli.image.session import ImageSession
from runjail.errors import Corrupt, ImageError, NotTrusted
from runjail.image import resolve
from runjail.image.content import copy
from runjail.image.content.copy import copy_in
from runjail.image.content.oci_layout import LayoutSource
from runjail.image.content.store import ContentStore
from runjail.image.model import Platform
from runjail.image.reference import parse
from runjail.image.resolve import Image
from runjail.image.trust import policy as policies
from runjail.image.trust import records
from runjail.image.trust.gate import Gate
from runjail.image.trust.origin import Origin
from runjail.image.trust.records import Arrival, Arrivals, Signature
from tests.support.image.images import LINUX, Layout

ACCEPT, REJECT = [{"type": "insecureAcceptAnything"}], [{"type": "reject"}]
NAME = "r.test/web:1"


def gate(content: ContentStore, default: Any = REJECT, **scopes: Any) -> Gate:
    """Return a gate with a policy. scopes: of the transport docker."""
    document = {"default": default, "transports": {"docker": scopes}}
    return Gate(policies.parse(json.dumps(document).encode(), "/p.json"), content)


def fetch(layout: Layout, content: ContentStore, by: Gate, name: str = NAME) -> Image:
    """Bring the image of a layout in as if it came from a registry under this name."""
    source = LayoutSource(str(layout.path), "web")
    top = copy_in(source, content, name, platforms=[LINUX], admit=lambda found: by.admit(parse(name), found, source))
    return resolve.load(content.read, name, top, [LINUX])


def test_an_image_that_is_refused_is_not_fetched(layout: Layout, content: ContentStore) -> None:
    layout.image("web")

    with pytest.raises(NotTrusted) as caught:
        fetch(layout, content, gate(content, **{"r.test": REJECT}))

    expected = 'image is not trusted: docker://r.test/web:1: /p.json: transports.docker["r.test"][0]: reject'
    assert str(caught.value) == expected
    assert content.digests() == []
    assert content.names() == {}


def test_each_image_of_an_index_is_asked_for(layout: Layout, content: ContentStore) -> None:
    """All that is copied: none is left for a later run to find out about."""
    layout.index("web", [layout.image(None), layout.image(None, platform=Platform("freebsd", "amd64"))])
    asked = []

    def admit(manifests: Any) -> Any:
        asked.extend(manifests)
        return lambda: None

    copy_in(LayoutSource(str(layout.path), "web"), content, NAME, admit=admit)

    assert len(asked) == 2


def test_a_policy_that_changed_counts_at_the_next_run(layout: Layout, content: ContentStore) -> None:
    layout.image("web")
    image = fetch(layout, content, Gate(None, content))

    gate(content, ACCEPT).require(image)
    gate(content, REJECT, **{"r.test": ACCEPT}).require(image)
    with pytest.raises(NotTrusted):
        gate(content, REJECT).require(image)


def test_another_name_is_no_way_around(layout: Layout, content: ContentStore) -> None:
    """Where a manifest came from counts, not what it is called now."""
    layout.image("web")
    image = fetch(layout, content, Gate(None, content)).replace(name="good.test/web:1")

    with pytest.raises(NotTrusted, match=r"docker://r\.test/web:1"):
        gate(content, REJECT, **{"good.test": ACCEPT}).require(image)


def test_one_place_of_several_will_do(layout: Layout, content: ContentStore) -> None:
    """The same bytes could be fetched from there."""
    layout.image("web")
    fetch(layout, content, Gate(None, content), "good.test/web:1")
    image = fetch(layout, content, Gate(None, content))

    gate(content, REJECT, **{"good.test": ACCEPT}).require(image)
    with pytest.raises(NotTrusted, match=r"r\.test/web"):
        gate(content, REJECT).require(image)


def test_an_image_of_which_nothing_is_known(layout: Layout, content: ContentStore) -> None:
    """It came before anything was written down: its name counts, and the error says what to do."""
    layout.image("web")
    image = fetch(layout, content, Gate(None, content))
    Path(content.arrivals_path(image.descriptor.digest)).unlink()

    gate(content, REJECT, **{"r.test": ACCEPT}).require(image)
    with pytest.raises(NotTrusted) as caught:
        gate(content, REJECT).require(image)
    assert caught.value.hint == "the store does not know where it came from: pull it again"


def test_what_was_made_here_is_taken(layout: Layout, content: ContentStore) -> None:
    layout.image("web")
    image = fetch(layout, content, Gate(None, content))
    by = gate(content, REJECT)

    by.made(image.descriptor.digest)

    by.require(image)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"arrivals": [{}]}', '{"arrivals": [{"transport": "here"', "\0"])
def test_a_damaged_record_refuses(text: str, layout: Layout, content: ContentStore) -> None:
    """And the next pull writes it anew."""
    layout.image("web")
    image = fetch(layout, content, Gate(None, content))
    path = Path(content.arrivals_path(image.descriptor.digest))
    path.write_text(text, encoding="utf-8")
    by = gate(content, REJECT, **{"r.test": ACCEPT})

    with pytest.raises(Corrupt, match="does not say where"):
        by.require(image)

    by.require(fetch(layout, content, by))


def test_a_record_that_is_no_file_refuses(layout: Layout, content: ContentStore) -> None:
    layout.image("web")
    image = fetch(layout, content, Gate(None, content))
    path = Path(content.arrivals_path(image.descriptor.digest))
    path.unlink()
    path.mkdir()

    with pytest.raises(ImageError, match="not a regular file"):
        gate(content, REJECT, **{"r.test": ACCEPT}).require(image)


def test_what_is_written_down_is_read_again(content: ContentStore) -> None:
    """The newest place first, each once; of one place only what came last."""
    arrivals, digest = Arrivals(content), content.add(b"{}").digest
    first = Arrival(Origin("docker", "r.test/web:1"), (Signature("kind", "cGF5", {"a": "b"}),))
    second = Arrival(Origin("oci", "/srv/weird \\udcff"))

    for arrival in (first, second, first.replace(signatures=()), first):
        arrivals.note(digest, arrival)

    assert arrivals.of(digest) == [first, second]


def test_no_record_is_longer_than_what_is_read(content: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest places are forgotten: an image with such a record could neither run nor be fetched again."""
    arrivals, digest = Arrivals(content), content.add(b"{}").digest
    monkeypatch.setattr(records, "LARGEST", 1000)
    places = [Arrival(Origin("docker", f"r.test/web:{number}"), (Signature("k", "A" * 300),)) for number in range(4)]

    for arrival in places:
        arrivals.note(digest, arrival)

    assert arrivals.of(digest) == [places[3], places[2]]


def test_records_go_with_their_manifest(layout: Layout, content: ContentStore) -> None:
    layout.image("web")
    image = fetch(layout, content, Gate(None, content))
    path = Path(content.arrivals_path(image.descriptor.digest))
    assert path.exists()

    content.untag(NAME)
    content.garbage_collect()

    assert list(path.parent.iterdir()) == []


def test_a_link_that_is_turned_meanwhile(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the policy is asked about is what is read, whatever another user does to the way there."""
    layout.image("web")
    good, link = tmp_path / "good", tmp_path / "link"
    good.mkdir()
    link.symlink_to(layout.path)
    rules = {"default": REJECT, "transports": {"oci": {str(good): ACCEPT}}}
    (tmp_path / "policy.json").write_text(json.dumps(rules), encoding="utf-8")
    monkeypatch.setenv("RUNJAIL_STORE", f"dir:{tmp_path}/store")
    given = Args((*GLOBALS, POLICY))
    parse_options(["--signature-policy", f"{tmp_path}/policy.json"], given)
    session = ImageSession(given, Context(Args(GLOBALS)))
    copy_in_place = copy.copy_in

    def turned(*words: Any, admit: Any, **more: Any) -> Any:
        def ask(manifests: Any) -> Any:
            link.unlink()
            link.symlink_to(good)
            return admit(manifests)

        return copy_in_place(*words, admit=ask, **more)

    monkeypatch.setattr(copy, "copy_in", turned)

    with pytest.raises(NotTrusted, match=f"oci:{layout.path}"):
        session.fetch(parse(f"oci:{link}:web"), "")


def test_a_session_knows_whose_signatures_it_looks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who runs the verb counts, and not who this process has become in a user namespace."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUNJAIL_STORE", f"dir:{tmp_path}/store")
    for user, ordinary in ((0, False), (1000, os.uname().sysname == "Linux")):
        with monkeypatch.context() as patch:
            patch.setattr(os, "geteuid", lambda user=user: user)
            context = Context(Args(GLOBALS))

        assert ImageSession(Args(GLOBALS), context).gate.ordinary == ordinary
