"""What the shim promises about order, with workers that are played by the test."""

from types import SimpleNamespace
from typing import Any

import pytest

from runjail import errors, protobuf
from runjail.shim import messages
from runjail.shim.server import _Shim
from runjail.shim.ttrpc import EXISTS, INTERNAL, INVALID, NOT_FOUND, PRECONDITION, UNIMPLEMENTED
from tests.support.shim.fake_shim import Shim, code

KILLED = 9  # wait status of a process that SIGKILL ended


def test_a_whole_life(shim: Shim) -> None:
    shim.start()
    waiting = shim.ask("Wait")
    assert shim.ask("State")[0]["status"] == 2
    assert waiting == []
    shim.containers.on_exit(100, 3 << 8)
    assert waiting[0]["exit_status"] == 3
    assert shim.ask("State")[0]["status"] == 3
    deleted = shim.ask("Delete")
    shim.workers.finish()

    assert (deleted[0]["pid"], deleted[0]["exit_status"]) == (100, 3)
    assert shim.events.topics == ["create", "start", "exit", "delete"]
    assert code(shim.ask("State")) == NOT_FOUND


def test_the_end_comes_before_the_start_is_known(shim: Shim) -> None:
    """A program may end while the worker that has started it still answers."""
    shim.create()
    shim.ask("Start")
    shim.containers.on_exit(100, 0)
    assert shim.events.topics == ["create"]
    shim.workers.finish()

    assert shim.events.topics == ["create", "start", "exit"]


def test_the_end_comes_before_the_pid_is_known(shim: Shim) -> None:
    shim.start()
    shim.ask("Exec", exec_id="more")
    asked = shim.ask("Start", exec_id="more")
    shim.workers.said = {"pid": 200, "copier": 0, "terminal": -1}
    shim.containers.on_exit(200, 5 << 8)

    assert asked == [{"pid": 200}]
    assert shim.events.topics == ["create", "start", "exec-added", "exec-started", "exit"]
    assert shim.events.said[-1][1]["exit_status"] == 5


def test_an_orphan_that_had_the_number_of_a_process_to_come(shim: Shim) -> None:
    """A container can make orphans until they have had every number: who gets one next is alive all the same."""
    shim.start()
    shim.ask("Exec", exec_id="more")
    shim.ask("Start", exec_id="more")
    for pid in range(200, 300):
        shim.containers.on_exit(pid, 5 << 8)
    shim.workers.finish(pid=200, copier=250, terminal=-1)

    assert shim.ask("State", exec_id="more")[0]["status"] == 2
    assert shim.containers.tasks["web"].execs["more"].copier == 250
    shim.containers.on_exit(200, 6 << 8)
    assert shim.events.said[-1][1]["exit_status"] == 6


def test_other_processes_end_before_init(shim: Shim) -> None:
    shim.start()
    shim.exec(200)
    shim.containers.on_exit(100, KILLED)
    assert "exit" not in shim.events.topics
    shim.containers.on_exit(200, KILLED)

    assert [event["id"] for topic, event in shim.events.said if topic == "exit"] == ["more", "web"]
    assert shim.ask("State", exec_id="more")[0]["exit_status"] == 137


def test_who_outlives_init_is_killed_first(shim: Shim) -> None:
    """In a jail, or without process numbers of its own, the others go on until somebody ends them."""
    shim.start(private=False)
    shim.containers.on_exit(100, 3 << 8)
    assert "exit" not in shim.events.topics
    before = shim.ask("State")[0]
    assert (before["status"], before["exit_status"]) == (2, 0)  # who asks must not find others alive after a "stopped"
    shim.workers.finish()

    assert shim.events.topics[-1] == "exit"
    after = shim.ask("State")[0]
    assert (after["status"], after["exit_status"]) == (3, 3)


@pytest.mark.parametrize("bundle", ["", "web", "../web", "/run/../etc/web", "/run/.."])
def test_bundles_that_could_be_anywhere(shim: Shim, bundle: str) -> None:
    assert code(shim.ask("Create", bundle=bundle)) == INVALID
    assert not (shim.workers.started or shim.containers.tasks)


def test_a_failing_creation_is_forgotten(shim: Shim) -> None:
    asked = shim.ask("Create", bundle=str(shim.directory))
    assert code(shim.ask("Create", bundle=str(shim.directory))) == EXISTS
    shim.workers.finish(errors.InvalidConfig(["root.path: wrong"]))

    assert code(asked) == INVALID
    assert "OCI runtime create failed: invalid config.json: root.path: wrong" in str(asked[0])
    assert shim.events.topics == []
    assert shim.containers.tasks == {}


