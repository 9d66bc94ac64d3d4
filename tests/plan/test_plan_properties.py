"""What holds for every document, valid or not."""

import shlex
import subprocess
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from runjail import steps
from runjail.errors import InvalidConfig
from runjail.jsonio import dumps, loads
from runjail.plan.paths import normalised
from runjail.plan.plan import make_plan
from runjail.plan.show import as_data, as_text
from runjail.spec.model import Spec
from runjail.spec.parse import parse
from tests.support.plan.conf_reader import read_conf
from tests.support.plan.documents import any_documents, sound_documents

RANK = (
    steps.ReadonlyRoot,
    steps.Mount,
    steps.AddressAlias,
    steps.CreateJail,
    steps.RctlRules,
    steps.Cpus,
    steps.MoveInterface,
    steps.Loopback,
)
OS = st.sampled_from(["freebsd", "linux"])
MANY = settings(max_examples=100)
FEWER = settings(MANY, max_examples=30)


def valid(document: dict[str, Any], os: str) -> tuple[Spec, steps.Plan]:
    """Return Spec and Plan of a document, or give this example up."""
    try:
        spec = parse(document, os)
        return spec, make_plan(spec, container_id="a.b", bundle="/b", state="/s", os=os)
    except InvalidConfig:
        assume(False)
        raise


@given(os=OS, document=any_documents())
@MANY
def test_a_document_becomes_a_plan_or_a_list_of_problems(os: str, document: dict[str, Any]) -> None:
    try:
        spec = parse(document, os)
        plan = make_plan(spec, container_id="a.b", bundle="/b", state="/s", os=os)
    except InvalidConfig as error:
        assert error.problems and all(": " in problem and "\n" not in problem for problem in error.problems)
    else:
        assert loads(dumps(as_data(plan, spec)))["name"] == plan.name
        assert as_text(plan, spec).endswith("\n")


@given(document=sound_documents())
@MANY
def test_steps_come_in_the_order_in_which_they_need_each_other(document: dict[str, Any]) -> None:
    _, plan = valid(document, "freebsd")
    ranks = [RANK.index(type(step)) for step in plan.steps]

    assert ranks == sorted(ranks)
    assert ranks.count(RANK.index(steps.CreateJail)) == 1


@given(os=OS, document=sound_documents())
@MANY
def test_mounts_keep_their_order_and_never_cover_the_root(os: str, document: dict[str, Any]) -> None:
    spec, plan = valid(document, os)
    made = [step.destination for step in plan.steps if isinstance(step, steps.Mount)]
    listed = [normalised(mount.destination) for mount in spec.mounts]

    assert all(place.startswith("/") and normalised(place) != "/" for place in made)
    kept = [normalised(place) for place in made if not (os == "linux" and place == "/dev/pts")]
    wanted = [
        place for mount, place in zip(spec.mounts, listed, strict=True) if os == "freebsd" or mount.type != "fdescfs"
    ]
    assert kept == wanted


@given(document=sound_documents())
@MANY
def test_the_jail_gets_each_parameter_once_and_none_that_exclude_each_other(document: dict[str, Any]) -> None:
    _, plan = valid(document, "freebsd")
    created = next(step for step in plan.steps if isinstance(step, steps.CreateJail))
    names = [param for param, _ in created.params]

    assert len(set(names)) == len(names)
    assert not ("vnet" in names and {"ip4", "ip6", "ip4.addr", "ip6.addr"}.intersection(names))
    assert dict(created.params)["path"] == plan.root


@given(document=sound_documents())
@FEWER
def test_the_text_is_a_script_and_its_jail_conf_says_what_the_plan_says(document: dict[str, Any]) -> None:
    spec, plan = valid(document, "freebsd")
    text = as_text(plan, spec)
    checked = subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")

    conf = text.partition("<<'EOF'\n")[2].partition("\nEOF\n")[0]
    name, params = read_conf(conf)
    created = next(step for step in plan.steps if isinstance(step, steps.CreateJail))
    said = [(param, None if values is None else ",".join(values)) for param, values in params]
    assert [("name", name), *said] == [*created.params, *created.labels]


@given(document=sound_documents())
@FEWER
def test_the_text_runs_the_process_with_its_own_words(document: dict[str, Any]) -> None:
    spec, plan = valid(document, "freebsd")
    text = as_text(plan, spec)
    line = text[text.index("env -i") : text.index("\n\n# runjail delete")]

    assert spec.process is not None
    assert tuple(shlex.split(line)[-len(spec.process.args) :]) == spec.process.args
