"""Jails: created by jail(8), removed by jid, never somebody else's."""

import errno
import os

import pytest

from runjail.errors import HostError
from runjail.host.freebsd import jails, libc
from runjail.host.freebsd.host import FreeBSDHost
from runjail.host.programs import Result
from runjail.steps import Cpus, CreateJail, DeviceNodes
from tests.support.host.fake_libc import FakeKernel, Refusal
from tests.support.host.machine import Machine, step
from tests.support.leaks import Held


def test_a_jail_is_created_with_literal_values_and_its_jid_learned(machine: Machine) -> None:
    machine.apply(step(machine, host__hostname='a$b "q" x', enforce_statfs="1"))

    wanted = ["name=web", f"path={machine.root}", "persist", 'host.hostname=a$b "q" x', "enforce_statfs=1"]
    assert machine.programs.calls == [["/usr/sbin/jail", "-q", "-i", "-c", *wanted]]
    assert machine.host_state.jid in machine.kernel.jails


def test_the_name_is_added_when_the_parameters_lack_it(machine: Machine) -> None:
    machine.apply(CreateJail("web", (("path", str(machine.root)), ("persist", None))))

    assert machine.programs.calls[0][4] == "name=web"


def test_the_way_back_is_noted_before_the_jail_exists(machine: Machine) -> None:
    machine.programs.answers["/usr/sbin/jail"] = OSError(errno.EIO, "Input/output error")

    with pytest.raises(HostError):
        machine.apply(step(machine))

    assert [(note["undo"], note["name"], "jid" in note) for note in machine.notes] == [("jail", "web", False)]


def test_the_jid_is_noted_afterwards(machine: Machine) -> None:
    machine.apply(step(machine))

    assert machine.notes[1]["jid"] == machine.host_state.jid


def test_removal_takes_jail_processes_and_what_was_mounted_from_inside(machine: Machine) -> None:
    ours = machine.kernel.add_mount(f"{machine.root}/volume")
    machine.apply(step(machine, allow__mount="", allow__mount__tmpfs=""))
    machine.kernel.add_process(50, jid=machine.host_state.jid)
    machine.kernel.add_mount(f"{machine.root}/by-itself")

    machine.undo()

    assert machine.kernel.jails == {}
    assert [proc["pid"] for proc in machine.kernel.procs] == [9]
    assert machine.kernel.paths() == [ours.path], "mounts from before are undone by their own notes"


@pytest.mark.parametrize(("root", "allowed"), [("/", True), ("", False)])
def test_what_others_mount_below_stays(machine: Machine, root: str, allowed: bool) -> None:
    """Where the jail cannot mount, or shares its root with the host, a later mount is somebody else's."""
    machine.host_state.root = root or machine.host_state.root
    machine.apply(step(machine, **({"allow__mount": ""} if allowed else {})))
    later = machine.kernel.add_mount(f"{machine.root}/usb-stick")

    machine.undo()

    assert machine.kernel.paths() == [later.path]


def test_removing_twice_is_success(machine: Machine) -> None:
    machine.apply(step(machine))
    machine.undo()
    machine.undo()

    assert [call for call in machine.kernel.calls if call[0] == "jail_remove"] == [
        ("jail_remove", machine.host_state.jid)
    ]


def test_a_jail_without_noted_jid_is_found_by_name_and_root(machine: Machine) -> None:
    """The creator was killed between jail(8) and its second note."""
    machine.apply(step(machine))
    del machine.notes[1]

    machine.undo()

    assert machine.kernel.jails == {}


@pytest.mark.parametrize(("name", "path"), [("other", None), ("web", "/elsewhere")])
def test_a_jail_of_somebody_else_stays(machine: Machine, name: str, path: str | None) -> None:
    """The jid, or the name, was taken again after ours had gone."""
    machine.apply(step(machine))
    machine.kernel.jails[machine.host_state.jid] = (name, path or str(machine.root))

    machine.undo()

    assert machine.kernel.jails == {machine.host_state.jid: (name, path or str(machine.root))}


def test_nothing_is_removed_after_a_reboot(machine: Machine) -> None:
    machine.apply(step(machine))
    machine.reboot()

    machine.undo()

    assert machine.kernel.jails


@pytest.mark.parametrize("call", ["jail_remove", "jail_remove_jd"])
def test_a_jail_that_vanishes_while_it_is_removed_is_success(machine: Machine, call: str) -> None:
    machine.apply(step(machine))
    machine.kernel.descriptors = {} if call == "jail_remove_jd" else None
    machine.kernel.refuse[call] = Refusal(errno.EINVAL)

    machine.undo()


