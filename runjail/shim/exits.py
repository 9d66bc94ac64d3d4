"""The containers of one shim: who they are, and how their ends become known.

containerd wants to hear of a start before the end, of every other end before that of init, and of all ends before the
container is deleted. So an end is noted when the kernel reports it and published when its turn has come.
"""

from __future__ import annotations

import os

from runjail import errors, log
from runjail.container.delete import SIGKILL
from runjail.errors import RunjailError
from runjail.shim import jobs
from runjail.shim.events import Publisher
from runjail.shim.flow import Fork
from runjail.shim.loop import Loop
from runjail.shim.task import BEING_KILLED, EXITED, GONE, RUNNING, STARTING, UNDER_WAY, Process, Task
from runjail.shim.ttrpc import NOT_FOUND, StatusError
from runjail.shim.workers import Workers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runjail.host.base import OomWatch
    from runjail.protobuf import Message
    from runjail.shim.engine import Engine
    from runjail.shim.workers import Done

COPY_SECONDS = 2.0  # for output to be written after the process has ended, to a client that may not read any more
COPY_POLL = 0.01
OOM_SECONDS = 0.1  # until whoever is to die for want of memory, as the kernel has said, is counted


class ExitQueue:
    """What the shim knows. tasks: by id; joined: ids of those to come, numbered; events: where they are published."""

    def __init__(self, loop: Loop, engine: Engine, events: Publisher) -> None:
        self.loop, self.engine, self.events = loop, engine, events
        self.workers = Workers(loop, engine.shim_host)
        self.tasks: dict[str, Task] = {}
        self.joined: dict[str, int] = {}

    def find(self, request: Message) -> Process:
        """Return the process that `id` and `exec_id` name. Raises ContainerNotFound or StatusError."""
        task = self.task(request)
        if not request["exec_id"]:
            return task
        process = task.execs.get(request["exec_id"])
        if not process:
            raise StatusError(NOT_FOUND, f"process {request['exec_id']} of container {task.id} does not exist")
        return process

    def task(self, request: Message) -> Task:
        """Return the container that `id` names. Raises ContainerNotFound."""
        task = self.tasks.get(request["id"])
        if not task:
            raise errors.ContainerNotFound(request["id"])
        return task

    def created(self, request: Message) -> Task:
        """Return a container that is not just being created. Raises WrongStatus or ContainerNotFound."""
        task = self.task(request)
        if not task.pid:
            raise errors.WrongStatus(f"container {task.id} is still being created")
        return task

    def launch(self, fork: Fork, done: Done) -> None:
        """Start a worker; who makes a process has its descriptors, or with a terminal those for who copies it."""
        if not fork.process:
            self.workers.start(fork.work, done)
            return
        process, streams = fork.process, fork.process.stdio
        assert streams, "opened by the caller"

        def finished(error: RunjailError | None, result: Message) -> None:
            streams.release()
            if not error:
                process.pid, process.copier, process.master = result["pid"], result["copier"], result["terminal"]
            done(error, result)

        self.workers.start(fork.work, finished, streams.needed(), () if process.terminal else streams.container_fds)

    # -- ends

    def on_exit(self, pid: int, status: int) -> None:
        """Note a child that has ended; Loop calls this.

        What a worker launches is its child until it has answered and ended: so a number that no answer names is that
        of an orphan, and to remember it would take the next process with that number for the dead one.
        """
        code = os.waitstatus_to_exitcode(status)
        code = 128 - code if code < 0 else code
        if pid in self.workers.pids:
            self.workers.pids.discard(pid)
        elif not self._note_end(pid, code):
            self.workers.hear()
            self._note_end(pid, code)

    def _note_end(self, pid: int, code: int) -> bool:
        for task in self.tasks.values():
            for process in task.processes():
                if process.pid == pid and not process.exit:
                    process.end(code)
                    self.settle(process)
                    return True
                if process.copier == pid:
                    process.copier = 0
                    return True
        return False

    def go_on(self, process: Process, state: int) -> None:
        """Move a process on to a state, and publish its end if that came before."""
        process.enter(state)
        self.settle(process)

    def settle(self, process: Process) -> None:
        """Publish the end of a process if its turn has come."""
        if not process.exit or process.state == EXITED or process.state in UNDER_WAY:
            return
        task = process.task
        if process is task:
            if task.others != GONE:
                self._end_others(task)
                return
            if any(each.state in (STARTING, RUNNING) for each in task.execs.values()):
                return
        self._publish_end(process)
        self.wake_waiters(process)
        if process is not task:
            self.settle(task)

    def wake_waiters(self, process: Process) -> None:
        """Continue the requests that wait for the end of a process, once containerd knows of it."""
        process.enter(EXITED)
        waiting, process.waiting = process.waiting, []
        for call, _wanted in waiting:
            call()

    def _end_others(self, task: Task) -> None:
        """Kill who outlives init, and go on when nobody is left."""
        if task.others == BEING_KILLED:
            return
        task.others = BEING_KILLED

        def killed(error: RunjailError | None, _result: Message) -> None:
            if error and not isinstance(error, errors.ContainerNotFound):
                log.warning(f"container {task.id}: {error}")
            task.others = GONE
            self.settle(task)

        self.workers.start(lambda worker: jobs.end_others(self.engine, task, worker), killed)

    def _publish_end(self, process: Process) -> None:
        self._publish_oom(process.task)
        who = {"container_id": process.id, "id": process.exec_id or process.id, "pid": process.pid}
        self.events.publish("/tasks/exit", {**who, **process.ending()})

    # -- memory

    def watch_ooms(self, task: Task, path: str) -> None:
        """Hear of processes that are killed for want of memory, whoever they are. path: ShimHost.oom_file."""
        if not path:
            return
        try:
            task.ooms = watch = self.engine.shim_host.watch_ooms(path)
        except OSError as error:
            log.warning(f"container {task.id}: who runs out of memory is not known: {errors.reason(error)}")
            return
        task.reported_ooms = watch.kills()  # in a group that was there before
        self.loop.watch(watch.descriptor, watch.events, lambda _events: self._on_oom(task, watch))

    def _on_oom(self, task: Task, watch: OomWatch) -> None:
        watch.acknowledge()
        self._publish_oom(task)
        self.loop.later(OOM_SECONDS, lambda: self._publish_oom(task))

    def _publish_oom(self, task: Task) -> None:
        """Publish an OOM event if the kernel has killed a process since the last look."""
        count = task.ooms.kills() if task.ooms else 0
        if count > task.reported_ooms:
            task.reported_ooms = count
            self.events.publish("/tasks/oom", {"container_id": task.id})

    def when_exited(
        self, process: Process, call: Callable[[], None], wanted: Callable[[], bool] = lambda: True
    ) -> None:
        """Call once the end of a process was published, at once where it was; who has gone away waits no more."""
        if process.state == EXITED:
            call()
        else:
            process.waiting = [waits for waits in process.waiting if waits[1]()]
            process.waiting.append((call, wanted))

    def when_copied(self, process: Process, call: Callable[[], None], waited: float = 0.0) -> None:
        """Call once the output is written; who does not read it is waited for no longer than COPY_SECONDS."""
        if process.copier and waited < COPY_SECONDS:
            self.loop.later(COPY_POLL, lambda: self.when_copied(process, call, waited + COPY_POLL))
            return
        if process.copier:
            os.kill(process.copier, SIGKILL)  # our child, uncollected: the number cannot be another's
        call()

    def forget(self, task: Task) -> None:
        """Let go of a container and of everything that is open for it."""
        for process in task.processes():
            process.close()
        if task.ooms:
            self.loop.unwatch(task.ooms.descriptor)
            task.ooms.close()
            task.ooms = None
        if self.tasks.get(task.id) is task:
            del self.tasks[task.id]
