"""Whatever stands in a document: a Spec or one clean error, the same every time, whatever else is in there."""

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runjail.errors import InvalidConfig
from runjail.jsonio import dumps
from runjail.record import to_data
from runjail.spec.document import decode
from runjail.spec.model import Process, Resources, Spec
from runjail.spec.parse import parse
from runjail.spec.process import parse_process
from runjail.spec.resources import parse_resources
from tests.support.spec.documents import CONFIGS, JSON, MAPS, VALUES, at, mutated, places

SYSTEMS = st.sampled_from(["freebsd", "linux"])


def outcome(document: Any, os: str) -> Spec | str:
    """Return the Spec or the error text, which must be fit for a log line and a terminal."""
    try:
        return parse(document, os)
    except InvalidConfig as error:
        text = str(error)
        assert text.isascii()
        assert text.isprintable()
        assert len(text) < 8000
        return text


@settings(max_examples=500)
@given(document=mutated(), os=SYSTEMS)
def test_changed_documents_give_a_spec_or_an_error(document: Any, os: str) -> None:
    """And the answer is a function of the document, which stays as it was."""
    before = repr(document)
    first = outcome(document, os)

    assert outcome(copy.deepcopy(document), os) == first
    assert repr(document) == before


@given(document=JSON, os=SYSTEMS)
def test_any_json_gives_a_value_or_an_error(document: Any, os: str) -> None:
    outcome(document, os)
    for read, kind in ((lambda value: parse_process(value, os), Process), (parse_resources, Resources)):
        try:
            assert isinstance(read(document), kind)
        except InvalidConfig:
            pass


@given(data=st.binary(max_size=60) | st.text(alphabet='{}[]",:0.e-1\\ua\n', max_size=40).map(str.encode))
def test_any_bytes_give_a_value_or_an_error(data: bytes) -> None:
    try:
        assert decode(dumps(decode(data)).encode()) == decode(data)
    except InvalidConfig as error:
        assert "\n" not in str(error)


@settings(max_examples=200)
@given(data=st.data(), name=st.sampled_from(sorted(CONFIGS)), os=SYSTEMS)
def test_unknown_properties_never_matter(data: st.DataObject, name: str, os: str) -> None:
    """Whatever they hold, wherever they stand (runtime-spec, Extensibility)."""
    document = copy.deepcopy(CONFIGS[name])
    objects = [path for path in places(document) if isinstance(at(document, path), dict) and not set(MAPS) & set(path)]
    for path in data.draw(st.lists(st.sampled_from(objects), min_size=1, max_size=3)):
        at(document, path)["x-" + data.draw(st.text(max_size=5))] = data.draw(VALUES)

    assert outcome(document, os) == outcome(CONFIGS[name], os)


@given(document=mutated())
def test_what_is_accepted_can_go_to_the_kernel(document: Any) -> None:
    """No string of an accepted document ends early or cannot be encoded, but for annotations, which stay here."""
    for os in ("freebsd", "linux"):
        spec = outcome(document, os)
        if isinstance(spec, Spec):
            text = json.dumps(to_data(spec.replace(annotations=())), ensure_ascii=False)
            assert "\\u0000" not in text
            text.encode()