@pytest.mark.parametrize("call", ["jail_remove", "jail_remove_jd"])
def test_a_jail_that_cannot_be_removed_is_an_error(machine: Machine, call: str) -> None:
    machine.apply(step(machine))
    machine.kernel.descriptors = {} if call == "jail_remove_jd" else None
    machine.kernel.refuse[call] = Refusal(errno.EPERM)

    with pytest.raises(HostError, match="remove jail web: not allowed"):
        machine.undo()


def test_a_jail_that_dies_slowly_is_waited_for_but_not_for_ever(machine: Machine) -> None:
    """An unreaped zombie of the caller keeps it dying: bounded, and no error."""
    machine.apply(step(machine))
    machine.kernel.dying[machine.host_state.jid] = 10**9

    machine.undo()

    assert machine.kernel.jails, "it is still dying, and that is not ours to mend"


def test_the_killed_are_waited_for_until_they_are_dead(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """jail_remove(2) returns before its victims are gone, and they hold mounts."""
    machine.apply(step(machine))
    machine.kernel.add_process(50, jid=machine.host_state.jid)
    looks: list[int] = []
    real = FakeKernel._sysctl

    def die_slowly(kernel: FakeKernel, mib: int, count: int, *rest: int) -> None:
        looks.append(count)
        kernel.procs[-1]["state"] = 5 if len(looks) > 6 else 3
        real(kernel, mib, count, *rest)

    def remove(kernel: FakeKernel, jid: int) -> None:
        kernel.dying[jid] = 100

    monkeypatch.setattr(FakeKernel, "_sysctl", die_slowly)
    monkeypatch.setattr(FakeKernel, "_jail_remove", remove)
    monkeypatch.setattr(jails, "DYING_SECONDS", 600.0)  # not those of other tests: a busy machine looks too seldom
    machine.host = FreeBSDHost(machine.kernel.libc())
    boot = machine.host.boot_id()
    looks.clear()

    machine.undo()

    assert (boot == machine.notes[0]["boot"], len(looks) > 6) == (True, True)


def test_a_taken_name_is_refused_before_anything_is_noted(machine: Machine) -> None:
    """With a note, undoing the failure would remove the other one."""
    machine.add_jail(3)

    with pytest.raises(HostError, match="create jail web: jail 3 has this name already"):
        machine.apply(step(machine))

    assert (machine.notes, list(machine.kernel.jails)) == ([], [3])


@pytest.mark.parametrize(
    ("said", "text", "hint"),
    [
        ("jail: unknown parameter: allow.mount.fusefs", "unknown parameter: allow.mount.fusefs", "kldload"),
        ("jail: unknown parameter: bogus", "unknown parameter: bogus", "security.jail.param"),
        ("jail: path /x: No such file or directory", "path /x: does not exist", None),
        ("jail: jail_set: Operation not permitted", "jail_set: not allowed", "run as root"),
        ("jail: jail_set: Invalid argument", "jail_set: Invalid argument", None),
        ("jail: IPv4 addresses clash", "IPv4 addresses clash", "shared"),
        ("jail: prison limit exceeded", "prison limit exceeded", "children.max"),
        ('jail: "7" already exists', "a jail of this name exists already", None),
        (
            "ifconfig: interface nosuch0 does not exist\njail: /sbin/ifconfig: failed",
            "ifconfig: interface nosuch0 does not exist",
            None,
        ),
    ],
)
def test_refusals_are_one_line_with_the_cause(machine: Machine, said: str, text: str, hint: str | None) -> None:
    machine.programs.answers["/usr/sbin/jail"] = Result(1, b"", f"{said}\n".encode())

    with pytest.raises(HostError) as caught:
        machine.apply(step(machine))

    assert str(caught.value) == f"create jail web: {text}"
    assert (hint in (caught.value.hint or "")) if hint else caught.value.hint is None


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Result(0, b"", b""), "says nothing"),
        (Result(137, b"", b"", True), "no end after 120 s"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "/usr/sbin/jail cannot be run: does not exist"),
    ],
)
def test_a_broken_tool_is_an_error(machine: Machine, answer: Result | OSError, text: str) -> None:
    machine.programs.answers["/usr/sbin/jail"] = answer

    with pytest.raises(HostError, match=text):
        machine.apply(step(machine))


def test_cpus_are_set_by_number(machine: Machine) -> None:
    machine.add_jail(7)

    machine.apply(Cpus("0-1,3"))

    assert machine.kernel.calls == [("cpuset", 3, 5, 7, [0, 1, 3])]
    assert machine.notes == []


