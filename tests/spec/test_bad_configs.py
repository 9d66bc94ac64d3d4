"""Bad input gets exactly the error that docs/bad-input.md promises."""

import os

import pytest

from runjail.spec.parse import parse
from runjail.spec.process import parse_process
from runjail.spec.resources import parse_resources
from tests.support.spec.bad_configs import BAD, CONFIG, TEXTS, Bad, BadText, page

PAGE = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "bad-input.md")


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: f"{bad.os}: {bad.name}")
def test_error_is_the_promised_line(bad: Bad) -> None:
    assert bad.judge() == f"invalid {bad.kind}: {bad.error}"


@pytest.mark.parametrize("bad", TEXTS, ids=lambda bad: bad.name)
def test_broken_json_is_the_promised_line(bad: BadText) -> None:
    assert bad.judge() == f"invalid config.json: {bad.error}"


def test_unchanged_document_is_good() -> None:
    """Otherwise the rows would prove nothing."""
    for system in ("freebsd", "linux"):
        assert parse(CONFIG, system).process == parse_process(CONFIG["process"], system)
    parse_resources(CONFIG["linux"]["resources"])


def test_rows_can_be_told_apart() -> None:
    assert len({(bad.os, bad.kind, str(bad.changes)) for bad in BAD}) == len(BAD)


def test_page_is_up_to_date() -> None:
    with open(PAGE, encoding="utf-8") as stream:
        assert stream.read() == page(), "run python -m tests.support.spec.bad_configs > docs/bad-input.md"
