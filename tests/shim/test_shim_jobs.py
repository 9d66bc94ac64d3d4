"""What workers of a shim do to a container whose id is another one's by now: nothing."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runjail.container.container import Runtime
from runjail.container.reserve import reserve
from runjail.errors import ContainerNotFound
from runjail.shim import jobs
from tests.support.container.fake_host import record


class Host:
    """A host on which everything that is asked for is noted, and nothing lives."""

    os = "linux"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def boot_id(self) -> str:
        return "boot"

    def start_time(self, pid: int) -> str:
        return "now"

    def __getattr__(self, name: str) -> Any:
        return lambda *_args: self.asked.append(name) or []


def made(store: Runtime, created: str) -> Any:
    container = reserve(store, "web")
    container.host_state.pid, container.host_state.started = 7, "now"
    record(container, created=created, boot="boot")
    container.unlock()
    return container


@pytest.mark.parametrize(
    "job",
    [
        jobs.delete,
        jobs.start,
        jobs.end_others,
        jobs.pause,
        jobs.resume,
        jobs.pids,
        jobs.stats,
        lambda engine, task, worker: jobs.kill(engine, task, 9, True, worker),
        lambda engine, task, worker: jobs.update(engine, task, b"{}", worker),
    ],
)
def test_an_id_made_anew_under_a_shim(tmp_path: Path, job: Any) -> None:
    """Somebody deleted the container with the program itself, and made another one."""
    host: Any = Host()
    store = Runtime(host, str(tmp_path / "state"))
    ours = made(store, "then")
    request = {"rootfs": []}
    task = SimpleNamespace(id="web", root=store.root, bundle=str(tmp_path), made=ours.identity(), request=request)
    engine = SimpleNamespace(host=host, store=lambda root: Runtime(host, root), shim_host=None)
    worker = SimpleNamespace(answer=lambda _result: None)
    assert jobs._store(engine, task).find("web").host_state.pid == 7, "ours is found"  # type: ignore[arg-type]
    with ours:
        ours.remove()
    made(store, "later")
    if job is jobs.delete:
        job(engine, task, worker)
    else:
        with pytest.raises(ContainerNotFound):
            job(engine, task, worker)

    assert host.asked == []
    assert store.find("web").state.created == "later"
