"""update: change the limits of a live container."""

from __future__ import annotations

from runjail import jsonio
from runjail.container.container import Runtime
from runjail.container.state import State
from runjail.container.status import status
from runjail.errors import WrongStatus
from runjail.plan.plan import limit_steps
from runjail.record import to_data
from runjail.spec.model import Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def update(container_id: str, resources: Resources, runtime: Runtime) -> None:
    """Apply what `resources` names and leave the rest as it is; then ask the NRI plugins, who may change it again."""
    with runtime.container(container_id) as container:
        container.load()
        if status(container) in ("stopped", "creating"):
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
            os=container.host.os,
            name=host_state.name,
            container_id=host_state.id,
            cgroup=host_state.cgroup,
            before=rules,
        ):
            container.host.apply(step, host_state, note_once)
        _remember(container.state, resources)
        container.save()
        if container.state.nri_plugins:
            from runjail.container import nri

            nri.invoke_plugins("update", container)


def _remember(state: State, resources: Resources) -> None:
    """Merge these changes into those of earlier updates: plugins are told the sum."""
    fields = to_data(resources).items()  # type: ignore[attr-defined]
    changed = {name: value for name, value in fields if isinstance(value, (int, str)) and value is not False}
    state.updates = {**state.updates, **changed}
    for name, items in fields:
        if isinstance(items, list) and items:
            named = {_subject(item): item for item in (*state.updated_lists.get(name, ()), *items)}
            state.updated_lists = {**state.updated_lists, name: list(named.values())}


def _subject(item: Any) -> object:
    """Return what identifies one entry of a list of limits: a page size, a device and kind of limit, a file."""
    return (item["kind"], item["device"]) if isinstance(item, dict) else item[0]
