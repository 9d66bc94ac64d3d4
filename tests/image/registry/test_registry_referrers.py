"""Pushing what refers to a manifest, to a registry that keeps no list of that itself."""

import json

import pytest

from runjail.errors import Corrupt
from runjail.image import media_types, model
from runjail.image.model import Descriptor
from tests.support.image.registry_server import Fake, described

pytest.importorskip("urllib3", reason="needs urllib3")
from tests.support.image.registry_client import Client

pytestmark = pytest.mark.needs("loopback")

BLOB = described(b"config")


def referring(number: int, refers_to: str, **more: object) -> tuple[Descriptor, bytes]:
    """Return a manifest that refers to another one."""
    config = {"mediaType": "application/vnd.example.config", "digest": BLOB.digest, "size": BLOB.size}
    there = {"mediaType": media_types.OCI_MANIFEST, "digest": refers_to, "size": 7}
    document = {"schemaVersion": 2, "mediaType": media_types.OCI_MANIFEST, "config": config, "layers": []}
    content = model.encode({**document, "subject": there, "annotations": {"number": str(number)}, **more})
    return described(content, media_types.OCI_MANIFEST), content


def test_what_refers_to_a_manifest_is_listed_under_a_tag(fake: Fake, client: Client) -> None:
    """Where the registry does not say that it has noted it: an entry each, with its annotations and type, and once."""
    subject = described(b"subject").digest
    plain, typed = referring(1, subject), referring(2, subject, artifactType="application/vnd.example.sbom")
    for descriptor, content in (plain, typed, plain):
        client.sink().sibling("").put_document(descriptor, content, top=True)

    kind, content = fake.manifests[subject.replace(":", "-")]
    listed = json.loads(content)
    assert kind == listed["mediaType"] == media_types.OCI_INDEX
    assert [entry["digest"] for entry in listed["manifests"]] == [plain[0].digest, typed[0].digest]
    types = [entry["artifactType"] for entry in listed["manifests"]]
    assert types == ["application/vnd.example.config", "application/vnd.example.sbom"]
    assert [entry["annotations"] for entry in listed["manifests"]] == [{"number": "1"}, {"number": "2"}]
    fake.fault("GET", "/referrers/", lambda request: request.reply(404))
    assert [entry.digest for entry in client.source().referrers(subject)] == [plain[0].digest, typed[0].digest]


def test_a_registry_that_lists_referrers_itself_is_left_alone(fake: Fake, client: Client) -> None:
    subject = described(b"subject").digest
    descriptor, content = referring(1, subject)
    fake.fault("PUT", "/manifests/", lambda request: request.reply(201, OCI_Subject=subject))

    client.sink().put_document(descriptor, content, top=True)

    assert fake.manifests == {}
    assert [method for method, _path, _headers in fake.server.seen if method != "GET"] == ["PUT"]


@pytest.mark.parametrize("subject", ["web", {"digest": 7}, {"digest": "../tags"}])
def test_a_subject_that_names_nothing_is_no_subject(subject: object, fake: Fake, client: Client) -> None:
    descriptor, content = referring(1, "", subject=subject)

    client.sink().put_document(descriptor, content, top=True)

    assert set(fake.manifests) == {"v1", descriptor.digest}


def test_a_tag_that_is_no_list_stays_as_it_is(fake: Fake, client: Client) -> None:
    """Somebody else's image has that name: the push says so, after the manifest itself has arrived."""
    subject = described(b"subject").digest
    name = subject.replace(":", "-")
    fake.add_image(name, b"layer")
    before = fake.manifests[name]
    descriptor, content = referring(1, subject)

    with pytest.raises(Corrupt, match=f"library/web:{name}: not a list"):
        client.sink().put_document(descriptor, content, top=True)

    assert fake.manifests[name] == before
    assert descriptor.digest in fake.manifests


def test_what_a_list_refers_to_is_not_noted(fake: Fake, client: Client) -> None:
    """A registry that has a subject in each such list would have us write for ever."""
    subject, other = described(b"subject").digest, described(b"other").digest
    there = {"mediaType": media_types.OCI_MANIFEST, "digest": other, "size": 7}
    hostile = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [], "subject": there}
    fake.manifests[subject.replace(":", "-")] = (media_types.OCI_INDEX, model.encode(hostile))
    descriptor, content = referring(1, subject)

    client.sink().put_document(descriptor, content, top=True)

    listed = json.loads(fake.manifests[subject.replace(":", "-")][1])
    assert [entry["digest"] for entry in listed["manifests"]] == [descriptor.digest]
    assert other.replace(":", "-") not in fake.manifests