def test_a_failing_start_leaves_what_can_be_deleted(shim: Shim) -> None:
    """A hook has failed, so init was killed: its end is told, and delete works."""
    shim.create()
    asked = shim.ask("Start")
    shim.containers.on_exit(100, KILLED)
    shim.workers.finish(errors.HookError("no"))
    assert "OCI runtime start failed: no" in str(asked[0])
    deleted = shim.ask("Delete")
    shim.workers.finish()

    assert deleted[0]["exit_status"] == 137
    assert shim.events.topics == ["create", "exit", "delete"]


def test_delete_waits_for_the_end(shim: Shim) -> None:
    """A container that was never started is killed by deleting it; the answer has its exit status."""
    shim.create()
    deleted = shim.ask("Delete")
    shim.workers.finish()
    assert deleted == []
    shim.containers.on_exit(100, KILLED)

    assert deleted[0]["exit_status"] == 137
    assert shim.events.topics == ["create", "exit", "delete"]


def test_delete_waits_for_the_creation(shim: Shim) -> None:
    shim.ask("Create", bundle=str(shim.directory))
    deleted = shim.ask("Delete")
    shim.workers.finish(pid=100, copier=0, terminal=-1, private=True, ooms="", made=[1, "then"])
    shim.workers.finish()
    shim.containers.on_exit(100, KILLED)

    assert deleted[0]["pid"] == 100


def test_a_running_container_is_not_deleted(shim: Shim) -> None:
    shim.start()

    assert code(shim.ask("Delete")) == PRECONDITION


def test_a_failing_delete_can_be_repeated(shim: Shim) -> None:
    shim.start()
    shim.containers.on_exit(100, 0)
    first = shim.ask("Delete")
    assert code(shim.ask("Delete")) == PRECONDITION
    shim.workers.finish(errors.CleanupError("a mount"))
    second = shim.ask("Delete")
    shim.workers.finish()

    assert "a mount" in str(first[0])
    assert second[0]["pid"] == 100


def test_a_process_that_cannot_start(shim: Shim) -> None:
    """It can be deleted, and does not hold up the end of the container."""
    shim.start()
    shim.ask("Exec", exec_id="more")
    waiting = shim.ask("Wait", exec_id="more")
    asked = shim.ask("Start", exec_id="more")
    shim.workers.finish(errors.ProgramNotFound("nope"))
    shim.containers.on_exit(100, 0)

    assert 'OCI runtime exec failed: exec: "nope": executable file not found' in str(asked[0])
    assert waiting[0]["exit_status"] == 126
    assert shim.events.topics[-1] == "exit"
    assert shim.ask("Delete", exec_id="more")[0]["pid"] == 0


def test_exec_ids(shim: Shim) -> None:
    shim.start()
    shim.ask("Exec", exec_id="more")

    assert code(shim.ask("Exec", exec_id="more")) == EXISTS
    assert code(shim.ask("Start", exec_id="other")) == NOT_FOUND
    assert code(shim.ask("Kill", exec_id="more", signal=9)) == PRECONDITION
    shim.ask("Delete", exec_id="more")
    assert shim.ask("Exec", exec_id="more") == [{}]


def test_the_size_of_a_terminal_to_come(shim: Shim) -> None:
    """Clients set it before they start a process: the program is to see it from its first instant."""
    shim.start()
    shim.ask("Exec", exec_id="more", terminal=True)
    assert shim.ask("ResizePty", exec_id="more", width=101, height=33) == [{}]

    assert shim.containers.tasks["web"].execs["more"].size == (101, 33)


def test_signals(shim: Shim) -> None:
    shim.start()
    asked = shim.ask("Kill", signal=15)
    shim.workers.finish()
    assert asked == [{}]
    shim.containers.on_exit(100, 15)

    assert code(shim.ask("Kill", signal=9)) == NOT_FOUND
    everyone = shim.ask("Kill", signal=9, all=True)
    shim.workers.finish()
    assert everyone == [{}]


def test_output_that_is_written_before_we_know_who_writes_it(shim: Shim) -> None:
    """Nobody is waited for, or killed, who is gone already."""
    asked = shim.ask("Create", bundle=str(shim.directory))
    shim.workers.said = {"pid": 100, "copier": 300, "terminal": -1, "private": True, "ooms": "", "made": [1, "then"]}
    shim.containers.on_exit(300, 0)

    assert asked == [{"pid": 100}]
    assert shim.containers.tasks["web"].copier == 0


def test_pids(shim: Shim) -> None:
    """Of a stopped container init is still listed, or a restarted containerd would throw its exit status away."""
    shim.start()
    shim.exec(200)
    asked = shim.ask("Pids")
    shim.workers.finish(pids=[100, 200])
    found = asked[0]["processes"]
    assert [process["pid"] for process in found] == [100, 200]
    assert found[0]["info"] is None
    assert protobuf.decode(messages.PROCESS_DETAILS, found[1]["info"]["value"]) == {"exec_id": "more"}
    shim.containers.on_exit(200, 0)
    shim.containers.on_exit(100, 0)

    assert [process["pid"] for process in shim.ask("Pids")[0]["processes"]] == [100]


