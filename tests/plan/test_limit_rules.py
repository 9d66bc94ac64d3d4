"""linux.resources and annotations as rctl rules, a CPU set, or a control group."""

import pytest

from runjail import steps
from runjail.errors import InvalidConfig
from runjail.plan.linux_cgroup import cgroup_path
from runjail.plan.plan import limit_steps
from runjail.spec.model import Linux, Resources
from tests.support.plan.specs import plan_of, problems_of, spec_of


def limits(os: str = "freebsd", **said: object) -> tuple[steps.Step, ...]:
    return limit_steps(Resources(**said), os=os, name="web", container_id="web")


@pytest.mark.parametrize(
    ("said", "rules"),
    [
        ({"memory_limit": 1 << 26}, ("memoryuse:sigkill=67108864",)),
        ({"memory_limit": 100, "memory_swap": 150}, ("memoryuse:sigkill=100", "swapuse:deny=50")),
        ({"memory_limit": 100, "memory_swap": 100}, ("memoryuse:sigkill=100", "swapuse:deny=0")),
        ({"pids_limit": 20}, ("maxproc:deny=20",)),
        ({"pids_limit": 0}, ("maxproc:deny=0",)),
        ({"cpu_quota": 50_000, "cpu_period": 100_000}, ("pcpu:deny=50",)),
        ({"cpu_quota": 250_000}, ("pcpu:deny=250",)),
        ({"cpu_quota": 10, "cpu_period": 100_000}, ("pcpu:deny=1",)),
    ],
)
def test_limits_are_rctl_rules(said: dict[str, int], rules: tuple[str, ...]) -> None:
    assert limits(**said) == (steps.RctlRules("web", rules),)


@pytest.mark.parametrize("said", [{}, {"memory_limit": 0, "cpu_quota": 0}, {"cpu_shares": 2, "mems": "0"}])
def test_what_says_nothing_makes_no_rule(said: dict[str, object]) -> None:
    assert limits(**said) == ()


def test_minus_one_takes_a_limit_away() -> None:
    assert limits(memory_limit=-1, pids_limit=-1, cpu_quota=-1) == (
        steps.RctlRules("web", (), ("memoryuse:sigkill", "maxproc:deny", "pcpu:deny", "swapuse:deny")),
    )
    assert limits(memory_limit=100, memory_swap=-1) == (
        steps.RctlRules("web", ("memoryuse:sigkill=100",), ("swapuse:deny",)),
    )


@pytest.mark.parametrize(
    ("before", "dropped"),
    [
        (("memoryuse:sigkill=100",), ("memoryuse:sigkill=100",)),
        (("memoryuse:sigkill=100", "memoryuse:sigkill=200"), ("memoryuse:sigkill=100",)),
        (("memoryuse:sigkill=100", "memoryuse:sigkill=100"), ("memoryuse:sigkill=100",)),
        (("memoryuse:log=100", "maxproc:deny=3", "pcpu:deny=9"), ()),
    ],
)
def test_an_update_drops_what_it_replaces(before: tuple[str, ...], dropped: tuple[str, ...]) -> None:
    """rctl keeps an old `sigkill` rule beside the new one: a limit could only become tighter."""
    made = limit_steps(Resources(memory_limit=200), os="freebsd", name="web", container_id="web", before=before)

    assert made == (steps.RctlRules("web", ("memoryuse:sigkill=200",), dropped),)


def test_cpus_are_a_set() -> None:
    assert limits(cpus="0-2,5") == (steps.Cpus("0-2,5"),)


def test_swap_alone_cannot_be_counted() -> None:
    with pytest.raises(InvalidConfig, match=r"linux\.resources\.memory\.swap: .* needs memory\.limit"):
        limits(memory_swap=100)


def test_annotations_say_the_rest_of_rctl() -> None:
    annotations = (
        ("org.runjail.rctl.openfiles", "deny=1k, log=512"),
        ("org.runjail.rctl.maxproc", "deny=7"),
        ("org.runjail.rctl.readbps", "throttle=1m"),
        ("com.example.rctl.nthr", "deny=1"),
    )
    spec = spec_of(annotations=annotations, linux=Linux(resources=Resources(pids_limit=5)))

    assert plan_of(spec).steps[-1] == steps.RctlRules(
        "web", ("maxproc:deny=7", "openfiles:deny=1024", "openfiles:log=512", "readbps:throttle=1048576")
    )


@pytest.mark.parametrize(
    ("resource", "text", "why"),
    [
        ("bogus", "deny=1", "rctl has no resource"),
        ("maxproc", "5", "write ACTION=AMOUNT"),
        ("maxproc", "refuse=5", "rctl has no action"),
        ("maxproc", "throttle=5", "cannot be throttled"),
        ("cputime", "deny=5", "cannot be denied; use sigkill"),
        ("writeiops", "deny=5", "cannot be denied; use throttle"),
        ("maxproc", "deny=", "must be a number"),
        ("maxproc", "deny=1.5g", "must be a number"),
        ("maxproc", "deny=5,log", "must be a number"),
    ],
)
def test_rules_the_kernel_would_refuse_are_refused_here(resource: str, text: str, why: str) -> None:
    (problem,) = problems_of(spec_of(annotations=((f"org.runjail.rctl.{resource}", text),)))

    assert problem.startswith(f"annotations[org.runjail.rctl.{resource}]: ") and why in problem


def test_linux_has_one_control_group_for_everything() -> None:
    resources = Resources(memory_limit=5, cpus="0")

    assert limit_steps(resources, os="linux", name="a%2Eb", container_id="a.b") == (
        steps.Cgroup("runjail/a.b", resources, own=True),
    )
    assert limit_steps(resources, os="linux", name="web", container_id="web", cgroup="x/y") == (
        steps.Cgroup("x/y", resources),
    )
    assert limits(os="linux") == ()


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ("/machine/web", "machine/web"),
        ("a//./b/", "a/b"),
        ("system.slice:runjail:web", "system.slice/runjail-web.scope"),
        (":libpod:web", "system.slice/libpod-web.scope"),
        ("", ""),
    ],
)
def test_control_group_paths_are_relative_to_every_hierarchy(said: str, path: str) -> None:
    problems: list[str] = []

    assert cgroup_path(said, problems) == path
    assert not problems


@pytest.mark.parametrize("said", ["../x", "a/../../x", "..:a:b"])
def test_control_group_paths_do_not_lead_out(said: str) -> None:
    (problem,) = problems_of(spec_of(linux=Linux(cgroups_path=said)), "linux")

    assert problem.startswith("linux.cgroupsPath: ")