@pytest.mark.parametrize("cpus", ["9", "5000", "0-1023"])
def test_cpus_the_machine_lacks_are_an_error(machine: Machine, cpus: str) -> None:
    machine.add_jail(7)

    with pytest.raises(HostError, match=f"restrict jail web to CPUs {cpus}: this machine does not have all of them"):
        machine.apply(Cpus(cpus))


def test_a_step_for_another_system_is_refused(machine: Machine) -> None:
    with pytest.raises(HostError, match="the freebsd host has no DeviceNodes"):
        machine.apply(DeviceNodes(()))


def test_a_note_of_another_version_is_refused(machine: Machine) -> None:
    """Skipping it would leave something behind and say nothing."""
    with pytest.raises(HostError, match="undoing 'teleport'"):
        machine.host.undo({"undo": "teleport"}, machine.host_state)


def test_the_root_s_real_path_is_noted(machine: Machine) -> None:
    """The kernel stores the path without links; a comparison with ours would find nothing."""
    link = machine.base / "link"
    link.symlink_to(machine.root)
    machine.host_state.root = str(link)

    machine.apply(step(machine))
    machine.undo()

    assert machine.notes[0]["path"] == os.path.realpath(machine.root)
    assert machine.kernel.jails == {}


# Descriptors ----------------------------------------------------------------------------------------------------------


def test_a_jail_is_removed_by_descriptor_and_the_descriptor_closed(machine: Machine) -> None:
    machine.apply(step(machine))
    before = Held()

    machine.undo()

    assert [call[0] for call in machine.kernel.calls] == ["jail_remove_jd", "jail_remove"]
    assert machine.kernel.jails == {}
    assert before.more() == []


def test_a_kernel_without_descriptors_removes_by_number(machine: Machine) -> None:
    machine.kernel.descriptors = None
    machine.apply(step(machine))

    machine.undo()

    assert machine.kernel.calls == [("jail_remove", machine.host_state.jid)]


def test_who_gets_the_number_between_look_and_removal_stays(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The descriptor is asked once more whose it is: numbers are given again, descriptors are not."""
    machine.apply(step(machine))
    real = FakeKernel._jail_get

    def steal(kernel: FakeKernel, vector: int, count: int, flags: int) -> int:
        if flags & libc.JAIL_GET_DESC:
            kernel.jails[machine.host_state.jid] = ("other", "/elsewhere")
        return real(kernel, vector, count, flags)

    monkeypatch.setattr(FakeKernel, "_jail_get", steal)
    machine.host = FreeBSDHost(machine.kernel.libc())
    machine.undo()

    assert list(machine.kernel.jails.values()) == [("other", "/elsewhere")]


def test_a_jail_that_ends_between_look_and_descriptor_is_success(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.apply(step(machine))
    real = FakeKernel._jail_get

    def end(kernel: FakeKernel, vector: int, count: int, flags: int) -> int:
        if flags & libc.JAIL_USE_DESC:
            kernel.jails.clear()
        return real(kernel, vector, count, flags)

    monkeypatch.setattr(FakeKernel, "_jail_get", end)
    machine.host = FreeBSDHost(machine.kernel.libc())
    machine.undo()

    assert machine.kernel.calls == []


# Labels ---------------------------------------------------------------------------------------------------------------

ID = ("meta.org.runjail.id", "web")


def labelled(machine: Machine, *params: tuple[str, str]) -> CreateJail:
    made = step(machine)
    return made.replace(params=(*made.params, *params), labels=(ID,))


def test_labels_where_the_kernel_keeps_them(machine: Machine) -> None:
    machine.apply(labelled(machine))

    assert machine.programs.calls[0][-1] == "meta.org.runjail.id=web"


def test_no_labels_where_the_kernel_has_no_place_for_them(machine: Machine) -> None:
    del machine.kernel.sysctls["security.jail.meta_maxbufsize"]

    machine.apply(labelled(machine))

    assert machine.programs.calls[0][-1] == "persist"


def test_labels_that_do_not_fit_beside_what_was_asked_for_are_left_out(machine: Machine) -> None:
    asked = ("meta.a", "x" * (4096 - len("a=") - 2))

    machine.apply(labelled(machine, asked))

    assert machine.programs.calls[0][-1] == f"meta.a={asked[1]}"


@pytest.mark.parametrize("kind", ["meta", "env"])
def test_too_much_is_refused_before_the_kernel_keeps_a_jail_for_ever(machine: Machine, kind: str) -> None:
    """jail_set(2) of 15.1 answers EFBIG and leaves a jail that never ends."""
    with pytest.raises(HostError, match=rf"create jail web: {kind}.\*: more than 4096 bytes"):
        machine.apply(labelled(machine, (f"{kind}.a", "é" * 2048)))

    assert (machine.notes, machine.programs.calls) == ([], [])