def test_pids_of_what_is_being_created(shim: Shim) -> None:
    """Only a containerd that has just started asks: nobody waits for that container any more."""
    shim.ask("Create", bundle=str(shim.directory))

    assert code(shim.ask("Pids")) == NOT_FOUND


def test_pause_is_seen_from_outside(shim: Shim) -> None:
    """`runjail pause` may have done it."""
    shim.start()
    (shim.directory / "web").mkdir()
    (shim.directory / "web" / "paused").touch()

    assert shim.ask("State")[0]["status"] == 4


@pytest.mark.parametrize("method", ["Checkpoint", "Nope"])
def test_what_is_not_implemented(shim: Shim, method: str) -> None:
    answers: list[Any] = []
    shim.service.serve("containerd.task.v3.Task", method, b"", answers.append, answers.append)
    shim.service.serve("containerd.runtime.sandbox.v1.Sandbox", "CreateSandbox", b"", answers.append, answers.append)

    assert [answer.code for answer in answers] == [UNIMPLEMENTED, UNIMPLEMENTED]


def test_shutdown(shim: Shim) -> None:
    """The shim ends when nobody needs it: no container, and none that was promised."""
    shim.start()
    assert shim.ask("Shutdown") == [{}]
    shim.containers.on_exit(100, 0)
    shim.ask("Delete")
    shim.workers.finish()
    shim.ask("Join", "runjail.shim.Group", id="next")
    shim.ask("Shutdown")
    assert shim.over == 0
    shim.ask("Leave", "runjail.shim.Group", id="next")

    assert shim.over == 1


@pytest.mark.parametrize(("clients", "looks"), [((), 1), (("containerd",), 7)], ids=["deserted", "connected"])
def test_a_shim_that_was_never_used(clients: tuple[str, ...], looks: int) -> None:
    """It ends when nobody is connected, and after a minute though somebody is, in which there was no container."""
    service, over = SimpleNamespace(unused=True), list[bool]()
    loop = SimpleNamespace(later=lambda _seconds, _then: None)
    server = SimpleNamespace(clients=clients)
    shim: Any = SimpleNamespace(
        _unused=0.0, _service=service, _server=server, _loop=loop, _look=None, _end=lambda: over.append(True)
    )
    for unused in (*[True] * (looks - 1), False, *[True] * looks):
        assert over == []
        service.unused = unused
        _Shim._look(shim)

    assert over == [True]


def test_a_shim_that_ends_promises_nothing(shim: Shim) -> None:
    """Not even in the turn in which that was decided; its pid is what `start` takes for a promise."""
    shim.containers.loop.ending = True

    assert shim.ask("Join", "runjail.shim.Group", id="next") == [{"pid": 0}]
    assert shim.containers.joined == {}


def test_a_promise_that_is_kept(shim: Shim) -> None:
    """Once the container was created it is no promise any more."""
    shim.ask("Join", "runjail.shim.Group", id="web")
    shim.start()
    shim.containers.on_exit(100, 0)
    shim.ask("Delete")
    shim.workers.finish()
    shim.ask("Shutdown")

    assert shim.over == 1


def test_leaving_during_the_creation(shim: Shim) -> None:
    """`delete` has come for a container that is being created: the shim lets go of it, and of no later one."""
    asked = shim.ask("Create", bundle=str(shim.directory))
    shim.ask("Leave", "runjail.shim.Group")
    again = shim.ask("Create", bundle=str(shim.directory))
    shim.workers.finish(pid=100, copier=0, terminal=-1, private=True, ooms="", made=[1, "then"])
    shim.workers.finish(pid=101, copier=0, terminal=-1, private=True, ooms="", made=[1, "then"])

    assert code(asked) == NOT_FOUND
    assert again == [{"pid": 101}]
    assert shim.containers.tasks["web"].pid == 101


def test_malformed_requests(shim: Shim) -> None:
    answers: list[Any] = []
    shim.service.serve("containerd.task.v2.Task", "Create", b"\xff", answers.append, answers.append)

    assert answers[0].code == INVALID


def test_an_answer_that_nobody_expects(shim: Shim) -> None:
    """Whoever asks hears of a mistake of ours at once, though it was made after the request was taken."""
    asked = shim.ask("Create", bundle=str(shim.directory))
    with pytest.raises(KeyError):  # the loop logs it
        shim.workers.finish(pid=100, copier=0, terminal=-1)

    assert code(asked) == INTERNAL
    assert "Create: internal error: KeyError" in str(asked[0])
    assert code(shim.ask("State")) == NOT_FOUND
