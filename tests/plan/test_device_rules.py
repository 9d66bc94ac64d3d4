"""linux.resources.devices becomes a default and exceptions that mean what the rules say in listed order."""

import pytest

from runjail import steps
from runjail.plan.device_rules import ANY, USUAL, policy
from runjail.spec.model import DeviceRule, Linux, LinuxDevice, Mount
from tests.support.plan.specs import plan_of, problems_of, spec_of

DEV = Mount("/dev", "tmpfs", "tmpfs")
DENY_ALL = DeviceRule(False)
FUSE = LinuxDevice("/dev/fuse", "c", 10, 229)


def rules_of(*rules: DeviceRule, devices: tuple[LinuxDevice, ...] = ()) -> steps.DevicePolicy:
    """Return the policy of a container with these rules."""
    step = plan_of(spec_of(DEV, linux=Linux(device_rules=rules, devices=devices)), "linux").steps[0]
    assert isinstance(step, steps.Cgroup)
    assert step.devices
    return step.devices


def test_every_container_has_a_policy() -> None:
    """Without a word about it too: what runc allows, and in the order of the letters that the kernel shows."""
    found = rules_of()

    assert (found.allow, found.contained) == (False, True)
    assert set(found.rules) == set(USUAL)


def test_devices_of_the_config_are_allowed_where_no_rule_speaks() -> None:
    assert ("c", 10, 229, "rwm") in rules_of(devices=(FUSE,)).rules
    assert ("b", 7, 0, "rwm") in rules_of(devices=(LinuxDevice("/dev/loop0", "b", 7, 0),)).rules


def test_rules_decide_about_devices_of_the_config() -> None:
    """podman and docker say for each what may be done with it: `--device /dev/fuse:/dev/fuse:r`."""
    closed = rules_of(DENY_ALL, devices=(FUSE,))
    readable = rules_of(DENY_ALL, DeviceRule(True, "c", 10, 229, "r"), devices=(FUSE,))
    usable = rules_of(DENY_ALL, DeviceRule(True, "c", 10, 229, "wr"), devices=(FUSE,))

    assert not any(rule[1:3] == (10, 229) for rule in closed.rules)
    assert ("c", 10, 229, "r") in readable.rules
    assert ("c", 10, 229, "rw") in usable.rules
    assert [found.contained for found in (closed, readable, usable)] == [False, False, True]


def test_a_privileged_container_may_use_everything() -> None:
    assert rules_of(DENY_ALL, DeviceRule(True)) == steps.DevicePolicy(True, (), True)


def test_what_a_privileged_container_is_denied_stays_denied() -> None:
    """Also /dev/zero, which every other container may use."""
    found = rules_of(DeviceRule(True), DeviceRule(False, "c", 1, 5, "w"), DeviceRule(False, "b", 254, ANY))

    assert found == steps.DevicePolicy(True, (("b", 254, ANY, "rwm"), ("c", 1, 5, "w")), False)


def test_every_kind_with_a_number_is_both_kinds() -> None:
    """Runc takes `a 9:* r` for every device there is."""
    found = rules_of(DENY_ALL, DeviceRule(True, "a", 9, ANY, "r"))

    assert not found.allow
    assert {("c", 9, ANY, "r"), ("b", 9, ANY, "r")} <= set(found.rules)


def test_a_later_rule_takes_away_what_an_earlier_one_gave() -> None:
    """Also with a wider rule, which control groups v1 and runc would read and forget."""
    given = (DeviceRule(True, "c", 9, 1, "rw"), DeviceRule(True, "c", 9, 2, "r"))

    assert {rule for rule in rules_of(*given, DeviceRule(False, "c", 9, ANY, "r")).rules if rule[1] == 9} == {
        ("c", 9, 1, "w")
    }


@pytest.mark.parametrize(
    ("rules", "wide"),
    [
        ((DeviceRule(True, "c", 9, ANY), DeviceRule(False, "c", 9, 1, "w")), "allows c 9:* rwm"),
        ((DeviceRule(True, "c", ANY, 1, "w"), DeviceRule(False, "c", 9, ANY, "w")), "allows c *:1 w"),
        ((DeviceRule(True), DeviceRule(False, "b", 9, ANY, "r"), DeviceRule(True, "b", 9, 1, "r")), "forbids b 9:* r"),
    ],
)
def test_an_exception_from_an_exception_is_an_error(rules: tuple[DeviceRule, ...], wide: str) -> None:
    problems = problems_of(spec_of(linux=Linux(device_rules=rules)), "linux")

    assert problems == (f"linux.resources.devices[{len(rules) - 1}]: cannot be an exception from what {wide}",)


def test_a_policy_without_rules_needs_no_nodes() -> None:
    assert policy((), (), []).contained
