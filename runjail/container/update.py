"""update: change the limits of a live container."""

from __future__ import annotations

from runjail import jsonio
from runjail.container.status import status
from runjail.errors import WrongStatus
from runjail.plan.limits import limit_steps
from runjail.record import to_data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.container.state import Runtime
    from runjail.host.base import Host
    from runjail.spec.model import Resources


def update(container_id: str, resources: Resources, host: Host, runtime: Runtime) -> None:
    """Apply what `resources` names and leave the rest as it is; then ask the NRI plugins, who may change it again."""
    with runtime.container(container_id) as container:
        container.load()
        if status(container, host) in ("stopped", "creating"):
            raise WrongStatus(f"cannot update a container that is not running: {container_id}")
        host_state = container.host_state
        notes = container.notes()
        known = {jsonio.dumps(note) for note in notes}
        rules = [rule for note in notes if note["undo"] == "limits" for rule in note["rules"]]

        def note_once(note: dict[str, object]) -> None:
            if jsonio.dumps(note) not in known:
                container.note(note)

        for step in limit_steps(
            resources,
            os=host.os,
            name=host_state.name,
            container_id=host_state.id,
            cgroup=host_state.cgroup,
            before=rules,
        ):
            host.apply(step, host_state, note_once)
        said = {name: value for name, value in to_data(resources).items() if value is not None}  # type: ignore[attr-defined]
        container.data["updates"] = {**container.data.get("updates", {}), **said}
        container.save()
        if container.data.get("nri"):
            from runjail.container import nri

            nri.invoke_plugins("update", container, host)
